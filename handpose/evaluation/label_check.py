"""Finds systematic errors in labels: swapped axes, a wrong unit, joint order or hand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from handpose.datasets.dataset import LabeledFrame
from handpose.datasets.records import RecordDataset
from handpose.errors import DepthReadError, HandPoseError
from handpose.evaluation.mistakes import AGREES_MM, MUCH_SMALLER, Change, as_xyz, best_order, in_mm, scaled, swapped_uv
from handpose.geometry.bones import bone_deviation
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.choices import Hand
from handpose.io.warn import InputWarning

_FRAMES = 24  # number of frames that are compared with predictions
_BEHIND_MM = (-15.0, 60.0)  # plausible distance of a joint behind the surface at its pixel
_ON_SURFACE = 0.6  # minimum share of such joints in correct labels; the fingers of a fist hide each other
_OFF_SURFACE = 0.35  # share below which labels are wrong, even if the mistake is unknown
_CLEARLY_BETTER = 0.25  # difference between two shares
_SIZES = (0.6, 1.6)  # plausible sizes of hands, relative to an average one
_MAX_DEVIATION = 0.4  # of bone lengths, as a logarithm

_MISTAKES: dict[str, Change] = {
    "they seem to be in meters; multiply xyz_mm, or the depths in uvz, by 1000": scaled(1000.0),
    "they seem to be in centimeters; multiply xyz_mm, or the depths in uvz, by 10": scaled(10.0),
    "x and y seem to be swapped": in_mm(lambda xyz: xyz[:, [1, 0, 2]]),
    "u and v seem to be swapped": swapped_uv,
    "y seems to point up; it must point down": in_mm(lambda xyz: xyz * [1.0, -1.0, 1.0]),
    "x seems to point left; it must point right": in_mm(lambda xyz: xyz * [-1.0, 1.0, 1.0]),
    "xyz_mm seems to contain pixels and depths; name it uvz": lambda uvz, camera: camera.unproject(uvz),
    "uvz seems to contain x, y, z in mm; name it xyz_mm": as_xyz,
}


@dataclass(frozen=True, eq=False)
class _Sample:
    """A frame, its labels uvz (J, 3), and the joints xyz (J, 3) that are predicted for its hand and the other one."""

    frame: LabeledFrame
    uvz: np.ndarray
    predicted: np.ndarray
    as_other_hand: np.ndarray

    def on_surface(self, uvz: np.ndarray) -> np.ndarray:
        """Return whether each labeled joint lies just behind the surface, or anywhere on the hand if z is unknown."""
        uvz = uvz[np.isfinite(self.uvz[:, :2]).all(axis=1)]
        height, width = self.frame.depth.shape
        columns, rows = (np.nan_to_num(uvz[:, axis], nan=-1.0).round().clip(-1, 1e6).astype(int) for axis in (0, 1))
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        surface = np.full(len(uvz), np.nan)
        surface[inside] = self.frame.depth[rows[inside], columns[inside]]
        surface[surface <= 0] = np.nan
        behind = uvz[:, 2] - surface
        with np.errstate(invalid="ignore"):
            if self.frame.center is not None:  # without a labeled depth, any surface of the hand is accepted
                near = np.abs(surface - self.frame.center[2]) < self.frame.cube / 2
                behind = np.where(np.isnan(uvz[:, 2]) & near, 0.0, behind)
            found: np.ndarray = (behind > _BEHIND_MM[0]) & (behind < _BEHIND_MM[1])
        return found

    def errors(self, uvz: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the distances (J,) between labels and predictions in mm; NaN where a label is incomplete."""
        distances: np.ndarray = np.linalg.norm(self.frame.camera.unproject(uvz) - predicted, axis=1)
        return distances


def find_mistake(dataset: RecordDataset, estimator: HandPoseEstimator) -> str | None:
    """Return a description of the systematic error of labels and its correction, or None if there is none.

    Args:
        dataset: Labeled frames. Some of those with an image and a hand center are examined.
        estimator: Estimator with the same layout; the labels are compared with its predictions.
    """
    usable = dataset.usable
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(_FRAMES, len(usable))).astype(int))]
    samples = [sample for i in chosen if (sample := _sample(dataset, int(i), estimator)) is not None]
    if not samples:
        return None
    return _by_surface(samples) or _by_prediction(samples, dataset) or _by_bones(dataset, estimator)


