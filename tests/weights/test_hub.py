"""Tests of the real Hub client against a local server, in new processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from handpose.errors import HandPoseError, WeightsError
from handpose.inference.estimator import HandPoseEstimator
from handpose.weights.publish import publish_weights
from handpose.weights.registry import WEIGHTS
from tests.helpers.faults_jobs import FETCH
from tests.helpers.hub_server import HubServer, serving

BUILT_IN = WEIGHTS["msra"].built_in
FILES = {name: (BUILT_IN / name).read_bytes() for name in ("config.json", "model.safetensors")}
WITH_HEADS = FILES | {"heads.safetensors": (BUILT_IN / "heads.safetensors").read_bytes()}
GOOD = hashlib.sha256(FILES["model.safetensors"]).hexdigest()[:8]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving() as server:
        yield server


def fetch(hub: HubServer, home: Path, *names: str, program: str = FETCH, **environment: str) -> list[str]:
    """Download each `owner/repo[@revision] [OPTIONS]` in a new process; return the start of each sha256, or errors."""
    out, err = start(hub, home, *names, program=program, **environment).communicate()
    assert "Traceback" not in err, err
    return out.splitlines()


def start(hub: HubServer, home: Path, *names: str, program: str = FETCH, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *names]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=hub.environment(home, **environment), stdout=pipe, stderr=pipe, text=True)


def cached(home: Path) -> Path:
    """The content of the one model file in the cache."""
    (file,) = home.glob("hub/models--*/snapshots/*/model.safetensors")
    return file.resolve()


NO_NETWORK = (
    "import socket\ndef refuse(*_): raise AssertionError('the network was used')\nsocket.socket.connect = refuse\n"
)


def test_pinned_weights_are_downloaded_once(tmp_path: Path, hub: HubServer) -> None:
    commit = hub.commit("someone/hand", FILES)
    hub.commit("someone/hand", {"model.safetensors": b"another"})
    name = f"someone/hand@{commit}"
    assert fetch(hub, tmp_path, name, "someone/hand revision='main', local_files_only=True")[0] == GOOD
    assert any("/cdn/" in request for request in hub.requests)
    hub.requests.clear()
    assert fetch(hub, tmp_path, name, f"{name} local_files_only=True", program=NO_NETWORK + FETCH) == [GOOD] * 2
    (_, *errors) = fetch(
        hub, tmp_path, name, "someone/other", f"{name} revision='main'", program=NO_NETWORK + FETCH, HF_HUB_OFFLINE="1"
    )
    assert "it is not in the cache and the Hub cannot be reached; run once with network access" in errors[0]
    assert "drop one" in errors[1]
    assert hub.requests == []


def test_download_errors_are_one_line_with_a_remedy(tmp_path: Path, hub: HubServer) -> None:
    hub.commit("someone/hand", FILES)
    hub.commit("someone/other", {"readme": b""})
    hub.faults |= {"gated": "gated", "closed": 403, "short": "always cut", "wrong": "wrong"}
    for owner in ("short", "wrong"):
        hub.commit(f"{owner}/hand", FILES)
    expected = {
        "nobody/hand": "no such repository or local folder, or the repository is private; check the name",
        "someone/hand@v9": "no such revision",
        "someone/other": "cannot download config.json: the repository has no such file; check whether",
        "gated/hand": "access must be granted first; ask on the repository's page, then set HF_TOKEN",
        "gated/hand token='mine'": "access must be granted first",
        "closed/hand": "not allowed (403); set HF_TOKEN",
        "someone/hand local_files_only=True": "it is not in the cache",
        "wrong/hand": "downloaded model.safetensors twice, but its hash is not the one that the Hub states",
    }
    lines = fetch(hub, tmp_path, *expected)
    assert len(lines) == len(expected)
    for name, line in zip(expected, lines, strict=True):
        assert line.startswith(name.split()[0] + ": ")
        assert expected[name] in line
    assert not list(tmp_path.rglob("model.safetensors"))


def test_temporary_errors_of_the_hub_are_retried(tmp_path: Path, hub: HubServer) -> None:
    hub.faults |= {"busy": (429, 1), "down": (503, 1), "cut": "cut", "stalled": "stalled"}
    for owner in hub.faults:
        hub.commit(f"{owner}/hand", FILES)
    assert fetch(hub, tmp_path, *(f"{owner}/hand" for owner in hub.faults)) == [GOOD] * 4
    assert all(hub.suffered[owner] > 1 for owner in hub.faults)


@pytest.mark.slow
def test_permanent_errors_of_the_hub_are_one_line(tmp_path: Path, hub: HubServer) -> None:
    hub.faults |= {"busy": 429, "down": 503, "short": "always cut"}
    for owner in hub.faults:
        hub.commit(f"{owner}/hand", FILES)
    running = [start(hub, tmp_path, f"{owner}/hand") for owner in hub.faults]
    nowhere = start(hub, tmp_path, "someone/hand", HF_ENDPOINT="http://127.0.0.1:9")
    busy, down, short, unreached = (process.communicate()[0] for process in (*running, nowhere))
    assert "too many requests from this address (429); wait a few minutes" in busy
    assert "the Hub has a problem (503); try again later" in down
    assert "try again later" in short
    assert "the Hub cannot be reached" in unreached
    assert all(text.count("\n") == 1 for text in (busy, down, short, unreached))


@pytest.mark.parametrize("damaged", ["model.safetensors", pytest.param("config.json", marks=pytest.mark.slow)])
def test_a_damaged_copy_in_the_cache_is_downloaded_again(tmp_path: Path, hub: HubServer, damaged: str) -> None:
    commit = hub.commit("someone/hand", FILES)
    name = f"someone/hand@{commit}"
    assert fetch(hub, tmp_path, name) == [GOOD]
    (file,) = tmp_path.glob(f"hub/models--*/snapshots/*/{damaged}")
    hub.requests.clear()
    file.write_bytes(b"{}")
    assert fetch(hub, tmp_path, name) == [GOOD]
    assert sum(request.startswith("GET") and damaged in request for request in hub.requests) == 1
    file.write_bytes(b"{}")
    (offline, online) = fetch(hub, tmp_path, f"{name} local_files_only=True", name)
    assert "the copy in the cache was damaged and has been deleted; it is not in the cache" in offline
    assert online == GOOD


def test_a_record_without_a_built_in_copy_is_downloaded_and_verified(tmp_path: Path, hub: HubServer) -> None:
    commit = hub.commit("someone/hand", FILES)
    program = (
        "import dataclasses, pathlib, sys\nfrom handpose import WeightsError\n"
        "from handpose.weights import registry as w\nfrom handpose.weights.resolve import find_weights\n"
        "w._BUILT_IN = pathlib.Path('no')\n"
        "for sha256 in sys.argv[2:]:\n"
        "  w.WEIGHTS['msra'] = dataclasses.replace(\n"
        "    w.WEIGHTS['msra'], repo_id='someone/hand', revision=sys.argv[1], sha256=sha256)\n"
        "  try: print(find_weights('msra').sha256)\n"
        "  except WeightsError as error: print(error)"
    )
    right = WEIGHTS["msra"].sha256
    lines = fetch(hub, tmp_path, commit, right, "0" * 64, right, program=program)
    assert [lines[0], lines[2]] == [right] * 2
    assert f"downloaded model.safetensors twice, but its sha256 is not {'0' * 64}" in lines[1]


def test_a_read_only_cache_can_be_read(tmp_path: Path, hub: HubServer) -> None:
    commit = hub.commit("someone/hand", FILES)
    (line,) = fetch(hub, Path("/proc/no"), "someone/hand")
    assert "someone/hand: cannot download config.json: " in line
    assert "set HF_HOME to a writable folder" in line
    home = tmp_path / "home"
    fetch(hub, home, f"someone/hand@{commit}")
    # Nothing can be written any more, even by root, as in a read-only layer of a container.
    program = "import os\nos.mkdir = os.open = os.symlink = os.replace = None\n" + FETCH
    assert fetch(hub, home, f"someone/hand@{commit}", program=program) == [GOOD]


def test_two_processes_can_download_at_once(tmp_path: Path, hub: HubServer) -> None:
    hub.commit("someone/hand", FILES)
    running = [start(hub, tmp_path, "someone/hand") for _ in range(2)]
    assert [process.communicate()[0] for process in running] == [f"{GOOD}\n"] * 2
    assert cached(tmp_path).read_bytes() == FILES["model.safetensors"]


def handpose(hub: HubServer, home: Path, *arguments: object, **environment: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "handpose", *map(str, arguments)]
    process = subprocess.run(
        command, env=hub.environment(home, **environment), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in process.stderr, process.stderr
    return process.returncode, process.stdout, process.stderr


def test_published_weights_can_be_downloaded_by_commit(tmp_path: Path, hub: HubServer) -> None:
    folder = Path(shutil.copytree(BUILT_IN, tmp_path / "model"))
    (folder / "notes.txt").write_text("not for others")
    with pytest.raises(WeightsError, match=r"no README.md; describe there what"):
        publish_weights(folder, "someone/hand")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A hand\n")
    code, out, err = handpose(hub, tmp_path, "publish", folder, "someone/hand", HF_TOKEN="secret")
    (commit, files) = hub.repositories["someone/hand"][-1]
    assert (code, out) == (0, f"someone/hand@{commit}  sha256 {WEIGHTS['msra'].sha256}\n"), err
    assert files == WITH_HEADS | {"README.md": (folder / "README.md").read_bytes()}
    code, out, _ = handpose(hub, tmp_path, "download", out.split()[0])
    assert code == 0
    assert len(list(tmp_path.glob(f"hub/models--*/snapshots/{commit}/heads.safetensors"))) == 1
    assert f"snapshots/{commit}/model.safetensors  sha256 {WEIGHTS['msra'].sha256}\n" in out


def test_an_estimator_is_saved_and_pushed(tmp_path: Path, hub: HubServer) -> None:
    card = tmp_path / "card.md"
    card.write_text("---\nlicense: apache-2.0\n---\n# A hand\n")
    program = (
        "from handpose import HandPoseEstimator, WeightsError\n"
        "estimator = HandPoseEstimator.from_pretrained('msra')\n"
        f"estimator.save_pretrained({str(tmp_path / 'model')!r})\n"
        "try: estimator.push_to_hub('someone/hand')\n"
        "except WeightsError as error: assert 'no README.md' in str(error), error\n"
        f"print(estimator.push_to_hub('someone/hand', card={str(card)!r}))\n"
    )
    environment = hub.environment(tmp_path, HF_TOKEN="secret")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    (commit, files) = hub.repositories["someone/hand"][-1]
    assert done.stdout == f"{commit}\n", done.stderr
    assert files == WITH_HEADS | {"README.md": card.read_bytes()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == WITH_HEADS
    with pytest.raises(HandPoseError, match="exists"):
        HandPoseEstimator.from_pretrained("msra").save_pretrained(tmp_path / "model")


@pytest.mark.slow
def test_publish_errors_are_one_line(tmp_path: Path, hub: HubServer) -> None:
    folder = Path(shutil.copytree(BUILT_IN, tmp_path / "model"))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A hand\n")
    hub.faults["others"] = 403
    for repo, token, message in (
        ("someone/hand", "wrong", "not allowed (401); set HF_TOKEN"),
        ("others/hand", "secret", "not allowed (403); set HF_TOKEN"),
        ("no such name/hand", "secret", "expected owner/name"),
    ):
        code, out, err = handpose(hub, tmp_path, "publish", folder, repo, HF_TOKEN=token)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"error: {repo}: cannot publish ")
        assert message in err
    (folder / "config.json").write_text(json.dumps({"layout": "nyu"}))
    code, _, err = handpose(hub, tmp_path, "publish", folder, "someone/hand", HF_TOKEN="secret")
    assert (code, "do not fit the nyu network" in err) == (2, True)
    assert hub.repositories == {}
