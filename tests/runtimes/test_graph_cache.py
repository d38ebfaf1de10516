from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest

from handpose.runtimes import graph_cache
from handpose.runtimes.export import Exported
from handpose.runtimes.select import load_runtime
from handpose.weights.resolve import find_weights


def test_a_graph_is_exported_once_per_weights(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = exported(".onnx").read_bytes()
    exports = []

    def export(weights: object, file: Path, *, int8: bool, force: bool) -> Exported:
        assert int8
        assert force
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        exports.append(file)
        return Exported(file)

    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))
    monkeypatch.setattr("handpose.runtimes.export.export", export)
    for name in ("msra", "msra", "nyu", "msra"):
        load_runtime(find_weights(name), "onnxruntime", "cpu", "int8")
    assert len(exports) == len(set(exports)) == 2
    assert all(file.is_relative_to(tmp_path) for file in exports)


def test_a_damaged_graph_in_the_cache_is_exported_again(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = exported(".onnx").read_bytes()
    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))

    def export(weights: object, file: Path, *, int8: bool, force: bool) -> Exported:
        file.write_bytes(content)
        return Exported(file)

    monkeypatch.setattr("handpose.runtimes.export.export", export)
    load_runtime(find_weights("msra"), "onnxruntime", "cpu", "int8")
    (file,) = (tmp_path / "graphs").glob("*.onnx")
    file.write_bytes(content[:1000])
    with pytest.warns(UserWarning, match=r"\.onnx: is damaged .* it is regenerated"):
        load_runtime(find_weights("msra"), "onnxruntime", "cpu", "int8")
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("suffix", "packages"),
    [(".onnx", ("torch", "onnxruntime", "onnx", "onnxscript")), (".xml", ("torch", "openvino"))],
)
def test_a_graph_is_exported_again_only_for_other_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str, packages: tuple[str, ...]
) -> None:
    exports: list[Path] = []

    def export(weights: object, file: Path, *, int8: bool, force: bool) -> Exported:
        file.touch()
        exports.append(file)
        return Exported(file)

    monkeypatch.setenv("HANDPOSE_CACHE", str(tmp_path))
    monkeypatch.setattr("handpose.runtimes.export.export", export)
    versions = dict.fromkeys(("torch", "onnxruntime", "onnx", "onnxscript", "openvino"), "1.0")
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)

    def count() -> int:
        graph_cache.cached_graph(find_weights("msra"), suffix, lambda file: file)
        return len(exports)

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
    monkeypatch.setattr(graph_cache, "GRAPH_VERSION", graph_cache.GRAPH_VERSION + 1)
    assert count() == len(packages) + 2
