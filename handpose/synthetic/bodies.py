"""The file of whole bodies, generated once with the body model Anny: faces and other parts that are no hands."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handpose.io.atomic import write_atomically
from handpose.io.cache import cache_folder, cached
from handpose.synthetic.hand_file import PhenotypeRange, load_body_model, sample_bodies

_BODIES, _SEED = 96, 30_260
_STEP = 0.1  # mm per stored unit
_HEAD = ("head", "neck", "eye")
_HAND = ("wrist", "finger", "metacarpal")
_TO_CAMERA = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # upright, facing the camera


class Bodies:
    """Standing people of all ages without their hands.

    Args:
        path: The file that `compile_bodies` wrote.
        device: Device of all tensors.

    Attributes:
        vertices: (S, V, 3) mm; x right, y down, z backward.
        faces: (F, 3) vertex indices, counter-clockwise from outside.
        head: (H,) vertices of heads and necks.
        other: (O,) vertices of other parts.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        with np.load(io.BytesIO(Path(path).read_bytes())) as data:  # given a path, numpy leaves a damaged file open
            arrays = {key: torch.from_numpy(data[key]).to(device) for key in data.files}
        self.vertices: Tensor = arrays["vertices"].float() * _STEP
        self.faces: Tensor = arrays["faces"].long()
        self.head: Tensor = arrays["head"].long()
        self.other: Tensor = arrays["other"].long()


def compile_bodies(path: str | Path, *, count: int = _BODIES, seed: int = _SEED) -> None:
    """Generate the file that `Bodies` loads. Requires `anny` (extra `train`); takes a few seconds.

    Args:
        path: The `.npz` file to write.
        count: Number of bodies.
        seed: Seed of the bodies.

    Raises:
        HandPoseError: `anny` is not installed.
    """
    with contextlib.redirect_stdout(sys.stderr):
        model = load_body_model([])
        vertices = sample_bodies(model, PhenotypeRange(), count, np.random.default_rng(seed), [])["rest_vertices"]
    names = np.array(model.bone_labels)
    strongest = model.vertex_bone_weights.numpy().argmax(axis=1)
    bone = names[np.take_along_axis(model.vertex_bone_indices.numpy(), strongest[:, None], axis=1)[:, 0]]
    is_hand, is_head = (np.array([str(name).startswith(prefixes) for name in bone]) for prefixes in (_HAND, _HEAD))
    faces = model.faces.numpy()
    faces = faces[~is_hand[faces].any(axis=1)]
    used = np.unique(faces)
    data = io.BytesIO()
    np.savez_compressed(
        data,
        vertices=np.round(vertices[:, used].numpy() @ _TO_CAMERA.T * (1000.0 / _STEP)).astype(np.int16),
        faces=np.searchsorted(used, faces).astype(np.int32),
        head=np.flatnonzero(is_head[used]).astype(np.int32),
        other=np.flatnonzero(~is_head[used]).astype(np.int32),
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), data.getvalue())


def cached_bodies() -> Bodies:
    """Return the bodies of the cached file, which is generated if it does not exist or is damaged."""
    path = cache_folder() / "bodies.npz"
    return cached(path, lambda: compile_bodies(path), Bodies)
