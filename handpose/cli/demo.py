"""`handpose demo`."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated

import typer

from handpose.cli.console import activities, say
from handpose.cli.options import Browser, Host, Port, Precision, Views
from handpose.io.extras import require_extra


def demo(
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="MODEL", help="Further model to choose from.")
    ] = None,
    precision: Precision = "float32",
    views: Views = 1,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    browser: Browser = True,
) -> None:
    """Try depth images on a local web page. Requires the extra `demo`."""
    require_extra("demo", "handpose demo")
    from handpose.demo.server import serve
    from handpose.weights.registry import WEIGHTS

    models = list(dict.fromkeys([*([model] if model else []), *WEIGHTS]))
    with activities():
        page, address = serve(host, port, models, precision, views)  # type: ignore[arg-type] # the estimator checks them
    say(f"{address} (press Ctrl-C to stop)")
    if browser:
        typer.launch(address)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600.0)
    page.close(verbose=False)
