"""The checkpoint of a training run: a single file, replaced atomically, so all its parts belong to the same step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically

CHECKPOINT_FILE = "checkpoint.safetensors"


def save_checkpoint(run: Path, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint of a run.

    Args:
        run: Folder of the run.
        parts: Tensors by name, by part.
        state: All other values, as JSON types.

    Raises:
        OSError: The checkpoint cannot be written; the old one is unchanged.
    """
    tensors = {f"{part}/{name}": tensor.contiguous() for part, named in parts.items() for name, tensor in named.items()}
    write_atomically(run / CHECKPOINT_FILE, save(tensors, {"state": json.dumps(state)}))


def load_state(run: Path) -> dict[str, Any] | None:
    """Return the state in the checkpoint of a run, or None if the run has no checkpoint.

    Raises:
        HandPoseError: The checkpoint is damaged.
    """
    path = run / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
            return state
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise HandPoseError(f"{path}: is damaged ({str(error)[:200]}); delete it to start over") from None


def load_part(run: Path, part: str) -> dict[str, Tensor]:
    """Return the tensors of one part of an existing checkpoint, by name."""
    with safe_open(run / CHECKPOINT_FILE, "pt") as file:
        names = [name for name in file.keys() if name.startswith(f"{part}/")]  # noqa: SIM118 - it is not a mapping
        return {name.partition("/")[2]: file.get_tensor(name) for name in names}


def check_settings(run: Path, stored: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Reject resuming a run with other settings than those that it was started with.

    Args:
        run: Folder of the run.
        stored: Settings in the checkpoint.
        current: Settings of this call.

    Raises:
        HandPoseError: Some settings differ; the message lists them.
    """
    current = json.loads(json.dumps(current))  # as JSON returns them: tuples become lists
    different = [name for name in dict.fromkeys([*current, *stored]) if stored.get(name) != current.get(name)]
    if different:
        old, new = (", ".join(f"{name} {settings.get(name)!r}" for name in different) for settings in (stored, current))
        raise HandPoseError(
            f"{run}: contains a training run with {old}, not {new}; choose another folder or the same settings"
        )
