"""Named hand shapes: the finger alphabet, counting, and everyday gestures.

A shape consists of the state of each finger, the gaps between neighbors, and the location of the tip of the thumb.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from handpose.synthetic.contacts import Contacts
from handpose.synthetic.skeleton import BONE_INDEX, BONES, FINGER_NAMES, LANDMARKS

LONG_FINGERS = FINGER_NAMES[1:]

# Flexion of (MCP, PIP, DIP) in degrees.
_STATES = {
    "E": (2.0, 4.0, 2.0),  # extended
    "F": (84.0, 102.0, 62.0),  # in a tight fist
    "L": (64.0, 92.0, 55.0),  # in a loose fist
    "H": (8.0, 92.0, 55.0),  # hooked
    "X": (30.0, 85.0, 45.0),  # hooked and lowered
    "C": (38.0, 45.0, 25.0),  # curved
    "O": (52.0, 55.0, 35.0),  # curved to meet the thumb
    "B": (75.0, 10.0, 4.0),  # bent only at the knuckle
    "K": (42.0, 6.0, 3.0),  # extended and lowered
}

TOUCHING, PARTED = 17.0, 42.0
"""Distance in mm between the axes of neighboring fingers that touch, and that are spread."""


@dataclass(frozen=True)
class HandShape:
    """One named shape.

    Attributes:
        fingers: States of index, middle, ring and pinky, one letter each.
        gaps: Gaps between index and middle, middle and ring, ring and pinky: `=` touching, `V` parted, `-` unspecified.
        thumb: Landmarks whose mean the tip of the thumb is moved to; empty: it stays at `rest`.
        offset: Added to that mean, mm, in the frame of the hand: toward the back, the fingertips, and the thumb.
        rest: Flexion, abduction and twist of the thumb's first bone, and flexion of the other two, degrees.
    """

    fingers: str
    gaps: str
    thumb: tuple[str, ...] = ()
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rest: tuple[float, float, float, float, float] = (25.0, 0.0, 20.0, 25.0, 25.0)


_OUT = (-15.0, 0.0, 0.0, 0.0, 0.0)  # thumb away from the palm
_ALONG = (5.0, 15.0, 0.0, 8.0, 5.0)  # thumb along the index finger
_OVER = (-15.0, 0.0, 0.0)  # before a fist
_BESIDE = (2.0, 0.0, 15.0)  # at the index finger's side
_UNDER = (-20.0, -8.0, 0.0)  # in the palm, before the base of a finger

SHAPES: dict[str, HandShape] = {
    "a": HandShape("FFFF", "===", ("index_1", "index_2"), _BESIDE, _ALONG),
    "b": HandShape("EEEE", "===", ("ring_1",), _UNDER),
    "c": HandShape("CCCC", "===", (), rest=(10.0, -15.0, 25.0, 20.0, 20.0)),
    "d": HandShape("EOOO", "-==", ("middle_tip",)),
    "e": HandShape("HHHH", "===", ("ring_tip",), (-4.0, -12.0, 0.0)),
    "f": HandShape("OEEE", "-VV", ("index_tip",)),
    "g": HandShape("KFFF", "-==", (), rest=_ALONG),
    "h": HandShape("KKFF", "=-=", ("ring_2",), _OVER),
    "i": HandShape("FFFE", "==-", ("middle_2", "middle_3"), _OVER),
    "k": HandShape("EKFF", "V-=", ("middle_2", "middle_1"), (-10.0, 0.0, 6.0), _ALONG),
    "l": HandShape("EFFF", "-==", (), rest=_OUT),
    "m": HandShape("LLLF", "==-", ("ring_1", "pinky_1"), _UNDER),
    "n": HandShape("LLFF", "=-=", ("middle_1", "ring_1"), _UNDER),
    "o": HandShape("OOOO", "===", ("middle_tip", "index_tip")),
    "p": HandShape("KBFF", "V-=", ("middle_2",), (-10.0, 0.0, 6.0), _ALONG),
    "q": HandShape("BFFF", "-==", (), rest=(30.0, 10.0, 10.0, 10.0, 5.0)),
    "r": HandShape("EEFF", "--=", ("ring_2",), _OVER),
    "s": HandShape("FFFF", "===", ("middle_2", "middle_3"), _OVER),
    "t": HandShape("LFFF", "-==", ("index_2", "middle_2"), (-6.0, 4.0, 0.0)),
    "u": HandShape("EEFF", "=-=", ("ring_2",), _OVER),
    "v": HandShape("EEFF", "V-=", ("ring_2",), _OVER),
    "w": HandShape("EEEF", "VV-", ("pinky_2",), _OVER),
    "x": HandShape("HFFF", "-==", ("middle_2", "middle_3"), _OVER),
    "y": HandShape("FFFE", "==-", (), rest=_OUT),
    "one": HandShape("EFFF", "-==", ("middle_2", "middle_3"), _OVER),
    "two": HandShape("EEFF", "V-=", ("ring_2", "ring_3"), _OVER),
    "three": HandShape("EEFF", "V-=", (), rest=_OUT),
    "four": HandShape("EEEE", "VVV", ("ring_1",), _UNDER),
    "five": HandShape("EEEE", "VVV", (), rest=_OUT),
    "ok": HandShape("OEEE", "---", ("index_tip",)),
    "horns": HandShape("EFFE", "-=-", ("middle_2", "ring_2"), _OVER),
    "fist": HandShape("FFFF", "===", ("index_2", "middle_2", "middle_3"), _OVER),
    "flat": HandShape("EEEE", "===", ("index_1",), (-6.0, 0.0, 18.0), _ALONG),
    "thumbs_up": HandShape("FFFF", "===", (), rest=_OUT),
    "hook": HandShape("HHHH", "===", (), rest=_ALONG),
    "claw": HandShape("XXXX", "---", (), rest=(5.0, -20.0, 20.0, 25.0, 30.0)),
    "mitten": HandShape("BBBB", "===", ("middle_tip",)),
    "vulcan": HandShape("EEEE", "=V=", (), rest=_OUT),
    "pinky_up": HandShape("FFFE", "==-", ("index_2",), _BESIDE, _ALONG),
    "thumb_inside": HandShape("LLLL", "===", ("middle_1", "ring_1"), _UNDER),
    "middle": HandShape("FEFF", "--=", ("ring_2", "index_2"), _OVER),
    "ring": HandShape("EEOE", "V--", ("ring_tip",)),
    "scissors": HandShape("EEFF", "V-=", ("ring_3",), _OVER),
    "point_flat": HandShape("BEEE", "-==", ("index_2",)),
}
"""Finger alphabet (`a` to `y`, without the moving `j` and `z`), counting, and everyday shapes."""

TESTED_SHAPES = (*"abcdefghiklmnopqrstuvwxy", "one", "two", "three", "four", "five", "ok", "horns", "fist")
"""The names in the test set: the static letters, counting, and three gestures."""


def shape_angles(shape: HandShape) -> Tensor:
    """Return the initial angles (B, 3) of a shape in degrees, before contacts are resolved."""
    angles = torch.zeros(len(BONES), 3)
    for finger, state in zip(LONG_FINGERS, shape.fingers, strict=True):
        for segment, flexion in zip("123", _STATES[state], strict=True):
            angles[BONE_INDEX[f"{finger}_{segment}"], 0] = flexion
    angles[BONE_INDEX["thumb_1"]] = torch.tensor(shape.rest[:3])
    angles[BONE_INDEX["thumb_2"], 0], angles[BONE_INDEX["thumb_3"], 0] = shape.rest[3:]
    # Neighbors start with their gap: +z is the thumb's side, and positive abduction leads away from it.
    for k, finger in enumerate(LONG_FINGERS):
        sides = [shape.gaps[j] for j in (k - 1, k) if 0 <= j < 3]
        if "V" not in sides and "=" in sides and shape.fingers[k] in "EKC":
            angles[BONE_INDEX[f"{finger}_1"], 1] = (11.0, 0.0, -9.0, -22.0)[k]
    if shape.fingers == "EEFF" and shape.gaps == "--=":  # crossed: index before middle
        angles[BONE_INDEX["index_1"]] = torch.tensor([16.0, 26.0, 0.0])
        angles[BONE_INDEX["middle_1"]] = torch.tensor([-2.0, -12.0, 0.0])
    return angles


def shape_contacts(shapes: list[HandShape], generator: torch.Generator) -> Contacts:
    """Return the contacts of these shapes, with small random variations."""
    count = len(shapes)
    contacts = Contacts.none(count)
    gaps = {"=": TOUCHING, "V": PARTED, "-": torch.nan}
    for i, shape in enumerate(shapes):
        for name in shape.thumb:
            contacts.thumb[i, LANDMARKS.index(name)] = 1.0 / len(shape.thumb)
        contacts.offset[i] = torch.tensor(shape.offset)
        contacts.gaps[i] = torch.tensor([gaps[gap] for gap in shape.gaps])
    contacts.offset.add_(2.5 * torch.randn(count, 3, generator=generator))
    contacts.gaps.mul_(1.0 + 0.06 * torch.randn(count, 3, generator=generator))
    return contacts


def draw_shapes(count: int, generator: torch.Generator, jitter: float = 1.0) -> tuple[list[str], Tensor, Contacts]:
    """Return the names of `count` shapes in turn, their angles (count, B, 3) in degrees, and their contacts.

    Args:
        count: Number of shapes; all names are equally frequent.
        generator: Source of the random variations.
        jitter: Scale of the random variations of the angles; 1 matches those between people.
    """
    names = [list(SHAPES)[i % len(SHAPES)] for i in range(count)]
    angles = torch.stack([shape_angles(SHAPES[name]) for name in names])
    moving = torch.zeros(len(BONES), 3)
    for finger in FINGER_NAMES:
        for segment, spread in (("1", (5.0, 2.5, 2.0)), ("2", (5.0, 0.0, 0.0)), ("3", (5.0, 0.0, 0.0))):
            moving[BONE_INDEX[f"{finger}_{segment}"]] = torch.tensor(spread)
    moving[BONE_INDEX["thumb_1"]] = torch.tensor([6.0, 6.0, 6.0])
    angles += jitter * moving * torch.randn(count, len(BONES), 3, generator=generator)
    wrist = torch.tensor([20.0, 9.0, 9.0])
    angles[:, BONE_INDEX["forearm"]] = wrist * torch.randn(count, 3, generator=generator)
    return names, angles, shape_contacts([SHAPES[name] for name in names], generator)
