"""Converts the TensorFlow checkpoints of the original authors to model folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from handpose.errors import WeightsError
from handpose.io.outputs import refuse_existing
from handpose.network.config import JGRP2OConfig
from handpose.weights.folder import write_folder
from handpose.weights.tensorflow_bundle import read_variables

# The original code decodes u and v with 96 px although it trains with 95, so its weights need this scale.
_ORIGINAL_UV_SCALE = 96.0
_ORIGINAL_CUBE = {"icvl": 250.0, "nyu": 250.0, "msra": 175.0}
_UNUSED = {"edge"}  # a constant that no output of the original graph depends on


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
    """Yield the kind and our name of every layer, in the order in which the original graph creates and numbers them."""
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
    """Map the name of each TensorFlow variable to the name of our tensor.

    Layers are matched by their numbers instead of their order in the file, where `conv2d_10` precedes `conv2d_2`. The
    offset kernels are three tensors: `...offsets.u`, `.v` and `.z`.
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
    """Convert the variables of an original checkpoint to our tensors.

    Args:
        variables: Variables by name.
        layout: Name of the joint layout that the checkpoint predicts.

    Raises:
        WeightsError: A variable is missing or unknown, or has the shape of another layout.
    """
    joints = len(JGRP2OConfig(layout).joint_layout)
    names = variable_names()
    wrong = sorted((names.keys() ^ variables.keys()) - _UNUSED)
    if wrong:
        raise WeightsError(
            f"not an original JGR-P2O checkpoint: {len(wrong)} variables are missing or unknown, first "
            f"{wrong[0]!r:.100}"
        )
    vote = next(theirs for theirs, ours in names.items() if ours == "reasonings.0.vote.bias")
    if variables[vote].shape != (joints,):
        raise WeightsError(
            f"the checkpoint predicts {variables[vote].size} joints, layout {layout} has {joints}; "
            "pass the layout that it was trained for"
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
            raise WeightsError(f"the checkpoint's offset kernels have different shapes {[each.shape for each in maps]}")
        tensors[f"heads.{stack}.offsets.weight"] = np.concatenate(maps)
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def convert(prefix: str | Path, out: str | Path, layout: str, *, force: bool = False) -> None:
    """Write an original checkpoint as a model folder.

    Args:
        prefix: Path of the checkpoint without `.index` or `.data-00000-of-00001`.
        out: Model folder to create.
        layout: Name of the joint layout that the checkpoint was trained for: `nyu`, `icvl` or `msra`.
        force: Whether a model in an existing folder may be replaced.

    Raises:
        HandPoseError: `out` exists.
        WeightsError: `out` cannot be written, or the checkpoint is damaged, has another layout, or belongs to another
            network.
    """
    out = Path(out)
    refuse_existing(out, force=force)
    config = JGRP2OConfig(layout, cube=_ORIGINAL_CUBE.get(layout, 250.0), uv_scale=_ORIGINAL_UV_SCALE)
    write_folder(out, config, state_dict(read_variables(prefix), layout), force=force)
