"""Losses over the similarities of a batch: [B, B], with those of pairs on the diagonal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from earwitness.errors import EarwitnessError


def max_margin(
    similarity: Tensor, margin: float = 0.2, negatives: Tensor | None = None, hardest: bool = False
) -> Tensor:
    """The bidirectional ranking loss over all negatives of a batch (Lou et al., arXiv 2203.13645).

    The mean, over both directions and all pairs off the diagonal, of how far a negative comes closer than ``margin`` to
    its positive; with ``hardest`` over the closest negative of each row and column (Faghri et al., arXiv 1707.05612).

    Args:
        negatives: [B, B], true where a pair counts as a negative; None: all but the diagonal.

    Raises EarwitnessError for fewer than two rows, which have no negatives.

    >>> round(float(max_margin(torch.tensor([[0.9, 0.8], [0.0, 0.5]]))), 4)
    0.15
    """
    if len(similarity) < 2:
        raise EarwitnessError(f"A batch of {len(similarity)} has no negatives: the loss needs at least two clips.")
    similarity = similarity.float()
    right = similarity.diagonal()
    others = ~torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if negatives is not None:
        others = others & negatives
    by_row = (margin - right[:, None] + similarity).clamp(min=0) * others
    by_column = (margin - right[None] + similarity).clamp(min=0) * others
    if hardest:
        return (by_row.amax(dim=1) + by_column.amax(dim=0)).mean() / 2
    return (by_row + by_column).sum() / (2 * others.sum()).clamp(min=1)


def triplet(right: Tensor, other_clip: Tensor, other_text: Tensor, margin: float = 1.0) -> Tensor:
    """The ranking loss against one drawn clip and one drawn text for each pair (Xie et al., arXiv 2110.02939).

    Args:
        right: scores of pairs, [B]; other_clip: of each text with a drawn clip; other_text: of each clip with a drawn
            text. Scores are 0 to 1, so with a margin of 1 the loss is linear.

    >>> float(triplet(torch.tensor([0.5]), torch.tensor([0.25]), torch.tensor([0.0])))
    1.25
    """
    return ((margin + other_clip - right).clamp(min=0) + (margin + other_text - right).clamp(min=0)).mean()


def info_nce(similarity: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Cross entropy of each pair among its row and among its column, the mean of both (van den Oord, arXiv 1807.03748).

    ``similarity`` has been divided by the temperature. ``negatives`` [B, B] is true where a pair counts as a negative;
    None: all but the diagonal.

    >>> round(float(info_nce(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))), 4)
    0.1269
    """
    similarity = similarity.float()
    right = torch.arange(len(similarity), device=similarity.device)
    if negatives is not None:
        own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
        similarity = similarity.masked_fill(~(negatives | own), -torch.inf)
    return (functional.cross_entropy(similarity, right) + functional.cross_entropy(similarity.T, right)) / 2
