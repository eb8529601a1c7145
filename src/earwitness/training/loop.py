"""One training loop for all systems, on Lightning.

All randomness of a step comes from (seed, epoch, step), the order of examples from (seed, epoch), and the learning
rate from the epoch: a training resumed at an epoch's boundary gives the same weights, bit for bit, as an undisturbed
one. The work folder keeps ``last.ckpt`` (to resume from), ``best.safetensors`` (the epoch that validation chose) and
``events.jsonl``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from earwitness.errors import EarwitnessError, report_full_disk
from earwitness.files import atomic
from earwitness.options import TrainingOptions
from earwitness.training.events import EventLog

EVENTS_EVERY = 10  # steps


class Task(Protocol):
    """What a system gives to the loop. The training loader's sampler has ``set_epoch``."""

    network: nn.Module

    def optimiser(self) -> torch.optim.Optimizer: ...
    def learning_rate(self, epoch: int) -> float: ...
    def training_loader(self) -> DataLoader: ...
    def validation_loader(self) -> DataLoader: ...
    def losses(self, batch: Any) -> dict[str, Tensor]: ...
    def validation_step(self, batch: Any) -> Any: ...
    def validation_metrics(self, outputs: list[Any]) -> dict[str, float]: ...


def train(task: Task, options: TrainingOptions, seed: int, work: Path, name: str = "Training") -> dict[str, Any]:
    """Train, or go on from ``work/last.ckpt``, until the last epoch or until patience is at its end.

    ``name`` stands beside the progress bar.

    Returns:
        ``{"epoch": the chosen epoch, counted from 0, "metric": its name, "value": its validation value}``. The chosen
        weights are in ``work/best.safetensors``.
    """
    work.mkdir(parents=True, exist_ok=True)
    selection = Selection(work, f"validation_{options.monitor}", options.patience)
    last = work / "last.ckpt"
    if last.exists():
        selection.load_state_dict(_callback_state(last))
        print(f"{name}: going on after epoch {selection.epoch + 1}", file=sys.stderr)
    if not selection.finished(options.epochs):
        loop = Loop(task, seed, work, first_epoch=selection.epoch + 1)
        _trainer(options, work, [selection], name).fit(loop, ckpt_path=_existing(last), weights_only=True)
    return {"epoch": selection.best_epoch, "metric": selection.monitor, "value": selection.best}


