"""Training runs with few crops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from handpose.training import trainer


@pytest.fixture(autouse=True)
def _few_statistics() -> Iterator[None]:
    """Compute the BatchNorm statistics of a checkpoint from 32 crops; those of 768 take most of a short run."""
    with pytest.MonkeyPatch.context() as patch:  # its own, since a test may undo those of `monkeypatch`
        patch.setattr(trainer, "_STATISTICS_BATCHES", 2)
        patch.setattr(trainer, "_STATISTICS_BATCH", 16)
        yield
