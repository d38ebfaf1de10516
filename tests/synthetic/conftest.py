"""The compiled hand, made once for all tests of the renderer."""

from __future__ import annotations

from pathlib import Path

import pytest

from handpose.synthetic.hand_file import compile_hand
from handpose.synthetic.hand_model import HandModel


@pytest.fixture(scope="session")
def hand_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled hand of few shapes."""
    pytest.importorskip("anny", reason="needs the extra train")
    path = tmp_path_factory.mktemp("hand") / "hand.npz"
    compile_hand(path, shapes=50)
    return path


@pytest.fixture
def hand(hand_file: Path) -> HandModel:
    """The compiled hand."""
    return HandModel(hand_file)
