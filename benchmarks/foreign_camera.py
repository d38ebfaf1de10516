"""Write frames of a camera that training never saw, to measure what `handpose finetune` and `handpose adapt` gain.

    python benchmarks/foreign_camera.py FOLDER [--frames 500] [--seed 1]
    handpose evaluate --data records --root FOLDER/test.jsonl
    handpose finetune runs/50 --root FOLDER/user-50.jsonl
    handpose finetune runs/500 --root FOLDER/user.jsonl
    handpose adapt FOLDER/user/* -c FOLDER/camera.json --unit 0.1 -o runs/adapted
    handpose evaluate --data records --root FOLDER/test.jsonl -m msra -m runs/50/model -m runs/500/model

The camera is worn on the head and looks down at the wearer's own right hand and forearm, over a table. It has 160 x 120
pixels. It mixes the depths of all surfaces within 5 x 5 subpixels of 3 x 3 per pixel, adds heavy-tailed noise, adds a
fixed pattern, and measures 1% too far. The hand wears a glove 3 mm thick. Hand shapes and poses are those of the
synthetic test set. The frames form sequences of ten. The user's frames and the test frames show the same person, in
other poses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from handpose.geometry.camera import Camera
from handpose.geometry.layouts import MSRA21
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.render import rasterize
from handpose.synthetic.sampler import Sampler
from handpose.synthetic.testset import testset_hand

CAMERA = Camera(115.0, 115.0, 79.5, 59.5, 160, 120)
SUPERSAMPLING = 3
GLOVE_MM = 3.0
SEQUENCE = 10  # frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=500, help="of the user, and for testing")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    hand, poses = testset_hand()
    sampler = Sampler(arguments.seed, "cpu")
    shape = hand.draw_shapes(1, sampler.generator)
    pattern = 3.0 * sampler.normal(int(CAMERA.height), int(CAMERA.width))
    half = len(poses) // 2
    for split, own in (("user", poses[:half]), ("test", poses[half:])):
        records = []
        for number in range(0, arguments.frames, SEQUENCE):
            sequence = f"{split}/{number // SEQUENCE:03d}"
            (folder / sequence).mkdir(parents=True, exist_ok=True)
            for i, (depth, xyz) in enumerate(frames(hand, shape, own, pattern, sampler)):
                source = f"{sequence}/{i}.png"
                cv2.imwrite(str(folder / source), np.rint(10.0 * depth).astype(np.uint16))
                records.append(
                    {
                        "source": source,
                        "sequence": sequence,
                        "layout": "msra",
                        "hand": "right",
                        "xyz_mm": np.round(xyz, 2).tolist(),
                        "center_mm": np.round(xyz.mean(axis=0), 2).tolist(),
                        "camera": CAMERA.to_dict(),
                        "unit": 0.1,
                    }
                )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        if split == "user":
            few = records[:: max(1, len(records) // 50)][:50]
            (folder / "user-50.jsonl").write_text("".join(json.dumps(record) + "\n" for record in few))
    (folder / "camera.json").write_text(json.dumps(CAMERA.to_dict()))


@torch.inference_mode()
def frames(
    hand: HandModel, shape: Tensor, poses: Tensor, pattern: Tensor, sampler: Sampler
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the depth (120, 160) in mm and the joints (21, 3) in mm of a sequence."""
    first, second = poses[sampler.index(2, len(poses))]
    along = torch.linspace(0.0, 0.5, SEQUENCE)[:, None, None]
    vertices, landmarks = hand.pose(shape.expand(SEQUENCE, -1), torch.lerp(first, second, along))
    vertices = vertices + GLOVE_MM * normals(vertices, hand.faces)
    rotation = egocentric(vertices[0], hand, sampler)
    vertices, landmarks = vertices @ rotation.T, landmarks @ rotation.T
    start = torch.tensor([-60.0, -50.0, 300.0]) + torch.tensor([120.0, 80.0, 220.0]) * torch.rand(
        3, generator=sampler.generator
    )
    drift = 3.0 * sampler.normal(3) * torch.arange(SEQUENCE)[:, None]
    center = landmarks.mean(dim=1, keepdim=True)
    offset = (start + drift)[:, None] - center
    vertices, landmarks = vertices + offset, landmarks + offset
    table = float(start[2]) + float(sampler.uniform(1, 90.0, 400.0))
    depth = smeared(vertices, hand, table)
    xyz = (joint_weights(MSRA21) @ landmarks).double().numpy()
    for image, joints in zip(noisy(depth, pattern, sampler), xyz, strict=True):
        yield image.numpy(), joints


def normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return the unit normals (N, V, 3) of meshes."""
    a, b, c = (vertices[:, faces[:, i]] for i in range(3))
    of_faces = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for i in range(3):
        total.index_add_(1, faces[:, i], of_faces)
    return F.normalize(total, dim=-1)


def egocentric(vertices: Tensor, hand: HandModel, sampler: Sampler) -> Tensor:
    """Return a rotation (3, 3) after which the forearm comes from below and from the camera, as the wearer sees it."""
    arm = F.normalize(vertices[hand.is_forearm].mean(0) - vertices[~hand.is_forearm].mean(0), dim=0)
    rotations = sampler.rotations(400, 0.3)
    turned = rotations @ arm
    wanted = (turned[:, 1] > 0.5) & (turned[:, 2] < -0.1) & (turned[:, 2] > -0.75)
    return rotations[wanted.nonzero()[0, 0]]


def smeared(vertices: Tensor, hand: HandModel, table: float) -> Tensor:
    """Return depth (N, 120, 160) in mm in which each pixel mixes all surfaces that it sees."""
    scale = SUPERSAMPLING
    fine = CAMERA.resize(CAMERA.width * scale, CAMERA.height * scale)
    count = len(vertices)
    focal = torch.full((count,), fine.fx)
    principal = torch.tensor([fine.cx, fine.cy]).expand(count, 2)
    depth = rasterize(vertices, hand.faces, focal, principal, int(fine.width))[:, : int(fine.height)]
    rows = (torch.arange(int(fine.height)) - fine.cy)[:, None] / fine.fy
    plane = table / (1.0 + 0.35 * rows).expand(depth.shape[1:])  # tilted: nearer at the bottom of the image
    return F.avg_pool2d(torch.minimum(depth, plane)[:, None], 5, scale, 1)[:, 0]


def noisy(depth: Tensor, pattern: Tensor, sampler: Sampler) -> Tensor:
    """Return depth with heavy-tailed noise, a fixed pattern, a bias and missing pixels."""
    uniform = torch.rand(depth.shape, generator=sampler.generator) - 0.5
    laplace = -uniform.sign() * torch.log1p(-2.0 * uniform.abs().clamp(max=0.4999))
    depth = 1.01 * depth + (0.006 * depth) * laplace + pattern
    missing = torch.rand(depth.shape, generator=sampler.generator) < 0.02
    return torch.where(missing, 0.0, depth)


if __name__ == "__main__":
    main()
