"""The file of the hand model, generated once with the body model Anny."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.cache import cache_folder, cached
from handpose.io.progress import track
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.skeleton import BONE_INDEX, BONES, FINGER_NAMES

_ANNY_BONES = {"hand": "wrist.R", "forearm": "wrist.R"} | {
    **{f"{finger}_metacarpal": f"metacarpal{i}.R" for i, finger in enumerate(FINGER_NAMES[1:], 1)},
    **{f"{finger}_{s}": f"finger{i}-{s}.R" for i, finger in enumerate(FINGER_NAMES, 1) for s in (1, 2, 3)},
}
_FOREARM = ("lowerarm01.R", "lowerarm02.R")
_CHUNK = 25  # bodies per call of the body model
_TIP_MM = 8.0


@dataclass(frozen=True)
class PhenotypeRange:
    """Ranges that the body model's parameters are sampled from, uniformly.

    Attributes:
        age: The body model's scale; 0.28 is about six years.
        body: Gender, muscle, weight, height and proportions.
        local: Maximum change of hand scale, finger length and girth, and forearm girth, in both directions.
        reach: Distance from the wrist to the last joint of the middle finger, mm.
    """

    age: tuple[float, float] = (0.28, 1.0)
    body: tuple[float, float] = (0.0, 1.0)
    local: float = 0.7
    reach: tuple[float, float] = (118.0, 205.0)


_LOCAL_CHANGES = [
    "r-hand-fingers-length-incr",
    "r-hand-scale-incr",
    "r-hand-fingers-diameter-incr",
    "r-hand-fingers-distance-incr",
    "r-lowerarm-fat-incr",
    "r-lowerarm-muscle-incr",
    "r-lowerarm-scale-horiz-incr",
    "r-lowerarm-scale-depth-incr",
    "measure-wrist-circ-incr",
]


def default_hand_file() -> Path:
    """Return the path of the cached hand model."""
    return cache_folder() / "hand.npz"


def compile_hand(
    path: str | Path,
    *,
    phenotypes: PhenotypeRange = PhenotypeRange(),
    shapes: int = 600,
    components: int = 16,
    seed: int = 0,
) -> None:
    """Generate the file that `HandModel` loads. Requires `anny` (extra `train`); takes about two minutes.

    Args:
        path: The `.npz` file to write.
        phenotypes: Ranges that the shapes are sampled from.
        shapes: Number of samples; those outside `phenotypes.reach` are discarded.
        components: Number of components of the shape basis.
        seed: Seed of the samples.

    Raises:
        HandPoseError: `anny` is not installed.
    """
    with contextlib.redirect_stdout(sys.stderr):
        model = load_body_model(_LOCAL_CHANGES)
        mesh = _cut_mesh(model)
        points, axes = _sample_shapes(model, mesh, phenotypes, shapes, seed)
    _write(Path(path), mesh, points, axes, components)


def load_body_model(local_changes: Sequence[str]) -> Any:
    """Return the body model with these local changes.

    Raises:
        HandPoseError: `anny` is not installed.
    """
    try:
        from anny import Anny
    except ImportError:
        raise HandPoseError("generating the hand model requires anny: pip install 'handpose[train]'") from None

    with contextlib.suppress(ImportError):
        import warp

        # A dependency of anny, which would print a banner; the name of the setting depends on its version.
        for name, value in (("quiet", True), ("log_level", logging.WARNING)):
            setattr(warp.config, name, value)
    return Anny(local_changes=list(local_changes), phenotypes="all", phenotype_blendshapes="original")


class _Mesh(NamedTuple):
    """Hand and forearm of the body model.

    Attributes:
        used: Indices of their vertices in the body model.
        faces: (F, 3) indices of `used`; the index after the last one is the center of the lid.
        skin: (V, B) skinning weights, including those of the lid's center.
        rim: Indices of `used` around the opening at the elbow.
    """

    used: np.ndarray
    faces: np.ndarray
    skin: np.ndarray
    rim: np.ndarray


def _cut_mesh(model: Any) -> _Mesh:
    """Return hand and forearm of the body model, closed at the elbow."""
    names = list(model.bone_labels)
    weights = np.zeros((model.template_vertices.shape[0], len(names)))
    np.put_along_axis(weights, model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy(), axis=1)
    skin = np.zeros((len(weights), len(BONES)))
    for bone, source in _ANNY_BONES.items():
        if bone != "forearm":
            skin[:, BONE_INDEX[bone]] = weights[:, names.index(source)]
    skin[:, BONE_INDEX["forearm"]] = weights[:, [names.index(source) for source in _FOREARM]].sum(1)
    inside = skin.sum(1) > 0.5
    faces = model.faces.numpy()
    faces = faces[inside[faces].all(axis=1)]
    used = np.unique(faces)
    faces = np.searchsorted(used, faces)
    skin = skin[used] / skin[used].sum(1, keepdims=True)
    edges = _open_edges(faces)
    # Without a lid at the elbow, the inside of the open tube would be visible from behind.
    faces = np.concatenate([faces, [[end, start, len(used)] for start, end in edges]])
    lid = np.zeros((1, len(BONES)))
    lid[0, BONE_INDEX["forearm"]] = 1.0
    return _Mesh(used, faces, np.concatenate([skin, lid]), np.unique(edges))


def _sample_shapes(
    model: Any, mesh: _Mesh, phenotypes: PhenotypeRange, shapes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sample random hands.

    Returns:
        Vertices and bone heads (S, V + B, 3) in the hand frame, mm, and the bones' axes (B, 3, 3).
    """
    rng = np.random.default_rng(seed)
    names = list(model.bone_labels)
    bones = [names.index(_ANNY_BONES[bone]) for bone in BONES]
    meshes, heads, all_axes = [], [], []
    for start in track(range(0, shapes, _CHUNK), "generating hand shapes", math.ceil(shapes / _CHUNK)):
        posed = sample_bodies(model, phenotypes, min(_CHUNK, shapes - start), rng, _LOCAL_CHANGES)
        vertices = posed["rest_vertices"][:, mesh.used].numpy() * 1000.0
        meshes.append(np.concatenate([vertices, vertices[:, mesh.rim].mean(1, keepdims=True)], axis=1))
        heads.append(posed["rest_bone_heads"][:, bones].numpy() * 1000.0)
        all_axes.append(posed["rest_bone_poses"][0, bones, :3, :3].numpy())
    axes = all_axes[0]
    frame = axes[0]
    points = np.concatenate([np.concatenate(meshes), np.concatenate(heads)], axis=1)
    wrist = len(mesh.skin)
    reach = np.linalg.norm(points[:, wrist + BONE_INDEX["middle_3"]] - points[:, wrist], axis=1)
    points = points[(reach > phenotypes.reach[0]) & (reach < phenotypes.reach[1])]
    points = (points - points[:, wrist][:, None]) @ frame
    return _aligned(points, mesh.skin[:, BONE_INDEX["forearm"]] < 0.5), frame.T @ axes


