"""Downloads files from the Hugging Face Hub and uploads files to it. No other module uses the network."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from handpose.errors import WeightsError

# huggingface_hub is imported inside functions, since importing it takes longer than the rest of `import handpose`. Its
# HTTP library, and therefore the exceptions that it raises, depend on its version.


def download_file(
    repo_id: str,
    file: str,
    revision: str | None,
    *,
    sha256: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Path:
    """Return the path of a file in the local cache, after downloading it if needed.

    A damaged copy in the cache is deleted and downloaded once more.

    Args:
        repo_id: Repository, `owner/name`.
        file: Name of the file in the repository.
        revision: Branch, tag or commit. With a commit, a cached file is used without contacting the Hub.
        sha256: Expected SHA-256 of the file (default: the hash that the Hub states).
        cache_dir: Folder for files (default: the cache of the Hub's client).
        local_files_only: Never use the network.
        token: Access token for private repositories.

    Raises:
        WeightsError: The file cannot be downloaded, or has another hash than expected.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # the client reads it when it is imported
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it prints two lines per retry; errors are raised
    source = f"{repo_id}@{revision}" if revision else repo_id
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
            if _hash_matches(path, sha256):
                return path
            for copy in (path.resolve(), path):  # a snapshot in the cache is a link to the content
                copy.unlink(missing_ok=True)
            damaged = "the copy in the cache was damaged and has been deleted; "
        except Exception as error:
            raise _error(error, f"{source}: cannot download {file}: {damaged}") from None
    mismatch = f"its sha256 is not {sha256}" if sha256 else "its hash is not the one that the Hub states"
    raise WeightsError(
        f"{source}: downloaded {file} twice, but {mismatch}; it was deleted. Use built-in weights or a folder"
    )


def download_optional_file(
    repo_id: str,
    file: str,
    revision: str | None,
    *,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | None = None,
) -> Path | None:
    """Return the same as `download_file`; None if the repository does not contain the file.

    It is also None if the file is not in the cache and the Hub cannot be reached.
    """
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repo_id, file, cache_dir=cache_dir, revision=revision)
    if cached is not None and not isinstance(cached, str):  # the cache states that the file does not exist
        return None
    try:
        return download_file(
            repo_id, file, revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
    except _MissingFileError:
        return None


class _MissingFileError(WeightsError):
    """The repository does not contain a file, or the file is not in the cache and the Hub cannot be reached."""


def _error(error: Exception, text: str) -> WeightsError:
    """Return the error to raise, given that of the Hub's client and the start of its message."""
    from huggingface_hub import errors as hub

    missing = isinstance(error, (hub.RemoteEntryNotFoundError, hub.LocalEntryNotFoundError))
    return (_MissingFileError if missing else WeightsError)(f"{text}{_reason(error)}")


def upload_files(folder: Path, files: Sequence[str], repo_id: str) -> str:
    """Upload files of a folder in one commit, and return the commit.

    Args:
        folder: Folder of the files.
        files: Names of the files.
        repo_id: Repository, `owner/name`; created if it does not exist.

    Raises:
        WeightsError: The Hub cannot be reached or rejects the files.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        api.create_repo(repo_id, exist_ok=True)
        operations = [CommitOperationAdd(file, folder / file) for file in files]
        return api.create_commit(repo_id, operations, commit_message="handpose model").oid
    except Exception as error:
        raise WeightsError(f"{repo_id}: cannot publish {folder}: {_reason(error)}") from None


def _hash_matches(path: Path, sha256: str | None) -> bool:
    """Return whether a cached file has the expected hash.

    The cache names its files after the Hub's ETag: the SHA-256 of large files, git's hash of small ones.
    """
    data, etag = path.read_bytes(), path.resolve().name
    if sha256 or len(etag) == 64:
        return hashlib.sha256(data).hexdigest() == (sha256 or etag)
    if len(etag) == 40:
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == etag
    return True  # without symbolic links, the cache has no hashes


def _reason(error: Exception) -> str:
    """Describe an error and how to fix it, in one line."""
    from huggingface_hub import errors as hub

    kinds: tuple[tuple[type[Exception], str], ...] = (
        (hub.GatedRepoError, "access must be granted first; ask on the repository's page, then set HF_TOKEN"),
        (
            hub.RepositoryNotFoundError,
            "no such repository or local folder, or the repository is private; check the name or set HF_TOKEN",
        ),
        (hub.RevisionNotFoundError, "no such revision; check it"),
        (hub.HFValidationError, "invalid name of a repository; expected owner/name"),
        (hub.RemoteEntryNotFoundError, "the repository has no such file; check whether it is a handpose model"),
    )
    for kind, reason in kinds:
        if isinstance(error, kind):
            return reason
    cause = error.__cause__ if isinstance(error, hub.LocalEntryNotFoundError) else error
    status = getattr(getattr(cause, "response", None), "status_code", 0)
    if status in (401, 403):
        return f"not allowed ({status}); set HF_TOKEN to a token with the required permissions"
    if status == 429:
        return "the Hub received too many requests from this address (429); wait a few minutes"
    if status >= 500:
        return f"the Hub has a problem ({status}); try again later"
    if isinstance(error, (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled)):
        return (
            "it is not in the cache and the Hub cannot be reached; run once with network access, or use built-in "
            "weights or a folder"
        )
    if isinstance(error, OSError) and error.errno:  # an error of the system, not of the Hub
        return f"the cache cannot be used ({error}); set HF_HOME to a writable folder with enough space"
    return f"{(str(error).strip() or type(error).__name__).splitlines()[0]}; try again later"
