"""The published weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handpose.weights.folder import MODEL_FILE

_BUILT_IN = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class WeightsRecord:
    """One set of published weights.

    Attributes:
        name: Name that `from_pretrained` accepts.
        layout: Name of the joint layout.
        parameters: Number of trainable parameters.
        repo_id: Repository on the Hugging Face Hub.
        revision: Pinned commit in the repository, 40 hexadecimal digits; None if only the built-in copy exists.
        sha256: SHA-256 of `model.safetensors`.
        license: SPDX identifier.
        trained_on: Description of the training data.
        error_mm: Mean joint error in mm, by description of the test data.
    """

    name: str
    layout: str
    parameters: int
    repo_id: str
    revision: str | None
    sha256: str
    license: str
    trained_on: str
    error_mm: dict[str, float]

    @property
    def built_in(self) -> Path:
        """Folder of the copy in the package."""
        return _BUILT_IN / self.name

    @property
    def where(self) -> str:
        """Path of the built-in file, or repository and revision on the Hub."""
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
            sha256="820fa498496656a37b8f916360ec56f6551206b9c6649715616c9e4329b70f01",
            license="Apache-2.0",
            trained_on="synthetic depth only, 1,761,248 crops",
            error_mm={
                "joints of 2,000 synthetic test images, hand center given": 7.2,
                "joints of 2,000 synthetic test images, hand localized": 8.4,
                "fingertips of 8 labeled real images (SR305, one person)": 4.2,
            },
        ),
        WeightsRecord(
            name="nyu",
            layout="nyu",
            parameters=1_365_244,
            repo_id="handpose/jgr-p2o-nyu",
            revision=None,
            sha256="029f27597aefda8919624bb28ecaa9ce1a8443708fff05f2d54762a52394b5dc",
            license="Apache-2.0",
            trained_on="synthetic depth only, 102,400 crops after those of msra",
            error_mm={
                "joints of 2,000 synthetic test images, hand center given": 7.9,
                "joints of 2,000 synthetic test images, hand localized": 9.2,
            },
        ),
        WeightsRecord(
            name="icvl",
            layout="icvl",
            parameters=1_368_064,
            repo_id="handpose/jgr-p2o-icvl",
            revision=None,
            sha256="5c6b66776790313e2b62c5885d763ffc49217fb2a46f300ecd199ef5dab84e2d",
            license="Apache-2.0",
            trained_on="synthetic depth only, 64,000 crops after those of msra",
            error_mm={
                "joints of 2,000 synthetic test images, hand center given": 6.9,
                "joints of 2,000 synthetic test images, hand localized": 8.3,
            },
        ),
    )
}
"""The published weights, by name."""
