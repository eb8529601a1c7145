"""VGGSound's ResNet: one 512-dimensional vector for every 0.318 s of sound (arXiv 2004.14368).

State-dict names and shapes are those of ``hche11/VGGSound``, whose files have the weights under ``model_state_dict``:
``H.pth.tar`` is the ResNet-18 with average pooling, ``I.pth.tar`` the one with NetVLAD.
"""

from __future__ import annotations

import copy
import math
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.extractors.inference import arrange, fold
from earwitness.extractors.networks import NetworkExtractor
from earwitness.extractors.vggsound import VggsoundOptions

SAMPLE_RATE = 16000  # Hz
WINDOW, STEP = 512, 159  # samples: 512 with an overlap of 353
TAPER = 64  # samples of each side of the window that rise or fall: Tukey, alpha 0.25
OFFSET = 1e-7  # added before the logarithm
STRIDE = 32  # spectrogram frames for one frame of the last stage
DIMENSION = 512  # of the ResNet-18; the ResNet-50 has 2048
HOP = STRIDE * STEP  # samples between two frames: 0.318 s
MINIMUM = WINDOW  # samples of the shortest clip
TILES = 10  # how often the reference repeats a clip before it cuts it
CLASSES = 309
CLUSTERS = 16


class Vggsound(nn.Module):
    """Waveforms -> the last stage of a ResNet on the log spectrogram, averaged over frequency.

    The spectrogram is standardised over the whole clip, so that every frame depends on the clip's length.

    Args:
        depth: layers of the ResNet; 18 is what ``H.pth.tar`` has.
        pooling: what makes the clip embedding; frames are the same with both.
        seconds: None takes the whole clip. A number does what the reference does with 10.0: the clip is repeated, at
            most ten times, and cut to that length.
    """

    def __init__(
        self,
        depth: Literal[18, 50] = 18,
        pooling: Literal["avgpool", "vlad"] = "avgpool",
        seconds: float | None = None,
    ):
        super().__init__()
        self.seconds = seconds
        self.audnet = ResNet(depth, pooling)
        self.dimension = self.audnet.channels

    def forward(self, waveform: Tensor) -> Tensor:
        """Frame features of each clip.

        Args:
            waveform: [clips, samples] in [-1, 1], mono, at ``SAMPLE_RATE``, at least ``MINIMUM`` samples: pad shorter
                clips with zeros first.

        Returns:
            [clips, ``frames_of(samples, seconds)``, 512], all values >= 0 (2048 with a depth of 50).
        """
        return self.frames(self.convolve(self.spectrogram(waveform)))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Standardised log spectrogram: [clips, samples] -> [clips, 257, spectrogram frames], mean 0 and variance 1.

        What ``scipy.signal.spectrogram(x, 16000, nperseg=512, noverlap=353)`` gives (power per Hz of segments without
        their mean), its natural logarithm, standardised over each clip. Calculated in float64, as the reference does.
        """
        x = self._cut(waveform).double().clamp(-1, 1)
        window = tukey(x.device)
        segments = x.unfold(-1, WINDOW, STEP)  # [clips, frames, 512]
        segments = (segments - segments.mean(dim=-1, keepdim=True)) * window
        power = torch.view_as_real(torch.fft.rfft(segments)).square().sum(dim=-1)  # [clips, frames, 257]
        density = power / (SAMPLE_RATE * window.square().sum())
        density[..., 1:-1] *= 2  # the negative frequencies
        levels = torch.log(density + OFFSET)
        deviation, mean = torch.std_mean(levels, dim=(1, 2), correction=0, keepdim=True)
        return ((levels - mean) / (deviation + 1e-9)).transpose(1, 2).to(self.audnet.head.weight.dtype)

    def convolve(self, spectrogram: Tensor) -> Tensor:
        """The last stage: [clips, 257, spectrogram frames] -> [clips, 512, 9, frames], all values >= 0."""
        x = spectrogram[:, None].to(self.audnet.conv1.weight.dtype)
        return self.audnet(x).to(spectrogram.dtype)

    def frames(self, maps: Tensor) -> Tensor:
        """Mean of the last stage over frequency: [clips, 512, 9, frames] -> [clips, frames, 512]."""
        return maps.mean(dim=2).transpose(1, 2)

    def clip_embedding(self, maps: Tensor) -> Tensor:
        """The last stage pooled to one vector for each clip: [clips, 512], or [clips, 16 * 512] with NetVLAD."""
        return self.audnet.avgpool(maps).flatten(1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Scores of VGGSound's 309 classes in alphabetical order, before the softmax, from clip embeddings."""
        return self.audnet.head(embedding)

    def fast(self, dtype: torch.dtype = torch.float32) -> Self:
        """A copy for inference alone: BatchNorm folded into the convolutions, these in ``dtype`` and channels last.

        In float32 it gives what the network gives, up to rounding. Front end, heads and the features that come out keep
        the network's precision whatever ``dtype`` is.
        """
        network = copy.deepcopy(self).eval().requires_grad_(False)
        fold(network, {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "0": "1"})  # the last pair: a shortcut's
        for part in network.audnet.children():
            if part not in (network.audnet.avgpool, network.audnet.head):
                arrange(part, dtype)
        return network

    def _cut(self, waveform: Tensor) -> Tensor:
        if self.seconds is None:
            return waveform
        length = round(self.seconds * SAMPLE_RATE)
        tiles = min(TILES, math.ceil(length / waveform.shape[-1]))
        return waveform.repeat(1, tiles)[:, :length]


