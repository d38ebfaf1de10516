"""Names of the bones and landmarks of the hand model."""

from __future__ import annotations

FINGER_NAMES = ("thumb", "index", "middle", "ring", "pinky")

# The root is the hand (wrist); the forearm is its child, like a finger that points backward.
BONES = (
    "hand",
    "forearm",
    *(f"{finger}_metacarpal" for finger in FINGER_NAMES[1:]),
    *(f"{finger}_{segment}" for finger in FINGER_NAMES for segment in (1, 2, 3)),
)
BONE_INDEX = {name: i for i, name in enumerate(BONES)}


def parent_of(bone: str) -> int:
    """Return the index of the parent of a bone, or -1 for the root."""
    finger, _, segment = bone.partition("_")
    if bone == "hand":
        return -1
    if segment in ("2", "3"):
        return BONE_INDEX[f"{finger}_{int(segment) - 1}"]
    return BONE_INDEX[f"{finger}_metacarpal"] if segment == "1" and finger != "thumb" else 0


PARENTS = tuple(parent_of(bone) for bone in BONES)

LANDMARKS = (*BONES, *(f"{finger}_tip" for finger in FINGER_NAMES))
"""Points that define the joints: the heads of all bones, and the five fingertips."""
