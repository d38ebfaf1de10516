from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from handpose.cli.main import app
from handpose.errors import DeviceMemoryError, HandPoseError
from handpose.geometry.camera import Camera
from handpose.geometry.layouts import NYU14
from handpose.geometry.uvd import read_predictions
from handpose.inference.estimator import HandPoseEstimator
from handpose.inference.query import Query
from handpose.jobs.pipeline import predict_files
from handpose.network.heads import Heads, head_shapes
from handpose.results.pose import HandPose
from handpose.runtimes.base import Runtime
from handpose.runtimes.select import load_runtime
from handpose.weights.folder import read_folder, write_config
from handpose.weights.heads_file import HEADS_FILE, heads_bytes
from handpose.weights.resolve import find_weights
from tests.helpers.faults_jobs import disk_full, disk_of, interrupted, job, killed, make_frames, wait_for_more
from tests.helpers.paths import EXAMPLES

CAMERA = Camera(200.0, 200.0, 31.5, 23.5, 64, 48)


def sources(out: Path) -> list[str]:
    return [Path(json.loads(line)["source"]).name for line in out.read_text().splitlines()]


def stopped(command: list[str], out: Path, number: int) -> tuple[int, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_more(out, process)
    process.send_signal(number)
    return process.wait(), process.communicate()[1]


def test_a_stopped_job_is_resumed_and_writes_every_frame_once(small_model: Path, tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 600)
    out = tmp_path / "out.jsonl"
    command = job(small_model, tmp_path / "frames", out)
    assert stopped(command, out, signal.SIGKILL)[0] == -signal.SIGKILL
    code, printed = stopped([*command, "--resume"], out, signal.SIGTERM)
    done = sources(out)
    assert code == 143
    assert printed.splitlines()[-1] == f"stopped after {len(done)} of {len(frames)} inputs"
    assert done == [frame.name for frame in frames[: len(done)]]
    assert 0 < len(done) < len(frames)
    subprocess.run([*command, "--resume"], check=True)
    assert sources(out) == [frame.name for frame in frames]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "csv", "uvd"])
def test_a_job_killed_twenty_times_writes_every_frame_once(form: str) -> None:
    assert killed(form) == (20, 20, 0)


@pytest.mark.slow
def test_ctrl_c_and_sigterm_complete_the_current_write() -> None:
    assert interrupted() == (2, 2, 0)


@pytest.mark.slow
def test_a_job_on_a_full_disk_keeps_its_records_and_is_resumed() -> None:
    assert disk_full() == (3, 3, 0)


def predict(*arguments: object):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_jobs_that_cannot_be_resumed_are_one_line(small_model: Path, tmp_path: Path) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out.csv"
    (make_frames(frames, 4)[2]).write_bytes(b"\x89PNG")
    command = [
        frames,
        "-m",
        small_model,
        "-c",
        "200,200,31.5,23.5",
        "--center",
        "0,0,500",
        "--format",
        "csv",
        "-o",
        out,
    ]
    first = predict(*command)
    assert (first.exit_code, first.stdout) == (1, "")
    failures = f"1 of 4 inputs failed; {out} contains the reasons\n"
    assert re.fullmatch(rf"3 ok, 1 failed, \S+ images/s -> {out}\n{failures}", first.stderr.split("\n", 1)[1])
    rows = list(csv.DictReader(out.open()))
    assert [row["status"] for row in rows] == ["ok"] * 28 + ["error"] + ["ok"] * 14
    assert rows[28]["reason"].startswith("expected a PNG")
    before = out.read_bytes()
    resumed = predict(*command, "--resume")
    assert resumed.exit_code == 1
    assert resumed.stderr == f"4 from earlier runs, 0 images/s -> {out}\n{failures}"
    assert predict(*command, "--resume", "--quiet").stderr == failures
    for more, message in (
        ([], "already exists; pass `force=True` to overwrite it, or `resume=True`"),
        (["--resume", "--force"], "not both"),
        (["--resume", "--unit", "2"], "was started with unit 'mm', not 2.0"),
        (["--resume", "--hand", "left"], "was started with hand 'auto', not 'left'"),
        (["--resume", "--format", "npz"], "only jsonl, csv and uvd files can be resumed"),
        (["--force", "-o", "/dev/null"], "not a regular file"),
    ):
        rejected = predict(*command, *more)
        assert rejected.exit_code
        assert message in " ".join((rejected.stderr + str(rejected.exception)).split())
        assert out.read_bytes() == before
    with disk_of(before.index(b"000001.png") + 100):
        failed = predict(*command, "--force")
    assert isinstance(failed.exception, HandPoseError)
    assert "cannot be written" in str(failed.exception)
    assert "pass `resume=True` to continue" in str(failed.exception)
    assert before.startswith(out.read_bytes())
    assert predict(*command, "--resume").exit_code == 1
    assert out.read_bytes() == before
    others = make_frames(tmp_path / "others", 2)
    resumed = predict(tmp_path / "others", *command[1:], "--resume")
    assert (resumed.exit_code, len(others)) == (1, 2)
    assert resumed.stderr.splitlines()[-1] == f"{out} also contains failed records of other inputs: 1"


