from __future__ import annotations

import contextlib
import copy
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose import Camera, HandCrop, HandPoseError, HandPoseEstimator, localize_hands, read_depth
from handpose.errors import DeviceMemoryError
from handpose.localization.localizer import hand_candidates
from handpose.localization.network import Votes
from handpose.localization.numpy_runtime import votes_in_numpy
from handpose.localization.torch_runtime import LocalizerModel
from handpose.runtimes import select
from handpose.runtimes.base import Runtime, convert_out_of_memory
from handpose.runtimes.cuda_graphs import CudaGraphs, _Captured, fold_batch_norms, halve
from handpose.runtimes.onnx_graphs import export_localizer
from handpose.runtimes.onnx_runtime import OnnxRuntime
from handpose.runtimes.openvino_runtime import OpenVinoRuntime
from handpose.runtimes.pytorch import TorchRuntime
from handpose.weights.resolve import find_weights
from tests.helpers.paths import EXAMPLES, SHARED

SR305 = Camera(476.007, 476.007, 313.683, 242.755, 640, 480)
SCALE_MM = np.array([95 / 96 * 250, 95 / 96 * 250, 125])  # of the normalized coordinates of the built-in weights


def crops_of(paths: list[Path], camera: Camera, unit: float) -> np.ndarray:
    """24 patches of the hands in depth files, shifted and mirrored."""
    patches = []
    for path in paths:
        depth = read_depth(path, unit)
        center = localize_hands(depth, camera)[0]
        for i in range(-(-24 // len(paths))):
            shift = np.array([8.0 * (i % 4), 5.0 * (i % 3), 3.0 * i])
            patches.append(HandCrop.cut(depth, camera, center + shift, 250.0, mirror=bool(i % 2)).patch)
    return np.stack(patches[:24])[:, None]


@functools.cache
def patches_and_outputs(images: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Patches of hands, and the outputs of the float32 network for them."""
    if images == "real":
        patches = crops_of(sorted((SHARED / "frames" / "sr305").glob("*.png")), SR305, 0.125)
    else:
        patches = crops_of(sorted(EXAMPLES.glob("*.png")), Camera.parse(str(EXAMPLES / "camera.json")), 1.0)
    with torch.inference_mode():
        return patches, [output.numpy() for output in find_weights("msra").load()(torch.from_numpy(patches))]


def load(name: str, exported: Callable[[str], Path]) -> Runtime:
    if name == "torch":
        return TorchRuntime(find_weights("msra"), "cpu")
    return OnnxRuntime(exported(".onnx")) if name == "onnxruntime" else OpenVinoRuntime(exported(".xml"))


@pytest.mark.parametrize("name", ["torch", "onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
@pytest.mark.parametrize("images", ["synthetic", pytest.param("real", marks=pytest.mark.shared)])
def test_all_runtimes_predict_the_joints_of_the_float32_network(
    exported: Callable[[str], Path], name: str, images: str
) -> None:
    patches, (*expected, features) = patches_and_outputs(images)
    assert np.ptp(expected[0] * SCALE_MM, axis=0).max() > 20.0  # the patches differ
    runtime, heads = load(name, exported), find_weights("msra").heads()
    assert heads is not None
    for count in (1, 3, 24):
        for output, reference in zip(runtime.pose(patches[:count]), expected, strict=True):
            assert output.dtype == np.float32
            assert output.shape == (count, 21, 3)
            assert np.linalg.norm((output - reference[:count]) * SCALE_MM, axis=-1).max() < 0.05
        uvz, _, own = runtime.pose_and_features(patches[:count])
        assert own is not None
        assert np.abs(own - features[:count]).max() < 1e-3 < features.std()
        for head in (heads.hand, heads.side):
            reference = head.log_odds(features[:count], *(output[:count] for output in expected))
            assert np.abs(head.log_odds(own, *runtime.pose(patches[:count])) - reference).max() < 0.02
        assert np.linalg.norm((uvz - expected[0][:count]) * SCALE_MM, axis=-1).max() < 0.05


def some_channels(size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(0)
    channels = np.concatenate([rng.normal(0.0, 0.5, (1, 1, *size)), np.ones((1, 1, *size))], axis=1)
    return (channels * (rng.random((1, 1, *size)) > 0.2)).astype(np.float32)


def votes_of(name: str, exported: Callable[[str], Path], tmp_path: Path) -> Votes:
    if name == "torch":
        return lambda channels: LocalizerModel()(torch.from_numpy(channels)).numpy()
    if name == "export":
        pytest.importorskip("onnxscript")
        export_localizer(tmp_path / "localizer.onnx")
        session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "localizer.onnx")
        return lambda channels: session.run(["votes"], {"channels": channels})[0]
    return load(name, exported).votes


@pytest.mark.parametrize("name", ["torch", "onnxruntime", pytest.param("openvino", marks=pytest.mark.slow), "export"])
def test_all_runtimes_localize_the_same_hands(exported: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    votes = votes_of(name, exported, tmp_path)
    for size in ((96, 128), (32, 32), (160, 96)):
        channels = some_channels(size)
        expected, original = votes_in_numpy(channels), channels.copy()
        assert expected.shape == (1, 16, size[0] // 4, size[1] // 4)
        assert np.abs(votes(channels) - expected).max() < 1e-4 < np.ptp(expected)
        assert (channels == original).all()
    camera, depth = Camera.parse(str(EXAMPLES / "camera.json")), read_depth(EXAMPLES / "open.png")
    (centers, areas), (expected, expected_areas) = (
        hand_candidates(depth, camera, 3, network) for network in (votes, votes_in_numpy)
    )
    assert np.allclose(centers, expected, atol=0.01)
    assert np.allclose(areas, expected_areas, rtol=1e-4)


@pytest.mark.slow
def test_results_are_not_overwritten_by_the_next_call(exported: Callable[[str], Path]) -> None:
    patches = crops_of(sorted(EXAMPLES.glob("*.png")), Camera.parse(str(EXAMPLES / "camera.json")), 1.0)
    for name in select.installed_backends():
        runtime = load(name, exported)
        first, _ = runtime.pose(patches[:1])
        copied = first.copy()
        runtime.pose(patches[20:21])
        assert (first == copied).all(), name


def test_folding_removes_batch_norm_and_changes_no_joint() -> None:
    torch.manual_seed(0)
    model = find_weights("msra").load().double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
    folded = fold_batch_norms(copy.deepcopy(model))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    patches = torch.rand(2, 1, 96, 96, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(folded(patches)[0], model(patches)[0], atol=1e-9)


def test_auto_is_the_fastest_installed_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select.installed_backends()[-1] == "torch"
    monkeypatch.setattr(select, "_installed", lambda package: package == "openvino")
    assert select.installed_backends() == ["openvino", "torch"]
    monkeypatch.setattr(select, "_installed", lambda package: False)
    assert isinstance(select.load_runtime(find_weights("msra"), "auto", "cpu"), TorchRuntime)
    with pytest.raises(HandPoseError, match=r"pip install 'handpose\[onnx\]'"):
        HandPoseEstimator.from_pretrained("msra", backend="onnxruntime")


def test_a_backend_that_cannot_be_imported_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As ONNX Runtime on Windows without Microsoft's C++ runtime."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text("raise ImportError('DLL load failed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(select, "_installed", lambda package: package == "onnxruntime")
    problem = r"backend onnxruntime is installed but cannot be imported \(DLL load failed\)"
    with pytest.warns(UserWarning, match=problem):
        assert isinstance(select.load_runtime(find_weights("msra"), "auto", "cpu"), TorchRuntime)
    with pytest.raises(HandPoseError, match=problem):
        select.load_runtime(find_weights("msra"), "onnxruntime", "cpu")


LITTLE_MEMORY = """
import resource, sys
import numpy as np
from handpose.runtimes.select import load_runtime
from handpose.errors import DeviceMemoryError
from handpose.weights.resolve import find_weights
runtime = load_runtime(find_weights("msra"), sys.argv[1], "cpu")
runtime.pose(np.zeros((8, 1, 96, 96), np.float32))
patches = np.zeros((2000, 1, 96, 96), np.float32)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 400_000_000,) * 2)
try:
    runtime.pose(patches)
except DeviceMemoryError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_out_of_memory_on_the_cpu_is_a_device_memory_error(name: str) -> None:
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
    command = [sys.executable, "-c", LITTLE_MEMORY, name]
    environment = os.environ | {
        "OMP_NUM_THREADS": "64"
    }  # ONNX Runtime processes more patches at once with more threads
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "allocate memory" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "CUDA out of memory. Tried to"),
        (RuntimeError("traced\nat model.py\nRuntimeError: CUDNN_STATUS_ALLOC_FAILED"), "CUDNN_STATUS_ALLOC_FAILED"),
        (RuntimeError("Exception from src/inference:\nstd::bad_alloc"), "^std::bad_alloc$"),
        (MemoryError("bad allocation"), "bad allocation"),
    ],
)
def test_out_of_memory_of_every_runtime_is_a_device_memory_error(error: Exception, message: str) -> None:
    with pytest.raises(DeviceMemoryError, match=message), convert_out_of_memory():
        raise error
    with pytest.raises(ValueError, match="shape"), convert_out_of_memory():
        raise ValueError("shape")


