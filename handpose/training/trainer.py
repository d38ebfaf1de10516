"""The training loop of every network: averaged weights, several processes, and checkpoints that resume exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from handpose.errors import HandPoseError
from handpose.io.progress import report as report_progress
from handpose.training.checkpoint import check_settings, load_part, load_state, save_checkpoint
from handpose.training.config import TrainingConfig
from handpose.training.distributed import Processes
from handpose.training.log import append_row, remove_later_rows
from handpose.training.optimizers import Optimizers

_STATISTICS_BATCHES, _STATISTICS_BATCH = 12, 64
_LOSS_INTERVAL = 20  # steps that the loss of the progress report is averaged over

Network = TypeVar("Network", bound=nn.Module)


class Task(Protocol[Network]):
    """A network to train, with its data, its loss and its validation."""

    @property
    def config(self) -> TrainingConfig:
        """Training settings."""

    @property
    def model(self) -> dict[str, Any]:
        """Configuration of the network as JSON types; a checkpoint resumes only with the same configuration."""

    @property
    def device(self) -> str:
        """Device of the network and of the batches."""

    @property
    def generator(self) -> torch.Generator:
        """The only source of randomness of `batch`, apart from `seek`; it is seeded before every step."""

    def build(self) -> Network:
        """Return the network with its initial weights."""

    def seek(self, crop: int) -> None:
        """Prepare for the batch that starts with this crop; crops are numbered from the first step on."""

    def batch(self, count: int) -> tuple[Tensor, ...]:
        """Return `count` inputs of the network and their targets."""

    def loss(self, network: Network, inputs: Tensor, *targets: Tensor) -> Tensor:
        """Return the loss of a batch, summed over the batch."""

    def validate(self, network: Network) -> dict[str, float]:
        """Return metrics of a network in inference mode, by name."""


def train(
    run: str | Path,
    task: Task[Network],
    report: Callable[[dict[str, float]], None],
    *,
    max_minutes: float = math.inf,
    on_step: Callable[[int], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
    compile: bool = False,
    sync_batchnorm: bool = False,
) -> int:
    """Train a network until its last step or until it is stopped, and return the number of completed steps.

    A checkpoint is saved before every validation and when the run is stopped. A run with a checkpoint is resumed.
    Within a `process_group`, each process computes its share of every batch, and the first process validates and
    saves.

    Args:
        run: Folder of the run.
        task: The network to train, with its data and its settings.
        report: Called with the metrics of every validation.
        max_minutes: Stop this call after this many minutes and save a checkpoint. A validation that has started is
            completed, and no further one is started.
        on_step: Called after every step with its number.
        should_stop: Called after every step; if it returns True, the run is stopped and a checkpoint is saved.
        compile: Run the network through `torch.compile`.
        sync_batchnorm: Compute BatchNorm statistics over the crops of all processes; requires GPUs.

    Raises:
        HandPoseError: The folder contains a run with other settings, the batch cannot be divided among the
            processes, `sync_batchnorm` is used without GPUs, or the loss is no longer finite. In the last case, the
            checkpoint of the previous validation is kept.
    """
    trainer = _Trainer(Path(run), task, compile=compile, sync_batchnorm=sync_batchnorm)
    return trainer.run(report, max_minutes, on_step, should_stop)


class _Loss(nn.Module, Generic[Network]):
    """A network together with its loss, as one module for distributed training and compilation."""

    def __init__(self, network: Network, task: Task[Network]) -> None:
        super().__init__()
        self.network = network
        self._task = task

    def forward(self, *batch: Tensor) -> Tensor:
        return self._task.loss(self.network, *batch)


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


class _Trainer(Generic[Network]):
    """A training run in progress. For the arguments, see `train`."""

    def __init__(self, run: Path, task: Task[Network], *, compile: bool, sync_batchnorm: bool) -> None:
        self._run, self._task, self._config = run, task, task.config
        self._device = torch.device(task.device)
        self._processes = Processes()
        self._share = self._processes.share(self._config.batch)
        if sync_batchnorm and self._device.type != "cuda":
            raise HandPoseError(f"synchronized BatchNorm requires GPUs, got device {task.device}")
        torch.manual_seed(self._config.seed)
        self._network = task.build().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = task.build().to(self._device).eval()
        self._averaged.load_state_dict(self._network.state_dict())
        self._optimizers = Optimizers(self._network, self._config)
        self._steps, self._seconds = 0, 0.0
        self._losses: list[Tensor] = []  # of the steps since the last validation
        self._validation_is_due = False
        self._resume()
        loss: nn.Module = _Loss(self._network, task)
        if sync_batchnorm:
            loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)  # type: ignore[no-untyped-call]
        if self._processes.count > 1:
            loss = DistributedDataParallel(loss)
        if compile:
            loss.compile()
        self._loss, self._loss_text = loss, ""

    def run(
        self,
        report: Callable[[dict[str, float]], None],
        max_minutes: float,
        on_step: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> int:
        self._run.mkdir(parents=True, exist_ok=True)
        last_row = remove_later_rows(self._run, self._steps) if self._processes.rank == 0 else 0
        if self._validation_is_due:  # the process was killed after the checkpoint, and perhaps before the validation
            if self._processes.broadcast(last_row == self._steps, self._device):
                self._losses.clear()
            else:
                self._finish_interval(report, self._mean_loss())
        start, earlier = time.monotonic(), self._seconds
        while self._steps < self._config.steps:
            self._losses.append(self._step())
            on_step(self._steps)
            self._report_progress()
            self._seconds = earlier + time.monotonic() - start
            is_over = should_stop() or self._seconds - earlier > 60.0 * max_minutes
            is_last = self._steps == self._config.steps
            stop = self._processes.broadcast(is_over, self._device) and not is_last
            self._validation_is_due = is_last or self._steps % self._config.validate_every == 0
            if stop or self._validation_is_due:
                loss = self._mean_loss()
                if self._processes.rank == 0:
                    self._update_statistics()
                    self._save()
            if stop:
                break
            if self._validation_is_due:
                self._finish_interval(report, loss)
        return self._steps

    def _report_progress(self) -> None:
        # Reading the loss of every step from a GPU would slow it down.
        if self._device.type == "cpu" or self._steps % _LOSS_INTERVAL == 0:
            self._loss_text = f"loss {float(torch.stack(self._losses[-_LOSS_INTERVAL:]).mean()):.4g}"
        report_progress("training", self._steps, self._config.steps, self._loss_text)

    def _mean_loss(self) -> float:
        """Return the mean loss since the last validation.

        Raises:
            HandPoseError: It is not finite, so that a checkpoint would be useless.
        """
        loss = float(self._processes.mean(torch.stack(self._losses).mean()))
        if not math.isfinite(loss):
            raise HandPoseError(
                f"{self._run}: the training has diverged before step {self._steps:,}: the loss is no longer finite; "
                "start again in another folder, with a lower learning rate"
            )
        return loss

    def _finish_interval(self, report: Callable[[dict[str, float]], None], loss: float) -> None:
        """Validate after the checkpoint of an interval of steps was saved."""
        self._losses.clear()
        self._validation_is_due = False
        if self._processes.rank == 0:
            report(self._validate(loss))

    def _step(self) -> Tensor:
        """Train on one batch and return its mean loss per crop."""
        self._seed(self._steps)
        self._task.seek(self._steps * self._config.batch + self._processes.rank * self._share)
        batch = self._task.batch(self._share)
        self._loss.train()
        if self._config.frozen_statistics:
            for norm in _norms(self._network):
                norm.eval()
        loss: Tensor = self._loss(*batch)
        # Gradients are averaged over the processes, but the loss is a sum over the batch.
        (self._processes.count * loss).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), self._config.clip)
        self._optimizers.step(self._steps)
        self._steps += 1
        decay = min(self._config.average, self._steps / (self._steps + 20.0))
        with torch.no_grad():
            averaged: list[Tensor] = list(self._averaged.parameters())
            torch._foreach_lerp_(averaged, list(self._network.parameters()), 1.0 - decay)
        return loss.detach() / len(batch[0])

    def _seed(self, step: int) -> None:
        """Make the batch depend only on seed, process and step, so a run can be resumed on any machine."""
        words = np.random.SeedSequence((self._config.seed, self._processes.rank, step)).generate_state(2)
        self._task.generator.manual_seed(int(words[0]) << 31 ^ int(words[1]))

    def _validate(self, loss: float) -> dict[str, float]:
        """Validate the averaged weights, write the row of the log, and return it."""
        row = {
            "step": self._steps,
            "crops": self._steps * self._config.batch,
            "minutes": round(self._seconds / 60.0, 2),
            "loss": loss,
            **self._task.validate(self._averaged),
        }
        append_row(self._run, row)
        return row

    @torch.no_grad()
    def _update_statistics(self) -> None:
        """Compute the BatchNorm statistics of the averaged weights from new crops."""
        if self._config.average == 0.0:
            self._averaged.load_state_dict(self._network.state_dict())
            self._averaged.eval()
            return
        if self._config.frozen_statistics:
            self._averaged.eval()
            return
        norms = _norms(self._averaged)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        self._averaged.train()
        self._seed(-1 % 2**32)
        for _ in range(_STATISTICS_BATCHES):
            self._averaged(self._task.batch(_STATISTICS_BATCH)[0])
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self._averaged.eval()

    def _save(self) -> None:
        parts = {
            "model": self._averaged.state_dict(),
            "training": self._network.state_dict(),
            "optimizer": self._optimizers.state(),
        }
        state = {
            "model": self._task.model,
            "config": self._config.to_dict(),
            "steps": self._steps,
            "seconds": self._seconds,
            "losses": [float(loss) for loss in self._losses],
            "validation_is_due": self._validation_is_due,
        }
        save_checkpoint(self._run, parts, state)

    def _resume(self) -> None:
        state = load_state(self._run)
        if state is None:
            return
        check_settings(self._run, state["model"], self._task.model)
        current = self._config.settings()
        check_settings(self._run, {name: state["config"].get(name) for name in current}, current)
        self._steps, self._seconds = state["steps"], state["seconds"]
        self._averaged.load_state_dict(load_part(self._run, "model"))
        self._network.load_state_dict(load_part(self._run, "training"))
        self._optimizers.restore(load_part(self._run, "optimizer"))
        self._losses = [torch.tensor(loss, device=self._device) for loss in state.get("losses", ())]
        self._validation_is_due = state.get("validation_is_due", False)
