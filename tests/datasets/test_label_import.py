"""Labels of other tools become records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from handpose.cli.main import app
from handpose.datasets.label_import import records_from_coco
from handpose.datasets.records import RecordDataset, open_records
from handpose.errors import HandPoseError
from handpose.geometry.camera import CAMERAS
from handpose.geometry.layouts import MSRA21
from handpose.geometry.uvd import write_predictions
from tests.helpers.datasets import joints, picture, png16


def convert(tmp_path: Path, labels: Path, *options: str) -> RecordDataset:
    out = tmp_path / "labels.jsonl"
    words = ["import-labels", str(labels), str(tmp_path / "frames"), "-c", "msra", "-o", str(out), *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    return open_records(out, "train")


@pytest.fixture
def truth(tmp_path: Path) -> list[np.ndarray]:
    truth = [joints(21, i) for i in range(3)]
    for i, xyz in enumerate(truth):
        png16(tmp_path / f"frames/frame_{9 + i}.png", picture("msra", xyz))
    return truth


def test_the_standard_text_format(tmp_path: Path, truth: list[np.ndarray]) -> None:
    uvz = CAMERAS["msra"].project(np.array(truth))
    uvz[1, 4, 2] = np.nan
    uvz[2, 7] = 0.0
    write_predictions(tmp_path / "labels.txt", uvz)
    dataset = convert(tmp_path, tmp_path / "labels.txt", "--hand", "left", "--unit", "0.5")
    assert [Path(file).name for file in dataset.files] == ["frame_9.png", "frame_10.png", "frame_11.png"]
    assert np.allclose(dataset.xyz[0], truth[0], atol=0.002)
    assert np.flatnonzero(np.isnan(dataset.uvz[2]).all(1)).tolist() == [7]
    assert np.flatnonzero(np.isnan(dataset.xyz[1]).any(1)).tolist() == [4]
    assert np.isfinite(dataset.uvz[1, 4, :2]).all()
    assert (set(dataset.hands), set(dataset.units)) == ({"left"}, {0.5})


@pytest.mark.parametrize("named", [True, False])
def test_coco_keypoints(tmp_path: Path, truth: list[np.ndarray], named: bool) -> None:
    """With names, the keypoints are in reverse order, and one of them is no joint."""
    images = [{"id": 7 + i, "file_name": f"frame_{9 + i}.png"} for i in range(3)]
    annotations = []
    for i in (2, 0):
        points = [[u, v, 2] for u, v, _ in CAMERAS["msra"].project(truth[i]).tolist()]
        points[5] = [0, 0, 0]
        if named:
            points = [*points[::-1], [1, 1, 2]]
        annotations.append({"image_id": 7 + i, "keypoints": [number for point in points for number in point]})
    names = [*MSRA21.joints[::-1], "elbow"] if named else []
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [{"keypoints": names}]}))
    dataset = convert(tmp_path, file)
    assert [Path(path).name for path in dataset.files] == ["frame_11.png", "frame_9.png"]
    assert np.isnan(dataset.xyz).all()
    known = np.isfinite(dataset.uvz[..., 0])
    assert np.flatnonzero(~known[0]).tolist() == [5]
    expected = CAMERAS["msra"].project(truth[0])[known[1], :2]
    assert np.allclose(dataset.uvz[1][known[1], :2], expected, atol=0.001)


def test_coco_keypoints_of_an_enlarged_image_are_not_those_of_the_depth_image(
    tmp_path: Path, truth: list[np.ndarray]
) -> None:
    """Pixels of 640 x 480 px, as the file states, would be hands in another place of the 320 x 240 px."""
    large = CAMERAS["msra"].resize(640, 480)
    points = [number for u, v, _ in large.project(truth[0]).tolist() for number in (u, v, 2)]
    image = {"id": 1, "file_name": "frame_9.png", "width": 640, "height": 480}
    values: dict[str, Any] = {"images": [image], "annotations": [{"image_id": 1, "keypoints": points}]}
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(values))
    with pytest.raises(HandPoseError, match="has 320 x 240 px, but the camera of the record 640 x 480 px"):
        convert(tmp_path, file)[0]
    image["width"] = 500
    file.write_text(json.dumps(values))
    words = ["import-labels", str(file), str(tmp_path), "-c", "msra", "-o", str(tmp_path / "out.jsonl")]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, HandPoseError)
    assert "the image has 500 x 480 px" in str(error)


@pytest.mark.parametrize("other", [{"name": "person"}, {"name": "left", "keypoints": [*MSRA21.joints]}])
def test_coco_keypoints_have_the_names_of_their_category(
    tmp_path: Path, truth: list[np.ndarray], other: dict[str, Any]
) -> None:
    points = CAMERAS["msra"].project(truth[0])[:, :2]
    keypoints = [number for u, v in points[::-1].tolist() for number in (u, v, 2)]
    categories = [{"id": 1, **other}, {"id": 2, "name": "right", "keypoints": [*MSRA21.joints[::-1]]}]
    annotations = [{"image_id": 7, "category_id": 2, "keypoints": keypoints}]
    images = [{"id": 7, "file_name": "frame_9.png"}]
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    assert np.allclose(convert(tmp_path, file).uvz[0, :, :2], points, atol=0.001)


def test_images_that_are_not_depth_files_are_reported(tmp_path: Path, truth: list[np.ndarray]) -> None:
    """Labels are often drawn in color images, whose names the file has."""
    points = [number for u, v, _ in CAMERAS["msra"].project(truth[0]).tolist() for number in (u, v, 2)]
    names = ["frame_9.png", "frame_10.jpg", "frame_12.png"]
    (tmp_path / "frames/frame_10.jpg").touch()
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    annotations = [{"image_id": i, "keypoints": points} for i in range(3)]
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    with pytest.warns(UserWarning, match=r"2 of the 3 labeled images are not depth files .*frame_10\.jpg; each"):
        records_from_coco(file, tmp_path / "frames", CAMERAS["msra"], "msra")
    file.write_text(json.dumps({"images": images, "annotations": annotations[1:]}))
    with pytest.raises(HandPoseError, match="2 of the 2 labeled images"):
        records_from_coco(file, tmp_path / "frames", CAMERAS["msra"], "msra")
    file.write_text(json.dumps({"images": images, "annotations": [{**annotations[0], "hand": "Left"}]}))
    with pytest.raises(HandPoseError, match="hand must be right or left, got 'Left'"):
        records_from_coco(file, tmp_path / "frames", CAMERAS["msra"], "msra")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "not a COCO file"), ('{"images": [], "annotations": [], "categories": [{"keypoints": ["a"]}]}', "none of")],
)
def test_invalid_files_are_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    words = ["import-labels", str(tmp_path / "x.json"), str(tmp_path), "-c", "msra", "-o", str(tmp_path / "o.jsonl")]
    done = CliRunner().invoke(app, words)
    assert message in str(done.exception)


def test_a_file_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"images": [], "annotations": []}')
    out = tmp_path / "missing/labels.jsonl"
    done = CliRunner().invoke(
        app, ["import-labels", str(tmp_path / "x.json"), str(tmp_path), "-c", "msra", "-o", str(out)]
    )
    assert isinstance(done.exception, HandPoseError)
    assert f"{out}: cannot be written" in str(done.exception)
