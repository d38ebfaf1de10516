from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES
from safetensors.numpy import load_file, save_file

from handpose import weights as module
from handpose.camera import Camera
from handpose.config import JGRP2OConfig
from handpose.depth_io import read_depth
from handpose.errors import WeightsError
from handpose.estimator import HandPoseEstimator
from handpose.layouts import LAYOUTS
from handpose.weights import WEIGHTS, WeightsRecord, find_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS["msra"].built_in, tmp_path / "model"))


@pytest.mark.parametrize("record", WEIGHTS.values(), ids=lambda record: record.name)
def test_a_record_says_what_its_file_is(record: WeightsRecord) -> None:
    file = record.built_in / "model.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == record.sha256
    weights = find_weights(record.name, local_files_only=True)
    assert weights.model_file == file
    assert weights.config.layout == record.layout
    assert sum(p.numel() for p in weights.load().parameters()) == record.parameters
    assert record.revision is None or len(record.revision) == 40
    assert record.error_mm
    assert file.stat().st_size < 3_000_000


def refuse(folder: Path, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as error:
        find_weights(folder).load()
    assert "\n" not in str(error.value)


class TestRefused:
    def change(self, folder: Path, change) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    def test_missing_extra_and_misshapen_tensors(self, folder: Path) -> None:
        self.change(folder, lambda t: t.pop("stem.conv.weight"))
        refuse(folder, r"1 tensors do not fit.*stem.conv.weight': expected \(32, 1, 7, 7\), got nothing")
        self.change(
            folder, lambda t: t.update({"stem.conv.weight": np.zeros((32, 1, 7, 7), "f4"), "more": np.zeros(2, "f4")})
        )
        refuse(folder, r"more': expected nothing, got \(2,\)")
        self.change(folder, lambda t: (t.pop("more"), t.update({"stem.conv.weight": np.zeros((32, 1, 7, 5), "f4")})))
        refuse(folder, r"expected \(32, 1, 7, 7\), got \(32, 1, 7, 5\)")

    def test_numbers_that_are_none(self, folder: Path) -> None:
        self.change(folder, lambda t: t["stem.bn.weight"].fill(np.nan))
        refuse(folder, "stem.bn.weight holds NaN")

    def test_another_type(self, folder: Path) -> None:
        self.change(folder, lambda t: t.update({"stem.bn.weight": np.ones(32, "i4")}))
        refuse(folder, "int32, expected float16")

    @pytest.mark.parametrize("length", [0, 4, 100, 100_000])
    def test_a_cut_file(self, folder: Path, length: int) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])
        refuse(folder, "not a readable safetensors file")

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ("{", "config.json"),
            ("[]", "expected an object"),
            ('{"layout": "mano"}', "layout must be one of"),
            ('{"layout": "msra", "depth": 3}', "expected an object with layout, stacks"),
            ('{"layout": "msra", "cube": -1}', "cube must be a number between"),
            ('{"layout": "msra", "cube": NaN}', "cube must be a number"),
            ('{"layout": "msra", "features": 1e9}', "features must be a whole number"),
            ('{"layout": "icvl"}', "do not fit the icvl network"),
        ],
    )
    def test_a_config_that_lies(self, folder: Path, config: str, message: str) -> None:
        (folder / "config.json").write_text(config)
        refuse(folder, message)

    def test_incomplete_folders_and_unknown_names(self, folder: Path) -> None:
        (folder / "config.json").unlink()
        refuse(folder, "no config.json")
        refuse(folder / "nowhere" / "at" / "all", "no such weights; expected msra")

    def test_a_pickle_is_never_opened(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self):
                return (pytest.fail, ("a pickle was opened",))

        for name in ("model.pth", "model.pt", "pytorch_model.bin"):
            (tmp_path / name).write_bytes(pickle.dumps(Trap()))
            refuse(tmp_path / name, "not opened")


def test_a_damaged_built_in_copy_is_not_used(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BUILT_IN", folder.parent)
    folder.rename(folder.parent / "msra")
    assert find_weights("msra").name == "msra"
    file = folder.parent / "msra" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="missing or damaged; reinstall"):
        find_weights("msra")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_config_survives_json(layout: str) -> None:
    config = JGRP2OConfig(layout, cube=175.0, uv_scale=96.0)
    assert JGRP2OConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


# ------------------------------------------------------------ the real Hub client against a loopback server

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A server with the built-in weights as `someone/hand`, main and `COMMIT`, in the Hub's HTTP form."""
    source, requests = WEIGHTS["msra"].built_in, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            requests.append(self.path)
            parts = self.path.strip("/").split("/")
            file = source / parts[-1]
            if parts[:2] != ["someone", "hand"] or parts[3] not in ("main", COMMIT):
                code = "RepoNotFound" if parts[:2] != ["someone", "hand"] else "RevisionNotFound"
                self.send_response(404)
                self.send_header("X-Error-Code", code)
                self.end_headers()
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def fetch(cache: Path, endpoint: str, name: str, **options: object) -> str:
    """Loads in a new process, as a user's would: the client reads its environment when imported."""
    program = (
        "from handpose import WeightsError\nfrom handpose.weights import find_weights\n"
        f"try: print(find_weights({name!r}, **{options!r}).load().config.layout)\n"
        "except WeightsError as error: print(error)"
    )
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_weights_come_from_the_hub_once_and_then_from_the_cache(tmp_path: Path, hub) -> None:
    endpoint, requests = hub
    assert fetch(tmp_path, endpoint, f"someone/hand@{COMMIT}") == "msra"
    assert any("model.safetensors" in path for path in requests)
    assert not [path for path in requests if "/someone/hand/" not in path]  # no telemetry
    requests.clear()
    assert fetch(tmp_path, endpoint, "someone/hand", revision=COMMIT, local_files_only=True) == "msra"
    assert not any("someone" in path for path in requests)
    assert "drop one" in fetch(tmp_path, endpoint, f"someone/hand@{COMMIT}", revision="main")


