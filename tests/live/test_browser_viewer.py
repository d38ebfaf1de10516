"""The viewer in the browser."""

from __future__ import annotations

import http.client
import re
import threading
import urllib.request

import cv2
import numpy as np
import pytest

from handpose import HandPoseEstimator, HandTracker, draw_hands
from handpose.cli.main import main
from handpose.live.browser_viewer import BrowserViewer
from tests.helpers.paths import EXAMPLES
from tests.helpers.recordings import frames

STREAM = EXAMPLES / "hand.hpr"


def read_picture(stream: http.client.HTTPResponse) -> np.ndarray:
    """Read the next picture of a stream."""
    data = b""
    while not data.endswith(b"\r\n--frame\r\n"):
        data += stream.readline()
    image = data.partition(b"\r\n\r\n")[2]
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)


def test_the_browser_receives_every_picture_that_is_new() -> None:
    tracker = HandTracker(HandPoseEstimator.from_pretrained("msra", device="cpu"))
    viewer = BrowserViewer()
    with urllib.request.urlopen(viewer.address, timeout=10) as page:
        assert b'src="/stream"' in page.read()
    with urllib.request.urlopen(f"{viewer.address}/stream", timeout=10) as stream:
        assert stream.readline() == b"--frame\r\n"
        for frame, _ in zip(frames(STREAM), range(2), strict=False):
            hands = tracker.update(*frame[:3])
            viewer.show(frame, hands)
            expected = draw_hands(frame.depth, [hand.pose for hand in hands])
            assert cv2.PSNR(read_picture(stream), expected) > 30
        viewer.close()
        assert stream.read() == b""


def test_pages_of_other_sites_are_refused() -> None:
    viewer = BrowserViewer()
    try:
        port = int(viewer.address.rpartition(":")[2])
        for host, status in ((f"127.0.0.1:{port}", 200), (f"example.com:{port}", 403)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/", headers={"Host": host})
            assert connection.getresponse().status == status
            connection.close()
    finally:
        viewer.close()


def test_show_opens_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    monkeypatch.setattr("sys.argv", ["handpose", "live", str(STREAM), "--frames", "2", "--show"])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert not ended.value.code
    assert len(out.splitlines()) == 2
    assert [err.splitlines()[0]] == opened
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", opened[0])
    assert not any("serve_forever" in thread.name for thread in threading.enumerate())