class ResNet(nn.Module):
    """A ResNet with one input channel, up to its last stage; pooling and classifier are applied separately."""

    def __init__(self, depth: Literal[18, 50], pooling: Literal["avgpool", "vlad"]):
        super().__init__()
        block, blocks = BLOCKS[depth]
        wider = block.expansion
        self.channels = 512 * wider
        self.pooling = pooling
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(block, blocks[0], 64, 64, stride=1)
        self.layer2 = _stage(block, blocks[1], 64 * wider, 128, stride=2)
        self.layer3 = _stage(block, blocks[2], 128 * wider, 256, stride=2)
        self.layer4 = _stage(block, blocks[3], 256 * wider, 512, stride=2)
        if pooling == "avgpool":
            self.avgpool: nn.Module = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(self.channels, CLASSES)
        else:
            self.avgpool = NetVlad(self.channels)
            self.fc_ = nn.Linear(CLUSTERS * self.channels, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.stem(x))  # [clips, 64, bins / 4, frames / 4], rounded up, as all sizes below
        x = self.layer2(x)  # [clips, 128, bins / 8, frames / 8]
        x = self.layer3(x)  # [clips, 256, bins / 16, frames / 16]
        return self.layer4(x)  # [clips, 512, bins / 32, frames / 32]

    @property
    def head(self) -> nn.Linear:
        """The layer that scores classes."""
        return self.fc if self.pooling == "avgpool" else self.fc_

    def stem(self, x: Tensor) -> Tensor:
        """What comes before the first stage: [clips, 1, bins, frames] -> [clips, 64, bins / 4, frames / 4]."""
        x = functional.relu_(self.bn1(self.conv1(x)))
        return functional.max_pool2d(x, 3, stride=2, padding=1)


class BasicBlock(nn.Module):
    """Twice (3x3 convolution, BatchNorm), added to the input: the ResNet-18 is made of these."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu_(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu_(y + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, each with BatchNorm, added to the input: the ResNet-50 is made of these."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu_(self.bn1(self.conv1(x)))
        y = functional.relu_(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu_(y + self.downsample(x))


class NetVlad(nn.Module):
    """Residuals to cluster centres, weighted by soft assignment: [clips, channels, bins, frames] -> [clips, vector]."""

    def __init__(self, channels: int):
        super().__init__()
        self.centroids = nn.Parameter(torch.rand(CLUSTERS, channels))
        self.conv = nn.Conv2d(channels, CLUSTERS, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.normalize(x, dim=1)
        weights = self.conv(x).flatten(2).softmax(dim=1)  # [clips, 16, places]
        sums = weights @ x.flatten(2).transpose(1, 2)  # [clips, 16, channels]
        residuals = sums - weights.sum(dim=2, keepdim=True) * self.centroids
        return functional.normalize(functional.normalize(residuals, dim=2).flatten(1), dim=1)


BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]]
BLOCKS = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}  # by depth: kind, and how many in each stage


def _stage(block: type[BasicBlock | Bottleneck], blocks: int, inputs: int, width: int, stride: int) -> nn.Sequential:
    others = [block(width * block.expansion, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, width, stride), *others)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def tukey(device: torch.device) -> Tensor:
    """The window [512] in float64: flat, with a raised cosine of ``TAPER`` samples at each side; periodic."""
    places = torch.arange(WINDOW, dtype=torch.float64, device=device)
    from_edge = torch.minimum(places, WINDOW - places).clamp_max(TAPER)
    return 0.5 - 0.5 * torch.cos(math.pi * from_edge / TAPER)


def frames_of(samples: int, seconds: float | None = None) -> int:
    """Frames of a clip of ``samples`` samples with the setting ``seconds``, none below ``MINIMUM``."""
    if samples < MINIMUM:
        return 0
    if seconds is not None:
        samples = min(samples * TILES, round(seconds * SAMPLE_RATE))
    columns = (samples - WINDOW) // STEP + 1
    return math.ceil(columns / STRIDE)


class VggsoundExtractor(NetworkExtractor):
    """VGGSound's ResNet-18."""

    options: VggsoundOptions

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, MINIMUM

    def build(self) -> nn.Module:
        return Vggsound(seconds=self.options.seconds)
