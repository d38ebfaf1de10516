"""Named hand shapes and the training poses: fingers touch, part, cross and bend as their names say."""

from __future__ import annotations

import itertools

import pytest
import torch

from handpose.geometry.articulation import finger_states
from handpose.geometry.layouts import MSRA21
from handpose.synthetic import poses
from handpose.synthetic.annotation import joint_weights
from handpose.synthetic.contacts import resolve_contacts
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.hand_shapes import SHAPES, draw_shapes
from handpose.synthetic.joint_limits import limits
from handpose.synthetic.skeleton import FINGER_NAMES, LANDMARKS

pytestmark = pytest.mark.slow

LONG = FINGER_NAMES[1:]


@pytest.fixture
def landmarks(hand: HandModel) -> dict[str, torch.Tensor]:
    """Each shape's landmarks (L, 3) mm, on the mean hand, without jitter."""
    names, angles, contacts = draw_shapes(len(SHAPES), torch.Generator().manual_seed(0), jitter=0.0)
    resolved = resolve_contacts(hand, angles, contacts, wide=True)
    low, high = limits(wide=True)
    assert ((resolved >= low) & (resolved <= high)).all()
    return dict(
        zip(names, hand.landmarks(hand.mean[hand.vertices :].expand(len(names), -1, -1), resolved), strict=True)
    )


def gap(landmarks: torch.Tensor, one: str, other: str) -> float:
    return float((landmarks[LANDMARKS.index(f"{one}_tip")] - landmarks[LANDMARKS.index(f"{other}_tip")]).norm())


def test_extended_neighbors_touch_or_part_as_the_shape_says(landmarks: dict[str, torch.Tensor]) -> None:
    seen = set()
    for name, shape in SHAPES.items():
        for k, (one, other) in enumerate(itertools.pairwise(LONG)):
            if shape.fingers[k : k + 2] != "EE" or shape.gaps[k] == "-":
                continue
            distance = gap(landmarks[name], one, other)
            touching = 33 if other == "pinky" else 25  # the tip of the pinky lies beside the ring finger's last joint
            assert (distance < touching) if shape.gaps[k] == "=" else (distance > 36), (name, one, distance)
            seen.add(shape.gaps[k])
    assert seen == {"=", "V"}


def test_long_fingers_are_extended_or_bent_as_the_shape_says(landmarks: dict[str, torch.Tensor]) -> None:
    for name, shape in SHAPES.items():
        states = finger_states((joint_weights(MSRA21) @ landmarks[name]).numpy(), MSRA21)
        for finger, state in zip(LONG, shape.fingers, strict=True):
            if state in "EFLH":
                assert states[finger] == ("extended" if state == "E" else "bent"), (name, finger)


def test_the_letter_r_crosses_index_over_middle(landmarks: dict[str, torch.Tensor]) -> None:
    # +z is the thumb's side: the index finger starts on it and ends beyond the middle finger.
    knuckles, tips = ([LANDMARKS.index(f"{f}_{part}") for f in ("index", "middle")] for part in ("1", "tip"))
    crossed = landmarks["r"]
    assert crossed[knuckles[0], 2] > crossed[knuckles[1], 2]
    assert crossed[tips[0], 2] < crossed[tips[1], 2]


def test_thumbs_reach_across_the_palm(landmarks: dict[str, torch.Tensor]) -> None:
    for name in ("b", "four", "thumb_inside"):
        tip, base = (landmarks[name][LANDMARKS.index(mark)] for mark in ("thumb_tip", "ring_1"))
        assert (tip - base).norm() < 35, name


def test_training_poses_cover_what_hands_do(hand: HandModel) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = {draw: getattr(poses, draw)(hand, 256, generator) for draw in ("_closed_poses", "_usual_poses")}
    share = {}
    for draw, angles in drawn.items():
        marks = hand.landmarks(hand.mean[hand.vertices :].expand(len(angles), -1, -1), angles)
        tips = marks[:, [LANDMARKS.index(f"{finger}_tip") for finger in LONG]]
        straight = angles[:, [LANDMARKS.index(f"{finger}_2") for finger in LONG], 0] < 30
        both = straight[:, 1:] & straight[:, :-1]
        share[draw] = ((tips[:, 1:] - tips[:, :-1]).norm(dim=-1) < 27)[both].float().mean().item()
    assert share["_closed_poses"] > 0.4
    assert share["_usual_poses"] < 0.1
