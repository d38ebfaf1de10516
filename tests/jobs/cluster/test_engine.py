"""Jobs and their failures on a real Ray cluster on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.archives import tar_of
from tests.helpers.faults_jobs import job, make_frames

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")

from handpose.errors import HandPoseError  # noqa: E402
from handpose.inference.query import Query  # noqa: E402
from handpose.jobs.cluster.engine import connect, predict_shards  # noqa: E402
from handpose.jobs.cluster.output import MANIFEST, ShardedOutput  # noqa: E402
from handpose.jobs.cluster.predictor import HandPosePredictor  # noqa: E402 - needs pyarrow
from handpose.jobs.cluster.shards import find_shards  # noqa: E402
from handpose.jobs.job import PredictOptions  # noqa: E402

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(small_model: Path) -> Iterator[Start]:
    """Start jobs on separate clusters, and kill the remaining processes after the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(inputs: Path | str, out: Path | str, *options: str, **environment: str) -> subprocess.Popen[str]:
        command = job(small_model, inputs, out, "--engine", "ray", "--backend", "torch", "--device", "cpu", *options)
        environment = os.environ | environment
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    printed = process.communicate(timeout=300)[1]
    return process.returncode, printed


def rows(out: Path | str) -> dict[str, dict[str, object]]:
    """Return the results by source, which must be unique."""
    table = pq.read_table(out).to_pylist()
    by_source = {row["source"]: {key: value for key, value in row.items() if value is not None} for row in table}
    assert len(by_source) == len(table)
    return by_source


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def workers() -> list[int]:
    """Return the processes of this machine that run a network for a Ray job."""
    ids = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"MapWorker(MapBatches(_Worker))" in process.read_bytes():
                ids.append(int(process.parent.name))
        except OSError:
            pass  # the process has just ended
    return ids


def test_records_are_bitwise_identical_to_those_of_the_local_engine(
    start: Start, small_model: Path, tmp_path: Path
) -> None:
    frames = make_frames(tmp_path / "frames", 300)
    frames[7].write_bytes(b"not a PNG")
    frames[200].write_bytes(frames[200].read_bytes()[:-20])
    process = start(tmp_path / "frames", tmp_path / "out")
    local = job(small_model, tmp_path / "frames", tmp_path / "local.jsonl", "--backend", "torch", "--device", "cpu")
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # the setting of the workers
    assert subprocess.run(local, check=False, capture_output=True, env=one_thread).returncode == 1
    code, printed = ended(process)
    assert code == 1
    assert printed.endswith("3 of 3 shards, 300 frames, 2 failed: see the column reason\n")
    expected = [json.loads(line) for line in (tmp_path / "local.jsonl").read_text().splitlines()]
    assert rows(tmp_path / "out") == {record["source"]: record for record in expected}


def test_every_input_has_one_row_although_a_worker_is_killed_and_files_are_deleted(
    start: Start, tmp_path: Path
) -> None:
    frames = make_frames(tmp_path / "frames", 1500)
    tar = tar_of(
        tmp_path / "frames" / "truncated.tar", [(f"{frame.name}", frame.read_bytes()) for frame in frames[:40]]
    )
    tar.write_bytes(tar.read_bytes()[:-30_000])
    process = start(tmp_path / "frames", tmp_path / "out")
    wait_until((tmp_path / "out" / MANIFEST).exists, process)  # the input is listed, but nothing has been read
    deleted = frames[-50:]
    for frame in deleted:
        frame.unlink()
    wait_until(lambda: any((tmp_path / "out").glob("part-*")), process)
    (worker, *_) = workers()
    os.kill(worker, signal.SIGKILL)
    code, printed = ended(process)
    assert code == 1, printed
    results = rows(tmp_path / "out")
    of_tar = [source for source in results if source.startswith(f"{tar}/")]
    assert set(results) == {*map(str, frames), str(tar), *of_tar}
    assert 0 < len(of_tar) < 40
    assert "the frames after this are missing" in str(results[str(tar)]["reason"])
    assert all("no such file" in str(results[str(frame)]["reason"]) for frame in deleted)
    assert sum(row["status"] == "error" for row in results.values()) == 51


