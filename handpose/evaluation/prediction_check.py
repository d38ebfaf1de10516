"""Finds systematic mistakes in prediction files, by comparison with the true joints."""

from __future__ import annotations

import numpy as np

from handpose.evaluation.mistakes import AGREES_MM, MUCH_SMALLER, Change, as_xyz, best_order, scaled, swapped_uv
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import JointLayout

_FRAMES = 500  # number of frames that are examined, except for shifts
_SAME_MM = 0.01  # no method is this accurate
_MAX_SHIFT = 2  # frames
_SHIFTED = 0.98  # ratio of the errors after and before a shift; a video's neighboring frames look alike
_SIGNIFICANT = 3.0  # standard errors


def _mirrored(axis: int) -> Change:
    def change(uvz: np.ndarray, camera: Camera) -> np.ndarray:
        mirrored: np.ndarray = uvz.copy()
        size = (camera.width, camera.height)[axis]
        mirrored[..., axis] = (size or 0) - 1 - uvz[..., axis]
        return mirrored

    return change


_MISTAKES: dict[str, Change] = {
    "d seems to be in meters; multiply it by 1000": scaled(1000.0),
    "d seems to be in centimeters; multiply it by 10": scaled(10.0),
    "u and v seem to be swapped": swapped_uv,
    "v seems to count from the bottom of the image; it must count from the top": _mirrored(1),
    "u seems to count from the right of the image; it must count from the left": _mirrored(0),
    "u and v seem to be pixels of an image of half the size; multiply them by 2": lambda uvz, _: uvz * [2.0, 2.0, 1.0],
    "u and v seem to be pixels of an image of twice the size; divide them by 2": lambda uvz, _: uvz * [0.5, 0.5, 1.0],
    "the values seem to be x, y, z in mm, with y down; project them to u, v, d": as_xyz,
    "the values seem to be x, y, z in mm, with y up; flip y and project them to u, v, d": lambda uvz, camera: as_xyz(
        uvz * [1.0, -1.0, 1.0], camera
    ),
}


def find_prediction_mistake(
    predicted: np.ndarray, truth: np.ndarray, camera: Camera, layout: JointLayout
) -> str | None:
    """Return a description of the systematic mistake of predictions, or None if there is none.

    Args:
        predicted: (N, J, 3) predicted joints uvz; NaN if they are missing.
        truth: (N, J, 3) true joints uvz.
        camera: Camera of the images.
        layout: Layout of the joints.
    """
    true = camera.unproject(truth)
    errors = _errors(camera.unproject(predicted), true)
    if not np.isfinite(errors).any():
        return None
    if np.nanmax(errors) < _SAME_MM:
        return "they are the true joints"
    return _shift(predicted, true, camera, errors) or _change(predicted, true, camera, layout)


def _shift(predicted: np.ndarray, true: np.ndarray, camera: Camera, errors: np.ndarray) -> str | None:
    """Return the description of a shift by a few frames that clearly decreases the error, if any."""
    xyz, count = camera.unproject(predicted), len(true)
    found: tuple[float, str] | None = None
    for shift in range(-min(_MAX_SHIFT, count - 2), min(_MAX_SHIFT, count - 2) + 1):
        frames = slice(max(0, -shift), count - max(0, shift))
        shifted = _errors(xyz[max(0, shift) : count + min(0, shift)], true[frames])
        gain = errors[frames] - shifted
        gain = gain[np.isfinite(gain)]
        before, after = np.nanmean(errors), np.nanmean(shifted) if np.isfinite(shifted).any() else np.inf
        is_clear = len(gain) > 1 and gain.mean() > _SIGNIFICANT * gain.std(ddof=1) / np.sqrt(len(gain))
        if is_clear and after < _SHIFTED * before and (found is None or after < found[0]):
            frames_text = "frame" if abs(shift) == 1 else "frames"
            late = "late" if shift > 0 else "early"
            text = f"they seem to be {abs(shift)} {frames_text} {late}; write exactly one line for each frame"
            found = after, _describe(text, before, after)
    return found and found[1]


def _change(predicted: np.ndarray, true: np.ndarray, camera: Camera, layout: JointLayout) -> str | None:
    """Return the description of the change that decreases a large error most, if it corrects the predictions."""
    chosen = np.unique(np.linspace(0, len(true) - 1, min(_FRAMES, len(true))).astype(int))
    predicted, true = predicted[chosen], true[chosen]

    def error(change: Change) -> float:
        with np.errstate(all="ignore"):
            errors = _errors(camera.unproject(change(predicted, camera)), true)
        return float(np.nanmean(errors)) if np.isfinite(errors).mean() >= is_known.mean() else np.inf

    is_known = np.isfinite(_errors(camera.unproject(predicted), true))
    if not is_known.any():
        return None
    given = error(lambda uvz, _: uvz)
    if given <= AGREES_MM:
        return None
    errors = {text: error(change) for text, change in _MISTAKES.items()}
    order, text = best_order(camera.unproject(predicted), true, layout)
    errors[text] = order
    best = min(errors, key=errors.__getitem__)
    return _describe(best, given, errors[best]) if errors[best] < MUCH_SMALLER * given else None


def _describe(text: str, before: float, after: float) -> str:
    return f"{text} (they are {before:.1f} mm from the truth, and {after:.1f} mm after this change)"


def _errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the mean distance (N,) of the joints of each frame in mm; NaN if one is missing."""
    distances: np.ndarray = np.linalg.norm(predicted - true, axis=-1).mean(axis=-1)
    return distances
