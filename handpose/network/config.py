"""What a checkpoint says of itself: the contents of `config.json`."""

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
        layout: name of the joint layout it predicts.
        stacks: hourglasses, 2 in the paper.
        features: channels, 128 in the paper.
        cube: side of the metric cube that crops are cut with, mm.
        graph: what joint features travel along (paper, Table 1): the `skeleton`, their own `similarity`, a
            learned (`parameterized`) matrix, or `none`: no joint graph reasoning.
        voting: how pixels' predictions become joints: weighted by `graph` reasoning's votes, by the plain `mean`,
            by a separate `attention` branch, or through differentiable `heatmap`s (paper, Tables 2 and 4).
        uv_scale: patch pixels that a normalised u or v of 1 stands for. 95 (first to last pixel centre)
            for our own weights; the original implementation trains with 95 but decodes with 96, and
            checkpoints imported from it keep that.
        calibration: what the network's doubts mean in mm; without it there is no estimate of errors.
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
            raise WeightsError(f"voting {self.voting!r} does not go with graph {self.graph!r}")
        for name, kind, low, high in (
            ("stacks", int, 1, 8),
            ("features", int, 4, 1024),
            ("cube", (int, float), 50.0, 1000.0),
            ("uv_scale", (int, float), 90.0, 100.0),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
                what = "a whole number" if kind is int else "a number"
                raise WeightsError(f"{name} must be {what} between {low} and {high}, got {value!r:.40}")
        bones = len(self.joint_layout.bones)
        if self.calibration is not None and len(self.calibration.bones_mm) != bones:
            raise WeightsError(
                f"the calibration must have {bones} bones_mm for {self.layout}, got {len(self.calibration.bones_mm)}"
            )

    @property
    def joint_layout(self) -> JointLayout:
        """The joints it predicts, by name and in order."""
        return LAYOUTS[self.layout]

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as `config.json` has them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        calibration = values.pop("calibration")
        return values if calibration is None else values | {"calibration": calibration.to_dict()}

    @classmethod
    def from_dict(cls, values: object) -> JGRP2OConfig:
        """The config with exactly these fields; unknown ones are refused, since ignoring one could change results.

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
