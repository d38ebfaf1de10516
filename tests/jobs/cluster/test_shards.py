"""Shards, their readers and the folder of results; the cluster itself is in `test_cluster`."""

from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import Camera, HandPoseEstimator, Query
from handpose.cli.main import app
from handpose.errors import HandPoseError
from tests.helpers.faults_jobs import make_frames
from tests.helpers.paths import EXAMPLES

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from handpose.jobs.cluster.output import MANIFEST, ShardedOutput, write_url  # noqa: E402
from handpose.jobs.cluster.predictor import HandPosePredictor  # noqa: E402 - needs pyarrow
from handpose.jobs.cluster.readers import read_shard  # noqa: E402
from handpose.jobs.cluster.shards import FILES_PER_SHARD, InputFile, Shard, find_shards  # noqa: E402
from handpose.jobs.cluster.table import encode_parquet, records_table  # noqa: E402
from tests.helpers.archives import tar_of  # noqa: E402

CAMERA = Camera(200.0, 200.0, 31.5, 23.5, 64, 48)


def entries(path: Path | str) -> list[tuple[str, bytes, str]]:
    """All that a shard of one file gives, in one list: name, data, reason."""
    shard = Shard((InputFile(str(path), str(path), None, ""),))
    return [tuple(file) for piece in read_shard(shard, 16) for file in piece]


def test_every_file_is_in_one_shard_whatever_it_is_called_by(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", FILES_PER_SHARD + 3)
    tar = tar_of(tmp_path / "frames" / "more.tar", [])
    (tmp_path / "frames" / "notes.txt").write_text("no frame")
    shards = find_shards([str(tmp_path / "frames"), str(frames[0]), f"file://{frames[1]}", "gone.png"])
    assert [len(shard.files) for shard in shards] == [1, FILES_PER_SHARD, 5]
    assert shards[0].files[0].name == str(tar)
    assert [file.name for file in shards[2].files[-2:]] == [f"file://{frames[1]}", "gone.png"]
    assert shards[2].files[-1].size is None
    assert shards[1].size == sum(frame.stat().st_size for frame in frames[:FILES_PER_SHARD])


def test_urls_and_paths_name_the_same_files(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 3)
    for url in (f"file://{tmp_path}/frames", f"file://{tmp_path}/frames/*.png"):
        (shard,) = find_shards([url])
        assert [file.name for file in shard.files] == [f"file://{frame}" for frame in frames]
        assert [file.data for file in next(read_shard(shard, 16))] == [frame.read_bytes() for frame in frames]
    with pytest.raises(HandPoseError, match="contains no depth files, archives or tables"):
        find_shards([f"file://{tmp_path}/*.npy"])
    with pytest.raises(HandPoseError, match=r"cannot be listed \(ValueError: Protocol not known"):
        find_shards(["nowhere://x"])
    with pytest.raises(HandPoseError, match=r"^gone.png, .*/gone.tar: no such file; expected frames"):
        find_shards(["gone.png", f"file://{tmp_path}/gone.tar"])


def test_a_shard_is_another_when_a_file_has_changed(tmp_path: Path) -> None:
    (frame,) = make_frames(tmp_path / "frames", 1)
    (before,), (same,) = find_shards([str(frame)]), find_shards([str(frame)])
    os.utime(frame, ns=(1, 1))
    (after,) = find_shards([str(frame)])
    assert before.digest == same.digest != after.digest


def test_files_that_are_gone_or_no_depth_files_keep_their_place(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 4)
    shards = find_shards([*map(str, frames), f"file://{tmp_path}/none.png", str(tmp_path / "frames" / "x.txt")])
    frames[1].unlink()
    got = [file for piece in read_shard(shards[0], 16) for file in piece]
    assert [bool(file.data) for file in got] == [True, False, True, True, False, False]
    assert got[1].reason.startswith(f"{frames[1]}: no such file; expected a depth image")
    assert got[4].reason.startswith(f"file://{tmp_path}/none.png: no such file; expected a depth image")


def test_pieces_are_whole_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handpose.jobs.cluster.readers._PIECE_FILES", 10)
    members = [(f"{i:03}.png", b"x" * i) for i in range(50)]
    tar = tar_of(tmp_path / "a.tar", members)
    pieces = list(read_shard(find_shards([str(tar)])[0], 4))
    assert [len(piece) for piece in pieces] == [12, 12, 12, 12, 2]
    assert [file.data for file in itertools.chain(*pieces)] == [data for _, data in members]
    monkeypatch.setattr("handpose.jobs.cluster.readers._PIECE_BYTES", 100)
    assert max(len(piece) for piece in list(read_shard(find_shards([str(tar)])[0], 4))[5:]) == 4


def test_an_archive_holds_samples_of_which_depth_is_taken(tmp_path: Path) -> None:
    tar = tar_of(
        tmp_path / "a.tar",
        [("s/0.png", b"0"), ("s/0.json", b"{}"), ("s/1.color.png", b"c"), ("s/1.depth.png", b"1"), ("s/2.npy", b"2")],
    )
    assert entries(tar) == [
        (f"{tar}/s/0.png", b"0", ""),
        (f"{tar}/s/1.depth.png", b"1", ""),
        (f"{tar}/s/2.npy", b"2", ""),
    ]


@pytest.mark.parametrize("harm", ["cut in a member", "cut between members", "damaged header", "no end"])
def test_what_is_missing_of_a_damaged_archive_is_told(tmp_path: Path, harm: str) -> None:
    """Members of 512 bytes: header and data of the n-th begin at 1024 n."""
    tar = tar_of(tmp_path / "a.tar", [(f"{i}.png", bytes([i]) * 512) for i in range(4)])
    data = bytearray(tar.read_bytes())
    if harm == "damaged header":
        data[2048:2148] = b"?" * 100
    else:
        del data[{"cut in a member": 2048 + 600, "cut between members": 2048, "no end": 4096}[harm] :]
    tar.write_bytes(data)
    *whole, last = entries(tar)
    there = 4 if harm == "no end" else 2
    assert [(name, data) for name, data, _ in whole[:there]] == [
        (f"{tar}/{i}.png", bytes([i]) * 512) for i in range(there)
    ]
    assert last[0] == str(tar)
    assert last[1] == b""
    assert last[2].startswith(f"{tar}: cannot be read to its end (")
    assert len(whole) == there


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".parquet"])
def test_an_archive_that_is_none_gone_or_empty_is_one_entry(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    assert [(data, reason) for _, data, reason in entries(file)] == [
        (b"", f"{file}: no such file; its frames are missing")
    ]
    file.write_bytes(b"nothing of the kind" * 100)
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


def test_a_table_without_frames_says_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1], "y": [2]}), file)
    assert "expected a column bytes" in entries(file)[0][2]
    assert entries(file)[0][2].endswith("got x, y")


