"""A viewer of streams in the browser of this machine, which requires no other package."""

from __future__ import annotations

from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

import cv2

from handpose.inference.tracker import TrackedHand
from handpose.recordings.frame import DepthFrame
from handpose.results.pose import draw_hands

_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>handpose live</title>
<style>
body { margin: 0; background: #000 }
img { display: block; margin: auto; max-width: 100%; max-height: 100vh }
</style>
<img src="/stream" alt="The depth images with the tracked hands">
</html>
"""
_QUALITY = 90  # of the JPEG images


class BrowserViewer:
    """Show frames and hands in a page that only this machine can open.

    Pictures are drawn in the threads of the open pages, so that they do not delay the tracker.

    Attributes:
        address: Address of the page.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._newest: tuple[DepthFrame, Sequence[TrackedHand]] | None = None
        self._closed = False
        viewer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # Sites on the internet can direct their own names to this machine, but not under the name 127.0.0.1.
                if f"http://{self.headers['Host']}" != viewer.address:
                    self.send_error(403)
                elif self.path == "/":
                    self._start("text/html")
                    self.wfile.write(_PAGE)
                elif self.path == "/stream":
                    self._start("multipart/x-mixed-replace; boundary=frame")
                    self.wfile.write(b"--frame\r\n")
                    viewer._send(self)
                else:
                    self.send_error(404)

            def _start(self, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Cache-Control", "no-store")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def show(self, frame: DepthFrame, hands: Sequence[TrackedHand]) -> None:
        """Show a frame and its hands instead of the previous ones."""
        with self._changed:
            self._newest = frame, hands
            self._changed.notify_all()

    def _send(self, request: BaseHTTPRequestHandler) -> None:
        """Send the newest picture again and again, until the page or the viewer is closed."""
        sent = None
        while True:
            with self._changed:
                while self._newest is sent and not self._closed:
                    self._changed.wait()
                if self._newest is None or self._newest is sent:  # closed, and all was sent
                    return
                sent = self._newest
            frame, hands = sent
            picture = draw_hands(frame.depth, [hand.pose for hand in hands])
            image = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
            try:  # browsers show a picture when they have received the mark after it
                request.wfile.write(b"Content-Type: image/jpeg\r\n\r\n" + image + b"\r\n--frame\r\n")
            except OSError:  # the page was closed
                return

    def close(self) -> None:
        """Stop the server."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
