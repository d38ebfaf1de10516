from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

from handpose.backends import load_backend
from handpose.batch import predict_files
from handpose.camera import Camera
from handpose.estimator import HandPoseEstimator
from handpose.weights import find_weights

CAMERA = Camera(200.0, 200.0, 31.5, 23.5, 64, 48)


def make_frames(folder: Path, count: int) -> list[Path]:
    """Small depth frames, no two alike."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    frames = [folder / f"{i:06}.png" for i in range(count)]
    for frame in frames:
        cv2.imwrite(str(frame), noise.integers(400, 600, (48, 64), np.uint16))
    return frames


def job(model: Path, frames: Path, out: Path, *options: str) -> list[str]:
    camera = "200,200,31.5,23.5,64,48"
    program = [sys.executable, "-m", "handpose", "predict", str(frames), "-m", str(model), "-c", camera]
    return [*program, "--center", "0,0,500", "-o", str(out), *options]


def wait_for_more(out: Path, process: subprocess.Popen[str]) -> None:
    """Until the job has written something more, or ended."""
    before = out.stat().st_size if out.exists() else 0
    while process.poll() is None and not (out.exists() and out.stat().st_size > before):
        time.sleep(0.002)


def sources(out: Path) -> list[str]:
    return [Path(json.loads(line)["source"]).name for line in out.read_text().splitlines()]


def stopped(command: list[str], out: Path, number: int) -> tuple[int, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_more(out, process)
    process.send_signal(number)
    return process.wait(), process.communicate()[1]


def test_a_stopped_job_goes_on_with_every_frame_once(small_model: Path, tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 3000)
    out = tmp_path / "out.jsonl"
    command = job(small_model, tmp_path / "frames", out)
    assert stopped(command, out, signal.SIGKILL)[0] == -signal.SIGKILL
    for number in (signal.SIGTERM, signal.SIGINT):
        code, said = stopped([*command, "--resume"], out, number)
        done = sources(out)
        assert code == 128 + number
        assert said == f"stopped after {len(done)} of {len(frames)} inputs\n"
        assert done == [frame.name for frame in frames[: len(done)]]
        assert 0 < len(done) < len(frames)
    for frame in frames[len(done) + 10 :]:  # this test has not all day
        frame.unlink()
    assert subprocess.run([*command, "--resume"], check=True, capture_output=True, text=True).stderr == ""
    assert sources(out) == [frame.name for frame in frames[: len(done) + 10]]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "csv", "uvd"])
def test_a_job_killed_at_twenty_moments_has_every_frame_once(small_model: Path, tmp_path: Path, form: str) -> None:
    frames = make_frames(tmp_path / "frames", 2000)
    out, whole = tmp_path / "out", tmp_path / "whole"
    subprocess.run(job(small_model, tmp_path / "frames", whole, "--format", form), check=True)
    command = job(small_model, tmp_path / "frames", out, "--format", form, "--resume")
    moments = random.Random(0)
    for kill in range(20):
        process = subprocess.Popen(command)
        if kill % 4:  # else at start-up, whatever it is doing then
            wait_for_more(out, process)
            time.sleep(moments.uniform(0.0, 0.15))
        else:
            time.sleep(moments.uniform(0.0, 5.0))
        assert process.poll() is None, "the job was done before it was killed"
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    assert out.read_bytes() == whole.read_bytes()
    assert len(frames) == len((tmp_path / "out.manifest.jsonl").read_text().splitlines()) - 1


def test_the_reader_of_the_output_may_go_away(small_model: Path, tmp_path: Path) -> None:
    make_frames(tmp_path / "frames", 300)
    command = job(small_model, tmp_path / "frames", tmp_path)
    del command[command.index("-o") : command.index("-o") + 2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["status"] == "ok"
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


class Backend:
    """The network `within`, that has room for `room` patches and notes how many it was given."""

    def __init__(self, within, room: int = 1000) -> None:
        self.within, self.room, self.given = within, room, []

    def __call__(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        self.given.append(len(patches))
        if len(patches) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.within(patches)


@pytest.fixture
def backend(small_model: Path) -> Backend:
    return Backend(load_backend(find_weights(small_model), "torch", "cpu"))


def run(backend: Backend, model: Path, frames, **options):
    estimator = HandPoseEstimator(backend, find_weights(model).config, "small")
    centers = itertools.repeat(np.array([0.0, 0.0, 500.0]))
    return predict_files(estimator, frames, camera=CAMERA, centers=centers, **options)


def test_out_of_memory_halves_the_batch_and_goes_on(small_model: Path, tmp_path: Path, backend: Backend) -> None:
    frames = make_frames(tmp_path / "frames", 40)
    expected = [result.pose.xyz for result in run(backend, small_model, frames)]
    backend.room, backend.given = 5, []
    results = list(run(backend, small_model, frames))
    assert [result.path for result in results] == frames
    assert backend.given == [16, 8] + [4] * 10
    assert np.abs(np.array([result.pose.xyz for result in results]) - expected).max() < 0.01
    backend.room = 0
    with pytest.raises(MemoryError, match="no memory for a single crop"):
        list(run(backend, small_model, frames))


def test_as_many_frames_are_on_their_way_as_agreed(small_model: Path, tmp_path: Path, backend: Backend) -> None:
    frames, asked = make_frames(tmp_path / "frames", 30), []

    def endless():
        for frame in itertools.cycle(frames):
            asked.append(frame)
            yield frame

    before = threading.active_count()
    results = run(backend, small_model, endless(), batch_size=4)
    given = list(itertools.islice(results, 200))
    assert [result.path for result in given] == list(itertools.islice(itertools.cycle(frames), 200))
    assert len(asked) <= 200 + 4 * 5
    results.close()
    assert threading.active_count() == before


def test_a_batch_of_files_is_its_single_images(tmp_path: Path) -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    paths = [EXAMPLES / "open.png", tmp_path / "broken.png", EXAMPLES / "down.png"]
    results = list(predict_files(estimator, paths, camera=camera, keep_depth=True))
    assert "broken.png" in str(results[1].error)
    for result in (results[0], results[2]):
        one = estimator.predict(result.path, camera=camera)
        assert np.abs(result.pose.xyz - one.xyz).max() < 0.01
        assert result.depth.shape == (480, 640)
