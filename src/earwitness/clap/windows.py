"""Clips that are too long for a tower at once: the mean of the vectors of their windows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, product

import torch
from torch import Tensor
from torch.nn import functional


def window_starts(samples: int, window: int) -> list[int]:
    """First samples of the windows of a clip: equally spaced from its first to its last, half overlapping or more.

    >>> window_starts(1, 10), window_starts(18, 10)
    ([0], [0, 4, 8])
    """
    steps = -(-max(0, samples - window) // (window // 2))
    return [round(step * (samples - window) / steps) for step in range(steps + 1)] if steps else [0]


def embed_windows(waveform: Tensor, window: int, together: int, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """Waveforms [clips, samples] -> vectors of length 1 [clips, D]: the means of their windows'.

    ``embed`` makes vectors [n, D] of up to ``together`` windows [n, samples], which are shorter of shorter clips alone.
    """
    starts = window_starts(waveform.shape[1], window)
    every, vectors = product(range(len(waveform)), starts), list[Tensor]()
    while some := list(islice(every, together)):
        vectors.append(embed(torch.stack([waveform[clip, start : start + window] for clip, start in some])))
    mean = torch.cat(vectors).unflatten(0, (len(waveform), len(starts))).mean(dim=1)
    return functional.normalize(mean, dim=-1)
