"""The server of the labeling page: the page, its frames, and the labels that it sends."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import parse_qs, urlsplit

import numpy as np

from handpose.errors import HandPoseError
from handpose.io.arguments import check_choice
from handpose.io.choices import Hand, HandOrAuto
from handpose.labeling.session import LabelingSession

_PAGE = Path(__file__).parent / "page"
_SCRIPTS = ("state", "geometry", "editing", "frames", "drawing", "panel", "controls")
_MAX_REQUEST_BYTES = 1 << 16
_IDLE_S = 60.0  # after which an idle connection is closed
_FRAME = re.compile(r"/frames/(\d{1,9})(/depth)?")
_MAX_PX = 1e6


def serve(session: LabelingSession, host: str, port: int) -> LabelingServer:
    """Start the server in a background thread; the caller must close it.

    Args:
        session: The session.
        host: Address to listen on; `127.0.0.1` accepts connections from this machine only.
        port: Port to listen on, or 0 for a free port.

    Raises:
        HandPoseError: The port is in use.
    """
    try:
        server = LabelingServer(session, host, port)
    except (OSError, OverflowError):
        raise HandPoseError(f"{host}:{port}: cannot listen here; pass another `port=...` or `host=...`") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class LabelingServer(ThreadingHTTPServer):
    """An HTTP server for one session.

    Attributes:
        session: The session.
        host: Address that it listens on.
    """

    daemon_threads = True

    def __init__(self, session: LabelingSession, host: str, port: int) -> None:
        self.session, self.host = session, host
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """The URL of the page."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_port}/"

    def close(self) -> None:
        """Stop the server."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that close a connection."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    @property
    def _session(self) -> LabelingSession:
        return cast(LabelingServer, self.server).session

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Send the page or a frame."""
        url = urlsplit(self.path)
        frame = _FRAME.fullmatch(url.path)
        if not self._is_allowed():
            return
        if url.path == "/":
            self._send(200, "text/html; charset=utf-8", _make_page(self._session).encode())
        elif frame is None:
            self._send_json(404, {"error": "not found"})
        else:
            try:
                if frame[2]:
                    depth = self._session.depth(int(frame[1])).astype("<f4")
                    self._send(200, "application/octet-stream", depth.tobytes())
                else:
                    self._send_json(200, self._session.frame(int(frame[1]), *_parse_query(url.query)))
            except HandPoseError as error:
                self._send_json(400, {"error": str(error)})

    def do_POST(self) -> None:
        """Accept or skip a frame."""
        frame = _FRAME.fullmatch(self.path)
        body = self._read_body()
        if not self._is_allowed():
            return
        try:
            values = self._parse_json(body)
            if frame is None or frame[2]:
                raise HandPoseError("not found")
            number, source, version = int(frame[1]), str(values.get("source")), values.get("version")
            if values.get("skip") is True:
                version = self._session.skip(number, source, version)
            else:
                version = self._session.accept(number, source, *_parse_label(values), version)
        except HandPoseError as error:
            self._send_json(400, {"error": str(error)})
        else:
            self._send_json(200, {"version": version})

    def _is_allowed(self) -> bool:
        """Return whether a request is from this server's page; reject it otherwise.

        Another site that is open in the browser can neither send JSON without permission nor, by changing the address
        of its own name, read answers: the name is that of this server, or an IP address.
        """
        host = self.headers.get("Host", "")
        name = urlsplit(f"//{host}").hostname or ""
        origin = self.headers.get("Origin")
        machine = socket.gethostname().lower()
        is_known = name in ("localhost", machine, f"{machine}.local") or _is_ip(name)
        if is_known and origin in (None, f"http://{host}"):
            return True
        self._send_json(403, {"error": "the request is not from the page of this server"})
        return False

    def _read_body(self) -> bytes | None:
        """Return the body of a request, or None if it is too large."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) <= _MAX_REQUEST_BYTES:
            return self.rfile.read(int(length))
        self.close_connection = True
        return None

    def _parse_json(self, body: bytes | None) -> dict[str, Any]:
        if body is None:
            raise HandPoseError(f"expected a request of at most {_MAX_REQUEST_BYTES} bytes")
        if self.headers.get_content_type() != "application/json":
            raise HandPoseError("expected JSON")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise HandPoseError("expected a JSON object")
        return values

    def _send_json(self, status: int, values: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(values).encode())

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(data)


def _make_page(session: LabelingSession) -> str:
    """Return the page with its style, its scripts and the session, which contain no references to other files."""

    def read(name: str) -> str:
        return (_PAGE / name).read_text(encoding="utf-8").rstrip("\n")

    # File names may contain any text, so the session must not be able to close its element.
    overview = json.dumps(session.overview(), separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "STYLE": read("page.css"),
        "SESSION": overview,
        "SCRIPT": "\n\n".join(read(f"{name}.js") for name in _SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read("page.html"))


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _parse_query(text: str) -> tuple[HandOrAuto, tuple[float, float] | None]:
    """Return the hand and the point of a request for a frame."""
    values = {name: texts[-1] for name, texts in parse_qs(text).items()}
    hand = values.get("hand", "right")
    check_choice("hand", hand, get_args(HandOrAuto))
    if "u" not in values:
        return cast(HandOrAuto, hand), None
    try:
        point = float(values["u"]), float(values.get("v", "nan"))
    except ValueError:
        point = (np.nan, np.nan)
    if not all(abs(number) < _MAX_PX for number in point):
        raise HandPoseError("u and v must be numbers")
    return cast(HandOrAuto, hand), point


def _parse_label(values: dict[str, Any]) -> tuple[Hand, np.ndarray]:
    """Return the hand and the joints uvz (J, 3) of a label, with NaN instead of null."""
    hand = values.get("hand")
    check_choice("hand", hand, get_args(Hand))
    try:
        joints = [[None] * 3 if joint is None else joint for joint in values["uvz"]]
        uvz = np.array(joints, dtype=np.float64)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise HandPoseError("uvz must be a list of joints: u, v, z or null") from None
    if not (np.isnan(uvz) | (np.abs(uvz) < _MAX_PX)).all():
        raise HandPoseError("uvz must contain finite numbers")
    return cast(Hand, hand), uvz
