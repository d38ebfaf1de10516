from __future__ import annotations

import errno
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handpose.datasets import nyu
from handpose.datasets.catalog import open_dataset
from handpose.datasets.crops import read_crops
from handpose.datasets.dataset import find_damaged
from handpose.datasets.matfile import read_mat, write_mat
from handpose.errors import DepthReadError, HandPoseError
from handpose.geometry.camera import CAMERAS
from handpose.geometry.crop import HandCrop
from tests.helpers.datasets import UP, joints, picture, text, write_icvl, write_msra, write_nyu
from tests.helpers.deadly import Deadly
from tests.helpers.paths import SHARED
from tests.helpers.scenes import arm_with_hand, render_balls

# ------------------------------------------------------------------------------------- published formats

MINIDATA = [
    *[("icvl", "ICVL", {}, 2 + i, i) for i in range(2)],
    *[("nyu", "NYU", {}, i, i) for i in range(2)],
    *[("msra", "MSRA", {"subject": 0}, 4 + i, i) for i in range(2)],
]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "folder", "options", "key", "i"), MINIDATA)
def test_frames_are_those_of_the_original_readers(reference, name: str, folder: str, options, key: int, i: int) -> None:
    """The reference's arrays are float32, hence 1e-4 mm, and its y axis points up."""
    crops = reference("crops.npz")
    frame = open_dataset(name, SHARED / "reference/minidata" / folder, "test", **options)[i]
    assert np.array_equal(frame.depth, crops[f"f{key}/depth"])
    assert np.allclose(frame.xyz * UP, crops[f"f{key}/gt3Dorig"], atol=1e-4)
    assert np.allclose(frame.center * UP, crops[f"f{key}/com3D"], atol=1e-4)
    assert np.allclose(frame.camera.project(frame.xyz), crops[f"f{key}/gtorig"], atol=1e-4)
    assert frame.cube == crops[f"f{key}/cube"][0]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "folder", "options", "key", "i"), MINIDATA)