def check_labels(dataset: RecordDataset, estimator: HandPoseEstimator) -> RecordDataset:
    """Return the data set without the frames whose image cannot be read, or whose labels are not on its surface.

    Args:
        dataset: Labeled frames with known centers, see `RecordDataset.localized`.
        estimator: Estimator with the same layout; the labels are compared with its predictions.

    Raises:
        HandPoseError: No frame can be used, or the labels have a systematic error; the message names it.
    """
    usable = dataset.usable
    if not len(usable):
        raise HandPoseError(f"{dataset.path}: none of the {len(dataset)} records can be used")
    mistake = find_mistake(dataset, estimator)
    if mistake is not None:
        raise HandPoseError(f"{dataset.path}: the labels are wrong: {mistake}")
    damaged = dict(dataset.damaged)
    for i in usable.tolist():
        try:
            frame = dataset[i]
        except DepthReadError as error:
            damaged[i] = str(error)
            continue
        sample = _Sample(frame, dataset.labels_in(i, frame.camera), frame.xyz, frame.xyz)
        if sample.on_surface(sample.uvz).mean() < _OFF_SURFACE:
            damaged[i] = "its labels do not lie on the depth surface"
    return replace(dataset, damaged=damaged)


def _sample(dataset: RecordDataset, i: int, estimator: HandPoseEstimator) -> _Sample | None:
    """Return a frame with its predictions, which are NaN without a hand at the given center, or None without an image.

    The center may be as wrong as the labels.
    """
    try:
        frame = dataset[i]
    except HandPoseError:
        return None
    other: Hand = "left" if frame.hand == "right" else "right"

    def predict(hand: Hand) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # one of the two hands is wrong
            try:
                return estimator.predict(frame.depth, camera=frame.camera, center=frame.center, hand=hand).xyz
            except HandPoseError:
                return np.full_like(frame.xyz, np.nan)

    return _Sample(frame, dataset.labels_in(i, frame.camera), predict(frame.hand), predict(other))


def _changed(sample: _Sample, change: Change) -> np.ndarray:
    with np.errstate(all="ignore"):
        return change(sample.uvz, sample.frame.camera)


def _by_surface(samples: list[_Sample]) -> str | None:
    """Return a description of the mistake whose correction moves the labels to the surface, if there is one."""

    def share(change: Change) -> float:
        return float(np.concatenate([sample.on_surface(_changed(sample, change)) for sample in samples]).mean())

    given = share(lambda uvz, _: uvz)
    if given >= _ON_SURFACE:
        return None
    shares = {text: share(change) for text, change in _MISTAKES.items()}
    best = max(shares, key=shares.__getitem__)
    if shares[best] >= max(_ON_SURFACE, given + _CLEARLY_BETTER):
        return f"{best} ({given:.0%} of the joints lie on the depth surface, {shares[best]:.0%} after this change)"
    if given < _OFF_SURFACE:
        return (
            f"only {given:.0%} of the joints lie on the depth surface; check the camera, the `unit` of each record, "
            "and whether each has the right source"
        )
    return None


def _by_prediction(samples: list[_Sample], dataset: RecordDataset) -> str | None:
    """Return a description of the mistake whose correction moves the labels close to the predictions, if any."""

    def error(change: Change) -> float:
        return _mean([sample.errors(_changed(sample, change), sample.predicted) for sample in samples])

    samples = [sample for sample in samples if np.isfinite([sample.predicted, sample.as_other_hand]).all()]
    given = error(lambda uvz, _: uvz) if samples else np.nan
    if not given > AGREES_MM:  # also if no label has a depth
        return None
    other_hand = _mean([sample.errors(sample.uvz, sample.as_other_hand) for sample in samples])
    errors = {text: error(change) for text, change in _MISTAKES.items()}
    errors["`hand` seems to be wrong: the images show the other hand"] = other_hand
    xyz = np.stack([sample.frame.camera.unproject(sample.uvz) for sample in samples])
    order, text = best_order(xyz, np.stack([sample.predicted for sample in samples]), dataset.layout)
    errors[text] = order
    best = min(errors, key=lambda text: np.nan_to_num(errors[text], nan=np.inf))
    if errors[best] < MUCH_SMALLER * given:
        return f"{best} (they are {given:.0f} mm from the predictions, and {errors[best]:.0f} mm after this change)"
    return None


def _by_bones(dataset: RecordDataset, estimator: HandPoseEstimator) -> str | None:
    """Return a description of implausible bone lengths, if there are any."""
    calibration = estimator.config.calibration
    complete = dataset.xyz[np.isfinite(dataset.xyz).all(axis=(1, 2))]
    if calibration is None or not len(complete):
        return None
    size, deviation = bone_deviation(complete, calibration.bones_mm, dataset.layout)
    if not _SIZES[0] < float(np.median(size)) < _SIZES[1]:
        return f"the hand is {np.median(size):.2g} times as large as an average one; check the unit and the camera"
    if float(np.median(deviation)) > _MAX_DEVIATION:
        return "the bone lengths are not those of a hand; check the order of the joints"
    return None


def _mean(errors: list[np.ndarray]) -> float:
    values = np.concatenate(errors)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else np.nan