@pytest.mark.filterwarnings("ignore:.*:handpose.InputWarning")
@pytest.mark.parametrize("change", ["calibration", "heads"])
def test_a_job_is_not_resumed_after_the_model_was_calibrated_or_got_heads(
    small_model: Path, tmp_path: Path, change: str
) -> None:
    """Both determine the status of a pose, and the heads its side, although the weights are the same."""
    model = Path(shutil.copytree(small_model, tmp_path / "model"))
    make_frames(tmp_path / "frames", 2)
    options = ("-m", model, "-c", "200,200,31.5,23.5", "--center", "0,0,500", "-o", tmp_path / "out.jsonl", "--resume")
    assert predict(tmp_path / "frames", *options).exit_code == 0
    assert predict(tmp_path / "frames", *options).exit_code == 0
    weights = read_folder(model, "small")
    if change == "calibration":
        write_config(model, replace(weights.config, calibration=find_weights("nyu").config.calibration))
    else:
        shapes = head_shapes(weights.config)
        heads = Heads.from_tensors({name: np.ones(shape) for name, shape in shapes.items()}, weights.config)
        (model / HEADS_FILE).write_bytes(heads_bytes(heads, weights.sha256))
    rejected = predict(tmp_path / "frames", *options)
    assert "was started with calibration and heads" in str(rejected.exception)


@pytest.mark.filterwarnings("ignore:.*:handpose.InputWarning")
def test_results_of_several_cameras_are_joined_as_documented(small_model: Path, tmp_path: Path) -> None:
    """One job per camera; the records of both make one file."""
    jobs = {"left": ("200,200,31.5,23.5,64,48", 0.5), "right": ("210,210,31.5,23.5,64,48", "mm")}
    for name, (camera, unit) in jobs.items():
        make_frames(tmp_path / name, 2)
        options = ("-m", small_model, "-c", camera, "--unit", unit, "--center", "0,0,300", "--hand", name)
        assert predict(tmp_path / name, *options, "-o", tmp_path / f"{name}.jsonl", "--resume").exit_code == 0
    joined = "".join((tmp_path / f"{name}.jsonl").read_text() for name in jobs)
    poses = [HandPose.from_dict(json.loads(line)) for line in joined.splitlines()]
    assert [(pose.camera.fx, pose.depth_unit, pose.hand) for pose in poses] == [
        *[(200.0, 0.5, "left")] * 2,
        *[(210.0, "mm", "right")] * 2,
    ]
    mixed = predict(tmp_path / "right", *options, "-o", tmp_path / "left.jsonl", "--resume")
    assert "was started with camera" in str(mixed.exception)


@pytest.mark.filterwarnings("ignore:.*:handpose.InputWarning")
def test_inputs_that_are_added_to_a_job_do_not_replace_its_pictures(small_model: Path, tmp_path: Path) -> None:
    """Each picture is that of a job of its own."""
    (name,) = (frame.name for frame in make_frames(tmp_path / "b", 1))
    folders, pictures = [tmp_path / "a", tmp_path / "b"], tmp_path / "pictures"
    make_frames(folders[0], 2)[0].unlink()
    options = ("-m", small_model, "-c", "200,200,31.5,23.5,64,48", "--center", "0,0,500")
    command = (*folders, *options, "-o", tmp_path / "out.jsonl", "--draw", pictures, "--resume")
    assert predict(*command).exit_code == 0
    cv2.imwrite(str(folders[0] / name), np.random.default_rng(1).integers(400, 600, (48, 64), np.uint16))
    assert predict(*command).exit_code == 0
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [Path(record["source"]).relative_to(tmp_path).parts[0] for record in records] == ["a", "b", "a"]
    for record in records:
        assert predict(record["source"], *options, "--draw", tmp_path / "own.png", "--force").exit_code == 0
        assert Path(record["picture"]).read_bytes() == (tmp_path / "own.png").read_bytes()
    alone = (*options, "-o", tmp_path / "one.jsonl", "--draw", tmp_path / "one.png", "--resume")
    assert predict(folders[0] / name, *alone).exit_code == 0
    other = predict(folders[1] / name, *alone)
    assert "is one file for 2 inputs" in str(other.exception)


@pytest.mark.parametrize("form", ["json", "npz", "uvd"])
def test_every_format_contains_a_record_of_a_failed_frame(small_model: Path, tmp_path: Path, form: str) -> None:
    frames, out = tmp_path / "frames", tmp_path / "out"
    make_frames(frames, 3)[0].write_bytes(b"\x89PNG")
    empty_cube = ("-c", "200,200,31.5,23.5", "--center", "0,0,5000")
    assert predict(frames, "-m", small_model, *empty_cube, "--format", form, "-o", out).exit_code == 1
    if form == "json":
        records = json.loads(out.read_text())
        assert [record["status"] for record in records] == ["error", *(2 * ["no_hand"])]
        assert "expected a PNG" in records[0]["reason"]
    elif form == "npz":
        with np.load(out) as arrays:
            assert arrays["status"].tolist() == ["error", *(2 * ["no_hand"])]
            assert "expected a PNG" in arrays["reason"][0]
            assert np.isnan(arrays["xyz_mm"]).all()
            assert arrays["xyz_mm"].shape == (3, 14, 3)
    else:
        assert np.isnan(read_predictions(out, NYU14)).all()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems require names in Unicode")
