"""Shards, their readers and the output of a cluster job; `test_engine` tests the cluster itself."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import socket
from pathlib import Path

import fsspec
import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import Camera, HandPoseEstimator, Query
from handpose.cli.main import app
from handpose.errors import HandPoseError
from handpose.io.resumable import lock_output
from handpose.jobs.job import PredictJob, PredictOptions, model_settings
from handpose.weights.resolve import find_weights
from tests.helpers.faults_jobs import make_frames
from tests.helpers.paths import EXAMPLES

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from handpose.jobs.cluster.output import MANIFEST, ShardedOutput, write_url  # noqa: E402
from handpose.jobs.cluster.predictor import HandPosePredictor  # noqa: E402 - needs pyarrow
from handpose.jobs.cluster.readers import read_shard  # noqa: E402
from handpose.jobs.cluster.shards import FILES_PER_SHARD, InputFile, Shard, find_shards  # noqa: E402
from handpose.results.table import encode_parquet, to_table  # noqa: E402
from tests.helpers.archives import tar_of  # noqa: E402

CAMERA = Camera(200.0, 200.0, 31.5, 23.5, 64, 48)


def entries(path: Path | str) -> list[tuple[str, bytes, str]]:
    """Read all entries of a shard of one file: name, data, reason."""
    shard = Shard((InputFile(str(path), str(path), None, ""),))
    return [tuple(file) for piece in read_shard(shard, 16) for file in piece]


def test_every_file_belongs_to_one_shard_under_any_name(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", FILES_PER_SHARD + 3)
    tar = tar_of(tmp_path / "frames" / "more.tar", [])
    (tmp_path / "frames" / "notes.txt").write_text("not a frame")
    (other,) = make_frames(tmp_path / "others", 1)
    with pytest.warns(UserWarning, match="inputs that occur more than once are predicted once: 1"):
        shards = find_shards([str(tmp_path / "frames"), str(frames[0]), f"file://{other}", "gone.png"])
    assert [len(shard.files) for shard in shards] == [1, FILES_PER_SHARD, 5]
    assert shards[0].files[0].name == str(tar)
    assert [file.name for file in shards[2].files[-2:]] == [f"file://{other}", "gone.png"]
    assert shards[2].files[-1].size is None
    assert shards[1].size == sum(frame.stat().st_size for frame in frames[:FILES_PER_SHARD])


def test_paths_and_urls_of_the_same_file_list_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (frame,) = make_frames(tmp_path / "frames", 1)
    monkeypatch.chdir(tmp_path)
    spellings = [f"frames/{frame.name}", str(frame), f"frames/../frames/{frame.name}", f"file://{frame}", "frames"]
    with pytest.warns(UserWarning, match="predicted once: 4"):
        (shard,) = find_shards(spellings)
    assert [file.name for file in shard.files] == [f"frames/{frame.name}"]


def test_names_in_an_object_store_are_no_patterns() -> None:
    files = {f"memory://names/{name}.npy": name.encode() for name in ("a", "b[1]", "c?")}
    for url, data in files.items():
        fsspec.filesystem("memory").pipe_file(url, data)
    (shard,) = find_shards(["memory://names"])
    (piece,) = read_shard(shard, 16)
    assert [(file.data, file.reason) for file in piece] == [(data, "") for data in files.values()]
    (shard,) = find_shards(["memory://names/b[1].npy", "memory://names/?.npy"])
    assert [file.name.rpartition("/")[2] for file in shard.files] == ["b[1].npy", "a.npy"]


def test_urls_and_paths_list_the_same_files(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 3)
    for url in (f"file://{tmp_path}/frames", f"file://{tmp_path}/frames/*.png"):
        (shard,) = find_shards([url])
        assert [file.name for file in shard.files] == [f"file://{frame}" for frame in frames]
        assert [file.data for file in next(read_shard(shard, 16))] == [frame.read_bytes() for frame in frames]
    with pytest.raises(HandPoseError, match="contains no depth files, archives or tables"):
        find_shards([f"file://{tmp_path}/*.npy"])
    with pytest.raises(HandPoseError, match=r"cannot be listed \(ValueError: Protocol not known"):
        find_shards(["nowhere://x"])
    with pytest.raises(HandPoseError, match=r"hand.hpr: recordings are only read without `engine=ray`"):
        find_shards([str(EXAMPLES / "hand.hpr")])
    with pytest.raises(HandPoseError, match=r"^gone.png, .*/gone.tar: no such file; expected frames"):
        find_shards(["gone.png", f"file://{tmp_path}/gone.tar"])


def test_subfolders_are_listed_on_request(tmp_path: Path) -> None:
    make_frames(tmp_path / "frames", 2)
    make_frames(tmp_path / "frames" / "more", 1)
    for folder in (str(tmp_path / "frames"), f"file://{tmp_path}/frames"):
        (shard,) = find_shards([folder], recursive=True)
        assert sorted(file.name.partition("/frames/")[2] for file in shard.files) == [
            "000000.png",
            "000001.png",
            "more/000000.png",
        ]
        with pytest.warns(UserWarning, match=r"frames: .*subfolder.* pass `recursive=True` to include"):
            (shard,) = find_shards([folder])
        assert len(shard.files) == 2
    with pytest.raises(HandPoseError, match=r"contains no depth files, .*; subfolders are skipped: 1; pass `recursive"):
        find_shards([f"file://{tmp_path}"])


def test_the_digest_of_a_shard_changes_with_its_files(tmp_path: Path) -> None:
    (frame,) = make_frames(tmp_path / "frames", 1)
    (before,), (same,) = find_shards([str(frame)]), find_shards([str(frame)])
    os.utime(frame, ns=(1, 1))
    (after,) = find_shards([str(frame)])
    assert before.digest == same.digest != after.digest


def test_missing_and_other_files_have_an_entry_with_the_reason(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 4)
    shards = find_shards([*map(str, frames), f"file://{tmp_path}/none.png", str(tmp_path / "frames" / "x.txt")])
    frames[1].unlink()
    got = [file for piece in read_shard(shards[0], 16) for file in piece]
    assert [bool(file.data) for file in got] == [True, False, True, True, False, False]
    assert got[1].reason.startswith(f"{frames[1]}: no such file; expected a depth image")
    assert got[4].reason.startswith(f"file://{tmp_path}/none.png: no such file; expected a depth image")


def test_pieces_consist_of_complete_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handpose.jobs.cluster.readers._PIECE_FILES", 10)
    members = [(f"{i:03}.png", b"x" * i) for i in range(50)]
    tar = tar_of(tmp_path / "a.tar", members)
    pieces = list(read_shard(find_shards([str(tar)])[0], 4))
    assert [len(piece) for piece in pieces] == [12, 12, 12, 12, 2]
    assert [file.data for file in itertools.chain(*pieces)] == [data for _, data in members]
    monkeypatch.setattr("handpose.jobs.cluster.readers._PIECE_BYTES", 100)
    assert max(len(piece) for piece in list(read_shard(find_shards([str(tar)])[0], 4))[5:]) == 4


@pytest.mark.parametrize("folder", ["", "./", "s/", "./s/", "session.1/", "2026.11.28/cam.0/"])
def test_a_dot_in_a_folder_does_not_join_samples(tmp_path: Path, folder: str) -> None:
    """As in an archive that `tar -cf a.tar .` writes, whose names start with a dot."""
    names = ("0.png", "1.depth.png", "1.color.png", "2.png")
    tar = tar_of(tmp_path / "a.tar", [(folder + name, name.encode()) for name in names])
    assert [data for _, data, _ in entries(tar)] == [b"0.png", b"1.depth.png", b"2.png"]


def test_only_the_depth_files_of_an_archive_are_read(tmp_path: Path) -> None:
    tar = tar_of(
        tmp_path / "a.tar",
        [("s/0.png", b"0"), ("s/0.json", b"{}"), ("s/1.color.png", b"c"), ("s/1.depth.png", b"1"), ("s/2.npy", b"2")],
    )
    assert entries(tar) == [
        (f"{tar}/s/0.png", b"0", ""),
        (f"{tar}/s/1.depth.png", b"1", ""),
        (f"{tar}/s/2.npy", b"2", ""),
    ]


@pytest.mark.parametrize("harm", ["truncated member", "truncated between members", "damaged header", "no end mark"])
def test_the_remainder_of_a_damaged_archive_is_an_error(tmp_path: Path, harm: str) -> None:
    """Members have 512 bytes, so the header of member n is at 1024 n, followed by its data."""
    tar = tar_of(tmp_path / "a.tar", [(f"{i}.png", bytes([i]) * 512) for i in range(4)])
    data = bytearray(tar.read_bytes())
    if harm == "damaged header":
        data[2048:2148] = b"?" * 100
    else:
        del data[{"truncated member": 2048 + 600, "truncated between members": 2048, "no end mark": 4096}[harm] :]
    tar.write_bytes(data)
    *complete, last = entries(tar)
    expected = 4 if harm == "no end mark" else 2
    assert [(name, data) for name, data, _ in complete[:expected]] == [
        (f"{tar}/{i}.png", bytes([i]) * 512) for i in range(expected)
    ]
    assert last[0] == str(tar)
    assert last[1] == b""
    assert last[2].startswith(f"{tar}: cannot be read to its end (")
    assert len(complete) == expected


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".parquet"])
def test_a_missing_invalid_or_empty_archive_is_one_entry(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    assert [(data, reason) for _, data, reason in entries(file)] == [
        (b"", f"{file}: no such file; its frames are missing")
    ]
    file.write_bytes(b"not an archive" * 100)
    (only,) = entries(file)
    assert "cannot be read to its end" in only[2]
    if suffix == ".tar":
        tar_of(file, [("readme.txt", b"")])
        assert "contains no depth files" in entries(file)[0][2]


@pytest.mark.parametrize("nested", [False, True])
def test_rows_of_a_table_are_frames(tmp_path: Path, nested: bool) -> None:
    rows = [{"bytes": b"0", "path": "0.png"}, {"bytes": None, "path": "1.png"}, {"bytes": b"2", "path": None}]
    file = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"image": row, "label": 1} for row in rows] if nested else rows), file)
    assert entries(file) == [
        (f"{file}/0.png", b"0", ""),
        (f"{file}/1.png", b"", f"{file}/1.png: the row contains no bytes"),
        (f"{file}/00000002", b"2", ""),
    ]


def test_a_table_without_frames_is_rejected_with_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1], "y": [2]}), file)
    assert "expected a column bytes" in entries(file)[0][2]
    assert entries(file)[0][2].endswith("got x, y")


def test_the_remainder_of_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows = [{"bytes": bytes([i]) * 5000, "path": f"{i}.png"} for i in range(64)]
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=16, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(file).metadata.row_group(2).column(0)
    data = bytearray(file.read_bytes())
    data[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = bytes(
        column.total_compressed_size
    )
    file.write_bytes(data)
    *complete, last = entries(file)
    assert [data for _, data, _ in complete] == [row["bytes"] for row in rows[:32]]
    assert "cannot be read to its end" in last[2]


def test_a_predictor_returns_the_records_of_the_estimator() -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    names = [str(EXAMPLES / name) for name in ("open.png", "thumb.png")]
    data = [Path(name).read_bytes() for name in names]
    predict = HandPosePredictor("msra", Query(camera=camera), device="cpu", backend="torch")
    rows = predict({"path": np.array([*names, "bad.png"]), "bytes": np.array([*data, b"?"], object)}).to_pylist()
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", backend="torch")
    expected = [
        pose.to_dict() | {"reason": None, "picture": None, "time_s": None, "unit": None}
        for pose in estimator.predict(names, camera=camera)
    ]
    assert rows[:2] == expected
    assert {key: value for key, value in rows[2].items() if value is not None} == {
        "source": "bad.png",
        "status": "error",
        "reason": "expected a PNG, got 1 bytes of another format or a truncated file",
    }


def test_a_batch_without_names_or_bytes_is_no_traceback(small_model: Path) -> None:
    predict = HandPosePredictor(small_model, device="cpu", backend="torch")
    with pytest.raises(HandPoseError, match=r"but 'path' is missing; .* include_paths=True"):
        predict({"bytes": [b""]})
    (row,) = predict({"path": ["a.png"], "bytes": [None]}).to_pylist()
    assert (row["source"], row["status"], row["reason"]) == ("a.png", "error", "the row contains no bytes")


@pytest.mark.filterwarnings("ignore:a.npy. may be a:handpose.InputWarning")
@pytest.mark.filterwarnings("ignore:.*nothing at the given hand center:handpose.io.warn.InputWarning")
def test_a_given_center_is_used(camera: Camera) -> None:
    (row,) = HandPosePredictor(query=Query(camera=CAMERA, center=[1, 2, 400]), backend="torch")(
        {"path": ["a.npy"], "bytes": [npy(np.full((48, 64), 400, np.uint16))]}
    ).to_pylist()
    assert row["center_mm"] == [1.0, 2.0, 400.0]


def npy(array: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def shards_of(count: int) -> list[Shard]:
    return [Shard((InputFile(f"{i}.png", f"/{i}.png", 100 + i, "v"),)) for i in range(count)]


@pytest.mark.parametrize("store", ["disk", "memory://results"])
def test_a_job_is_resumed_shard_by_shard(tmp_path: Path, store: str) -> None:
    folder = str(tmp_path / "out") if store == "disk" else f"{store}/{tmp_path.name}"
    shards, settings = shards_of(3), {"model": "msra", "box": (1, 2, 3, 4)}
    output = ShardedOutput(folder, settings, shards, resume=False, force=False)
    for number in (0, 2):
        write_url(f"{output.stem(shards[number])}-00000.parquet", encode_parquet(to_table([])))
        output.finish(shards[number], 10, number)
    output.close()
    with pytest.raises(HandPoseError, match="already contains results; pass `resume=True`"):
        ShardedOutput(folder, settings, shards, resume=False, force=False)
    with pytest.raises(HandPoseError, match="was started with model 'msra', not 'nyu'"):
        ShardedOutput(folder, settings | {"model": "nyu"}, shards, resume=True, force=False)
    with pytest.raises(HandPoseError, match="the input has changed"):
        ShardedOutput(folder, settings, shards[:2], resume=True, force=False)

    incomplete = f"{output.stem(shards[1])}-00007.parquet"
    write_url(incomplete, encode_parquet(to_table([])))
    resumed = ShardedOutput(folder, settings, shards, resume=True, force=False)
    assert [resumed.contains(shard) for shard in shards] == [True, False, True]
    assert (resumed.rows, resumed.failed) == (20, 2)
    files, path = fsspec.core.url_to_fs(folder)
    names = {name.rpartition("/")[2] for name in files.ls(path, detail=False)}
    assert names == {MANIFEST, *(f"part-{shards[number].digest}-00000.parquet" for number in (0, 2))}
    with files.open(f"{path}/{MANIFEST}", "ab") as file:
        file.write(b'{"file": "torn')
    torn = ShardedOutput(folder, settings, shards, resume=True, force=False)
    assert [torn.contains(shard) for shard in shards] == [True, False, True]

    ShardedOutput(folder, settings, shards, resume=False, force=True)
    assert [name.rpartition("/")[2] for name in files.ls(path, detail=False)] == [MANIFEST]


def test_outputs_that_cannot_be_resumed_or_written_are_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    ShardedOutput(str(folder), {}, [], resume=False, force=False)
    spark = folder / "part-00000-6d5c2ff2-c000.snappy.parquet"
    spark.write_bytes(b"results")
    for resume, force in ((False, False), (True, False), (False, True)):
        with pytest.raises(HandPoseError, match=f"Parquet files of another program, such as {spark.name}; use another"):
            ShardedOutput(str(folder), {}, [], resume=resume, force=force)
    assert spark.read_bytes() == b"results"
    spark.rename(folder / f"part-{'0' * 16}-00000.parquet")
    (folder / MANIFEST).unlink()
    with pytest.raises(HandPoseError, match="has no manifest to resume from; pass `force=True`"):
        ShardedOutput(str(folder), {}, [], resume=True, force=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(HandPoseError, match="is a file; expected a folder"):
        ShardedOutput(str(tmp_path / "file"), {}, [], resume=False, force=False)
    with pytest.raises(HandPoseError, match="cannot be written"):
        ShardedOutput("nowhere://x", {}, [], resume=False, force=False)


def test_rows_equal_json_records(tmp_path: Path) -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", backend="torch")
    poses = estimator.predict([EXAMPLES / "open.png", np.zeros((480, 640), np.float32)], camera=Camera.parse("msra"))
    file = tmp_path / "a.parquet"
    file.write_bytes(encode_parquet(to_table(poses)))
    rows = pq.read_table(file).to_pylist()
    expected = [json.loads(json.dumps(pose.to_dict())) for pose in poses]
    assert [{key: row[key] for key in pose} for row, pose in zip(rows, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "ray"], "`engine=ray` requires `output=...`"),
        (["--engine", "ray", "-o", "OUT", "--format", "csv"], "--engine ray writes Parquet"),
        (["--engine", "ray", "-o", "OUT", "--draw", "OUT"], "--engine ray writes Parquet"),
        (["--workers", "2"], "--address and --workers require --engine ray"),
        (["--engine", "ray", "-o", "OUT", "--center", "here.txt"], "expected --center X,Y,Z with --engine ray"),
        (["--engine", "ray", "-o", "OUT", "--address", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9"),
    ],
)
def test_usage_errors_of_cluster_jobs_are_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    pytest.importorskip("ray")
    options = [str(tmp_path / "out") if option == "OUT" else option for option in options]
    result = CliRunner().invoke(app, ["predict", str(EXAMPLES / "open.png"), "-c", "msra", *options])
    printed = str(result.exception) if isinstance(result.exception, HandPoseError) else result.output
    assert result.exit_code != 0
    assert message in printed


def test_without_a_cluster_existing_results_are_kept(small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from handpose.jobs.cluster.run import predict_on_cluster

    make_frames(tmp_path / "frames", 1)
    (tmp_path / "out").mkdir()
    part = tmp_path / "out/part-0123456789abcdef-00000.parquet"
    part.write_bytes(b"results")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"  # where nothing listens after this block
    options = PredictOptions(small_model, Query(CAMERA), backend="torch", device="cpu")
    job = PredictJob([str(tmp_path / "frames")], str(tmp_path / "out"), options, force=True)
    with pytest.raises(HandPoseError, match=f"no Ray cluster at {address}"):
        next(predict_on_cluster(job, address))
    assert part.read_bytes() == b"results"


def test_a_worker_with_another_model_is_rejected(small_model: Path) -> None:
    """On another machine, a path may be that of another model."""
    pytest.importorskip("ray")
    from handpose.jobs.cluster.engine import _Worker

    options = PredictOptions(small_model, Query(CAMERA), backend="torch", device="cpu")
    model = model_settings(options.load_estimator())
    other = find_weights("icvl").sha256
    with pytest.raises(HandPoseError, match=f"expected sha256 {other}, got {model['sha256']}; every machine needs"):
        _Worker(options, model | {"sha256": other})


def test_two_processes_do_not_write_to_the_same_folder(small_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from handpose.jobs.cluster.run import predict_on_cluster

    make_frames(tmp_path / "frames", 1)
    options = PredictOptions(small_model, Query(CAMERA), backend="torch", device="cpu")
    job = PredictJob([str(tmp_path / "frames")], str(tmp_path / "out"), options, resume=True)
    (tmp_path / "out").mkdir()
    with lock_output(tmp_path / "out" / MANIFEST), pytest.raises(HandPoseError, match="another process is writing"):
        next(predict_on_cluster(job))
    with contextlib.closing(predict_on_cluster(job)) as steps:
        assert next(steps).total == 1
