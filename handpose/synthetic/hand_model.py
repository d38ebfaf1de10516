"""An articulated right hand with its forearm: shapes compiled once from `anny`, posed in torch.

`anny` (Apache-2.0 code, CC0 assets) is a parametric body model. `compile_hand` samples its phenotypes,
cuts hand and forearm out, and keeps what posing needs: a mean, a linear shape basis, bones, skinning
weights. Training then needs torch and numpy alone.

The hand's frame: origin at the wrist, axes of the wrist bone of the mean shape, millimetres.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.cache import cache_folder, cached

FINGER_NAMES = ("thumb", "index", "middle", "ring", "pinky")

# The root is the hand (wrist); the forearm hangs on it like a finger that points backwards.
BONES = (
    "hand",
    "forearm",
    *(f"{finger}_metacarpal" for finger in FINGER_NAMES[1:]),
    *(f"{finger}_{segment}" for finger in FINGER_NAMES for segment in (1, 2, 3)),
)
_INDEX = {name: i for i, name in enumerate(BONES)}


def _parent(bone: str) -> int:
    finger, _, segment = bone.partition("_")
    if bone == "hand":
        return -1
    if segment in ("2", "3"):
        return _INDEX[f"{finger}_{int(segment) - 1}"]
    return _INDEX[f"{finger}_metacarpal"] if segment == "1" and finger != "thumb" else 0


PARENTS = tuple(_parent(bone) for bone in BONES)

LANDMARKS = (*BONES, *(f"{finger}_tip" for finger in FINGER_NAMES))
"""Points that joints are placed by: every bone's head and the five finger tips."""

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
            skin[:, _INDEX[bone]] = weights[:, names.index(source)]
    skin[:, _INDEX["forearm"]] = weights[:, [names.index(source) for source in _FOREARM]].sum(1)
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
    lid[0, _INDEX["forearm"]] = 1.0
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
    reach = np.linalg.norm(points[:, vertices + _INDEX["middle_3"]] - points[:, vertices], axis=1)
    points = points[(reach > phenotypes.reach[0]) & (reach < phenotypes.reach[1])]
    points = (points - points[:, vertices][:, None]) @ frame
    points = _aligned(points, skin[:, _INDEX["forearm"]] < 0.5)

    tips = [_tip_weights(points.mean(0), skin, vertices, f"{finger}_3") for finger in FINGER_NAMES]
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


def _tip_weights(mean: np.ndarray, skin: np.ndarray, vertices: int, bone: str) -> np.ndarray:
    """Weights (P,) over points that give a finger's tip: the middle of its last 8 mm."""
    own = np.flatnonzero(skin[:, _INDEX[bone]] > 0.5)
    head = mean[vertices + _INDEX[bone]]
    along = mean[own] - head
    along = along @ (along.mean(0) / np.linalg.norm(along.mean(0)))
    last = own[along > along.max() - 8.0]
    weights = np.zeros(len(mean))
    weights[last] = 1.0 / len(last)
    return weights


