"""Pictures of all hands in an image."""

from __future__ import annotations

import json
import tempfile
import webbrowser
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from handpose import HandPose, HandPoseError, PoseWarning, draw_hands, pose_page
from handpose.results.overlay import joint_colors
from handpose.results.pose import describe
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


@pytest.mark.parametrize("show", [draw_hands, lambda depth, poses: pose_page(poses[0], depth)])
def test_a_pose_is_not_drawn_over_an_image_of_another_size(show: Callable[..., object]) -> None:
    show(DEPTH, [a_pose()])
    height, width = DEPTH.shape
    for depth in (DEPTH[:, :-1], DEPTH[::2, ::2], DEPTH[..., None]):
        with pytest.raises(HandPoseError, match=rf"depth must be .*\({height}, {width}\) in mm, got one of"):
            show(depth, [a_pose()])


def test_bones_are_brighter_than_the_depth_map() -> None:
    empty = draw_hands(DEPTH, [])
    assert empty.max() < max(map(max, joint_colors(a_pose().layout)))
    assert (draw_hands(DEPTH, [a_pose()]) != empty).any()


@pytest.mark.parametrize(
    ("pose", "text"),
    [
        (a_pose(), "left hand at 400 mm, ±5 mm"),
        (
            replace(a_pose(), error_mm=np.full(21, np.nan), status="low_confidence"),
            "left hand at 400 mm, low confidence",
        ),
        (records()[1], "no hand: why"),
    ],
)
def test_the_legend(pose: HandPose, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if pose.status != "no_hand":
        pose = replace(pose, center=np.array([0.0, 0.0, 400.0]))
    written: list[str] = []
    monkeypatch.setattr("handpose.results.pose.write_legend", lambda _, lines: written.extend(lines))
    pose.draw(DEPTH)
    assert written == [text]


def test_a_notebook_shows_a_pose_without_its_image() -> None:
    pose = a_pose()
    tip = pose.layout.joints.index("ring_tip")
    pose.xyz[tip, 2] -= 30.0
    png = pose._repr_png_()
    assert png is not None
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 960, 3)
    side = picture[:440, 480:]  # the camera is to its left
    rows, columns = np.nonzero(side.max(axis=2) > 200)
    leftmost = columns.argmin()
    assert np.abs(side[rows[leftmost], columns[leftmost]].astype(int) - joint_colors(pose.layout)[tip]).max() < 60
    assert records()[1]._repr_png_() is None


def test_notebooks_show_warnings_and_missing_hands() -> None:
    pose, nothing = replace(a_pose(), warnings=()), records()[1]
    assert pose._repr_html_() is None
    html = replace(pose, warnings=(PoseWarning("unit", "<b> & co"),))._repr_html_()
    png = pose._repr_png_()
    assert png is not None
    assert f'src="data:image/png;base64,{b64encode(png).decode()}"' in html
    assert f"<p>{describe(pose)}</p><ul><li>&lt;b&gt; &amp; co</li></ul>" in html
    assert nothing._repr_html_() == "<div><p>no hand: why</p></div>"


def test_show_opens_the_picture_in_the_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    a_pose().show(DEPTH)
    (file,) = tmp_path.iterdir()
    assert opened == [file.as_uri()]
    assert (cv2.imread(str(file)) == a_pose().draw(DEPTH)).all()


def test_show_without_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    with pytest.raises(HandPoseError, match="no browser can show the picture"):
        a_pose().show(DEPTH)
    assert list(tmp_path.iterdir()) == []


def test_show_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = pytest.importorskip("IPython")
    display = pytest.importorskip("IPython.display")
    shown: list[bytes] = []
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr(display, "display", lambda image: shown.append(image.data))
    a_pose().show(DEPTH)
    assert shown == [cv2.imencode(".png", a_pose().draw(DEPTH))[1].tobytes()]


def test_short_representations() -> None:
    pose = replace(a_pose(), center=np.array([0.0, 0.0, 400.0]))
    assert repr(pose) == "HandPose(left hand at 400 mm, ok, 21 msra joints)"
    assert json.loads(pose.to_json()) == pose.to_dict()


def test_a_joint_that_is_selected_by_its_number_is_an_error_with_advice() -> None:
    with pytest.raises(HandPoseError, match=r"4 is not a joint of the msra layout.*`pose\.xyz\[4\]`"):
        a_pose()[4]  # type: ignore[index]
    with pytest.raises(HandPoseError, match=r"'thumb' is not a joint of the msra layout: .*[a-z_]+$"):
        a_pose()["thumb"]


def test_choices_are_named_without_quotation_marks() -> None:
    with pytest.raises(HandPoseError, match=r"^the frame must be one of camera, wrist, operator, got 'robot'$"):
        a_pose().keypoints("mediapipe", frame="robot")  # type: ignore[arg-type]
    with pytest.raises(HandPoseError, match="must be one of ok, low_confidence, no_hand and hand one of right, left"):
        replace(a_pose(), hand="Left")
