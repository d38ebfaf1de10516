"""Arguments of a wrong type end in one clear line, not in an error of numpy or of Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from handpose import (
    WEIGHTS,
    Camera,
    Distortion,
    HandCrop,
    HandPoseError,
    HandPoseEstimator,
    HandTracker,
    OneEuro,
    Query,
    check_frame,
    localize_hands,
    predict_files,
)
from handpose.inference.query import DepthImage
from handpose.network.config import JGRP2OConfig
from tests.helpers.cases import CAMERA, DEPTH, Still
from tests.helpers.paths import EXAMPLES

FILE = str(EXAMPLES / "open.png")
ESTIMATOR = HandPoseEstimator(Still(), JGRP2OConfig("msra"), "still")
WRONG: dict[str, Any] = {
    "None": None,
    "an array": np.ones(3),
    "a matrix of the wrong size": np.ones((2, 2)),
    "an empty array": np.array([]),
    "an array of objects": np.array([None, 1], dtype=object),
    "an array of text": np.array(["right"]),
    "a list": ["right", 2],
    "an empty list": [],
    "lists of different lengths": [[1.0], [1.0, 2.0]],
    "a dictionary": {"a": 1},
    "a set": {1},
    "bytes": b"x",
    "an object": object(),
    "a class": int,
    "a function": lambda: 1,
    "text": "xyz",
    "long text": "x" * 5000,
    "a null character": "\0",
    "a complex number": 1j,
    "NaN": float("nan"),
    "a number too large for a float": 10**400,
}
Call = Callable[[Any], Any]


def predict(**arguments: Any) -> Any:
    return ESTIMATOR.predict([DEPTH], **{"camera": CAMERA, **arguments})


def update(depth: DepthImage = DEPTH, camera: Any = CAMERA, time: Any = 0.0, unit: Any = "mm") -> Any:
    return HandTracker(ESTIMATOR).update(depth, camera, time, unit=unit)  # type: ignore[arg-type]


def files(**arguments: Any) -> Any:
    for result in predict_files(**{"estimator": ESTIMATOR, "paths": FILE, "query": Query(CAMERA), **arguments}):
        if result.error is not None:
            raise result.error


CALLS: dict[str, Call] = {
    "predict(image)": lambda x: ESTIMATOR.predict(x, camera=CAMERA),
    "predict([image])": lambda x: ESTIMATOR.predict([x], camera=CAMERA),
    "predict(camera)": lambda x: predict(camera=x),
    "predict(center)": lambda x: predict(center=x),
    "predict(box)": lambda x: predict(box=x),
    "predict(hand)": lambda x: predict(hand=x),
    "predict(unit)": lambda x: predict(unit=x),
    "predict(on_error)": lambda x: predict(on_error=x),
    "predict_batch(images)": lambda x: ESTIMATOR.predict_batch(x, camera=CAMERA),
    "predict_hands(image)": lambda x: ESTIMATOR.predict_hands(x, camera=CAMERA),
    "predict_hands(max_hands)": lambda x: ESTIMATOR.predict_hands(DEPTH, camera=CAMERA, max_hands=x),
    "stream(images)": lambda x: list(ESTIMATOR.stream(x, camera=CAMERA)),
    "stream(on_error)": lambda x: list(ESTIMATOR.stream([DEPTH], camera=CAMERA, on_error=x)),
    "predict_files(estimator)": lambda x: files(estimator=x),
    "predict_files(paths)": lambda x: files(paths=x),
    "predict_files(query)": lambda x: files(query=x),
    "predict_files(centers)": lambda x: files(centers=x),
    "predict_files(max_hands)": lambda x: files(max_hands=x),
    "predict_files(batch_size)": lambda x: files(batch_size=x),
    "predict_files(threads)": lambda x: files(threads=x),
    "localize_hands(depth)": lambda x: localize_hands(x, CAMERA),
    "localize_hands(camera)": lambda x: localize_hands(DEPTH, x),
    "localize_hands(max_hands)": lambda x: ESTIMATOR.localize_hands(DEPTH, CAMERA, x),
    "HandCrop.cut(camera)": lambda x: HandCrop.cut(DEPTH, x, np.array([0.0, 0.0, 500.0]), 250.0),
    "HandTracker(estimator)": HandTracker,
    "HandTracker(max_hands)": lambda x: HandTracker(ESTIMATOR, max_hands=x),
    "HandTracker(hand)": lambda x: HandTracker(ESTIMATOR, hand=x),
    "HandTracker(smoothing)": lambda x: HandTracker(ESTIMATOR, smoothing=x),
    "OneEuro(min_cutoff)": lambda x: OneEuro(min_cutoff=x),
    "OneEuro(beta)": lambda x: OneEuro(beta=x),
    "OneEuro(velocity_cutoff)": lambda x: OneEuro(velocity_cutoff=x),
    "update(depth)": lambda x: update(depth=x),
    "update(camera)": lambda x: update(camera=x),
    "update(time)": lambda x: update(time=x),
    "update(unit)": lambda x: update(unit=x),
    "Camera(fx)": lambda x: Camera(x, 500.0, 320.0, 240.0),
    "Camera(cx)": lambda x: Camera(500.0, 500.0, x, 240.0),
    "Camera(width)": lambda x: Camera(500.0, 500.0, 320.0, 240.0, x, 480),
    "Camera(distortion)": lambda x: Camera(500.0, 500.0, 320.0, 240.0, 640, 480, x),
    "Camera.of": Camera.of,
    "Camera.parse": Camera.parse,
    "Camera.from_dict": Camera.from_dict,
    "Camera.assumed(width)": lambda x: Camera.assumed(x, 480),
    "Camera.for_image(width)": lambda x: CAMERA.for_image(x, 480),
    "Camera.resize(height)": lambda x: CAMERA.resize(640, x),
    "Camera.crop(x)": lambda x: CAMERA.crop(x, 0, 96, 96),
    "Camera.crop(width)": lambda x: CAMERA.crop(0, 0, x, 96),
    "Camera.project": CAMERA.project,
    "Camera.unproject": CAMERA.unproject,
    "Distortion(model)": lambda x: Distortion(x, (0.1, 0.0, 0.0, 0.0)),
    "Distortion(coefficients)": lambda x: Distortion("brown_conrady", x),
    "Distortion.from_dict": Distortion.from_dict,
    "from_pretrained(name)": HandPoseEstimator.from_pretrained,
    "from_pretrained(backend)": lambda x: HandPoseEstimator.from_pretrained("msra", backend=x),
    "from_pretrained(device)": lambda x: HandPoseEstimator.from_pretrained("msra", device=x),
    "from_pretrained(precision)": lambda x: HandPoseEstimator.from_pretrained("msra", precision=x),
    "from_pretrained(views)": lambda x: HandPoseEstimator.from_pretrained("msra", views=x),
}
VALID = {
    ("predict(image)", "an empty list"),
    ("predict(camera)", "None"),
    ("predict(center)", "None"),
    ("predict(center)", "an array"),
    ("predict(center)", "NaN"),
    ("predict(box)", "None"),
    ("predict_batch(images)", "an empty array"),
    ("predict_batch(images)", "an empty list"),
    ("stream(images)", "an empty array"),
    ("stream(images)", "an empty list"),
    ("predict_files(paths)", "an empty array"),
    ("predict_files(paths)", "an empty list"),
    ("predict_files(centers)", "None"),
    ("predict_files(threads)", "None"),
    ("update(camera)", "None"),
    ("HandCrop.cut(camera)", "a matrix of the wrong size"),
    ("Camera(distortion)", "None"),
    ("Camera.of", "a matrix of the wrong size"),  # has four numbers
    ("Camera.project", "an array"),
    ("Camera.unproject", "an array"),
}
UNBOUNDED = ("max_hands", "batch_size", "threads", "OneEuro")  # which may be any number


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_an_error_of_one_line(name: str) -> None:
    problems = []
    for kind, value in WRONG.items():
        if (name, kind) in VALID or (isinstance(value, int) and any(each in name for each in UNBOUNDED)):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                CALLS[name](value)
        except HandPoseError as error:
            text = str(error).replace(str(value), "")
            if "\n" in text or len(text) > 400:
                problems.append(f"{kind}: long message {text[:200]!r}")
        except Exception as error:  # what this test looks for
            problems.append(f"{kind}: {type(error).__name__}: {error}")
        else:
            problems.append(f"{kind}: accepted")
    assert not problems, "\n".join(problems)


def test_functions_accept_a_camera_in_any_form() -> None:
    file = str(EXAMPLES / "camera.json")
    center = localize_hands(DEPTH, CAMERA)[0]
    matrix = [[CAMERA.fx, 0.0, CAMERA.cx], [0.0, CAMERA.fy, CAMERA.cy], [0.0, 0.0, 1.0]]
    for same in (file, matrix):
        assert np.array_equal(localize_hands(DEPTH, same), localize_hands(DEPTH, Camera.of(same)))
        assert np.array_equal(
            HandCrop.cut(DEPTH, same, center, 250.0).patch, HandCrop.cut(DEPTH, CAMERA, center, 250.0).patch
        )


def test_an_image_of_another_library_has_no_path() -> None:
    class Picture:
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            return DEPTH

    image: Any = Picture()
    assert ESTIMATOR.predict(image, camera=CAMERA).source == ""
    assert ESTIMATOR.predict(FILE, camera=CAMERA).source == FILE


def test_options_without_a_meaning_are_rejected() -> None:
    with pytest.raises(HandPoseError, match="'skip' requires a list of images"):
        ESTIMATOR.predict(FILE, camera=CAMERA, on_error="skip")  # type: ignore[call-overload]
    with pytest.raises(HandPoseError, match="only weights on the Hub have revisions"):
        HandPoseEstimator.from_pretrained(WEIGHTS["msra"].built_in, revision="v2")
    with pytest.raises(HandPoseError, match="only weights on the Hub have revisions"):
        HandPoseEstimator.from_pretrained("hand.onnx", revision="v2")
    (finding,) = check_frame(FILE, ESTIMATOR, Query(CAMERA), topic="/depth")
    assert finding.verdict == "fail"
    assert "only ROS bags have topics" in finding.message


@pytest.mark.parametrize("count", [1, 3])
def test_centers_must_be_one_per_file(count: int) -> None:
    with pytest.raises(HandPoseError, match="one per file"):
        list(predict_files(ESTIMATOR, [FILE, FILE], Query(CAMERA), centers=np.full((count, 3), 500.0)))
