"""Joint layouts: the joints of each data set, their order, and the skeleton that connects them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from handpose.errors import UnknownJointError

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

# MSRA names the thumb's joints like those of the other fingers. Anatomically, they are CMC, MCP, IP and tip;
# `thumb_mcp` remains the name of the first one.
_ALIASES = {("msra", "thumb_cmc"): "thumb_mcp", ("msra", "thumb_ip"): "thumb_dip"}


@dataclass(frozen=True)
class JointLayout:
    """An ordered list of hand joints and the tree that connects them.

    Attributes:
        name: Short name: `icvl`, `nyu` or `msra`.
        joints: Joint names; `<finger>_<part>` for the joints of a finger.
        parents: Index of the parent of each joint, -1 for the root.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Joint indices (parent, child) of each bone, in the order of the children."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @property
    def fingers(self) -> dict[str, tuple[int, ...]]:
        """Joint indices of each finger, from palm to tip."""
        members = {
            finger: [i for i, joint in enumerate(self.joints) if joint.startswith(finger + "_")] for finger in FINGERS
        }
        return {finger: tuple(sorted(indices, key=self.depth)) for finger, indices in members.items()}

    def index(self, joint: str) -> int:
        """Return the index of a joint, given its name or its alias (msra: `thumb_cmc`, `thumb_ip`).

        Raises:
            UnknownJointError: The layout does not contain the joint; it is a `HandPoseError` and a `KeyError`.
        """
        name = _ALIASES.get((self.name, joint), joint)
        if name not in self.joints:
            by_number = "" if isinstance(joint, str) else "; select a joint by its number with xyz, as in `pose.xyz[4]`"
            raise UnknownJointError(
                f"{joint!r} is not a joint of the {self.name} layout: {', '.join(self.joints)}{by_number}"
            )
        return self.joints.index(name)

    def depth(self, joint: int) -> int:
        """Return the number of bones between `joint` and the root."""
        parent = self.parents[joint]
        return 0 if parent < 0 else 1 + self.depth(parent)

    def adjacency(self) -> np.ndarray:
        """Return the normalized adjacency matrix D^-1/2 (A + I) D^-1/2, (J, J) float64 (paper, section 3.2)."""
        matrix = np.eye(len(self))
        for parent, child in self.bones:
            matrix[parent, child] = matrix[child, parent] = 1.0
        scale: np.ndarray = 1.0 / np.sqrt(matrix.sum(axis=1))
        return matrix * np.outer(scale, scale)


ICVL16 = JointLayout(
    "icvl",
    ("palm", *(f"{finger}_{part}" for finger in FINGERS for part in ("root", "mid", "tip"))),
    (-1, *(0 if part == 0 else 3 * finger + part for finger in range(5) for part in range(3))),
)

NYU14 = JointLayout(
    "nyu",
    (
        "pinky_tip",
        "pinky_mid",
        "ring_tip",
        "ring_mid",
        "middle_tip",
        "middle_mid",
        "index_tip",
        "index_mid",
        "thumb_tip",
        "thumb_mid",
        "thumb_root",
        "wrist_ulnar",
        "wrist_radial",
        "palm",
    ),
    (1, 13, 3, 13, 5, 13, 7, 13, 9, 10, 13, 13, 13, -1),
)

MSRA21 = JointLayout(
    "msra",
    (
        "wrist",
        *(
            f"{finger}_{part}"
            for finger in ("index", "middle", "ring", "pinky", "thumb")
            for part in ("mcp", "pip", "dip", "tip")
        ),
    ),
    (-1, *(0 if part == 0 else 4 * finger + part for finger in range(5) for part in range(4))),
)

LAYOUTS = {layout.name: layout for layout in (ICVL16, NYU14, MSRA21)}
