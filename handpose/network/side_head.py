"""The side head: tells right hands from left ones, from the outputs of the pose network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig

PROJECTED, HIDDEN = 16, 32
"""Number of projected features per joint and stack, and of hidden units."""


@dataclass(frozen=True, eq=False)
class SideHead:
    """A perceptron that predicts from one pass of the pose network whether a patch shows a right hand.

    The network was trained on right hands only, so its joint features differ between right and left hands. They are
    projected to fewer numbers, with the same weights for all joints of a stack.

    Attributes:
        project: (S, C, P) projection of the joint features of each of S stacks.
        project_bias: (S, 1, P).
        hidden: (S * J * P + 6 * J, H) weights for the projected features, and for the normalized joints and spread.
        hidden_bias: (H,).
        output: (H,).
        output_bias: ().
        comparison: () factor from the difference between the log-odds of a patch and of its mirror image to the
            log-odds given both.
    """

    project: np.ndarray
    project_bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    comparison: np.ndarray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], config: JGRP2OConfig) -> SideHead:
        """Create the head of a network from its tensors by name.

        Raises:
            WeightsError: The tensors are not those of a head of this network.
        """
        expected = head_shapes(config)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes != expected or not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise WeightsError(f"the side head of a {config.layout} network must be finite and {expected}")
        return cls(**{name: tensor.astype(np.float32) for name, tensor in tensors.items()})

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def log_odds(self, features: np.ndarray, uvz: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return the log-odds (N,) that N patches show right hands.

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


def head_shapes(config: JGRP2OConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the side head of a network."""
    stacks, joints = config.stacks, len(config.joint_layout)
    return {
        "project": (stacks, config.features, PROJECTED),
        "project_bias": (stacks, 1, PROJECTED),
        "hidden": (stacks * joints * PROJECTED + 6 * joints, HIDDEN),
        "hidden_bias": (HIDDEN,),
        "output": (HIDDEN,),
        "output_bias": (),
        "comparison": (),
    }
