"""Jobs with several hands per image."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from handpose import Camera, HandPoseEstimator, Query, predict_files, read_depth
from handpose.cli.main import app
from tests.helpers.paths import EXAMPLES

CAMERA = Camera.parse(str(EXAMPLES / "camera.json"))
SHIFT = 120  # px, which separates the two hands by about 240 mm


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A right hand next to its mirror image, the right hand alone, and an image without a hand."""
    one = read_depth(EXAMPLES / "open.png")
    right = np.pad(one[:, SHIFT:], ((0, 0), (0, SHIFT)))
    left = right[:, ::-1]
    both = np.where((right > 0) & ((left == 0) | (right < left)), right, left)
    folder = tmp_path_factory.mktemp("hands")
    files = [folder / name for name in ("both.png", "one.png", "none.png")]
    for file, depth in zip(files, (both, one, np.zeros_like(one)), strict=True):
        cv2.imwrite(str(file), depth.astype(np.uint16))
    return files


def predict(*arguments: object):
    return CliRunner().invoke(app, ["predict", "--camera", f"{EXAMPLES / 'camera.json'}", *map(str, arguments)])


BOTH = ["--max-hands", 2]
EXPECTED = [("both", 0), ("both", 1), ("one", 0), ("none", 0)]


def test_each_hand_has_a_record_with_its_index_and_side(images: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = predict(*images, *BOTH, "-o", out, "--draw", tmp_path / "pictures")
    assert (result.exit_code, result.stdout) == (0, "")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(Path(record["source"]).stem, record["hand_index"]) for record in records] == EXPECTED
    assert sorted(record["hand"] for record in records[:2]) == ["left", "right"]
    assert records[2]["hand"] == "right"
    assert [record["status"] for record in records] == ["ok", "ok", "ok", "no_hand"]
    by_side = {record["hand"]: np.array(record["xyz_mm"]) for record in records[:2]}
    assert by_side["right"][:, 0].mean() < by_side["left"][:, 0].mean()
    # The picture shows both skeletons.
    picture = cv2.imread(str(tmp_path / "pictures" / "both.png"))
    for record in records[:2]:
        scale = picture.shape[1] / record["camera"]["width"]
        for u, v, _ in record["uvz"]:
            pixel = picture[int((v + 0.5) * scale), int((u + 0.5) * scale)].astype(int)
            assert np.ptp(pixel) > 20 or pixel.min() > 200
    # A resumed job keeps all records of an image.
    before = out.read_text()
    assert predict(*images, *BOTH, "-o", out, "--draw", tmp_path / "pictures", "--resume").exit_code == 0
    assert out.read_text() == before


def test_tables_have_the_index_of_the_hand(images: list[Path], tmp_path: Path) -> None:
    for form in ("csv", "npz"):
        assert predict(*images, *BOTH, "-o", tmp_path / f"out.{form}").exit_code == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    found = dict.fromkeys((Path(row["source"]).stem, int(row["hand_index"])) for row in rows)
    assert list(found) == EXPECTED
    assert len(rows) == 4 * 21
    with np.load(tmp_path / "out.npz") as arrays:
        sources = [Path(source).stem for source in arrays["source"]]
        assert list(zip(sources, arrays["hand_index"].tolist(), strict=True)) == EXPECTED


def test_a_worker_returns_one_row_per_hand(images: list[Path]) -> None:
    pytest.importorskip("ray")
    from handpose import HandPosePredictor

    worker = HandPosePredictor("msra", Query(CAMERA), device="cpu", max_hands=2)
    batch = {"path": [*map(str, images), "bad.png"], "bytes": [*(file.read_bytes() for file in images), b"?"]}
    rows = worker(batch).to_pylist()
    assert [(Path(row["source"]).stem, row["hand_index"]) for row in rows] == [*EXPECTED, ("bad", None)]


def test_the_hands_of_a_batch_equal_those_of_single_images(images: list[Path]) -> None:
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    query = Query(CAMERA, hand="auto")
    for result in predict_files(estimator, images, query, max_hands=2):
        alone = estimator.predict_hands(result.path, camera=CAMERA, hand="auto")
        found = [pose for pose in result.poses if pose.status != "no_hand"]
        assert [pose.hand for pose in found] == [pose.hand for pose in alone]
        for pose, expected in zip(found, alone, strict=True):
            assert np.allclose(pose.xyz, expected.xyz, atol=0.01)
        assert result.pose is result.poses[0]
    center = Query(CAMERA, center=(0.0, 0.0, 500.0))
    (failed,) = predict_files(estimator, images[:1], center, max_hands=2)
    assert "is that of one hand" in str(failed.error)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--format", "uvd"], "contain one hand per image"),
        (["--html", "pages"], "contain one hand per image"),
        (["--center", "0,0,500"], "locate a single hand"),
        (["--box", "0,0,50,50"], "locate a single hand"),
        (["--max-hands", "0"], "max-hands"),
    ],
)
def test_options_for_one_hand_are_rejected(images: list[Path], more: list[str], message: str) -> None:
    result = predict(images[0], *BOTH, *more)
    assert result.exit_code
    assert message in " ".join((result.stderr + str(result.exception)).split())
