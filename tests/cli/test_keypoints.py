"""`--joints`, `--meters` and `--extrinsics` of predict and live."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handpose import HandPose
from tests.helpers.command import run
from tests.helpers.paths import EXAMPLES

OPEN = (EXAMPLES / "open.png", "--camera", EXAMPLES / "camera.json")
ROBOT = np.array([[0.0, 0.0, 1.0, 0.5], [-1.0, 0.0, 0.0, 0.1], [0.0, -1.0, 0.0, 1.2], [0.0, 0.0, 0.0, 1.0]])
"""Pose of a camera that looks along the x axis of a robot."""


def test_records_of_predict(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "camera.txt", ROBOT)
    options = ("--joints", "openxr", "--meters", "--extrinsics", tmp_path / "camera.txt")
    code, out, err = run("predict", *OPEN, *options)
    assert code == 0, err
    record = json.loads(out)
    keypoints, pose = record["keypoints"], HandPose.from_dict(record)
    assert (keypoints["order"], keypoints["unit"], keypoints["frame"]) == ("openxr", "m", "extrinsics")
    xyz = dict(zip(keypoints["names"], keypoints["xyz"], strict=True))
    assert xyz["palm"] is xyz["little_metacarpal"] is None
    x, y, z = pose["pinky_tip"] / 1000.0
    np.testing.assert_allclose(xyz["little_tip"], (z + 0.5, -x + 0.1, -y + 1.2), atol=2e-5)
    np.testing.assert_allclose(np.array(keypoints["wrist"]), ROBOT @ pose.wrist("m"), atol=2e-3)


def test_records_of_live() -> None:
    code, out, err = run("live", EXAMPLES / "hand.hpr", "--frames", 2, "--meters")
    assert code == 0, err
    for line in out.splitlines():
        record = json.loads(line)
        assert record["keypoints"]["names"] == record["joints"]
        np.testing.assert_allclose(record["keypoints"]["xyz"], np.array(record["xyz_mm"]) / 1000.0, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--joints", "mano", "--format", "csv"), "require jsonl or json"),
        (("--joints", "mano", "--model", "icvl"), "contains no joints of mano"),
        (("--extrinsics", "missing.txt"), "no such file"),
    ],
)
def test_options_that_do_not_fit(options: tuple[str, ...], message: str) -> None:
    code, _, err = run("predict", *OPEN, *options)
    assert code == 2
    assert message in err