def test_a_killed_job_is_resumed_with_the_remaining_shards(start: Start, tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 1500)
    process = start(tmp_path / "frames", tmp_path / "out")
    manifest = tmp_path / "out" / MANIFEST
    wait_until(lambda: manifest.exists() and manifest.read_text().count("\n") >= 3, process)
    process.kill()
    process.wait()
    finished = {json.loads(line)["file"] for line in manifest.read_text().splitlines()[1:]}
    assert 0 < len(finished) < 12
    before = {
        part: part.stat().st_mtime_ns for part in (tmp_path / "out").glob("part-*") if part.name[5:21] in finished
    }
    assert ended(start(tmp_path / "frames", tmp_path / "out", "--resume"))[0] == 0
    assert set(rows(tmp_path / "out")) == {*map(str, frames)}
    assert {part: part.stat().st_mtime_ns for part in before} == before


def test_frames_and_results_in_an_object_store(start: Start, tmp_path: Path) -> None:
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
        store = s3fs.S3FileSystem(key="any", secret="any", endpoint_url=address)
        store.mkdir("bucket")
        frames = make_frames(tmp_path / "frames", 140)
        store.put([str(frame) for frame in frames], [f"bucket/frames/{frame.name}" for frame in frames])
        tar = tar_of(tmp_path / "a.tar", [(frame.name, frame.read_bytes()) for frame in frames[:20]])
        store.put(str(tar), "bucket/frames/a.tar")
        code, printed = ended(start("s3://bucket/frames", "s3://bucket/out", AWS_ENDPOINT_URL=address, **keys))
        assert (code, printed.splitlines()[-1]) == (0, "3 of 3 shards, 160 frames, 0 failed"), printed
        store.get("bucket/out", str(tmp_path / "got"), recursive=True)
        expected = {f"s3://bucket/frames/{frame.name}" for frame in frames}
        expected |= {f"s3://bucket/frames/a.tar/{frame.name}" for frame in frames[:20]}
        assert set(rows(tmp_path / "got")) == expected
        again = start("s3://bucket/frames", "s3://bucket/out", "--resume", AWS_ENDPOINT_URL=address, **keys)
        assert ended(again)[0] == 0
        assert set(store.ls("bucket/out")) == {f"bucket/out/{file.name}" for file in (tmp_path / "got").iterdir()}
    finally:
        server.stop()


def test_a_worker_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    (frame,) = make_frames(tmp_path / "frames", 1)
    shards = find_shards([str(frame)])
    output = ShardedOutput(str(tmp_path / "out"), {}, shards, resume=False, force=False)
    connect(None)
    try:
        with pytest.raises(HandPoseError, match=r"^a worker of the cluster failed: WeightsError: .*no config.json"):
            list(predict_shards(shards, output, PredictOptions(str(tmp_path), Query(), device="cpu"), {}))
    finally:
        ray.shutdown()


def test_the_predictor_maps_a_ray_dataset(small_model: Path, tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 70)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        (
            ray.data.read_binary_files(str(tmp_path / "frames"), include_paths=True)
            .map_batches(
                HandPosePredictor,
                fn_constructor_kwargs={
                    "model": str(small_model),
                    "query": Query(center=[0, 0, 500]),
                    "device": "cpu",
                },
                batch_size=32,
                concurrency=(1, 2),
                num_cpus=0.5,
            )
            .write_parquet(str(tmp_path / "out"))
        )
    finally:
        ray.shutdown()
    got = rows(tmp_path / "out")
    assert {Path(source).name for source in got} == {frame.name for frame in frames}
    assert {row["status"] for row in got.values()} == {"ok"}
