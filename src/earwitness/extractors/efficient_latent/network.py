"""EfficientLatent: EfficientNet-B2 on a log-mel spectrogram, as the HEAR 2021 entry of team RedRice uses it.

State-dict names, shapes and order are those of the public ``effb2.pt``, front end included;
the network is that of efficientnet_pytorch 0.7.1. For inference: what the original does in training only (drop-connect)
is left out.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.extractors.efficient_latent import EfficientLatentOptions
from earwitness.extractors.inference import arrange, fold
from earwitness.extractors.networks import NetworkExtractor

SAMPLE_RATE = 16000  # Hz
DIMENSION = 1408
STFT_HOP = 160  # samples
REDUCTION = 32  # STFT frames for each frame of the network
HOP = REDUCTION * STFT_HOP  # samples between frames: 0.32 s
MINIMUM = 3 * STFT_HOP  # samples; a shorter clip has fewer than the four STFT frames that one frame needs

WINDOW = 512  # samples, also the FFT's length
MELS = 64
AMIN = 1e-10  # what the power is floored at before the logarithm
TOP_DB = 120.0  # the floor below the loudest value
IMAGE = 260  # width and height of the images EfficientNet-B2 was designed for
EPSILON = 1e-3  # of the batch normalisations

Padding = Literal["static", "same"]
# The normalisation that follows each convolution, by their names in the network and in its blocks.
NORMALISED = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


class Stage(NamedTuple):
    """Blocks of one kind; ``stride`` is that of the first, the others have 1."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    outputs: int


