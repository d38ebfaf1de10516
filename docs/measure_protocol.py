"""Print the figures in `docs/evaluation.md`.

python docs/measure_protocol.py FOLDER

FOLDER contains `nyu/` and `icvl/`, each with `ground_truth.txt` and the prediction files listed below.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from handpose import CAMERAS, Camera
from handpose.evaluation.metrics import Evaluation
from handpose.geometry.uvd import EVALUATORS, read_ground_truth, read_predictions, write_predictions

FILES = {"nyu": ("v2v_posenet", "point_to_point", "deepprior_pp"), "icvl": ("v2v_posenet", "handpointnet")}
PARTS = {"nyu": 2440, "icvl": 702}  # number of frames of NYU's first test subject and of ICVL's first test sequence


def block_interval(errors: np.ndarray, length: int) -> np.ndarray:
    """Return the bootstrap 95% interval of the mean, resampling blocks of `length` frames instead of single frames."""
    frames = errors.mean(axis=1)
    starts = np.random.default_rng(0).integers(len(frames) - length + 1, size=(2000, round(len(frames) / length)))
    total = np.cumsum(np.append(0.0, frames))
    return np.percentile((total[starts + length] - total[starts]).mean(axis=1) / length, (2.5, 97.5))


def measure(folder: Path, dataset: str, name: str) -> dict[str, str]:
    """Return the figures for one prediction file, by their description."""
    layout, camera = EVALUATORS[dataset]
    truth = read_ground_truth(folder / dataset / "ground_truth.txt", layout)
    uvz = read_predictions(folder / dataset / f"{name}.txt", layout)

    def mean(predictions_by: Camera, truth_by: Camera) -> str:
        return f"{Evaluation.of(predictions_by.unproject(uvz), truth_by.unproject(truth)).mean:.3f}"

    own = CAMERAS[dataset]
    longer = Camera(1.01 * camera.fx, 1.01 * camera.fy, camera.cx, camera.cy)
    center = Camera(camera.fx, camera.fy, camera.cx - 0.5, camera.cy - 0.5)
    result = Evaluation.of(camera.unproject(uvz), camera.unproject(truth))
    errors, frames, worst = result.errors, result.errors.mean(axis=1), result.errors.max(axis=1)
    first, rest = errors[: PARTS[dataset]].mean(), errors[PARTS[dataset] :].mean()
    fingers = [i for i, joint in enumerate(layout.joints) if not joint.startswith("wrist")]
    with tempfile.NamedTemporaryFile() as copy:
        write_predictions(copy.name, uvz)
        again = Evaluation.of(camera.unproject(read_predictions(copy.name, layout)), camera.unproject(uvz))
    return {
        "the evaluator's intrinsics for both": mean(camera, camera),
        "the data set's for both": mean(own, own),
        "the evaluator's for predictions, the data set's for truth": mean(camera, own),
        "focal lengths 1% longer, for both": mean(longer, longer),
        "focal lengths 1% longer, for predictions only": mean(longer, camera),
        "principal point half a pixel off, for both": mean(center, center),
        "principal point half a pixel off, for predictions only": mean(center, camera),
        "first part": f"{first:.3f}",
        "second part": f"{rest:.3f}",
        "mean of the parts": f"{(first + rest) / 2:.3f}",
        "without wrists": f"{errors[:, fingers].mean():.3f}",
        "z-centered, centered": f"{result.mean_z_centered:.3f} {result.mean_centered:.3f}",
        "median, mean of the worst joints": f"{result.median:.3f} {worst.mean():.3f}",
        "within 20 mm: worst joint, mean of the frame, individual joints": "{:.1%} {:.1%} {:.1%}".format(
            *((values <= 20).mean() for values in (worst, frames, errors))
        ),
        "without the worst 1% of frames": f"{np.sort(frames)[: -(len(frames) // 100)].mean():.3f}",
        "95% interval": "{:.2f} to {:.2f}".format(*result.mean_interval()),
        "95% interval with blocks of 100 frames": "{:.2f} to {:.2f}".format(*block_interval(errors, 100)),
        "largest joint error from rounding to three decimals": f"{again.errors.max():.4f}",
    }


if __name__ == "__main__":
    for dataset, names in FILES.items():
        for name in names:
            print(f"\n{dataset} {name}")
            for title, value in measure(Path(sys.argv[1]), dataset, name).items():
                print(f"  {title}: {value}")
