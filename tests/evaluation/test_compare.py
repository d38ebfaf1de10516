from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handpose.errors import HandPoseError
from handpose.evaluation.compare import compare_files
from handpose.evaluation.metrics import Evaluation
from handpose.geometry.layouts import ICVL16, NYU14
from handpose.geometry.uvd import EVALUATORS, read_ground_truth, read_predictions, write_predictions
from tests.helpers.paths import SHARED


def frames(count: int, joints: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform([0, 0, 200], [640, 480, 1200], (count, joints, 3))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("dataset", "name", "published"),
    [
        ("nyu", "v2v_posenet", 8.419),
        ("nyu", "point_to_point", 9.045),
        ("nyu", "deepprior_pp", 12.238),
        ("icvl", "v2v_posenet", 6.284),
        ("icvl", "handpointnet", 6.935),
    ],
)
def test_published_errors_are_reproduced(dataset: str, name: str, published: float) -> None:
    folder = SHARED / "predictions" / dataset
    report = compare_files(dataset, folder / "ground_truth.txt", [folder / f"{name}.txt"])
    (entry,) = report.entries
    assert entry.name == name
    assert entry.evaluation.mean == pytest.approx(published, abs=0.001)
    assert report.notes == ["true joints from ground_truth.txt"]  # no mistake is suspected


@pytest.mark.shared
def test_icvl_errors_depend_on_the_intrinsics() -> None:
    # With 241.42, which came with the images, the error is 0.01 mm lower than published.
    folder = SHARED / "predictions" / "icvl"
    uvz, truth = (read_predictions(folder / name, ICVL16) for name in ("v2v_posenet.txt", "ground_truth.txt"))
    camera = EVALUATORS["msra"][1]
    assert (camera.fx, camera.fy) == (241.42, 241.42)
    assert Evaluation.of(camera.unproject(uvz), camera.unproject(truth)).mean == pytest.approx(6.276, abs=0.001)


def test_written_predictions_can_be_read(tmp_path: Path) -> None:
    uvz = frames(7, 14)
    uvz[3] = np.nan
    write_predictions(tmp_path / "a.txt", uvz)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [42] * 7
    again = read_predictions(tmp_path / "a.txt", NYU14)
    assert again == pytest.approx(uvz, abs=0.0005, nan_ok=True)
    assert np.isnan(again[3]).all()


def test_the_format_preserves_joints_in_mm(tmp_path: Path) -> None:
    layout, camera = EVALUATORS["nyu"]
    uvz = frames(50, len(layout))
    write_predictions(tmp_path / "a.txt", uvz)
    again = read_predictions(tmp_path / "a.txt", layout)
    assert Evaluation.of(camera.unproject(again), camera.unproject(uvz)).errors.max() < 0.003


def test_known_errors_in_mm_are_reproduced(tmp_path: Path) -> None:
    _, camera = EVALUATORS["icvl"]
    truth = camera.unproject(frames(20, 16))
    write_predictions(tmp_path / "truth.txt", camera.project(truth))
    write_predictions(tmp_path / "3-4-12.txt", camera.project(truth + np.array([3, -4, 12])))
    moved = truth.copy()
    moved[5:] += np.array([0, 6, 0])
    moved[:5] = np.nan
    write_predictions(tmp_path / "six.txt", camera.project(moved))
    first, second = compare_files(
        "icvl", tmp_path / "truth.txt", [tmp_path / "3-4-12.txt", tmp_path / "six.txt"]
    ).entries
    assert first.evaluation.mean == pytest.approx(13, abs=0.003)
    assert first.evaluation.per_axis == pytest.approx([3, 4, 12], abs=0.003)
    assert second.evaluation.mean == pytest.approx(6, abs=0.003)
    assert second.evaluation.missing.tolist() == [0, 1, 2, 3, 4]
    assert second.evaluation.success_rate(10) == 0.75


def _xyz(uvz: np.ndarray) -> np.ndarray:
    return EVALUATORS["nyu"][1].unproject(uvz)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda uvz: uvz, None),
        (lambda uvz: np.concatenate([uvz[1:], uvz[:1]]), "they seem to be 1 frame early"),
        (lambda uvz: np.concatenate([uvz[-2:], uvz[:-2]]), "they seem to be 2 frames late"),
        (lambda uvz: uvz * [1, -1, 1] + [0, 480, 0], "v seems to count from the bottom"),
        (lambda uvz: uvz * [-1, 1, 1] + [640, 0, 0], "u seems to count from the right"),
        (lambda uvz: uvz * [1, 1, 0.001], "d seems to be in meters"),
        (lambda uvz: uvz[..., [1, 0, 2]], "u and v seem to be swapped"),
        (_xyz, "x, y, z in mm, with y down"),
        (lambda uvz: _xyz(uvz) * [1, -1, 1], "x, y, z in mm, with y up"),
        (lambda uvz: uvz[:, ::-1], "another order: pinky_tip lies at palm, pinky_mid lies at wrist_radial"),
        (lambda uvz: uvz * [0.5, 0.5, 1], "pixels of an image of half the size"),
    ],
)
def test_systematic_mistakes_of_predictions_are_named(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], text: str | None
) -> None:
    truth, file = tmp_path / "truth.txt", tmp_path / "ours.txt"
    uvz = frames(20, 14)
    write_predictions(truth, uvz)
    np.savetxt(file, change(uvz + np.random.default_rng(1).normal(0, 3, uvz.shape)).reshape(20, -1))
    if text is None:
        assert not any("wrong" in note for note in compare_files("nyu", truth, [file]).notes)
        return
    with pytest.warns(UserWarning, match=f"ours.txt: the predictions are probably wrong: .*{text}"):
        report = compare_files("nyu", truth, [file])
    assert text in report.table()


