"""The page of the demo, made with Gradio.

The page and its server load no external resources and send no statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from handpose.demo.show import ASSUMED, Shown, show_hands
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.io.choices import DEFAULT_HAND, HandOrAuto, Precision, Views
from handpose.io.depth.read import read_depth
from handpose.io.depth.units import parse_unit
from handpose.results.overlay import depth_picture

try:
    import gradio as gr
except ImportError:
    raise HandPoseError("the demo requires Gradio: pip install 'handpose[demo]'") from None

# The examples are inside the package in a wheel, and next to it in a checkout.
EXAMPLES = next(folder for up in (0, 2) if (folder := Path(__file__).parents[up] / "examples").is_dir())
_UNITS = (
    ("millimeters", "mm"),
    ("meters", "m"),
    ("0.125 mm (SR300, SR305)", "0.125"),
    ("0.25 mm (L515)", "0.25"),
    ("NYU's two-byte PNG", "nyu"),
    ("HO-3D's two-byte PNG", "ho3d"),
)
_COLUMNS = ("hand", "joint", "x mm", "y mm", "z mm", "u px", "v px", "expected error mm")
_UPLOADS_KEPT_S = 3600
STYLE = """
.gradio-container { max-width: 1360px !important; }
@media (max-width: 640px) { .gradio-container { padding: 8px !important; } }
#examples .grid-wrap { min-height: 0; overflow: hidden; }
#examples .grid-container { grid-template: auto / repeat(4, minmax(0, 1fr)); grid-auto-rows: auto; }
#examples .caption-label { font-size: .7rem; padding: 0 .3rem; }
#downloads a { margin-right: 1rem; }
#viewer .prose { display: flex; gap: 8px; }
#viewer iframe { flex: 1; min-width: 0; height: 340px; border: 0; border-radius: 8px; display: block; }
#viewer .html-container, #status .html-container, #downloads .html-container { padding: 0; }
#status p { margin: 0 0 .4rem; font-size: 1.05rem; }
#status .warning { color: #b45309; }
footer { display: none !important; }
"""


class _Example(NamedTuple):
    """An example image with its inputs."""

    file: Path
    title: str
    camera: str
    unit: str


def _examples() -> list[_Example]:
    """Return the examples; the first one is shown initially."""
    real, synthetic = EXAMPLES / "sr305", EXAMPLES
    return [
        *(_Example(real / f"{name}.png", name, _intrinsics(real), "0.125") for name in ("open", "pinch", "down")),
        _Example(synthetic / "thumb.png", "synthetic", _intrinsics(synthetic), "mm"),
    ]


def _intrinsics(folder: Path) -> str:
    camera = Camera.parse(str(folder / "camera.json"))
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
    return ",".join(f"{number:g}" for number in numbers)


def make_page(models: Sequence[str], precision: Precision = "float32", views: Views = 1) -> gr.Blocks:
    """Return the page with a model selector; the first model is selected by default."""
    examples = _examples()
    cameras = list(dict.fromkeys(example.camera for example in examples))
    with gr.Blocks(title="handpose", analytics_enabled=False, delete_cache=(_UPLOADS_KEPT_S, _UPLOADS_KEPT_S)) as page:
        gr.Markdown("# handpose\nPredict the 3D joints of a hand, in millimeters, from a depth image.")
        with gr.Row():
            with gr.Column(scale=1, min_width=360):
                image, gallery = _image_inputs(examples)
                inputs = [image, *_option_inputs(examples[0], cameras, models)]
            with gr.Column(scale=3, min_width=320):
                outputs = _outputs()

        def show(path: str | None, camera: str, unit: str, model: str, hand: HandOrAuto, max_hands: int) -> Shown:
            return show_hands(path, camera, unit, model, hand, max_hands, precision=precision, views=views)

        changes = [image.clear, *(option.input for option in inputs[1:])]
        # By default, a change during a prediction would be dropped, and the page would show the result without it.
        gr.on([page.load, *changes], show, inputs, outputs, show_progress="hidden", trigger_mode="always_last")

        def forget_example(camera: str, unit: str) -> tuple[str, str]:
            return (ASSUMED, "mm") if camera in cameras else (camera, unit)

        # An uploaded image is from another camera than the examples.
        image.upload(forget_example, inputs[1:3], inputs[1:3], show_progress="hidden").then(
            show, inputs, outputs, show_progress="hidden"
        )

        def choose(event: gr.SelectData) -> tuple[str, str, str]:
            example = examples[event.index]
            return str(example.file), example.camera, example.unit

        gallery.select(choose, None, inputs[:3], show_progress="hidden").then(
            show, inputs, outputs, show_progress="hidden"
        )
    return page


def _image_inputs(examples: Sequence[_Example]) -> tuple[gr.File, gr.Gallery]:
    """Create the inputs for uploads and for examples."""
    image = gr.File(
        str(examples[0].file), label="Depth image: PNG, TIFF, .npy, .npz, .bin", type="filepath", height=120
    )
    gr.Markdown("Examples: three images of an Intel SR305, and a synthetic one")
    pictures = [
        (depth_picture(read_depth(example.file, parse_unit(example.unit)))[..., ::-1], example.title)
        for example in examples
    ]
    gallery = gr.Gallery(
        pictures,
        show_label=False,
        columns=4,
        height="auto",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    return image, gallery


def _option_inputs(first: _Example, cameras: Sequence[str], models: Sequence[str]) -> list[Any]:
    """Create the inputs for camera, unit, model, hand and number of hands, in the order of `show_hands`'s arguments."""
    return [
        gr.Dropdown(
            [*cameras, *CAMERAS, ASSUMED],
            value=first.camera,
            allow_custom_value=True,
            label="Camera",
            info="fx,fy,cx,cy[,width,height], or a preset",
        ),
        gr.Dropdown(
            list(_UNITS),
            value=first.unit,
            allow_custom_value=True,
            label="Unit",
            info="unit of the stored values; others in mm per unit",
        ),
        gr.Dropdown(list(models), value=models[0], label="Model"),
        gr.Radio(list(get_args(HandOrAuto)), value=DEFAULT_HAND, label="Hand"),
        gr.Radio([1, 2], value=1, label="Number of hands"),
    ]


def _outputs() -> list[Any]:
    """Create the outputs, in the order of the fields of `Shown`."""
    status = gr.HTML(elem_id="status")
    with gr.Row():
        with gr.Column(min_width=320):
            overlay = gr.Image(
                label="Joints over the depth image",
                format="png",
                height=340,
                buttons=["fullscreen"],
                elem_id="overlay",
            )
        with gr.Column(min_width=320):
            viewer = gr.HTML(elem_id="viewer")
    downloads = gr.HTML(elem_id="downloads")
    with gr.Tab("Table"):
        table = gr.Dataframe(headers=list(_COLUMNS), interactive=False, max_height=400)
    with gr.Tab("JSON"):
        records = gr.JSON(show_label=False, max_height=400)
    return [status, overlay, viewer, downloads, table, records]
