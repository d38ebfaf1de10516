"""Weights: what there is, where it comes from, and loading that either is right or refuses.

Only safetensors are opened. Loading is strict: exact names and shapes, finite numbers, or nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handpose.errors import WeightsError
from handpose.io.text import SETTINGS
from handpose.network.config import JGRP2OConfig
from handpose.weights.hub import fetch, publish

if TYPE_CHECKING:
    from handpose.network.model import JGRP2O

MODEL_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"

_BUILT_IN = Path(__file__).parent / "pretrained"
_LARGEST_HEADER = 1 << 20
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".tar", ".h5")
_REPO = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


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


@dataclass(frozen=True)
class Weights:
    """Weights on disk, checked but not yet loaded."""

    name: str
    config: JGRP2OConfig
    model_file: Path

    @property
    def sha256(self) -> str:
        """Of the model file."""
        return file_sha256(self.model_file)

    def load(self) -> JGRP2O:
        """The network with these weights, in inference mode.

        Raises:
            WeightsError: the file is damaged, or its tensors are not exactly the network's.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from handpose.network.model import JGRP2O

        with torch.device("meta"):  # shapes alone: a config that lies must not cost memory
            expected = {key: value.shape for key, value in JGRP2O(self.config).state_dict().items() if not _counts(key)}
        largest = 8 * sum(shape.numel() for shape in expected.values()) + _LARGEST_HEADER
        try:
            if (size := self.model_file.stat().st_size) > largest:
                raise WeightsError(
                    f"{self.model_file}: {size} bytes do not fit the {self.config.layout} network of {CONFIG_FILE}, "
                    f"which takes {largest} at most"
                )
            stored = load_file(self.model_file)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{self.model_file}: not a readable safetensors file ({str(error)[:200]})") from None
        tensors = {key: value for key, value in stored.items() if not _counts(key)}
        given = {key: value.shape for key, value in tensors.items()}
        if given != expected:
            wrong = sorted(key for key in expected.keys() | given.keys() if expected.get(key) != given.get(key))
            key = wrong[0]
            raise WeightsError(
                f"{self.model_file}: {len(wrong)} tensors do not fit the {self.config.layout} network, first "
                f"{key!r:.100}: expected {_shape(expected.get(key))}, got {_shape(given.get(key))}"
            )
        for key, value in tensors.items():
            if value.dtype not in (torch.float16, torch.float32, torch.float64):
                raise WeightsError(f"{self.model_file}: {key} is {value.dtype}, expected float16 or float32")
            if not torch.isfinite(value.float()).all():
                raise WeightsError(f"{self.model_file}: {key} holds NaN or infinite numbers")
            if key.endswith("running_var") and (value < 0).any():
                raise WeightsError(f"{self.model_file}: {key} holds variances below 0")
        model = JGRP2O(self.config)
        model.load_state_dict(tensors, strict=False)  # all but BatchNorm's step counters, as checked above
        return model.eval()


def _counts(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(tuple(shape))


def find_weights(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Weights:
    """The weights that `name` stands for, fetched if need be.

    Args:
        name: a name in `WEIGHTS`; a folder with `config.json` and `model.safetensors`; or
            `owner/repo` or `owner/repo@revision` on the Hugging Face Hub.
        revision: branch, tag or commit on the Hub, instead of the record's.
        cache_dir: where the Hub's files are kept, instead of the usual cache.
        local_files_only: never reach for the network.
        token: for private repositories.

    Raises:
        WeightsError: there is no such thing, it cannot be fetched, or it is not what it should be.
    """
    text = str(name)
    record = WEIGHTS.get(text)
    if record is not None and revision is None and file_sha256(record.built_in / MODEL_FILE) == record.sha256:
        return _in_folder(record.built_in, record.name)
    if record is not None and revision is None and record.revision is None:
        raise WeightsError(f"{record.built_in}: the built-in weights are missing or damaged; reinstall handpose")
    if record is None and Path(text).is_dir():
        return _in_folder(Path(text), text)
    if record is None and Path(text).suffix.lower() in _PICKLES:
        raise WeightsError(
            f"{text}: not opened, since such files can run code; give a folder with {CONFIG_FILE} and {MODEL_FILE} "
            "(handpose convert makes one from the original TensorFlow checkpoint)"
        )
    if record is None and (Path(text).exists() or not _REPO.fullmatch(text)):
        raise WeightsError(
            f"{text}: no such weights; expected {' | '.join(WEIGHTS)}, a folder with {CONFIG_FILE} and {MODEL_FILE}, "
            "or owner/repo[@revision] on the Hugging Face Hub"
        )
    repo_id, _, pinned = (record.repo_id if record else text).partition("@")
    if pinned and revision:
        raise WeightsError(f"{text}: names revision {pinned}, and revision={revision} is given; drop one")
    chosen = revision or pinned or (record.revision if record else None)
    config_file, model_file = (
        fetch(
            repo_id,
            file,
            chosen,
            sha256=record.sha256 if record and not revision and file == MODEL_FILE else None,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        for file in (CONFIG_FILE, MODEL_FILE)
    )
    return Weights(record.name if record else text, _read_config(config_file), model_file)


def publish_weights(folder: Path, repo_id: str) -> tuple[str, str]:
    """Uploads a model folder to the Hub and returns what pins it there: the commit, and the model file's sha256.

    Args:
        folder: with `config.json`, `model.safetensors` and `README.md`, the model card. Nothing else is uploaded.
        repo_id: owner/repo, which is made if need be.

    Raises:
        WeightsError: the folder is no model that loads, has no card, or the Hub does not take it.
    """
    weights = _in_folder(folder, str(folder))
    weights.load()
    if not (folder / CARD_FILE).is_file():
        raise WeightsError(f"{folder}: no {CARD_FILE}; say there what the weights were trained on, and their licence")
    return publish(folder, (CONFIG_FILE, MODEL_FILE, CARD_FILE), repo_id), weights.sha256


def _in_folder(folder: Path, name: str) -> Weights:
    for file in (CONFIG_FILE, MODEL_FILE):
        if not (folder / file).is_file():
            raise WeightsError(f"{folder}: no {file}; a model folder holds {CONFIG_FILE} and {MODEL_FILE}")
    return Weights(name, _read_config(folder / CONFIG_FILE), folder / MODEL_FILE)


def _read_config(path: Path) -> JGRP2OConfig:
    try:
        with path.open("rb") as file:
            return JGRP2OConfig.from_dict(json.loads(file.read(SETTINGS)))
    except (WeightsError, ValueError, OSError, RecursionError) as error:
        raise WeightsError(f"{path}: {error}; copy the model folder again") from None


def file_sha256(path: Path) -> str:
    """The file's sha256, nothing if there is no file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
