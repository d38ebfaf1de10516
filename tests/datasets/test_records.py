"""Your own frames as a data set."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handpose.datasets.catalog import open_dataset
from handpose.datasets.crops import read_crops
from handpose.datasets.label_record import PERSON
from handpose.datasets.records import RecordDataset, open_records
from handpose.datasets.splits import split_sequences
from handpose.errors import HandPoseError
from handpose.evaluation.evaluate import evaluate_parts
from handpose.geometry.camera import CAMERAS, Camera
from handpose.geometry.layouts import MSRA21
from handpose.io.choices import Split
from handpose.network.config import JGRP2OConfig
from handpose.results.pose import HandPose
from handpose.training.augmentation import Augmentation
from handpose.training.real_crops import DatasetCrops
from tests.helpers.datasets import joints, picture, png16
from tests.helpers.scenes import arm_with_hand, render_balls

SMALL = Camera(300.0, 310.0, 150.0, 110.0, 320, 240)


def record(source: str, xyz: np.ndarray | None = None, camera: Camera = CAMERAS["msra"], **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"source": source, "layout": "msra", "camera": camera.to_dict()}
    return values | ({} if xyz is None else {"xyz_mm": xyz.tolist()}) | more


def deeper(uvz: np.ndarray, finger: int) -> list[list[float]]:
    """Joints whose depth was corrected in one place of a record only: the second one of a finger, by 40 mm."""
    joint = 4 * finger - 2
    return [[u, v, z + 40.0 * (i == joint)] for i, (u, v, z) in enumerate(uvz.tolist())]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(values) + "\n" for values in records))
    return path


def write_frames(root: Path, count: int, camera: Camera = CAMERAS["msra"]) -> list[np.ndarray]:
    """Depth images with a ball at every joint, `0.png` and so on, and the true joints."""
    truth = [joints(21, i) for i in range(count)]
    for i, xyz in enumerate(truth):
        png16(root / f"{i}.png", render_balls(camera, [(joint, 12.0) for joint in xyz]))
    return truth


def test_records_are_read_with_their_own_cameras_units_and_centers(tmp_path: Path) -> None:
    truth = write_frames(tmp_path / "frames", 3)
    png16(tmp_path / "frames/1.png", 8.0 * render_balls(SMALL, [(joint, 12.0) for joint in truth[1]]))
    uvz = CAMERAS["msra"].project(truth[2])
    file = write(
        tmp_path / "labels.jsonl",
        [
            record("frames/0.png", truth[0], center_mm=[1.0, 2.0, 400.0]),
            record("frames/1.png", truth[1], SMALL, unit=0.125, cube_mm=220.0, hand="left", sequence="b"),
            record("frames/2.png", None, uvz=uvz.tolist(), hand="right"),
            {"source": "frames/3.png", "status": "error", "reason": "x"},
        ],
    )
    dataset = open_records(file, "test")
    assert len(dataset) == 3
    assert np.allclose(dataset.xyz, truth, atol=1e-9)
    assert dataset.centers == "center_mm of 1 of 3 records, found in the images of the others"
    assert "excluded because they have no label: 1 records" in dataset.notes
    assert [dataset.cubes[i] for i in range(3)] == [250.0, 220.0, 250.0]
    assert dataset.sequences == ["frames", "b", "frames"]
    first, second = dataset[0], dataset[1]
    assert np.array_equal(first.depth, np.rint(picture("msra", truth[0])))
    assert first.center == pytest.approx([1.0, 2.0, 400.0])
    assert first.known is None
    assert second.camera == SMALL
    assert np.allclose(second.depth, render_balls(SMALL, [(joint, 12.0) for joint in truth[1]]), atol=0.07)
    centered = open_records(file, "test", centers="truth")
    assert np.allclose(centered.known_centers, np.mean(truth, axis=1))


def test_what_predict_writes_is_a_data_set(tmp_path: Path) -> None:
    """Records are exactly those of poses, and a frame without a hand has no label."""
    (xyz,) = write_frames(tmp_path, 1)
    camera = CAMERAS["msra"]
    zeros = np.zeros((21, 3))
    common = {"layout": MSRA21, "hand": "right", "cube": 250.0, "camera": camera, "source": "0.png"}
    pose = HandPose(xyz, camera.project(xyz), zeros, zeros[:, 0], status="ok", center=xyz.mean(0), **common)  # type: ignore[arg-type]
    pose = replace(pose, depth_unit=0.125)
    nothing = HandPose.no_hand(**common)  # type: ignore[arg-type]
    dataset = open_records(write(tmp_path / "out.jsonl", [pose.to_dict(), nothing.to_dict()]), "train")
    assert len(dataset) == 1
    assert dataset.units == [0.125]
    assert np.allclose(dataset.xyz[0], xyz, atol=0.006)
    assert dataset[0].center == pytest.approx(xyz.mean(0), abs=0.006)


def test_labels_that_are_predictions_are_reported(tmp_path: Path) -> None:
    truth = write_frames(tmp_path, 3)
    models = [{"model": "msra"}, {"labeled_by": "mine"}, {}]
    records = [record(f"{i}.png", xyz, **more) for i, (xyz, more) in enumerate(zip(truth, models, strict=True))]
    with pytest.warns(UserWarning, match="2 of 3 labels are predictions of mine and msra, not the truth"):
        dataset = open_records(write(tmp_path / "out.jsonl", records), "test")
    assert "errors are differences from these predictions" in dataset.notes[0]
    checked = open_records(
        write(tmp_path / "checked.jsonl", [{**each, "labeled_by": PERSON} for each in records]), "test"
    )
    assert checked.notes == ()


def test_hands_without_a_center_are_found(tmp_path: Path) -> None:
    hand = arm_with_hand(np.array([0.0, -1.0, 0.0]), np.array([0.0, 60.0, 500.0]), 300.0)
    png16(tmp_path / "a.png", render_balls(CAMERAS["nyu"], hand))
    png16(tmp_path / "wall.png", np.full((480, 640), 1800.0))
    xyz = joints(21, 0)
    records = [record("a.png", xyz, CAMERAS["nyu"]), record("wall.png", xyz, CAMERAS["nyu"])]
    dataset = open_records(write(tmp_path / "labels.jsonl", records), "test").localized()
    assert dataset.known_centers is not None
    assert dataset.known_centers[0] == pytest.approx([0.0, -20.0, 490.0], abs=40.0)
    assert dataset.damaged == {1: "no hand was found; add its center_mm to the record"}


def test_a_hand_is_not_localized_among_several_labeled_ones(tmp_path: Path) -> None:
    """The nearest hand would be used for the labels of the other one, too."""
    hands = [
        arm_with_hand(np.array([0.0, -1.0, 0.0]), np.array([x, 60.0, z]), 300.0)
        for x, z in ((-120.0, 450.0), (120.0, 550.0))
    ]
    png16(tmp_path / "a.png", render_balls(CAMERAS["nyu"], [*hands[0], *hands[1]]))
    png16(tmp_path / "b.png", render_balls(CAMERAS["nyu"], hands[1]))
    files = [("a.png", "right"), ("./a.png", "left"), ("b.png", "left")]
    labels = [record(file, joints(21, 0), CAMERAS["nyu"], hand=hand) for file, hand in files]
    dataset = open_records(write(tmp_path / "labels.jsonl", labels), "train")
    assert dataset.usable.tolist() == [2]
    items = [*read_crops(dataset)]
    assert [item.crop is None for item in items] == [True, True, False]
    assert "add its center_mm to each record" in (items[1].problem or "")
    labels = [values | {"center_mm": [x, -20.0, z]} for values, x, z in zip(labels, (-120.0, 120.0, 120.0),
              (450.0, 550.0, 550.0), strict=True)]  # fmt: skip
    with pytest.warns(UserWarning, match="more than 100 mm"):  # from the joints, which are random
        dataset = open_records(write(tmp_path / "labels.jsonl", labels), "train")
    assert dataset.usable.tolist() == [0, 1, 2]


def test_partial_labels_are_kept_as_such(tmp_path: Path) -> None:
    """Frame 0 has fingertips only, frame 1 has u and v only."""
    truth = write_frames(tmp_path, 2)
    tips = [joint.endswith("tip") for joint in MSRA21.joints]
    rows = [list(map(float, joint)) if tip else None for joint, tip in zip(truth[0], tips, strict=True)]
    pixels = [[u, v, None] for u, v, _ in CAMERAS["msra"].project(truth[1]).tolist()]
    center = {"center_mm": truth[0].mean(0).tolist()}
    file = write(
        tmp_path / "labels.jsonl",
        [record("0.png", None, xyz_mm=rows, **center), record("1.png", None, uvz=pixels, **center)],
    )
    dataset = open_records(file, "train")
    assert np.array_equal(np.isfinite(dataset.xyz).all(2), [tips, [False] * 21])
    assert dataset.notes == ("2 of 2 records are partly labeled",)
    first, second = read_crops(dataset)
    assert first.uvz is not None
    assert second.uvz is not None
    assert second.crop is not None
    assert np.array_equal(np.isfinite(first.uvz), np.repeat(np.array(tips)[:, None], 3, axis=1))
    assert np.array_equal(np.isfinite(second.uvz), np.tile([True, True, False], (21, 1)))
    complete = second.crop.normalize(second.crop.camera.project(truth[1]))
    assert np.allclose(second.uvz[:, :2], complete[:, :2], atol=1e-9)

    class Off:
        layout, name, config = MSRA21, "off", JGRP2OConfig("msra")

        def predict_crops(self, crops):
            return np.stack([truth[0] + np.array([0.0, 3.0, 4.0])])

    with pytest.warns(UserWarning, match="the labels are probably wrong"):  # random joints are not a hand
        report = evaluate_parts([("off", [Off()])], [dataset])  # type: ignore[list-item]
    assert report.entries[0].evaluation.mean == pytest.approx(5.0)
    assert any("the labels are probably wrong" in note for note in report.notes)
    assert report.entries[0].evaluation.per_joint[tips] == pytest.approx(np.full(5, 5.0))
    assert np.isnan(report.entries[0].evaluation.per_joint[~np.array(tips)]).all()
    assert "1 frames without any joint in mm are excluded" in report.notes
    assert "mean" in report.table()


def test_pixels_of_partial_labels_move_with_the_augmentation(tmp_path: Path) -> None:
    """Where the depth of a joint is unknown, its u and v are those of a complete label, after any move."""
    (xyz,) = write_frames(tmp_path, 1)
    pixels = [[u, v, None] for u, v, _ in CAMERAS["msra"].project(xyz).tolist()]
    center = {"center_mm": xyz.mean(0).tolist()}
    batches = []
    for name, labels in (("all", {"xyz_mm": xyz.tolist()}), ("uv", {"uvz": pixels})):
        file = write(tmp_path / f"{name}.jsonl", [record("0.png", None, **labels, **center)])
        source = DatasetCrops(open_records(file, "train"), augmentation=Augmentation(), seed=3)
        batches.append(source.batch(4)[1].numpy())
    complete, partial = batches
    assert np.allclose(partial[..., :2], complete[..., :2], atol=1e-4)
    assert np.isnan(partial[..., 2]).all()


def test_labels_in_mm_are_those_of_an_image_at_a_lower_resolution(tmp_path: Path) -> None:
    (truth,) = write_frames(tmp_path, 1, SMALL)  # 320 x 240 px
    large = SMALL.resize(640, 480)
    path = write(tmp_path / "r.jsonl", [record("0.png", truth, large, center_mm=truth.mean(axis=0).tolist())])
    frame = open_records(path, "train")[0]
    assert frame.camera == SMALL
    assert frame.xyz == pytest.approx(truth)


def test_labels_in_pixels_of_an_unknown_resolution_are_not_used(tmp_path: Path) -> None:
    (truth,) = write_frames(tmp_path, 1, SMALL)
    large = SMALL.resize(640, 480)
    pixels = record("0.png", camera=large, uvz=SMALL.project(truth).tolist())
    dataset = open_records(write(tmp_path / "r.jsonl", [pixels]), "train")
    with pytest.raises(HandPoseError, match=r"has 320 x 240 px, but the camera of the record 640 x 480 px"):
        dataset[0]


def test_left_hands_are_trained_and_predicted_as_mirror_images(tmp_path: Path) -> None:
    """The mirror image of a scene, labeled as a left hand, has the crops of the original."""
    (xyz,) = write_frames(tmp_path, 1)
    camera = CAMERAS["msra"]
    depth = picture("msra", xyz)
    png16(tmp_path / "mirrored.png", depth[:, ::-1])
    mirrored = Camera(camera.fx, camera.fy, 319 - camera.cx, camera.cy, 320, 240)
    flip = np.array([-1.0, 1.0, 1.0])
    right = record("0.png", xyz, center_mm=xyz.mean(0).tolist())
    left = record("mirrored.png", xyz * flip, mirrored, center_mm=(xyz.mean(0) * flip).tolist(), hand="left")
    sets = [open_records(write(tmp_path / f"{i}.jsonl", [values]), "train") for i, values in enumerate((right, left))]
    (patches, uvz), (patches2, uvz2) = (DatasetCrops(dataset, seed=1).batch(3) for dataset in sets)
    assert (patches == patches2).float().mean() > 0.995  # pixels on a boundary are rounded differently
    assert np.allclose(uvz, uvz2, atol=1e-5)
    one, other = (next(read_crops(dataset)) for dataset in sets)
    assert one.uvz is not None
    assert np.allclose(one.uvz, other.uvz, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "mano"}, "layout must be one of icvl, nyu, msra"),
        ({"hand": "both"}, "hand must be right or left"),
        ({"camera": None}, "a camera requires the numbers"),
        ({"xyz_mm": [[1.0, 2.0, 3.0]]}, r"expected an array of shape \(21, 3\), got \(1, 3\)"),
        ({"xyz_mm": [[0.0, 0.0, -400.0]] * 21}, "z away from the camera"),
        ({"joints": ["thumb"] * 21}, "the joints of msra are wrist, index_mcp"),
        ({"uvz": [[0.0, 0.0, 400.0]] * 21}, "px apart in the image"),
        ({"uvz": deeper(CAMERAS["msra"].project(joints(21, 0)), 3)}, "ring_pip are 40 mm apart in depth"),
        ({"unit": "inch"}, "unit must be mm, m, nyu"),
        ({"cube_mm": 0.25}, "the side of a cube must be 50 to 1000 mm, got 0.25"),
        ({"cube_mm": -250}, "the side of a cube must be 50 to 1000 mm"),
    ],
)
def test_invalid_records_name_file_and_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    xyz = joints(21, 0)
    file = write(tmp_path / "labels.jsonl", [record("0.png", xyz), record("1.png", xyz) | changes])
    with pytest.raises(HandPoseError, match=rf"labels.jsonl, line 2: .*{message}"):
        open_records(file, "train")


def test_frames_in_a_file_with_several_are_not_called_missing(tmp_path: Path) -> None:
    """The records that `handpose predict` writes for recordings and stacks have such sources."""
    (tmp_path / "session.db3").touch()
    sources = ("session.db3#12", "other.db3#12")
    records = [record(source, joints(21, i)) for i, source in enumerate(sources)]
    damaged = open_records(write(tmp_path / "labels.jsonl", records), "train").damaged
    assert "is a frame of a recording" in damaged[0]
    assert damaged[1] == "no such file"


@pytest.mark.parametrize(
    ("split", "share", "message"),
    [("Train", 0.2, "split must be train or test"), ("test", 20.0, "below 1"), ("test", -0.2, "at least 0")],
)
def test_splits_that_do_not_exist_are_rejected(tmp_path: Path, split: Any, share: float, message: str) -> None:
    file = write(tmp_path / "labels.jsonl", [record(f"{i}.png", joints(21, i)) for i in range(3)])
    with pytest.raises(HandPoseError, match=message):
        open_records(file, split, test_share=share)


def test_nulls_and_zeros_of_other_tools_are_unknown(tmp_path: Path) -> None:
    uvz = CAMERAS["msra"].project(joints(21, 0))
    uvz[4], uvz[8, 2] = 0.0, 0.0
    records = [record("a/0.png", None, uvz=uvz.tolist(), sequence=None), record("b/0.png", None, uvz=uvz.tolist())]
    dataset = open_records(write(tmp_path / "labels.jsonl", records), "train")
    assert np.flatnonzero(np.isnan(dataset.uvz[0, :, 0])).tolist() == [4]
    assert np.flatnonzero(np.isnan(dataset.uvz[0, :, 2])).tolist() == [4, 8]
    assert dataset.sequences == ["a", "b"]


def test_splits_keep_sequences_together(tmp_path: Path) -> None:
    sequences = [name for name, count in (("a", 40), ("b", 5), ("c", 30), ("d", 25)) for _ in range(count)]
    files = [f"{i}.png" for i in range(100)]
    kept, held_out = split_sequences(sequences, files, 0.3)
    assert sorted([*kept, *held_out]) == list(range(100))
    assert not {sequences[i] for i in kept} & {sequences[i] for i in held_out}
    assert 25 <= len(held_out) <= 40
    kept, held_out = split_sequences(["a"] * 100, files, 0.2)
    assert held_out.tolist() == list(range(80, 100))
    assert kept.tolist() == list(range(75))  # the frames between the parts are neighbors of both
    assert [part.tolist() for part in split_sequences(["a", "a"], files[:2], 0.5)] == [[0], [1]]
    assert [part.tolist() for part in split_sequences(["a"] * 6, files[:6], 0.5)] == [[0, 1], [3, 4, 5]]
    xyz = joints(21, 0)
    (tmp_path / "x").mkdir()
    records = [record(f"{i}.png", xyz, sequence=name) for i, name in enumerate(sequences)]
    file = write(tmp_path / "labels.jsonl", records)
    parts = [open_dataset("records", file, split, test_share=0.3) for split in ("train", "test")]  # type: ignore[arg-type]
    first, second = ({*part.sequences} for part in parts if isinstance(part, RecordDataset))
    assert not first & second
    assert len(parts[0]) + len(parts[1]) == 100


def test_hand_centers_far_from_the_labels_are_reported(tmp_path: Path) -> None:
    truth = write_frames(tmp_path, 3)
    records = [record(f"{i}.png", xyz, center_mm=xyz.mean(axis=0).tolist()) for i, xyz in enumerate(truth)]
    file = write(tmp_path / "labels.jsonl", records)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_records(file, "test")
    for each in records[1:]:
        each["center_mm"][0] += 101.0
    write(file, records)
    with pytest.warns(UserWarning, match="in 2 of 3 records, `center_mm` is more than 100 mm away"):
        open_records(file, "test")
    open_records(file, "test", centers="truth")  # which does not use them


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_for_training_and_testing_are_reported(tmp_path: Path, split: Split) -> None:
    truth = write_frames(tmp_path, 4)
    records = [record(f"{i}.png", xyz) for i, xyz in enumerate(truth)]
    write(tmp_path / "train.jsonl", [each | {"source": f"./{each['source']}"} for each in records[:3]])
    write(tmp_path / "test.jsonl", records[3:])
    assert open_records(tmp_path, split).notes == ()
    write(tmp_path / "test.jsonl", records[1:])
    with pytest.warns(UserWarning, match=r"shared with \w+.jsonl: 2 of 3 records; errors do not hold for new images"):
        assert len(open_records(tmp_path, split).notes) == 1


def test_duplicates_count_once_and_are_in_one_split(tmp_path: Path) -> None:
    truth = write_frames(tmp_path, 4)
    records = [record(f"{i}.png", xyz) for i, xyz in enumerate(truth)]
    joined = [*records, *(each | {"source": f"./{each['source']}"} for each in records)]
    file = write(tmp_path / "joined.jsonl", joined)
    with pytest.warns(UserWarning, match="4 of 8 records are duplicates of others and are excluded"):
        whole = open_records(file, "test")
    assert [*whole.files] == ["0.png", "1.png", "2.png", "3.png"]
    assert "4 of 8 records are duplicates of others and are excluded" in whole.notes
    with pytest.warns(UserWarning, match="duplicates"):
        train, test = (open_records(file, split, test_share=0.5) for split in ("train", "test"))  # type: ignore[arg-type]
    assert ([*train.files], [*test.files]) == (["0.png"], ["2.png", "3.png"])
    file = write(tmp_path / "differ.jsonl", [*records, record("1.png", truth[1] + 5.0)])
    with pytest.raises(HandPoseError, match=r"lines 2 and 5: different labels of the same right hand in 1\.png"):
        open_records(file, "test")


def test_images_are_the_same_relative_to_the_file_and_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`handpose predict` writes paths relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    truth = write_frames(tmp_path / "frames", 3)
    to_folder, to_file = (
        [record(f"{start}frames/{i}.png", xyz, sequence="a") for i, xyz in enumerate(truth)] for start in ("", "../")
    )
    for train, test in ((to_folder, to_folder), (to_folder, to_file), (to_file, to_folder)):
        write(Path("data/train.jsonl"), train)
        write(Path("data/test.jsonl"), test)
        with pytest.warns(UserWarning, match=r"shared with train\.jsonl: 3 of 3 records"):
            open_records("data", "test")
    file = write(Path("data/labels.jsonl"), [to_folder[0], *to_file])
    with pytest.warns(UserWarning, match="1 of 4 records are duplicates"):
        assert len(open_records(file, "test")) == 3
    left = [each | {"hand": "left"} for each in to_file]
    file = write(Path("data/labels.jsonl"), [each for pair in zip(to_folder, left, strict=True) for each in pair])
    train, test = (open_records(file, split, test_share=0.5) for split in ("train", "test"))  # type: ignore[arg-type]
    images = [{Path(name).name for name in part.files} for part in (train, test)]
    assert not images[0] & images[1]


@pytest.mark.parametrize(
    ("field", "likely"),
    [("centre_mm", "center_mm"), ("cube", "cube_mm"), ("units", "unit"), ("labelled_by", "labeled_by"), ("uvd", "uvz")],
)
def test_misspelled_fields_are_reported(tmp_path: Path, field: str, likely: str) -> None:
    xyz = joints(21, 0)
    labels = {} if field == "uvd" else {"xyz_mm": xyz.tolist()}
    file = write(tmp_path / "labels.jsonl", [record("0.png", xyz), record("1.png", None, **labels, **{field: 1})])
    with pytest.warns(UserWarning, match=f"`{field}` is unknown and is ignored; its name is probably `{likely}`"):
        open_records(file, "test")


def test_other_fields_are_not_reported(tmp_path: Path) -> None:
    """Warnings are errors in tests."""
    own = {"subject": "a", "camera_name": "left", "source_id": 3, "timestamp": 2.0, "frame": 3, "notes": "", "uv": 1}
    assert len(open_records(write(tmp_path / "labels.jsonl", [record("0.png", joints(21, 0), **own)]), "test")) == 1


def test_two_hands_of_an_image_are_in_one_split(tmp_path: Path) -> None:
    truth = write_frames(tmp_path, 3)
    hands = [{"hand": "right"}, {"hand": "left"}, {"hand": "right", "hand_index": 1}]
    records = [record(f"{i}.png", xyz, **more) for i, xyz in enumerate(truth) for more in hands]
    file = write(tmp_path / "labels.jsonl", records)
    assert len(open_records(file, "test")) == 9
    train, test = (open_records(file, split, test_share=0.55) for split in ("train", "test"))  # type: ignore[arg-type]
    assert ({*train.files}, {*test.files}) == ({"0.png"}, {"1.png", "2.png"})  # the cut is within 1.png
    with pytest.raises(HandPoseError, match="all frames show the same images"):
        open_records(write(tmp_path / "one.jsonl", records[:3]), "train", test_share=0.4)


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    xyz = joints(21, 0)
    write(tmp_path / "train.jsonl", [record("0.png", xyz), record("1.png", xyz)])
    write(tmp_path / "test.jsonl", [record("2.png", xyz)])
    assert [*open_records(tmp_path, "train").files] == ["0.png", "1.png"]
    assert [*open_records(tmp_path, "test").files] == ["2.png"]
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(HandPoseError, match=r"no records here; looked for test\.jsonl"):
        open_records(tmp_path, "test")


@pytest.mark.filterwarnings("ignore:.*the labels are probably wrong")
def test_records_without_cubes_are_evaluated_in_those_of_the_model(tmp_path: Path) -> None:
    truth = write_frames(tmp_path, 2)
    centers = [{"center_mm": xyz.mean(axis=0).tolist()} for xyz in truth]
    records = [record("0.png", truth[0], cube_mm=220.0, **centers[0]), record("1.png", truth[1], **centers[1])]
    cubes: list[float] = []

    class Perfect:
        layout, name, config = MSRA21, "perfect", JGRP2OConfig("msra", cube=175.0)

        def predict_crops(self, crops):
            cubes.extend(crop.cube for crop in crops)
            return np.stack(truth)

    dataset = open_records(write(tmp_path / "r.jsonl", records), "train")
    evaluate_parts([("perfect", [Perfect()])], [dataset])  # type: ignore[list-item]
    assert cubes == [220.0, 175.0]
    cubes.clear()
    evaluate_parts([("perfect", [Perfect()])], [dataset.with_cube(200.0)])  # type: ignore[list-item]
    assert cubes == [200.0, 200.0]
