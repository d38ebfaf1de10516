"""A web page to try hands on: a depth image in; overlay, turning skeleton, table and record out. Made with Gradio.

The page and its server talk to nobody else: no fonts, scripts or statistics from or to elsewhere.
"""

from __future__ import annotations

import html
import os
import re
import socket
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import HandOrAuto
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import DepthUnit
from handpose.jobs.pipeline import predict_files
from handpose.results.overlay import depth_picture
from handpose.results.page import pose_page
from handpose.results.pose import HandPose

try:
    import gradio as gr
    from starlette.middleware import Middleware
except ImportError:
    raise HandPoseError("the demo needs Gradio: pip install 'handpose[demo]'") from None

# In a wheel they are inside the package, in a checkout beside it.
_EXAMPLES = next(folder for up in (0, 2) if (folder := Path(__file__).parents[up] / "examples").is_dir())
_ASSUMED = "unknown: a view 67 degrees wide is assumed"
_UNITS = (
    ("millimetres", "mm"),
    ("metres", "m"),
    ("0.125 mm (SR300, SR305)", "0.125"),
    ("0.25 mm (L515)", "0.25"),
    ("NYU's two-byte PNG", "nyu"),
)
_COLUMNS = ("joint", "x mm", "y mm", "z mm", "u px", "v px", "expected error mm")
_LARGEST_UPLOAD = "64mb"
_HOUR = 3600  # s that uploads are kept
# A browser refuses everything that is not from this server, whatever Gradio asks for.
_POLICY = b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
_STYLE = """
.gradio-container { max-width: 1360px !important; }
#viewer iframe { width: 100%; height: 340px; border: 0; border-radius: 8px; display: block; }
#viewer .html-container, #said .html-container { padding: 0; }
#said p { margin: 0 0 .4rem; font-size: 1.05rem; }
#said .warning { color: #b45309; }
footer { display: none !important; }
"""


class Shown(NamedTuple):
    """What the page shows for an image.

    Attributes:
        said: sentences, HTML.
        overlay: skeleton over depth (H, W, 3) uint8 RGB, if the image could be read.
        viewer: the hand in 3D, HTML.
        rows: of the table, one per joint.
        record: `HandPose.to_dict`.
    """

    said: str
    overlay: np.ndarray | None = None
    viewer: str = ""
    rows: list[list[str | float]] | None = None
    record: dict[str, Any] | None = None


