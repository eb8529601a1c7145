"""SpecAugment without time warping: random time and frequency stripes of each example are set to zero."""

from __future__ import annotations

import torch
from torch import Tensor

from earwitness.nn.parallel import from_first, own, sharers, summed


def spec_augment(x: Tensor, time_stripes: int, time_width: int, mel_stripes: int, mel_width: int) -> Tensor:
    """Zero stripes of x [batch, 1, time, mels]; after BatchNorm, zero is the batch mean (arXiv 1904.08779).

    Each stripe's width is uniform in 0 .. width - 1 and its start uniform in what then fits.
    """
    batch, _, time, mels = x.shape
    if sharers() > 1:  # stripes are drawn for the whole batch
        batch = int(summed(torch.tensor(batch, device=x.device)))
    over_time = _kept(batch, time, time_stripes, time_width, x.device)
    over_mels = _kept(batch, mels, mel_stripes, mel_width, x.device)
    kept = own(from_first(over_time))[:, None, :, None] & own(from_first(over_mels))[:, None, None, :]
    return x * kept


def _kept(batch: int, length: int, stripes: int, width: int, device: torch.device) -> Tensor:
    """Random mask, False in stripes: bool [batch, length]."""
    widths = torch.randint(0, min(width, length), (batch, stripes, 1), device=device)
    starts = (torch.rand(batch, stripes, 1, device=device) * (length - widths)).long()
    positions = torch.arange(length, device=device)
    return ~((positions >= starts) & (positions < starts + widths)).any(dim=1)
