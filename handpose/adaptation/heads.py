"""The heads of tuned weights: those of the initial weights if they are as good as before, and new ones otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handpose.errors import HandPoseError
from handpose.inference.hand_odds import DOUBTFUL_HAND
from handpose.io.atomic import write_atomically
from handpose.io.warn import warn
from handpose.network.heads import Heads, PatchHead
from handpose.training.head_outputs import HeadData, Outputs, validation_data
from handpose.training.heads import train_heads
from handpose.weights.folder import Weights, read_folder
from handpose.weights.heads_file import HEADS_FILE, heads_bytes

_CHECKED = 512  # hands that the heads are checked on
_CHECK_SEED = 1  # other crops than those that new heads are calibrated with
_MAX_LOSS = 0.02  # of a fraction of these crops
_TRAINED = 4096  # hands that new heads are trained on


@dataclass(frozen=True)
class TunedHeads:
    """The heads of tuned weights, and the fractions of synthetic crops that they classify correctly.

    Attributes:
        kept: Whether they are those of the initial weights.
        sides: Fraction of the hands whose side is correct, compared with the mirror image.
        hands: Fraction of the hands that are recognized as hands.
        others: Fraction of the other things that are rejected.
    """

    kept: bool
    sides: float
    hands: float
    others: float

    def __str__(self) -> str:
        """Return where the heads come from, and the fractions."""
        return (
            f"{'kept the heads' if self.kept else 'trained new heads'}: on synthetic crops, {self.sides:.1%} of the "
            f"sides, {self.hands:.1%} of the hands and {self.others:.1%} of the other things are correct"
        )


def write_heads(start: Weights, folder: Path) -> TunedHeads | None:
    """Write the heads of a model folder, whose weights were tuned, unless it has some; it is complete without them.

    Args:
        start: The initial weights, with the same configuration except for the calibration.
        folder: The model folder.

    Returns:
        The heads, or None if there can be none, after a warning.
    """
    try:
        weights = read_folder(folder, str(folder))
        heads, result = _choose(start, weights)
        if weights.heads() is None:
            write_atomically(folder / HEADS_FILE, heads_bytes(heads, weights.sha256))
    except (HandPoseError, OSError) as error:
        warn(
            f"{folder}: the model has no heads, so other things may be taken for hands, and sides are doubtful: {error}"
        )
        return None
    return result


def _choose(start: Weights, weights: Weights) -> tuple[Heads, TunedHeads]:
    """Return the heads of the tuned weights, those of the initial ones if they are as good with them, or new ones."""
    old, own = start.heads(), weights.heads()
    outputs = validation_data(weights.load(), weights.config, _CHECKED, _CHECK_SEED)
    if own is not None:  # of an earlier call, or of `handpose train-heads`
        is_old = old is not None and heads_bytes(old, "") == heads_bytes(own, "")
        return own, TunedHeads(is_old, *fractions(own, outputs))
    if old is not None:
        before = fractions(old, validation_data(start.load(), start.config, _CHECKED, _CHECK_SEED))
        after = fractions(old, outputs)
        if all(new > value - _MAX_LOSS for value, new in zip(before, after, strict=True)):
            return old, TunedHeads(True, *after)
    heads = train_heads(weights, crops=_TRAINED).heads
    return heads, TunedHeads(False, *fractions(heads, outputs))


def fractions(heads: Heads, data: HeadData) -> tuple[float, float, float]:
    """Return the fractions of correct sides, of hands that count as such, and of other things that do not."""
    both = [data.hands.select((slice(None), side)) for side in (0, 1)]
    right, left = (_log_odds(heads.side, outputs) for outputs in both)
    hands = np.concatenate([_log_odds(heads.hand, outputs) for outputs in both])
    others = _log_odds(heads.hand, data.others)
    correct = (right > left, hands >= DOUBTFUL_HAND, others < DOUBTFUL_HAND)
    sides, accepted, rejected = (float(np.mean(each)) for each in correct)
    return sides, accepted, rejected


def _log_odds(head: PatchHead, outputs: Outputs) -> np.ndarray:
    return head.log_odds(*(tensor.float().numpy() for tensor in outputs))
