"""A loopback server that speaks the Hub's HTTP API, with all that can go wrong there: for the real client."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LARGE = ".safetensors"  # what is stored by LFS: named by its sha256, and fetched from another address


class HubServer(http.server.ThreadingHTTPServer):
    """Repositories in memory. What an owner's repositories suffer from is in `faults`.

    Attributes:
        repositories: by owner/name, their commits in order: id and files.
        faults: by owner: a status that is answered, (status, times), or how contents come: `cut` in the middle the
            first time, `always cut`, `stalled` in the middle the first time, `wrong`.
        requests: paths asked for, with the method.
        tokens: that may write, and read what is private.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.faults: dict[str, object] = {}
        self.requests: list[str] = []
        self.tokens = {"secret"}
        self.uploads: dict[str, bytes] = {}
        self.suffered: Counter[str] = Counter()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Adds a commit with these files over those of the one before; returns its id."""
        commits = self.repositories.setdefault(repo, [])
        files = (commits[-1][1] if commits else {}) | files
        digest = hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(files.items())))
        commits.append((digest.hexdigest(), files))
        return commits[-1][0]

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The environment of a process that uses this server, with its cache in `home`."""
        mine = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        return os.environ | mine | {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more


@contextlib.contextmanager
def serving() -> Iterator[HubServer]:
    server = HubServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def etag(name: str, data: bytes) -> str:
    """The hash that the Hub names a content by: of LFS, or git's own."""
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self.route()

    do_GET = do_POST = do_PUT = do_HEAD  # noqa: N815

    def route(self) -> None:
        path = self.path.split("?")[0]
        self.server.requests.append(f"{self.command} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match path.strip("/").split("/"):
            case ["api", "repos", "create"]:
                self.create(json.loads(self.body))
            case ["api", "validate-yaml"]:
                self.answer_json({"errors": [], "warnings": []})
            case ["api", "models", owner, name, "preupload", _]:
                self.preupload(f"{owner}/{name}")
            case ["api", "models", owner, name, "commit", _]:
                self.commit(f"{owner}/{name}")
            case [owner, name, "info", "lfs", "objects", "batch"]:
                self.batch(f"{owner}/{name.removesuffix('.git')}")
            case ["lfs", oid]:
                self.server.uploads[oid] = self.body
                self.answer(200)
            case [owner, name, "resolve", revision, file]:
                self.resolve(owner, f"{owner}/{name}", revision, file)
            case ["cdn", owner, name, revision, file]:
                self.content(owner, dict(self.server.repositories[f"{owner}/{name}"])[revision][file])
            case _:
                self.answer(404)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def may_write(self) -> bool:
        if self.headers.get("Authorization", "").removeprefix("Bearer ") in self.server.tokens:
            return True
        self.answer(401, X_Error_Message="Invalid username or password.")
        return False

    # -------------------------------------------------------------------------------------- download

    def resolve(self, owner: str, repo: str, revision: str, file: str) -> None:
        fault = self.server.faults.get(owner)
        if isinstance(fault, tuple):
            fault, times = fault
            self.server.suffered[owner] += 1
            fault = fault if self.server.suffered[owner] <= times else None
        if fault == "gated":
            self.answer(403 if "Authorization" in self.headers else 401, X_Error_Code="GatedRepo")
        elif isinstance(fault, int):
            self.answer(fault, X_Error_Message="It is so.")
        elif repo not in self.server.repositories:
            self.answer(404, X_Error_Code="RepoNotFound")
        else:
            commits = dict(self.server.repositories[repo])
            commit = self.server.repositories[repo][-1][0] if revision == "main" else revision
            if commit not in commits:
                self.answer(404, X_Error_Code="RevisionNotFound")
            elif file not in commits[commit]:
                self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            elif file.endswith(LARGE):
                data = commits[commit][file]
                linked = {"X_Linked_Etag": f'"{etag(file, data)}"', "X_Linked_Size": str(len(data))}
                address = f"http://localhost:{self.server.server_port}/cdn/{repo}/{commit}/{file}"  # another host
                self.answer(302, X_Repo_Commit=commit, Location=address, **linked)
            else:
                data = commits[commit][file]
                self.answer(200, data, X_Repo_Commit=commit, ETag=f'"{etag(file, data)}"')

    def content(self, owner: str, data: bytes) -> None:
        assert "Authorization" not in self.headers
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        fault = self.server.faults.get(owner)
        self.server.suffered[owner] += 1
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "always cut" or (fault in {"cut", "stalled"} and self.server.suffered[owner] == 1):
            self.wfile.write(data[begin : begin + (len(data) - begin) // 2])
            self.wfile.flush()
            if fault == "stalled":
                time.sleep(2.5)  # longer than the client waits
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data[begin:])

    # ---------------------------------------------------------------------------------------- upload

    def create(self, wanted: dict[str, str]) -> None:
        if not self.may_write():
            return
        repo = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] in self.server.faults:
            self.answer(403, X_Error_Message="You have no rights in this namespace.")
        elif repo in self.server.repositories:
            self.answer(409, b'{"error": "You already created this model repo"}')
        else:
            self.server.commit(repo, {})
            self.answer_json({"url": f"{self.server.endpoint}/{repo}", "name": repo})

    def preupload(self, repo: str) -> None:
        assert repo in self.server.repositories
        names = [file["path"] for file in json.loads(self.body)["files"]]
        modes = {True: "lfs", False: "regular"}
        self.answer_json(
            {
                "files": [
                    {"path": name, "uploadMode": modes[name.endswith(LARGE)], "shouldIgnore": False} for name in names
                ]
            }
        )

    def batch(self, repo: str) -> None:
        assert repo in self.server.repositories
        objects = [
            {**wanted, "actions": {"upload": {"href": f"{self.server.endpoint}/lfs/{wanted['oid']}"}}}
            for wanted in json.loads(self.body)["objects"]
        ]
        self.answer_json({"transfer": "basic", "objects": objects})

    def commit(self, repo: str) -> None:
        if not self.may_write():
            return
        files = {}
        for line in self.body.splitlines():
            match json.loads(line):
                case {"key": "file", "value": value}:
                    files[value["path"]] = base64.b64decode(value["content"])
                case {"key": "lfsFile", "value": value}:
                    files[value["path"]] = self.server.uploads[value["oid"]]
        commit = self.server.commit(repo, files)
        url = f"{self.server.endpoint}/{repo}/commit/{commit}"
        self.answer_json({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})

    def log_message(self, *_: object) -> None:
        pass
