from __future__ import annotations

import math

import numpy as np
import pytest

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.geometry.layouts import ICVL16, LAYOUTS, MSRA21, NYU14, JointLayout


def evaluation(offsets: np.ndarray) -> Evaluation:
    truth = np.random.default_rng(1).normal([0, 0, 500], 50, offsets.shape)
    return Evaluation.of(truth + offsets, truth)


def worst(distances: list[float]) -> Evaluation:
    """One frame per distance, with this error in one joint and none in the others."""
    offsets = np.zeros((len(distances), 14, 3))
    offsets[:, 5, 1] = distances
    return evaluation(offsets)


def test_errors_are_split_by_joint_finger_and_axis() -> None:
    offsets = np.zeros((10, 14, 3))
    offsets[:, :, 0] = np.arange(14)  # joint j has an error of j mm along x
    result = evaluation(offsets)
    assert result.per_joint == pytest.approx(np.arange(14))
    assert result.per_finger(NYU14) == pytest.approx(
        {"thumb": 9, "index": 6.5, "middle": 4.5, "ring": 2.5, "pinky": 0.5, "palm": 12}
    )
    offsets[...] = [3.0, -4.0, 12.0]
    result = evaluation(offsets)
    assert result.per_axis == pytest.approx([3, 4, 12])
    assert (result.mean, result.median, result.p95) == pytest.approx((13, 13, 13))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=str)
def test_fingers_and_palm_average_to_the_mean(layout: JointLayout) -> None:
    result = evaluation(np.random.default_rng(2).normal(0, 5, (30, len(layout), 3)))
    fingers = result.per_finger(layout)
    counts = {name: len(joints) for name, joints in layout.fingers.items()}
    counts["palm"] = len(layout) - sum(counts.values())
    assert sum(fingers[name] * count for name, count in counts.items()) / len(layout) == pytest.approx(result.mean)


def test_centered_errors_exclude_a_shift_of_the_hand() -> None:
    rng = np.random.default_rng(3)
    shift = rng.normal(0, 20, (40, 1, 3))
    result = evaluation(np.broadcast_to(shift, (40, 14, 3)))
    assert result.mean_centered == pytest.approx(0, abs=1e-9)
    assert result.mean_z_centered == pytest.approx(np.hypot(shift[..., 0], shift[..., 1]).mean())
    pose = rng.normal(0, 5, (40, 14, 3))
    pose -= pose.mean(axis=1, keepdims=True)
    assert evaluation(pose + shift).mean_centered == pytest.approx(evaluation(pose).mean)
    assert evaluation(pose + shift * [0, 0, 1]).mean_z_centered == pytest.approx(evaluation(pose).mean)


def test_the_success_curve_and_the_area_under_it() -> None:
    result = worst([4.0, 12.0, 12.0, 36.0, 100.0])
    assert result.success_curve(np.array([0, 3.9, 4.1, 12.1, 36.1, 80])) == pytest.approx([0, 0, 0.2, 0.6, 0.8, 0.8])
    # A frame succeeds from its worst error on, so its share of the area is the rest up to 80 mm.
    assert result.auc == pytest.approx((76 + 68 + 68 + 44 + 0) / 5 / 80)
    fine = np.linspace(0, 80, 80_001)
    assert result.auc == pytest.approx(result.success_curve(fine).mean(), abs=1e-4)
    assert [result.success_rate(t) for t in fine[::10_000]] == pytest.approx(result.success_curve(fine[::10_000]))
    # For errors uniform from 0 to 80, the curve is the diagonal.
    assert worst(list((np.arange(400) + 0.5) / 5)).auc == pytest.approx(0.5)


def test_percentiles_of_known_errors() -> None:
    offsets = np.zeros((100, 10, 3))
    offsets[..., 2] = np.random.default_rng(4).permutation(np.arange(1, 1001)).reshape(100, 10)
    result = evaluation(offsets)
    assert result.p95 == pytest.approx(950)
    assert result.median == pytest.approx(500.5)


def test_missing_frames_are_failures_and_excluded_from_means() -> None:
    offsets = np.zeros((10, 16, 3))
    offsets[..., 0] = 7.0
    offsets[[2, 6], 3, 1] = np.nan  # one missing joint makes the frame missing
    result = evaluation(offsets)
    assert result.missing.tolist() == [2, 6]
    assert result.mean == pytest.approx(7)
    assert result.mean_interval() == pytest.approx((7, 7))
    assert result.per_joint == pytest.approx(np.full(16, 7))
    assert result.success_rate(1000) == 0.8
    assert result.auc == pytest.approx(0.8 * 73 / 80)
    assert math.isinf(result.p95)
    values = result.to_dict(ICVL16)
    assert (values["no_hand"], values["no_hand_frames"], values["p95_mm"]) == (2, [2, 6], None)
    assert values["per_finger_mm"]["thumb"] == 7


