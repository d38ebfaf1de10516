"""Training on a data set, and evaluation of the result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from handpose.cli.main import app
from handpose.datasets.catalog import open_dataset
from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.on_real import predict_dataset
from handpose.inference.estimator import HandPoseEstimator
from handpose.network.config import JGRP2OConfig
from handpose.training.checkpoint import load_state
from handpose.training.config import TrainingConfig
from handpose.training.on_real import dataset_task
from handpose.training.pose_task import write_model
from handpose.training.trainer import train
from handpose.weights.resolve import find_weights
from tests.helpers.datasets import write_nyu


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_training_evaluation_and_report_agree(tmp_path: Path) -> None:
    root, model = tmp_path / "NYU", tmp_path / "model"
    write_nyu(root, 8, "train")
    truth = write_nyu(root, 5, "test")
    common = ("--data", "nyu", "--root", root, "--centers", "truth")
    code, _, said = run(
        "train", tmp_path / "run", *common, "--batch", 2, "--steps", 2, "--validate-every", 2, "-o", model
    )
    assert code == 0
    assert "step 2" in said
    assert f"--model {model}" in said
    checkpoint = load_state(tmp_path / "run")
    assert checkpoint is not None
    state = checkpoint["config"]
    # The paper's settings, except for those that the options change.
    assert (state["learning_rate"], state["weight_decay"], state["precision"]) == (1e-4, 5e-5, "float32")
    assert (state["steps"], state["batch"], state["schedule"], state["average"]) == (2, 2, "exponential", 0.0)

    page, text = tmp_path / "out.html", tmp_path / "nyu.txt"
    code, shown, _ = run("evaluate", *common, "-m", model, "--json", "--report", page, "--write-predictions", text)
    assert code == 0
    result = json.loads(shown)["results"][0]
    assert "truth" in result["centers"]
    assert result["frames"] == 5
    assert f"{result['mean_mm']:.3f}" in page.read_text()
    joints = np.array([line.split() for line in text.read_text().splitlines()], float).reshape(5, 14, 3)
    xyz = open_dataset("nyu", root, "test", centers="truth").camera.unproject(joints)
    assert np.linalg.norm(xyz - np.array(truth), axis=-1).mean() == pytest.approx(result["mean_mm"], abs=0.01)

    ground_truth = tmp_path / "truth.txt"
    ground_truth.write_text(
        "".join(
            " ".join(f"{number:.4f}" for number in uvz.ravel()) + "\n"
            for uvz in open_dataset("nyu", root, "test", centers="truth").camera.project(np.array(truth))
        )
    )
    compare = ("evaluate", "--dataset", "nyu", "--predictions", text, "--ground-truth", ground_truth, "--json")
    code, shown, _ = run(*compare)
    assert json.loads(shown)["results"][0]["mean_mm"] == pytest.approx(result["mean_mm"], abs=0.01)


def test_training_fits_the_training_frames(tmp_path: Path) -> None:
    write_nyu(tmp_path, 12, "train")
    dataset = open_dataset("nyu", tmp_path, "train", centers="truth")
    rows: list[dict[str, float]] = []
    config = TrainingConfig(60, batch=8, optimizer="adam", learning_rate=4e-3, validate_every=20, average=0.9)
    with dataset_task(JGRP2OConfig("nyu", features=16), config, dataset) as task:
        train(tmp_path / "run", task, rows.append)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    write_model(tmp_path / "run", tmp_path / "model")
    estimator = HandPoseEstimator.from_pretrained(tmp_path / "model", device="cpu")
    joints = predict_dataset(estimator, dataset)
    assert np.isfinite(joints).all()
    # The joints are random, so a model can see the balls but hardly distinguish them.
    assert Evaluation.of(joints, dataset.xyz).mean < 75.0


def test_frames_without_an_image_are_reported(tmp_path: Path) -> None:
    write_nyu(tmp_path, 4, "test")
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    (dataset.root / dataset.files[2]).unlink()
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")

    class Middle:
        layout, name = dataset.layout, "middle"

        def predict_crops(self, crops):
            return np.stack([np.tile(crop.center, (14, 1)) for crop in crops])

    missing = re.escape(dataset.files[2])
    with pytest.warns(UserWarning, match=f"{missing} has no prediction"):
        joints = predict_dataset(Middle(), dataset)  # type: ignore[arg-type]
    assert np.flatnonzero(np.isnan(joints).any(axis=(1, 2))).tolist() == [2]
    expected = dataset.xyz.mean(axis=1, keepdims=True) - dataset.xyz
    assert Evaluation.of(joints, dataset.xyz).mean == pytest.approx(
        np.linalg.norm(expected[[0, 1, 3]], axis=-1).mean(), abs=1e-3
    )


def test_weights_of_another_layout_are_rejected(tmp_path: Path) -> None:
    write_nyu(tmp_path, 4, "train")
    dataset = open_dataset("nyu", tmp_path, "train", centers="truth")
    config = TrainingConfig(1, batch=2)
    with (
        pytest.raises(HandPoseError, match="msra predicts msra joints, but nyu requires nyu joints"),
        dataset_task(JGRP2OConfig("nyu"), config, dataset, start=find_weights("msra")),
    ):
        pass
    with pytest.raises(HandPoseError, match="use a model with layout nyu"):
        predict_dataset(HandPoseEstimator.from_pretrained("msra", device="cpu"), dataset)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "RUN", "--data", "nyu"), "requires --root"),
        (("train", "RUN"), "--steps is required"),
        (("evaluate", "--predictions", "x.txt"), "requires --ground-truth FILE and --dataset"),
    ],
)
def test_missing_options_are_reported(words: tuple[str, ...], message: str) -> None:
    code, _, said = run(*words)
    assert code == 2
    assert message in said.replace("\n", " ")
