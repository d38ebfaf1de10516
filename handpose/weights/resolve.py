"""Finds weights by name, in a folder or on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from handpose.errors import WeightsError, brief
from handpose.io.arguments import check_kind
from handpose.io.warn import warn
from handpose.weights.folder import CONFIG_FILE, MODEL_FILE, Weights, file_sha256, read_config, read_folder
from handpose.weights.heads_file import HEADS_FILE
from handpose.weights.hub import download_file, download_optional_file
from handpose.weights.registry import WEIGHTS

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".tar", ".h5")
_MAX_CHARS = 1024
_REPO = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def model_argument(folder: Path) -> str:
    """Return the text for `find_weights` that stands for a model folder, even if built-in weights have its name."""
    return f"./{folder}" if str(folder) in WEIGHTS else str(folder)


def reject_revision(path: Path, revision: str | None) -> None:
    """Check that no revision is passed for a file or a folder, which would be used in any revision.

    Raises:
        WeightsError: There is a revision.
    """
    if revision is not None:
        raise WeightsError(f"{path}: only weights on the Hub have revisions; omit revision={brief(revision)}")


def find_weights(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Weights:
    """Find weights, and download them if they are on the Hub and not in its cache.

    Args:
        name: A name in `WEIGHTS`, a model folder, or `owner/repo` or `owner/repo@revision` on the Hub. If a model
            folder has the name of built-in weights, a path is the folder, and a text is the name.
        revision: Branch, tag or commit on the Hub (default: the pinned commit of the record).
        cache_dir: Folder for files from the Hub (default: the cache of the Hub's client).
        local_files_only: Never use the network.
        token: Access token for private repositories.

    Raises:
        WeightsError: The weights do not exist, cannot be downloaded, or have another hash than expected.

    Warns:
        UserWarning: A model folder has the name of the built-in weights that are used.
    """
    text = str(name)
    if text in WEIGHTS and (Path(text) / CONFIG_FILE).is_file():
        if isinstance(name, Path):
            reject_revision(name, revision)
            return read_folder(name, text)
        warn(
            f"{text}: is the name of built-in weights, which are used, and of a model folder; pass "
            f"{model_argument(Path(text))} for the folder"
        )
    if revision is not None:
        check_kind("revision", revision, str, "a branch, a tag or a commit")
    record = WEIGHTS.get(text)
    if record is not None and revision is None and file_sha256(record.built_in / MODEL_FILE) == record.sha256:
        return read_folder(record.built_in, record.name)
    if record is not None and revision is None and record.revision is None:
        raise WeightsError(f"{record.built_in}: the built-in weights are missing or damaged; reinstall handpose")
    if record is None and len(text) > _MAX_CHARS:  # which no file system supports
        raise WeightsError(f"{brief(text)}: no such weights; the text has {len(text)} characters")
    if record is None and Path(text).is_dir():
        reject_revision(Path(text), revision)
        return read_folder(Path(text), text)
    if record is None and Path(text).suffix.lower() in _PICKLES:
        raise WeightsError(
            f"{text}: not opened, since such files can run code; pass a folder with {CONFIG_FILE} and {MODEL_FILE} "
            "(handpose convert writes one from the original TensorFlow checkpoint)"
        )
    if record is None and (Path(text).exists() or not _REPO.fullmatch(text)):
        raise WeightsError(
            f"{text}: no such weights; expected {' | '.join(WEIGHTS)}, a folder with {CONFIG_FILE} and {MODEL_FILE}, "
            "or owner/repo[@revision] on the Hugging Face Hub"
        )
    repo_id, _, pinned = (record.repo_id if record else text).partition("@")
    if pinned and revision:
        raise WeightsError(f"{text}: contains revision {pinned}, but revision={revision} is passed as well; drop one")
    chosen = revision or pinned or (record.revision if record else None)
    config_file, model_file = (
        download_file(
            repo_id,
            file,
            chosen,
            sha256=record.sha256 if record and not revision and file == MODEL_FILE else None,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        for file in (CONFIG_FILE, MODEL_FILE)
    )
    # The Hub's cache keeps the files of a revision in one folder, where `Weights` finds this one.
    download_optional_file(
        repo_id, HEADS_FILE, chosen, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    )
    return Weights(record.name if record else text, read_config(config_file), model_file)