class HandModel:
    """The compiled hand on a device.

    Attributes:
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        is_forearm: (V,) bool, vertices that follow the forearm.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        with np.load(io.BytesIO(Path(path).read_bytes())) as data:  # numpy leaves a torn file open
            arrays = {key: torch.from_numpy(data[key]) for key in data.files}
        self.device = torch.device(device)
        self.mean, self.basis = arrays["mean"].to(device), arrays["basis"].to(device)
        self.coefficients = arrays["coefficients"].to(device)
        self.faces = arrays["faces"].long().to(device)
        self.skin = arrays["skin"].to(device)
        self.axes = arrays["axes"].to(device)
        self.vertices = len(self.skin)
        self.is_forearm = self.skin[:, _INDEX["forearm"]] > 0.5

    @functools.cached_property
    def rest_flexion(self) -> Tensor:
        """Degrees (B,) that each bone of the unposed hand is bent towards the palm."""
        landmarks = self.mean[self.vertices :]
        flexion = torch.zeros(len(BONES), device=self.device)
        for finger in FINGER_NAMES:
            chain = [landmarks[_INDEX[f"{finger}_{s}"]] for s in (1, 2, 3)]
            chain.append(landmarks[LANDMARKS.index(f"{finger}_tip")])
            if finger != "thumb":
                chain.insert(0, landmarks[_INDEX[f"{finger}_metacarpal"]])
            names = [f"{finger}_{s}" for s in ((1, 2, 3) if finger != "thumb" else (2, 3))]
            for i, name in enumerate(names):
                before, after = chain[i + 1] - chain[i], chain[i + 2] - chain[i + 1]
                axis = self.axes[_INDEX[name], :, 0]
                before, after = (v - (v @ axis) * axis for v in (before, after))
                sine = torch.linalg.cross(before, after) @ axis
                flexion[_INDEX[name]] = torch.rad2deg(torch.atan2(sine, before @ after))
        return flexion

    def draw_shapes(self, count: int, generator: torch.Generator) -> Tensor:
        """Shape coefficients (count, K): blends of two compiled shapes, so that none is met twice."""
        pick = torch.randint(len(self.coefficients), (2, count), generator=generator, device=self.device)
        blend = torch.rand(count, 1, generator=generator, device=self.device) * 0.5
        return torch.lerp(self.coefficients[pick[0]], self.coefficients[pick[1]], blend)

    def points(self, shape: Tensor) -> Tensor:
        """Vertices and landmarks (N, V + L, 3) of unposed hands, mm."""
        return self.mean + torch.einsum("nk,kpc->npc", shape, self.basis)

    def landmarks(self, rest: Tensor, angles: Tensor) -> Tensor:
        """Posed landmarks (N, L, 3), mm, of hands whose unposed landmarks are `rest` (N, L, 3)."""
        transforms = self.transforms(rest, angles)
        return _moved(transforms[:, _LANDMARK_BONE], rest)

    def pose(self, shape: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Hands in their own frame.

        Args:
            shape: coefficients (N, K).
            angles: (N, B, 3) degrees per bone: flexion towards the palm, abduction, twist. Flexion counts
                from a straight finger for bones that have a `rest_flexion`, else from the unposed hand.

        Returns:
            vertices (N, V, 3) and landmarks (N, L, 3), mm.
        """
        points = self.points(shape)
        rest = points[:, self.vertices :]
        transforms = self.transforms(rest, angles)
        blended = torch.einsum("vb,nbij->nvij", self.skin, transforms)
        return _moved(blended, points[:, : self.vertices]), _moved(transforms[:, _LANDMARK_BONE], rest)

    def transforms(self, rest: Tensor, angles: Tensor) -> Tensor:
        """Each bone's rigid motion (N, B, 3, 4) from the unposed to the posed hand."""
        flexion = angles[..., 0] - self.rest_flexion
        turn = _euler(torch.deg2rad(torch.stack([flexion, angles[..., 1], angles[..., 2]], dim=-1)))
        turn = self.axes @ turn @ self.axes.transpose(1, 2)  # (N, B, 3, 3) about the bone's own axes
        rotations: list[Tensor] = []
        shifts: list[Tensor] = []
        for bone, parent in enumerate(PARENTS):
            head = rest[:, bone, :, None]
            own = head - turn[:, bone] @ head
            if parent < 0:
                rotations.append(turn[:, bone])
                shifts.append(own)
            else:
                rotations.append(rotations[parent] @ turn[:, bone])
                shifts.append(rotations[parent] @ own + shifts[parent])
        return torch.cat([torch.stack(rotations, 1), torch.stack(shifts, 1)], dim=-1)


_LANDMARK_BONE = [*range(len(BONES)), *(_INDEX[f"{finger}_3"] for finger in FINGER_NAMES)]


def _moved(transforms: Tensor, points: Tensor) -> Tensor:
    return (transforms[..., :3] @ points[..., None])[..., 0] + transforms[..., 3]


def _euler(angles: Tensor) -> Tensor:
    """Rz Rx Ry from (..., 3) radians about x, z and y: spread the finger, bend it, twist it."""
    (cx, cz, cy), (sx, sz, sy) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
        [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
        [-cx * sy, sx, cx * cy],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
