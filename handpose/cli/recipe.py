"""The training settings of `handpose train`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from handpose.cli.options import prepare_records
from handpose.errors import HandPoseError
from handpose.io.choices import Optimizer

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.training.config import TrainingConfig

_VALIDATION_SHARE = 0.02  # of a data set, by default


@dataclass(frozen=True)
class Recipe:
    """A recipe, and the changes to it."""

    recipe: Annotated[
        Literal["rendered", "paper"] | None,
        typer.Option(help="Training settings.", show_default="paper with data sets"),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Total number of steps; determines the schedule."),
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Batch size.", show_default="that of the recipe")
    ] = None
    optimizer: Annotated[
        Optimizer | None, typer.Option(help="Optimizer.", show_default="muon; adam with the paper's recipe")
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak learning rate.", show_default="that of the recipe")
    ] = None
    validation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0.0, max=0.5, help="Share of frames for validation.", show_default="by recipe"
        ),
    ] = None
    validate_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of steps between validations.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Random seed of weights and data.")] = 1

    def split(self, dataset: HandDataset) -> tuple[HandDataset, HandDataset | None]:
        """Return the frames to train on, and those for validation; the labels of records are checked."""
        from handpose.datasets.records import RecordDataset
        from handpose.weights.resolve import find_weights

        if isinstance(dataset, RecordDataset):
            dataset = prepare_records(dataset, find_weights(dataset.layout.name).model_file.parent)
        share = self.validation
        if share is None:
            share = _VALIDATION_SHARE if self.recipe == "rendered" else 0.0
        return dataset.hold_out(share) if share > 0.0 else (dataset, None)

    def config(self, dataset: HandDataset | None) -> TrainingConfig:
        """Return the settings of the recipe (by default, the one for the training data) with the changes applied."""
        from handpose.training.config import TrainingConfig, paper_recipe

        options: dict[str, Any] = {
            "batch": self.batch_size,
            "learning_rate": self.learning_rate,
            "validate_every": self.validate_every,
            "steps": self.steps,
        }
        changes = {name: value for name, value in options.items() if value is not None}
        if dataset is not None and self.recipe != "rendered":
            if self.optimizer == "muon":
                raise HandPoseError("the paper's recipe uses adam; pass --recipe rendered to train with muon")
            paper = paper_recipe(dataset.layout.name, len(dataset.usable), self.seed, self.batch_size or 32)
            return dataclasses.replace(paper, **changes)
        if dataset is not None and self.steps is None:
            raise HandPoseError("--recipe rendered requires --steps; only the paper's recipe determines their number")
        if self.recipe == "paper" or self.steps is None:
            raise HandPoseError("synthetic data is endless: --steps is required, and --recipe paper is not supported")
        if dataset is None and self.validation is not None:
            raise HandPoseError("--validation is for data sets; synthetic validation images are always used; omit it")
        return TrainingConfig(**changes, optimizer=self.optimizer or "muon", seed=self.seed)