def test_crops_contain_the_original_pixels(reference, name: str, folder: str, options, key: int, i: int) -> None:
    """Every image pixel that both crops sample has exactly the same normalized depth in both.

    The sampled pixels differ: the reference rounds the window to whole pixels and samples the upper left corner of
    each patch pixel, while ours keeps the window and samples the center. They are at most 2 image pixels apart. The
    reference's pixels are reconstructed here from its window, and verified with its crop in mm.
    """
    crops = reference("crops.npz")
    frame = open_dataset(name, SHARED / "reference/minidata" / folder, "test", **options)[i]
    height, width = frame.depth.shape
    left, right, top, bottom, near, far = crops[f"f{key}/bounds"]
    side = max(right - left, bottom - top)

    def sampled(start: float, end: float, size: int) -> np.ndarray:
        steps = int((end - start) * 96 // side)
        pixels = np.full(96, -1)
        first = int(48 - steps / 2)
        pixels[first : first + steps] = np.floor(np.arange(steps) * (end - start) / steps) + start
        return np.where((pixels >= 0) & (pixels < size), pixels, -1)

    columns, rows = sampled(left, right, width), sampled(top, bottom, height)
    z = np.where((columns >= 0) & (rows >= 0)[:, None], frame.depth[np.ix_(rows, columns)], 0)
    z = np.where((z > 0) & (z < near), near, np.where(z > far, 0, z))
    assert np.array_equal(z, crops[f"f{key}/crop"])

    crop = HandCrop.cut(frame.depth, frame.camera, frame.center, frame.cube)
    pixels = np.stack([np.arange(96), np.arange(96), np.full(96, frame.center[2])], -1)
    ours = np.floor(frame.camera.project(crop.camera.unproject(pixels)) + 0.5).astype(int)
    assert np.abs(ours[:, 0] - columns)[columns >= 0].max() <= 2
    assert np.abs(ours[:, 1] - rows)[rows >= 0].max() <= 2
    _, mine_x, theirs_x = np.intersect1d(ours[:, 0], columns[columns >= 0], return_indices=True)
    _, mine_y, theirs_y = np.intersect1d(ours[:, 1], rows[rows >= 0], return_indices=True)
    theirs = crops[f"f{key}/norm_test"][rows >= 0][:, columns >= 0][np.ix_(theirs_y, theirs_x)]
    assert theirs.size > 300
    assert np.array_equal(crop.patch[np.ix_(mine_y, mine_x)], theirs)


@pytest.mark.shared
def test_mat_files_of_another_writer_are_read() -> None:
    path = SHARED / "reference/minidata/NYU/test/joint_data.mat"
    xyz, uvd = read_mat(path, "joint_xyz"), read_mat(path, "joint_uvd")
    assert xyz.shape == uvd.shape == (1, 2, 36, 3)
    chosen = (xyz * UP)[..., nyu.JOINTS, :]
    assert np.allclose(CAMERAS["nyu"].project(chosen), uvd[..., nyu.JOINTS, :], atol=1e-3)
    with pytest.raises(HandPoseError, match=r"contains no array joint_uv, only .*joint_uvd"):
        read_mat(path, "joint_uv")


# ---------------------------------------------------------------------------------------------- written


@pytest.mark.parametrize("folders", [("Training", "Testing"), ("Training_2014", "Testing_2014")])
def test_icvl_is_read(tmp_path: Path, folders: tuple[str, str]) -> None:
    truth = write_icvl(tmp_path)
    for before, after in zip(("Training", "Testing"), folders, strict=True):
        (tmp_path / before).rename(tmp_path / after)
    test = open_dataset("icvl", tmp_path, "test")
    assert [*test.files] == ["test_seq_1/image_0000.png", "test_seq_1/image_0001.png", "test_seq_2/image_0000.png"]
    assert np.allclose(test.xyz, truth["test"], atol=1e-3)
    frame = test[2]
    assert np.array_equal(frame.depth, np.rint(picture("icvl", truth["test"][2])))
    assert np.allclose(frame.center, truth["test"][2].mean(0), atol=1e-3)  # y down, as in the file
    assert (test.centers, frame.cube, test.train_cubes) == ("refined (center_test_refined.txt)", 250.0, (250.0, 250.0))
    assert test.notes == ("3 frames; the published set has 1596",)

    assert len(open_dataset("icvl", tmp_path, "train")) == 4
    originals = open_dataset("icvl", tmp_path, "train", rotated=False)
    assert [*originals.files] == ["201403121135/image_0000.png", "201403121135/image_0001.png"]
    assert np.allclose(originals.known_centers, [xyz.mean(0) for xyz in truth["train"][:2]], atol=1e-3)
    mine = open_dataset("icvl", tmp_path, "train", rotated=False, centers=tmp_path / "center_train_refined.txt")
    assert np.array_equal(mine.known_centers, originals.known_centers)
    assert mine.centers.startswith("given (")
    assert "without the rotated copies" in originals.notes


def test_rotated_copies_of_a_training_image_are_not_held_out(tmp_path: Path) -> None:
    write_icvl(tmp_path)
    kept, held_out = open_dataset("icvl", tmp_path, "train", centers="truth").hold_out(0.25)
    image = "201403121135/image_000{}.png"
    assert kept.files == [image.format(0), f"-22-5/{image.format(0)}", f"180/{image.format(0)}"]
    assert held_out.files == [image.format(1)]
    with pytest.raises(HandPoseError, match="too few for training"):
        kept.hold_out(0.25)


def test_msra_leaves_one_subject_out(tmp_path: Path) -> None:
    truth = write_msra(tmp_path)
    test = open_dataset("msra", tmp_path, "test", subject=4)
    train = open_dataset("msra", tmp_path, "train", subject=4)
    assert [*test.files] == [name for name in truth if name.startswith("P4/")]
    assert {*train.files} == {*truth} - {*test.files}
    for dataset in (test, train):
        for i, name in enumerate(dataset.files):
            person = int(name[1])
            assert np.allclose(dataset.xyz[i], truth[name], atol=1e-5)
            assert np.allclose(dataset.known_centers[i], truth[name].mean(0) + person, atol=1e-5)
    assert np.array_equal(test[3].depth, picture("msra", truth[test.files[3]]))
    assert (test[0].cube, test.train_cubes) == (175.0, (150.0, 200.0))
    assert test.notes[0] == "P4 lacks the gestures 2, 3, 4, 5, 6, 7, 8, 9, I, IP, L, MP, RP, TIP, Y"
    assert test.centers == "refined (center_test_4_refined.txt)"
    assert train.centers == "refined (center_test_0_refined.txt and 7 more)"


def test_nyu_is_read_as_written(tmp_path: Path) -> None:
    truth = write_nyu(tmp_path)
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    assert np.allclose(dataset.xyz, truth, atol=1e-9)
    assert dataset.centers == "truth (mean of the true joints)"
    for i, xyz in enumerate(truth):
        frame = dataset[i]
        assert np.array_equal(frame.depth, np.rint(picture("nyu", xyz)))
        assert np.allclose(frame.center, xyz.mean(0))
    stored = read_mat(tmp_path / "test/joint_data.mat", "joint_xyz")
    assert np.allclose(stored[0, 1, 32] * UP, truth[1][13])  # the center of the palm, y up on disk
    with pytest.raises(HandPoseError, match=r"frame 0: expected depth \(480, 640\)"):
        nyu.write_nyu(tmp_path, "train", [(np.zeros((240, 320)), truth[0])])
    with pytest.raises(HandPoseError, match="no frames"):
        nyu.write_nyu(tmp_path, "train", [])


@pytest.mark.parametrize("factors", [(1e-3, 1.0), (1.0, 1e-3)])
def test_frames_in_meters_are_not_written_as_nyu(tmp_path: Path, factors: tuple[float, float]) -> None:
    xyz = joints(14, 0)
    frame = picture("nyu", xyz) * factors[0], xyz * factors[1]
    with pytest.raises(HandPoseError, match=r"frame 0: expected depth and joints in mm .* multiply meters by 1000"):
        nyu.write_nyu(tmp_path, "test", [frame])


def test_an_interrupted_data_set_has_no_labels_of_other_images(tmp_path: Path) -> None:
    write_nyu(tmp_path, 2)
    xyz = joints(14, 9)
    frames = ((picture("nyu", xyz), xyz if i == 0 else xyz[:3]) for i in range(2))
    with pytest.raises(HandPoseError, match="frame 1: expected"):
        nyu.write_nyu(tmp_path, "test", frames, force=True)
    with pytest.raises(HandPoseError, match="no NYU test data here"):
        open_dataset("nyu", tmp_path, "test", centers="truth")


def test_a_data_set_is_described_in_a_line(tmp_path: Path) -> None:
    write_msra(tmp_path)
    dataset = open_dataset("msra", tmp_path, "test", subject=3, centers="truth")
    assert repr(dataset) == ("HandDataset(msra test, 4 frames, layout msra, centers: truth (mean of the true joints))")
    assert not any("excluded" in note for note in dataset.notes)


def test_nyus_second_subject_has_a_smaller_cube(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    write_mat(tmp_path / "test/joint_data.mat", {"joint_xyz": np.full((3, 2442, 36, 3), 500.0)})
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    assert dataset.cubes[[0, 2439]].tolist() == [250.0, 250.0]
    assert dataset.cubes[[2440, 2441]] == pytest.approx(208.33, abs=0.01)
    assert dataset.train_cubes == (250.0, 300.0)
    assert len(dataset.damaged) == 2442
    same = open_dataset("nyu", tmp_path, "test", centers="truth", cube=250.0)
    assert (set(same.cubes), same.train_cubes) == ({250.0}, (250.0, 250.0))


def test_centers_can_be_localized_in_the_images(tmp_path: Path) -> None:
    hand = arm_with_hand(np.array([0.0, -1.0, 0.0]), np.array([0.0, 60.0, 500.0]), 300.0)
    nyu.write_nyu(tmp_path, "test", [(render_balls(CAMERAS["nyu"], hand), joints(14, 0))])
    dataset = open_dataset("nyu", tmp_path, "test", centers="localize")
    assert dataset.centers == "localize (found in each image)"
    assert dataset[0].center == pytest.approx([0.0, -20.0, 490.0], abs=40.0)


def test_centers_with_another_direction_of_y_are_reported(tmp_path: Path) -> None:
    truth = [xyz + np.array([0.0, 80.0, 0.0]) for xyz in (joints(14, i) for i in range(3))]
    nyu.write_nyu(tmp_path, "test", [(picture("nyu", xyz), xyz) for xyz in truth])
    up, down = tmp_path / "up.txt", tmp_path / "down.txt"
    up.write_text("\n".join(text(xyz.mean(0) * UP) for xyz in truth))
    down.write_text("\n".join(text(xyz.mean(0)) for xyz in truth))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_dataset("nyu", tmp_path, "test", centers=up)
    with pytest.warns(UserWarning, match=r"down\.txt: in 3 of 3 frames, .* more than 100 mm .* with y pointing up"):
        open_dataset("nyu", tmp_path, "test", centers=down)


# ---------------------------------------------------------------------------------------------- damaged


def test_a_folder_that_cannot_be_read_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_damaged(tmp_path, ["a.png"], None) == {0: "its folder cannot be read (Input/output error)"}


def test_names_that_the_file_system_spells_differently_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Frame.png").touch()
    (tmp_path / "frame.PNG").symlink_to("Frame.png")  # as on a file system that ignores case
    listed = [entry for entry in os.scandir(tmp_path) if entry.name == "Frame.png"]
    monkeypatch.setattr(os, "scandir", lambda path: listed)
    assert find_damaged(tmp_path, ["frame.PNG", "other.png"], None) == {1: "no such file"}


def test_damaged_frames_are_listed_and_keep_their_indices(tmp_path: Path) -> None:
    truth = write_nyu(tmp_path, 6)
    folder = tmp_path / "test"
    (folder / "depth_1_0000002.png").unlink()
    (folder / "depth_1_0000004.png").write_bytes((folder / "depth_1_0000004.png").read_bytes()[:2000])
    empty = np.zeros((480, 640, 3), np.uint8)
    assert cv2.imwrite(str(folder / "depth_1_0000005.png"), empty)
    lines = [text(xyz.mean(0) * UP) for xyz in truth]
    lines[2] = "invalid"
    (tmp_path / "center_test_refined.txt").write_text("\n".join(lines))

    dataset = open_dataset("nyu", tmp_path, "test")
    assert dataset.damaged == {1: "no such file", 2: "no hand center"}
    assert dataset.usable.tolist() == [0, 3, 4, 5]
    assert dataset.summary()["damaged"] == {
        "depth_1_0000002.png": "no such file",
        "depth_1_0000003.png": "no hand center",
    }
    with pytest.raises(DepthReadError, match=r"0000002\.png: no such file"):
        dataset[1]
    with pytest.raises(IndexError, match="frames 0 to 5, got 6"):
        dataset[6]
    items = list(read_crops(dataset))
    assert [item.index for item in items] == list(range(6))
    assert [item.name for item in items] == list(dataset.files)
    assert [item.crop is not None for item in items] == [True, False, False, False, False, True]
    for item, reason in zip(items[1:5], ("no such file", "no hand center", "truncated", "no pixel"), strict=True):
        assert reason in item.problem
    last = items[5]
    assert np.allclose(last.crop.camera.unproject(last.crop.denormalize(last.uvz)), truth[5])
    assert [item.index for item in read_crops(dataset, [5, 0, 2])] == [5, 0, 2]


def break_label(root: Path) -> None:
    path = root / "Testing/test_seq_1.txt"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{second.rsplit(maxsplit=2)[0]}\n")


def break_number(root: Path) -> None:
    path = root / "P3/T/joint.txt"
    path.write_text(path.read_text().replace("-", "?", 1))


def add_label(root: Path) -> None:
    (root / "P3/T/joint.txt").write_text("3" + (root / "P3/T/joint.txt").read_text()[1:])


def drop_centers(root: Path) -> None:
    path = root / "center_test_refined.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]))


@pytest.mark.parametrize(
    ("name", "split", "harm", "message"),
    [
        ("icvl", "test", break_label, r"test_seq_1\.txt, line 2: expected 48 numbers of 16 joints, got 46 words"),
        ("icvl", "test", drop_centers, r"center_test_refined\.txt: 2 hand centers, but the labels list 3 frames"),
        ("icvl", "train", lambda root: (root / "Training/labels.txt").write_text(""), "label files are empty"),
        ("msra", "test", break_number, r"joint\.txt, line [23]: expected 63 numbers"),
        ("msra", "test", add_label, "expected 3 frames, got 2"),
        ("msra", "test", lambda root: (root / "P3/1/joint.txt").write_text(""), "line 1: expected the number of"),
        ("msra", "test", lambda root: (root / "P3").rename(root / "P9"), r"no subject 3 .*looked for P3, found P0/"),
        ("msra", "test", lambda root: (root / "center").rename(root / "c"), r"center_test_3_refined\.txt or center/"),
    ],
)
def test_errors_in_label_files_state_the_line(
    tmp_path: Path, name: str, split: str, harm: Callable[[Path], None], message: str
) -> None:
    (write_icvl if name == "icvl" else write_msra)(tmp_path)
    harm(tmp_path)
    with pytest.raises(HandPoseError, match=message):
        open_dataset(name, tmp_path, split, subject=3 if name == "msra" else None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "nyu"},
            r"no NYU test data here; looked for test/joint_data.mat or .*, found Testing/, Training/, ce",
        ),
        ({"name": "nyu", "root": "nowhere"}, "no such folder"),
        ({"name": "hands"}, "icvl, nyu, msra or records"),
        ({"split": "val"}, "train or test"),
        ({"name": "msra"}, "requires the subject"),
        ({"name": "msra", "subject": 9}, "0 to 8"),
        ({"subject": 1}, "no subjects"),
        ({"name": "nyu", "rotated": False}, "for icvl"),
        ({"rotated": False}, "original training images"),
        ({"cube": 0.25}, "the side of a cube must be 50 to 1000 mm"),
        ({"centers": "refind"}, r"refind: no such folder; expected a folder with the file of hand centers; see"),
    ],
)
def test_invalid_arguments_are_rejected(tmp_path: Path, arguments: dict, message: str) -> None:
    write_icvl(tmp_path)
    given = {"name": "icvl", "root": tmp_path, "split": "test"} | arguments
    with pytest.raises(HandPoseError, match=message):
        open_dataset(**given)


