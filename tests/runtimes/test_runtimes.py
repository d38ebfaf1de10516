from __future__ import annotations

import contextlib
import copy
import importlib.metadata
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
from handpose.localization.numpy_runtime import votes_in_numpy
from handpose.runtimes import select as loading
from handpose.runtimes.base import Backend, BackendName, own_memory_errors
from handpose.runtimes.cuda_graphs import CudaGraphs, _Captured, fold_batch_norms, halve
from handpose.runtimes.onnx_runtime import OnnxRuntimeBackend
from handpose.runtimes.openvino_runtime import OpenVinoBackend
from handpose.runtimes.pytorch import TorchBackend, TorchVotes
from handpose.weights.resolve import find_weights
from tests.helpers.paths import EXAMPLES, SHARED

SR305 = Camera(476.007, 476.007, 313.683, 242.755, 640, 480)
MILLIMETRES = np.array([95 / 96 * 250, 95 / 96 * 250, 125])  # of normalised coordinates of the built-in weights


def crops_of(paths: list[Path], camera: Camera, unit: float) -> np.ndarray:
    """64 patches of the hands in depth files, moved about and mirrored."""
    patches = []
    for path in paths:
        depth = read_depth(path, unit)
        center = localize_hands(depth, camera)[0]
        for i in range(-(-64 // len(paths))):
            shift = np.array([8.0 * (i % 4), 5.0 * (i % 3), 3.0 * i])
            patches.append(HandCrop.cut(depth, camera, center + shift, 250.0, mirror=bool(i % 2)).patch)
    return np.stack(patches[:64])[:, None]


def load(name: str, exported: Callable[[str], Path]) -> Backend:
    if name == "torch":
        return TorchBackend(find_weights("msra"), "cpu")
    return OnnxRuntimeBackend(exported(".onnx")) if name == "onnxruntime" else OpenVinoBackend(exported(".xml"))


@pytest.mark.parametrize("name", ["torch", "onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
@pytest.mark.parametrize("images", ["rendered", pytest.param("real", marks=pytest.mark.shared)])
def test_all_backends_are_the_network_in_float32(exported: Callable[[str], Path], name: str, images: str) -> None:
    if images == "real":
        patches = crops_of(sorted((SHARED / "frames" / "sr305").glob("*.png")), SR305, 0.125)
    else:
        patches = crops_of(sorted(EXAMPLES.glob("*.png")), Camera.parse(str(EXAMPLES / "camera.json")), 1.0)
    with torch.inference_mode():
        expected = [output.numpy() for output in find_weights("msra").load()(torch.from_numpy(patches))]
    assert np.ptp(expected[0] * MILLIMETRES, axis=0).max() > 20.0  # the patches are not all alike
    backend = load(name, exported)
    for count in (1, 3, 64):
        for output, reference in zip(backend(patches[:count]), expected, strict=True):
            assert output.dtype == np.float32
            assert output.shape == (count, 21, 3)
            assert np.linalg.norm((output - reference[:count]) * MILLIMETRES, axis=-1).max() < 0.05


@pytest.mark.parametrize("name", loading.installed_backends())
def test_every_runtime_finds_hands_alike(name: BackendName) -> None:
    votes = TorchVotes(torch.device("cpu")) if name == "torch" else loading.load_votes(name, "cpu")
    rng = np.random.default_rng(0)
    for size in ((96, 128), (32, 32), (160, 96)):
        channels = np.concatenate([rng.normal(0.0, 0.5, (1, 1, *size)), np.ones((1, 1, *size))], axis=1)
        channels *= rng.random((1, 1, *size)) > 0.2
        channels = channels.astype(np.float32)
        expected, given = votes_in_numpy(channels), channels.copy()
        assert expected.shape == (1, 4, size[0] // 4, size[1] // 4)
        assert np.abs(votes(channels) - expected).max() < 1e-4 < np.ptp(expected)
        assert (channels == given).all()
    camera, depth = Camera.parse(str(EXAMPLES / "camera.json")), read_depth(EXAMPLES / "open.png")
    (found, areas), (expected, support) = (hand_candidates(depth, camera, 3, each) for each in (votes, votes_in_numpy))
    assert np.allclose(found, expected, atol=0.01)
    assert np.allclose(areas, support, rtol=1e-4)


def test_without_what_makes_its_graph_the_localiser_runs_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_installed", lambda package: package != "onnx")
    assert loading.load_votes("onnxruntime", "cpu") is votes_in_numpy
    assert loading.load_votes("torch", "cpu") is votes_in_numpy


@pytest.mark.slow
def test_results_are_not_overwritten_by_the_next_call(exported: Callable[[str], Path]) -> None:
    patches = crops_of(sorted(EXAMPLES.glob("*.png")), Camera.parse(str(EXAMPLES / "camera.json")), 1.0)
    for name in loading.installed_backends():
        backend = load(name, exported)
        first, _ = backend(patches[:1])
        kept = first.copy()
        backend(patches[20:21])
        assert (first == kept).all(), name


def test_folding_changes_nothing_but_leaves_no_batch_norm() -> None:
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


def test_auto_is_the_fastest_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loading.installed_backends()[-1] == "torch"
    monkeypatch.setattr(loading, "_installed", lambda package: package == "openvino")
    assert loading.installed_backends() == ["openvino", "torch"]
    monkeypatch.setattr(loading, "_installed", lambda package: False)
    backend = loading.load_backend(find_weights("msra"), "auto", "cpu")
    assert isinstance(backend, TorchBackend)
    with pytest.raises(HandPoseError, match=r"pip install 'handpose\[onnx\]'"):
        HandPoseEstimator.from_pretrained("msra", backend="onnxruntime")


def test_a_graph_is_made_once_for_its_weights(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = exported(".onnx").read_bytes()
    made = []

    def export(weights: object, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        made.append(file)

    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))
    monkeypatch.setattr("handpose.runtimes.export.export", export)
    for name in ("msra", "msra", "nyu", "msra"):
        loading.load_backend(find_weights(name), "onnxruntime", "cpu")
    assert len(made) == len(set(made)) == 2
    assert all(file.is_relative_to(tmp_path) for file in made)


def test_a_damaged_graph_in_the_cache_is_made_again(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = exported(".onnx").read_bytes()
    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))
    monkeypatch.setattr("handpose.runtimes.export.export", lambda weights, file: file.write_bytes(content))
    loading.load_backend(find_weights("msra"), "onnxruntime", "cpu")
    (file,) = (tmp_path / "graphs").glob("*.onnx")
    file.write_bytes(content[:1000])
    with pytest.warns(UserWarning, match=r"\.onnx: is damaged .* it is made again"):
        loading.load_backend(find_weights("msra"), "onnxruntime", "cpu")
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("suffix", "packages"),
    [(".onnx", ("torch", "onnxruntime", "onnx", "onnxscript")), (".xml", ("torch", "openvino"))],
)
def test_a_graph_is_made_again_for_other_versions_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str, packages: tuple[str, ...]
) -> None:
    made: list[Path] = []

    def export(weights: object, file: Path) -> None:
        file.touch()
        made.append(file)

    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))
    monkeypatch.setattr("handpose.runtimes.export.export", export)
    versions = dict.fromkeys(("torch", "onnxruntime", "onnx", "onnxscript", "openvino"), "1.0")
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)

    def count() -> int:
        loading.cached_graph(find_weights("msra"), suffix, lambda file: file)
        return len(made)

    read_bytes = Path.read_bytes
    monkeypatch.setattr(  # a comment in the package's own modules
        Path, "read_bytes", lambda path: read_bytes(path) + (b"# comment" if path.suffix == ".py" else b"")
    )
    assert (count(), count()) == (1, 1)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert count() == 1
    for number, package in enumerate(packages, 2):
        versions[package] = "1.1"
        assert (count(), count()) == (number, number)
    for package in set(versions) - set(packages):
        versions[package] = "1.1"
    assert count() == len(packages) + 1
    monkeypatch.setattr(loading, "_GRAPH_VERSION", 2)
    assert count() == len(packages) + 2


