"""What a training that starts from existing weights has changed: measures before and after, and the model card."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handpose.adaptation.heads import TunedHeads
from handpose.io.atomic import write_atomically
from handpose.io.text import MAX_SETTINGS_BYTES, read_text
from handpose.weights.folder import MODEL_FILE, Weights, file_sha256, write_card

_MEASURED_FILE = "measured.json"


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
        """Return the values and their change in percent, which an initial value of 0 does not have."""
        change = f" ({self.after / self.before - 1:+.0%})" if self.before else ""
        return f"{self.name}: {self.before:.2f} before, {self.after:.2f} after{change}"


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


def note_measured(run: Path, result: Tuned) -> None:
    """Write into the folder of a run that its model folder is complete, except for heads, and what was measured."""
    if result.model is not None:
        noted = {"weights": file_sha256(result.model / MODEL_FILE), **result.to_dict()}
        write_atomically(run / _MEASURED_FILE, json.dumps(noted).encode())


def find_measured(run: Path, folder: Path, best: Weights) -> Tuned | None:
    """Return what was measured before an interruption, or None if these weights are not those of the model folder.

    Args:
        run: Folder of the run.
        folder: Its model folder.
        best: The best weights of the run.
    """
    file = run / _MEASURED_FILE
    if not file.is_file():
        return None
    noted = json.loads(read_text(file, MAX_SETTINGS_BYTES))
    if not noted["weights"] == best.sha256 == file_sha256(folder / MODEL_FILE):
        return None
    measures = tuple(Measure(**measure) for measure in noted["measures"])
    return Tuned(noted["frames"], noted["held_out"], folder, measures)


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
