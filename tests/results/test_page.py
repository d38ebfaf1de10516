from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from handpose import Camera, HandPose, HandPoseError
from handpose.geometry.layouts import MSRA21
from handpose.results.page import pose_page
from tests.helpers.browser import open_browser
from tests.helpers.command import CAMERA, OPEN, run


class _Data(HTMLParser):
    """The JSON data and the links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside, self.text, self.links = False, "", []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside = ("id", "hand") in attributes
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data * self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


def known_pose() -> tuple[HandPose, np.ndarray]:
    """Return a pose with known joints, and a depth image of two planes, one of them behind the cube of the pose."""
    camera = Camera(500.0, 500.0, 319.5, 239.5, 640, 480)
    xyz = np.stack([np.linspace(-60, 60, 21), np.linspace(80, -80, 21), np.linspace(480, 520, 21)], axis=1)
    depth = np.zeros((480, 640), np.float32)
    depth[200:280, 280:360] = 500.0
    depth[:100] = 900.0
    pose = HandPose(
        xyz, camera.project(xyz), np.ones((21, 3)), np.full(21, 30.0), layout=MSRA21, status="ok", hand="right",
        center=np.array([0.0, 0.0, 500.0]), cube=250.0, camera=camera, source="</script><b>x.png",
    )  # fmt: skip
    return pose, depth


def test_a_page_contains_the_pose_and_its_points() -> None:
    pose, depth = known_pose()
    data = _Data(pose_page(pose, depth))
    content = json.loads(data.text)
    assert data.links == []
    assert content["pose"] == pose.to_dict()
    assert content["parents"] == list(MSRA21.parents)
    assert content["colors"][4] == content["colors"][1] != content["colors"][5]
    points = np.array(content["points"]).reshape(-1, 3)
    assert len(points) == 80 * 80
    assert np.allclose(
        points[0], [(280 - 319.5), (200 - 239.5), 500.0]
    )  # at 500 mm, a pixel of this camera covers 1 mm


def test_many_points_are_thinned() -> None:
    pose, depth = known_pose()
    pose = replace(pose, cube=1000.0)
    depth[:] = 500.0
    points = np.array(json.loads(_Data(pose_page(pose, depth)).text)["points"]).reshape(-1, 3)
    assert 5_000 < len(points) <= 12_000
    assert np.ptp(points[:, 0]) > 630.0


def test_a_pose_without_a_hand_is_rejected() -> None:
    pose, depth = known_pose()
    no_hand = HandPose.no_hand(pose.layout, hand="right", cube=250.0, camera=pose.camera)
    with pytest.raises(HandPoseError, match="no hand was found"):
        pose_page(no_hand, depth)


def test_predict_writes_pages(tmp_path: Path) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((480, 640), np.float32))
    code, out, err = run("predict", OPEN, tmp_path / "empty.npy", *CAMERA, "--html", tmp_path / "pages")
    assert (code, err) == (0, "")
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["open.html"]  # only the image with a hand
    record = json.loads(_Data((tmp_path / "pages" / "open.html").read_text()).text)["pose"]
    assert record | {"source": OPEN} == json.loads(out.splitlines()[0])
    code, _, err = run("predict", OPEN, tmp_path / "empty.npy", *CAMERA, "--html", tmp_path / "one.html")
    assert (code, "one file for 2 inputs" in err) == (2, True)
    assert run("predict", OPEN, *CAMERA, "--html", tmp_path / "one.html")[0] == 0
    assert (tmp_path / "one.html").is_file()


@pytest.mark.slow
def test_a_browser_shows_and_turns_the_hand(tmp_path: Path) -> None:
    pose, depth = known_pose()
    (tmp_path / "hand.html").write_text(pose_page(pose, depth))
    with open_browser() as page:
        page.goto((tmp_path / "hand.html").as_uri())

        # The middle joint is the center of the view for any rotation.
        page.mouse.move(640, 480)
        label = page.locator("output")
        assert label.inner_text() == f"{MSRA21.joints[10]}: 0.0, 0.0, 500.0 mm, expected error 30.0 mm"
        page.mouse.move(100, 100)
        assert label.inner_text() == ""
        before = page.locator("canvas").screenshot()
        page.mouse.down()
        page.mouse.move(300, 160, steps=4)
        page.mouse.up()
        turned = page.locator("canvas").screenshot()
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(200)
        zoomed = page.locator("canvas").screenshot()
        assert len({before, turned, zoomed}) == 3
        page.mouse.move(640, 480)
        assert label.inner_text().startswith(f"{MSRA21.joints[10]}:")
        page.mouse.dblclick(100, 100)
        assert page.locator("canvas").screenshot() == before


def test_the_page_contains_no_links() -> None:
    assert not re.search(r"https?:|//[a-z]+\.", pose_page(*known_pose()))