STEM = 32
STAGES = (
    Stage(2, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
    Stage(2, 3, 1, 6, 352),
)


def frames_of(samples: int, padding: Padding = "static") -> int:
    """Frames that the network makes of a clip of so many samples; 0 for fewer than MINIMUM."""
    if samples < MINIMUM:
        return 0
    stft = samples // STFT_HOP + 1
    # With static padding the first two strides round down, the other three up; with `same` all five round up.
    return -(-(stft // 4) // 8) if padding == "static" else -(-stft // REDUCTION)


def mel_filters() -> Tensor:
    """Triangles, linear in Hz, on the HTK scale from 0 to 8000 Hz without normalisation: [bins, mels].

    In float32 throughout, as torchaudio computes them: in float64 they differ by 5e-6, which these networks amplify.
    """
    bins = torch.linspace(0, SAMPLE_RATE // 2, WINDOW // 2 + 1)  # Hz
    highest = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, highest, MELS + 2) / 2595) - 1)  # Hz, [mels + 2]
    widths = corners.diff()
    distances = corners[None] - bins[:, None]  # [bins, mels + 2]
    rising, falling = -distances[:, :-2] / widths[:-1], distances[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp_min(0)


class Spectrogram(nn.Module):
    """Power spectrogram with centred windows and reflection at the edges."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW))

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveform,
            n_fft=WINDOW,
            hop_length=STFT_HOP,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        return spectrum.abs().square()  # [clips, bins, time]


class MelScale(nn.Module):
    """Sums of frequency bins under the triangles."""

    fb: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fb", mel_filters())

    def forward(self, power: Tensor) -> Tensor:
        return (power.transpose(1, 2) @ self.fb).transpose(1, 2)  # [clips, mels, time]


class MelSpectrogram(nn.Module):
    """Waveform to mel power: [clips, samples] -> [clips, mels, time]."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = Spectrogram()
        self.mel_scale = MelScale()

    def forward(self, waveform: Tensor) -> Tensor:
        return self.mel_scale(self.spectrogram(waveform))


class Decibels(nn.Module):
    """Power to dB, not more than 120 dB below the loudest value of the clip, or of the batch as the original does."""

    def __init__(self, floor: Literal["clip", "batch"]):
        super().__init__()
        self.floor = floor

    def forward(self, power: Tensor) -> Tensor:
        levels = 10 * power.clamp_min(AMIN).log10()
        loudest = levels.amax(dim=(1, 2), keepdim=True) if self.floor == "clip" else levels.max()
        return levels.maximum(loudest - TOP_DB)


def border(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis so that its length is divided by the stride and rounded up."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Conv(nn.Conv2d):
    """Convolution padded for square images of ``size`` (``static``), or for the size of what comes (``same``)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, size: int, padding: Padding, groups: int = 1
    ):
        before, after = border(size, kernel, stride)
        even = padding == "static" and before == after
        super().__init__(inputs, outputs, kernel, stride, before if even else 0, groups=groups, bias=False)
        self.even = even  # then the convolution pads by itself, without a copy
        self.static = (before, after) if padding == "static" else None

    def forward(self, x: Tensor) -> Tensor:
        if not self.even:
            kernel, stride = self.kernel_size[0], self.stride[0]
            mel, time = (self.static or border(size, kernel, stride) for size in x.shape[2:])
            x = functional.pad(x, (*time, *mel))
        return super().forward(x)


def pointwise(inputs: int, outputs: int, bias: bool = False) -> nn.Conv2d:
    """1x1 convolution."""
    return nn.Conv2d(inputs, outputs, 1, bias=bias)


def normalisation(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation as EfficientNet has it."""
    return nn.BatchNorm2d(channels, eps=EPSILON)


class Block(nn.Module):
    """MBConv: expand, depthwise convolution, squeeze and excitation, project; with a skip where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int, size: int, padding: Padding):
        super().__init__()
        wide, squeezed = inputs * expand, max(1, inputs // 4)
        self.expands = expand != 1
        self.skips = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = pointwise(inputs, wide)
            self._bn0 = normalisation(wide)
        self._depthwise_conv = Conv(wide, wide, kernel, stride, size, padding, groups=wide)
        self._bn1 = normalisation(wide)
        self._se_reduce = pointwise(wide, squeezed, bias=True)
        self._se_expand = pointwise(squeezed, wide, bias=True)
        self._project_conv = pointwise(wide, outputs)
        self._bn2 = normalisation(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs  # [clips, inputs, mel, time]
        if self.expands:
            x = functional.silu(self._bn0(self._expand_conv(x)))  # [clips, wide, mel, time]
        x = functional.silu(self._bn1(self._depthwise_conv(x)))  # [clips, wide, mel / stride, time / stride]
        squeezed = functional.silu(self._se_reduce(x.mean(dim=(2, 3), keepdim=True)))  # [clips, squeezed, 1, 1]
        x = x * self._se_expand(squeezed).sigmoid()
        x = self._bn2(self._project_conv(x))  # [clips, outputs, mel / stride, time / stride]
        return x + inputs if self.skips else x


class EfficientLatent(nn.Module):
    """Front end and EfficientNet-B2 with one input channel, without its classifier.

    Args:
        floor: whether levels are cut off 120 dB below the loudest value of the clip or of the batch. With ``batch``, as
            in the original, the frames of a clip depend on the clips beside it.
        padding: of the convolutions. ``static``, as in the original and as the public weights need it, pads every
            spectrogram as if it were an image of 260 x 260; ``same`` pads for the size of the spectrogram.
    """

    def __init__(self, floor: Literal["clip", "batch"] = "clip", padding: Padding = "static"):
        super().__init__()
        self._conv_stem = Conv(1, STEM, 3, 2, IMAGE, padding)
        self._bn0 = normalisation(STEM)
        self._blocks = nn.ModuleList()
        channels, size = STEM, IMAGE // 2
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = 1 if number else stage.stride
                block = Block(channels, stage.outputs, stage.kernel, stride, stage.expand, size, padding)
                self._blocks.append(block)
                channels, size = stage.outputs, -(-size // stride)
        self._conv_head = pointwise(channels, DIMENSION)
        self._bn1 = normalisation(DIMENSION)
        self.front_end = nn.Sequential(MelSpectrogram(), Decibels(floor))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.damp()

    def logmel(self, waveform: Tensor) -> Tensor:
        """Mel levels in dB: [clips, samples] -> [clips, 64, samples // 160 + 1]."""
        return self.front_end(waveform)

    def maps(self, logmel: Tensor) -> Tensor:
        """Feature maps of the last convolution: [clips, 64, time] -> [clips, 1408, 2, frames]."""
        x = logmel[:, None].to(self._conv_stem.weight.dtype)
        x = functional.silu(self._bn0(self._conv_stem(x)))  # [clips, 32, 32, time // 2]
        for block in self._blocks:
            x = block(x)  # at the end [clips, 352, 2, frames]
        return functional.silu(self._bn1(self._conv_head(x)))

    def forward(self, waveform: Tensor) -> Tensor:
        """Frames, the mean over the two mel rows of the last maps.

        Args:
            waveform: float32 or float64 [clips, samples] in [-1, 1], mono, at SAMPLE_RATE, all clips equally long and
                of MINIMUM samples or more: the caller pads shorter ones with zeros.

        Returns:
            [clips, frames_of(samples), 1408] in the waveform's precision.
        """
        return self._frames(self.logmel(waveform))

    def clip_embedding(self, frames: Tensor) -> Tensor:
        """One vector for each clip, the mean of its frames: [clips, frames, 1408] -> [clips, 1408]."""
        return frames.mean(dim=1)

    def timestamps(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """The frames on the 10 ms grid of the STFT, as HEAR asks for them.

        Every frame is given 32 times; the last is repeated where the grid is longer, and both ends are cut where it is
        shorter.

        Returns:
            Frames [clips, samples // 160 + 1, 1408] and their times in milliseconds, int64 [samples // 160 + 1].
        """
        logmel = self.logmel(waveform)
        frames = self._frames(logmel)
        repeated, wanted = frames.shape[1] * REDUCTION, logmel.shape[2]
        grid = torch.arange(wanted, device=waveform.device)
        places = (grid + max(0, repeated // 2 - wanted // 2)).clamp_max(repeated - 1)
        return frames[:, places // REDUCTION], grid * (1000 * STFT_HOP // SAMPLE_RATE)

    def _frames(self, logmel: Tensor) -> Tensor:
        return self.maps(logmel).to(logmel.dtype).mean(dim=2).transpose(1, 2)

    def damp(self) -> None:
        """Halve the residual branches, in a network with random weights whose normalisations are the identity.

        At full weight, rounding errors would grow from block to block, up to a thousandth of the largest value.
        """
        blocks: Any = self._blocks
        for block in blocks:
            if block.skips:
                nn.init.constant_(block._bn2.weight, 0.5)

    def fast(self, dtype: torch.dtype = torch.float32) -> Self:
        """A copy for inference alone: BatchNorm folded into the convolutions, these in ``dtype`` and channels last.

        In float32 it gives what the network gives, up to rounding. The front end and the frames that come out keep the
        network's precision whatever ``dtype`` is.
        """
        network = copy.deepcopy(self).eval().requires_grad_(False)
        fold(network, NORMALISED)
        for part in (network._conv_stem, network._blocks, network._conv_head):
            arrange(part, dtype)
        return network


class EfficientLatentExtractor(NetworkExtractor):
    """EfficientLatent."""

    options: EfficientLatentOptions

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, MINIMUM
    computed = ("front_end",)
    cpu_batch = {"float32": 10, "bfloat16": 40}

    def __init__(self, options: EfficientLatentOptions):
        super().__init__(options)
        if options.floor == "batch":  # frames depend on what runs together, which must be the same on every machine
            self.batch_seconds, self.divisible = 40, False

    def build(self) -> nn.Module:
        return EfficientLatent(self.options.floor, self.options.padding)
