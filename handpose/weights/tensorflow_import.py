"""The original authors' TensorFlow checkpoints as model folders."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.weights.folder import CONFIG_FILE, MODEL_FILE
from handpose.weights.tensorflow_bundle import read_variables

# The original decodes u and v with 96 px although it trains with 95; its weights must be read its way.
_ORIGINAL_UV_SCALE = 96.0
_ORIGINAL_CUBE = {"icvl": 250.0, "nyu": 250.0, "msra": 175.0}
_NOT_WEIGHTS = {"edge"}  # a constant of the original graph that no output depends on


def _residual(name: str, *, projects: bool = False) -> Iterator[tuple[str, str]]:
    for layer in range(3):
        yield from _conv_bn(f"{name}.branch.{layer}")
    if projects:
        yield from _conv_bn(f"{name}.shortcut")


def _conv_bn(name: str) -> Iterator[tuple[str, str]]:
    yield "conv2d", f"{name}.0"
    yield "batch_normalization", f"{name}.1"


def _hourglass(name: str, depth: int) -> Iterator[tuple[str, str]]:
    yield from _residual(f"{name}.upper")
    yield from _residual(f"{name}.lower1")
    if depth > 1:
        yield from _hourglass(f"{name}.inner", depth - 1)
    yield from _residual(f"{name}.lower3")


def _layers(stacks: int) -> Iterator[tuple[str, str]]:
    """(kind, our name) of every layer, in the order in which the original graph creates and so numbers them."""
    yield "conv2d", "stem.conv"
    yield "batch_normalization", "stem.bn"
    yield from _residual("stem.residual1", projects=True)
    yield from _residual("stem.residual2")
    yield from _residual("stem.residual3", projects=True)
    for stack in range(stacks):
        yield from _hourglass(f"hourglasses.{stack}", 3)
        yield from _residual(f"residuals.{stack}")
        yield "conv2d", f"reasonings.{stack}.vote"
        yield from _conv_bn(f"reasonings.{stack}.embed")
        yield "dense", f"reasonings.{stack}.propagate"
        yield from _conv_bn(f"reasonings.{stack}.context")
        yield from _conv_bn(f"reasonings.{stack}.fuse")
        for axis in "uvz":
            yield "conv2d", f"heads.{stack}.offsets.{axis}"
        if stack + 1 < stacks:
            yield from _conv_bn(f"from_offsets.{stack}")
            yield from _conv_bn(f"from_features.{stack}")


_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def variable_names(stacks: int = 2) -> dict[str, str]:
    """For every TensorFlow variable the tensor of ours that it becomes.

    Layers are matched by their number, never by their place in the file, which sorts `conv2d_10` before
    `conv2d_2`. Offset kernels come as three, `...offsets.u`, `.v` and `.z`.
    """
    numbers = {"conv2d": 0, "batch_normalization": 0, "dense": 0}
    names: dict[str, str] = {}
    for kind, ours in _layers(stacks):
        layer = f"{kind}_{numbers[kind]}" if numbers[kind] else kind
        numbers[kind] += 1
        if kind == "batch_normalization":
            names |= {f"{layer}/{theirs}": f"{ours}.{our}" for theirs, our in _BATCH_NORM.items()}
        else:
            names[f"{layer}/kernel"] = f"{ours}.weight"
        if ours.endswith(".vote"):
            names[f"{layer}/bias"] = f"{ours}.bias"
    return names


def state_dict(variables: dict[str, np.ndarray], layout: str) -> dict[str, np.ndarray]:
    """Our tensors from the variables of a checkpoint of the original network.

    Raises:
        WeightsError: a variable is missing, unknown, or shaped for another layout.
    """
    joints = len(JGRP2OConfig(layout).joint_layout)
    names = variable_names()
    wrong = sorted((names.keys() ^ variables.keys()) - _NOT_WEIGHTS)
    if wrong:
        raise WeightsError(
            f"not the original JGR-P2O checkpoint: {len(wrong)} variables are missing or unknown, first "
            f"{wrong[0]!r:.100}"
        )
    vote = next(theirs for theirs, ours in names.items() if ours == "reasonings.0.vote.bias")
    if variables[vote].shape != (joints,):
        raise WeightsError(
            f"the checkpoint predicts {variables[vote].size} joints, layout {layout} has {joints}; "
            "give the layout it was trained for"
        )
    tensors = {}
    for theirs, ours in names.items():
        value = variables[theirs]
        if theirs.endswith("/kernel"):  # (height, width, in, out) or (in, out) to (out, in, height, width)
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        tensors[ours] = value
    for stack in range(2):
        maps = [tensors.pop(f"heads.{stack}.offsets.{axis}.weight") for axis in "uvz"]
        if len({each.shape for each in maps}) > 1 or maps[0].ndim != 4:
            raise WeightsError(f"the checkpoint's offset kernels have unlike shapes {[each.shape for each in maps]}")
        tensors[f"heads.{stack}.offsets.weight"] = np.concatenate(maps)
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def convert(prefix: str | Path, out: str | Path, layout: str) -> None:
    """Writes a model folder from an original checkpoint; on any error nothing is left behind.

    Args:
        prefix: the checkpoint's path without `.index` / `.data-00000-of-00001`.
        out: the folder to make; must not exist.
        layout: what it was trained for, `nyu`, `icvl` or `msra`.

    Raises:
        WeightsError: `out` exists, or the checkpoint is damaged, foreign or of another layout.
    """
    out = Path(out)
    if out.exists():
        raise WeightsError(f"{out}: is there already; give a new folder")
    config = JGRP2OConfig(layout, cube=_ORIGINAL_CUBE.get(layout, 250.0), uv_scale=_ORIGINAL_UV_SCALE)
    tensors = state_dict(read_variables(prefix), layout)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=out.parent))
    except OSError as error:
        raise WeightsError(f"{out}: cannot be written ({error})") from None
    try:
        save_file(tensors, part / MODEL_FILE)
        (part / CONFIG_FILE).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
        part.chmod(0o755)
        (part / MODEL_FILE).chmod(0o644)
        part.rename(out)
    except OSError as error:
        raise WeightsError(f"{out}: cannot be written ({error})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
