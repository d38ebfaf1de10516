"""One training loop: the paper's loss, averaged weights, several processes, and checkpoints that resume exactly."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from handpose.errors import HandPoseError
from handpose.io.atomic import write_atomically
from handpose.network.config import JGRP2OConfig
from handpose.network.losses import decayed_parameters, pose_loss
from handpose.network.model import JGRP2O, StackOutput
from handpose.training.checkpoint import (
    adam_moments,
    check_settings,
    load_part,
    load_state,
    restore_adam,
    save_checkpoint,
)
from handpose.training.config import TrainingConfig
from handpose.weights.folder import CONFIG_FILE, MODEL_FILE


class CropSource(Protocol):
    """Where training crops come from: what it draws follows from its generator, which every step seeds anew."""

    generator: torch.Generator

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` patches (N, 1, 96, 96) and their joints (N, J, 3), both normalised."""
        ...


class _Stacks(nn.Module):
    """The network as training calls it."""

    def __init__(self, model: JGRP2O) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches: Tensor) -> list[StackOutput]:
        return self.model.stack_outputs(patches)


class Trainer:
    """Trains `model` on `source`, checkpointing into `folder`; a folder with a checkpoint is continued.

    Within a `process_group` each process takes its share of the batch, and the first one validates and writes.

    Args:
        folder: of the training.
        model: what to train.
        config: how.
        source: on what.
        device: where.
        start: tensors to begin with, instead of random ones.
        compile: run the network through `torch.compile`.
        sync_batchnorm: take BatchNorm's statistics over all processes' crops; on GPUs only.

    Raises:
        HandPoseError: the folder holds another training, the processes cannot share the batch, or
            `sync_batchnorm` without GPUs.
    """

    def __init__(
        self,
        folder: str | Path,
        model: JGRP2OConfig,
        config: TrainingConfig,
        source: CropSource,
        device: str,
        *,
        start: dict[str, Tensor] | None = None,
        compile: bool = False,
        sync_batchnorm: bool = False,
    ) -> None:
        self.folder, self.config, self.source = Path(folder), config, source
        self.device = torch.device(device)
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if together else 0
        self.processes = torch.distributed.get_world_size() if together else 1
        self.share, rest = divmod(config.batch, self.processes)
        if rest or self.share < 2:
            raise HandPoseError(f"a batch of {config.batch} cannot be shared by the processes, two crops or more each")
        if sync_batchnorm and self.device.type != "cuda":
            raise HandPoseError(f"synchronised BatchNorm needs GPUs, got device {device}; leave it out")
        torch.manual_seed(config.seed)
        self.model = JGRP2O(model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is not None:
            self.model.load_state_dict(start)
        self.averaged = JGRP2O(model).to(self.device)
        self.averaged.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.Adam(self._groups(), lr=config.learning_rate)
        self.steps = 0
        self.seconds = 0.0
        self._resume()
        stacks: nn.Module = _Stacks(self.model)
        if sync_batchnorm:
            stacks = nn.SyncBatchNorm.convert_sync_batchnorm(stacks)  # type: ignore[no-untyped-call]
        if together:
            stacks = DistributedDataParallel(stacks)
        if compile:
            stacks.compile()
        self._stacks = stacks

    def _groups(self) -> list[dict[str, object]]:
        """Parameters with weight decay and without."""
        decayed = decayed_parameters(self.model)
        known = {id(parameter) for parameter in decayed}
        plain = [parameter for parameter in self.model.parameters() if id(parameter) not in known]
        return [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": plain}]

    def run(
        self,
        validate: Callable[[JGRP2O], dict[str, float]],
        report: Callable[[dict[str, float]], None],
        *,
        max_minutes: float = math.inf,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Trains to the last step, or until `max_minutes` are over, and leaves a checkpoint.

        Args:
            validate: gets the averaged model, returns numbers.
            report: gets these numbers and the training's own.
            max_minutes: of this call.
            on_step: called after every step with its number.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.rank == 0:
            self._forget_later_rows()
        begin, before = time.monotonic(), self.seconds
        losses: list[Tensor] = []
        while self.steps < self.config.steps:
            losses.append(self._step())
            on_step(self.steps)
            self.seconds = before + time.monotonic() - begin
            over = self._agreed(self.seconds - before > 60.0 * max_minutes)
            if over or self.steps % self.config.validate_every == 0 or self.steps == self.config.steps:
                loss = self._mean(torch.stack(losses).mean())
                losses.clear()
                if self.rank == 0:
                    self._recompute_statistics()
                    row = {
                        "step": self.steps,
                        "crops": self.steps * self.config.batch,
                        "minutes": round(self.seconds / 60.0, 2),
                        "loss": float(loss),
                        **validate(self.averaged),
                    }
                    self._log(row)
                    self.save()
                    report(row)
            if over:
                return

    def _agreed(self, over: bool) -> bool:
        """The first process's word on whether time is over: all must stop after the same step."""
        if self.processes == 1:
            return over
        word = torch.tensor(float(over), device=self.device)
        torch.distributed.broadcast(word, 0)
        return bool(word)

    def _mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.processes > 1:
            torch.distributed.all_reduce(value)
        return value / self.processes

    def _step(self) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate(self.steps)
        self._seed(self.steps)
        patches, uvz = self.source.batch(self.share)
        self._stacks.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            outputs = self._stacks(patches.to(memory_format=torch.channels_last))
        loss = pose_loss(outputs, uvz, patches, self.config.offset_weight)
        self.optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over the processes; the paper's loss is a sum over the batch.
        (self.processes * loss).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimiser.step()
        self.steps += 1
        decay = min(self.config.average, self.steps / (self.steps + 20.0))
        with torch.no_grad():
            averaged: list[Tensor] = list(self.averaged.parameters())
            torch._foreach_lerp_(averaged, list(self.model.parameters()), 1.0 - decay)
        return loss.detach() / len(patches)

    def _seed(self, step: int) -> None:
        """Makes what is drawn depend on nothing but seed, step and process, so that any run can go on anywhere."""
        words = np.random.SeedSequence((self.config.seed, self.rank, step)).generate_state(2)
        self.source.generator.manual_seed(int(words[0]) << 31 ^ int(words[1]))

    @torch.no_grad()
    def _recompute_statistics(self, batches: int = 12) -> None:
        """Gives the averaged weights BatchNorm statistics of their own, from fresh crops."""
        if self.config.average == 0.0:
            self.averaged.load_state_dict(self.model.state_dict())
            self.averaged.eval()
            return
        norms = [m for m in self.averaged.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        self.averaged.train()
        self._seed(-1 % 2**32)
        for _ in range(batches):
            self.averaged(self.source.batch(64)[0])
        for norm in norms:
            norm.momentum = 0.05
        self.averaged.eval()

    @property
    def _log_file(self) -> Path:
        return self.folder / "log.csv"

    def _log(self, row: dict[str, float]) -> None:
        fresh = not self._log_file.is_file()
        with self._log_file.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def _forget_later_rows(self) -> None:
        """Cuts the log back to the checkpoint's step: a killed process may have logged a step that comes again."""
        if not self._log_file.is_file():
            return
        with self._log_file.open(newline="") as file:
            reader = csv.DictReader(file)
            names, rows = reader.fieldnames or (), list(reader)
        kept = [row for row in rows if (row["step"] or "").isdecimal() and int(row["step"]) <= self.steps]
        if not kept:
            self._log_file.unlink()
        elif len(kept) < len(rows):
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, names)
            writer.writeheader()
            writer.writerows(kept)
            write_atomically(self._log_file, text.getvalue().encode())

    def save(self) -> None:
        """Writes the averaged model, the training weights, Adam's moments and the counters, all in one file."""
        parts = {
            "model": self.averaged.state_dict(),
            "training": self.model.state_dict(),
            "adam": adam_moments(self.model, self.optimiser),
        }
        state = {
            "model": self.model.config.to_dict(),
            "config": dataclasses.asdict(self.config),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        save_checkpoint(self.folder, parts, state)

    def _resume(self) -> None:
        state = load_state(self.folder)
        if state is None:
            return
        check_settings(self.folder, state["model"], self.model.config.to_dict())
        wanted = self.config.settings()
        check_settings(self.folder, {name: state["config"].get(name) for name in wanted}, wanted)
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.averaged.load_state_dict(load_part(self.folder, "model"))
        self.model.load_state_dict(load_part(self.folder, "training"))
        restore_adam(self.model, self.optimiser, load_part(self.folder, "adam", str(self.device)), self.steps)


def write_model(run: str | Path, out: str | Path) -> None:
    """Makes a model folder, float16, of the averaged weights of a training's folder.

    Raises:
        HandPoseError: the training has no checkpoint yet.
    """
    run, out = Path(run), Path(out)
    state = load_state(run)
    if state is None:
        raise HandPoseError(f"{run}: no checkpoint here; expected the folder of a training")
    out.mkdir(parents=True, exist_ok=True)
    tensors = load_part(run, "model")
    half = {name: value.half() for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    write_atomically(out / MODEL_FILE, save(half))
    write_atomically(out / CONFIG_FILE, (json.dumps(state["model"], indent=2) + "\n").encode())