def test_a_file_name_that_is_not_unicode_is_written_as_it_is(small_model: Path, tmp_path: Path) -> None:
    (frame,) = make_frames(tmp_path / "frames", 1)
    frame.rename(tmp_path / os.fsdecode(b"\xff.png"))
    command = [sys.executable, "-m", "handpose", "predict", b"\xff.png", "-m", str(small_model), "--format", "csv"]
    camera = ["-c", "200,200,31.5,23.5,64,48", "--center", "0,0,500"]
    # As with a locale that is not that of C.
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([*command, *camera], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert [line.partition(b",")[0] for line in done.stdout.splitlines()] == [b"source", *[b"\xff.png"] * len(NYU14)]


def test_a_broken_pipe_ends_quietly_with_status_141(small_model: Path, tmp_path: Path) -> None:
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


class Backend(Runtime):
    """A runtime with memory for `max_batch` patches, which records the sizes of its batches."""

    def __init__(self, runtime: Runtime, max_batch: int = 1000) -> None:
        self.runtime, self.max_batch, self.batches = runtime, max_batch, []

    def pose(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.batches.append(len(patches))
        if len(patches) > self.max_batch:
            raise DeviceMemoryError("CUDA out of memory")
        return self.runtime.pose(patches)


@pytest.fixture
def backend(small_model: Path) -> Backend:
    return Backend(load_runtime(find_weights(small_model), "torch", "cpu"))


def run(backend: Backend, model: Path, frames, **options):
    estimator = HandPoseEstimator(backend, find_weights(model).config, "small")
    centers = itertools.repeat(np.array([0.0, 0.0, 500.0]))
    return predict_files(estimator, frames, Query(camera=CAMERA, hand="right"), centers=centers, **options)


def test_out_of_memory_halves_the_batch(small_model: Path, tmp_path: Path, backend: Backend) -> None:
    frames = make_frames(tmp_path / "frames", 40)
    expected = [result.pose.xyz for result in run(backend, small_model, frames)]
    backend.max_batch, backend.batches = 5, []
    results = list(run(backend, small_model, frames))
    assert [result.path for result in results] == frames
    assert backend.batches == [16, 8, 4, 4, 4, 4] * 2 + [8, 4, 4]
    assert np.abs(np.array([result.pose.xyz for result in results]) - expected).max() < 0.01
    backend.max_batch, backend.batches = 1000, []
    list(run(backend, small_model, frames))
    assert backend.batches == [16, 16, 8]  # there is enough memory again
    backend.max_batch = 0
    with pytest.raises(DeviceMemoryError, match="enough memory for a single crop"):
        list(run(backend, small_model, frames))


def test_the_number_of_frames_in_memory_is_bounded(small_model: Path, tmp_path: Path, backend: Backend) -> None:
    frames, requested = make_frames(tmp_path / "frames", 30), []

    def endless():
        for frame in itertools.cycle(frames):
            requested.append(frame)
            yield frame

    before = threading.active_count()
    results = run(backend, small_model, endless(), batch_size=4)
    first = list(itertools.islice(results, 200))
    assert [result.path for result in first] == list(itertools.islice(itertools.cycle(frames), 200))
    assert len(requested) <= 200 + 4 * 5
    results.close()
    assert threading.active_count() == before


def test_a_batch_of_files_equals_single_predictions(tmp_path: Path) -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    paths = [EXAMPLES / "open.png", tmp_path / "broken.png", EXAMPLES / "down.png"]
    results = list(predict_files(estimator, paths, Query(camera=camera), keep_depth=True))
    assert "broken.png" in str(results[1].error)
    for result in (results[0], results[2]):
        one = estimator.predict(result.path, camera=camera)
        assert np.abs(result.pose.xyz - one.xyz).max() < 0.01
        assert result.depth.shape == (480, 640)


def test_strings_are_files_folders_and_globs(small_model: Path) -> None:
    estimator = HandPoseEstimator.from_pretrained(small_model)
    query = Query(Camera.parse(str(EXAMPLES / "camera.json")))

    def names(paths: str | Path | list[str]) -> list[str]:
        return [result.path.name for result in predict_files(estimator, paths, query)]

    images = ["down.png", "open.png", "thumb.png"]
    assert names(str(EXAMPLES / "*.png")) == images
    with pytest.warns(UserWarning, match="1 subfolder"):
        assert names(EXAMPLES) == images
    assert names([str(EXAMPLES / "thumb.png"), str(EXAMPLES / "o*.png")]) == ["thumb.png", "open.png"]
    with pytest.raises(HandPoseError, match="no file matches"):
        names(str(EXAMPLES / "*.tiff"))