def test_metrics_without_any_prediction_are_none() -> None:
    values = evaluation(np.full((3, 16, 3), np.nan)).to_dict(ICVL16)
    for key in ("mean_mm", "median_mm", "p95_mm", "x_mm", "centered_mm", "z_centered_mm"):
        assert values[key] is None
    assert values["mean_interval95_mm"] == [None, None]
    assert values["success_40mm"] == values["auc_80mm"] == 0
    assert set(values["per_joint_mm"].values()) == {None}


def test_the_interval_covers_the_mean_of_a_known_distribution() -> None:
    # Exponential errors with a mean of 10 mm: about one interval in twenty excludes it.
    rng = np.random.default_rng(5)
    covered = 0
    for sample in rng.exponential(10.0, (200, 300)):
        low, high = worst(list(sample)).mean_interval()  # one joint of 14 has an error
        covered += low <= 10 / 14 <= high
    assert 180 <= covered <= 199


def test_the_interval_of_many_frames_matches_the_central_limit_theorem() -> None:
    frames = np.random.default_rng(6).uniform(0, 20, 8252)
    result = worst(list(frames))
    low, high = result.mean_interval()
    half = 1.96 * frames.std() / 14 / math.sqrt(len(frames))
    assert (low, high) == pytest.approx((result.mean - half, result.mean + half), abs=0.06 * half)
    assert (low, high) == result.mean_interval()
    assert (low, high) != result.mean_interval(seed=1)


def test_partly_labeled_frames_count_by_their_labels() -> None:
    """100 frames with 21 labels and errors of 5 mm, and 100 frames with one label and an error of 50 mm."""
    truth = np.random.default_rng(7).normal([0, 0, 500], 50, (200, 21, 3))
    predicted = truth + np.array([5.0, 0.0, 0.0])
    predicted[100:] = truth[100:] + np.array([50.0, 0.0, 0.0])
    index_tip = MSRA21.joints.index("index_tip")
    truth[100:, np.arange(21) != index_tip] = np.nan
    result = Evaluation.of(predicted, truth, partial=True)
    mean = (2100 * 5 + 100 * 50) / 2200
    assert result.mean == pytest.approx(mean)
    low, high = result.mean_interval()
    # The number of frames of either kind is binomial; by the delta method, the mean has this standard deviation.
    deviation = math.sqrt(200 / 4) * abs(21 * (5 - mean) - (50 - mean)) / 2200
    assert (low, high) == pytest.approx((mean - 1.96 * deviation, mean + 1.96 * deviation), abs=0.25 * deviation)
    assert result.per_finger(MSRA21)["index"] == pytest.approx((4 * 100 * 5 + 100 * 50) / 500)


def test_a_frame_with_one_label_has_no_error_after_centering() -> None:
    """Two joints that are 10 mm off in opposite directions along z, and a frame with one label, which is centered."""
    truth = np.full((2, 21, 3), np.nan)
    truth[0, :2], truth[1, 0] = [0.0, 0.0, 500.0], [0.0, 0.0, 500.0]
    predicted = np.nan_to_num(truth)
    predicted[0, :2, 2] += [10.0, -10.0]
    predicted[1, 0, 2] += 30.0
    result = Evaluation.of(predicted, truth, partial=True)
    assert (result.mean_centered, result.mean_z_centered) == (10.0, 10.0)
    alone = Evaluation.of(predicted[1:], truth[1:], partial=True).to_dict(MSRA21)
    assert (alone["mean_mm"], alone["centered_mm"], alone["z_centered_mm"]) == (30.0, None, None)


def test_invalid_joints_are_rejected() -> None:
    truth = np.zeros((3, 14, 3))
    truth[1, 2, 0] = np.nan
    with pytest.raises(HandPoseError, match=r"NaN or infinity in 1 frames, the first is 1"):
        Evaluation.of(np.zeros((3, 14, 3)), truth)
    with pytest.raises(HandPoseError, match="at least one frame"):
        Evaluation.of(truth[:0], truth[:0])
