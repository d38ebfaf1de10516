from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from handpose import Camera, HandPoseError, HandPoseEstimator
from tests.helpers.browser import open_browser
from tests.helpers.paths import EXAMPLES

pytest.importorskip("gradio")

NUMBERS = "476,476,319.5,239.5,640,480"
OPEN = str(EXAMPLES / "open.png")


def test_the_page_shows_the_prediction_of_the_library() -> None:
    from handpose.demo.show import show_hands

    shown = show_hands(OPEN, NUMBERS, "mm", "msra", "right")
    pose = HandPoseEstimator.from_pretrained("msra").predict(OPEN, camera=Camera.parse(NUMBERS), hand="right")
    assert f"A right hand, {pose.center[2]:.0f} mm from the camera" in shown.status
    assert shown.overlay.shape == (960, 1280, 3)
    assert shown.records == [pose.to_dict() | {"source": "open.png"}]
    assert [row[1] for row in shown.rows] == list(pose.layout.joints)
    assert np.allclose([row[2:5] for row in shown.rows], pose.xyz, atol=0.051)


def test_the_page_averages_over_views() -> None:
    from handpose.demo.show import show_hands

    shown = show_hands(OPEN, NUMBERS, "mm", "msra", "right", views=4)
    pose = HandPoseEstimator.from_pretrained("msra", views=4).predict(OPEN, camera=Camera.parse(NUMBERS))
    assert np.allclose([row[2:5] for row in shown.rows], pose.xyz, atol=0.051)


def test_all_hands_are_shown(tmp_path: Path) -> None:
    from handpose.demo.show import show_hands

    depth = cv2.imread(OPEN, cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / "two.png"), np.hstack([depth, depth[:, ::-1]]))
    shown = show_hands(str(tmp_path / "two.png"), "476,476,639.5,239.5", "mm", "msra", "auto", 2)
    assert sorted(record["hand"] for record in shown.records) == ["left", "right"]
    assert {row[0] for row in shown.rows} == {"left", "right"}
    assert (shown.viewer.count("<iframe"), shown.downloads.count("<a download")) == (2, 4)
    assert shown.status.count("Status: ok") == 2


@pytest.mark.parametrize(
    ("path", "camera", "unit", "sentence"),
    [
        (None, NUMBERS, "mm", "Choose a depth image"),
        (OPEN, "kinect", "mm", "the camera must be one of icvl, nyu, msra, or fx,fy,cx,cy"),
        (OPEN, "/etc/camera.json", "mm", "the camera must be one of"),
        (OPEN, "1,2,3", "mm", "camera must be one of"),
        (OPEN, NUMBERS, "cm", "unit must be mm, m, nyu"),
        (OPEN, NUMBERS, "m", "No hand was found"),
        (OPEN, "icvl,", "mm", "the camera must be one of"),
        (str(EXAMPLES / "camera.json"), NUMBERS, "mm", "camera.json"),
    ],
)
def test_errors_are_shown(path: str | None, camera: str, unit: str, sentence: str) -> None:
    from handpose.demo.show import show_hands

    shown = show_hands(path, camera, unit, "msra", "right")
    assert sentence in shown.status
    assert 'class="warning"' in shown.status
    assert str(EXAMPLES) not in shown.status  # the paths of uploads are private
    assert (shown.viewer, shown.rows) == ("", None)


def test_an_assumed_camera_is_reported() -> None:
    from handpose.demo.show import ASSUMED, show_hands

    shown = show_hands(OPEN, ASSUMED, "mm", "msra", "right")
    assert "assuming a field of view of 67 degrees" in shown.status
    assert len(shown.rows) == 21


def test_an_upload_replaces_the_camera_of_the_examples_but_no_other() -> None:
    from handpose.demo.page import make_page
    from handpose.demo.show import ASSUMED

    page = make_page(["msra"])
    (file,) = (block for block in page.blocks.values() if block.get_block_name() == "file")
    (uploaded,) = (event for event in page.fns.values() if (file._id, "upload") in event.targets)
    assert [block.label for block in uploaded.outputs] == ["Camera", "Unit"]
    assert uploaded.fn(NUMBERS, "0.125") == (ASSUMED, "mm")
    assert uploaded.fn("500,500,320,240", "0.125") == ("500,500,320,240", "0.125")


def test_the_side_of_the_hand_is_predicted_unless_it_is_chosen() -> None:
    from handpose.demo.page import make_page

    (hand,) = (block for block in make_page(["msra"]).blocks.values() if getattr(block, "label", "") == "Hand")
    assert (hand.value, [value for _, value in hand.choices]) == ("auto", ["right", "left", "auto"])


def test_a_port_in_use_is_reported() -> None:
    from handpose.demo.server import serve

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HandPoseError, match="cannot listen"):
        serve("127.0.0.1", taken.getsockname()[1], ["msra"])


def test_without_gradio_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['gradio'] = None; sys.argv = ['', 'demo']; import handpose.cli.main as c; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: handpose demo requires gradio: pip install 'handpose[demo]'\n")


