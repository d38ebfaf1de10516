"""Training on a data set, and evaluation of the result."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from handpose.adaptation.outcome import Tuned
from handpose.cli.main import app
from handpose.cli.recipe import Recipe
from handpose.datasets.catalog import open_dataset
from handpose.datasets.dataset import HandDataset
from handpose.datasets.matfile import read_mat, write_mat
from handpose.errors import HandPoseError
from handpose.evaluation.evaluate import evaluate, evaluate_parts
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.on_real import predict_dataset
from handpose.geometry.layouts import MSRA21
from handpose.inference.estimator import HandPoseEstimator
from handpose.io.warn import SkippedFrameWarning
from handpose.network.config import JGRP2OConfig
from handpose.runtimes.crops import synthetic_crops
from handpose.training.checkpoint import load_state
from handpose.training.config import TrainingConfig
from handpose.training.log import last_row
from handpose.training.on_real import dataset_task
from handpose.training.pose_task import write_model
from handpose.training.trainer import train
from handpose.weights.folder import Weights
from handpose.weights.resolve import find_weights
from tests.helpers.command import OPEN
from tests.helpers.datasets import write_icvl, write_msra, write_nyu
from tests.helpers.paths import EXAMPLES
from tests.helpers.training import SMALL


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(done.exception, HandPoseError):  # `main` prints it and exits with 2
        return 2, done.stdout, f"{done.stderr}error: {done.exception}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_training_evaluation_and_report_agree(tmp_path: Path) -> None:
    root, model = tmp_path / "NYU", tmp_path / "model"
    write_nyu(root, 8, "train")
    truth = write_nyu(root, 5, "test")
    common = ("--data", "nyu", "--root", root, "--centers", "truth")
    code, _, said = run(
        "train", tmp_path / "run", *common, "--batch-size", 2, "--steps", 2, "--validate-every", 2, "-o", model
    )
    assert code == 0
    assert "step 2" in said
    assert f"-m {model}" in said
    assert "validating" not in said  # because no frames are held out
    card = (model / "README.md").read_text()
    for part in ("nyu train, 8 frames", "truth (mean of the true joints)", "2 of 2, batch size 2, seed 1", "random"):
        assert part in card
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
    compare = ("evaluate", "--data", "nyu", "--predictions", text, "--ground-truth", ground_truth, "--json")
    code, shown, _ = run(*compare)
    assert json.loads(shown)["results"][0]["mean_mm"] == pytest.approx(result["mean_mm"], abs=0.01)


@pytest.mark.parametrize(
    ("name", "write", "options", "frames"),
    [
        ("icvl", write_icvl, (), 4),
        ("nyu", lambda root: write_nyu(root, 5, "train"), (), 5),
        ("msra", write_msra, ("--subject", 2), 32),
    ],
)
def test_the_paper_s_recipe_trains_on_every_frame(
    tmp_path: Path, name: str, write: Callable[[Path], object], options: tuple[object, ...], frames: int
) -> None:
    write(tmp_path / "data")
    common = ("--data", name, "--root", tmp_path / "data", "--centers", "truth", *options)
    common = (*common, "--steps", 1, "--batch-size", 2)
    for validation, rest in (((), frames), (("--validation", 0.2), frames - round(0.2 * frames))):
        run_folder = tmp_path / f"run{rest}"
        assert run("train", run_folder, *common, *validation)[0] == 0
        state = load_state(run_folder)
        assert state is not None
        assert state["config"]["epoch"] == rest
        assert ("mean_mm" in last_row(run_folder)) == bool(validation)


def test_the_recipe_of_synthetic_hands_is_for_data_sets_with_and_without_validation(tmp_path: Path) -> None:
    write_nyu(tmp_path, 5, "train")
    dataset = open_dataset("nyu", tmp_path, "train", centers="truth")
    recipe = Recipe(recipe="rendered", steps=10, validation=0.4)
    frames, held_out = recipe.split(dataset)
    assert held_out is not None
    assert [len(frames.usable), len(held_out.usable)] == [3, 2]
    assert recipe.config(frames).steps == 10
    with pytest.raises(HandPoseError, match="--recipe rendered requires --steps"):
        Recipe(recipe="rendered").config(frames)


def test_a_training_is_not_resumed_with_other_data_or_initial_weights(tmp_path: Path) -> None:
    """All are settings of the same network, with the same number of frames."""
    for name in ("NYU", "other"):
        write_nyu(tmp_path / name, 4, "train")
    np.savetxt(tmp_path / "centers.txt", np.tile([0.0, 0.0, 450.0], (4, 1)))
    labels = tmp_path / "other/train/joint_data.mat"
    write_mat(labels, {"joint_xyz": 1.001 * read_mat(labels, "joint_xyz")})
    options = {"--data": "nyu", "--root": tmp_path / "NYU", "--centers": "truth", "--steps": 2, "--batch-size": 2}

    def resume(**changes: object) -> tuple[int, str, str]:
        given = options | {f"--{name}": value for name, value in changes.items()}
        return run("train", tmp_path / "run", *itertools.chain(*given.items()), "--max-minutes", 0)

    assert resume()[0] == 0
    for change, name in (
        ({"root": tmp_path / "other"}, "other labels and hand centers;"),
        ({"centers": tmp_path / "centers.txt"}, "centers"),
        ({"start": "nyu"}, "other initial weights;"),
    ):
        code, _, said = resume(**change)
        assert code == 2
        assert f"{tmp_path / 'run'}: contains a training run with {name} " in said
    assert resume()[0] == 0


def test_a_training_is_not_resumed_with_other_centers_in_the_same_file(tmp_path: Path) -> None:
    write_nyu(tmp_path, 4, "train")
    file = tmp_path / "centers.txt"

    def resume(z: float) -> tuple[int, str, str]:
        np.savetxt(file, np.tile([0.0, 0.0, z], (4, 1)))
        return run("train", tmp_path / "run", "--data", "nyu", "--root", tmp_path, "--centers", file,
                   "--steps", 3, "--batch-size", 2, "--max-minutes", 0)  # fmt: skip

    assert resume(400.0)[0] == 0
    code, _, said = resume(420.0)
    assert code == 2
    assert "contains a training run with other hand centers; choose another folder" in said
    assert resume(400.0)[0] == 0


def test_a_training_that_time_ends_leaves_a_model(tmp_path: Path) -> None:
    """The same command resumes it and replaces its own model, but not that of another training."""
    write_nyu(tmp_path / "NYU", 4, "train")
    options = ("--data", "nyu", "--root", tmp_path / "NYU", "--centers", "truth", "--steps", 2, "--batch-size", 2)
    command = ("train", tmp_path / "run", *options, "-o", tmp_path / "model")
    code, _, said = run(*command, "--max-minutes", 0)
    assert code == 0
    assert f"{tmp_path / 'model'}: wrote the weights of step 1 of 2; run the same command again to resume" in said
    early = HandPoseEstimator.from_pretrained(tmp_path / "model", device="cpu")
    code, _, said = run(*command)
    assert code == 0
    assert f"{tmp_path / 'model'}: wrote the model folder" in said
    assert HandPoseEstimator.from_pretrained(tmp_path / "model", device="cpu").sha256 != early.sha256
    (tmp_path / "model/README.md").write_text("with a license")
    assert f"{tmp_path / 'model'}: already contains these weights, and was not changed" in run(*command)[2]
    assert (tmp_path / "model/README.md").read_text() == "with a license"
    code, _, said = run("train", tmp_path / "other", *options, "-o", tmp_path / "model")
    assert code == 2
    assert "config.json: already exists" in said


def test_all_subjects_of_msra_are_trained_and_joined(tmp_path: Path) -> None:
    root, model, runs = tmp_path / "MSRA", tmp_path / "models", tmp_path / "runs"
    write_msra(root)
    common = ("--data", "msra", "--root", root, "--centers", "truth", "--subject", "all")
    training = ("train", runs, *common, "--batch-size", 2, "--steps", 1, "-o", model)
    code, _, said = run(*training, "--max-minutes", 0)
    assert code == 0
    assert "the time is up before P1" in said
    assert run(*training)[0] == 0
    assert sorted(path.name for path in model.iterdir()) == [f"P{person}" for person in range(9)]

    code, shown, _ = run("evaluate", "--data", "msra", "--root", root, "--centers", "truth", "--protocol", "paper",
                         "-m", model, "--json")  # fmt: skip
    assert code == 0
    values = json.loads(shown)
    assert values["frames"] == 36
    parts = []
    for person in range(9):
        dataset = open_dataset("msra", root, "test", centers="truth", subject=person)
        own = HandPoseEstimator.from_pretrained(model / f"P{person}", device="cpu")
        parts.append(np.linalg.norm(predict_dataset(own, dataset) - dataset.xyz, axis=-1))
    assert values["results"][0]["mean_mm"] == pytest.approx(np.concatenate(parts).mean(), abs=1e-3)


def test_joined_subjects_are_the_mean_over_frames(tmp_path: Path) -> None:
    """Subject s is off by s mm, and subject 8 has half as many frames as the others."""
    write_msra(tmp_path)
    shutil.rmtree(tmp_path / "P8/T")
    datasets = [open_dataset("msra", tmp_path, "test", centers="truth", subject=person) for person in range(9)]
    truth = [iter(dataset.xyz) for dataset in datasets]

    class OffBy:
        layout, config = datasets[0].layout, JGRP2OConfig("msra", cube=175.0)

        def __init__(self, person: int) -> None:
            self.person, self.name = person, f"P{person}"

        def predict_crops(self, crops):
            return np.stack([next(truth[self.person]) + np.array([0.0, self.person, 0.0]) for _ in crops])

    report = evaluate_parts([("planted", [OffBy(person) for person in range(9)])], datasets)  # type: ignore[list-item]
    assert report.entries[0].evaluation.mean == pytest.approx((4 * sum(range(8)) + 2 * 8) / 34)
    assert "planted, mean error of each part in mm: P0 0.00, P1 1.00, P2 2.00" in "".join(report.notes)


@pytest.mark.filterwarnings("ignore:.* has no prediction:UserWarning")  # only the first frame has an image
def test_the_paper_s_protocol_has_one_cube_for_nyu(tmp_path: Path) -> None:
    root = tmp_path / "NYU"
    write_nyu(root, 1, "test")
    labels = read_mat(root / "test/joint_data.mat", "joint_xyz")
    write_mat(root / "test/joint_data.mat", {"joint_xyz": np.repeat(labels, 2441, axis=1)})
    command = ("evaluate", "--data", "nyu", "--root", root, "--centers", "truth", "--json")
    for options, cubes in (((), "208.3, 250.0"), (("--protocol", "paper"), "250.0")):
        code, shown, _ = run(*command, *options)
        assert code == 0
        assert f"nyu: cubes of {cubes} mm" in json.loads(shown)["notes"]
    code, _, said = run(*command, "--protocol", "paper", "--cube", 200)
    assert code == 2
    assert "omit --cube" in said.replace("\n", " ")


def test_the_cubes_are_those_of_the_model(tmp_path: Path) -> None:
    """Those of MSRA have 175 mm, and the built-in weights were trained with 250 mm."""
    write_msra(tmp_path)
    common = {"centers": "truth", "subject": 2}
    default, chosen = (open_dataset("msra", tmp_path, "test", cube=cube, **common) for cube in (None, 250.0))  # type: ignore[arg-type]
    small = open_dataset("msra", tmp_path, "test", cube=175.0, **common)  # type: ignore[arg-type]
    estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
    reports = [evaluate(estimator, dataset) for dataset in (default, chosen, small)]
    errors = [report.entries[0].evaluation.mean for report in reports]
    assert errors[0] == errors[1] != errors[2]
    assert "msra: cubes of 250.0 mm, as in its training; those of the data set have 175.0 mm" in reports[0].notes
    assert "msra: cubes of 175.0 mm" in reports[2].notes


def test_training_fits_the_training_frames(tmp_path: Path) -> None:
    write_nyu(tmp_path, 12, "train")
    dataset = open_dataset("nyu", tmp_path, "train", centers="truth")
    rows: list[dict[str, float]] = []
    config = TrainingConfig(60, batch=8, optimizer="adam", learning_rate=0.01, validate_every=20, average=0.9)
    with dataset_task(SMALL, config, dataset) as task:
        train(tmp_path / "run", task, rows.append)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    write_model(tmp_path / "run", tmp_path / "model")
    estimator = HandPoseEstimator.from_pretrained(tmp_path / "model", device="cpu", backend="torch")
    joints = predict_dataset(estimator, dataset)
    assert np.isfinite(joints).all()
    # The joints are random, so a model can see the balls but hardly distinguish them.
    assert Evaluation.of(joints, dataset.xyz).mean < 65.0


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
    with pytest.warns(SkippedFrameWarning, match=f"{missing} has no prediction"):
        joints = predict_dataset(Middle(), dataset)  # type: ignore[arg-type]
    assert np.flatnonzero(np.isnan(joints).any(axis=(1, 2))).tolist() == [2]
    expected = dataset.xyz.mean(axis=1, keepdims=True) - dataset.xyz
    assert Evaluation.of(joints, dataset.xyz).mean == pytest.approx(
        np.linalg.norm(expected[[0, 1, 3]], axis=-1).mean(), abs=1e-3
    )


def test_models_are_evaluated_by_name(tmp_path: Path) -> None:
    write_nyu(tmp_path, 2)
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    by_name = evaluate("nyu", dataset).to_dict()["results"]
    assert by_name == evaluate([HandPoseEstimator.from_pretrained("nyu")], dataset).to_dict()["results"]
    with pytest.raises(HandPoseError, match="model"):
        evaluate(tmp_path, dataset)
    with pytest.raises(HandPoseError, match="at least one estimator"):
        evaluate([], dataset)


def test_what_a_report_cannot_contain_is_known_before_the_evaluation(tmp_path: Path) -> None:
    write_nyu(tmp_path, 2)
    dataset = open_dataset("nyu", tmp_path, "test", centers="truth")
    missing = tmp_path / "missing/file"

    class Unused:
        layout, name, config = dataset.layout, "model", JGRP2OConfig("nyu")

        def predict_crops(self, crops):
            raise AssertionError

    class Other(Unused):
        layout = MSRA21

    one = ("model", [Unused()])
    for models, predictions, message in (
        ([one, ("other", [Unused()]), one], None, "must have different names, got several with the name model"),
        ([one, ("other", [Other()])], None, "predicts joints of layout msra, but nyu has layout nyu"),
        ([one], missing, f"{missing}: cannot be written, because the folder"),
    ):
        with pytest.raises(HandPoseError, match=re.escape(message)):
            evaluate_parts(models, [dataset], predictions=predictions)  # type: ignore[arg-type]
    code, out, err = run("evaluate", "--data", "nyu", "--root", tmp_path, "--report", f"{missing}.json")
    assert (code, out) == (2, "")
    assert f"{missing}.json: cannot be written" in err


def test_an_evaluation_without_any_prediction_fails(tmp_path: Path) -> None:
    """The images exist but are damaged, which becomes known only when they are read."""
    root = tmp_path / "NYU"
    write_nyu(root, 2)
    for image in (root / "test").glob("*.png"):
        image.write_bytes(b"")
    with pytest.warns(SkippedFrameWarning, match="has no prediction"):
        code, shown, said = run("evaluate", "--data", "nyu", "--root", root, "--centers", "truth")
    assert code == 1
    assert "none of the 2 frames has a prediction" in said
    assert "missing" in shown


def test_weights_of_another_layout_start_a_training_on_a_data_set(tmp_path: Path) -> None:
    """Before the first step, the network predicts the other layout's joints; random weights are over 70 mm off."""
    write_nyu(tmp_path, 4, "train")
    dataset = open_dataset("nyu", tmp_path, "train", centers="truth")
    network = JGRP2OConfig("nyu")
    patches, truth = (torch.from_numpy(part[:16]) for part in synthetic_crops(network))
    with dataset_task(network, TrainingConfig(1, batch=2), dataset, start=find_weights("msra")) as task:
        start = replace(task, validation=(patches, truth))
        assert start.validate(start.build().eval())["mean_mm"] < 20.0
    with (
        pytest.raises(HandPoseError, match="msra: has stacks 2, not 1; start from other weights"),
        dataset_task(SMALL, TrainingConfig(1, batch=2), dataset, start=find_weights("msra")),
    ):
        pass
    with pytest.raises(HandPoseError, match="use a model with layout nyu"):
        predict_dataset(HandPoseEstimator.from_pretrained("msra", device="cpu"), dataset)


