"""A real browser without a window, for pages."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@contextlib.contextmanager
def open_browser(width: int = 1280, height: int = 960) -> Iterator[Page]:
    """A page in Chromium that must neither log an error nor ask any other machine for anything."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    complaints: list[str] = []

    with sync_api.sync_playwright() as playwright:
        # A sandbox inside a container that runs as root is not to be had.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: _check(request.url, complaints))
        yield page
        browser.close()
    assert complaints == []


def _check(url: str, complaints: list[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("file", "data", "blob", "about") and parts.hostname != "127.0.0.1":
        complaints.append(f"asked for {url}")