@contextmanager
def running_demo() -> Iterator[str]:
    """Start the demo with its command, and yield its address."""
    command = [sys.executable, "-m", "handpose", "demo", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[0]
        finally:
            process.terminate()
            assert process.communicate(timeout=20) == ("", "")


def enter(page: Any, label: str, text: str) -> None:
    page.get_by_label(label, exact=True).fill(text)
    page.keyboard.press("Enter")


def record_of(page: Any) -> dict:
    content = page.locator("#viewer iframe").content_frame.locator("#hand").text_content()
    return json.loads(content)["pose"]


def check_gallery(page: Any) -> None:
    """Check that the gallery shows all examples, without an empty area below them."""
    gallery = page.locator("#examples .grid-wrap").bounding_box()
    last = page.locator("#examples button").last.bounding_box()
    assert last["x"] + last["width"] <= gallery["x"] + gallery["width"]
    assert gallery["height"] < last["height"] + 40


@pytest.mark.slow
def test_a_person_tries_it(tmp_path: Path) -> None:
    """Choose an example, upload images, change every input, rotate the hand, and read errors, in Chromium."""
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((480, 640), 90, np.uint8))
    estimator = HandPoseEstimator.from_pretrained("msra")
    found = {}
    for name, folder, unit in (
        ("open", EXAMPLES / "sr305", 0.125),
        ("thumb", EXAMPLES, "mm"),
        ("rendered", EXAMPLES, "mm"),
    ):
        file = folder / f"{name.replace('rendered', 'open')}.png"
        pose = estimator.predict(file, camera=Camera.parse(str(folder / "camera.json")), unit=unit)
        found[name] = f"A right hand, {pose.center[2]:.0f} mm"
    with running_demo() as address, open_browser(1400, 1000) as page:
        page.goto(address)
        with urlopen(address) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        status = page.locator("#status")

        def wait_for(text: str) -> None:
            status.get_by_text(text).wait_for(timeout=30_000)

        def upload(file: object) -> None:
            page.get_by_label("Clear").click()
            wait_for("Choose a depth image")
            page.locator("input[type=file]").first.set_input_files(file)

        wait_for(found["open"])  # the first example is shown initially
        check_gallery(page)
        page.get_by_text("synthetic", exact=True).click()
        wait_for(found["thumb"])
        truth = json.loads((EXAMPLES / "thumb.truth.json").read_text())["xyz_mm"]
        assert np.linalg.norm(np.array(record_of(page)["xyz_mm"]) - truth, axis=1).mean() < 12.0
        page.get_by_label("Dataframe").get_by_text("index_mcp").first.wait_for()
        page.get_by_role("tab", name="JSON").click()
        page.get_by_text("xyz_mm").first.wait_for()

        viewer = page.locator("#viewer iframe")
        before, box = viewer.screenshot(), viewer.bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + 250, box["y"] + 120, steps=4)
        page.mouse.up()
        assert viewer.screenshot() != before

        upload(OPEN)
        wait_for("assuming a field of view of 67 degrees")  # no longer the camera of the examples
        enter(page, "Camera", NUMBERS)
        status.get_by_text("assuming").wait_for(state="detached", timeout=30_000)
        wait_for(found["rendered"])
        assert record_of(page)["source"] == "open.png"
        page.get_by_label("left").check()
        wait_for("A left hand")
        page.get_by_label("Model").click()
        page.get_by_role("option", name="nyu").click()
        page.get_by_text("ring_mid").first.wait_for()
        assert record_of(page)["layout"] == "nyu"
        for label, text, sentence in (
            ("Unit", "cm", "unit must be mm, m, nyu"),
            ("Unit", "1", "A left hand"),
            ("Camera", "kinect", "the camera must be one of"),
            ("Camera", "476,476,320,240", "A left hand"),
        ):
            enter(page, label, text)
            wait_for(sentence)
        upload(tmp_path / "gray.png")
        wait_for("gray.png: is an 8-bit")


@pytest.mark.slow
def test_it_fits_a_phone_and_the_results_can_be_downloaded() -> None:
    with running_demo() as address, open_browser(390, 844) as page:
        page.goto(address)
        page.locator("#status").get_by_text("A right hand").wait_for(timeout=30_000)
        assert page.evaluate("document.documentElement.scrollWidth") == 390  # no horizontal scrolling
        for item in ("#overlay", "#viewer iframe"):
            box = page.locator(item).bounding_box()
            assert box["x"] >= 0
            assert 300 <= box["width"] <= 390 - box["x"]
        for title, start in (("JSON", b"["), ("PNG", b"\x89PNG"), ("HTML", b"<!doctype html>")):
            with page.expect_download() as download:
                page.get_by_role("link", name=title).click()
            assert download.value.suggested_filename == f"open.{title.lower()}"
            assert download.value.path().read_bytes().lower().startswith(start.lower())
