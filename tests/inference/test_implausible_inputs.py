"""Inputs that give joints which look right but are wrong: each has a warning, and good inputs have none."""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handpose import (
    AssumedCameraWarning,
    Camera,
    DepthUnitWarning,
    Distortion,
    HandPose,
    HandPoseEstimator,
    HandTracker,
    InputWarning,
    predict_files,
    read_depth,
)
from handpose.inference.candidates import Candidates
from handpose.inference.check_camera import camera_warnings
from handpose.inference.check_image import Memory
from handpose.inference.check_location import box_warnings, location_warnings
from handpose.inference.check_pose import fitting_unit, hand_warnings
from handpose.inference.query import Box, Query
from handpose.io.depth.units import DepthUnit
from handpose.io.warn import kind
from handpose.live.session import open_paced, run_session
from handpose.localization.numpy_runtime import votes_in_numpy
from tests.helpers.command import run
from tests.helpers.paths import EXAMPLES, SHARED

CAMERA = Camera.parse(str(EXAMPLES / "sr305" / "camera.json"))
FX, FY, CX, CY = CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy
UNSIZED = Camera(FX, FY, CX, CY)
STORED = cv2.imread(str(EXAMPLES / "sr305" / "open.png"), cv2.IMREAD_UNCHANGED)
PINCH = cv2.imread(str(EXAMPLES / "sr305" / "pinch.png"), cv2.IMREAD_UNCHANGED)
DOWN = cv2.imread(str(EXAMPLES / "down.png"), cv2.IMREAD_UNCHANGED)
SYNTHETIC = Camera.parse(str(EXAMPLES / "camera.json"))
UNIT = 0.125
LEFT, TOP, SIDE = 164, 98, 240
REAL_DOWN = cv2.imread(str(EXAMPLES / "sr305" / "down.png"), cv2.IMREAD_UNCHANGED)
CROP = REAL_DOWN[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
MM = STORED * UNIT
BODY = (600, 440, 100, 100)
DISPARITY = np.where(STORED > 0, np.rint(837_000 / np.maximum(MM, 1)), 0).astype(np.uint16)
ENLARGED = cv2.resize(STORED.astype(np.float32), (1280, 960), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize(
    ("intrinsics", "image", "stream"),
    [
        ((610.0, 609.5, 321.5, 238.2), (848, 480), "640 x 480"),  # of the color images of a RealSense D435
        ((425.0, 425.0, 423.1, 241.0), (640, 480), "848 x 480"),
        ((910.0, 909.5, 645.0, 362.0), (1024, 768), "1280 x 720"),
        ((505.0, 505.0, 320.0, 332.0), (640, 576), None),  # an Azure Kinect
        ((900.0, 900.0, 645.0, 362.0), (1280, 720), None),
    ],
)
def test_the_camera_of_a_stream_of_another_shape_is_noticed(
    intrinsics: tuple[float, ...], image: tuple[int, int], stream: str | None
) -> None:
    given = Camera.of(intrinsics)
    messages = [warning.message for warning in camera_warnings(given, given.for_image(*image))]
    assert len(messages) == (stream is not None)
    assert all(f"fits a stream of {stream}" in message for message in messages)


@pytest.fixture
def estimator(loaded: HandPoseEstimator) -> HandPoseEstimator:
    return loaded.for_new_job()


@pytest.fixture(scope="module")
def loaded() -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)


def codes(pose: HandPose) -> list[str]:
    return [warning.code for warning in pose.warnings]


def good_images() -> Iterator[tuple[Path, Camera, float]]:
    for name in ("open", "thumb", "down"):
        yield EXAMPLES / f"{name}.png", Camera.parse(str(EXAMPLES / "camera.json")), 1.0
    for path in [*sorted((EXAMPLES / "sr305").glob("*.png")), *sorted((SHARED / "frames" / "sr305").glob("*.png"))]:
        yield path, CAMERA, UNIT


def test_good_images_have_no_warnings(loaded: HandPoseEstimator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, camera, unit in good_images():
            pose = loaded.for_new_job().predict(path, camera=camera, unit=unit, hand="right")
            assert pose.warnings == (), path


@pytest.mark.filterwarnings("ignore:may be a:handpose.InputWarning")
def test_a_doubtful_side_is_the_only_warning_about_a_good_image_of_unknown_side(loaded: HandPoseEstimator) -> None:
    poses = [loaded.predict(path, camera=camera, unit=unit) for path, camera, unit in good_images()]
    assert {pose.hand for pose in poses} == {"right"}
    assert {code for pose in poses for code in codes(pose)} <= {"side"}
    assert sum(map(bool, map(codes, poses))) <= len(poses) // 4


@pytest.mark.parametrize(
    ("image", "arguments", "expected"),
    [
        (CROP, {"camera": Camera(FX, FY, CX - LEFT, CY - TOP)}, {}),
        (CROP, {"camera": UNSIZED}, {"principal_point": "a crop shifts cx and cy"}),
        (STORED, {"camera": Camera(2 * FX, 2 * FY, 2 * CX, 2 * CY)}, {"principal_point": "about 1255 x 971"}),
        (STORED[::2, ::2], {"camera": UNSIZED}, {"principal_point": "about 627 x 486"}),
        (STORED, {"camera": Camera(FX, FY, 0, 0)}, {"principal_point": "as if it were missing"}),
        (STORED, {"camera": Camera(FX, FY, 0, 0, 640, 480)}, {"principal_point": "as if it were missing"}),
        (STORED, {"camera": Camera(FX, CX, FY, CY)}, {"focal_lengths": "fx, fy, cx, cy", "principal_point": "far"}),
        (STORED, {"camera": Camera(640, 480, FX, FY)}, {"focal_lengths": "fx, fy, cx, cy", "principal_point": "far"}),
        (np.rot90(STORED), {"camera": UNSIZED}, {"principal_point": f"{FY:g},{FX:g},{CY:g},{639 - CX:g} if it was"}),
        (np.rot90(STORED, -1), {"camera": UNSIZED}, {"principal_point": f"or {FY:g},{FX:g},{479 - CY:g},{CX:g} if cl"}),
        (np.rot90(STORED), {"camera": Camera(FY, FX, CY, 639 - CX)}, {}),
        (np.rot90(STORED, -1), {"camera": Camera(FY, FX, 479 - CY, CX)}, {}),
        (STORED, {"camera": None}, {"camera_assumed": "67 degrees"}),
        (STORED, {"unit": 0.2}, {"unit": "read as 0.2, but a hand would be found with unit 0.125"}),
        (STORED, {"unit": 0.25}, {"unit": "with unit 0.125"}),
        (STORED, {"unit": "mm"}, {"unit": "with unit 0.125"}),
        (DISPARITY, {"unit": "mm"}, {"disparity": "looks like disparity"}),
        (ENLARGED, {"camera": CAMERA.resize(1280, 960)}, {"interpolated": "nearest neighbors"}),
        (PINCH[:, ::-1], {}, {"mirrored": "looks like a left hand"}),
        (PINCH[:, ::-1], {"hand": "auto"}, {}),
        (PINCH[:, ::-1], {"hand": "left"}, {}),
        # The focal lengths of other cameras, which make the face in the background as large as a hand.
        (STORED, {"camera": Camera(300, 300, CX, CY)}, {"focal_lengths": "fx 300 and fy 300"}),
        (STORED, {"camera": Camera(340, 340, CX, CY, 640, 480)}, {"focal_lengths": "fx 340 and fy 340"}),
        (PINCH, {"camera": Camera(310, 310, CX, CY), "box": (209, 158, 220, 220)}, {"focal_lengths": "fx 310"}),
        # The face in the background, a part of the body at the border, and the corners of a box around the hand.
        (STORED, {"box": BODY}, {"location": "nothing at the given box", "box": "column 700, but the image has 640"}),
        (PINCH, {"box": (217, 160, 380, 330)}, {"location": "given box", "box": "row 490, but the image has 480 rows"}),
        (PINCH[:, ::-1], {"box": (253, 194, 374, 355)}, {"box": "row 549"}),  # where the side does not matter yet
        (STORED, {"box": (640, 100, 50, 50)}, {"box": "outside of the image of 640 x 480 px"}),
        (STORED, {"box": (209, 158, 220, 220)}, {}),
    ],
)
def test_each_implausible_input_has_its_warning(
    estimator: HandPoseEstimator, image: np.ndarray, arguments: dict[str, Any], expected: dict[str, str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pose = estimator.predict(image, **({"camera": CAMERA, "unit": UNIT, "hand": "right"} | arguments))
    found = {code: message for code, message in pose.warnings if code not in ("range", "hand_size") or not expected}
    assert found.keys() == expected.keys()
    for code, text in expected.items():
        assert text in found[code]
        assert "\n" not in found[code]
    assert all(issubclass(warning.category, InputWarning) for warning in caught)
    assert {message for _, message in pose.warnings} <= {str(warning.message) for warning in caught}


@pytest.mark.parametrize("fx", [300.0, 320.0, 340.0])
@pytest.mark.parametrize("name", ["open", "pinch", "down"])
def test_likely_focal_lengths_are_named(estimator: HandPoseEstimator, name: str, fx: float) -> None:
    path = EXAMPLES / "sr305" / f"{name}.png"
    with pytest.warns(InputWarning, match="check the camera's fx and fy"):
        pose = estimator.predict(path, camera=replace(CAMERA, fx=fx, fy=fx), unit=UNIT, hand="right")
    (named,) = re.findall(r"but clear with about (\d+);", pose.warnings[0].message)
    assert float(named) == pytest.approx(FX, rel=0.12)


def test_of_several_hands_the_clearest_is_examined(estimator: HandPoseEstimator) -> None:
    """A face that is taken for a second hand does not make the camera look wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.predict_hands(STORED, camera=CAMERA, unit=UNIT, max_hands=2, hand="right")
    with pytest.warns(InputWarning, match="but clear with about"):
        estimator.predict_hands(
            STORED, camera=replace(CAMERA, fx=310.0, fy=310.0), unit=UNIT, max_hands=2, hand="right"
        )


def test_a_wrong_focal_length_is_not_a_wrong_side(estimator: HandPoseEstimator) -> None:
    """An image is examined that looks more like a left hand, and still more like a right hand of another camera."""
    depth = read_depth(EXAMPLES / "sr305" / "pinch.png", UNIT)
    query, calibration = Query(replace(CAMERA, fx=310.0, fy=310.0), hand="right"), estimator.config.calibration
    image, pose = estimator.find(depth, query), estimator.predict_unchecked(depth, query)
    assert calibration is not None
    assert pose.error_mm.mean() > 14.0
    pose = replace(pose, given_side_log_odds=-3.0, hand_log_odds=9.0)
    left = replace(pose, hand="left", error_mm=np.full(21, 7.0), given_side_log_odds=3.0)

    def predict_per_crop(hands: Sequence[Candidates]) -> list[list[HandPose]]:
        return [[pose, left] if hand.query.hand == "auto" else [left] for hand in hands]

    ((found,),) = Memory().reasons([pose], [image], calibration, estimator.predict_unchecked, predict_per_crop)
    assert found.code == "focal_lengths"
    ((found,),) = Memory().reasons([pose], [image], calibration, lambda *_: pose, predict_per_crop)
    assert found.code == "mirrored"


@pytest.mark.parametrize(("image", "right"), [(PINCH, {}), (DOWN, {"camera": SYNTHETIC, "unit": "mm"})])
def test_a_wrong_side_has_a_warning_in_every_image(
    estimator: HandPoseEstimator, image: np.ndarray, right: dict[str, Any]
) -> None:
    """The warning does not depend on the images before; the expected error of these wrong poses is low."""
    arguments = {"camera": CAMERA, "unit": UNIT} | right
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [codes(estimator.predict(image, **arguments, hand="left")) for _ in range(5)]
    assert found == [["mirrored"]] * 5


@pytest.mark.parametrize(
    ("unit", "size", "remark"),
    [
        *[("mm", 0.04, ""), ("mm", 8.0, " (0.125 would fit)"), ("mm", 0.105, " (10 would fit)"), ("mm", 1.0, "")],
        *[
            ("m", 1000.0, " (mm would fit)"),
            (0.0625, 0.5, " (0.125 would fit)"),
            (0.3, 0.5, ""),
            ("nyu", 4.0, " (0.25 would fit)"),
        ],
    ],
)
def test_a_unit_that_fits_the_size_of_the_hand_is_named(unit: DepthUnit, size: float, remark: str) -> None:
    assert fitting_unit(unit, size) == remark


def test_a_hand_of_implausible_location_or_size(estimator: HandPoseEstimator) -> None:
    pose = estimator.predict(STORED, camera=CAMERA, unit=UNIT, hand="right")
    query, calibration = Query(CAMERA, hand="right"), estimator.config.calibration
    assert calibration is not None
    given = Query(CAMERA, center=pose.center, hand="right")
    for changed, its_query, expected in (
        (pose, query, []),
        (replace(pose, center=pose.center * (1, 1, 2.1)), query, ["range"]),
        (replace(pose, center=pose.center * (1, 1, 0.2)), query, ["range"]),
        (replace(pose, xyz=pose.xyz * 0.5), query, ["hand_size"]),
        (replace(pose, xyz=pose.xyz * 1.5), query, ["hand_size"]),
        (replace(pose, xyz=pose.xyz * 1.5, error_mm=pose.error_mm + 20), query, []),  # the size is uncertain
        (pose, given, []),
        (replace(pose, center=pose.center + 60), given, ["center_far"]),
        (replace(pose, center=pose.center + 60), query, []),  # localized, not given
    ):
        (found,) = hand_warnings([changed], [its_query], calibration)
        assert [code for code, _ in found] == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((209, 158, 220, 220), ""),
        ((560, 380, 92, 109), ""),  # a detector's box around a hand in the corner
        ((530, 200, 140, 140), ""),  # with a margin
        ((-30, -30, 140, 140), ""),
        ((0, 0, 640, 480), ""),
        ((0, 0, 645, 485), ""),
        ((217, 160, 380, 330), "row 490"),  # corners
        ((300, 160, 380, 330), "column 680"),
        ((600, 440, 100, 100), "column 700"),
        ((500, 440, 100, 100), "row 540"),
        ((300, 480, 100, 100), "outside"),
        ((-100, 0, 100, 100), "outside"),
    ],
)
def test_only_boxes_that_are_probably_wrong_have_a_warning(box: Box, expected: str) -> None:
    found = box_warnings(box, (480, 640))
    assert [code for code, _ in found] == ["box"] * bool(expected)
    assert all(expected in message for _, message in found)


@pytest.mark.filterwarnings("ignore:the box reaches to column 700:handpose.io.warn.InputWarning")
@pytest.mark.parametrize("place", [{"box": BODY}, {"center": (357.2, 253.3, 555.0)}, {"center": (237.8, 99.8, 830.2)}])
def test_a_location_without_a_hand_is_never_ok(estimator: HandPoseEstimator, place: dict[str, Any]) -> None:
    """At the second location, a surface looks so much like a hand that its expected error is only 18 mm."""
    with pytest.warns(InputWarning, match="looks like a hand"):
        pose = estimator.predict(PINCH, camera=CAMERA, unit=UNIT, hand="right", **place)
    assert pose.status == "low_confidence"
    assert "location" in codes(pose)


def test_a_doubtful_hand_at_the_given_location_is_not_elsewhere(estimator: HandPoseEstimator) -> None:
    """The localizer decides whether a hand is there, since a doubtful pose may be that of a real hand."""
    depth = read_depth(EXAMPLES / "sr305" / "open.png", UNIT)
    pose = replace(estimator.predict(depth, camera=CAMERA, hand="right"), error_mm=np.full(21, 30.0))
    image = Candidates(Query(CAMERA, center=pose.center), CAMERA, depth=depth)
    assert location_warnings(pose, image, (), votes_in_numpy) == ()
    (found,) = location_warnings(
        replace(pose, center=pose.center + np.array([200.0, 0.0, 0.0])), image, (), votes_in_numpy
    )
    assert "nothing at the given hand center looks like a hand" in found.message


def test_a_center_beside_the_hand_has_a_warning(estimator: HandPoseEstimator) -> None:
    """The sign of y is wrong."""
    depth = read_depth(EXAMPLES / "sr305" / "pinch.png", UNIT)
    good = estimator.predict(depth, camera=CAMERA, hand="right")
    mean = good.xyz.mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for center in (mean, good["middle_mcp"], mean * 1.03, mean + 10):
            assert estimator.predict(depth, camera=CAMERA, hand="right", center=center).status == "ok"
    with pytest.warns(InputWarning, match=r"nothing at the given hand center.* with y down"):
        pose = estimator.predict(depth, camera=CAMERA, hand="right", center=mean * (1, -1, 1))
    assert pose.status != "ok"


def test_an_image_size_confirms_a_crop_but_not_another_resolution() -> None:
    def found(given: Camera, width: int = 640, height: int = 480) -> list[str]:
        return [code for code, _ in camera_warnings(given, given.for_image(width, height))]

    assert found(UNSIZED) == found(CAMERA) == []
    assert found(Camera(FX, FY, 300, -40, 100, 100), 100, 100) == []
    assert found(Camera(FX, FY, 300, -40), 100, 100) == ["principal_point"]
    assert found(Camera(2 * FX, 2 * FY, 2 * CX, 2 * CY, 640, 480)) == ["principal_point"]
    assert found(Camera(FX, FY, 50, 50), 100, 100) == []  # a crop has a narrow field of view
    assert found(Camera(4760, 4760, 320, 240)) == ["field_of_view"]
    assert found(Camera(47.6, 47.6, 320, 240, 640, 480)) == ["field_of_view"]


def test_a_job_issues_each_kind_of_warning_once_but_every_result_has_it(
    estimator: HandPoseEstimator, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        cv2.imwrite(str(file), STORED + np.uint16(number))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = list(predict_files(estimator, files, Query(hand="right", unit="mm"), batch_size=2))
    assert [one.category for one in caught] == [AssumedCameraWarning, DepthUnitWarning]
    assert all(str(one.message).startswith(f"{files[0]}: ") for one in caught)
    for result in results:
        assert result.pose is not None
        assert codes(result.pose) == ["camera_assumed", "unit"]
    assert kind("at 4,000 mm", DepthUnitWarning) == kind("read as mm", DepthUnitWarning)
    assert kind("one", InputWarning) != kind("other", InputWarning)
    assert kind("one", InputWarning) == kind("one (as in an earlier image)", InputWarning)


@pytest.mark.parametrize("baseline_focal", [20_000, 40_000, 100_000, 300_000, 837_000, 3_000_000])
@pytest.mark.parametrize("name", ["open", "pinch", "down"])
def test_disparity_has_one_warning(estimator: HandPoseEstimator, name: str, baseline_focal: int) -> None:
    """Disparities in px (20,000 and 40,000: a baseline of 42 and 84 mm), or in fractions of a px."""
    depth = read_depth(EXAMPLES / "sr305" / f"{name}.png", UNIT)
    disparity = np.where(depth > 0, np.rint(baseline_focal / np.maximum(depth, 1)), 0).astype(np.uint16)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pose = estimator.predict(disparity, camera=CAMERA, hand="right")
    assert [str(one.message) for one in caught] == [message for _, message in pose.warnings if message]
    assert [code for code in codes(pose) if code not in ("range", "hand_size")] == ["disparity"]


def test_a_lens_model_of_two_meanings_has_a_warning(estimator: HandPoseEstimator) -> None:
    lens = Distortion("inverse_brown_conrady", (0.1, -0.05, 0.001, 0.002, 0.01))
    with pytest.warns(InputWarning, match="aligned to the color camera of a D400"):
        pose = estimator.predict(REAL_DOWN, camera=replace(CAMERA, distortion=lens), unit=UNIT, hand="right")
    assert codes(pose) == ["lens_model"]
    with pytest.warns(InputWarning):
        pose = estimator.predict(
            STORED, camera=replace(CAMERA, fx=310.0, fy=310.0, distortion=lens), unit=UNIT, hand="right"
        )
    assert codes(pose) == ["lens_model", "focal_lengths"]
    slight = Distortion("inverse_brown_conrady", (1e-5, 0.0, 0.0, 0.0, 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            codes(estimator.predict(STORED, camera=replace(CAMERA, distortion=slight), unit=UNIT, hand="right")) == []
        )


def test_doubtful_images_are_examined_more_and_more_rarely(estimator: HandPoseEstimator) -> None:
    wall = np.full((48, 64), 500, np.float32)
    image = Candidates(Query(), Camera.assumed(64, 48), depth=wall)
    (pose,) = estimator.poses([image])
    memory, tried, calibration = Memory(), [], estimator.config.calibration
    assert calibration is not None
    for number in range(1, 101):
        predict = lambda depth, query, n=number: tried.append(n) or pose  # noqa: E731
        memory.reasons([pose], [image], calibration, predict, lambda *_: [])
    assert sorted(set(tried)) == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.filterwarnings("ignore::handpose.InputWarning")
def test_a_reason_holds_only_for_images_of_its_kind(estimator: HandPoseEstimator) -> None:
    meters = (MM / 1000).astype(np.float32)
    images = (meters, meters, STORED, 0 * STORED, np.full_like(STORED, 1500), -meters)
    found = [estimator.predict(image, camera=CAMERA, hand="right").warnings for image in images]
    in_meters = "read as mm, but a hand would be found with unit m; check the unit"
    assert [message for _, message in found[0]] == [in_meters]
    assert [message for _, message in found[1]] == [f"{in_meters} (as in an earlier image)"]
    assert "would be found with unit 0.125" in found[2][0].message
    assert [code for code, _ in (*found[3], *found[4])] == []
    assert [message.split(",")[0] for _, message in found[5]] == ["the depth values are negative"]


def test_negative_depth_values_are_named_in_files_and_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "negative.npy", -MM)
    with pytest.warns(DepthUnitWarning, match=r"negative\.npy: the depth values are negative"):
        read_depth(tmp_path / "negative.npy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        some = MM.copy()
        some[0] = -1.0
        assert not Query().load(some)[0].any()
        assert not Query().load(np.full((480, 640), np.nan)).any()


def test_the_tracker_reads_any_unit_and_warns_about_a_wrong_one(loaded: HandPoseEstimator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (hand,) = HandTracker(loaded.for_new_job(), hand="right").update(STORED, CAMERA, 0.0, unit=UNIT)
        assert HandTracker(loaded.for_new_job()).update(np.full((480, 640), 3000.0), CAMERA, 0.0) == []
    assert np.allclose(hand.pose.xyz, loaded.predict(STORED, camera=CAMERA, unit=UNIT, hand="right").xyz, atol=20.0)
    for max_hands in (1, 2):
        with pytest.warns(DepthUnitWarning, match=r"read as mm, but a hand would be found with unit 0\.125"):
            assert (
                HandTracker(loaded.for_new_job(), max_hands=max_hands, hand="right").update(STORED, CAMERA, 0.0) == []
            )


def test_a_tracked_hand_has_the_warnings_of_its_camera(estimator: HandPoseEstimator, tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), CROP)
    tracker = HandTracker(estimator, hand="right")
    with pytest.warns(InputWarning, match="the principal point 314, 243 is far"):
        frames = list(run_session(open_paced(str(tmp_path), camera=UNSIZED, unit=UNIT), tracker))
    assert [codes(hand.pose) for frame in frames for hand in frame.hands] == [["principal_point"]] * 3


def test_the_command_prints_each_warning_once_and_records_it(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), CROP)
    camera = f"{FX},{FY},{CX},{CY}"
    code, out, err = run("predict", tmp_path, "-c", camera, "--unit", UNIT, "--hand", "right")
    assert code == 0
    assert [line.split(";")[0] for line in err.splitlines()] == [
        f"warning: {tmp_path / '0.png'}: the principal point 314, 243 is far from the center of this 240 x 240 image "
        "but fits a stream of 640 x 480"
    ]
    records = [json.loads(line) for line in out.splitlines()]
    assert [[one["code"] for one in record["warnings"]] for record in records] == [["principal_point"]] * 3
    code, out, _ = run("predict", tmp_path, "-c", camera, "--unit", UNIT, "--hand", "right", "--format", "csv")
    assert {row["warnings"] for row in csv.DictReader(out.splitlines())} == {"principal_point"}
    run("predict", tmp_path, "-c", camera, "--unit", UNIT, "--hand", "right", "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["warnings"].tolist() == ["principal_point"] * 3


def test_the_command_prints_and_records_the_warning_about_a_lens_model(tmp_path: Path) -> None:
    lens = {"model": "Inverse Brown Conrady", "coeffs": [0.1, -0.05, 0.001, 0.002, 0.01]}
    own = {"fx": FX, "fy": FY, "ppx": CX, "ppy": CY, "width": 640, "height": 480}
    (tmp_path / "camera.json").write_text(json.dumps(own | lens))
    file = EXAMPLES / "sr305" / "down.png"
    _, out, err = run("predict", file, "-c", tmp_path / "camera.json", "--unit", UNIT, "--hand", "right")
    (line,) = err.splitlines()
    assert line.startswith(f"warning: {file}: the lens model inverse_brown_conrady")
    assert [one["code"] for one in json.loads(out)["warnings"]] == ["lens_model"]
