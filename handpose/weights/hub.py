"""The Hugging Face Hub: files from it, checked, and files to it. Nothing else in the package uses the network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from handpose.errors import WeightsError

# huggingface_hub is imported in functions: it takes longer than everything else that `import handpose` needs. Which
# library it speaks HTTP with, and so the exceptions that come through it, depend on its version.


def fetch(
    repo_id: str,
    file: str,
    revision: str | None,
    *,
    sha256: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Path:
    """A file of a repository, in the local cache. A damaged one there is deleted and fetched once more.

    Args:
        repo_id: owner/name.
        file: its name in the repository.
        revision: branch, tag or commit; with a commit, a file in the cache is used without asking the Hub.
        sha256: what the content must have; else it must have the hash that the Hub named.
        cache_dir: where files are kept, instead of the usual cache.
        local_files_only: never reach for the network.
        token: for private repositories.

    Raises:
        WeightsError: the file cannot be had, or is not what it should be.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # which the client looks at when it is imported
    from huggingface_hub import hf_hub_download

    at = f"{repo_id}@{revision}" if revision else repo_id
    damaged = ""
    for _ in range(2):
        try:
            path = Path(
                hf_hub_download(
                    repo_id,
                    file,
                    revision=revision,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
            if _is_what_it_should_be(path, sha256):
                return path
            for copy in (path.resolve(), path):  # a snapshot in the cache is a link to the content
                copy.unlink(missing_ok=True)
            damaged = "the copy in the cache was damaged and is deleted; "
        except Exception as error:
            raise WeightsError(f"{at}: cannot fetch {file}: {damaged}{_reason(error)}") from None
    wanted = f"sha256 is not {sha256}" if sha256 else "hash is not the one that the Hub names"
    raise WeightsError(
        f"{at}: fetched {file} twice and its {wanted}; nothing was kept, use built-in weights or a folder"
    )


def publish(folder: Path, files: Sequence[str], repo_id: str) -> str:
    """Uploads files of a folder in one commit, to a repository that is made if need be; returns the commit.

    Raises:
        WeightsError: the Hub did not take them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        api.create_repo(repo_id, exist_ok=True)
        operations = [CommitOperationAdd(file, folder / file) for file in files]
        return api.create_commit(repo_id, operations, commit_message="handpose model").oid
    except Exception as error:
        raise WeightsError(f"{repo_id}: cannot publish {folder}: {_reason(error)}") from None


def _is_what_it_should_be(path: Path, sha256: str | None) -> bool:
    """Whether a cached file has its hash.

    The cache names contents by the Hub's ETag: sha256 for large files, git's hash for small ones.
    """
    data, named = path.read_bytes(), path.resolve().name
    if sha256 or len(named) == 64:
        return hashlib.sha256(data).hexdigest() == (sha256 or named)
    if len(named) == 40:
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == named
    return True  # a cache without links has no hashes


def _reason(error: Exception) -> str:
    """What went wrong and what to do, one line."""
    from huggingface_hub import errors as hub

    kinds: tuple[tuple[type[Exception], str], ...] = (
        (hub.GatedRepoError, "access must be granted first; ask on the repository's page, then set HF_TOKEN"),
        (
            hub.RepositoryNotFoundError,
            "no such repository (nor a folder here), or a private one; check the name or set HF_TOKEN",
        ),
        (hub.RevisionNotFoundError, "no such revision; check it"),
        (hub.HFValidationError, "not what a repository can be called; expected owner/name"),
        (hub.RemoteEntryNotFoundError, "no such file there; check whether it is a handpose model"),
    )
    for kind, reason in kinds:
        if isinstance(error, kind):
            return reason
    cause = error.__cause__ if isinstance(error, hub.LocalEntryNotFoundError) else error
    status = getattr(getattr(cause, "response", None), "status_code", 0)
    if status in (401, 403):
        return f"not allowed ({status}); set HF_TOKEN to a token that may do this"
    if status == 429:
        return "the Hub had too many requests from here (429); wait some minutes"
    if status >= 500:
        return f"the Hub has a problem ({status}); try again later"
    if isinstance(error, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled)):
        return (
            "it is not in the cache and the Hub cannot be reached; run once with a network, or use built-in weights "
            "or a folder"
        )
    if isinstance(error, OSError) and error.errno:  # of the system, not of the Hub
        return f"the cache cannot be used ({error}); set HF_HOME to a folder that can be written and has room"
    return f"{(str(error).strip() or type(error).__name__).splitlines()[0]}; try again later"
