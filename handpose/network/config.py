"""The model configuration: the contents of `config.json`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from handpose.errors import WeightsError
from handpose.geometry.layouts import LAYOUTS, JointLayout
from handpose.network.calibration import Calibration

Graph = Literal["skeleton", "similarity", "parameterized", "none"]
Voting = Literal["graph", "mean", "attention", "heatmap"]

TRAINED_RANGE = (150.0, 1200.0)
"""Distances of the synthetic hands that the built-in weights were trained on, mm."""


@dataclass(frozen=True)
class JGRP2OConfig:
    """The network's dimensions and the scales of its input and output.

    Attributes:
        layout: Name of the joint layout.
        stacks: Number of hourglasses, 2 in the paper.
        features: Number of channels, 128 in the paper.
        graph: Connections between the joints for graph reasoning (paper, Table 1): the `skeleton`, the `similarity`
            of their features, a learned (`parameterized`) matrix, or `none` for no graph reasoning.
        voting: How the votes of the pixels are combined (paper, Tables 2 and 4): with the weights of `graph`
            reasoning, by their `mean`, with a separate `attention` branch, or with a differentiable `heatmap`.
        cube: Side of the cube that is cropped, mm.
        uv_scale: Patch pixels that correspond to a normalized u or v of 1. It is 95, from the center of the first
            pixel to that of the last one, for the built-in weights. The original implementation trains with 95 but
            decodes with 96, so imported checkpoints use 96.
        calibration: Calibration of the expected errors; without it, these are unknown.
    """

    layout: str
    stacks: int = 2
    features: int = 128
    graph: Graph = "skeleton"
    voting: Voting = "graph"
    cube: float = 250.0
    uv_scale: float = 95.0
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layout, str) or self.layout not in LAYOUTS:
            raise WeightsError(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r:.40}")
        if self.graph not in get_args(Graph) or self.voting not in get_args(Voting):
            raise WeightsError(f"unknown graph {self.graph!r:.40} or voting {self.voting!r:.40}")
        if (self.graph == "none") != (self.voting in ("mean", "attention")):
            raise WeightsError(f"voting {self.voting!r} cannot be combined with graph {self.graph!r}")
        for name, kind, low, high in (
            ("stacks", int, 1, 8),
            ("features", int, 4, 1024),
            ("cube", (int, float), 50.0, 1000.0),
            ("uv_scale", (int, float), 90.0, 100.0),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
                expected = "an integer" if kind is int else "a number"
                raise WeightsError(f"{name} must be {expected} between {low} and {high}, got {value!r:.40}")
        bones = len(self.joint_layout.bones)
        if self.calibration is not None and len(self.calibration.bones_mm) != bones:
            raise WeightsError(
                f"the calibration must have {bones} bones_mm for {self.layout}, got {len(self.calibration.bones_mm)}"
            )

    @property
    def joint_layout(self) -> JointLayout:
        """Names and order of the predicted joints."""
        return LAYOUTS[self.layout]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as in `config.json`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        calibration = values.pop("calibration")
        return values if calibration is None else values | {"calibration": calibration.to_dict()}

    @classmethod
    def from_dict(cls, values: object) -> JGRP2OConfig:
        """Create a configuration. Unknown fields are rejected, because ignoring one could change the results.

        Raises:
            WeightsError: a field is unknown, missing or out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, dict) or "layout" not in values or not set(values) <= set(names):
            got = str(list(values))[:200] if isinstance(values, dict) else type(values).__name__
            raise WeightsError(f"expected an object with {', '.join(names)}, got {got}")
        calibration = values.get("calibration")
        if calibration is not None:
            values = values | {"calibration": Calibration.from_dict(calibration)}
        return cls(**values)
