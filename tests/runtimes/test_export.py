from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from handpose import Camera, HandPoseError, HandPoseEstimator, WeightsError
from handpose.runtimes import export as module
from handpose.runtimes.export import export
from handpose.runtimes.onnx_graphs import silence_exporters
from handpose.runtimes.templates import fill_template
from handpose.weights.registry import WEIGHTS
from handpose.weights.resolve import find_weights
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))


def test_only_the_exporters_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    with silence_exporters():
        logging.getLogger("host").warning("frame lost")
        root.handle(logging.makeLogRecord({"levelno": 30, "pathname": "/lib/onnxruntime/quantize.py", "msg": "x"}))
    root.warning("after")
    assert caplog.messages == ["frame lost", "after"]


def test_the_second_file_of_openvino_does_not_replace_another_one(tmp_path: Path) -> None:
    """Depth files of MSRA have the same extension."""
    depth = tmp_path / "000000_depth.bin"
    depth.write_bytes(b"depth")
    with pytest.raises(HandPoseError, match=r"000000_depth\.bin: already exists"):
        export(find_weights("msra"), tmp_path / "000000_depth.xml")
    assert depth.read_bytes() == b"depth"


@pytest.mark.parametrize("suffix", [".onnx", pytest.param(".xml", marks=pytest.mark.slow)])
def test_an_exported_file_is_sufficient_for_an_estimator(
    exported: Callable[[str], Path], tmp_path: Path, suffix: str
) -> None:
    for file in exported(suffix).parent.glob(f"{exported(suffix).stem}.*"):
        shutil.copy(file, tmp_path / f"hand{file.suffix}")
    estimator = HandPoseEstimator.from_pretrained(tmp_path / f"hand{suffix}")
    reference = HandPoseEstimator.from_pretrained("msra", backend="torch", device="cpu")
    assert (estimator.config, estimator.name) == (reference.config, "msra")
    images = sorted(EXAMPLES.glob("*.png"))
    for one, other in zip(
        estimator.predict(images, camera=CAMERA), reference.predict(images, camera=CAMERA), strict=True
    ):
        assert np.abs(one.xyz - other.xyz).max() < 0.05
        assert np.abs(one.spread - other.spread).max() < 0.05


@pytest.mark.slow
def test_the_files_of_two_exports_are_not_mixed(tmp_path: Path) -> None:
    """Files of equal networks have equal sizes, so OpenVINO would load the tensors of the other one."""
    pytest.importorskip("openvino")
    export(find_weights("msra"), tmp_path / "hand.xml")
    HandPoseEstimator.from_pretrained(tmp_path / "hand.xml")
    tensors = bytearray((tmp_path / "hand.bin").read_bytes())
    tensors[1000] ^= 1
    (tmp_path / "hand.bin").write_bytes(tensors)
    with pytest.raises(WeightsError, match=r"hand\.xml: the \.bin file next to it belongs to another export"):
        HandPoseEstimator.from_pretrained(tmp_path / "hand.xml")


@pytest.mark.parametrize("suffix", [".onnx", pytest.param(".xml", marks=pytest.mark.slow)])
def test_exported_files_run_without_importing_torch(exported: Callable[[str], Path], suffix: str) -> None:
    program = (
        "import sys\nfrom handpose import Camera, HandPoseEstimator\n"
        f"estimator = HandPoseEstimator.from_pretrained({str(exported(suffix))!r}, device='cpu')\n"
        f"camera = Camera.parse({str(EXAMPLES / 'camera.json')!r})\n"
        f"pose = estimator.predict({str(EXAMPLES / 'open.png')!r}, camera=camera)\n"
        "print(pose.status, 'torch' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout == "ok False\n"


def test_a_network_with_other_joints_is_not_written(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(WEIGHTS["msra"].built_in, tmp_path / "other"))
    tensors = load_file(folder / "model.safetensors")
    tensors["heads.1.offsets.weight"] = tensors["heads.1.offsets.weight"] * np.float32(1.01)
    save_file(tensors, folder / "model.safetensors")
    graph = exported(".onnx")
    monkeypatch.setattr(module, "_BATCHES", (1, 3))
    _, load = module._FORMATS[".onnx"]
    monkeypatch.setitem(module._FORMATS, ".onnx", (lambda weights, file, calibration: shutil.copy(graph, file), load))
    out = tmp_path / "out"
    with pytest.raises(HandPoseError, match="not written, since its joints differ"):
        export(find_weights(folder), out / "hand.onnx")
    assert not list(out.iterdir())
    assert export(find_weights("msra"), out / "hand.onnx").largest_mm < 0.05
    assert [file.name for file in out.iterdir()] == ["hand.onnx"]


def test_files_of_other_programs_are_rejected(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(WeightsError, match="no such file"):
        HandPoseEstimator.from_pretrained(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"junk.onnx: ONNX Runtime cannot load it"):
        HandPoseEstimator.from_pretrained(tmp_path / "junk.onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    same = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "other", [value], [same])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match="contains no valid configuration"):
        HandPoseEstimator.from_pretrained(tmp_path / "other.onnx")
    with pytest.raises(HandPoseError, match="runs with backend onnxruntime"):
        HandPoseEstimator.from_pretrained(tmp_path / "other.onnx", backend="torch")
    with pytest.raises(HandPoseError, match=r"ends in \.onnx or \.xml"):
        export(find_weights("msra"), tmp_path / "hand.pt")


def test_the_command_checks_the_extension_of_the_format(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "handpose", "export", "--format", "openvino", "-o", str(tmp_path / "hand.onnx")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (2, "")
    assert "expected -o FILE.xml" in process.stderr


@pytest.mark.slow
def test_a_large_loss_of_accuracy_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = Path(shutil.copytree(WEIGHTS["msra"].built_in, tmp_path / "other"))
    tensors = load_file(folder / "model.safetensors")
    tensors["heads.1.offsets.weight"] = tensors["heads.1.offsets.weight"] * np.float32(1.5)
    save_file(tensors, folder / "model.safetensors")
    graph = fill_template(find_weights(folder))
    assert graph is not None
    _, load = module._FORMATS[".onnx"]
    monkeypatch.setitem(module._FORMATS, ".onnx", (lambda weights, file, calibration: file.write_bytes(graph), load))
    with pytest.warns(UserWarning, match="msra: 8 bits are too few for these weights: .*; use float32"):
        exported = export(find_weights("msra"), tmp_path / "hand.onnx", int8=True)
    assert exported.int8_error_mm is not None
    before, after = exported.int8_error_mm
    assert after > 1.1 * before


@pytest.mark.slow
def test_8_bit_quantization_costs_little_accuracy(exported: Callable[[str], Path], tmp_path: Path) -> None:
    float32 = exported(".onnx")
    result = export(find_weights("msra"), tmp_path / "hand.onnx", int8=True)
    assert result.int8_error_mm is not None
    before, after = result.int8_error_mm
    assert before < 15.0
    assert after - before < 0.3
    assert result.file.stat().st_size < float32.stat().st_size / 2
    estimator = HandPoseEstimator.from_pretrained(result.file)
    assert estimator.name == "msra-int8"
    for name in ("open", "thumb", "down"):
        truth = np.array(json.loads((EXAMPLES / f"{name}.truth.json").read_text())["xyz_mm"])
        pose = estimator.predict(EXAMPLES / f"{name}.png", camera=CAMERA)
        assert np.linalg.norm(pose.xyz - truth, axis=1).mean() < 12.0
