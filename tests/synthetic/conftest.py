"""The compiled hand of the tests of the renderer."""

from __future__ import annotations

from pathlib import Path

import pytest

from handpose.synthetic.hand_model import HandModel


@pytest.fixture
def hand(hand_file: Path) -> HandModel:
    """The compiled hand."""
    return HandModel(hand_file)
