"""What the PANNs networks Cnn10 and Cnn14 share (Kong et al., arXiv 1912.10211).

State-dict names and shapes are those of the public files, front end included, so that their ``model`` loads
unchanged. CL4AC's encoder is the ``Trunk`` alone, which reads log-mel frames.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.extractors.inference import arrange, fold
from earwitness.extractors.networks import NetworkExtractor

AMIN = 1e-10  # what the power is floored at before the logarithm
CLASSES = 527  # of AudioSet, which the public files were trained on
MANY = 1024  # channels from which a CPU multiplies matrices faster than it convolves: Cnn14's last two blocks


@dataclass(frozen=True)
class FrontEnd:
    """Settings of the log-mel spectrogram; the defaults are those of all public files but ``Cnn14_16k``."""

    sample_rate: int = 32000  # Hz
    window: int = 1024  # samples, also the length of the Fourier transform
    hop: int = 320  # samples
    mels: int = 64
    fmin: float = 50.0  # Hz
    fmax: float = 14000.0  # Hz


FRONT_END = FrontEnd()
FRONT_END_16K = FrontEnd(sample_rate=16000, window=512, hop=160, fmax=8000.0)


class Fixed(nn.Module):
    """A constant that the public file has under ``weight``."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer("weight", weight)


class Spectrogram(nn.Module):
    """Waveform -> power spectrum. The public files hold the Fourier transform of a window as two matrices.

    ``fft`` takes the fast Fourier transform in their place: the same up to rounding, and with less of it.
    """

    stft: Any  # an nn.ModuleDict of Fixed

    def __init__(self, window: int, hop: int):
        super().__init__()
        self.window, self.hop, self.fft = window, hop, False
        turns = torch.outer(torch.arange(window // 2 + 1), torch.arange(window)) % window / window  # [bins, window]
        angles = 2 * math.pi * turns.double()
        hann = torch.hann_window(window, dtype=torch.float64)
        real, imaginary = hann * angles.cos(), -hann * angles.sin()
        self.stft = nn.ModuleDict(
            {"conv_real": Fixed(real.float()[:, None]), "conv_imag": Fixed(imaginary.float()[:, None])}
        )  # each [bins, 1, window]

    def forward(self, waveform: Tensor) -> Tensor:
        x = functional.pad(waveform[:, None], (self.window // 2, self.window // 2), mode="reflect")[:, 0]
        x = x.unfold(1, self.window, self.hop)  # [clips, time, window]
        if self.fft:
            hann = self.stft["conv_real"].weight[0, 0]  # the row of frequency zero, whose cosines are 1
            return torch.view_as_real(torch.fft.rfft(x * hann)).square().sum(dim=-1)
        # A matrix product gives what the convolution gives, faster, and a GPU does not round it to TensorFloat-32.
        real = functional.linear(x, self.stft["conv_real"].weight[:, 0])  # [clips, time, bins]
        imaginary = functional.linear(x, self.stft["conv_imag"].weight[:, 0])
        return real.square() + imaginary.square()

    def is_fourier(self) -> bool:
        """Whether the matrices are the Fourier transform that they should be, whatever file they came from."""
        expected = Spectrogram(self.window, self.hop).state_dict()
        return all(
            torch.allclose(value.cpu().float(), expected[name], rtol=0, atol=2e-6)
            for name, value in self.state_dict().items()
        )


class LogMel(nn.Module):
    """Power spectrum -> decibels in mel bands."""

    melW: Tensor

    def __init__(self, front_end: FrontEnd):
        super().__init__()
        import librosa

        filters = librosa.filters.mel(
            sr=front_end.sample_rate,
            n_fft=front_end.window,
            n_mels=front_end.mels,
            fmin=front_end.fmin,
            fmax=front_end.fmax,
        )
        self.register_buffer("melW", torch.from_numpy(filters.T.copy()))  # [bins, mels]

    def forward(self, power: Tensor) -> Tensor:
        return 10 * (power @ self.melW).clamp_min(AMIN).log10()  # [clips, time, mels]


class ConvBlock(nn.Module):
    """Twice (3x3 convolution, BatchNorm, ReLU), then average pooling, which drops an odd last row."""

    def __init__(self, inputs: int, outputs: int, pool: int = 2):
        super().__init__()
        self.pool = pool
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        nn.init.xavier_uniform_(self.conv1.weight)
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.bn1(self.conv1(x)))  # [clips, outputs, time, mel]
        x = functional.relu_(self.bn2(self.conv2(x)))
        return functional.avg_pool2d(x, self.pool)  # [clips, outputs, time // pool, mel // pool]


class MatrixConv(nn.Module):
    """A 3x3 convolution as one matrix product, of the same weights.

    On a CPU it is two to three times faster than the convolution where a map has few rows and very many channels.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # [clips, time + 2, mel + 2, inputs]
        x = x.unfold(1, 3, 1).unfold(2, 3, 1).movedim(3, -1).flatten(3)  # [clips, time, mel, 3 * 3 * inputs]
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # [outputs, 3 * 3 * inputs], as channels last store it
        return functional.linear(x, weight, self.bias).permute(0, 3, 1, 2)  # [clips, outputs, time, mel]


class Trunk(nn.Module):
    """BatchNorm over the mel bands, and one convolution block for each entry of ``channels``.

    ``normalise`` and ``convolve`` are separate because SpecAugment belongs between them.
    """

    def __init__(self, mels: int, channels: Sequence[int], last_pool: int = 2):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(mels)
        pools = [2] * (len(channels) - 1) + [last_pool]
        for i, (inputs, outputs, pool) in enumerate(zip((1, *channels), channels, pools, strict=False), start=1):
            self.add_module(f"conv_block{i}", ConvBlock(inputs, outputs, pool))

    def blocks(self) -> list[ConvBlock]:
        """The convolution blocks in their order."""
        return [module for module in self.children() if isinstance(module, ConvBlock)]

    def normalise(self, logmel: Tensor) -> Tensor:
        """BatchNorm over clips and time for each band: [clips, time, mels] -> [clips, 1, time, mels]."""
        x = logmel[:, None].transpose(1, 3)  # [clips, mels, time, 1]
        return self.bn0(x).transpose(1, 3)

    def convolve(self, x: Tensor, dropout: float = 0.2) -> Tensor:
        """The blocks, dropout after each, then the mean over mel.

        Returns [clips, channels, time // 2 for each block that halves it], of the type that ``x`` has.
        """
        precision = x.dtype
        for block in self.blocks():
            x = functional.dropout(block(x.to(block.conv1.weight.dtype)), dropout, self.training)
        return x.mean(dim=3, dtype=precision)


class Panns(Trunk):
    """A whole PANNs network: log-mel front end, trunk, and the two heads of clip embedding and classes."""

    def __init__(self, channels: Sequence[int], last_pool: int, front_end: FrontEnd, classes: int = CLASSES):
        super().__init__(front_end.mels, channels, last_pool)
        self.spectrogram_extractor = Spectrogram(front_end.window, front_end.hop)
        self.logmel_extractor = LogMel(front_end)
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.fc_audioset = nn.Linear(channels[-1], classes)
        for linear in (self.fc1, self.fc_audioset):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def logmel(self, waveform: Tensor) -> Tensor:
        """[clips, samples] in [-1, 1] -> decibels [clips, samples // hop of the front end + 1, mels]."""
        power = self.spectrogram_extractor(waveform.to(self.bn0.weight.dtype))  # [clips, time, bins]
        return self.logmel_extractor(power)

    def forward(self, waveform: Tensor) -> Tensor:
        """The frame features of clips of one length.

        Args:
            waveform: [clips, samples] in [-1, 1], mono, at the front end's rate, at least as long as the network's
                ``MINIMUM`` says.

        Returns:
            [clips, frames, channels], all values >= 0, in the network's precision.
        """
        x = self.normalise(self.logmel(waveform))  # [clips, 1, time, mels]
        return self.convolve(x).transpose(1, 2)

    def clip_embedding(self, frames: Tensor) -> Tensor:
        """One vector for a clip, from its frame features: [clips, frames, channels] -> [clips, channels]."""
        x = frames.amax(dim=1) + frames.mean(dim=1)
        return functional.relu(self.fc1(x))

    def classify(self, embedding: Tensor) -> Tensor:
        """Probabilities of AudioSet's classes, from clip embeddings: [clips, channels] -> [clips, classes]."""
        return torch.sigmoid(self.fc_audioset(embedding))

    def fast(self, dtype: torch.dtype = torch.float32) -> Self:
        """A copy for inference alone: BatchNorm folded into the convolutions, these in ``dtype`` and channels last.

        On a CPU the widest convolutions are matrix products. The spectrum is by fast Fourier transform, unless the
        file's matrices are no such transform. In float32 the copy gives what the network gives, up to rounding. Front
        end, ``bn0``, heads and the features that come out keep the network's precision whatever ``dtype`` is. The
        copy's state dict has other names than the public file.
        """
        network = copy.deepcopy(self).eval().requires_grad_(False)
        hasten(network, network.spectrogram_extractor, dtype)
        return network


def hasten(trunk: Trunk, spectrogram: Spectrogram, dtype: torch.dtype) -> None:
    """Prepare a trunk and its front end for inference alone, as ``Panns.fast`` says."""
    spectrogram.fft = spectrogram.is_fourier()
    fold(trunk, {"conv1": "bn1", "conv2": "bn2"})
    for block in trunk.blocks():
        arrange(block, dtype)
        if block.conv1.out_channels >= MANY and block.conv1.weight.device.type == "cpu":
            part: Any = block
            part.conv1, part.conv2 = MatrixConv(block.conv1), MatrixConv(block.conv2)


class PannsExtractor(NetworkExtractor):
    """What both networks share as extractors."""

    computed = ("spectrogram_extractor", "logmel_extractor")
    gpu_batch = {"float32": 40, "bfloat16": 160}  # in float32 160 s take cuDNN six times as long, and 36 GB
