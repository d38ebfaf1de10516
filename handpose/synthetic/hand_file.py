"""The file of the hand that is rendered, made once with Anny."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.cache import cache_folder, cached
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.skeleton import BONE_INDEX, BONES, FINGER_NAMES

_ANNY_BONES = {"hand": "wrist.R", "forearm": "wrist.R"} | {
    **{f"{finger}_metacarpal": f"metacarpal{i}.R" for i, finger in enumerate(FINGER_NAMES[1:], 1)},
    **{f"{finger}_{s}": f"finger{i}-{s}.R" for i, finger in enumerate(FINGER_NAMES, 1) for s in (1, 2, 3)},
}
_FOREARM = ("lowerarm01.R", "lowerarm02.R")


@dataclass(frozen=True)
class PhenotypeRange:
    """Bounds that `anny`'s phenotype and local-change parameters are drawn from, uniformly."""

    age: tuple[float, float] = (0.28, 1.0)  # from about six years old
    body: tuple[float, float] = (0.0, 1.0)  # gender, muscle, weight, height, proportions
    local: float = 0.7  # hand scale, finger length and girth, forearm girth: plus and minus
    reach: tuple[float, float] = (118.0, 205.0)  # wrist to the last joint of the middle finger, mm


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
    """Where the compiled hand is kept."""
    return cache_folder() / "hand.npz"


def compile_hand(
    path: str | Path,
    *,
    phenotypes: PhenotypeRange = PhenotypeRange(),
    shapes: int = 600,
    components: int = 16,
    seed: int = 0,
) -> None:
    """Writes the hand that `HandModel` loads. Needs `anny` (extra `train`); takes about two minutes.

    Args:
        path: the `.npz` to write.
        phenotypes: what the shapes are drawn from.
        shapes: how many are drawn; those outside `phenotypes.reach` are dropped.
        components: how many directions of variation are kept.
        seed: of the draw.

    Raises:
        HandPoseError: `anny` is not installed.
    """
    try:
        from anny import Anny
    except ImportError:
        raise HandPoseError("making the hand needs anny: pip install 'handpose[train]'") from None

    with contextlib.redirect_stdout(sys.stderr):  # warp, which anny computes with, tells of itself
        _measure(
            Path(path),
            Anny(local_changes=_LOCAL_CHANGES, phenotypes="all", phenotype_blendshapes="original"),
            phenotypes,
            shapes,
            components,
            seed,
        )


def _measure(path: Path, model: Any, phenotypes: PhenotypeRange, shapes: int, components: int, seed: int) -> None:
    """Writes what `compile_hand` needs of `anny`'s model."""
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
    rim = _open_edges(faces)
    # The cut at the elbow gets a lid: seen from behind, an open tube would show its inside.
    faces = np.concatenate([faces, [[end, start, len(used)] for start, end in rim]])
    lid = np.zeros((1, len(BONES)))
    lid[0, BONE_INDEX["forearm"]] = 1.0
    skin = np.concatenate([skin, lid])

    rng = np.random.default_rng(seed)
    meshes, heads = [], []
    bone_ids = [names.index(_ANNY_BONES[bone]) for bone in BONES]
    axes = None
    for start in range(0, shapes, 25):
        count = min(25, shapes - start)
        body = {
            k: rng.uniform(*phenotypes.body, count) for k in ("gender", "muscle", "weight", "height", "proportions")
        }
        ancestry = rng.dirichlet((1.0, 1.0, 1.0), count)
        drawn = body | dict(zip(("african", "asian", "caucasian"), ancestry.T, strict=True))
        drawn |= {"age": rng.uniform(*phenotypes.age, count)}
        local = {name: rng.uniform(-phenotypes.local, phenotypes.local, count) for name in _LOCAL_CHANGES}
        with torch.no_grad():
            posed = model(
                phenotype_kwargs={k: torch.from_numpy(v) for k, v in drawn.items()},
                local_changes_kwargs={k: torch.from_numpy(v) for k, v in local.items()},
            )
        mesh = posed["rest_vertices"][:, used].numpy() * 1000.0
        meshes.append(np.concatenate([mesh, mesh[:, np.unique(rim)].mean(1, keepdims=True)], axis=1))
        heads.append(posed["rest_bone_heads"][:, bone_ids].numpy() * 1000.0)
        if axes is None:
            axes = posed["rest_bone_poses"][0, bone_ids, :3, :3].numpy()
    assert axes is not None
    frame = axes[0]
    axes = frame.T @ axes
    points = np.concatenate([np.concatenate(meshes), np.concatenate(heads)], axis=1)  # (S, V + bones, 3)
    vertices = len(skin)
    reach = np.linalg.norm(points[:, vertices + BONE_INDEX["middle_3"]] - points[:, vertices], axis=1)
    points = points[(reach > phenotypes.reach[0]) & (reach < phenotypes.reach[1])]
    points = (points - points[:, vertices][:, None]) @ frame
    points = _aligned(points, skin[:, BONE_INDEX["forearm"]] < 0.5)

    tips = [tip_weights(points.mean(0), skin, vertices, f"{finger}_3") for finger in FINGER_NAMES]
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
        faces=faces.astype(np.int32),
        skin=skin.astype(np.float32),
        axes=axes.astype(np.float32),
    )
    write_atomically(path, data.getvalue())


def cached_hand_file() -> Path:
    """The compiled hand's file, made now if it is not there or damaged."""
    path = default_hand_file()
    cached(path, lambda: compile_hand(path), HandModel)
    return path


def _open_edges(faces: np.ndarray) -> np.ndarray:
    """The directed edges (E, 2) that only one face has."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there = {tuple(edge) for edge in edges.tolist()}
    return np.array([edge for edge in edges.tolist() if (edge[1], edge[0]) not in there])


def _aligned(points: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Every shape (S, P, 3) turned about the wrist so that its hand lies best on the first one's."""
    reference = points[0, : len(hand)][hand]
    turned = []
    for shape in points:
        u, _, vt = np.linalg.svd(shape[: len(hand)][hand].T @ reference)
        fix = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        turned.append(shape @ u @ fix @ vt)
    return np.stack(turned)


def tip_weights(mean: np.ndarray, skin: np.ndarray, vertices: int, bone: str) -> np.ndarray:
    """Weights (P,) over points that give a finger's tip: the middle of its last 8 mm."""
    own = np.flatnonzero(skin[:, BONE_INDEX[bone]] > 0.5)
    head = mean[vertices + BONE_INDEX[bone]]
    along = mean[own] - head
    along = along @ (along.mean(0) / np.linalg.norm(along.mean(0)))
    last = own[along > along.max() - 8.0]
    weights = np.zeros(len(mean))
    weights[last] = 1.0 / len(last)
    return weights
