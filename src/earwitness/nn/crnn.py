"""The convolutional recurrent encoder of audio-caption alignment (Xie et al., arXiv 2110.02939, as its code has it).

N clips, T frames, F mel bands, H hidden units of each direction of the GRU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CHANNELS = (32, 128, 128, 128, 128)
STEP = 4  # frames of a step of the GRU: time is halved twice
REACH = 16  # frames beyond a step's that it depends on, a multiple of STEP, and at least 13
BLOCK = 8192  # frames of a long clip that pass the convolutions at a time
TINY = 1e-28  # of the root's argument


class Crnn(nn.Module):
    """Frames of a log-mel spectrogram -> one vector for each.

    With ``mask_pads`` a clip's vectors do not depend on what it shares a batch with: what is beyond its end is zero for
    the convolutions, does not enter the statistics of batch normalisation, and is not seen by the GRU. Without it
    padding is treated as sound, as published.
    """

    def __init__(
        self,
        mels: int = 64,
        hidden: int = 150,
        dropout: float = 0.3,
        mask_pads: bool = True,
        channels: Sequence[int] = CHANNELS,
    ):
        super().__init__()
        self.size, self.mask_pads = 2 * hidden, mask_pads
        layers: list[nn.Module] = []
        inputs, bands = 1, mels
        for number, outputs in enumerate(channels):
            # Batch normalisation stands before each convolution.
            layers += [
                nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.LeakyReLU(0.1, inplace=True),
            ]
            if number in (0, 2, 4):
                layers.append(PowerPool((1 if number == 4 else 2, 4)))
                bands //= 4
            inputs = outputs
        # Convolutions are a fifth faster on a CPU where channels lie beside each other.
        self.features = nn.Sequential(*layers, nn.Dropout(dropout))
        self.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.gru = nn.GRU(channels[-1] * bands, hidden, batch_first=True, bidirectional=True)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """[N, T, F] and the number of frames of each clip, int64 [N] -> [N, T, 2 * H]."""
        return self.spread(self.steps(frames, lengths), lengths, frames.shape[1], 0, frames.shape[1])

    def spread(self, steps: Tensor, lengths: Tensor, longest: int, start: int, stop: int) -> Tensor:
        """Vectors of the frames from ``start`` to ``stop`` of clips with ``longest`` frames at most, from the GRU's."""
        ends = lengths if self.mask_pads else torch.full_like(lengths, longest)
        return upsampled(steps, self._steps_of(ends), ends, start, stop)

    def steps(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The GRU's outputs, one for STEP frames: [N, T, F] -> [N, T // STEP, 2 * H], at least one."""
        missing = STEP - frames.shape[1]
        if missing > 0:
            frames = functional.pad(frames, (0, 0, 0, missing))
        if self.training or frames.shape[1] <= BLOCK + 2 * REACH:
            x = self._convolved(frames, lengths)
        else:  # the same values, block by block
            x = torch.cat([self._block(frames, lengths, at) for at in range(0, frames.shape[1], BLOCK)], dim=1)
        steps = self._steps_of(lengths)
        if not self.mask_pads or bool((steps == x.shape[1]).all()):
            return self.gru(x)[0]
        packed = pack_padded_sequence(x, steps.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[1])[0]

    def _steps_of(self, lengths: Tensor) -> Tensor:
        return (lengths // STEP).clamp(min=1)

    def _block(self, frames: Tensor, lengths: Tensor, at: int) -> Tensor:
        """The convolutions' steps of the frames from ``at`` on, from these and their neighbours."""
        start = max(0, at - REACH)
        part = self._convolved(frames[:, start : at + BLOCK + REACH], lengths - start)
        skipped = (at - start) // STEP
        return part[:, skipped : skipped + BLOCK // STEP]

    def _convolved(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """[N, T, F] -> [N, T // STEP, channels * bands]."""
        x = frames[:, None]
        here = torch.arange(x.shape[2], device=x.device) < lengths[:, None] if self.mask_pads else None
        if here is not None and bool(here.all()):
            here = None
        for layer in self.features:
            if here is None:
                x = layer(x)
            elif isinstance(layer, nn.BatchNorm2d):
                x = normalised(layer, x, here)
            else:
                x = layer(x)
                if isinstance(layer, PowerPool) and layer.kernel[0] == 2:
                    here = here[:, 1::2]  # a last frame without a partner is dropped
        return x.transpose(1, 2).flatten(2)


class PowerPool(nn.Module):
    """The fourth root of the sum of fourth powers over windows that do not overlap."""

    def __init__(self, kernel: tuple[int, int]):
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        return _PowerPool.apply(x, self.kernel)


class _PowerPool(torch.autograd.Function):
    """With a gradient that takes a third of the time of autograd's, and is finite where all values are 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: tuple[int, int]) -> Tensor:
        squares = x * x
        pooled = functional.avg_pool2d(squares * squares, kernel, divisor_override=1).clamp(min=TINY).sqrt().sqrt()
        ctx.save_for_backward(x, squares, pooled)
        ctx.kernel = kernel
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, squares, pooled = ctx.saved_tensors
        scaled = gradient / (pooled * pooled * pooled)
        spread = functional.interpolate(scaled, scale_factor=ctx.kernel)
        missing = [x.shape[side] - spread.shape[side] for side in (3, 2)]
        if any(missing):  # rows without a partner, which are in no window
            spread = functional.pad(spread, (0, missing[0], 0, missing[1]))
        return spread * squares * x, None


def normalised(norm: nn.BatchNorm2d, x: Tensor, here: Tensor) -> Tensor:
    """Batch normalisation of [N, C, T, F] with the statistics of frames that are there, mask [N, T]; else 0."""
    if not norm.training:
        return norm(x) * here[:, None, :, None]
    rows = x.permute(0, 2, 3, 1)[here]  # [frames, F, C], as they lie in memory
    # Not by transposing, of which torch 2.13.0 has wrong gradients on a CPU
    # (findings/torch-batch-norm-before-a-sequence.sh).
    rows = norm(rows[:, :, None].permute(0, 3, 1, 2))
    result = torch.zeros_like(x).permute(0, 2, 3, 1)
    result[here] = rows.permute(0, 2, 3, 1)[:, :, 0].to(result.dtype)
    return result.permute(0, 3, 1, 2)


def upsampled(values: Tensor, steps: Tensor, lengths: Tensor, start: int, stop: int) -> Tensor:
    """Frames ``start`` to ``stop`` of values [N, S, D], of which each clip has ``steps`` [N], spread over ``lengths``.

    Linear between the middles of steps, as torch's interpolation without aligned corners: [N, stop - start, D].
    """
    frames = torch.arange(start, stop, device=values.device)
    scale = (steps / lengths.clamp(min=1)).to(torch.float64)[:, None]
    places = ((frames + 0.5) * scale - 0.5).clamp(min=0)
    last = (steps - 1)[:, None]
    before = torch.minimum(places.long(), last)
    after = torch.minimum(before + 1, last)
    share = (places - before).clamp(0, 1).to(values.dtype)[..., None]
    rows = torch.arange(len(values), device=values.device)[:, None]
    return torch.lerp(values[rows, before], values[rows, after], share)
