"""The audio tower of WavCaps' CLAP: PANNs' Cnn14 with its last pooling halved too, and a projection (arXiv 2303.17395).

A clip is read whole, as WSAC does; WavCaps' own training took 30 s at random. One of more than 5 minutes is read in
windows of these, half overlapping or more, and the mean of their vectors is scaled to length 1: memory grows with what
is read at once, about 2 GB for 5 minutes.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.clap.towers import projection
from earwitness.clap.wavcaps import weights as wavcaps
from earwitness.clap.windows import embed_windows
from earwitness.extractors.networks import NetworkExtractor
from earwitness.extractors.panns import FRONT_END, LogMel, Spectrogram, Trunk, hasten
from earwitness.extractors.panns_cnn14.network import CHANNELS

SAMPLE_RATE = FRONT_END.sample_rate
DIMENSION = 1024
MINIMUM = 63 * FRONT_END.hop  # samples: 64 frames of the spectrogram, which six poolings halve to one
LONGEST = 300 * SAMPLE_RATE  # samples of a clip that is read whole
HOP = 64 * FRONT_END.hop  # of a single frame


class FrontEnd(nn.Module):
    """Waveform [clips, samples] -> decibels [clips, time, 64], under the names of WavCaps' files."""

    def __init__(self) -> None:
        super().__init__()
        self.mel_trans = Spectrogram(FRONT_END.window, FRONT_END.hop)
        self.log_trans = LogMel(FRONT_END)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.log_trans(self.mel_trans(waveform))


class Encoder(Trunk):
    """Waveform [clips, samples] -> [clips, 2048]: the maximum and the mean over time, added."""

    def __init__(self) -> None:
        super().__init__(FRONT_END.mels, CHANNELS)
        self.audio_feats_extractor = FrontEnd()

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.convolve(self.normalise(self.audio_feats_extractor(waveform)))  # [clips, 2048, time // 64]
        return x.amax(dim=2) + x.mean(dim=2)


class AudioTower(nn.Module):
    """Waveforms [clips, samples] -> vectors of length 1 [clips, 1, 1024]; clips have ``MINIMUM`` samples or more."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = nn.ModuleDict({"audio_enc": Encoder()})
        self.audio_proj = projection(CHANNELS[-1], DIMENSION)

    def forward(self, waveform: Tensor) -> Tensor:
        if waveform.shape[1] > LONGEST:
            return embed_windows(waveform, LONGEST, 1, self.embed)[:, None]
        return self.embed(waveform)[:, None]

    def embed(self, waveform: Tensor) -> Tensor:
        """Waveforms [clips, samples], each whole -> vectors of length 1 [clips, 1024]."""
        return functional.normalize(self.audio_proj(self.audio_encoder["audio_enc"](waveform)), dim=-1)

    def fast(self, dtype: torch.dtype = torch.float32) -> Self:
        """A copy for inference alone, its convolutions in ``dtype``, as ``Panns.fast`` has them."""
        tower = copy.deepcopy(self).eval().requires_grad_(False)
        encoder: Any = tower.audio_encoder["audio_enc"]
        hasten(encoder, encoder.audio_feats_extractor.mel_trans, dtype)
        return tower


def frames_of(samples: int) -> int:
    """Always 1: a vector for the whole clip."""
    return 1


class ClapWavcapsExtractor(NetworkExtractor):
    """Audio tower of WavCaps' CLAP."""

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, MINIMUM
    computed = ("audio_encoder.audio_enc.audio_feats_extractor",)
    memory_mb = 2000
    gpu_batch = {"float32": 40, "bfloat16": 160}  # as of PANNs

    def build(self) -> nn.Module:
        return AudioTower()

    def entries(self) -> dict[str, Tensor]:
        return wavcaps.read(self.options.checkpoints()["weights"], "audio_encoder.", "audio_proj.")