def test_what_is_missing_of_a_damaged_table_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows = [{"bytes": bytes([i]) * 5000, "path": f"{i}.png"} for i in range(64)]
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=16, compression="zstd", use_dictionary=False)
    place = pq.ParquetFile(file).metadata.row_group(2).column(0)
    data = bytearray(file.read_bytes())
    data[place.data_page_offset : place.data_page_offset + place.total_compressed_size] = bytes(
        place.total_compressed_size
    )
    file.write_bytes(data)
    *whole, last = entries(file)
    assert [data for _, data, _ in whole] == [row["bytes"] for row in rows[:32]]
    assert "cannot be read to its end" in last[2]


def test_a_predictor_gives_the_estimators_records_for_a_batch() -> None:
    camera = Camera.parse(str(EXAMPLES / "camera.json"))
    names = [str(EXAMPLES / name) for name in ("open.png", "thumb.png")]
    data = [Path(name).read_bytes() for name in names]
    predict = HandPosePredictor("msra", Query(camera=camera), device="cpu", backend="torch")
    rows = predict({"path": np.array([*names, "bad.png"]), "bytes": np.array([*data, b"?"], object)}).to_pylist()
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", backend="torch")
    expected = [pose.to_dict() | {"reason": None} for pose in estimator.predict(names, camera=camera)]
    assert rows[:2] == expected
    assert {key: value for key, value in rows[2].items() if value is not None} == {
        "source": "bad.png",
        "status": "error",
        "reason": "bad.png: expected a PNG, got 1 bytes of something else or cut short",
    }


def test_a_given_centre_is_used(camera: Camera) -> None:
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


