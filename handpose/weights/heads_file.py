"""Reads and writes the heads of a model folder, which are optional."""

from __future__ import annotations

import json

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from handpose.errors import WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.network.heads import Heads

HEADS_FILE = "heads.safetensors"
"""Name of the file, next to the weights."""

_SHA256 = "model_sha256"  # metadata entry: the hash of the weights that the heads were trained for


def read_heads(content: bytes, config: JGRP2OConfig, sha256: str) -> Heads | None:
    """Return the heads in the content of a file; None if they were trained for other weights.

    Args:
        content: What `heads_bytes` returned.
        config: Configuration of the network.
        sha256: SHA-256 of its weights.

    Raises:
        WeightsError: The content is not that of the heads of this network.
    """
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        if header.get("__metadata__", {}).get(_SHA256) != sha256:
            return None
        return Heads.from_tensors(load(content), config)
    except (SafetensorError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise WeightsError(f"not readable heads ({str(error)[:200]})") from None


def heads_bytes(heads: Heads, sha256: str) -> bytes:
    """Return the content of the file of heads, in float16.

    Args:
        heads: The heads.
        sha256: SHA-256 of the weights that they were trained for.
    """
    tensors = {name: np.asarray(tensor, np.float16, order="C") for name, tensor in heads.to_tensors().items()}
    return save(tensors, {_SHA256: sha256})
