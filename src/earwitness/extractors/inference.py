"""Networks prepared for fast inference: BatchNorm folded into convolutions, these in the fastest layout and precision.

In float32 the output is the same up to rounding. The state dict then has other entries than the public file.
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
    """Convert the weights of ``part`` to ``dtype``, in the memory format that is fastest on its device.

    That is channels last, except for float32 on a GPU (H100: up to five times slower).
    """
    plain = dtype == torch.float32 and any(parameter.is_cuda for parameter in part.parameters())
    layout = torch.contiguous_format if plain else torch.channels_last
    part.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]  # its stub lacks one for both at once
