"""Small data sets on disk."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from handpose.datasets import nyu
from handpose.geometry.camera import CAMERAS
from tests.helpers.scenes import render_balls

UP = np.array([1.0, -1.0, 1.0])


def joints(count: int, i: int) -> np.ndarray:
    """Joints (J, 3) mm, camera frame, that differ from frame to frame, in whole 1/8 mm."""
    random = np.random.default_rng(i)
    return np.round(8 * (random.uniform(-60, 60, (count, 3)) + np.array([10, 5, 400]))) / 8


def picture(name: str, xyz: np.ndarray) -> np.ndarray:
    """A depth image with a ball at every joint."""
    return render_balls(CAMERAS[name], [(joint, 12.0) for joint in xyz])


def text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.6f}" for number in numbers.ravel())


def png16(path: Path, depth: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.rint(depth).astype(np.uint16))


def write_icvl(root: Path) -> dict[str, list[np.ndarray]]:
    """Training: two originals, two rotated copies. Testing: two frames and one. The true joints by split."""
    train = ["201403121135/image_0000.png", "201403121135/image_0001.png"]
    train += [f"{angle}/201403121135/image_0000.png" for angle in ("-22-5", "180")]
    files = {
        "Training/labels.txt": train,
        "Testing/test_seq_1.txt": ["test_seq_1/image_0000.png", "test_seq_1/image_0001.png"],
        "Testing/test_seq_2.txt": ["test_seq_2/image_0000.png"],
    }
    truth: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for label, images in files.items():
        lines = []
        for image in images:
            split = "train" if label.startswith("Training") else "test"
            xyz = joints(16, len(truth[split]))
            truth[split].append(xyz)
            png16(root / Path(label).parent / "Depth" / image, picture("icvl", xyz))
            lines.append(f"{image} {text(CAMERAS['icvl'].project(xyz))} \n")
        (root / label).write_text("".join(lines) + "\n\n" * label.endswith("2.txt"))
    for split in ("train", "test"):
        centers = [text(xyz.mean(0)) for xyz in truth[split]]
        (root / f"center_{split}_refined.txt").write_text("\n".join(centers) + "\n")
    return truth


def write_msra(root: Path) -> dict[str, np.ndarray]:
    """Nine subjects, the gestures T and 1, two frames each. The true joints by file."""
    truth = {}
    (root / "center").mkdir(parents=True)
    for person in range(9):
        centers = []
        for gesture in ("1", "T"):
            folder = root / f"P{person}" / gesture
            folder.mkdir(parents=True)
            lines = ["2"]
            for i in range(2):
                xyz = joints(21, len(truth))
                truth[f"P{person}/{gesture}/{i:06d}_depth.bin"] = xyz
                depth = picture("msra", xyz)
                v, u = np.nonzero(depth)
                left, top, right, bottom = u.min(), v.min(), u.max() + 1, v.max() + 1
                head = struct.pack("<6i", 320, 240, left, top, right, bottom)
                (folder / f"{i:06d}_depth.bin").write_bytes(head + depth[top:bottom, left:right].tobytes())
                lines.append(text(xyz * [1, -1, -1]))
                centers.append(text((xyz.mean(0) + person) * UP))
            (folder / "joint.txt").write_text("\n".join(lines) + "\n")
        (root / "center" / f"center_test_{person}_refined.txt").write_text("\n".join(centers) + "\n")
    return truth


def write_nyu(root: Path, count: int = 4, split: str = "test") -> list[np.ndarray]:
    truth = [joints(14, i) for i in range(count)]
    assert nyu.write_nyu(root, split, ((picture("nyu", xyz), xyz) for xyz in truth)) == count
    return truth
