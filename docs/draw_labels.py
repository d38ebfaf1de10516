"""Take a screenshot of the labeling page for `docs/images/label.png`, with an image of an SR305.

Requires Playwright and Chromium.

python docs/draw_labels.py
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from handpose import Camera, HandPoseEstimator
from handpose.inference.query import Query
from handpose.labeling.labels import LabelFile
from handpose.labeling.server import serve
from handpose.labeling.session import LabelingSession

ROOT = Path(__file__).resolve().parent.parent
IMAGES, EXAMPLES = ROOT / "docs" / "images", ROOT / "examples" / "sr305"

if __name__ == "__main__":
    estimator = HandPoseEstimator.from_pretrained("msra")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        frames = [Path(shutil.copy(EXAMPLES / f"{name}.png", folder)) for name in ("down", "open", "pinch")]
        query = Query(Camera.parse(str(EXAMPLES / "camera.json")), hand="right", unit=0.125)
        with contextlib.closing(LabelFile(Path(folder) / "labels.jsonl", estimator.layout)) as labels:
            labels.skip(frames[1])
            session = LabelingSession(frames, labels, estimator, query)
            with contextlib.closing(serve(session, "127.0.0.1", 0)) as server:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1380, "height": 800})
                page.goto(server.address)
                page.locator("#accept:enabled").wait_for()
                page.keyboard.press("Enter")
                page.locator("#accept:enabled").wait_for()
                page.get_by_title("middle_tip", exact=True).click()
                page.evaluate("document.getElementById('source').textContent = 'recording/pinch.png'")
                page.wait_for_timeout(500)  # until it is drawn
                page.screenshot(path=IMAGES / "label.png")
                browser.close()
