"""Training crops that are rendered once and kept on disk, for several runs on the same crops."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from handpose.io.atomic import write_atomically
from handpose.training.pose_task import CropSource


class StoredCrops:
    """A source of crops that keeps every batch of another source in a file, and reads it the next time.

    A batch is identified by its size and by the state of the generator that it is drawn with. The patches are rounded
    to float16 in every run, including the one that renders them. A file has 19 kB per crop.

    Attributes:
        generator: The generator of the other source.
    """

    def __init__(self, source: CropSource, folder: Path) -> None:
        self.generator = source.generator
        self._source, self._folder = source, folder
        folder.mkdir(parents=True, exist_ok=True)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return `count` patches (N, 1, 96, 96) and their joints (N, J, 3), both normalized.

        Raises:
            OSError: The file of the batch cannot be read or written.
        """
        name = sha256(self.generator.get_state().numpy().tobytes() + count.to_bytes(4, "little")).hexdigest()[:32]
        file = self._folder / f"{name}.safetensors"
        if not file.is_file():
            patches, joints = self._source.batch(count)
            tensors = {"patches": patches.half(), "joints": joints, "generator": self.generator.get_state()}
            write_atomically(file, save({key: tensor.cpu().contiguous() for key, tensor in tensors.items()}))
        tensors = load_file(file)
        self.generator.set_state(tensors["generator"])
        device = self.generator.device
        return tensors["patches"].to(device, torch.float32), tensors["joints"].to(device)
