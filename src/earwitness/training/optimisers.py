"""Ranger: RAdam (Liu et al., arXiv 1908.03265) with Lookahead (Zhang et al., arXiv 1907.08610)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

UNRECTIFIED = 5  # steps of RAdam whose variance cannot be estimated have a length up to it
FLAT = 2.0**40  # an eps beside which no second moment counts; a power of two, so that it cancels without rounding


class Ranger(torch.optim.AdamW):
    """RAdam with decoupled weight decay; every ``every`` steps slow weights go a share of the way to the fast ones.

    The fast ones go on from there. The slow weights start at the initial ones, and are part of the state dict. Steps
    are counted for each parameter, those with a gradient alone.

    A step of RAdam is a step of Adam with other numbers, so that torch's fused kernel goes through the memory once.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.01,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 1e-3,
        *,
        alpha: float = 0.5,
        every: int = 6,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay, fused=True)
        self.alpha, self.every = alpha, every

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        moving = [parameter for group in groups for parameter in group["params"] if parameter.grad is not None]
        starts = {parameter: parameter.clone() for parameter in moving if parameter not in self.state}
        counts = {parameter: 1 if parameter in starts else self.state[parameter]["count"] + 1 for parameter in moving}
        self.param_groups = [
            group
            | {"params": [parameter for parameter in group["params"] if counts.get(parameter) == count]}
            | as_adam(count, group["lr"], group["betas"], group["eps"], group["weight_decay"])
            for group in groups
            for count in sorted({counts[parameter] for parameter in group["params"] if parameter in counts})
        ]
        try:
            super().step()
        finally:
            self.param_groups = groups
        for parameter, count in counts.items():  # after the step, which makes no state of its own beside another's
            state = self.state[parameter]
            state["count"] = count
            slow = state.setdefault("slow", starts.get(parameter))
            if count % self.every == 0:
                parameter.copy_(slow.lerp_(parameter, self.alpha))
        return loss


def as_adam(step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> dict[str, float]:
    """The settings with which a step of AdamW (counted from 1) is one of RAdam.

    Adam adds eps to the root of the corrected second moment, RAdam to that of the moment as it is. Where RAdam goes by
    the first moment alone, an eps of FLAT makes the second one vanish.

    >>> as_adam(5, 0.01, (0.95, 0.999), 1e-5, 1e-3)["lr"] / FLAT
    0.01
    >>> 0 < as_adam(6, 0.01, (0.95, 0.999), 1e-5, 1e-3)["lr"] < 0.01
    True
    """
    correction = 1 - betas[1] ** step
    longest = 2 / (1 - betas[1]) - 1
    length = longest - 2 * step * betas[1] ** step / correction
    if length <= UNRECTIFIED:
        return {"lr": lr * FLAT, "eps": FLAT, "weight_decay": weight_decay / FLAT}
    rectified = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return {"lr": lr * rectified, "eps": eps / math.sqrt(correction), "weight_decay": weight_decay / rectified}
