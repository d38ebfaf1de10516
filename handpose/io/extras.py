"""The optional dependencies, and the check that they are installed."""

from __future__ import annotations

import importlib.util
from typing import Literal

from handpose.errors import HandPoseError

Extra = Literal["train", "tensorboard", "plot", "onnx", "openvino", "table", "view", "demo", "ray", "ros"]
_MODULES: dict[Extra, tuple[str, ...]] = {
    "train": ("anny",),
    "tensorboard": ("tensorboard",),
    "plot": ("matplotlib",),
    "onnx": ("onnxruntime", "onnx", "onnxscript"),
    "openvino": ("openvino",),
    "table": ("pyarrow",),
    "view": ("rerun",),
    "demo": ("gradio",),
    "ray": ("ray", "pyarrow"),
    "ros": ("rosbags",),
}


def require_extra(extra: Extra, what: str) -> None:
    """Check that the packages of an extra are installed, before any work is done.

    Args:
        extra: Name of the extra in pyproject.toml.
        what: What requires the extra; the subject of the error message.

    Raises:
        HandPoseError: A package is not installed.
    """
    missing = [name for name in _MODULES[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise HandPoseError(f"{what} requires {' and '.join(missing)}: pip install 'handpose[{extra}]'")
