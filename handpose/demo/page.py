"""A web page to try hands on: a depth image in; overlay, turning skeleton, table and record out. Made with Gradio.

The page and its server talk to nobody else: no fonts, scripts or statistics from or to elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handpose.demo.show import ASSUMED, show_hand
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS, Camera
from handpose.io.depth.read import read_depth
from handpose.results.overlay import depth_picture

try:
    import gradio as gr
except ImportError:
    raise HandPoseError("the demo needs Gradio: pip install 'handpose[demo]'") from None

# In a wheel they are inside the package, in a checkout beside it.
EXAMPLES = next(folder for up in (0, 2) if (folder := Path(__file__).parents[up] / "examples").is_dir())
_UNITS = (
    ("millimetres", "mm"),
    ("metres", "m"),
    ("0.125 mm (SR300, SR305)", "0.125"),
    ("0.25 mm (L515)", "0.25"),
    ("NYU's two-byte PNG", "nyu"),
)
_COLUMNS = ("joint", "x mm", "y mm", "z mm", "u px", "v px", "expected error mm")
_HOUR = 3600  # s that uploads are kept
STYLE = """
.gradio-container { max-width: 1360px !important; }
#viewer iframe { width: 100%; height: 340px; border: 0; border-radius: 8px; display: block; }
#viewer .html-container, #said .html-container { padding: 0; }
#said p { margin: 0 0 .4rem; font-size: 1.05rem; }
#said .warning { color: #b45309; }
footer { display: none !important; }
"""


def make_page(models: Sequence[str]) -> gr.Blocks:
    """The page, with these models to choose from."""
    files = sorted(EXAMPLES.glob("*.png"))
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
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
                        [numbers, *CAMERAS, ASSUMED],
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
