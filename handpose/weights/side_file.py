"""Reads and writes the side head of a model folder, which is optional."""

from __future__ import annotations

import json

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.network.side_head import SideHead

SIDES_FILE = "sides.safetensors"
"""Name of the file, next to the weights."""

_SHA256 = "model_sha256"  # metadata entry: the hash of the weights that the head was trained for


def read_side_head(content: bytes, config: JGRP2OConfig, sha256: str) -> SideHead | None:
    """Return the side head in the content of a file; None if it was trained for other weights.

    Args:
        content: What `side_head_bytes` returned.
        config: Configuration of the network.
        sha256: SHA-256 of its weights.

    Raises:
        WeightsError: The content is not that of a side head of this network.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        if header.get("__metadata__", {}).get(_SHA256) != sha256:
            return None
        return SideHead.from_tensors(load(content), config)
    except (SafetensorError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise WeightsError(f"not a readable side head ({str(error)[:200]})") from None


def side_head_bytes(head: SideHead, sha256: str) -> bytes:
    """Return the content of the file of a side head, in float16.

    Args:
        head: The head.
        sha256: SHA-256 of the weights that it was trained for.
    """
    tensors = {name: np.asarray(tensor, np.float16, order="C") for name, tensor in head.to_tensors().items()}
    return save(tensors, {_SHA256: sha256})
