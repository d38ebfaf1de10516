"""A training's checkpoint: one file that is replaced as a whole, so that all its parts are of the same step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically

CHECKPOINT_FILE = "checkpoint.safetensors"

_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(folder: Path, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Replaces the folder's checkpoint.

    Args:
        folder: of the training.
        parts: tensors by name, by part.
        state: everything else, as JSON's types.

    Raises:
        OSError: it cannot be written; the old checkpoint is as it was.
    """
    tensors = {f"{part}/{name}": tensor.contiguous() for part, named in parts.items() for name, tensor in named.items()}
    write_atomically(folder / CHECKPOINT_FILE, save(tensors, {"state": json.dumps(state)}))


def load_state(folder: Path) -> dict[str, Any] | None:
    """The checkpoint's state, nothing if the folder has no checkpoint.

    Raises:
        HandPoseError: the checkpoint is damaged.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            state: dict[str, Any] = json.loads(file.metadata()["state"])
            return state
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise HandPoseError(f"{path}: is damaged ({str(error)[:200]}); delete it to start again") from None


def load_part(folder: Path, part: str, device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of one part, by name; of a checkpoint that has a state."""
    with safe_open(folder / CHECKPOINT_FILE, "pt", device=device) as file:
        names = [name for name in file.keys() if name.startswith(f"{part}/")]  # noqa: SIM118 - it is no mapping
        return {name.partition("/")[2]: file.get_tensor(name) for name in names}


def check_settings(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses to go on with a training under other settings than it was begun with.

    Args:
        folder: of the training.
        held: settings in its checkpoint.
        wanted: today's.

    Raises:
        HandPoseError: some differ; the message names them all.
    """
    wanted = json.loads(json.dumps(wanted))  # as it reads back: tuples are lists
    different = [name for name in dict.fromkeys([*wanted, *held]) if held.get(name) != wanted.get(name)]
    if different:
        old, new = (", ".join(f"{name} {settings.get(name)!r}" for name in different) for settings in (held, wanted))
        raise HandPoseError(
            f"{folder}: holds a training with {old}, asked for {new}; choose another folder or the same settings"
        )


def adam_moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What Adam remembers of each parameter, besides the number of steps."""
    return {
        f"{moment}.{name}": optimiser.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in _MOMENTS
    }


def restore_adam(model: nn.Module, optimiser: torch.optim.Optimizer, moments: Mapping[str, Tensor], steps: int) -> None:
    """Makes Adam remember `moments` after `steps` steps."""
    for name, parameter in model.named_parameters():
        optimiser.state[parameter] = {"step": torch.tensor(float(steps))} | {
            moment: moments[f"{moment}.{name}"] for moment in _MOMENTS
        }