@pytest.mark.parametrize("place", ["disk", "memory://results"])
def test_results_are_gone_on_with_shard_by_shard(tmp_path: Path, place: str) -> None:
    folder = str(tmp_path / "out") if place == "disk" else f"{place}/{tmp_path.name}"
    shards, settings = shards_of(3), {"model": "msra", "box": (1, 2, 3, 4)}
    output = ShardedOutput(folder, settings, shards, resume=False, force=False)
    for number in (0, 2):
        write_url(f"{output.stem(shards[number])}-00000.parquet", encode_parquet(records_table([])))
        output.finish(shards[number], 10, number)
    output.close()
    with pytest.raises(HandPoseError, match="already contains results; pass --resume"):
        ShardedOutput(folder, settings, shards, resume=False, force=False)
    with pytest.raises(HandPoseError, match="was begun with model 'msra', now it is 'nyu'"):
        ShardedOutput(folder, settings | {"model": "nyu"}, shards, resume=True, force=False)
    with pytest.raises(HandPoseError, match="the input has changed"):
        ShardedOutput(folder, settings, shards[:2], resume=True, force=False)

    incomplete = f"{output.stem(shards[1])}-00007.parquet"
    write_url(incomplete, encode_parquet(records_table([])))
    again = ShardedOutput(folder, settings, shards, resume=True, force=False)
    assert [again.holds(shard) for shard in shards] == [True, False, True]
    assert (again.rows, again.failed) == (20, 2)
    store, path = fsspec.core.url_to_fs(folder)
    names = {name.rpartition("/")[2] for name in store.ls(path, detail=False)}
    assert names == {MANIFEST, *(f"part-{shards[number].digest}-00000.parquet" for number in (0, 2))}
    with store.open(f"{path}/{MANIFEST}", "ab") as file:
        file.write(b'{"file": "torn')
    torn = ShardedOutput(folder, settings, shards, resume=True, force=False)
    assert [torn.holds(shard) for shard in shards] == [True, False, True]

    ShardedOutput(folder, settings, shards, resume=False, force=True)
    assert [name.rpartition("/")[2] for name in store.ls(path, detail=False)] == [MANIFEST]


def test_results_that_cannot_be_gone_on_with_or_written_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    ShardedOutput(str(folder), {}, [], resume=False, force=False)
    write_url(f"{folder}/part-0-00000.parquet", b"")
    (folder / MANIFEST).unlink()
    with pytest.raises(HandPoseError, match="has no manifest to resume from; pass --force"):
        ShardedOutput(str(folder), {}, [], resume=True, force=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(HandPoseError, match="is a file; expected a folder"):
        ShardedOutput(str(tmp_path / "file"), {}, [], resume=False, force=False)
    with pytest.raises(HandPoseError, match="cannot be written"):
        ShardedOutput("nowhere://x", {}, [], resume=False, force=False)


def test_records_in_a_table_are_those_in_json(tmp_path: Path) -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", backend="torch")
    poses = estimator.predict([EXAMPLES / "open.png", np.zeros((480, 640), np.float32)], camera=Camera.parse("msra"))
    file = tmp_path / "a.parquet"
    file.write_bytes(encode_parquet(records_table(poses)))
    rows = pq.read_table(file).to_pylist()
    expected = [json.loads(json.dumps(pose.to_dict())) for pose in poses]
    assert [{key: row[key] for key in pose} for row, pose in zip(rows, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ray"], "--engine ray requires -o"),
        (["--engine", "ray", "-o", "OUT", "--format", "csv"], "--engine ray writes Parquet"),
        (["--engine", "ray", "-o", "OUT", "--draw", "OUT"], "--engine ray writes Parquet"),
        (["--workers", "2"], "--address and --workers require --engine ray"),
        (["--engine", "ray", "-o", "OUT", "--center", "here.txt"], "expected --center X,Y,Z with --engine ray"),
        (["--engine", "ray", "-o", "OUT", "--address", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9"),
    ],
)
def test_what_the_cluster_cannot_do_is_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    pytest.importorskip("ray")
    options = [str(tmp_path / "out") if option == "OUT" else option for option in options]
    result = CliRunner().invoke(app, ["predict", str(EXAMPLES / "open.png"), "-c", "msra", *options])
    told = str(result.exception) if isinstance(result.exception, HandPoseError) else result.output
    assert result.exit_code != 0
    assert said in told