def sample_bodies(
    model: Any, phenotypes: PhenotypeRange, count: int, rng: np.random.Generator, local_changes: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return the body model's output for random bodies."""
    body = {k: rng.uniform(*phenotypes.body, count) for k in ("gender", "muscle", "weight", "height", "proportions")}
    ancestry = rng.dirichlet((1.0, 1.0, 1.0), count)
    sampled = body | dict(zip(("african", "asian", "caucasian"), ancestry.T, strict=True))
    sampled |= {"age": rng.uniform(*phenotypes.age, count)}
    local = {name: rng.uniform(-phenotypes.local, phenotypes.local, count) for name in local_changes}
    with torch.no_grad():
        posed: dict[str, torch.Tensor] = model(
            phenotype_kwargs={k: torch.from_numpy(v) for k, v in sampled.items()},
            local_changes_kwargs={k: torch.from_numpy(v) for k, v in local.items()},
        )
    return posed


def _write(path: Path, mesh: _Mesh, points: np.ndarray, axes: np.ndarray, components: int) -> None:
    """Write the file of the hand model, with a linear basis of the shapes (S, V + B, 3)."""
    tips = [tip_weights(points.mean(0), mesh.skin, len(mesh.skin), f"{finger}_3") for finger in FINGER_NAMES]
    points = np.concatenate([points, np.stack([np.tensordot(w, points, (0, 1)) for w in tips], axis=1)], axis=1)
    mean = points.mean(0)
    flat = (points - mean).reshape(len(points), -1)
    u, s, vt = np.linalg.svd(flat, full_matrices=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    np.savez_compressed(
        data,
        mean=mean.astype(np.float32),  # vertices, then LANDMARKS
        basis=vt[:components].reshape(components, *mean.shape).astype(np.float32),
        coefficients=(u[:, :components] * s[:components]).astype(np.float32),
        faces=mesh.faces.astype(np.int32),
        skin=mesh.skin.astype(np.float32),
        axes=axes.astype(np.float32),
    )
    write_atomically(path, data.getvalue())


def cached_hand_file() -> Path:
    """Return the path of the cached hand model, which is generated if it does not exist or is damaged."""
    path = default_hand_file()
    cached(path, lambda: compile_hand(path), HandModel)
    return path


def _open_edges(faces: np.ndarray) -> np.ndarray:
    """Return the directed edges (E, 2) that belong to only one face."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    existing = {tuple(edge) for edge in edges.tolist()}
    return np.array([edge for edge in edges.tolist() if (edge[1], edge[0]) not in existing])


def _aligned(points: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Rotate every shape (S, P, 3) about the wrist to best fit its hand to that of the first shape."""
    reference = points[0, : len(hand)][hand]
    turned = []
    for shape in points:
        u, _, vt = np.linalg.svd(shape[: len(hand)][hand].T @ reference)
        fix = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        turned.append(shape @ u @ fix @ vt)
    return np.stack(turned)


def tip_weights(mean: np.ndarray, skin: np.ndarray, vertices: int, bone: str) -> np.ndarray:
    """Return weights (P,) over the points whose mean is a fingertip: the center of the last 8 mm of the finger."""
    of_bone = np.flatnonzero(skin[:, BONE_INDEX[bone]] > 0.5)
    head = mean[vertices + BONE_INDEX[bone]]
    along = mean[of_bone] - head
    along = along @ (along.mean(0) / np.linalg.norm(along.mean(0)))
    last = of_bone[along > along.max() - _TIP_MM]
    weights = np.zeros(len(mean))
    weights[last] = 1.0 / len(last)
    return weights