def test_a_missing_subject_is_an_error(tmp_path: Path) -> None:
    write_msra(tmp_path)
    (tmp_path / "P7").rename(tmp_path / "P7.part")
    with pytest.raises(HandPoseError, match="no subject 7"):
        open_dataset("msra", tmp_path, "train", subject=0)


# ------------------------------------------------------------------------------------------------- crops


def test_a_worker_that_is_killed_is_one_line(tmp_path: Path) -> None:
    write_nyu(tmp_path, 1)
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    with pytest.raises(HandPoseError, match=r"a process that loads images ended unexpectedly, .* use fewer `workers"):
        next(read_crops(replace(dataset, notes=(Deadly(),)), workers=1))  # type: ignore[arg-type]


def test_crops_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    write_nyu(tmp_path, 5)
    (tmp_path / "test/depth_1_0000003.png").write_bytes(b"no image")
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    order = [4, 2, 0, 1, 3] * 8  # several chunks
    serial, parallel = (list(read_crops(dataset, order, workers=workers)) for workers in (0, 2))
    assert [item.index for item in parallel] == order
    assert [item.problem for item in parallel] == [item.problem for item in serial]
    for one, other in zip(serial, parallel, strict=True):
        if one.crop is not None:
            assert np.array_equal(one.crop.patch, other.crop.patch)
            assert np.array_equal(one.uvz, other.uvz)


