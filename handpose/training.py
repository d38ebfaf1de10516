"""One training loop: the paper's loss, averaged weights, and checkpoints that resume exactly."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from handpose.config import JGRP2OConfig
from handpose.errors import HandPoseError
from handpose.losses import pose_loss
from handpose.model import JGRP2O
from handpose.synthetic.hand import HandModel, cached_hand_file
from handpose.synthetic.poses import cached_pose_bank
from handpose.synthetic.scene import SyntheticHands
from handpose.weights import CONFIG_FILE, MODEL_FILE


class CropSource(Protocol):
    """Where training crops come from; its generator's state is part of a checkpoint."""

    generator: torch.Generator

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` patches (N, 1, 96, 96) and their joints (N, J, 3), both normalised."""
        ...


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: length of the whole training; the learning rate's schedule is laid over it.
        batch: crops per step.
        learning_rate: Adam's peak rate, reached after the first 3 % of the steps and decayed as a cosine.
        average: decay per step of the weight average that is evaluated and kept.
        validate_every: steps between checkpoints, each with a validation.
        seed: of weights and, with the source's own, of everything drawn.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1.2e-3
    average: float = 0.998
    validate_every: int = 500
    seed: int = 0


def joint_errors(uvz: Tensor, truth: Tensor, cube: float) -> Tensor:
    """Distances (N, J) in mm between normalised joints, with u and v taken at the cube's own scale."""
    scale = uvz.new_tensor([95.0 / 96.0 * cube, 95.0 / 96.0 * cube, cube / 2])
    errors: Tensor = torch.linalg.vector_norm((uvz - truth) * scale, dim=-1)
    return errors


class Trainer:
    """Trains `model` on `source`, checkpointing into `folder`; a folder with a checkpoint is continued."""

    def __init__(
        self, folder: str | Path, model: JGRP2OConfig, config: TrainingConfig, source: CropSource, device: str
    ) -> None:
        self.folder, self.config, self.source = Path(folder), config, source
        self.device = torch.device(device)
        torch.manual_seed(config.seed)
        self.model = JGRP2O(model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = JGRP2O(model).to(self.device)
        self.averaged.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.steps = 0
        self.seconds = 0.0
        if (self.folder / "state.json").is_file():
            self._resume()

    def run(
        self,
        validate: Callable[[JGRP2O], dict[str, float]],
        report: Callable[[dict[str, float]], None],
        max_minutes: float = math.inf,
    ) -> None:
        """Trains to the last step, or until `max_minutes` are over, and leaves a checkpoint.

        Args:
            validate: gets the averaged model, returns numbers.
            report: gets these numbers and the training's own.
            max_minutes: of this call.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        begin, before = time.monotonic(), self.seconds
        losses: list[float] = []
        while self.steps < self.config.steps:
            losses.append(self._step())
            self.seconds = before + time.monotonic() - begin
            over = self.seconds - before > 60.0 * max_minutes
            if over or self.steps % self.config.validate_every == 0 or self.steps == self.config.steps:
                self._recompute_statistics()
                row = {
                    "step": self.steps,
                    "crops": self.steps * self.config.batch,
                    "minutes": round(self.seconds / 60.0, 2),
                    "loss": float(np.mean(losses)),
                    **validate(self.averaged),
                }
                losses.clear()
                self._log(row)
                self.save()
                report(row)
            if over:
                return

    def _step(self) -> float:
        progress = self.steps / self.config.steps
        warm = min(1.0, progress / 0.03 + 0.01)
        rate = self.config.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        patches, uvz = self.source.batch(self.config.batch)
        self.model.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            outputs = self.model.stack_outputs(patches.to(memory_format=torch.channels_last))
        loss = pose_loss(outputs, uvz, patches)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 200.0)
        self.optimiser.step()
        self.steps += 1
        decay = min(self.config.average, self.steps / (self.steps + 20.0))
        with torch.no_grad():
            averaged: list[Tensor] = list(self.averaged.parameters())
            torch._foreach_lerp_(averaged, list(self.model.parameters()), 1.0 - decay)
        return float(loss.detach()) / len(patches)

    @torch.no_grad()
    def _recompute_statistics(self, batches: int = 12) -> None:
        """Gives the averaged weights BatchNorm statistics of their own, from fresh crops."""
        state = self.source.generator.get_state()
        norms = [m for m in self.averaged.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        self.averaged.train()
        for _ in range(batches):
            self.averaged(self.source.batch(64)[0])
        for norm in norms:
            norm.momentum = 0.05
        self.averaged.eval()
        self.source.generator.set_state(state)

    def _log(self, row: dict[str, float]) -> None:
        path = self.folder / "log.csv"
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def save(self) -> None:
        """Writes the averaged model, the training weights, Adam's moments and the counters, a file each."""
        moments = {
            f"{moment}.{name}": self.optimiser.state[parameter][moment]
            for name, parameter in self.model.named_parameters()
            for moment in ("exp_avg", "exp_avg_sq")
        }
        files = {
            "model": self.averaged.state_dict(),
            "training": self.model.state_dict() | {"generator": self.source.generator.get_state()},
            "adam": moments,
        }
        for name, tensors in files.items():
            held = {key: value.contiguous() for key, value in tensors.items()}
            save_file(held, self.folder / f"{name}.safetensors.part")
        state = {
            "model": self.model.config.to_dict(),
            "config": dataclasses.asdict(self.config),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        (self.folder / "state.json.part").write_text(json.dumps(state, indent=2))
        for part in sorted(self.folder.glob("*.part")):
            part.chmod(0o644)
            part.replace(part.with_suffix(""))

    def _resume(self) -> None:
        state = json.loads((self.folder / "state.json").read_text())
        if state["model"] != self.model.config.to_dict():
            raise HandPoseError(
                f"{self.folder}: holds a training of {state['model']}, asked for "
                f"{self.model.config.to_dict()}; choose another folder"
            )
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.averaged.load_state_dict(load_file(self.folder / "model.safetensors"))
        training = load_file(self.folder / "training.safetensors")
        self.source.generator.set_state(training.pop("generator"))
        self.model.load_state_dict(training)
        moments = load_file(self.folder / "adam.safetensors", device=str(self.device))
        for name, parameter in self.model.named_parameters():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(self.steps)),
                "exp_avg": moments[f"exp_avg.{name}"],
                "exp_avg_sq": moments[f"exp_avg_sq.{name}"],
            }


def train_synthetic(
    run: str | Path,
    model: JGRP2OConfig,
    config: TrainingConfig,
    device: str,
    report: Callable[[dict[str, float]], None],
    max_minutes: float = math.inf,
) -> None:
    """Trains on rendered hands, in poses and with noise that its own validation crops do not share.

    Args:
        run: folder of the training; one that has a checkpoint is continued.
        model: what to train.
        config: how.
        device: where.
        report: gets the numbers of every validation.
        max_minutes: when to stop, with a checkpoint to go on from.
    """
    hand = HandModel(cached_hand_file(), device)
    poses = cached_pose_bank(HandModel(cached_hand_file()))
    train, check = (
        SyntheticHands(hand, bank, model.joint_layout, cube=model.cube, uv_scale=model.uv_scale, seed=seed)
        for bank, seed in ((poses[1000:], 2 * config.seed), (poses[:1000], 2 * config.seed + 1))
    )
    patches, truth = check.batch(600)

    @torch.no_grad()
    def validate(network: JGRP2O) -> dict[str, float]:
        uvz = torch.cat([network(part)[0] for part in torch.split(patches, 100)])
        errors = joint_errors(uvz, truth, model.cube)
        within = (errors.amax(1) < 20.0).float().mean()
        return {"mean_mm": float(errors.mean()), "median_mm": float(errors.median()), "success_20mm": float(within)}

    Trainer(run, model, config, train, device).run(validate, report, max_minutes)


def write_model(run: str | Path, out: str | Path) -> None:
    """Makes a model folder, float16, of the averaged weights of a training's folder.

    Raises:
        HandPoseError: the training has no checkpoint yet.
    """
    run, out = Path(run), Path(out)
    if not (run / "state.json").is_file():
        raise HandPoseError(f"{run}: no checkpoint here; expected the folder of a training")
    out.mkdir(parents=True, exist_ok=True)
    tensors = load_file(run / "model.safetensors")
    half = {name: value.half() for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    save_file(half, out / MODEL_FILE)
    (out / MODEL_FILE).chmod(0o644)  # safetensors keeps what it writes to its owner
    config = json.loads((run / "state.json").read_text())["model"]
    (out / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
