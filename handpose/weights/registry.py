"""Weights: what there is, where it comes from, and loading that either is right or refuses.

Only safetensors are opened. Loading is strict: exact names and shapes, finite numbers, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handpose.weights.folder import MODEL_FILE

_BUILT_IN = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class WeightsRecord:
    """One set of published weights.

    Attributes:
        name: what `from_pretrained` calls it.
        layout: name of its joint layout.
        parameters: trainable parameters.
        repo_id: its repository on the Hugging Face Hub.
        revision: the pinned commit there, 40 hex digits; None while only the built-in copy exists.
        sha256: of `model.safetensors`.
        licence: SPDX name.
        trained_on: the data, in words.
        error_mm: mean joint error, by name of the test.
    """

    name: str
    layout: str
    parameters: int
    repo_id: str
    revision: str | None
    sha256: str
    licence: str
    trained_on: str
    error_mm: dict[str, float]

    @property
    def built_in(self) -> Path:
        """The folder of the copy inside the package."""
        return _BUILT_IN / self.name

    @property
    def where(self) -> str:
        """The built-in file, or the place on the Hub it comes from."""
        file = self.built_in / MODEL_FILE
        return str(file) if file.is_file() else f"{self.repo_id}@{self.revision}"


WEIGHTS = {
    record.name: record
    for record in (
        WeightsRecord(
            name="msra",
            layout="msra",
            parameters=1_375_114,
            repo_id="handpose/jgr-p2o-msra",
            revision=None,
            sha256="d413654d9ee514c121dec7e3abd1c39c66cf6ce7f8c537d7be6960047af35c08",
            licence="Apache-2.0",
            trained_on="rendered depth only, 961,248 crops",
            error_mm={
                "joints of 2,000 rendered test images, centre given": 8.6,
                "joints of 2,000 rendered test images, centre found": 11.9,
                "fingertips of 8 labelled real images (SR305, one person)": 5.0,
            },
        ),
        WeightsRecord(
            name="nyu",
            layout="nyu",
            parameters=1_365_244,
            repo_id="handpose/jgr-p2o-nyu",
            revision=None,
            sha256="f8c3bee45f452997adf2eaa003b3e520a58f890ef8d70b4cde8754a407f69237",
            licence="Apache-2.0",
            trained_on="rendered depth only, 64,000 crops after those of msra",
            error_mm={
                "joints of 2,000 rendered test images, centre given": 9.3,
                "joints of 2,000 rendered test images, centre found": 12.6,
            },
        ),
        WeightsRecord(
            name="icvl",
            layout="icvl",
            parameters=1_368_064,
            repo_id="handpose/jgr-p2o-icvl",
            revision=None,
            sha256="fd2944d56de33c998ec3385fad5e1088b05cc10c3c3a5c4e86054d5a96cc9e48",
            licence="Apache-2.0",
            trained_on="rendered depth only, 48,000 crops after those of msra",
            error_mm={
                "joints of 2,000 rendered test images, centre given": 8.0,
                "joints of 2,000 rendered test images, centre found": 11.5,
            },
        ),
    )
}
"""The weights that `from_pretrained` knows by name."""
