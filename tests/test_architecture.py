"""The one rule: a folder imports only from folders of earlier sets, or from itself without a circle."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.helpers.paths import ROOT

SETS = [
    *({"errors", "version"}, {"io"}, {"geometry"}, {"network", "localization"}),
    *({"weights", "datasets", "synthetic", "results", "recordings"}, {"runtimes", "training"}, {"inference"}, {"jobs"}),
    *({"live", "evaluation", "demo", "labeling"}, {"adaptation"}, {"cli"}),
]
RANK = {folder: rank for rank, folders in enumerate(SETS) for folder in folders}
PACKAGE = ROOT / "handpose"
TREES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


def imports(tree: ast.Module) -> set[str]:
    """The package's modules that a module imports, anywhere in it."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    names = {node.module for node in nodes} | {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
    return {name.removeprefix("handpose.") for name in names} & set(TREES)


def test_only_four_modules_lie_at_the_top() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "errors", "version"}


def test_folders_import_from_earlier_sets_and_have_no_circles() -> None:
    graph = {name: imports(tree) for name, tree in TREES.items() if name != "__main__"}
    list(TopologicalSorter(graph).static_order())
    for name, others in graph.items():
        folder = name.split(".")[0]
        upwards = [other for other in others if (to := other.split(".")[0]) != folder and RANK[to] >= RANK[folder]]
        assert not upwards, f"{name} imports {upwards}"


def test_torch_is_imported_at_the_top_of_networks_and_their_training_only() -> None:
    for name, tree in TREES.items():
        top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        folder, _, module = name.partition(".")
        with_torch = folder in ("network", "synthetic", "training") or module in (
            *("torch_runtime", "export", "onnx_graphs", "on_synthetic"),
        )
        assert "torch" not in top or with_torch, name


def test_only_the_command_line_prints() -> None:
    for name, tree in TREES.items():
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "print" not in calls or name.startswith("cli."), name


def test_only_the_command_line_speaks_of_options() -> None:
    """Messages of the library name arguments, such as `force=True`; only commands are named with their options."""
    for name, tree in TREES.items():
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        ]
        options = [text for text in texts if re.search(r"(?<!\w)--[a-z]", re.sub(r"handpose [\w -]+", "", text))]
        assert not options or name.startswith("cli."), f"{name}: {options}"


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


def test_public_names_are_the_same_for_python_and_type_checkers() -> None:
    import handpose

    (block,) = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    imported = {f"{node.module}.{alias.asname}" for node in block.body for alias in node.names}
    objects = {name: getattr(handpose, name) for name in handpose.__all__}
    assert {name.rpartition(".")[2] for name in imported} == set(objects)
    for name in imported:
        module, _, attribute = name.rpartition(".")
        assert getattr(sys.modules[module], attribute) is objects[attribute]
    with pytest.raises(AttributeError):
        handpose.nonsense  # noqa: B018


def test_the_guide_for_contributors_shows_the_same_layers() -> None:
    (block,) = re.findall(r"^((?: {4}.*<.*\n)+)", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert [set(re.findall(r"\w+", part)) for part in block.split("<")] == SETS
