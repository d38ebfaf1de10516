"""An articulated right hand with its forearm, posed in torch.

The shapes come from `anny` (Apache-2.0 code, CC0 assets), a parametric body model. `compile_hand` samples bodies,
extracts hand and forearm, and stores a mean, a linear shape basis, bones and skinning weights. After that, posing
requires only torch and numpy.

The hand frame has its origin at the wrist and the axes of the wrist bone of the mean shape; lengths are in mm.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handpose.synthetic.skeleton import BONE_INDEX, BONES, FINGER_NAMES, LANDMARKS, PARENTS


class HandModel:
    """The hand model on a device.

    Args:
        path: The file that `compile_hand` wrote.
        device: Device of all tensors.

    Attributes:
        mean: (V + L, 3) vertices and landmarks of the mean hand, mm.
        basis: (K, V + L, 3) shape basis.
        coefficients: (S, K) shape coefficients of the sampled bodies.
        faces: (F, 3) vertex indices, counter-clockwise from outside.
        skin: (V, B) skinning weights.
        axes: (B, 3, 3) axes of the bones.
        vertices: Number of vertices V.
        is_forearm: (V,) bool, vertices that follow the forearm.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        with np.load(io.BytesIO(Path(path).read_bytes())) as data:  # given a path, numpy leaves a damaged file open
            arrays = {key: torch.from_numpy(data[key]) for key in data.files}
        self.device = torch.device(device)
        self.mean, self.basis = arrays["mean"].to(device), arrays["basis"].to(device)
        self.coefficients = arrays["coefficients"].to(device)
        self.faces = arrays["faces"].long().to(device)
        self.skin = arrays["skin"].to(device)
        self.axes = arrays["axes"].to(device)
        self.vertices = len(self.skin)
        self.is_forearm = self.skin[:, BONE_INDEX["forearm"]] > 0.5

    @functools.cached_property
    def rest_flexion(self) -> Tensor:
        """Flexion (B,) of each bone of the unposed hand toward the palm, degrees."""
        landmarks = self.mean[self.vertices :]
        flexion = torch.zeros(len(BONES), device=self.device)
        for finger in FINGER_NAMES:
            chain = [landmarks[BONE_INDEX[f"{finger}_{s}"]] for s in (1, 2, 3)]
            chain.append(landmarks[LANDMARKS.index(f"{finger}_tip")])
            if finger != "thumb":
                chain.insert(0, landmarks[BONE_INDEX[f"{finger}_metacarpal"]])
            names = [f"{finger}_{s}" for s in ((1, 2, 3) if finger != "thumb" else (2, 3))]
            for i, name in enumerate(names):
                before, after = chain[i + 1] - chain[i], chain[i + 2] - chain[i + 1]
                axis = self.axes[BONE_INDEX[name], :, 0]
                before, after = (v - (v @ axis) * axis for v in (before, after))
                sine = torch.linalg.cross(before, after) @ axis
                flexion[BONE_INDEX[name]] = torch.rad2deg(torch.atan2(sine, before @ after))
        return flexion

    def draw_shapes(self, count: int, generator: torch.Generator) -> Tensor:
        """Sample shape coefficients (count, K): blends of two compiled shapes, so no shape occurs twice."""
        pick = torch.randint(len(self.coefficients), (2, count), generator=generator, device=self.device)
        blend = torch.rand(count, 1, generator=generator, device=self.device) * 0.5
        return torch.lerp(self.coefficients[pick[0]], self.coefficients[pick[1]], blend)

    def points(self, shape: Tensor) -> Tensor:
        """Return vertices and landmarks (N, V + L, 3) of unposed hands, mm."""
        return self.mean + torch.einsum("nk,kpc->npc", shape, self.basis)

    def landmarks(self, rest: Tensor, angles: Tensor) -> Tensor:
        """Return posed landmarks (N, L, 3) of hands with unposed landmarks `rest` (N, L, 3), mm."""
        transforms = self.transforms(rest, angles)
        return _moved(transforms[:, _LANDMARK_BONE], rest)

    def pose(self, shape: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Return posed hands in the hand frame.

        Args:
            shape: Shape coefficients (N, K).
            angles: (N, B, 3) degrees per bone: flexion toward the palm, abduction, twist. Flexion is relative to a
                straight finger for bones with a `rest_flexion`, and otherwise to the unposed hand.

        Returns:
            Vertices (N, V, 3) and landmarks (N, L, 3), mm.
        """
        points = self.points(shape)
        rest = points[:, self.vertices :]
        transforms = self.transforms(rest, angles)
        blended = torch.einsum("vb,nbij->nvij", self.skin, transforms)
        return _moved(blended, points[:, : self.vertices]), _moved(transforms[:, _LANDMARK_BONE], rest)

    def transforms(self, rest: Tensor, angles: Tensor) -> Tensor:
        """Return the rigid motion (N, B, 3, 4) of each bone from the unposed to the posed hand."""
        flexion = angles[..., 0] - self.rest_flexion
        turn = _euler(torch.deg2rad(torch.stack([flexion, angles[..., 1], angles[..., 2]], dim=-1)))
        turn = self.axes @ turn @ self.axes.transpose(1, 2)  # (N, B, 3, 3) about the bone's own axes
        rotations: list[Tensor] = []
        shifts: list[Tensor] = []
        for bone, parent in enumerate(PARENTS):
            head = rest[:, bone, :, None]
            local = head - turn[:, bone] @ head
            if parent < 0:
                rotations.append(turn[:, bone])
                shifts.append(local)
            else:
                rotations.append(rotations[parent] @ turn[:, bone])
                shifts.append(rotations[parent] @ local + shifts[parent])
        return torch.cat([torch.stack(rotations, 1), torch.stack(shifts, 1)], dim=-1)


_LANDMARK_BONE = [*range(len(BONES)), *(BONE_INDEX[f"{finger}_3"] for finger in FINGER_NAMES)]


def _moved(transforms: Tensor, points: Tensor) -> Tensor:
    return (transforms[..., :3] @ points[..., None])[..., 0] + transforms[..., 3]


def _euler(angles: Tensor) -> Tensor:
    """Return Rz Rx Ry for angles (..., 3) in rad about x, z and y: abduction, then flexion, then twist."""
    (cx, cz, cy), (sx, sz, sy) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
        [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
        [-cx * sy, sx, cx * cy],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
