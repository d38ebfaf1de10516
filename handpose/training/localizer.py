"""Training of the localization network on synthetic rooms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.io.progress import report as report_progress
from handpose.localization.network import (
    CELL,
    CHANNELS,
    FARTHEST,
    MIN_VIEW,
    NEAREST,
    OFFSET_MM,
    VIEW_FOCAL,
    votes_network,
)
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.rooms import Rooms, hand_targets
from handpose.training.checkpoint import load_part, load_state
from handpose.training.config import TrainingConfig
from handpose.training.trainer import train

_VALIDATION_POSES, _VALIDATION_ROOMS = 1000, 256


class VotesNetwork(nn.Module):
    """The localization network for training: in torch, with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(*channels, 3, padding=1, bias=name == "votes") for name, channels in CHANNELS.items()}
        )
        self.norms = nn.ModuleDict(
            {name: nn.BatchNorm2d(out, momentum=0.02) for name, (_, out) in CHANNELS.items() if name != "votes"}
        )

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, Q) and scaled offsets (N, Q, 3) of the cells of coarse depth images (N, h, w) in mm."""
        known = (view > NEAREST) & (view < FARTHEST)
        logarithm = torch.where(known, view / 400.0, 1.0).log()
        x = torch.stack([logarithm, known.float()], dim=1)

        def convolve(name: str, x: Tensor, stride: int) -> Tensor:
            convolution = self.convolutions[name]
            assert isinstance(convolution, nn.Conv2d)
            x = F.conv2d(x, convolution.weight, convolution.bias, stride, padding=1)
            return x if name == "votes" else F.relu(self.norms[name](x))

        votes = votes_network(x, convolve, lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"))
        votes = F.pixel_shuffle(votes, 2).flatten(2).transpose(1, 2)
        return votes[..., 0], votes[..., 1:]

    def folded(self) -> dict[str, Tensor]:
        """Return weights and biases in float16 with BatchNorm folded in; the network must be in inference mode."""
        tensors = {}
        for name, convolution in self.convolutions.items():
            folded = convolution
            assert isinstance(folded, nn.Conv2d)
            if name != "votes":
                norm = self.norms[name]
                assert isinstance(norm, nn.BatchNorm2d)
                folded = fuse_conv_bn_eval(folded, norm)
            assert folded.bias is not None
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (
                folded.weight.detach().half(),
                folded.bias.detach().half(),
            )
        return tensors


_CELLS = slice(CELL // 2, None, CELL)


def cell_depth(view: Tensor) -> Tensor:
    """Return the depth (N, Q) of the cells of coarse depth images (N, h, w), mm."""
    return view[:, _CELLS, _CELLS].flatten(1)


def cell_points(view: Tensor, principal: Tensor) -> Tensor:
    """Return the points (N, Q, 3) in mm of the cells of coarse depth images (N, h, w); `principal` is (N, 2), px."""
    height, width = view.shape[1:]
    v, u = torch.meshgrid(
        torch.arange(height, device=view.device), torch.arange(width, device=view.device), indexing="ij"
    )
    across = (torch.stack([u, v], dim=-1)[_CELLS, _CELLS].flatten(0, 1) - principal[:, None]) / VIEW_FOCAL
    return torch.cat([across, torch.ones_like(across[..., :1])], dim=-1) * cell_depth(view)[..., None]


class LocalizerTask:
    """The task of training the localization network on synthetic rooms.

    Args:
        config: Training settings.
        device: Device of the network and of the renderer.
    """

    model: dict[str, Any] = {"network": "localizer"}  # noqa: RUF012 - never changed

    def __init__(self, config: TrainingConfig, device: str = "cpu") -> None:
        self.config, self.device = config, device
        hand = HandModel(cached_hand_file(), device)
        poses = cached_pose_bank(HandModel(cached_hand_file()))
        self._rooms, validation = (
            Rooms(hand, bank, focal=VIEW_FOCAL, size=MIN_VIEW, seed=config.seed)
            for bank in (poses[_VALIDATION_POSES:], poses[:_VALIDATION_POSES])
        )
        self.generator = self._rooms.generator
        self._validation = _with_targets(validation, _VALIDATION_ROOMS)

    def build(self) -> VotesNetwork:
        """Return the network with random weights."""
        return VotesNetwork()

    def seek(self, crop: int) -> None:
        """Do nothing, because the images are endless and depend only on the generator."""

    def batch(self, count: int) -> tuple[Tensor, ...]:
        """Return `count` images (N, h, w) in mm, which cells see a hand (N, Q), and their offsets (N, Q, 3) in mm."""
        return _with_targets(self._rooms, count)

    def loss(self, network: VotesNetwork, inputs: Tensor, *targets: Tensor) -> Tensor:
        """Return the loss, summed over the batch, for a batch as `batch` returns it."""
        on_hand, offsets = targets
        z = cell_depth(inputs)
        is_known = z > 0
        weights = (z / 500.0).clamp(0.5, 4.0)  # distant hands cover few cells
        logits, predicted = network(inputs)
        cross_entropy = F.binary_cross_entropy_with_logits(
            logits[is_known], on_hand[is_known].float(), weights[is_known]
        )
        aims = offsets[on_hand] / OFFSET_MM
        huber = F.huber_loss(predicted[on_hand], aims, delta=0.2, reduction="none").mean(1) * weights[on_hand]
        return len(inputs) * (4.0 * cross_entropy + huber.sum() / weights[on_hand].sum().clamp(min=1.0))

    @torch.no_grad()
    def validate(self, network: VotesNetwork) -> dict[str, float]:
        """Return the mean offset error in mm, and precision and recall of the cells that see a hand."""
        report_progress("validating")
        view, on_hand, offsets = self._validation
        logits, predicted = network(view)
        positive = (logits > 0) & (cell_depth(view) > 0)
        hits = float((positive & on_hand).sum())
        errors = torch.linalg.vector_norm(predicted[on_hand] * OFFSET_MM - offsets[on_hand], dim=-1)
        return {
            "vote_mm": float(errors.mean()),
            "precision": hits / max(1.0, float(positive.sum())),
            "recall": hits / max(1.0, float(on_hand.sum())),
        }


def _with_targets(rooms: Rooms, count: int) -> tuple[Tensor, ...]:
    views = rooms.batch(count)
    on_hand, offsets = hand_targets(cell_points(views.depth, views.principal), views)
    return views.depth, on_hand & (cell_depth(views.depth) > 0), offsets


def train_localizer(
    run: str | Path,
    steps: int,
    report: Callable[[dict[str, float]], None],
    *,
    seed: int = 0,
    device: str = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train the localization network, and return the number of completed steps.

    After the last step, `localizer.safetensors` is written into `run`. A run with a checkpoint is resumed.

    Args:
        run: Folder of the run.
        steps: Total number of steps, with 32 images each.
        report: Called with the metrics of every validation.
        seed: Seed of the initial weights and of all random samples.
        device: Device of the network and of the renderer.
        should_stop: Called after every step; if it returns True, the run is stopped and a checkpoint is saved.

    Raises:
        HandPoseError: The folder contains a run with other settings.
    """
    # The loss is a sum over 32 images, so the limit of the gradient is 5 per image.
    config = TrainingConfig(steps, learning_rate=0.01, clip=160.0, precision="float32", validate_every=250, seed=seed)
    done = train(run, LocalizerTask(config, device), report, should_stop=should_stop)
    if done == steps:
        write_localizer(run, Path(run) / "localizer.safetensors")
    return done


def write_localizer(run: str | Path, file: str | Path) -> None:
    """Write the averaged weights of a training run as a weights file of the localizer.

    Raises:
        HandPoseError: The run has no checkpoint, or did not train the localizer.
    """
    state = load_state(Path(run))
    if state is None or state["model"] != LocalizerTask.model:
        raise HandPoseError(f"{run}: no checkpoint of the localizer here")
    network = VotesNetwork()
    network.load_state_dict(load_part(Path(run), "model"))
    write_atomically(Path(file), save(network.eval().folded()))
