"""Files with several frames, colors that code depth, and raw values."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from handpose import Camera, DepthUnitWarning, HandPoseEstimator, InputWarning, Query, Recorder
from handpose.errors import DepthReadError, HandPoseError
from handpose.io.depth.read import decode_depth, read_depth
from handpose.io.depth.stacks import count_frames, split_frames
from handpose.jobs.job import PredictJob, PredictOptions
from handpose.jobs.local import predict_local
from handpose.live.sources.folder import frames
from handpose.recordings.frame import DepthFrame
from tests.helpers.command import run
from tests.helpers.paths import EXAMPLES

STACK = np.random.default_rng(0).integers(300, 900, (3, 40, 50), dtype=np.uint16)


def write(path: Path, stack: np.ndarray = STACK) -> Path:
    if path.suffix == ".npy":
        np.save(path, stack)
    elif path.suffix == ".npz":
        np.savez_compressed(path, depth=stack, other=np.zeros(3))
    else:
        assert cv2.imwritemulti(str(path), list(stack))
    return path


NAMES = ["a.npy", "a.npz", "a.tif"]


@pytest.mark.parametrize("name", NAMES)
def test_the_frames_of_a_file_are_numbered(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert count_frames(path) == 3
    found = list(split_frames(name, path.read_bytes()))
    assert [frame.name for frame in found] == [f"{name}#0", f"{name}#1", f"{name}#2"]
    for frame, expected in zip(found, STACK, strict=True):
        assert np.array_equal(decode_depth(frame.data, frame.name), expected)


@pytest.mark.parametrize("name", NAMES)
def test_one_frame_is_expected(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with pytest.raises(DepthReadError, match=r"contains 3 frames.*list of arrays"):
        read_depth(path)
    single = write(tmp_path / f"one-{name}", STACK[:1])
    assert count_frames(single) == 1
    assert np.array_equal(read_depth(single), STACK[0])
    assert [frame.name for frame in split_frames(name, single.read_bytes())] == [name]


def test_arrays_of_other_shapes_are_rejected_without_their_header(tmp_path: Path) -> None:
    for shape in ((40, 50, 3), (2, 3, 40, 50), (50,), ()):
        np.save(tmp_path / "a.npy", np.ones(shape, np.uint16))
        with pytest.raises(DepthReadError, match=r"expected \(H, W\), or \(N, H, W\)") as error:
            read_depth(tmp_path / "a.npy")
        assert "descr" not in str(error.value)
    np.save(tmp_path / "a.npy", STACK[0][..., None])
    assert np.array_equal(read_depth(tmp_path / "a.npy"), STACK[0])
    np.save(tmp_path / "a.npy", np.array(["text"]))
    with pytest.raises(DepthReadError, match="does not contain numbers; expected"):
        read_depth(tmp_path / "a.npy")


def test_a_truncated_file_loses_no_frame_without_a_reason(tmp_path: Path) -> None:
    data = write(tmp_path / "a.npy").read_bytes()[:-1]
    found = list(split_frames("a.npy", data))
    assert [bool(frame.reason) for frame in found] == [True] * 3
    pages = write(tmp_path / "a.tif", np.repeat(STACK, 3, axis=0)).read_bytes()
    assert [frame.reason for frame in split_frames("a.tif", pages)] == [""] * 9
    for size in range(500, len(pages), 97):
        (tmp_path / "a.tif").write_bytes(pages[:size])
        reasons = [frame.reason for frame in split_frames("a.tif", pages[:size])]
        if len(reasons) == 1:  # not even the first page is complete
            with pytest.raises(DepthReadError, match="truncated or damaged"):
                read_depth(tmp_path / "a.tif")
        else:
            assert reasons[:-1] == [""] * (len(reasons) - 1)
            assert "the TIFF is truncated or damaged" in reasons[-1]
        assert count_frames(tmp_path / "a.tif") == len(reasons)


def test_a_header_of_endless_frames_is_rejected(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    data = (tmp_path / "a.npy").read_bytes().replace(b"(3, 40, 50), }    ", b"(999999999, 4, 5)}", 1)
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DepthReadError, match="frames; expected 1 to"):
        read_depth(tmp_path / "a.npy")
    assert count_frames(tmp_path / "a.npy") == 1


def test_a_job_predicts_and_resumes_each_frame(tmp_path: Path) -> None:
    hand = cv2.imread(str(EXAMPLES / "open.png"), cv2.IMREAD_UNCHANGED)
    write(tmp_path / "a.npz", np.stack([hand, hand * 0, hand]))
    command = ["predict", "a.npz", EXAMPLES / "open.png", "-c", EXAMPLES / "camera.json", "-o", "out.jsonl"]
    code, _, _ = run(*command, "--draw", "pictures", cwd=tmp_path)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert code == 0
    assert [record["source"] for record in records[:3]] == ["a.npz#0", "a.npz#1", "a.npz#2"]
    assert [record["status"] for record in records] == ["ok", "no_hand", "ok", "ok"]
    assert records[0]["xyz_mm"] == records[3]["xyz_mm"]
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    manifest = tmp_path / "out.jsonl.manifest.jsonl"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:3]) + "\n")
    assert run(*command, "--draw", "pictures", "--resume", cwd=tmp_path)[0] == 0
    assert (tmp_path / "out.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize("change", ["too large", "deleted", "shorter"])
def test_frames_that_cannot_be_read_fail_alone(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A file that is too large, or that changes after the job has started, costs only its own frames."""
    write(tmp_path / "a.npy")
    write(tmp_path / "b.npy", STACK[:1])
    camera = Camera(200.0, 200.0, 24.5, 19.5, 50, 40)
    options = PredictOptions(str(small_model), Query(camera, center=(0.0, 0.0, 600.0), hand="right"))
    out = tmp_path / "out.jsonl"
    job = PredictJob([str(tmp_path / "a.npy"), str(tmp_path / "b.npy")], str(out), options)
    steps = predict_local(job, format="jsonl")
    assert next(steps).total == 4
    if change == "too large":
        monkeypatch.setattr("handpose.io.depth.read.MAX_FILE_BYTES", STACK.nbytes)
    elif change == "deleted":
        (tmp_path / "a.npy").unlink()
    else:
        write(tmp_path / "a.npy", STACK[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        last = [*steps][-1]
    records = [json.loads(line) for line in out.read_text().splitlines()]
    lost = {"too large": {0, 1, 2}, "deleted": {0, 1, 2}, "shorter": {2}}[change]
    reason = "the maximum is" if change == "too large" else "is no longer in its file"
    assert [Path(record["source"]).name for record in records] == ["a.npy#0", "a.npy#1", "a.npy#2", "b.npy"]
    assert {i for i, record in enumerate(records) if record["status"] == "error"} == lost
    assert all(reason in records[i]["reason"] for i in lost)
    assert (last.done, last.failed) == (4, len(lost))


def test_a_damaged_recording_fails_alone(tmp_path: Path, small_model: Path) -> None:
    recorder = Recorder(tmp_path / "a.mcap")
    for number, depth in enumerate(STACK):
        recorder.write(DepthFrame(depth.astype(np.float32), Camera(200.0, 200.0, 24.5, 19.5, 50, 40), float(number)))
    recorder.close()
    write(tmp_path / "b.npy", STACK[:1])
    options = PredictOptions(
        str(small_model), Query((200.0, 200.0, 24.5, 19.5), center=(0.0, 0.0, 600.0), hand="right")
    )
    out = tmp_path / "out.jsonl"
    job = PredictJob([str(tmp_path / "a.mcap"), str(tmp_path / "b.npy")], str(out), options)
    steps = predict_local(job, format="jsonl")
    next(steps)
    data = (tmp_path / "a.mcap").read_bytes()
    at, chunks = 8, []
    while at + 9 < len(data):
        kind, size = struct.unpack_from("<BQ", data, at)
        chunks += [at] * (kind == 6)
        at += 9 + size
    (tmp_path / "a.mcap").write_bytes(data[: chunks[1] + 1] + b"\xff" * 4 + data[chunks[1] + 5 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        assert [*steps][-1].failed == 2
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["status"] == "error" for record in records] == [False, True, True, False]


def test_a_stream_plays_each_frame(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    write(tmp_path / "b.npy")
    played = list(frames(tmp_path, Camera(50, 50, 25, 20, 50, 40), fps=10.0))
    assert np.array_equal([frame.depth for frame in played], np.concatenate([STACK, STACK]))
    assert [frame.time for frame in played] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_cluster_reads_each_frame(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    from handpose.jobs.cluster.readers import read_shard
    from handpose.jobs.cluster.shards import find_shards

    path = write(tmp_path / "a.npy")
    ((*found,),) = (read_shard(shard, 16) for shard in find_shards([str(path)]))
    assert [name for piece in found for name, _, _ in piece] == [f"{path}#{number}" for number in range(3)]


def test_an_estimator_says_how_to_pass_several_frames(tmp_path: Path) -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu", local_files_only=True)
    with pytest.raises(HandPoseError, match="pass several frames as a list of arrays"):
        estimator.predict(STACK, camera=(50, 50, 25, 20))
    with pytest.raises(HandPoseError, match="contains 3 frames"):
        estimator.predict(write(tmp_path / "a.npy"), camera=(50, 50, 25, 20))


def coded(values: np.ndarray, low: int) -> np.ndarray:
    image = np.zeros((*values.shape, 3), np.uint8)
    image[..., 1], image[..., low] = values >> 8, values & 255
    return image


def test_the_two_codings_in_color_images_are_not_confused(tmp_path: Path) -> None:
    blue, red = tmp_path / "nyu.png", tmp_path / "ho3d.png"
    cv2.imwrite(str(blue), coded(STACK[0], 0))
    cv2.imwrite(str(red), coded(STACK[0] * 8, 2))
    assert np.array_equal(read_depth(blue, "nyu"), STACK[0])
    assert np.allclose(read_depth(red, "ho3d"), STACK[0], rtol=2e-4)
    with pytest.raises(DepthReadError, match=r"but another channel is not; pass unit ho3d$"):
        read_depth(red, "nyu")
    with pytest.raises(DepthReadError, match=r"but another channel is not; pass unit nyu$"):
        read_depth(blue, "ho3d")
    for path in (blue, red):
        with pytest.raises(DepthReadError, match=r"unit nyu \(data set NYU\) or ho3d \(data set HO-3D\)"):
            read_depth(path)
    np.save(tmp_path / "a.npy", STACK[0])
    with pytest.raises(DepthReadError, match="unit ho3d is a coding of PNG files"):
        read_depth(tmp_path / "a.npy", "ho3d")


def test_swapped_channels_are_named_in_both_units(tmp_path: Path) -> None:
    """Only the distance of the surface tells swapped channels from the other coding."""
    nyu, ho3d = tmp_path / "nyu.png", tmp_path / "ho3d.png"
    cv2.imwrite(str(nyu), coded(STACK[0], 2))
    cv2.imwrite(str(ho3d), coded(STACK[0] * 8, 0))
    for path, unit, other in ((nyu, "nyu", "ho3d"), (ho3d, "ho3d", "nyu")):
        with pytest.raises(DepthReadError, match=f"swap red and blue.* and pass unit {unit}$"):
            read_depth(path, unit)  # type: ignore[arg-type]
        with pytest.warns(DepthUnitWarning, match=f"with red and blue swapped; .* and pass unit {unit}$"):
            read_depth(path, other)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [STACK[0], np.zeros((40, 50), np.uint16)])
def test_raw_values_are_not_damaged(tmp_path: Path, values: np.ndarray) -> None:
    values.tofile(tmp_path / "a.bin")
    with pytest.raises(DepthReadError, match=r"raw values, convert it: numpy\.save") as error:
        read_depth(tmp_path / "a.bin")
    assert "damaged" not in str(error.value)