def test_the_truth_is_no_prediction(tmp_path: Path) -> None:
    write_predictions(tmp_path / "truth.txt", frames(5, 14))
    with pytest.warns(UserWarning, match="they are the true joints"):
        compare_files("nyu", tmp_path / "truth.txt", [tmp_path / "truth.txt"])


def test_depths_in_meters_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(HandPoseError, match=r"frame 1: expected depths in mm, got 1.* multiply meters by 1000"):
        write_predictions(tmp_path / "a.txt", [*frames(1, 14), *(frames(1, 14) * [1.0, 1.0, 1e-3])])
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("wrong", [[np.zeros(3)], [np.zeros((14, 2))], frames(2, 14)[None], ["a"]])
def test_only_joints_of_one_layout_are_written(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(HandPoseError, match="expected"):
        write_predictions(tmp_path / "a.txt", wrong)
    with pytest.raises(HandPoseError, match=r"frame 1: .* got shape \(21, 3\), and \(14, 3\) before"):
        write_predictions(tmp_path / "a.txt", [*frames(1, 14), *frames(1, 21)])
    assert not (tmp_path / "a.txt").exists()


def test_frames_of_zeros_and_incomplete_frames_are_missing(tmp_path: Path) -> None:
    truth, file = tmp_path / "truth.txt", tmp_path / "ours.txt"
    uvz = frames(8, 14)
    write_predictions(truth, uvz)
    predicted = uvz + np.array([0.0, 0.0, 4.0])
    predicted[2], predicted[5, 3] = 0.0, np.nan
    write_predictions(file, predicted)
    report = compare_files("nyu", truth, [file])
    assert report.entries[0].evaluation.missing.tolist() == [2, 5]
    assert report.entries[0].evaluation.per_axis[2] == pytest.approx(4.0, abs=0.001)
    assert report.notes == [
        "true joints from truth.txt",
        "8 frames; the published set has 8252",
        "ours: joints have a depth of 0 or less in 1 of 8 frames, which count as missing",
        "ours: some joints have no prediction in 1 of 8 frames, which count as missing",
    ]


def test_errors_about_wrong_files_state_both_counts(tmp_path: Path) -> None:
    file, truth = tmp_path / "a.txt", tmp_path / "truth.txt"
    write_predictions(truth, frames(5, 14))
    write_predictions(file, frames(4, 14))
    with pytest.raises(HandPoseError, match=rf"a.txt: expected 5 frames .*{truth}, got 4; write nan"):
        compare_files("nyu", truth, [file])
    write_predictions(file, frames(5, 16), force=True)
    with pytest.raises(
        HandPoseError, match=r"a.txt:1: expected 14 joints \(42 .* got 48 numbers; these may be the joints of icvl$"
    ):
        compare_files("nyu", truth, [file])
    lines = truth.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], "", *lines[3:]]))  # an empty line would shift the following frames
    with pytest.raises(HandPoseError, match=r"a.txt:4: expected 14 joints .* got 0 numbers"):
        read_predictions(file, NYU14)
    file.write_text("\n".join([*lines[:2], lines[2] + " 1", *lines[3:]]))
    with pytest.raises(HandPoseError, match=r"a.txt:3: .*got 43 numbers"):
        read_predictions(file, NYU14)
    file.write_text(lines[0].replace(" ", ","))
    with pytest.raises(HandPoseError, match=r"a.txt:1: expected numbers separated"):
        read_predictions(file, NYU14)


def test_unusable_files_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with pytest.raises(HandPoseError, match=r"a.txt: no such file"):
        read_predictions(file, NYU14)
    file.write_bytes(b"\xff\xff\x00\x01")
    with pytest.raises(HandPoseError, match=r"a.txt: cannot be read as text"):
        read_predictions(file, NYU14)
    file.write_text("\n\n")
    with pytest.raises(HandPoseError, match="empty file"):
        read_predictions(file, NYU14)
    with pytest.raises(HandPoseError, match="cannot be written"):
        write_predictions(tmp_path / "none" / "a.txt", frames(1, 14))
    with pytest.raises(HandPoseError, match="one of nyu, icvl, msra, got 'stb'"):
        compare_files("stb", file, [file])


@pytest.mark.parametrize("value", [np.nan, -300.0])
def test_true_joints_must_be_pixels_and_depths(tmp_path: Path, value: float) -> None:
    uvz = frames(3, 14)
    uvz[1, 4, 2] = value
    write_predictions(tmp_path / "truth.txt", uvz)
    with pytest.raises(HandPoseError, match=r"truth.txt:2: expected true joints"):
        read_ground_truth(tmp_path / "truth.txt", NYU14)


def test_a_single_file_needs_no_list(tmp_path: Path) -> None:
    uvz = frames(30, 14)
    write_predictions(tmp_path / "truth.txt", uvz)
    write_predictions(tmp_path / "ours.txt", uvz + np.array([0.0, 0.0, 5.0]))
    single, listed = (
        compare_files("nyu", tmp_path / "truth.txt", given)
        for given in (tmp_path / "ours.txt", [tmp_path / "ours.txt"])
    )
    assert single.to_dict() == listed.to_dict()
