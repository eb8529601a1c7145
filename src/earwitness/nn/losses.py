"""Losses over the similarities of a batch: [B, B], with those of pairs on the diagonal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from earwitness.errors import EarwitnessError


def max_margin(similarity: Tensor, margin: float = 0.2) -> Tensor:
    """The bidirectional ranking loss over all negatives of a batch (Lou et al., arXiv 2203.13645).

    The mean, over both directions and all pairs off the diagonal, of how far a negative comes closer than ``margin`` to
    its positive.

    Raises EarwitnessError for fewer than two rows, which have no negatives.

    >>> round(float(max_margin(torch.tensor([[0.9, 0.8], [0.0, 0.5]]))), 4)
    0.15
    """
    if len(similarity) < 2:
        raise EarwitnessError(f"A batch of {len(similarity)} has no negatives: the loss needs at least two clips.")
    similarity = similarity.float()
    right = similarity.diagonal()
    others = ~torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    by_row = (margin - right[:, None] + similarity).clamp(min=0)
    by_column = (margin - right[None] + similarity).clamp(min=0)
    return ((by_row + by_column) * others).sum() / (2 * others.sum())


def info_nce(similarity: Tensor) -> Tensor:
    """Cross entropy of each pair among its row and among its column, the mean of both (van den Oord, arXiv 1807.03748).

    ``similarity`` has been divided by the temperature.

    >>> round(float(info_nce(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))), 4)
    0.1269
    """
    similarity = similarity.float()
    right = torch.arange(len(similarity), device=similarity.device)
    return (functional.cross_entropy(similarity, right) + functional.cross_entropy(similarity.T, right)) / 2
