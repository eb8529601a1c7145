"""Stateless learning rate schedules, so that resuming needs nothing beyond ``last.ckpt``.

Each returns a factor of the base rate. A schedule by epochs uses ``moment.epoch``, one by steps ``moment.step``, and
``plateau`` the validation history, which is in the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple


class Moment(NamedTuple):
    """The position of a step in a training. Epochs and steps are counted from 0."""

    epoch: int
    step: int  # since the start of training
    steps_per_epoch: int
    epochs: int  # maximum number
    history: Sequence[dict[str, float]] = ()  # validation metrics of previous epochs

    @property
    def steps(self) -> int:
        """Total number of steps of the training."""
        return self.epochs * self.steps_per_epoch


def linear_warmup(moment: Moment, steps: int) -> float:
    """Rises to 1 over ``steps``, then falls linearly to 0 at the last step (as in WSAC, arXiv 2309.12242).

    >>> [linear_warmup(Moment(0, step, 10, 1), 5) for step in (0, 4, 5, 9)]
    [0.0, 0.8, 1.0, 0.2]
    """
    if moment.step < steps:
        return moment.step / max(1, steps)
    return max(0.0, (moment.steps - moment.step) / max(1, moment.steps - steps))


def noam(moment: Moment, steps: int) -> float:
    """Rises linearly to 1 at step ``steps`` (counted from 1), then falls with the inverse square root of the step.

    >>> [round(noam(Moment(0, step - 1, 10, 1), 4), 3) for step in (1, 4, 16)]
    [0.25, 1.0, 0.5]
    """
    step = moment.step + 1
    return math.sqrt(steps) * min(step**-0.5, step * steps**-1.5)


def one_cycle(moment: Moment, warmup_share: float, start: float = 1 / 25, end: float = 1 / 250_000) -> float:
    """Rises from ``start`` to 1 over a share of all steps, then falls to ``end`` at the last, both as a half cosine.

    The factor of torch's OneCycleLR (Smith and Topin, arXiv 1708.07120), whose defaults are those of ``start`` and
    ``end``.

    >>> [round(one_cycle(Moment(0, step, 11, 1), 0.5), 3) for step in (0, 2, 4, 10)]
    [0.04, 0.437, 0.971, 0.0]
    """
    peak = warmup_share * moment.steps - 1
    last = moment.steps - 1
    if moment.step < peak:
        low, progress = start, 1 - moment.step / peak
    else:
        low, progress = end, (moment.step - peak) / ((last - peak) or 1)
    return low + (1 - low) * (1 + math.cos(math.pi * progress)) / 2


def plateau(
    moment: Moment,
    metric: str,
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    floor: float = 0.0,
) -> float:
    """The factor of torch's ReduceLROnPlateau after the validation history.

    The scheduler is replayed over the history, which is in the checkpoint, so it has no other state.
    """
    import torch

    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser,
        mode=mode,
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=threshold_mode,
        min_lr=floor,
    )
    for metrics in moment.history:
        scheduler.step(metrics[metric])
    return optimiser.param_groups[0]["lr"]
