"""What a training that starts from existing weights has changed: measures before and after, and the model card."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handpose.adaptation.heads import TunedHeads
from handpose.weights.folder import Weights, write_card


@dataclass(frozen=True)
class Measure:
    """A quantity before and after a training; smaller is better.

    Attributes:
        name: What was measured, with its unit.
        before: Value of the initial weights.
        after: Value of the new weights.
    """

    name: str
    before: float
    after: float

    def __str__(self) -> str:
        """Return the values and their change in percent."""
        return f"{self.name}: {self.before:.2f} before, {self.after:.2f} after ({self.after / self.before - 1:+.0%})"


@dataclass(frozen=True)
class Tuned:
    """The result of a training that starts from existing weights.

    Attributes:
        frames: Number of training frames.
        held_out: Number of held-out frames.
        model: Model folder, or None if no weights are better than the initial ones.
        measures: Errors before and after.
        heads: The heads of the model, if it has any.
    """

    frames: int
    held_out: int
    model: Path | None
    measures: tuple[Measure, ...]
    heads: TunedHeads | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        return {
            "frames": self.frames,
            "held_out": self.held_out,
            "model": None if self.model is None else str(self.model),
            "measures": [dataclasses.asdict(measure) for measure in self.measures],
            "heads": None if self.heads is None else dataclasses.asdict(self.heads),
        }

    def lines(self) -> list[str]:
        """Return the result as text."""
        kept = "no weights are better than the initial ones, so no model was written"
        return [
            f"{self.frames} training frames, {self.held_out} held-out frames",
            *map(str, self.measures),
            *([] if self.heads is None else [str(self.heads)]),
            kept if self.model is None else f"wrote the model folder {self.model}",
        ]


def write_tuned_card(folder: Path, start: Weights, result: Tuned, what: str) -> None:
    """Write the model card of weights that were trained from others; `what` completes "These weights are NAME, "."""
    rows = "\n".join(f"| {m.name} | {m.before:.2f} | {m.after:.2f} |" for m in result.measures)
    text = f"""These weights are `{start.name}`, {what}. Half of the crops in training were synthetic.

| | before | after |
|---|---|---|
{rows}

The held-out frames determined when the training was stopped. The calibration of the expected errors was computed on
synthetic images."""
    write_card(folder, folder.resolve().parent.name, text)