def test_msra_is_fine_tuned_without_its_test_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_msra(tmp_path / "MSRA")
    trained: list[HandDataset] = []

    def finetune(run: Path, dataset: HandDataset, start: Weights, **settings: object) -> Tuned:
        trained.append(dataset)
        return Tuned(1, 1, None, ())

    monkeypatch.setattr("handpose.adaptation.finetune.finetune", finetune)
    words = ("finetune", tmp_path / "run", "--data", "msra", "--root", tmp_path / "MSRA", "--subject", 3)
    assert run(*words)[0] == 0
    assert {file[:2] for file in trained[0].files} == {f"P{other}" for other in range(9) if other != 3}


def test_weights_of_another_layout_are_not_fine_tuned(tmp_path: Path) -> None:
    write_nyu(tmp_path, 4, "train")
    code, _, said = run("finetune", tmp_path / "run", "--data", "nyu", "--root", tmp_path, "--centers", "truth",
                        "--start", "msra")  # fmt: skip
    assert code == 2
    assert "msra predicts msra joints, but" in said
    assert "handpose train with --start" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "RUN", "--data", "nyu"), "requires --root"),
        (("train", "RUN"), "--steps is required"),
        (("evaluate", "--predictions", "x.txt"), "requires --ground-truth FILE and --data"),
        # Options without a meaning would otherwise be ignored, and other results than the expected ones printed.
        (("train", "RUN", "--root", "NYU", "--steps", 1), "--root is for data sets; specify one with --data"),
        (("evaluate", "--root", "NYU", "--cube", 200), "--root, --cube is for data sets; specify one with --data"),
        (("train", "RUN", "--centers", "truth", "--steps", 1), "--centers is for data sets"),
        (("train", "RUN", "--validation", 0.1, "--steps", 1), "--validation is for data sets"),
        (("train", "RUN", "--data", "nyu", "--root", "NYU", "--layout", "nyu"), "--layout is for synthetic hands"),
        (("evaluate", "--test-share", 0.2), "--test-share is for data sets"),
        (("evaluate", "--data", "nyu", "--root", "NYU", "--frames", 10), "--frames is for synthetic images"),
        (("evaluate", "--frames", 2001), "expected 1 to 2,000 synthetic test images, got 2001"),
        (("evaluate", "--ground-truth", "x.txt"), "--ground-truth is for --predictions"),
        (
            ("evaluate", "--data", "nyu", "--predictions", "x.txt", "--ground-truth", "y.txt", "--write-predictions",
             "z.txt"),
            "for which --write-predictions has no meaning",
        ),
        (
            ("evaluate", "--data", "nyu", "--predictions", "x.txt", "--ground-truth", "y.txt", "--views", 4,
             "--workers", 2),
            "for which --workers, --views has no meaning",
        ),
        (("evaluate", "--workers", 2), "--workers is for data sets"),
        (("finetune", "RUN", "--data", "nyu", "--root", "NYU", "--unchecked"), "--unchecked is for records"),
        (("evaluate", "--plots", OPEN), "is a file; expected a folder for the plots"),
        (("finetune", "RUN", "--data", "nyu", "--root", "NYU", "--subject", 1), "nyu has no subjects"),
        (("label", OPEN, "-c", "nyu", "-o", "x.jsonl", "--max-frames", 9), "--max-frames is for recordings"),
        (("label", EXAMPLES / "hand.hpr", "-o", "x.jsonl", "--recursive"), "--recursive is for folders"),
        (("evaluate", "--data", "records", "--root", "x.jsonl", "--protocol", "paper"), "icvl, nyu and msra"),
        (("evaluate", "--data", "nyu", "--root", "NYU", "--test-share", 0.2), "test_share is only for records"),
    ],
)  # fmt: skip
def test_missing_and_ignored_options_are_reported(words: tuple[str, ...], message: str) -> None:
    code, _, said = run(*words)
    assert code == 2
    assert message in said.replace("\n", " ")


