"""The house: modules import from floors below their own, and from named neighbours only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "handpose"

# Later floors may import earlier ones; on one floor, later names may import earlier names.
FLOORS = [
    [
        *("errors", "warn", "durable", "cache", "textfile", "layouts", "camera", "depth_io", "localize", "crop"),
        *("articulation", "listing", "uncertainty", "draw", "pose", "html", "config"),
    ],
    ["model", "losses"],
    [
        "augment",
        "datasets.matfile",
        "datasets.base",
        "datasets.icvl",
        "datasets.nyu",
        "datasets.msra",
        "datasets.catalog",
        "datasets.crops",
        "synthetic.hand",
        "synthetic.annotation",
        "synthetic.render",
        "synthetic.sensor",
        "synthetic.poses",
        "synthetic.scene",
        "synthetic.rooms",
        "synthetic.animation",
        "sources.base",
        "sources.realsense",
        "sources.orbbec",
        "sources.folder",
        "sources.recording",
        "sources.synthetic",
        "sources.catalog",
    ],
    [
        "hub",
        "weights",
        "tf_checkpoint",
        "localizer_model",
        "backends.base",
        "backends.pytorch",
        "backends.onnx_runtime",
        "backends.openvino_runtime",
        "export",
        "backends.loading",
    ],
    [
        "estimator",
        "tracking",
        "live",
        "view",
        "batch",
        "demo",
        "checkpoint",
        "training",
        "synthetic_training",
        "localizer_training",
        "ablations",
        "dataset_training",
        "evaluation",
        "predictions",
        "records",
        "plots",
        "report",
        "testset",
        "benchmark",
        "calibration",
        "check",
        "scale.inputs",
        "scale.readers",
        "scale.table",
        "scale.predictor",
        "scale.output",
        "scale.engine",
    ],
    [
        "commands.console",
        "commands.job",
        "commands.local",
        "commands.cluster",
        "commands.predict",
        "commands.live",
        "commands.check",
        "commands.demo",
        "commands.deploy",
        "commands.models",
        "commands.research",
        "cli",
        "__main__",
    ],
]
PLACE = {name: (floor, i) for floor, names in enumerate(FLOORS) for i, name in enumerate(names)}
WITH_TORCH = {
    *(
        "model",
        "localizer_model",
        "losses",
        "export",
        "checkpoint",
        "training",
        "synthetic_training",
        "localizer_training",
        "ablations",
        "testset",
    ),
    "dataset_training",
    *(name for name in PLACE if name.startswith("synthetic.")),
}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_every_module_has_its_floor() -> None:
    assert set(modules()) == set(PLACE)


@pytest.mark.parametrize("name", PLACE)
def test_imports_only_go_down(name: str) -> None:
    own = {found.removeprefix("handpose.") for found in imports(modules()[name]) if found.startswith("handpose.")}
    upwards = sorted(other for other in own if PLACE[other] >= PLACE[name])
    assert not upwards, f"{name} imports {upwards}"


def test_torch_is_imported_at_the_top_of_the_network_and_training_only() -> None:
    for name, path in modules().items():
        top = {
            alias.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "torch" not in top or name in WITH_TORCH, name


def test_only_the_command_line_prints() -> None:
    for name, path in modules().items():
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in calls or name == "cli" or name.startswith("commands."), name


@pytest.mark.parametrize(
    "code",
    [
        "import handpose",
        "import sys; sys.argv = ['handpose', '--help']; import handpose.cli.main; handpose.cli.main.main()",
    ],
)
def test_start_up_loads_nothing_heavy(code: str) -> None:
    program = (
        f"import sys\ntry:\n    exec({code!r})\nexcept SystemExit: pass\n"
        "sys.stderr.write(' '.join({'torch', 'cv2', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_every_public_name_is_there() -> None:
    import handpose

    for name in handpose.__all__:
        getattr(handpose, name)
    with pytest.raises(AttributeError):
        handpose.nonsense  # noqa: B018
