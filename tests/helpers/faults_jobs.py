"""Faults of jobs and downloads, injected into real processes: rows of the table of `faults`."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from handpose.network.config import JGRP2OConfig
from handpose.weights.registry import WEIGHTS
from tests.helpers.fault import Fault
from tests.helpers.hub_server import serving

Counts = tuple[int, int, int]


def make_small_model(folder: Path) -> Path:
    """Create a small, untrained model, which is fast."""
    import torch
    from safetensors.torch import save_file

    from handpose.network.model import JGRP2O

    torch.manual_seed(0)
    config = JGRP2OConfig("nyu", stacks=1, features=8)
    save_file(JGRP2O(config).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return folder


def make_frames(folder: Path, count: int) -> list[Path]:
    """Create small depth frames that all differ."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    frames = [folder / f"{i:06}.png" for i in range(count)]
    for frame in frames:
        cv2.imwrite(str(frame), noise.integers(400, 600, (48, 64), np.uint16))
    return frames


def job(model: Path, frames: Path | str, out: Path | str, *options: str) -> list[str]:
    """Return the command of a job over these frames."""
    camera = "200,200,31.5,23.5,64,48"
    program = [sys.executable, "-m", "handpose", "predict", str(frames), "-m", str(model), "-c", camera]
    return [*program, "--center", "0,0,500", "-o", str(out), *options]


def wait_for_more(out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the job has written more output, or ended."""
    before = out.stat().st_size if out.exists() else 0
    while process.poll() is None and not (out.exists() and out.stat().st_size > before):
        time.sleep(0.002)


class Killed(BaseException):
    """A simulated SIGKILL, which must not be caught."""


def kill_at_renames(monkeypatch: pytest.MonkeyPatch, run: Callable[[int], object]) -> None:
    """Call `run(0)`, `run(1)`, ..., each killed before or after one of its renames, until one is not killed."""
    replace = os.replace
    for k in itertools.count():
        renames = itertools.count()

        def killing(*names: object, k: int = k, renames: Iterator[int] = renames) -> None:
            now = next(renames) == k // 2
            if now and k % 2 == 0:
                raise Killed
            replace(*names)  # type: ignore[arg-type]
            if now:
                raise Killed

        monkeypatch.setattr(os, "replace", killing)
        try:
            run(k)
        except Killed:
            continue
        return


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Limit the size of files; as on a full disk, a write may be incomplete."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def job_folder(frames: int, form: str) -> Iterator[tuple[list[str], Path, bytes]]:
    """Create a job, and return its command, its output file and the expected content."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        model = make_small_model(folder / "model")
        make_frames(folder / "frames", frames)
        subprocess.run(job(model, folder / "frames", folder / "whole", "--format", form), check=True)
        command = job(model, folder / "frames", folder / "out", "--format", form, "--resume")
        yield command, folder / "out", (folder / "whole").read_bytes()


def frames_lost(command: list[str], out: Path, whole: bytes) -> int:
    """Finish the job, and count the lines that are missing, duplicated or truncated."""
    subprocess.run(command, check=True)
    got, expected = out.read_bytes().splitlines(), whole.splitlines()
    return 0 if got == expected else max(len(set(got) ^ set(expected)), abs(len(got) - len(expected)), 1)


def killed(form: str = "jsonl", kills: int = 20, frames: int = 2000) -> Counts:
    """Send SIGKILL at random times, from start-up to the middle of a write."""
    moments = random.Random(0)
    hit = lost = 0
    with job_folder(frames, form) as (command, out, whole):
        while hit < kills:
            process = subprocess.Popen(command)
            if hit % 4:  # otherwise during start-up
                wait_for_more(out, process)
                time.sleep(moments.uniform(0.0, 0.15))
            else:
                time.sleep(moments.uniform(0.0, 2.0))
            if process.poll() is None:
                hit += 1
                process.kill()
                process.wait()
            else:  # it ended before it was killed: start over
                lost += frames_lost(command, out, whole)
                for file in out.parent.glob(f"{out.name}*"):
                    file.unlink()
        lost += frames_lost(command, out, whole)
    return hit, hit if not lost else 0, lost


def interrupted() -> Counts:
    """Send SIGINT and SIGTERM in the middle of a job."""
    lost = survived = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with job_folder(500, "jsonl") as (command, out, whole):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            wait_for_more(out, process)
            process.send_signal(number)
            survived += process.wait() == 128 + number and whole.startswith(out.read_bytes())
            lost += frames_lost(command, out, whole)
    return 2, survived, lost


def disk_full() -> Counts:
    """Run jobs on a disk that is too small for the results."""
    lost = survived = 0
    with job_folder(60, "jsonl") as (command, out, whole):
        for size in (1, len(whole) // 3, len(whole) // 2):
            fresh = [word for word in command if word != "--resume"] + ["--force"]
            with disk_of(size):
                done = subprocess.run(fresh, stderr=subprocess.PIPE, text=True, check=False)
            kept = out.read_bytes()
            whole_lines = whole.startswith(kept) and kept[-1:] in {b"", b"\n"}
            survived += done.returncode == 2 and "cannot be written" in done.stderr and whole_lines
            lost += frames_lost(command, out, whole)
    return 3, survived, lost


FETCH = """
import sys
from handpose import WeightsError
from handpose.weights.resolve import find_weights
for name in sys.argv[1:]:
    name, _, options = name.partition(" ")
    try: print(find_weights(name, **eval(f"dict({options})")).sha256[:8])
    except WeightsError as error: print(error)
"""
"""Print the start of the SHA-256 of each `owner/repo[@revision] [OPTIONS]`, or the error."""

HUB_FAULTS = {
    "busy once": (429, 1),
    "down once": (503, 1),
    "cut once": "cut",
    "stalled once": "stalled",
    "gated": "gated",
    "forbidden": 403,
    "busy": 429,
    "down": 503,
    "cut": "always cut",
    "wrong content": "wrong",
}


def hub_fails(fault: object) -> Counts:
    """Download a model; a permanent fault must produce a one-line error and leave no files."""
    built_in = WEIGHTS["msra"].built_in
    files = {name: (built_in / name).read_bytes() for name in ("config.json", "model.safetensors")}
    passes = isinstance(fault, tuple) or fault in ("cut", "stalled")
    with serving() as hub, tempfile.TemporaryDirectory() as home:
        hub.faults["someone"] = fault
        hub.commit("someone/hand", files)
        command = [sys.executable, "-c", FETCH, "someone/hand"]
        done = subprocess.run(
            command, env=hub.environment(Path(home)), capture_output=True, text=True, check=False
        ).stdout
        right = done.strip() == WEIGHTS["msra"].sha256[:8]
        kept = list(Path(home).rglob("model.safetensors"))
        one_line = done.startswith("someone/hand: cannot download") or done.startswith("someone/hand: downloaded")
        survived = right if passes else one_line and done.count("\n") == 1 and not kept
    return 1, int(survived), int(not survived)


JOB_FAULTS = [
    *(Fault(f"a {form} job killed at any moment", lambda form=form: killed(form)) for form in ("jsonl", "csv", "uvd")),
    Fault("a job stopped by Ctrl-C or SIGTERM", interrupted),
    Fault("a disk that fills up under a job", disk_full),
    *(Fault(f"the Hub: {name}", lambda fault=fault: hub_fails(fault)) for name, fault in HUB_FAULTS.items()),
]
