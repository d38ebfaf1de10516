"""Print the error of the joints in synthetic test images at lower resolutions. Requires the extra `train`.

python benchmarks/resolution.py [--model msra] [--frames 300]
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

from handpose import Camera, HandPoseEstimator
from handpose.synthetic.testset import synthetic_testset


def every(step: int, depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """Return every `step`-th pixel of every `step`-th row, as a sensor with fewer pixels would measure them."""
    first = step // 2
    part = depth[first::step, first::step]
    center = (camera.cx - first) / step, (camera.cy - first) / step
    return part, Camera(camera.fx / step, camera.fy / step, *center, part.shape[1], part.shape[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="msra")
    parser.add_argument("--frames", type=int, default=300)
    arguments = parser.parse_args()
    estimator = HandPoseEstimator.from_pretrained(arguments.model, device="cpu")
    rows: dict[int, list[tuple[float, float, float]]] = {}
    for depth, camera, truth in synthetic_testset(estimator.layout, arguments.frames):
        for step in (1, 2, 4, 8):
            image, its_camera = every(step, depth, camera)
            errors = []
            for center in (None, truth.mean(axis=0)):
                pose = estimator.predict(image, camera=its_camera, center=center, hand="right")
                errors.append(float(np.linalg.norm(pose.xyz - truth, axis=1).mean()))
            pixel = float(truth[:, 2].mean()) / its_camera.fx
            rows.setdefault(step, []).append((pixel, errors[0], errors[1]))
    for step, row in rows.items():
        pixel, localized, given = np.array(row).T
        print(
            f"1 of {step} pixels, {np.median(pixel):.1f} mm apart at the hand: "
            f"localized {np.nanmean(localized):.1f} mm, median {np.nanmedian(localized):.1f} mm, "
            f"{np.isnan(localized).sum()} without a hand; center given {given.mean():.1f} mm"
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