def show_hand(path: str | None, camera: str, unit: str, model: str, hand: HandOrAuto) -> Shown:
    """The hand in an image, or what is wrong, in words.

    Args:
        path: of the depth image; None if there is none yet.
        camera: a preset's name, `fx,fy,cx,cy[,width,height]`, or the words for an unknown one.
        unit: `mm`, `m`, `nyu` or millimetres per stored number.
        model: as in `HandPoseEstimator.from_pretrained`.
        hand: which hand it is.
    """
    if path is None:
        return Shown(_sentence("Choose a depth image, or one of the examples.", "warning"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            pose, depth = _predict(Path(path), _camera(camera), _unit(unit), model, hand)
        except HandPoseError as error:
            return Shown(_sentence(str(error).replace(path, Path(path).name), "warning"))
    notes = "".join(_sentence(str(warning.message).replace(path, Path(path).name), "warning") for warning in caught)
    overlay = pose.draw(depth)[..., ::-1]
    if pose.status == "no_hand":
        advice = "No hand was found. Show a whole hand, 15 to 120 cm away, and check unit and camera."
        return Shown(_sentence(advice, "warning") + notes, overlay, record=pose.to_dict())
    found = f"A {pose.hand} hand, {pose.xyz[:, 2].mean():.0f} mm from the camera. Status: {pose.status}."
    page = html.escape(pose_page(pose, depth))
    viewer = f'<iframe title="The hand in 3D" sandbox="allow-scripts" srcdoc="{page}"></iframe>'
    numbers = np.column_stack([pose.xyz, pose.uvz[:, :2], pose.error_mm]).round(1).tolist()
    rows = [[joint, *row] for joint, row in zip(pose.layout.joints, numbers, strict=True)]
    return Shown(_sentence(found) + notes, overlay, viewer, rows, pose.to_dict())


def _sentence(text: str, kind: str = "") -> str:
    return f'<p role="status" class="{kind}">{html.escape(text)}</p>'


def _predict(
    path: Path, camera: Camera | None, unit: DepthUnit, model: str, hand: HandOrAuto
) -> tuple[HandPose, np.ndarray]:
    (result,) = predict_files(_estimator(model), [path], camera=camera, unit=unit, hand=hand, keep_depth=True)
    if result.pose is None or result.depth is None:
        raise HandPoseError(f"{result.error}")
    return replace(result.pose, source=path.name), result.depth


@lru_cache(maxsize=4)
def _estimator(model: str) -> HandPoseEstimator:
    return HandPoseEstimator.from_pretrained(model)


def _camera(text: str) -> Camera | None:
    if text == _ASSUMED:
        return None
    # No files: whoever sees the page need not sit at this machine.
    if text not in CAMERAS and not re.fullmatch(r"[-\d.e, ]+", text):
        raise HandPoseError(f"the camera is one of {', '.join(CAMERAS)}, or fx,fy,cx,cy[,width,height]; got {text!r}")
    return Camera.parse(text)


def _unit(text: str) -> DepthUnit:
    if text in ("mm", "m", "nyu"):
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise HandPoseError(f"the unit is mm, m, nyu, or millimetres per stored number; got {text!r}") from None


def serve(host: str, port: int, models: Sequence[str]) -> tuple[gr.Blocks, str]:
    """Starts the page's server in threads of its own: the page, to be closed in the end, and its address.

    Args:
        host: address to listen on; `127.0.0.1` for this machine only.
        port: to listen on, or 0 for a free one.
        models: to choose from, the first one at the start.

    Raises:
        HandPoseError: the port is taken, or there is no such model (`WeightsError`).
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    _estimator(models[0])
    page = _page(models)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or _free_port(host),
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=_LARGEST_UPLOAD,
            allowed_paths=[str(_EXAMPLES)],
            app_kwargs={"middleware": [Middleware(_OnlyFromHere)]},
            theme=gr.themes.Base(primary_hue="blue", font="system-ui", font_mono="monospace"),
            css=_STYLE,
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


def _page(models: Sequence[str]) -> gr.Blocks:
    files = sorted(_EXAMPLES.glob("*.png"))
    camera = Camera.parse(str(_EXAMPLES / "camera.json"))
    numbers = ",".join(f"{value:g}" for value in camera.to_dict().values())
    with gr.Blocks(title="handpose", analytics_enabled=False, delete_cache=(_HOUR, _HOUR)) as page:
        gr.Markdown("# handpose\nA depth image of a hand goes in, its 3D joints in millimetres come out.")
        with gr.Row():
            with gr.Column(scale=1, min_width=360):
                image = gr.File(
                    str(files[0]),
                    label="Depth image: PNG, TIFF, .npy, .npz, .bin",
                    type="filepath",
                    height=120,
                )
                pictures = [(depth_picture(read_depth(file))[..., ::-1], file.stem) for file in files]
                examples = gr.Gallery(
                    pictures,
                    label="Examples",
                    columns=3,
                    height=150,
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                )
                inputs = [
                    image,
                    gr.Dropdown(
                        [numbers, *CAMERAS, _ASSUMED],
                        value=numbers,
                        allow_custom_value=True,
                        label="Camera",
                        info="fx,fy,cx,cy[,width,height], or a preset",
                    ),
                    gr.Dropdown(
                        list(_UNITS),
                        value="mm",
                        allow_custom_value=True,
                        label="Unit",
                        info="what a stored number means; others in mm per number",
                    ),
                    gr.Dropdown(list(models), value=models[0], label="Model"),
                    gr.Radio(["right", "left", "auto"], value="right", label="Hand"),
                ]
            with gr.Column(scale=3, min_width=600):
                said = gr.HTML(elem_id="said")
                with gr.Row():
                    overlay = gr.Image(
                        label="Joints over the depth image",
                        format="png",
                        height=340,
                        buttons=["download", "fullscreen"],
                    )
                    viewer = gr.HTML(elem_id="viewer")
                with gr.Tab("Table"):
                    table = gr.Dataframe(headers=list(_COLUMNS), interactive=False, max_height=400)
                with gr.Tab("JSON"):
                    record = gr.JSON(show_label=False, max_height=400)
        outputs = [said, overlay, viewer, table, record]
        changes = [image.upload, image.clear, *(choice.input for choice in inputs[1:])]
        gr.on([page.load, *changes], show_hand, inputs, outputs, show_progress="hidden")

        def choose(event: gr.SelectData) -> tuple[str, str, str]:
            return str(files[event.index]), numbers, "mm"

        examples.select(choose, None, inputs[:3], show_progress="hidden").then(
            show_hand, inputs, outputs, show_progress="hidden"
        )
    return page