def test_a_damaged_cached_file_is_fetched_once_more(tmp_path: Path, hub) -> None:
    endpoint, requests = hub
    name = f"someone/hand@{COMMIT}"
    assert fetch(tmp_path, endpoint, name) == "msra"
    (cached,) = tmp_path.rglob("snapshots/*/model.safetensors")
    files = [cached, cached.with_name("config.json")]
    whole = [file.read_bytes() for file in files]
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content[:-9])  # a full disk, long ago
    requests.clear()
    assert fetch(tmp_path, endpoint, name) == "msra"
    assert [file.read_bytes() for file in files] == whole
    assert all(any(file.name in path for path in requests) for file in files)
    cached.write_bytes(bytes(9))
    said = fetch(tmp_path, endpoint, name, local_files_only=True)
    assert "was damaged and is deleted; " in said
    assert "\n" not in said
    assert not cached.exists()


def test_what_the_hub_sends_damaged_twice_is_reported(tmp_path: Path, monkeypatch) -> None:
    record = dataclasses.replace(WEIGHTS["msra"], name="gone", revision=COMMIT)
    monkeypatch.setitem(WEIGHTS, "gone", record)  # it has no built-in copy
    calls = []

    def send(repo_id: str, file: str, *_) -> Path:
        calls.append(file)
        path = tmp_path / file
        path.write_bytes((WEIGHTS["msra"].built_in / file).read_bytes() + b" " * (file == "model.safetensors"))
        return path

    monkeypatch.setattr(module, "_fetch", send)
    with pytest.raises(WeightsError, match=f"sha256 is not {record.sha256}, although it was fetched again"):
        find_weights("gone")
    assert calls == ["config.json", "model.safetensors", "model.safetensors"]
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"model", b"\x80\x04K\x01."])
@pytest.mark.parametrize(
    "name", ["model.pth", "MODEL.PT", "a.ckpt", "a.pkl", "pytorch_model.bin", "a.tar", "model.safetensors"]
)
def test_a_file_is_no_model(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, "not opened|no such weights")
    refuse(tmp_path, "no config.json")


def test_what_the_hub_does_not_have_is_one_line(tmp_path: Path, hub) -> None:
    endpoint, _ = hub
    assert "no such repository" in fetch(tmp_path, endpoint, "nobody/hand")
    assert "check the revision" in fetch(tmp_path, endpoint, "someone/hand@v9")
    assert "not in the cache" in fetch(tmp_path, endpoint, "someone/hand", local_files_only=True)


def test_a_record_without_its_built_in_copy_is_fetched_and_checked(tmp_path: Path, hub, monkeypatch) -> None:
    endpoint, _ = hub
    program = (
        "import dataclasses, pathlib, sys\nfrom handpose import weights as w, WeightsError\n"
        "r = dataclasses.replace(w.WEIGHTS['msra'], repo_id='someone/hand', revision=sys.argv[1], sha256=sys.argv[2])\n"
        "w.WEIGHTS['msra'] = r\nw._BUILT_IN = pathlib.Path('nowhere')\n"
        "try: print(w.find_weights('msra').load().config.layout)\nexcept WeightsError as error: print(error)"
    )
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    for sha256, expected in ((WEIGHTS["msra"].sha256, "msra"), ("0" * 64, "sha256 is not 0000")):
        command = [sys.executable, "-c", program, COMMIT, sha256]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert expected in done.stdout


def test_records_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WEIGHTS["msra"].sha256 = ""  # type: ignore[misc]


@pytest.mark.parametrize("name", WEIGHTS)
def test_built_in_weights_are_what_their_record_says(name: str) -> None:
    record, weights = WEIGHTS[name], find_weights(name)
    assert weights.config.layout == record.layout
    assert sum(parameter.numel() for parameter in weights.load().parameters()) == record.parameters
    depth, camera = read_depth(EXAMPLES / "open.png"), Camera.parse(str(EXAMPLES / "camera.json"))
    pose = HandPoseEstimator.from_pretrained(name, device="cpu").predict(depth, camera=camera)
    truth = json.loads((EXAMPLES / "open.truth.json").read_text())
    xyz = dict(zip(truth["joints"], np.array(truth["xyz_mm"]), strict=True))
    for finger in ("thumb", "index", "middle", "ring", "pinky"):  # each near its own true fingertip, and no other's
        tip = {other: np.linalg.norm(pose[f"{finger}_tip"] - xyz[f"{other}_tip"]) for other in pose.layout.fingers}
        assert min(tip, key=tip.__getitem__) == finger
        assert tip[finger] < 20.0
