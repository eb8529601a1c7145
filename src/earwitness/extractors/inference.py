"""Networks as they run fastest: BatchNorm folded into convolutions, these in the order and precision that suit best.

In float32 a network gives what it gave, up to rounding. Its state dict then has other entries than the public file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(network: nn.Module, normalised: Mapping[str, str]) -> None:
    """Fold BatchNorm into the convolution before it, wherever a part of ``network`` has both; in evaluation mode only.

    ``normalised`` has the name of each normalisation by that of its convolution, as the parts call them.
    """
    for part in list(network.modules()):
        for convolution, normalisation in normalised.items():
            conv, norm = getattr(part, convolution, None), getattr(part, normalisation, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(part, convolution, fuse_conv_bn_eval(conv, norm))
                setattr(part, normalisation, nn.Identity())


def arrange(part: nn.Module, dtype: torch.dtype) -> None:
    """Have the weights of ``part`` in ``dtype``, stored as convolutions read them fastest where ``part`` lies.

    That is channels last, but for float32 on a GPU (H100: up to five times slower).
    """
    plain = dtype == torch.float32 and any(parameter.is_cuda for parameter in part.parameters())
    part.to(dtype=dtype, memory_format=torch.contiguous_format if plain else torch.channels_last)
