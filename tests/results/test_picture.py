"""Pictures of all hands in an image."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from handpose import HandPose, draw_hands
from handpose.results.overlay import joint_colors
from tests.results.test_table import CAMERA, records

DEPTH = np.full((48, 64), 400.0)


def a_pose() -> HandPose:
    pose = records()[0]
    assert isinstance(pose, HandPose)
    v, u = np.meshgrid(np.linspace(10, 40, 3), np.linspace(6, 56, 7), indexing="ij")
    uvz = np.stack([u.ravel(), v.ravel(), np.full(21, 400.0)], axis=1)
    return replace(pose, uvz=uvz, xyz=CAMERA.unproject(uvz))


def test_a_small_image_is_enlarged_and_joints_stay_in_place() -> None:
    pose = a_pose()
    picture = draw_hands(DEPTH, [pose])
    assert picture.shape == (720, 960, 3)
    colors = joint_colors(pose.layout)
    for joint, (u, v, _) in enumerate(pose.uvz):
        row, column = int((v + 0.5) * 15), int((u + 0.5) * 15)
        assert tuple(picture[row, column]) in colors, joint


def test_bones_are_brighter_than_the_depth_map() -> None:
    empty = draw_hands(DEPTH, [])
    assert empty.max() < max(map(max, joint_colors(a_pose().layout)))
    assert (draw_hands(DEPTH, [a_pose()]) != empty).any()


@pytest.mark.parametrize(
    ("pose", "text"),
    [
        (a_pose(), "left hand at 400 mm, +-5 mm"),
        (
            replace(a_pose(), error_mm=np.full(21, np.nan), status="low_confidence"),
            "left hand at 400 mm, low confidence",
        ),
        (records()[1], "no hand"),
    ],
)
def test_the_legend(pose: HandPose, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if pose.status != "no_hand":
        pose = replace(pose, center=np.array([0.0, 0.0, 400.0]))
    written: list[str] = []
    monkeypatch.setattr("handpose.results.pose.write_legend", lambda _, lines: written.extend(lines))
    pose.draw(DEPTH)
    assert written == [text]


def test_short_representations() -> None:
    pose = replace(a_pose(), center=np.array([0.0, 0.0, 400.0]))
    assert repr(pose) == "HandPose(left hand at 400 mm, ok, 21 msra joints)"
    assert json.loads(pose.to_json()) == pose.to_dict()
