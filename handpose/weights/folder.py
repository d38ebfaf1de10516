"""Reads and writes model folders, which contain `config.json` and `model.safetensors`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from handpose.errors import WeightsError
from handpose.io.atomic import write_atomically
from handpose.io.outputs import refuse_existing, writing
from handpose.io.text import MAX_SETTINGS_BYTES
from handpose.io.warn import warn
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import Heads
from handpose.weights.heads_file import HEADS_FILE, read_heads

if TYPE_CHECKING:
    from handpose.network.model import JGRP2O

MODEL_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
_MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class Weights:
    """Weights on disk that are not loaded yet.

    Attributes:
        name: Name of the weights.
        config: Configuration of the network.
        model_file: Path of `model.safetensors`.
    """

    name: str
    config: JGRP2OConfig
    model_file: Path

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file."""
        return file_sha256(self.model_file)

    def save(self, folder: Path, *, force: bool = False) -> None:
        """Write the weights to a model folder, as `write_folder` does, with their model card and their heads.

        Raises:
            HandPoseError: The folder contains a model.
            WeightsError: The folder cannot be written.
        """
        with writing(folder, WeightsError):
            model = self.model_file.read_bytes()
            others = {
                name: file.read_bytes()
                for name in (CARD_FILE, HEADS_FILE)
                if (file := self.model_file.with_name(name)).is_file()
            }
            _write_model(folder, self.config, model, force=force)
            for name, content in others.items():
                write_atomically(folder / name, content)

    def heads(self) -> Heads | None:
        """Return the heads of these weights; None if there are none, or only those of other weights.

        Raises:
            WeightsError: The file is damaged.

        Warns:
            UserWarning: The heads are those of other weights.
        """
        file = self.model_file.with_name(HEADS_FILE)
        if not file.is_file():
            return None
        try:
            heads = read_heads(file.read_bytes(), self.config, self.sha256)
        except (OSError, WeightsError) as error:
            raise WeightsError(f"{file}: {error}; copy the model folder again, or delete this file") from None
        if heads is None:
            warn(f"{file}: these heads belong to other weights, and are not used; make new ones with train-heads")
        return heads

    def load(self) -> JGRP2O:
        """Load the network with these weights, in inference mode.

        Raises:
            WeightsError: The file is damaged, or its tensors do not match the network exactly.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from handpose.network.model import JGRP2O

        with torch.device("meta"):  # computes only shapes, so that a wrong configuration cannot allocate memory
            expected = {
                key: value.shape
                for key, value in JGRP2O(self.config).state_dict().items()
                if not _is_batch_counter(key)
            }
        max_bytes = 8 * sum(shape.numel() for shape in expected.values()) + _MAX_HEADER_BYTES
        try:
            if (size := self.model_file.stat().st_size) > max_bytes:
                raise WeightsError(
                    f"{self.model_file}: {size} bytes do not fit the {self.config.layout} network of {CONFIG_FILE}, "
                    f"which has at most {max_bytes}"
                )
            stored = load_file(self.model_file)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{self.model_file}: not a readable safetensors file ({str(error)[:200]})") from None
        tensors = {key: value for key, value in stored.items() if not _is_batch_counter(key)}
        shapes = {key: value.shape for key, value in tensors.items()}
        if shapes != expected:
            wrong = sorted(key for key in expected.keys() | shapes.keys() if expected.get(key) != shapes.get(key))
            key = wrong[0]
            raise WeightsError(
                f"{self.model_file}: {len(wrong)} tensors do not fit the {self.config.layout} network, first "
                f"{key!r:.100}: expected {_shape(expected.get(key))}, got {_shape(shapes.get(key))}"
            )
        for key, value in tensors.items():
            if value.dtype not in (torch.float16, torch.float32, torch.float64):
                raise WeightsError(f"{self.model_file}: {key} is {value.dtype}, expected float16 or float32")
            if not torch.isfinite(value.float()).all():
                raise WeightsError(f"{self.model_file}: {key} contains NaN or infinite values")
            if key.endswith("running_var") and (value < 0).any():
                raise WeightsError(f"{self.model_file}: {key} contains variances below 0")
        model = JGRP2O(self.config)
        model.load_state_dict(tensors, strict=False)  # only BatchNorm's batch counters are missing, as checked above
        return model.eval()


def _is_batch_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(tuple(shape))


def read_folder(folder: Path, name: str) -> Weights:
    """Read a model folder.

    Args:
        folder: Model folder.
        name: Name of the weights.

    Raises:
        WeightsError: A file is missing, or the configuration is invalid.
    """
    for file in (CONFIG_FILE, MODEL_FILE):
        if not (folder / file).is_file():
            raise WeightsError(f"{folder}: no {file}; a model folder contains {CONFIG_FILE} and {MODEL_FILE}")
    return Weights(name, read_config(folder / CONFIG_FILE), folder / MODEL_FILE)


def read_config(path: Path) -> JGRP2OConfig:
    """Read a model configuration.

    Raises:
        WeightsError: The file cannot be read or is invalid.
    """
    try:
        with path.open("rb") as file:
            return JGRP2OConfig.from_dict(json.loads(file.read(MAX_SETTINGS_BYTES)))
    except (WeightsError, ValueError, OSError, RecursionError) as error:
        raise WeightsError(f"{path}: {error}; copy the model folder again") from None


def has_weights(folder: Path, config: JGRP2OConfig, tensors: Mapping[str, np.ndarray]) -> bool:
    """Return whether a model folder has exactly these weights, with or without a calibration."""
    if not ((folder / CONFIG_FILE).is_file() and (folder / MODEL_FILE).is_file()):
        return False
    stored, given = (replace(each, calibration=None) for each in (read_config(folder / CONFIG_FILE), config))
    return stored == given and (folder / MODEL_FILE).read_bytes() == save(dict(tensors))


def write_folder(folder: Path, config: JGRP2OConfig, tensors: Mapping[str, np.ndarray], *, force: bool = False) -> None:
    """Write a model folder. A model in an existing folder is replaced only with `force`.

    The model card and the heads of a replaced model are deleted, because they belong to other weights; other files are
    kept.

    The configuration and the tensors always belong together: if writing is interrupted, the folder is unchanged, absent
    or incomplete.

    Raises:
        HandPoseError: The folder contains a model.
        WeightsError: The folder cannot be written.
    """
    _write_model(folder, config, save(dict(tensors)), force=force)


def _write_model(folder: Path, config: JGRP2OConfig, model: bytes, *, force: bool) -> None:
    """Write a model folder, given the content of its model file."""
    refuse_existing(folder / CONFIG_FILE, force=force)
    partial = None
    try:
        with writing(folder, WeightsError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
            write_atomically(partial / MODEL_FILE, model)
            write_config(partial, config)
            if folder.exists():
                if (folder / CONFIG_FILE).is_file():
                    (folder / CONFIG_FILE).unlink()  # invalidates the folder until both files are replaced
                    for name in (CARD_FILE, HEADS_FILE):
                        (folder / name).unlink(missing_ok=True)
                for file in (MODEL_FILE, CONFIG_FILE):
                    (partial / file).replace(folder / file)
            else:
                partial.chmod(0o755)
                partial.rename(folder)
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def write_card(folder: Path, title: str, text: str) -> None:
    """Write the model card of new weights, whose license only their authors can state."""
    card = f"""---
library_name: handpose
pipeline_tag: keypoint-detection
---

# {title}

{text.strip()}

Before these weights can be published, this card must state their license in its first lines.
"""
    write_atomically(folder / CARD_FILE, card.encode())


def write_config(folder: Path, config: JGRP2OConfig) -> None:
    """Replace the configuration of a model folder atomically.

    Raises:
        WeightsError: The file cannot be written; the old one is unchanged.
    """
    with writing(folder / CONFIG_FILE, WeightsError):
        write_atomically(folder / CONFIG_FILE, (json.dumps(config.to_dict(), indent=2) + "\n").encode())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or an empty string if the file does not exist."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
