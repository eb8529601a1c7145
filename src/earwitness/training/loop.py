"""One training loop for all systems, on Lightning.

All randomness of a step depends on (seed, epoch, step), the order of examples on (seed, epoch), and the learning rate
on epoch, step and validation history: a training resumed at an epoch boundary gives the same weights, bit for bit, as
an uninterrupted one. Schedule, selection of the epoch and stop rule use the history of validation metrics, which is in
the checkpoint. Of several processes that train together (``train.devices``), each has its own dropout; the first one
alone writes files. The work folder holds ``last.ckpt`` (to resume from), ``best.safetensors`` (the selected epoch) and
``events.jsonl``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from earwitness.errors import EarwitnessError, report_full_disk
from earwitness.files import atomic
from earwitness.nn.parallel import average_gradients, from_first, processes, rank, synchronise
from earwitness.options import TrainingOptions
from earwitness.systems.interface import System
from earwitness.training.events import EventLog
from earwitness.training.processes import agreed, collected
from earwitness.training.schedules import Moment

EVENTS_EVERY = 10  # steps
# Checkpoints that take longer than SLOW seconds are written when SHARE times as many have passed.
SLOW, SHARE = 0.2, 20


def train(system: System, options: TrainingOptions, seed: int, work: Path, name: str = "Training") -> dict[str, Any]:
    """Train, or resume from ``work/last.ckpt``, until the last epoch or the system's stop rule.

    ``name`` is the label of the progress bar.

    Returns:
        ``{"epoch": the selected epoch, from 0, "metric": the name of its metric, "value": its validation value}``; the
        last two are None without validation. The selected weights are in ``work/best.safetensors``.

    Raises EarwitnessError if the loss is not finite, or validation never gives a number; SystemExit with code 143 when
    SIGTERM, with which clusters preempt jobs, ended the training after a step; KeyboardInterrupt on Ctrl-C.
    """
    work.mkdir(parents=True, exist_ok=True)
    progress = Checkpoints(system, work, options.epochs)
    last = work / "last.ckpt"
    if last.exists():
        progress.load_state_dict(_callback_state(last))
        print(f"{name}: resuming after epoch {progress.epoch + 1}", file=sys.stderr)
    if not progress.finished():
        loop, trainer = Loop(system, options, seed, work, progress), _trainer(options, work, [progress], name)
        try:
            trainer.fit(loop, ckpt_path=last if last.exists() else None, weights_only=True)
        except (Exception, SystemExit) as error:
            if trainer.received_sigterm:  # Lightning ends with the step, as if all were well: with exit code 0
                sys.exit(128 + signal.SIGTERM)
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None  # of which Lightning makes exit code 1
            raise
    return progress.chosen()


def _trainer(options: TrainingOptions, work: Path, callbacks: list[Callback], name: str) -> Trainer:
    return Trainer(
        accelerator="auto" if processes() == 1 or torch.cuda.is_available() else "cpu",
        devices=1 if processes() == 1 or not torch.cuda.is_available() else [rank()],
        # Slurm's would expect a task of the job for each device, and write checkpoints within an epoch on SIGUSR1.
        plugins=[LightningEnvironment()],
        precision=options.precision,
        max_epochs=options.epochs,
        gradient_clip_val=options.gradient_clip,
        callbacks=[*callbacks, Progress(name)],
        default_root_dir=work,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        deterministic="warn",
        benchmark=False,
    )


def _callback_state(checkpoint: Path) -> dict[str, Any]:
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"][Checkpoints.state_key]
    except Exception as error:  # torch raises various exceptions for a damaged file
        raise EarwitnessError(
            f"{checkpoint} is damaged and cannot be resumed from. Remove {checkpoint.parent} to start anew."
        ) from error


class Loop(LightningModule):
    """Adapts a system to Lightning."""

    def __init__(self, system: System, options: TrainingOptions, seed: int, work: Path, progress: Checkpoints):
        super().__init__()
        self.system, self.options, self.seed, self.progress = system, options, seed, progress
        self.network = system.network  # registered as a submodule, so that its weights are moved and saved
        self.events = EventLog(work / "events.jsonl")
        self.outputs: list[Any] = []
        self.validation = system.validation_loader()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.system.optimiser()

    def train_dataloader(self) -> DataLoader:
        loader = self.system.training_loader()
        # Lightning sets the sampler's epoch too, but after the first epoch's workers were asked for batches.
        sampler: Any = loader.sampler
        sampler.set_epoch(self.progress.epoch + 1)
        return loader

    def val_dataloader(self) -> DataLoader | list:
        return [] if self.validation is None else self.validation

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in self.system.fixed:
            del checkpoint["state_dict"][f"network.{name}"]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] |= {f"network.{name}": self.network.get_buffer(name) for name in self.system.fixed}

    def on_train_start(self) -> None:
        if processes() > 1:
            synchronise(self.network)
            for parameter in self.network.parameters():
                parameter.data.copy_(from_first(parameter))
        if rank() == 0:
            self.events.cut_back(self.global_step)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, rank()))
        groups = self.trainer.optimizers[0].param_groups
        rates = self.rates(self.global_step)
        if len(rates) not in (1, len(groups)):
            name = type(self.system).__name__
            raise EarwitnessError(f"{name}.learning_rate gave {len(rates)} rates for {len(groups)} parameter groups.")
        for group, rate in zip(groups, rates * len(groups) if len(rates) == 1 else rates, strict=True):
            group["lr"] = rate

    def rates(self, step: int) -> list[float]:
        """The learning rates of a step in the current epoch."""
        steps = int(self.trainer.num_training_batches)
        moment = Moment(self.current_epoch, step, steps, self.options.epochs, self.progress.history)
        rates = self.system.learning_rate(moment)
        return list(rates) if isinstance(rates, Sequence) else [rates]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self.system.losses(batch)
        if not torch.isfinite(losses["loss"]):
            raise EarwitnessError(
                f"The loss became {losses['loss'].item()} in epoch {self.current_epoch + 1}, step {batch_idx + 1}. "
                "A smaller learning rate usually helps."
            )
        if rank() == 0 and self.global_step % EVENTS_EVERY == 0:
            values = {name: value.item() for name, value in losses.items()}
            # Steps are counted from 1, so that a checkpoint after n steps covers exactly the events up to n.
            self.events.metrics(self.global_step + 1, self.current_epoch, **values)
        return losses["loss"]

    def on_after_backward(self) -> None:
        if processes() > 1:
            average_gradients(self.network.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip with fused optimisers in mixed precision; bfloat16 needs no unscaling.
        if gradient_clip_val is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch_idx % processes() == rank():
            self.outputs.append(self.system.validation_step(batch))

    def on_validation_epoch_end(self) -> None:
        outputs, self.outputs = collected(self.outputs), []
        metrics = {} if outputs is None else self.system.validation_metrics(outputs)
        self.progress.validated = agreed({name: float(value) for name, value in metrics.items()})


def step_seed(*numbers: int) -> int:
    """A seed derived from the given numbers alone."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "big") >> 1


