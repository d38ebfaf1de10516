"""The heads: tell hands from other things, and right hands from left ones, from the outputs of the pose network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig

PROJECTED, HIDDEN = 16, 32
"""Number of projected features per joint and stack, and of hidden units."""


@dataclass(frozen=True, eq=False)
class PatchHead:
    """A perceptron that classifies what a patch shows, from one pass of the pose network.

    The joint features are projected to fewer numbers, with the same weights for all joints of a stack.

    Attributes:
        project: (S, C, P) projection of the joint features of each of S stacks.
        project_bias: (S, 1, P).
        hidden: (S * J * P + 6 * J, H) weights for the projected features, and for the normalized joints and spread.
        hidden_bias: (H,).
        output: (H,).
        output_bias: ().
    """

    project: np.ndarray
    project_bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray

    def log_odds(self, features: np.ndarray, uvz: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return the log-odds (N,) that N patches show what the head was trained for.

        Args:
            features: (N, S, J, C) joint features.
            uvz: (N, J, 3) normalized joints.
            spread: (N, J, 3) their spread, normalized.
        """
        projected = np.maximum(features @ self.project + self.project_bias, 0.0)
        inputs = np.concatenate([part.reshape(len(uvz), -1) for part in (projected, uvz, spread)], axis=1)
        hidden = np.maximum(inputs @ self.hidden + self.hidden_bias, 0.0)
        log_odds: np.ndarray = hidden @ self.output + self.output_bias
        return log_odds


@dataclass(frozen=True, eq=False)
class Heads:
    """The heads of one set of weights.

    The network was trained on right hands only, so its joint features differ between right hands, left hands and other
    things.

    Attributes:
        hand: Predicts the log-odds that a patch shows a hand, of either side.
        side: Predicts the log-odds that a patch shows a right hand, given that it shows a hand.
        comparison: () factor from the difference between the latter log-odds of a patch and of its mirror image to the
            log-odds given both.
    """

    hand: PatchHead
    side: PatchHead
    comparison: np.ndarray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], config: JGRP2OConfig) -> Heads:
        """Create the heads of a network from their tensors by name.

        Raises:
            WeightsError: The tensors are not those of the heads of this network.
        """
        expected = head_shapes(config)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes != expected or not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise WeightsError(f"the heads of a {config.layout} network must be finite and {expected}")
        values = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        hand, side = (
            PatchHead(**{field.name: values[f"{head}.{field.name}"] for field in fields(PatchHead)})
            for head in ("hand", "side")
        )
        return cls(hand, side, values["comparison"])

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors by name."""
        named = {
            f"{name}.{field.name}": getattr(head, field.name)
            for name, head in (("hand", self.hand), ("side", self.side))
            for field in fields(head)
        }
        return named | {"comparison": self.comparison}


def head_shapes(config: JGRP2OConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the heads of a network."""
    stacks, joints = config.stacks, len(config.joint_layout)
    shapes: dict[str, tuple[int, ...]] = {
        "project": (stacks, config.features, PROJECTED),
        "project_bias": (stacks, 1, PROJECTED),
        "hidden": (stacks * joints * PROJECTED + 6 * joints, HIDDEN),
        "hidden_bias": (HIDDEN,),
        "output": (HIDDEN,),
        "output_bias": (),
    }
    both = {f"{head}.{name}": shape for head in ("hand", "side") for name, shape in shapes.items()}
    return both | {"comparison": ()}
