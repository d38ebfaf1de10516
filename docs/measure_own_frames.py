"""Print the table in `docs/own-frames.md` and draw its pictures. Requires the extras `train` and `plot`.

python docs/measure_own_frames.py FOLDER NAME=MODEL [NAME=MODEL...] [--frames 500]

FOLDER is that of `benchmarks/foreign_camera.py`. The first model is compared with the others on the test frames, with
the true centers, and on the first synthetic test images. The pictures show the first model and the last one.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from handpose import HandPose, HandPoseEstimator, InputWarning, open_records
from handpose.evaluation.on_synthetic import evaluate_synthetic

IMAGES = Path(__file__).resolve().parent / "images"
QUANTILES = (0.3, 0.5, 0.7)  # of the first model's error: the test frames that are shown
SHOWN = 300  # px, side of a tile
MARGIN = 0.2  # of the hand's size around it


def predict_all(estimator: HandPoseEstimator, folder: Path) -> tuple[list[HandPose], np.ndarray]:
    """Return the poses of the test frames, and the errors (N, J) of their joints in mm."""
    poses = []
    dataset = open_records(folder / "test.jsonl", "test")
    for i in range(len(dataset)):
        frame = dataset[i]
        poses.append(estimator.predict(frame.depth, camera=frame.camera, center=frame.center, hand="right"))
    return poses, np.linalg.norm(np.array([pose.xyz for pose in poses]) - dataset.xyz, axis=-1)


def tile(pose: HandPose, depth: np.ndarray, text: str) -> np.ndarray:
    """Return the part of the picture of a pose that shows the hand, with a caption."""
    picture = pose.draw(depth)
    scale = picture.shape[1] / depth.shape[1]
    u, v, z = pose.camera.project(pose.center)
    half = (0.5 + MARGIN) * 190.0 * pose.camera.fx / z * scale
    left, top = round(u * scale - half), round(v * scale - half)
    side = round(2 * half)
    padded = cv2.copyMakeBorder(picture, side, side, side, side, cv2.BORDER_REPLICATE)
    cut = padded[top + side : top + 2 * side, left + side : left + 2 * side]
    shown = cv2.resize(cut, (SHOWN, SHOWN), interpolation=cv2.INTER_AREA)
    for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(shown, text, (10, SHOWN - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, width, cv2.LINE_AA)
    return shown


def draw_frames(folder: Path, results: dict[str, tuple[list[HandPose], np.ndarray]]) -> None:
    """Draw a few test frames with the poses of the first model above those of the last one."""
    first, *_, last = results
    errors = results[first][1].mean(axis=1)
    order = np.argsort(errors)
    dataset = open_records(folder / "test.jsonl", "test")
    columns = []
    for quantile in QUANTILES:
        i = int(order[round(quantile * (len(order) - 1))])
        depth = dataset[i].depth
        columns.append(
            np.vstack(
                [
                    tile(results[name][0][i], depth, f"{name}: {results[name][1][i].mean():.1f} mm")
                    for name in (first, last)
                ]
            )
        )
    cv2.imwrite(str(IMAGES / "own-frames.png"), np.hstack(columns))


def draw_bars(rows: dict[str, tuple[float, float]]) -> None:
    """Draw the mean errors on the test frames and on synthetic images as bars."""
    figure = Figure(figsize=(7.5, 0.9 + 0.55 * len(rows)), constrained_layout=True)
    axes = figure.subplots()
    positions = np.arange(len(rows))
    for offset, column, label, color in (
        (-0.18, 0, "frames of the new camera", "#0072b2"),
        (0.18, 1, "synthetic test images", "#bbbbbb"),
    ):
        values = [row[column] for row in rows.values()]
        bars = axes.barh(positions + offset, values, 0.34, label=label, color=color)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
    axes.set_yticks(positions, list(rows))
    axes.invert_yaxis()
    axes.set(xlabel="mean joint error [mm]", xlim=(0, 1.3 * max(max(row) for row in rows.values())))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(IMAGES / "own-frames-errors.png", dpi=110, metadata={"Software": None})


def main() -> None:
    """Run the measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--frames", type=int, default=500)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", InputWarning)
    results, rows = {}, {}
    print("| | Mean, mm | Median, mm | Change | Synthetic images, mm |\n|---|---|---|---|---|", flush=True)
    for name, model in (text.split("=", 1) for text in arguments.models):
        estimator = HandPoseEstimator.from_pretrained(model, device="cpu")
        results[name] = predict_all(estimator, arguments.folder)
        errors = results[name][1]
        rows[name] = errors.mean(), evaluate_synthetic(estimator, arguments.frames).given.mean
        change = rows[name][0] / next(iter(rows.values()))[0] - 1.0
        print(
            f"| {name} | {errors.mean():.2f} | {np.median(errors):.2f} | {change:+.0%} | {rows[name][1]:.2f} |",
            flush=True,
        )
    draw_bars(rows)
    draw_frames(arguments.folder, results)


if __name__ == "__main__":
    main()