class Checkpoints(Callback):
    """Keeps the weights of the selected epoch, applies the stop rule, and writes the checkpoint to resume from.

    Lightning's checkpoint and early-stopping callbacks keep this state in two places, which a kill could make
    inconsistent. Both files are written after every epoch, or, where that takes long (a gigabyte for the largest
    models), as often as it costs a twentieth of the time: what is trained again after a kill is the same.

    Attributes:
        history: validation metrics of finished epochs; epoch: the last finished epoch, from 0.
        validated: validation metrics of the current epoch.
    """

    state_key = "Checkpoints"

    def __init__(self, system: System, work: Path, epochs: int):
        self.choice, self.stop, self.work, self.epochs = system.choice, system.stop, work, epochs
        self.fixed = {name: system.network.get_buffer(name) for name in system.fixed}
        self.history: list[dict[str, float]] = []
        self.validated: dict[str, float] = {}
        self.best: dict[str, Tensor] | None = None  # weights that are not written yet, but for fixed ones
        self.written, self.cost = 0.0, 0.0  # when the files were written last, and the seconds that took

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])

    @property
    def epoch(self) -> int:
        return len(self.history) - 1

    def finished(self) -> bool:
        """Whether training is complete."""
        return len(self.history) >= self.epochs or self._stops()

    def chosen(self) -> dict[str, Any]:
        """The selected epoch, its metric and value."""
        best = self.choice.best(self.history)
        if best < 0:
            raise EarwitnessError(
                f"Validation gave no number for {self.choice.metric!r} in any of {len(self.history)} epochs, so none "
                "can be selected. A smaller learning rate usually helps."
            )
        value = self.history[best][self.choice.metric] if self.choice.metric else None
        return {"epoch": best, "metric": self.choice.metric, "value": value}

    def on_train_epoch_end(self, trainer: Trainer, loop: Any) -> None:
        if rank() == 0:
            rate = loop.rates(loop.global_step - 1)[0]
            loop.events.metrics(loop.global_step, trainer.current_epoch, learning_rate=rate, **self.validated)
        self.history.append(self.validated)
        self.validated = {}
        trainer.should_stop = trainer.should_stop or self._stops()
        if rank():
            return
        if self.choice.best(self.history) == self.epoch:
            self.best = {
                name: tensor.detach().cpu().clone().contiguous()
                for name, tensor in loop.network.state_dict().items()
                if name not in self.fixed
            }
        due = self.cost < SLOW or time.monotonic() - self.written > SHARE * self.cost or self.finished()
        if due:
            began = time.monotonic()
            self._write(trainer)
            self.written = time.monotonic()
            self.cost = self.written - began

    def _write(self, trainer: Trainer) -> None:
        """Write the selected weights, then the checkpoint with the history that selected them."""
        if self.best is not None:
            with atomic(self.work / "best.safetensors") as temporary:
                fixed = {name: tensor.cpu().contiguous() for name, tensor in self.fixed.items()}
                save_file(self.best | fixed, temporary)
            self.best = None
        following = self.work / "next.ckpt"
        with report_full_disk(self.work / "last.ckpt"):
            try:
                trainer.save_checkpoint(following)
                os.replace(following, self.work / "last.ckpt")
            finally:
                following.unlink(missing_ok=True)

    def _stops(self) -> bool:
        return self.stop is not None and bool(self.history) and self.stop.now(self.history, self.choice)


class Progress(Callback):
    """One progress bar over all epochs, with the latest metrics."""

    def __init__(self, name: str):
        self.name = name

    def on_train_start(self, trainer: Trainer, loop: LightningModule) -> None:
        steps = int(trainer.num_training_batches)
        done = trainer.current_epoch * steps
        self.bar = tqdm(
            total=(trainer.max_epochs or 0) * steps,
            initial=done,
            desc=self.name,
            unit="step",
            mininterval=0.5 if sys.stderr.isatty() else 10,
            disable=rank() > 0,
        )
        self.figures: dict[str, str] = {}

    def on_train_batch_end(
        self, trainer: Trainer, loop: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.bar.update()
        if batch_idx % EVENTS_EVERY == 0:
            self.figures["loss"] = f"{float(outputs['loss']):.3f}"
            self.bar.set_postfix(self.figures, refresh=False)

    def on_train_epoch_end(self, trainer: Trainer, loop: Any) -> None:
        metrics = loop.progress.history[-1]
        self.figures = {"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}"}
        self.figures |= {name.removeprefix("validation_"): f"{value:.3f}" for name, value in metrics.items()}
        self.bar.set_postfix(self.figures)

    def on_train_end(self, trainer: Trainer, loop: LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: Trainer, loop: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
