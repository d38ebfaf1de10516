"""Warnings name the line of the caller, not one of the package or of its threads."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import handpose
from handpose import Camera, HandPoseEstimator, read_depth
from handpose.inference.query import AssumedCameraWarning, Query
from handpose.io.depth.read import decode_depth
from handpose.io.depth.units import DepthUnitWarning
from handpose.jobs.pipeline import FetchedFile, predict_files
from handpose.live.pacing import newest_frame
from handpose.live.sources.folder import frames
from tests.helpers.paths import ROOT

CAMERA = Camera(60.0, 60.0, 31.5, 31.5, 64, 64)
FAR = np.full((64, 64), 5000.0, np.float32)  # mm, where no hand can be measured
CENTER = (0.0, 0.0, 5000.0)


@pytest.fixture(scope="module")
def estimator(small_model: Path) -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained(small_model, device="cpu", backend="torch")


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A depth file that shows nothing near."""
    file = tmp_path / "frames" / "far.png"
    file.parent.mkdir()
    cv2.imwrite(str(file), FAR.astype(np.uint16))
    return file


BOTH = [AssumedCameraWarning, DepthUnitWarning]
CALLS: dict[str, tuple[Callable[[HandPoseEstimator, Path], object], list[type[Warning]]]] = {
    "predict an array": (lambda estimator, far: estimator.predict(FAR, center=CENTER), BOTH),
    "predict a file": (lambda estimator, far: estimator.predict(far, center=CENTER), BOTH),
    "predict a list": (lambda estimator, far: estimator.predict([far], center=CENTER), BOTH),
    "predict_batch": (lambda estimator, far: estimator.predict_batch([FAR], center=CENTER), BOTH),
    "predict_hands": (lambda estimator, far: estimator.predict_hands(FAR), BOTH),
    "stream": (lambda estimator, far: list(estimator.stream([FAR])), BOTH),
    "find": (lambda estimator, far: estimator.find(FAR, Query(center=CENTER)), BOTH[:1]),
    "read_depth": (lambda estimator, far: read_depth(far), BOTH[1:]),
    "decode_depth": (lambda estimator, far: decode_depth(far.read_bytes(), "far.png"), BOTH[1:]),
    "predict_files": (lambda estimator, far: list(predict_files(estimator, [far, far])), BOTH),
    "predict_files, fetched": (
        lambda estimator, far: list(predict_files(estimator, [FetchedFile("far.png", far.read_bytes())])),
        BOTH,
    ),
    "newest_frame": (lambda estimator, far: list(newest_frame(frames(far.parent, CAMERA))), BOTH[1:]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_warning_names_the_callers_line(estimator: HandPoseEstimator, far: Path, name: str) -> None:
    call, categories = CALLS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        call(estimator, far)
    assert [one.category for one in caught] == categories
    assert {(one.filename, one.lineno) for one in caught} <= {
        (__file__, line) for line in range(call.__code__.co_firstlineno, call.__code__.co_firstlineno + 2)
    }


def test_a_warning_that_is_an_error_ends_the_job(estimator: HandPoseEstimator, far: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DepthUnitWarning)
        with pytest.raises(DepthUnitWarning, match="nearest surface is at 5,000 mm"):
            list(predict_files(estimator, [far], Query(camera=CAMERA)))


def test_no_module_counts_frames_itself() -> None:
    modules = Path(handpose.__file__).parent.rglob("*.py")
    assert [path.name for path in modules if "warnings.warn(" in path.read_text()] == ["warn.py"]


def first_cells(header: str) -> list[str]:
    """Return the first cell of each row of a table in `docs/check.md`."""
    rows = (ROOT / "docs" / "check.md").read_text().partition(f"{header}\n|---|---|\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)`", rows, re.M)


def test_every_warning_is_documented() -> None:
    codes, categories = set(), set()
    for path in Path(handpose.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "PoseWarning":
                codes |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
            if isinstance(node, ast.ClassDef) and node.name.endswith("Warning") and node.name != "PoseWarning":
                categories.add(node.name)
    assert sorted(first_cells("| Code | Meaning |")) == sorted(codes)
    assert sorted(first_cells("| Category | Meaning |")) == sorted(categories)
    assert categories <= {*handpose.__all__}