def _trainer(options: TrainingOptions, work: Path, callbacks: list[Callback], name: str) -> Trainer:
    return Trainer(
        accelerator="auto",
        devices=options.devices if torch.cuda.is_available() else 1,
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
        return torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"][Selection.state_key]
    except Exception as error:  # torch raises many kinds for a damaged file
        raise EarwitnessError(
            f"{checkpoint} is damaged and cannot be resumed from. Remove {checkpoint.parent} to start anew."
        ) from error


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


class Loop(LightningModule):
    """Lets Lightning drive a task."""

    def __init__(self, task: Task, seed: int, work: Path, first_epoch: int = 0):
        super().__init__()
        self.task, self.seed, self.first_epoch = task, seed, first_epoch
        self.network = task.network  # registered, so that its weights are moved and saved
        self.events = EventLog(work / "events.jsonl")
        self.outputs: list[Any] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.task.optimiser()

    def train_dataloader(self) -> DataLoader:
        loader = self.task.training_loader()
        # Lightning tells the sampler the epoch too, but after the first epoch's workers were asked for their batches.
        loader.sampler.set_epoch(self.first_epoch)
        return loader

    def val_dataloader(self) -> DataLoader:
        return self.task.validation_loader()

    def on_train_start(self) -> None:
        if self.trainer.is_global_zero:
            self.events.cut_back(self.global_step)

    def on_train_epoch_start(self) -> None:
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.task.learning_rate(self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self.task.losses(batch)
        if not torch.isfinite(losses["loss"]):
            raise EarwitnessError(
                f"The loss became {losses['loss'].item()} in epoch {self.current_epoch + 1}, step {batch_idx + 1}. "
                "A smaller learning rate usually helps."
            )
        if self.trainer.is_global_zero and self.global_step % EVENTS_EVERY == 0:
            values = {name: value.item() for name, value in losses.items()}
            # Steps count from 1: the checkpoint of an epoch that ended after n steps covers exactly those up to n.
            self.events.metrics(self.global_step + 1, self.current_epoch, **values)
        return losses["loss"]

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float, gradient_clip_algorithm: str | None = None
    ) -> None:
        # Lightning refuses to clip for fused optimisers in mixed precision; bfloat16 needs no unscaling, so we can.
        torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.outputs.append(self.task.validation_step(batch))

    def on_validation_epoch_end(self) -> None:
        metrics = self.task.validation_metrics(self.outputs)
        self.outputs = []
        for name, value in metrics.items():
            self.log(name, value)
        if self.trainer.is_global_zero:
            rate = self.task.learning_rate(self.current_epoch)
            self.events.metrics(self.global_step, self.current_epoch, learning_rate=rate, **metrics)


def step_seed(*numbers: int) -> int:
    """A seed that depends on nothing but the given numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8], "big") >> 1


class Selection(Callback):
    """Keeps the weights of the best validation epoch, ends training when patience does, writes what resuming needs.

    Lightning's own checkpoint and early-stopping callbacks keep this state in two places, which a kill between them
    would set at odds.
    """

    state_key = "Selection"

    def __init__(self, work: Path, monitor: str, patience: int | None):
        self.work, self.monitor, self.patience = work, monitor, patience
        self.best = float("-inf")
        self.best_epoch = -1
        self.epoch = -1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.epoch = state["best"], state["best_epoch"], state["epoch"]

    def finished(self, epochs: int) -> bool:
        """Whether there is nothing left to train."""
        return self.epoch + 1 >= epochs or self._out_of_patience()

    def on_train_epoch_end(self, trainer: Trainer, loop: LightningModule) -> None:
        self.epoch = trainer.current_epoch
        value = float(trainer.callback_metrics[self.monitor])
        if value > self.best:
            self.best, self.best_epoch = value, self.epoch
            if trainer.is_global_zero:
                weights = {
                    name: tensor.detach().cpu().contiguous() for name, tensor in loop.network.state_dict().items()
                }
                with atomic(self.work / "best.safetensors") as temporary:
                    save_file(weights, temporary)
        trainer.should_stop = trainer.should_stop or self._out_of_patience()
        with report_full_disk(self.work / "last.ckpt"):
            trainer.save_checkpoint(self.work / "next.ckpt")
            if trainer.is_global_zero:
                os.replace(self.work / "next.ckpt", self.work / "last.ckpt")

    def _out_of_patience(self) -> bool:
        return self.patience is not None and self.epoch - self.best_epoch >= self.patience


class Progress(Callback):
    """One bar over all epochs, with the time left and the latest figures."""

    def __init__(self, name: str):
        self.name = name

    def on_train_start(self, trainer: Trainer, loop: LightningModule) -> None:
        steps = int(trainer.num_training_batches)
        done = trainer.current_epoch * steps
        self.bar = tqdm(
            total=trainer.max_epochs * steps,
            initial=done,
            desc=self.name,
            unit="step",
            mininterval=0.5 if sys.stderr.isatty() else 10,
            disable=not trainer.is_global_zero,
        )
        self.figures: dict[str, str] = {}

    def on_train_batch_end(
        self, trainer: Trainer, loop: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.bar.update()
        if batch_idx % EVENTS_EVERY == 0:
            self.figures["loss"] = f"{float(outputs['loss']):.3f}"
            self.bar.set_postfix(self.figures, refresh=False)

    def on_train_epoch_end(self, trainer: Trainer, loop: LightningModule) -> None:
        metrics = trainer.callback_metrics
        self.figures = {"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}"}
        self.figures |= {name.removeprefix("validation_"): f"{float(value):.3f}" for name, value in metrics.items()}
        self.bar.set_postfix(self.figures)

    def on_train_end(self, trainer: Trainer, loop: LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer: Trainer, loop: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
