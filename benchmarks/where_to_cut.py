"""Compare cropping on the CPU and uploading the patches with uploading whole frames and cropping on the device.

    python benchmarks/where_to_cut.py [--device cuda] [--frames 2048] [--batch 512] [--rounds 5]

Both variants read 640 x 480 frames with 16 bits per pixel and known hand centers from host memory, and leave the
network's input patches on the device. The variants take turns in every round, and the reported times are medians. For
comparison, `predict_batch` measures the whole package, which crops on the CPU: input validation, cropping, the network
and decoding to poses in millimeters. The last row uses a network that takes no time, which gives the highest rate at
which one process can supply a device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handpose import Camera, HandCrop, HandPoseEstimator, localize_hands, read_depth
from handpose.geometry.crop import PATCH, patch_camera
from handpose.runtimes.base import Runtime

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


class Cutter:
    """Crop patches from whole frames on a device.

    Args:
        device: Device on which to crop.
        batch: Maximum number of frames per call.
        camera: Camera of all frames, including their size.
        cube: Side length of the cubes in mm.
    """

    def __init__(self, device: torch.device, batch: int, camera: Camera, cube: float) -> None:
        self.device, self.camera, self.cube = device, camera, cube
        size = (batch, int(camera.height), int(camera.width))
        self.staged = torch.zeros(size, dtype=torch.int16, pin_memory=device.type == "cuda")
        self.steps = torch.arange(PATCH, device=device, dtype=torch.float64)

    def __call__(self, frames: Sequence[np.ndarray], centers: np.ndarray) -> Tensor:
        """Return patches (N, 1, 96, 96) around `centers` (N, 3) mm, from frames (H, W) in mm, uint16 below 32768."""
        for row, frame in zip(self.staged.numpy(), frames, strict=False):
            row[:] = frame.view(np.int16)
        pixels = self.staged[: len(frames)].to(self.device, non_blocking=True).flatten(1)
        views = [patch_camera(self.camera, center, self.cube) for center in centers]
        fx, fy, cx, cy, z = torch.tensor(
            [(view.fx, view.fy, view.cx, view.cy, center[2]) for view, center in zip(views, centers, strict=True)],
            dtype=torch.float64,
        ).T[..., None].to(self.device, non_blocking=True)  # fmt: skip
        camera, (height, width) = self.camera, self.staged.shape[1:]
        columns = ((self.steps - cx) / fx * camera.fx + camera.cx + 0.5).floor().long()  # (N, 96)
        rows = ((self.steps - cy) / fy * camera.fy + camera.cy + 0.5).floor().long()
        inside_x, inside_y = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
        indices = (rows * inside_y)[:, :, None] * width + (columns * inside_x)[:, None]
        depth = pixels.gather(1, indices.flatten(1)).view(-1, PATCH, PATCH)
        known = (depth > 0) & inside_y[:, :, None] & inside_x[:, None]
        patches = ((depth.float() - z.float()[..., None]) / (self.cube / 2)).clamp(-1.0, 1.0)
        return torch.where(known, patches, 1.0)[:, None]


class NoNetwork(Runtime):
    """Returns zeros for every patch, at no cost."""

    def __init__(self, joints: int) -> None:
        self.joints = joints

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zeros = np.zeros((len(patches), self.joints, 3), np.float32)
        return zeros, zeros


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--frames", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    estimator = HandPoseEstimator.from_pretrained("msra", backend="torch", device=arguments.device)
    cube = estimator.config.cube
    images = [read_depth(EXAMPLES / f"{name}.png").astype(np.uint16) for name in ("open", "thumb", "down")]
    found = [localize_hands(image.astype(np.float32), camera)[0] for image in images]
    # Give every frame its own memory, as with a camera; otherwise, the processor cache would hold all of them.
    frames = [images[i % 3].copy() for i in range(arguments.frames)]
    centers = np.array([found[i % 3] for i in range(arguments.frames)])
    device = torch.device(arguments.device)
    crop_on_device = Cutter(device, arguments.batch, camera, cube)
    staged = torch.zeros(arguments.batch, 1, PATCH, PATCH, pin_memory=device.type == "cuda")

    def crop_on_cpu(part: slice) -> None:
        for row, frame, center in zip(staged.numpy(), frames[part], centers[part], strict=False):
            row[0] = HandCrop.cut(frame, camera, center, cube).patch
        staged.to(device)

    def upload_whole(part: slice) -> None:
        crop_on_device(frames[part], centers[part])
        if device.type == "cuda":
            torch.cuda.synchronize()

    free = HandPoseEstimator(NoNetwork(len(estimator.layout)), estimator.config, "free")

    variants: dict[str, Callable[[slice], object]] = {
        "crop on the CPU": crop_on_cpu,
        "upload whole frames": upload_whole,
        "predict_batch": lambda part: estimator.predict_batch(
            frames[part], camera=camera, center=centers[part], hand="right"
        ),
        "without a network": lambda part: free.predict_batch(
            frames[part], camera=camera, center=centers[part], hand="right"
        ),
    }
    parts = [slice(i, i + arguments.batch) for i in range(0, arguments.frames, arguments.batch)]
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(arguments.rounds + 1):
        for name, variant in variants.items():
            begin = time.perf_counter()
            for part in parts:
                variant(part)
            if turn:  # the first round is a warm-up
                seconds[name].append(time.perf_counter() - begin)
    print(f"| {arguments.device}, batches of {arguments.batch} | frames per second |\n|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {arguments.frames / statistics.median(times):.0f} |")


if __name__ == "__main__":
    main()
