from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from handpose.geometry.camera import Camera
from handpose.runtimes.graph_cache import cached_graph
from handpose.weights.resolve import find_weights
from tests.helpers.faults_jobs import make_small_model
from tests.helpers.paths import SHARED

# A shell lets its background jobs ignore SIGINT, and the commands that tests start would do so, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    torch.set_num_threads(1)

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"the reference data is not at {SHARED}"))


@pytest.fixture(scope="session")
def reference() -> Callable[[str], np.lib.npyio.NpzFile]:
    return lambda name: np.load(SHARED / "reference" / name)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture
def camera() -> Camera:
    return Camera(476.0, 480.0, 313.5, 243.0, 640, 480)


@pytest.fixture(scope="session")
def exported() -> Callable[[str], Path]:
    """The exported file of the built-in `msra`, by its extension, from the cache of graphs."""

    def file(suffix: str) -> Path:
        for package in {".onnx": ("onnxruntime", "onnxscript"), ".xml": ("openvino",)}[suffix]:
            pytest.importorskip(package)
        return cached_graph(find_weights("msra"), suffix, lambda file: file)

    return file


@pytest.fixture(scope="session")
def hand_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled hand of few shapes."""
    pytest.importorskip("anny", reason="needs the extra train")
    from handpose.synthetic.hand_file import compile_hand

    path = tmp_path_factory.mktemp("hand") / "hand.npz"
    compile_hand(path, shapes=50)
    return path
