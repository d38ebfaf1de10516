"""The page's server."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from handpose.demo.page import EXAMPLES, STYLE, make_page
from handpose.demo.show import estimator_of
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    import gradio as gr

_LARGEST_UPLOAD = "64mb"
# A browser refuses everything that is not from this server, whatever Gradio asks for.
_POLICY = b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"


def serve(host: str, port: int, models: Sequence[str]) -> tuple[gr.Blocks, str]:
    """Starts the page's server in threads of its own: the page, to be closed in the end, and its address.

    Args:
        host: address to listen on; `127.0.0.1` for this machine only.
        port: to listen on, or 0 for a free one.
        models: to choose from, the first one at the start.

    Raises:
        HandPoseError: the port is taken, or there is no such model (`WeightsError`).
    """
    import gradio as gr
    from starlette.middleware import Middleware

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    estimator_of(models[0])
    page = make_page(models)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or _free_port(host),
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=_LARGEST_UPLOAD,
            allowed_paths=[str(EXAMPLES)],
            app_kwargs={"middleware": [Middleware(_OnlyFromHere)]},
            theme=gr.themes.Base(primary_hue="blue", font="system-ui", font_mono="monospace"),
            css=STYLE,
        )
    except OSError:
        raise HandPoseError(f"{host}:{port}: the demo cannot listen there; choose another --port or --host") from None
    return page, address


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


class _OnlyFromHere:
    """ASGI middleware: every answer carries the policy."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", _POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy)
