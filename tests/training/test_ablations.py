"""The paper's variants: their numbers of parameters, their equations, and that all of their parameters learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from handpose.adaptation.claim import claimed
from handpose.cli.main import app
from handpose.errors import HandPoseError, WeightsError
from handpose.network.config import JGRP2OConfig
from handpose.network.losses import pose_loss
from handpose.network.model import JGRP2O, StackOutput, pixel_grid
from handpose.training.ablations import VARIANTS, paper_tables, run_variant
from handpose.training.checkpoint import load_state
from handpose.training.config import TrainingConfig
from handpose.training.pose_task import CropSource
from handpose.training.stored_crops import StoredCrops
from handpose.training.trainer import train
from tests.helpers.training import Balls, assert_same, ignore, task

# DHM has two maps per joint instead of three, so it has 1.36 M parameters; the paper states 1.37 M.
SIZED = [name for name, variant in VARIANTS.items() if variant.paper_parameters and name != "heatmap"]


@pytest.mark.parametrize("name", SIZED)
def test_a_variant_has_as_many_parameters_as_in_the_paper(name: str) -> None:
    assert f"{VARIANTS[name].parameters('nyu') / 1e6:.2f}" == VARIANTS[name].paper_parameters


def test_the_graph_matrix_is_counted_once() -> None:
    assert {name: VARIANTS[name].parameters("nyu") for name in ("skeleton", "parameterized", "stacks1", "heatmap")} == {
        "skeleton": 1_365_244 + 14 * 14,
        "parameterized": 1_365_244 + 14 * 14,
        "stacks1": 715_698,
        "heatmap": 1_360_064,
    }
    assert VARIANTS["skeleton"].config("nyu") == JGRP2OConfig("nyu")


def small(name: str) -> JGRP2O:
    torch.manual_seed(0)
    return JGRP2O(VARIANTS[name].config("nyu", features=16)).double()


@pytest.mark.parametrize("name", VARIANTS)
def test_votes_are_weighted_means_and_all_parameters_learn(name: str) -> None:
    model = small(name)
    patches, uvz = Balls(0).batch(4)
    outputs = model.stack_outputs(patches.double())
    for output in outputs:
        assert torch.allclose(output.weights.sum(3), torch.ones_like(output.weights[..., 0]))
        votes = (output.weights * (output.offsets + pixel_grid(patches.double()))).sum(3)
        assert torch.allclose(votes.transpose(1, 2), output.uvz)
    pose_loss(outputs, uvz.double(), patches.double()).backward()
    silent = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    # A bias before a softmax has no effect.
    assert {n for n in silent if not n.endswith("vote.bias")} == set()


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def last_stack(name: str) -> tuple[JGRP2O, torch.Tensor, dict[str, np.ndarray], StackOutput]:
    """A variant in inference mode, patches, and the inputs and the output of its last stack."""
    model, patches = small(name).eval(), Balls(0).batch(3)[0].double()
    inputs: dict[str, np.ndarray] = {}
    for kind in ("reasonings", "heads"):
        getattr(model, kind)[-1].register_forward_pre_hook(
            lambda module, args, kind=kind: inputs.update({kind: args[0].detach().numpy()})
        )
    with torch.no_grad():
        output = model.stack_outputs(patches)[-1]
    return model, patches, inputs, output


def grid(patches: torch.Tensor) -> np.ndarray:
    """u, v and z (N, 3, 24, 24) of the pixels (paper, section 3.4: the depth image at the offset maps' resolution)."""
    ramp = np.arange(24) / 23
    depth = patches[:, 0, ::4, ::4].numpy()
    u, v = (np.broadcast_to(x, depth.shape) for x in (ramp, ramp[:, None]))
    return np.stack([u, v, depth], 1)


def conv1x1(kernel: torch.Tensor, x: np.ndarray) -> np.ndarray:
    return np.einsum("oc,nchw->nohw", kernel.detach().numpy()[:, :, 0, 0], x)


def test_attention_weights_are_shared_by_all_three_axes() -> None:
    # Figure 3: residual block, 1x1 convolution, spatial softmax; then equation (6).
    model, patches, inputs, output = last_stack("attention")
    branch = model.reasonings[-1].attention
    with torch.no_grad():
        features = branch[0](torch.from_numpy(inputs["reasonings"])).numpy()
    weights = softmax(conv1x1(branch[1].weight, features).reshape(3, 14, 576), axis=2)
    offsets = conv1x1(model.heads[-1].offsets.weight, inputs["heads"]).reshape(3, 3, 14, 576)
    uvz = np.einsum("njp,ncjp->njc", weights, offsets + grid(patches).reshape(3, 3, 1, 576))
    assert np.allclose(output.uvz.numpy(), uvz, rtol=0, atol=1e-12)


def test_heat_maps_return_the_mean_position_and_the_mean_latent_depth() -> None:
    # Section 4.3, after Iqbal et al.: u, v = soft-argmax of H, z = sum of softmax(H) Z.
    model, patches, inputs, output = last_stack("heatmap")
    heat, depth = conv1x1(model.heads[-1].latent.weight, inputs["heads"]).reshape(3, 2, 14, 576).swapaxes(0, 1)
    weights = softmax(heat, axis=2)
    place = grid(patches)[:, :2].reshape(3, 2, 576)
    uv, z = np.einsum("njp,ncp->njc", weights, place), (weights * depth).sum(2)
    assert np.allclose(output.uvz.numpy(), np.concatenate([uv, z[..., None]], 2), rtol=0, atol=1e-12)


def test_without_graph_reasoning_all_pixels_have_the_same_weight() -> None:
    # Table 2's simplest baseline: the average over all pixels' predictions.
    model, patches, inputs, output = last_stack("p2o")
    offsets = conv1x1(model.heads[-1].offsets.weight, inputs["heads"]).reshape(3, 3, 14, 576)
    uvz = (offsets + grid(patches).reshape(3, 3, 1, 576)).mean(3).swapaxes(1, 2)
    assert np.allclose(output.uvz.numpy(), uvz, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["skeleton", "similarity", "parameterized"])
def test_graph_reasoning_follows_the_equations(name: str) -> None:
    # Equations (1) to (4) for the last stack's context, before its convolution.
    model, _, inputs, _ = last_stack(name)
    reasoning, x = model.reasonings[-1], torch.from_numpy(inputs["reasonings"])
    contexts: list[np.ndarray] = []
    reasoning.context.register_forward_pre_hook(lambda module, args: contexts.append(args[0].detach().numpy()))
    matrix = np.random.default_rng(0).normal(size=(14, 14)) if name == "parameterized" else model.graph_matrix.numpy()
    with torch.no_grad():
        reasoning(x, torch.from_numpy(matrix))
        embedded = reasoning.embed(x).numpy().reshape(3, 16, 576)
        logits = reasoning.vote(x).numpy().reshape(3, 14, 576)
    w = softmax(logits, axis=2)
    f = np.einsum("njp,ncp->njc", w, embedded)
    edges = np.broadcast_to(matrix, (3, 14, 14))
    if name == "similarity":  # a_ij = exp(u(f_i) v(f_j)) / sum_j exp(u(f_i) v(f_j))
        u, v = (f @ layer.weight.detach().numpy().T for layer in (reasoning.query, reasoning.key))
        edges = softmax(np.einsum("nic,njc->nij", u, v), axis=2)
    evolved = np.maximum(edges @ f @ reasoning.propagate.weight.detach().numpy().T, 0)
    context = np.einsum("njp,njc->ncp", w, evolved) / 14
    assert np.allclose(contexts[0].reshape(3, 16, 576), context, rtol=0, atol=1e-12)


def test_a_learned_graph_is_one_matrix_for_all_stacks() -> None:
    learned = [n for n, p in small("parameterized").named_parameters() if p.shape == (14, 14)]
    assert learned == ["graph_matrix"]
    assert not [n for n, p in small("skeleton").named_parameters() if p.shape == (14, 14)]


def test_invalid_combinations_are_rejected() -> None:
    for graph, voting in (("none", "graph"), ("skeleton", "mean"), ("tree", "graph")):
        with pytest.raises(WeightsError, match="voting"):
            JGRP2OConfig("nyu", graph=graph, voting=voting)


def test_trained_variants_fill_the_tables(tmp_path: Path) -> None:
    def train_small(run, model, config) -> int:
        return train(run, task(config, model=JGRP2OConfig(**(model.to_dict() | {"features": 8}))), ignore)

    config = TrainingConfig(2, batch=4, validate_every=2)
    results = {
        name: run_variant(VARIANTS[name], tmp_path, "nyu", config, train_small)
        for name in ("skeleton", "p2o", "stacks1")
    }
    assert {row["step"] for row in results.values()} == {2}
    checkpoint = load_state(tmp_path / "p2o")
    assert checkpoint is not None
    assert checkpoint["config"]["offset_weight"] == 0.0
    tables = paper_tables("nyu", results)
    one, full = (results[name]["mean_mm"] for name in ("stacks1", "skeleton"))
    assert f"| one stack | 0.72 M | 0.72 M | {one:.2f} | {one - full:+.2f} |" in tables
    assert "| 8.63 | +0.34 |" in tables  # the paper's Table 3
    assert tables.count("| JGR-P2O") == 4
    assert "| - | " in tables


def test_stored_crops_are_those_of_their_source_in_every_run(tmp_path: Path) -> None:
    def run(name: str, source: CropSource) -> Path:
        train(tmp_path / name, task(TrainingConfig(3, batch=4, validate_every=2), source), ignore)
        return tmp_path / name

    rendered = Balls(1)
    run("first", StoredCrops(rendered, tmp_path / "crops"))
    state = rendered.generator.get_state()
    read = Balls(1)
    read.batch = None  # type: ignore[assignment, method-assign]  # everything must come from the files
    run("second", StoredCrops(read, tmp_path / "crops"))
    assert_same(tmp_path / "first", tmp_path / "second")
    assert torch.equal(read.generator.get_state(), state)

    ours, theirs = StoredCrops(Balls(5), tmp_path / "others").batch(3), Balls(5).batch(3)
    assert torch.equal(ours[0], theirs[0].half().float())
    assert torch.equal(ours[1], theirs[1])


def test_the_list_is_printed_as_text_and_as_json() -> None:
    rows = json.loads(CliRunner().invoke(app, ["ablate", "--list", "--json"]).stdout)
    assert {row["name"]: row["parameters"] for row in rows}["attention"] == 1_415_076
    text = CliRunner().invoke(app, ["ablate", "--list", "--only", "heatmap"]).stdout
    assert text.startswith("heatmap        1,360,064  paper 1.37M")
    assert isinstance(CliRunner().invoke(app, ["ablate", "--only", "nothing"]).exception, HandPoseError)


def test_results_are_printed_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"mean_mm": 9.0, "median_mm": 8.0}
    monkeypatch.setattr("handpose.training.ablations.run_variant", lambda *values: metrics)
    done = CliRunner().invoke(app, ["ablate", str(tmp_path), "--only", "attention", "--json"])
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["parameters"], row["mean_mm"], row["median_mm"]) == ("attention", 1_415_076, 9.0, 8.0)


def test_a_folder_has_one_layout_and_is_used_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored crops of another layout have other joints, and two processes would mix their checkpoints."""
    monkeypatch.setattr(
        "handpose.training.ablations.run_variant", lambda *values: {"mean_mm": 9.0, "median_mm": 8.0}, raising=True
    )

    def ablate(layout: str) -> BaseException | None:
        return CliRunner().invoke(app, ["ablate", str(tmp_path), "--only", "stacks1", "--layout", layout]).exception

    assert ablate("nyu") is None
    other = ablate("msra")
    assert isinstance(other, HandPoseError)
    assert "layout 'nyu', not layout 'msra'" in str(other)
    with claimed(tmp_path, {"layout": "nyu"}):
        busy = ablate("nyu")
    assert isinstance(busy, HandPoseError)
    assert "another process" in str(busy)
    assert ablate("nyu") is None
