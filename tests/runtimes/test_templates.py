"""Graphs made from templates, compared with PyTorch and with the exporter."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from handpose import HandPoseEstimator, WeightsError
from handpose.geometry.layouts import LAYOUTS
from handpose.network.config import JGRP2OConfig
from handpose.runtimes import templates
from handpose.runtimes.templates import fill_template
from handpose.weights.folder import Weights, write_folder
from handpose.weights.registry import WEIGHTS
from handpose.weights.resolve import find_weights
from tests.helpers.paths import EXAMPLES

PATCHES = np.random.default_rng(0).uniform(-1.0, 1.0, (3, 1, 96, 96)).astype(np.float32)


def changed(folder: Path, layout: str, change: Callable[[dict[str, np.ndarray]], object]) -> Weights:
    """Copy the weights of a layout, with some tensors changed."""
    tensors = {
        name: tensor.copy() for name, tensor in load_file(WEIGHTS[layout].built_in / "model.safetensors").items()
    }
    change(tensors)
    write_folder(folder, JGRP2OConfig(layout), tensors)
    return find_weights(folder)


def retrain(tensors: dict[str, np.ndarray]) -> None:
    """Change every tensor, as training would; BatchNorm most."""
    rng = np.random.default_rng(1)
    for name, tensor in tensors.items():
        if tensor.dtype == np.float16:
            low = 0.5 if ".running_var" in name else -0.5
            tensors[name] = (tensor + 0.1 * np.ptp(tensor) * rng.uniform(low, 0.5, tensor.shape)).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("runtime", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_filled_template_predicts_the_joints_of_pytorch(tmp_path: Path, layout: str, runtime: str) -> None:
    engine = pytest.importorskip(runtime)
    weights = changed(tmp_path / layout, layout, retrain)
    with torch.inference_mode():
        expected = [output.numpy() for output in weights.load()(torch.from_numpy(PATCHES))]
        before, *_ = find_weights(layout).load()(torch.from_numpy(PATCHES))
    assert np.abs(expected[0] - before.numpy()).max() > 0.05  # the weights differ from the built-in ones
    graph = fill_template(weights)
    assert graph is not None
    if runtime == "onnxruntime":
        outputs = engine.InferenceSession(graph).run(["uvz", "spread", "features"], {"patches": PATCHES})
    else:
        compiled = engine.compile_model(engine.Core().read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        results = compiled([PATCHES])
        outputs = [results["uvz"], results["spread"], results["features"]]
    for output, reference in zip(outputs, expected, strict=True):
        assert np.abs(output - reference).max() < 1e-5 * max(1.0, np.abs(reference).max())  # 0.002 mm


@pytest.mark.slow
def test_the_templates_are_those_that_the_exporter_writes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from handpose.runtimes.onnx_graphs import export_templates

    export_templates(tmp_path / "templates.zip")
    with zipfile.ZipFile(tmp_path / "templates.zip") as fresh, zipfile.ZipFile(templates.TEMPLATES_FILE) as stored:
        assert fresh.namelist() == stored.namelist() == [f"{n}{s}" for n in LAYOUTS for s in (".onnx", ".json")]
        for name in fresh.namelist():
            if name.endswith(".json"):
                assert json.loads(fresh.read(name)) == json.loads(stored.read(name))
            else:  # the exporter's version does not matter
                one, other = (onnx.load_from_string(file.read(name)).graph for file in (fresh, stored))
                assert one == other


def test_networks_of_other_dimensions_have_no_template(small_model: Path) -> None:
    assert fill_template(find_weights(small_model)) is None


def test_damaged_weights_are_explained(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    vote = "reasonings.1.vote.weight"

    def spoil(value: float) -> Callable[[dict[str, np.ndarray]], object]:
        return lambda tensors: tensors[vote].reshape(-1).__setitem__(0, value)

    for number, (change, message) in enumerate(
        (
            (lambda tensors: tensors.pop(vote), "1 tensors do not fit"),
            (lambda tensors: tensors.update({vote: tensors[vote][:1].copy()}), "1 tensors do not fit"),
            (lambda tensors: tensors.update({vote: tensors[vote].astype(np.int32)}), "expected float16 or float32"),
            (spoil(np.nan), "contains NaN or infinite"),
            (lambda tensors: tensors["stem.bn.running_var"].fill(-1.0), "variances below 0"),
        )
    ):
        weights = changed(tmp_path / str(number), "msra", change)
        assert fill_template(weights) is None
        with pytest.raises(WeightsError, match=message):
            HandPoseEstimator.from_pretrained(tmp_path / str(number), backend="onnxruntime")
    (tmp_path / "0" / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        HandPoseEstimator.from_pretrained(tmp_path / "0", backend="onnxruntime")


def test_double_precision_and_batch_counters_are_accepted(tmp_path: Path) -> None:
    tensors = load_file(WEIGHTS["msra"].built_in / "model.safetensors")
    tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    tensors["stem.bn.num_batches_tracked"] = np.array(7)
    folder = tmp_path / "double"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_bytes((WEIGHTS["msra"].built_in / "config.json").read_bytes())
    assert fill_template(find_weights(folder)) == fill_template(find_weights("msra"))


@pytest.mark.parametrize("backend", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_first_image_needs_neither_torch_nor_a_cache_nor_onnx(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    program = (
        "import sys\nsys.modules['onnx'] = sys.modules['onnxscript'] = None\n"
        "from handpose import Camera, HandPoseEstimator\n"
        f"estimator = HandPoseEstimator.from_pretrained('msra', device='cpu', backend={backend!r})\n"
        f"camera = Camera.parse({str(EXAMPLES / 'camera.json')!r})\n"
        f"pose = estimator.predict({str(EXAMPLES / 'open.png')!r}, camera=camera)\n"
        "print(pose.status, 'torch' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"HANDPOSE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout == "ok False\n"
    assert not (tmp_path / "cache").exists()


def test_a_network_stays_the_same_when_its_file_is_written_again_or_deleted(tmp_path: Path) -> None:
    """Batches have a session of their own, which is loaded later."""
    module = pytest.importorskip("handpose.runtimes.onnx_runtime")
    pytest.importorskip("onnxruntime")
    file, before = tmp_path / "model.onnx", fill_template(find_weights("msra"))
    after = fill_template(changed(tmp_path / "other", "msra", retrain))
    assert before is not None
    assert after is not None
    file.write_bytes(before)
    runtimes = [module.OnnxRuntime(file) for _ in range(2)]
    expected, _ = runtimes[0].pose(PATCHES)
    file.write_bytes(after)
    again, _ = runtimes[0].pose(np.repeat(PATCHES, 3, axis=0))
    file.unlink()
    deleted, _ = runtimes[1].pose(np.repeat(PATCHES, 3, axis=0))
    other, _ = module.OnnxRuntime(after).pose(PATCHES)
    assert np.abs(other - expected).max() > 0.01
    assert np.abs(again[::3] - expected).max() < 1e-4
    assert np.abs(deleted[::3] - expected).max() < 1e-4
