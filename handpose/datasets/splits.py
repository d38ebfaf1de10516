"""Splits of frames that keep consecutive frames, which look alike, in the same part."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from handpose.errors import HandPoseError

_GAP = 0.05  # share of the frames of a single sequence that is left out between the two parts
_MAX_GAP = 30  # frames


def split_sequences(sequences: Sequence[str], files: Sequence[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Split frames into two parts, and return the indices (K,) and (H,) of both, ascending.

    Complete sequences are held out, in a random but reproducible order, until the share is reached as closely as
    possible. With a single sequence, its end is held out, and the frames before it are left out: 5%, but at least one,
    if there are three, and at most 30. A frame whose file is held out, such as that of another hand in the same image,
    is left out as well.

    Args:
        sequences: Name of the sequence of each frame.
        files: File of each frame.
        share: Desired share of the frames in the second part.

    Raises:
        HandPoseError: There are fewer than two frames, or all show the same image.
    """
    count = len(sequences)
    if count < 2:
        raise HandPoseError(f"expected at least two frames to split, got {count}")
    names, members = np.unique(np.array(sequences), return_inverse=True)
    target = min(max(1, round(share * count)), count - 1)
    if len(names) == 1:
        start = count - target
        gap = min(max(1, round(_GAP * count)), _MAX_GAP, start - 1)
        return _apart(files, np.arange(start - gap), np.arange(start, count))
    sizes = np.bincount(members)
    chosen: list[int] = []
    for name in np.random.default_rng(0).permutation(len(names)).tolist():
        total = int(sizes[chosen].sum())
        if len(chosen) < len(names) - 1 and abs(total + sizes[name] - target) < abs(total - target):
            chosen.append(name)
    held_out = np.isin(members, chosen or [int(sizes.argmin())])
    return _apart(files, np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _apart(files: Sequence[str], kept: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two parts without the frames of the first one whose file is in the second one, too."""
    tested = {os.path.normpath(files[i]) for i in held_out}
    kept = kept[[os.path.normpath(files[i]) not in tested for i in kept]]
    if not len(kept):
        raise HandPoseError("all frames show the same images, so they cannot be split")
    return kept, held_out
