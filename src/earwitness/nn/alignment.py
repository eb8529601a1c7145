"""Scores of frames and words (Xie et al., arXiv 2110.02939): similarities, and how they are pooled to one number.

T frames, Q words. What frames or words there are is said by masks, true where one is there.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Similarity = Literal["clipped", "softplus"]
TimePooling = Literal["mean", "max", "linear_softmax", "exp_softmax"]
WordPooling = Literal["mean", "max"]
First = Literal["words", "time"]

SHARPNESS = 5.0  # of softplus
EPS = 1e-8  # a sum of similarities below it counts as none


def similarities(frames: Tensor, words: Tensor, kind: Similarity = "clipped") -> Tensor:
    """Similarities 0 to 1 from the cosines of unit vectors [..., T, D] and [..., Q, D]: float32 [..., T, Q].

    ``clipped`` is 0 for negative cosines, whose gradient is then 0, as published; ``softplus`` is smooth, 0.027 for
    vectors at right angles.

    >>> axes = torch.eye(2)
    >>> similarities(axes, axes)[0].tolist()
    [1.0, 0.0]
    """
    cosines = (frames @ words.transpose(-1, -2)).float()
    if kind == "clipped":
        return cosines.clamp(min=0)
    return functional.softplus(SHARPNESS * cosines) / functional.softplus(torch.tensor(SHARPNESS))


def pooled_words(values: Tensor, words: Tensor, how: WordPooling) -> Tensor:
    """The mean or largest value over words, [..., T, Q] and mask [..., Q] -> [..., T]; 0 where there are none."""
    there = words[..., None, :]
    if how == "max":
        return torch.where(there, values, 0).amax(dim=-1)
    return torch.where(there, values, 0).sum(dim=-1) / there.sum(dim=-1).clamp(min=1)


def pooled_time(values: Tensor, frames: Tensor, how: TimePooling) -> Tensor:
    """One value of those over time, [..., T] and mask [..., T] -> [...]; 0 where there are none.

    ``linear_softmax`` weights each value by itself, ``exp_softmax`` by its exponential (Wang, Li and Metze, arXiv
    1810.09050).
    """
    values = torch.where(frames, values, 0)
    match how:
        case "mean":
            return values.sum(dim=-1) / frames.sum(dim=-1).clamp(min=1)
        case "max":
            return values.amax(dim=-1)
        case "linear_softmax":
            return values.square().sum(dim=-1) / values.sum(dim=-1).clamp(min=EPS)
        case "exp_softmax":
            weights = torch.where(frames, values.exp(), 0)
            return (weights * values).sum(dim=-1) / weights.sum(dim=-1).clamp(min=EPS)


def pooled(
    values: Tensor, frames: Tensor, words: Tensor, time: TimePooling, word: WordPooling, first: First = "words"
) -> Tensor:
    """The score of similarities [..., T, Q], with masks [..., T] and [..., Q]: [...].

    The published scores are STSQ: the mean over both; MTSQ: ``first="time"``, the largest over time, then the mean over
    words; MQST: the largest over words, then the mean over time.

    >>> values = torch.tensor([[0.9, 0.1], [0.5, 0.3]])
    >>> round(float(pooled(values, torch.tensor([True, True]), torch.tensor([True, True]), "max", "mean", "time")), 2)
    0.6
    """
    if first == "words":
        return pooled_time(pooled_words(values, words, word), frames, time)
    over_time = pooled_time(values.transpose(-1, -2), frames[..., None, :], time)  # [..., Q]
    return pooled_words(over_time[..., None, :], words, word).squeeze(-1)