LITTLE_MEMORY = """
import resource, sys
import numpy as np
from handpose.runtimes.select import load_backend
from handpose.errors import DeviceMemoryError
from handpose.weights.resolve import find_weights
backend = load_backend(find_weights("msra"), sys.argv[1], "cpu")
backend(np.zeros((1, 1, 96, 96), np.float32))
patches = np.zeros((2000, 1, 96, 96), np.float32)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 400_000_000,) * 2)
try:
    backend(patches)
except DeviceMemoryError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_a_machine_without_memory_is_said_in_our_words(name: str) -> None:
    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
    command = [sys.executable, "-c", LITTLE_MEMORY, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "allocate memory" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "CUDA out of memory. Tried to"),
        (RuntimeError("traced\nat model.py\nRuntimeError: CUDNN_STATUS_ALLOC_FAILED"), "CUDNN_STATUS_ALLOC_FAILED"),
        (RuntimeError("Exception from src/inference:\nstd::bad_alloc"), "^std::bad_alloc$"),
        (MemoryError("bad allocation"), "bad allocation"),
    ],
)
def test_every_runtime_s_lack_of_memory_is_one_exception(error: Exception, said: str) -> None:
    with pytest.raises(DeviceMemoryError, match=said), own_memory_errors():
        raise error
    with pytest.raises(ValueError, match="shape"), own_memory_errors():
        raise ValueError("shape")


def test_another_runtime_s_error_needs_no_torch() -> None:
    program = (
        "import sys\nimport numpy as np\nfrom handpose import Camera, HandPoseEstimator\n"
        "from handpose.weights.resolve import find_weights\n"
        "def backend(patches): raise RuntimeError('another')\n"
        "estimator = HandPoseEstimator(backend, find_weights('msra').config, 'msra')\n"
        "try:\n"
        "    estimator.predict(np.full((64, 64), 500.0), center=(0, 0, 500), camera=Camera(60, 60, 32, 32, 64, 64))\n"
        "except RuntimeError as error: print(error, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "another False\n"


def test_graphs_run_on_the_cpu_only() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(HandPoseError, match="runs on the CPU, got device 'cuda'"):
        HandPoseEstimator.from_pretrained("msra", backend="onnxruntime", device="cuda")


@pytest.mark.parametrize("count", [1, 3, 8, 9, 37])
def test_graphs_take_turns_and_lose_no_patch(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """CUDA's part played by the CPU, as late as it may be: copies are done when somebody waits for them."""

    class Later:
        def __init__(self, captured: list[_Captured]) -> None:
            self.captured, self.waiting = captured, False

        def replay(self) -> None:
            assert not self.waiting, "started again before its results were fetched"
            self.waiting = True

        def synchronize(self) -> None:
            assert self.waiting
            (own,) = self.captured
            seen = own.host_patches[:, :, 0, :3]
            own.host_results[:] = torch.stack([seen, -seen])
            self.waiting = False

        def record(self) -> None:
            pass

    class Pretended(CudaGraphs):
        def __init__(self) -> None:
            self._device, self._captured, self._lock = torch.device("cpu"), {}, threading.Lock()

        def _capture(self, size: int) -> _Captured:
            made: list[_Captured] = []
            later = Later(made)
            patches, results = torch.zeros(size, 1, 96, 96), torch.zeros(2, size, 1, 3)
            made.append(_Captured(later, patches, results, patches.clone(), results.clone(), later))
            return made[0]

    monkeypatch.setattr("torch.cuda.device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr("handpose.runtimes.cuda_graphs._LARGEST_GRAPH", 8)
    patches = torch.rand(count, 1, 96, 96)
    pretended = Pretended()
    for given in (patches, patches.flip(0)):
        uvz, spread = pretended(given)
        assert torch.equal(uvz, given[:, :, 0, :3])
        assert torch.equal(spread, -uvz)
    assert all(size in (1, 4, 8) and turn in (0, 1) for size, turn in pretended._captured)


@pytest.mark.shared
def test_half_precision_is_within_a_twentieth_of_a_millimetre_on_real_hands() -> None:
    crops = crops_of(sorted((SHARED / "frames" / "sr305").glob("*.png")), SR305, 0.125)
    # Every other crop is mirrored: a hand of the wrong side, where the network is unsure and any rounding counts.
    patches = torch.from_numpy(crops[::2])
    model = find_weights("msra").load()
    with torch.inference_mode():
        expected, _ = model(patches)
        uvz, _ = halve(fold_batch_norms(model))(patches)
    distances = np.linalg.norm((uvz - expected).numpy() * MILLIMETRES, axis=-1)
    assert 0.0 < distances.max() < 0.05


@pytest.mark.gpu
def test_half_precision_on_a_gpu_moves_joints_by_hundredths_of_a_millimetre() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    patches = crops_of(sorted(EXAMPLES.glob("*.png")), Camera.parse(str(EXAMPLES / "camera.json")), 1.0)
    patches = np.concatenate([patches] * 20)[:1200]  # more than two graphs take in turns
    on_cpu, on_gpu = (TorchBackend(find_weights("msra"), device) for device in ("cpu", "cuda"))
    for count in (1, 3, 64, 1200):
        (expected, _), (uvz, _) = on_cpu(patches[:count]), on_gpu(patches[:count])
        distances = np.linalg.norm((uvz - expected) * MILLIMETRES, axis=-1)
        assert distances.mean() < 0.05
        assert distances[::2].max() < 0.1  # the others are mirrored
