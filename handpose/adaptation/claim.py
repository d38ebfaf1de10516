"""The inputs of a run, which must be the same when it is resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from handpose.datasets.dataset import HandDataset
from handpose.datasets.records import RecordDataset
from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.outputs import writing
from handpose.io.resumable import lock_output
from handpose.io.text import MAX_SETTINGS_BYTES, read_text
from handpose.training.checkpoint import CHECKPOINT_FILE, check_settings
from handpose.weights.folder import file_sha256

_INPUTS_FILE = "inputs.json"

_FINGERPRINTS = {
    "start": "initial weights",
    "files": "names of images",
    "content": "content of images",
    "images": "content of images",
    "labels": "labels",
    "records": "records",
    "cubes": "cubes",
    "center_values": "hand centers",
}
"""Names of the inputs that are stored as fingerprints, which say nothing to the user, and what they identify."""


def claim(run: Path, inputs: Mapping[str, Any]) -> None:
    """Record the inputs of a run, and reject resuming it with other inputs.

    Args:
        run: Folder of the run, which is created.
        inputs: Everything that determines the result except for the training settings, as JSON types.

    Raises:
        HandPoseError: The run was started with other inputs.
    """
    file = run / _INPUTS_FILE
    if file.is_file():
        stored, given = json.loads(read_text(file, MAX_SETTINGS_BYTES)), dict(inputs)
        changed = [what for name, what in _FINGERPRINTS.items() if stored.pop(name, None) != given.pop(name, None)]
        check_settings(run, stored, given)
        if changed:
            raise HandPoseError(
                f"{run}: contains a training run with other {' and '.join(changed)}; choose another folder, or use "
                "the original ones"
            )
        return
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(inputs).encode())


@contextlib.contextmanager
def claimed(run: Path, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Claim a run for this process during this block; see `claim`.

    Raises:
        HandPoseError: Another process continues the run, it was started with other inputs, or `run` is a file or cannot
            be created.
    """
    if run.is_file():
        raise HandPoseError(f"{run}: is a file; expected a folder for the training run")
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
    with lock_output(run / CHECKPOINT_FILE):
        claim(run, inputs)
        yield


def frames_of(dataset: HandDataset) -> dict[str, Any]:
    """Return what determines the crops of a data set besides the content of its images, as JSON types."""
    labels = dataset.uvz if isinstance(dataset, RecordDataset) else dataset.xyz
    inputs = {
        "frames": len(dataset),
        "usable": len(dataset.usable),
        "labels": digest(*dataset.files, labels.tobytes()),
        "centers": dataset.centers,
        "cubes": digest(dataset.cubes.tobytes()),
    }
    if isinstance(dataset, RecordDataset):  # cameras, units, hands, centers and sequences
        inputs["records"] = file_sha256(dataset.path)[:16]
    elif dataset.known_centers is not None:
        inputs["center_values"] = digest(dataset.known_centers.tobytes())
    return inputs


def digest(*parts: str | bytes) -> str:
    """Return a short fingerprint of texts and bytes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()[:16]
