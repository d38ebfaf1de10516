"""Trains the network of `handpose.localization.localizer` on rendered rooms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from handpose.io.atomic import write_atomically
from handpose.localization.network import (
    CELL,
    CHANNELS,
    FARTHEST,
    NEAREST,
    OFFSET_MM,
    VIEW_FOCAL,
    votes_network,
)
from handpose.synthetic.hand_file import cached_hand_file
from handpose.synthetic.hand_model import HandModel
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.rooms import Rooms, hand_targets
from handpose.training.checkpoint import (
    adam_moments,
    check_settings,
    load_part,
    load_state,
    restore_adam,
    save_checkpoint,
)

_SIZE = (96, 128)
_BATCH = 32


class VotesNetwork(nn.Module):
    """The network as it is trained: with BatchNorm, in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(*channels, 3, padding=1, bias=name == "votes") for name, channels in CHANNELS.items()}
        )
        self.norms = nn.ModuleDict(
            {name: nn.BatchNorm2d(out, momentum=0.02) for name, (_, out) in CHANNELS.items() if name != "votes"}
        )

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """From coarse copies (N, h, w) in mm to logits (N, Q) and offsets (N, Q, 3) of their cells."""
        known = (view > NEAREST) & (view < FARTHEST)
        logarithm = torch.where(known, view / 400.0, 1.0).log()
        x = torch.stack([logarithm, known.float()], dim=1)

        def convolve(name: str, x: Tensor, stride: int) -> Tensor:
            convolution = self.convolutions[name]
            assert isinstance(convolution, nn.Conv2d)
            x = F.conv2d(x, convolution.weight, convolution.bias, stride, padding=1)
            return x if name == "votes" else F.relu(self.norms[name](x))

        votes = votes_network(x, convolve, lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"))
        votes = votes.flatten(2).transpose(1, 2)
        return votes[..., 0], votes[..., 1:]

    def folded(self) -> dict[str, Tensor]:
        """Weights and biases, BatchNorm folded in, float16; of the network in inference mode."""
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


def cell_points(view: Tensor) -> Tensor:
    """The points (N, Q, 3) in mm that cells of coarse copies (N, h, w) vote from, principal point in the middle."""
    height, width = view.shape[1:]
    v, u = torch.meshgrid(
        torch.arange(height, device=view.device) - (height - 1) / 2,
        torch.arange(width, device=view.device) - (width - 1) / 2,
        indexing="ij",
    )
    rays = torch.stack([u / VIEW_FOCAL, v / VIEW_FOCAL, torch.ones_like(u)], dim=-1)
    cells = slice(CELL // 2, None, CELL)
    return (rays * view[..., None])[:, cells, cells].flatten(1, 2)


def train_localizer(
    run: str | Path,
    steps: int,
    report: Callable[[dict[str, float]], None],
    *,
    learning_rate: float = 2e-3,
    report_every: int = 250,
    seed: int = 0,
) -> None:
    """Trains on rendered rooms, and writes `localizer.safetensors` into `run`; a run with a checkpoint is continued.

    Args:
        run: folder of the training.
        steps: length of the whole training, 32 images each.
        report: gets numbers now and then, means over the steps since the last time.
        learning_rate: the peak.
        report_every: steps between reports and checkpoints.
        seed: of everything.

    Raises:
        HandPoseError: the run was begun with other steps, rate or seed.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    hand = HandModel(cached_hand_file())
    rooms = Rooms(hand, cached_pose_bank(hand), focal=VIEW_FOCAL, size=_SIZE)
    torch.manual_seed(seed)
    network = VotesNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-4)
    step = 0
    settings = {"steps": steps, "learning_rate": learning_rate, "seed": seed}
    if (state := load_state(run)) is not None:
        check_settings(run, state["settings"], settings)
        step = state["step"]
        network.load_state_dict(load_part(run, "network"))
        restore_adam(network, optimiser, load_part(run, "adam"), step)
    rows: list[dict[str, float]] = []
    while step < steps:
        rate = learning_rate * min(1.0, step / 200 + 0.01) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        rooms.generator.manual_seed(seed << 32 | step)
        loss, row = _loss(network, rooms)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
        rows.append(row)
        if step % report_every == 0 or step == steps:
            network.eval()
            # Before the checkpoint: a run that goes on from it writes the weights again.
            write_atomically(run / "localizer.safetensors", save(network.folded()))
            network.train()
            parts = {"network": network.state_dict(), "adam": adam_moments(network, optimiser)}
            save_checkpoint(run, parts, {"settings": settings, "step": step})
            report({"step": step} | {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]})
            rows.clear()


def _loss(network: VotesNetwork, rooms: Rooms) -> tuple[Tensor, dict[str, float]]:
    with torch.no_grad():
        view, bones, centres = rooms.batch(_BATCH)
        points = cell_points(view)
        ours, target = hand_targets(points, bones, centres)
    seen = points[..., 2] > 0
    ours &= seen
    logits, offsets = network(view)
    cross = F.binary_cross_entropy_with_logits(logits[seen], ours[seen].float())
    loss = 4.0 * cross + F.huber_loss(offsets[ours], target[ours] / OFFSET_MM, delta=0.2)
    with torch.no_grad():
        said = (logits > 0) & seen
        hits = float((said & ours).sum())
        return loss, {
            "loss": float(loss),
            "vote_mm": float(torch.linalg.vector_norm(offsets[ours] * OFFSET_MM - target[ours], dim=-1).mean()),
            "precision": hits / max(1.0, float(said.sum())),
            "recall": hits / max(1.0, float(ours.sum())),
        }
