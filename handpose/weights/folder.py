"""Model folders: `config.json` and `model.safetensors`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handpose.errors import WeightsError
from handpose.io.text import SETTINGS
from handpose.network.config import JGRP2OConfig

if TYPE_CHECKING:
    from handpose.network.model import JGRP2O

MODEL_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
_LARGEST_HEADER = 1 << 20


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


def read_folder(folder: Path, name: str) -> Weights:
    """The weights in a model folder."""
    for file in (CONFIG_FILE, MODEL_FILE):
        if not (folder / file).is_file():
            raise WeightsError(f"{folder}: no {file}; a model folder holds {CONFIG_FILE} and {MODEL_FILE}")
    return Weights(name, read_config(folder / CONFIG_FILE), folder / MODEL_FILE)


def read_config(path: Path) -> JGRP2OConfig:
    """The model configuration in a file."""
    try:
        with path.open("rb") as file:
            return JGRP2OConfig.from_dict(json.loads(file.read(SETTINGS)))
    except (WeightsError, ValueError, OSError, RecursionError) as error:
        raise WeightsError(f"{path}: {error}; copy the model folder again") from None


def file_sha256(path: Path) -> str:
    """The file's sha256, nothing if there is no file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
