"""Server of the demo."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from handpose.demo.page import EXAMPLES, STYLE, make_page
from handpose.demo.show import estimator_of
from handpose.errors import HandPoseError
from handpose.io.choices import Precision, Views

if TYPE_CHECKING:
    import gradio as gr

_MAX_UPLOAD = "64mb"
# With this policy, browsers load resources only from this server, even if Gradio links to others.
_POLICY = b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"


def serve(
    host: str, port: int, models: Sequence[str], precision: Precision = "float32", views: Views = 1
) -> tuple[gr.Blocks, str]:
    """Start the server in background threads; return the page, which the caller must close, and its address.

    Args:
        host: Address to listen on; `127.0.0.1` accepts connections from this machine only.
        port: Port to listen on, or 0 for a free port.
        models: Models to choose from; the first one is selected initially.
        precision: Precision of the network.
        views: Number of views to average over.

    Raises:
        HandPoseError: The port is in use, there is no such number of views, or the first model does not exist
            (`WeightsError`).
    """
    import gradio as gr
    from starlette.middleware import Middleware

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    estimator_of(models[0], precision, views)
    page = make_page(models, precision, views)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or _free_port(host),
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=_MAX_UPLOAD,
            allowed_paths=[str(EXAMPLES)],
            app_kwargs={"middleware": [Middleware(_PolicyMiddleware)]},
            theme=gr.themes.Base(primary_hue="blue", font="system-ui", font_mono="monospace"),
            css=STYLE,
        )
    except OSError:
        raise HandPoseError(
            f"{host}:{port}: the demo cannot listen here; pass another `port=...` or `host=...`"
        ) from None
    return page, address


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


class _PolicyMiddleware:
    """ASGI middleware that adds the policy to every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", _POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy)
