"""Compares the network with recorded tensors of the original implementation and with closed forms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from handpose.network.config import JGRP2OConfig
from handpose.network.losses import decayed_parameters, offset_targets, pose_loss, regularization
from handpose.network.model import JGRP2O, pixel_grid, vote_spread
from handpose.weights.tensorflow_bundle import read_variables
from handpose.weights.tensorflow_import import state_dict, variable_names
from tests.helpers.paths import SHARED

CHECKPOINT = SHARED / "reference" / "tf-icvl" / "3D_Detection.model-1"


@pytest.mark.parametrize(("layout", "count"), [("nyu", 1_365_244), ("icvl", 1_368_064), ("msra", 1_375_114)])
def test_parameter_counts_match_the_paper(layout: str, count: int) -> None:
    assert sum(p.numel() for p in JGRP2O(JGRP2OConfig(layout)).parameters()) == count


def test_offset_targets_let_every_pixel_vote_for_the_true_joint() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(2, 1, 96, 96, generator=generator) * 2 - 1
    uvz = torch.rand(2, 21, 3, generator=generator)
    votes = offset_targets(uvz, patches) + pixel_grid(patches)  # (N, 3, J, H*W)
    assert torch.allclose(votes, uvz.transpose(1, 2)[..., None].expand_as(votes), atol=1e-6)
    assert pixel_grid(patches)[0, :, 0, 24 * 3 + 5].tolist() == pytest.approx(
        [5 / 23, 3 / 23, patches[0, 0, 12, 20].item()]
    )


def test_spread_is_the_weighted_standard_deviation_of_the_votes() -> None:
    torch.manual_seed(1)
    model = JGRP2O(JGRP2OConfig("nyu", features=16)).double().eval()
    patches = torch.rand(2, 1, 96, 96, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        output = model.stack_outputs(patches)[-1]
        uvz, spread, _ = model(patches)
        votes = (output.offsets + pixel_grid(patches)).numpy()
    weights = output.weights[:, 0].numpy()
    assert np.allclose(weights.sum(-1), 1)
    for n, joint, axis in [(0, 0, 0), (1, 13, 1), (1, 5, 2)]:
        mean = np.average(votes[n, axis, joint], weights=weights[n, joint])
        variance = np.average((votes[n, axis, joint] - mean) ** 2, weights=weights[n, joint])
        assert uvz[n, joint, axis].item() == pytest.approx(mean)
        assert spread[n, joint, axis].item() == pytest.approx(variance**0.5)
    same = output._replace(offsets=output.uvz.transpose(1, 2)[..., None] - pixel_grid(patches))
    assert vote_spread(same, pixel_grid(patches)).abs().max() < 1e-12  # all votes agree


def test_only_kernels_and_scales_have_weight_decay() -> None:
    model = JGRP2O(JGRP2OConfig("nyu", features=16))
    decayed = {id(p) for p in decayed_parameters(model)}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (not name.endswith("bias"))
    model.stem.conv.weight.data.fill_(2.0)
    before = regularization(model)
    model.stem.conv.weight.data.fill_(0.0)
    assert (before - regularization(model)).item() == pytest.approx(
        0.5 * 5e-5 * 4 * model.stem.conv.weight.numel(), rel=1e-4
    )


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def loaded() -> JGRP2O:
    model = JGRP2O(JGRP2OConfig("icvl"))
    tensors = {k: torch.tensor(v) for k, v in state_dict(read_variables(CHECKPOINT), "icvl").items()}
    missing = model.load_state_dict({k: v.to(torch.get_default_dtype()) for k, v in tensors.items()}, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return model.eval()


def nchw(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(torch.get_default_dtype()).permute(0, 3, 1, 2)


def truth(data: np.lib.npyio.NpzFile) -> torch.Tensor:
    uvz = np.concatenate([data["target_uv"], data["target_z"][..., None]], -1)
    return torch.from_numpy(uvz).to(torch.get_default_dtype())


@pytest.mark.shared
@pytest.mark.usefixtures("float64")
def test_float64_outputs_match_the_original_up_to_rounding(reference) -> None:
    data, exact = reference("network-icvl.npz"), reference("network-icvl-float64.npz")
    model, patches = loaded(), nchw(data["image"])
    with torch.no_grad():
        outputs = model.stack_outputs(patches)
    assert np.abs(outputs[-1].uvz[..., :2].numpy() - exact["output_uv"] / 96).max() < 1e-9
    assert np.abs(outputs[-1].uvz[..., 2].numpy() - exact["output_z"] / 125).max() < 1e-9
    loss = pose_loss(outputs, truth(data), patches) + regularization(model)
    assert loss.item() == pytest.approx(float(exact["eval_loss"]), rel=1e-9)


@pytest.mark.shared
@pytest.mark.usefixtures("float64")
def test_float64_training_loss_and_gradients_match_the_original(reference) -> None:
    data, exact = reference("network-icvl.npz"), reference("network-icvl-float64.npz")
    model, patches = loaded().train(), nchw(data["image"])
    loss = pose_loss(model.stack_outputs(patches), truth(data), patches) + regularization(model)
    loss.backward()
    assert loss.item() == pytest.approx(float(exact["train_loss"]), rel=1e-9)

    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for stack in range(2):  # the file contains one kernel per axis
        maps = gradients.pop(f"heads.{stack}.offsets.weight").chunk(3)
        gradients |= {f"heads.{stack}.offsets.{axis}.weight": part for axis, part in zip("uvz", maps, strict=True)}
    names = variable_names()
    norms = dict(zip(exact["grad_names"].tolist(), exact["grad_l2"].tolist(), strict=True))
    assert set(norms) == {variable for variable in names if "moving" not in variable}
    for variable, norm in norms.items():
        gradient = gradients[names[variable]]
        if names[variable].endswith("vote.bias"):  # the softmax cancels the bias, so only rounding errors remain
            assert gradient.abs().max() < 1e-9
        else:
            assert gradient.norm().item() == pytest.approx(norm, rel=1e-7), variable
    complete = [key.removeprefix("grad/") for key in exact.files if key.startswith("grad/")]
    assert len(complete) == 7
    for variable in complete:
        grad = gradients[names[variable]].numpy()
        grad = grad.transpose(2, 3, 1, 0) if grad.ndim == 4 else grad.T
        expected = exact[f"grad/{variable}"]
        assert np.abs(grad - expected).max() < 1e-9 * max(1.0, np.abs(expected).max()), variable


@pytest.mark.shared
def test_float32_stages_match_the_original(reference) -> None:
    data = reference("network-icvl.npz")
    model, patches = loaded(), nchw(data["image"])
    with torch.no_grad():
        stem = model.stem(patches)
        hourglass = model.hourglasses[0](stem)
        outputs = model.stack_outputs(patches)
    for features, key in ((stem, "conv_4"), (hourglass, "s0_hourglass")):
        expected = nchw(data[f"{key}__imgs04"])
        assert (features[[0, 4]] - expected).abs().max() < 2e-5 * expected.abs().max(), key
    for stack, output in enumerate(outputs):
        weights = output.weights[:, 0].unflatten(2, (24, 24)).permute(0, 2, 3, 1).numpy()
        assert np.abs(weights - data[f"s{stack}_mapping_weights"]).max() < 1e-4
        for i, axis in enumerate("uvz"):
            assert np.abs(output.uvz[..., i].numpy() - data[f"s{stack}_{axis}"]).max() < 1e-4
            maps = output.offsets[:, i].unflatten(2, (24, 24)).permute(0, 2, 3, 1).numpy()
            assert np.abs(maps - data[f"s{stack}_hm_{axis}_out"]).max() < 1e-3
    targets = offset_targets(truth(data), patches).unflatten(3, (24, 24)).permute(0, 1, 3, 4, 2).numpy()
    for i, axis in enumerate("uvz"):
        assert np.abs(targets[:, i] - data[f"hm_{axis}_target"]).max() < 1e-6


@pytest.mark.shared
def test_batch_statistics_are_updated_as_in_the_original(reference) -> None:
    data = reference("network-icvl.npz")
    model = loaded().train()
    with torch.no_grad():
        outputs = model.stack_outputs(nchw(data["image"]))
    for i, axis in enumerate("uvz"):
        # Batch statistics of only five images amplify float32 rounding errors, which depend on the number of threads.
        assert np.abs(outputs[-1].uvz[..., i].numpy() - data[f"train/s1_{axis}"]).max() < 1e-3
    tensors, names = model.state_dict(), variable_names()
    for key in data.files:
        if key.startswith("train/after1/"):
            tensor = tensors[names[key.removeprefix("train/after1/")]].numpy()
            # The original updates with the biased variance, torch with the unbiased one, a factor of n / (n - 1).
            assert np.allclose(tensor, data[key], rtol=2e-4, atol=2e-5), key