def test_errors_of_other_runtimes_do_not_import_torch() -> None:
    program = (
        "import sys\nimport numpy as np\nfrom handpose import Camera, HandPoseEstimator\n"
        "from handpose.runtimes.base import Runtime\n"
        "from handpose.weights.resolve import find_weights\n"
        "class Broken(Runtime):\n"
        "    def pose(self, patches): raise RuntimeError('another')\n"
        "estimator = HandPoseEstimator(Broken(), find_weights('msra').config, 'msra')\n"
        "try:\n"
        "    estimator.predict(np.full((64, 64), 500.0), center=(0, 0, 500), camera=Camera(60, 60, 32, 32, 64, 64))\n"
        "except RuntimeError as error: print(error, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "another False\n"


def test_exported_graphs_run_only_on_the_cpu() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(HandPoseError, match="runs on the CPU, got device 'cuda'"):
        HandPoseEstimator.from_pretrained("msra", backend="onnxruntime", device="cuda")


@pytest.mark.parametrize("count", [1, 3, 8, 9, 37])
def test_cuda_graphs_alternate_and_return_every_patch(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The CPU simulates CUDA with the latest possible copies: they take place when the results are waited for."""

    class LateGraph:
        def __init__(self, captured: list[_Captured]) -> None:
            self.captured, self.waiting = captured, False

        def replay(self) -> None:
            assert not self.waiting, "replayed before its results were read"
            self.waiting = True

        def synchronize(self) -> None:
            assert self.waiting
            (own,) = self.captured
            rows = own.host_patches[:, :, 0, :3]
            own.host_results[:] = torch.stack([rows, -rows])
            self.waiting = False

        def record(self) -> None:
            pass

    class SimulatedGraphs(CudaGraphs):
        def __init__(self) -> None:
            self._device, self._captured, self._lock = torch.device("cpu"), {}, threading.Lock()

        def _capture(self, size: int) -> _Captured:
            made: list[_Captured] = []
            graph = LateGraph(made)
            patches, results = torch.zeros(size, 1, 96, 96), torch.zeros(2, size, 1, 3)
            made.append(_Captured(graph, patches, results, patches.clone(), results.clone(), graph))
            return made[0]

    monkeypatch.setattr("torch.cuda.device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr("handpose.runtimes.cuda_graphs._MAX_GRAPH_BATCH", 8)
    patches = torch.rand(count, 1, 96, 96)
    graphs = SimulatedGraphs()
    for given in (patches, patches.flip(0)):
        uvz, spread = graphs(given)
        assert torch.equal(uvz, given[:, :, 0, :3])
        assert torch.equal(spread, -uvz)
    assert all(size in (1, 4, 8) and turn in (0, 1) for size, turn in graphs._captured)


@pytest.mark.shared
def test_float16_moves_joints_of_real_hands_by_less_than_a_twentieth_of_a_millimeter() -> None:
    crops, (expected, *_) = patches_and_outputs("real")
    # Every other crop is mirrored and shows a left hand, for which the network is uncertain and sensitive to rounding.
    with torch.inference_mode():
        uvz, *_ = halve(fold_batch_norms(find_weights("msra").load()))(torch.from_numpy(crops[::2]))
    distances = np.linalg.norm((uvz.numpy() - expected[::2]) * SCALE_MM, axis=-1)
    assert 0.0 < distances.max() < 0.05


@pytest.mark.gpu
def test_a_gpu_moves_joints_by_hundredths_of_a_millimeter() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    patches = crops_of(sorted(EXAMPLES.glob("*.png")), Camera.parse(str(EXAMPLES / "camera.json")), 1.0)
    patches = np.concatenate([patches] * 50)[:1200]  # more than two graphs
    on_cpu, on_gpu = (TorchRuntime(find_weights("msra"), device) for device in ("cpu", "cuda"))
    for count in (1, 3, 64, 1200):
        (expected, _), (uvz, _) = on_cpu.pose(patches[:count]), on_gpu.pose(patches[:count])
        distances = np.linalg.norm((uvz - expected) * SCALE_MM, axis=-1)
        assert distances.mean() < 0.05
        assert distances[::2].max() < 0.1  # every other patch is mirrored
    channels = some_channels((96, 128))
    expected = on_cpu.votes(channels)
    assert np.abs(on_gpu.votes(channels) - expected).max() < 0.01 * np.ptp(expected)
