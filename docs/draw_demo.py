"""Take screenshots of the web demo and of the 3D viewer for `docs/images/demo.png` and `docs/images/viewer.png`.

Requires the extra `demo`, Playwright and Chromium.

python docs/draw_demo.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from handpose import Camera, HandPoseEstimator, read_depth
from handpose.demo.server import serve
from handpose.results.page import pose_page

ROOT = Path(__file__).resolve().parent.parent
IMAGES, EXAMPLES = ROOT / "docs" / "images", ROOT / "examples"

if __name__ == "__main__":
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        demo, address = serve("127.0.0.1", 0, ["msra", "nyu", "icvl"])
        page = browser.new_page(viewport={"width": 1380, "height": 860})
        page.goto(address)
        page.get_by_text("open", exact=True).click()
        page.get_by_text("mm from the camera").wait_for(timeout=60_000)
        page.wait_for_timeout(5000)  # until the pictures are loaded
        page.screenshot(path=IMAGES / "demo.png")
        demo.close(verbose=False)

        depth = read_depth(EXAMPLES / "thumb.png")
        camera = Camera.parse(str(EXAMPLES / "camera.json"))
        pose = HandPoseEstimator.from_pretrained("msra").predict(depth, camera=camera, hand="right")
        file = Path(folder) / "hand.html"
        file.write_text(pose_page(pose, depth), encoding="utf-8")
        page = browser.new_page(viewport={"width": 860, "height": 560})
        page.goto(file.as_uri())
        page.mouse.move(300, 300)
        page.mouse.down()
        page.mouse.move(330, 270)
        page.mouse.up()
        page.screenshot(path=IMAGES / "viewer.png")
        browser.close()
