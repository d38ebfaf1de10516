"""Print the figures in `docs/uncertainty.md` and draw its plots. Requires the extras `train` and `plot`.

python docs/measure_uncertainty.py [--model msra] [--frames 2000] [--views 1] [--real FOLDER]

FOLDER contains 16-bit PNG images of right hands from an Intel SR305, 0.125 mm per unit.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from handpose import Camera, DepthUnitWarning, HandPose, HandPoseEstimator, read_depth
from handpose.geometry.articulation import finger_states, joint_angles
from handpose.network.calibration import BAD_JOINT
from handpose.synthetic.testset import synthetic_testset

PICTURE = Path(__file__).resolve().parent / "images" / "uncertainty.png"
SR305 = Camera(476.007, 476.007, 313.683, 242.755, 640, 480)
BINS = 10


def mirrored(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Return the mirrored image and its camera; right hands become left hands."""
    flipped = Camera(camera.fx, camera.fy, camera.width - 1 - camera.cx, camera.cy, camera.width, camera.height)
    return np.ascontiguousarray(depth[:, ::-1]), flipped


def auto_hand_correct(estimator: HandPoseEstimator, depth: np.ndarray, camera: Camera) -> tuple[bool, bool]:
    """Return whether `hand="auto"` is correct for the image of a right hand, and for its mirror image."""
    flipped, other = mirrored(depth, camera)
    return (
        estimator.predict(depth, camera=camera).hand == "right",
        estimator.predict(flipped, camera=other).hand == "left",
    )


def roc(score: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the false and the true positive rates for all thresholds on `score`."""
    order = np.argsort(-score, kind="stable")
    return tuple(np.append(0.0, np.cumsum(kind[order]) / kind.sum()) for kind in (~bad, bad))


def area(score: np.ndarray, bad: np.ndarray) -> float:
    """Return the area under the receiver operating characteristic curve."""
    false, true = roc(score, bad)
    return float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())


def curve(expected: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Bin the joints by expected error.

    Returns:
        (BINS, 4): mean expected error, mean and median true error in mm, and the fraction of bad joints.
    """
    parts = np.array_split(np.argsort(expected), BINS)
    return np.array(
        [(expected[p].mean(), errors[p].mean(), np.median(errors[p]), (errors[p] > BAD_JOINT).mean()) for p in parts]
    )


def draw(rows: np.ndarray, scores: dict[str, np.ndarray], bad: np.ndarray) -> None:
    """Plot the calibration curve and the receiver operating characteristics."""
    figure = Figure(figsize=(9.0, 3.8), constrained_layout=True)
    left, right = figure.subplots(1, 2)
    limits = (rows[:, :3].min() * 0.8, rows[:, :3].max() * 1.25)
    left.plot(limits, limits, color="#999999", linewidth=1, label="ideal")
    left.plot(rows[:, 0], rows[:, 1], "o-", color="#0072b2", label="mean")
    left.plot(rows[:, 0], rows[:, 2], "s--", color="#d55e00", label="median")
    left.set(xscale="log", yscale="log", xlabel="expected error [mm]")
    left.set(ylabel="true error [mm]", title="10% of all joints per point")
    for (name, score), color in zip(scores.items(), ("#0072b2", "#999999"), strict=True):
        false, true = roc(score, bad)
        right.plot(false, true, color=color, label=f"{name}, area {area(score, bad):.3f}")
    right.set(xlabel="false positive rate", ylabel=f"true positive rate (error > {BAD_JOINT:.0f} mm)")
    for axis in (left.xaxis, left.yaxis):
        axis.set_ticks([3, 5, 10, 20, 50], ["3", "5", "10", "20", "50"])
        axis.set_ticks([], minor=True)
    left.set(xlim=limits, ylim=limits)
    for axes in (left, right):
        axes.grid(color="#e4e4e4")
        axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="msra")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--real", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DepthUnitWarning)
    estimator = HandPoseEstimator.from_pretrained(arguments.model, device="cpu", views=arguments.views)
    layout = estimator.layout
    poses: list[HandPose] = []
    truths, sides = [], []
    for depth, camera, xyz in synthetic_testset(layout, arguments.frames):
        pose = estimator.predict(depth, camera=camera, hand="right")
        if pose.status != "no_hand":
            poses.append(pose)
            truths.append(xyz)
            sides.append(auto_hand_correct(estimator, depth, camera))
    truth, expected = np.array(truths), np.array([pose.error_mm for pose in poses])
    spread = np.linalg.norm([pose.spread for pose in poses], axis=-1)
    errors = np.linalg.norm(np.array([pose.xyz for pose in poses]) - truth, axis=-1)

    print(f"{len(poses)} of {arguments.frames} images in which a hand was found, mean error {errors.mean():.1f} mm")
    rows = curve(expected.ravel(), errors.ravel())
    print("\n| Expected [mm] | Mean error [mm] | Median error [mm] | Off by more than 20 mm |\n|---|---|---|---|")
    for row in rows:
        print("| {:.1f} | {:.1f} | {:.1f} | {:.0%} |".format(*row))
    within = [(errors <= factor * expected).mean() for factor in (1.0, 2.0)]
    print(
        f"mean expected error {expected.mean():.1f} mm; the true error is at most as large for {within[0]:.0%} of the "
        f"joints, and at most twice as large for {within[1]:.0%}"
    )
    bad = errors.ravel() > BAD_JOINT
    scores = {"expected error": expected.ravel(), "vote spread alone": spread.ravel()}
    for name, score in scores.items():
        print(f"area under ROC, {name}: {area(score, bad):.3f} ({bad.mean():.1%} of the joints are bad)")
    wrong = errors.mean(axis=1) > BAD_JOINT
    low = np.array([pose.status == "low_confidence" for pose in poses])
    print(
        f"low_confidence: {low.mean():.1%} of the poses; {wrong[low].mean():.0%} of these are wrong, which are "
        f"{low[wrong].mean():.0%} of all wrong poses ({wrong.mean():.1%}); {(low & ~wrong).mean():.1%} of all poses "
        f"have it and are right"
    )
    print(f"    mean error {errors[low].mean():.1f} mm, of the other poses {errors[~low].mean():.1f} mm")
    right, left = np.mean(sides, axis=0)
    print(f"hand=auto is correct for {right:.1%} of right hands and {left:.1%} of their mirror images")
    right, left = np.array(sides)[~low].mean(axis=0)
    print(f"    without low_confidence: {right:.1%} and {left:.1%}")
    turns = [[list(joint_angles(xyz, layout).values()) for xyz in joints] for joints in (truth, [p.xyz for p in poses])]
    off = np.abs(np.subtract(*turns))
    print(f"joint angles: mean error {off.mean():.1f} degrees, median {np.median(off):.1f} degrees")
    states = [[list(found.values()) for found in side] for side in (
        [finger_states(xyz, layout) for xyz in truth],
        [pose.fingers() for pose in poses],
    )]  # fmt: skip
    same = (np.array(states[0]) == np.array(states[1])).mean(axis=0)
    shares = ", ".join(f"{finger} {share:.0%}" for finger, share in zip(layout.fingers, same, strict=True))
    print(f"finger states that agree with those of the true joints: {shares}")
    draw(rows, scores, bad)
    if arguments.real:
        frames = [read_depth(path, 0.125) for path in sorted(arguments.real.glob("*.png"))]
        right, left = np.sum([auto_hand_correct(estimator, depth, SR305) for depth in frames], axis=0)
        print(f"real frames, of {len(frames)}: {right} right hands and {left} mirror images classified correctly")


if __name__ == "__main__":
    main()