# ---------------------------------------------------------------------------------------------- MATLAB


def test_mat_elements_are_read_as_specified(tmp_path: Path) -> None:
    """A hand-made file: big-endian, not compressed, a name stored in its tag, doubles stored as small integers."""
    flags = struct.pack(">IIII", 6, 8, 6, 0)
    shape = struct.pack(">IIii", 5, 8, 2, 3)
    name = struct.pack(">HH4s", 2, 1, b"ab\0\0")
    values = struct.pack(">II6B2x", 2, 6, 1, 2, 3, 4, 5, 6)
    body = flags + shape + name + values
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + struct.pack(">II", 14, 56) + body)
    assert len(body) == 56
    array = read_mat(path, "ab")
    assert array.dtype == np.float64
    assert array.tolist() == [[1, 3, 5], [2, 4, 6]]  # columns first


@given(st.data())
def test_damaged_mat_files_are_reported(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    write_mat(path, {"x": np.arange(24.0).reshape(1, 2, 4, 3), "y": np.ones((2, 2))})
    assert np.array_equal(read_mat(path, "x"), np.arange(24.0).reshape(1, 2, 4, 3))
    stored = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del stored[data.draw(st.integers(0, len(stored) - 1)) :]
    else:
        for position in data.draw(st.lists(st.integers(0, len(stored) - 1), min_size=1, max_size=4)):
            stored[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(stored)
    try:
        read_mat(path, "y")
    except HandPoseError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_the_error_for_newer_mat_files_suggests_an_option(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(128))
    with pytest.raises(HandPoseError, match="-v7"):
        read_mat(path, "x")
