"""Selection of the epoch whose weights are kept, and early stopping: functions of the validation history alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from earwitness.errors import EarwitnessError

History = Sequence[dict[str, float]]  # validation metrics of each epoch


@dataclass(frozen=True)
class Choice:
    """The epoch whose weights are kept.

    Attributes:
        metric: a validation metric; None keeps the last epoch.
        mode: whether the metric is maximised or minimised.
        ties: which of equally good epochs is kept.
    """

    metric: str | None
    mode: Literal["max", "min"] = "max"
    ties: Literal["first", "last"] = "first"

    def best(self, history: History) -> int:
        """The selected epoch of ``history``, counted from 0; -1 if no value is a number.

        Raises EarwitnessError if the history lacks the metric.
        """
        if self.metric is None:
            return len(history) - 1
        best, epoch_kept = -math.inf, -1
        for epoch, metrics in enumerate(history):
            if self.metric not in metrics:
                known = ", ".join(metrics) or "nothing"
                raise EarwitnessError(f"The epoch is selected by {self.metric!r}, but validation gives {known}.")
            value = metrics[self.metric] if self.mode == "max" else -metrics[self.metric]
            if value > best or (self.ties == "last" and value == best):
                best, epoch_kept = value, epoch
        return epoch_kept


class Stop(Protocol):
    """When training ends before the last epoch."""

    def now(self, history: History, choice: Choice) -> bool:
        """Whether training ends after the epochs of ``history``."""


@dataclass(frozen=True)
class Patience:
    """Stops after a number of epochs without improvement."""

    epochs: int

    def now(self, history: History, choice: Choice) -> bool:
        return len(history) - 1 - choice.best(history) >= self.epochs


@dataclass(frozen=True)
class Settled:
    """Stops when the metric's standard deviation over the last epochs falls below a bound.

    Used by audio-caption alignment (Xie et al., arXiv 2110.02939).

    Attributes:
        window: number of last epochs; deviation: the bound; not_before: minimum number of epochs.
    """

    metric: str
    window: int = 10
    deviation: float = 0.01
    not_before: int = 0

    def now(self, history: History, choice: Choice) -> bool:
        if len(history) < max(self.window, self.not_before):
            return False
        return statistics.pstdev([metrics[self.metric] for metrics in history[-self.window :]]) < self.deviation