def test_errors_in_validation_are_in_mm_of_the_cube_of_each_frame(tmp_path: Path) -> None:
    write_nyu(tmp_path, 2, "train")
    dataset = replace(open_dataset("nyu", tmp_path, "train", centers="truth"), cubes=np.array([200.0, 250.0]))
    with dataset_task(JGRP2OConfig("nyu"), TrainingConfig(1), dataset, held_out=dataset) as task:
        assert task.validation is not None
        off = task.validation[1] + torch.tensor([0.0, 0.0, 0.1])  # a tenth of half a cube: 10 and 12.5 mm
        metrics = task.validate(lambda patches: (off,))  # type: ignore[arg-type]
    assert metrics["mean_mm"] == pytest.approx(11.25, abs=1e-4)


def test_unreadable_validation_frames_are_reported(tmp_path: Path) -> None:
    write_nyu(tmp_path, 3, "train")
    (tmp_path / "train/depth_1_0000002.png").write_bytes(b"no image")
    dataset = open_dataset("nyu", tmp_path, "train", centers="truth")
    provided = dataset_task(JGRP2OConfig("nyu"), TrainingConfig(1), dataset, held_out=dataset)
    with contextlib.ExitStack() as stack:
        with pytest.warns(SkippedFrameWarning, match=r"skipped .*depth_1_0000002\.png"):
            task = stack.enter_context(provided)
        assert task.validation is not None
        assert len(task.validation[0]) == 2
