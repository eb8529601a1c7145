"""The audio tower of LAION-CLAP: HTS-AT and a projection (Wu et al., arXiv 2211.06687).

As published, samples are cut to 16 bits, and shorter clips are repeated as often as they fit, then padded with zeros.
Of longer ones the published code takes 10 s at random; here they are read in windows of 10 s, equally spaced from the
first to the last sample and half overlapping or more, and the mean of their vectors is scaled to length 1.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.clap.laion import ClapLaionOptions
from earwitness.clap.laion import weights as laion
from earwitness.clap.laion.package import htsat
from earwitness.clap.towers import projection
from earwitness.clap.windows import embed_windows
from earwitness.extractors.networks import NetworkExtractor

SAMPLE_RATE = 48000  # Hz
WINDOW = 480000  # samples: 10 s
DIMENSION = 512
HOP = WINDOW  # of a single frame
STEPS = 32767  # of amplitude
TOGETHER = {"cpu": 4, "cuda": 32}  # windows at a time, however long a clip is


class AudioTower(nn.Module):
    """Waveforms [clips, samples] -> vectors of length 1 [clips, 1, 512]; ``name`` is that of the HTS-AT."""

    def __init__(self, name: str = "HTSAT-tiny"):
        super().__init__()
        self.audio_branch = htsat(name)
        self.audio_projection = projection(self.audio_branch.num_features, DIMENSION)
        self.precision = torch.float32  # of layers behind the front end

    def forward(self, waveform: Tensor) -> Tensor:
        """One vector for each clip, of any length: the mean of its windows', in batches of ``TOGETHER``."""
        together = TOGETHER[waveform.device.type]
        return embed_windows(waveform, WINDOW, together, lambda windows: self.embed(filled(windows)))[:, None]

    def embed(self, windows: Tensor) -> Tensor:
        """Windows [n, 480000] -> vectors of length 1 [n, 512]."""
        return functional.normalize(self.audio_projection(self.latent(self.logmel(windows))), dim=-1)

    def logmel(self, windows: Tensor) -> Tensor:
        """[n, samples] -> decibels [n, 1, time, 64]."""
        return self.audio_branch.logmel_extractor(self.audio_branch.spectrogram_extractor(windows))

    def latent(self, logmel: Tensor) -> Tensor:
        """Output of HTS-AT, the mean over its last patches: [n, 1, 1001, 64] -> [n, 768] (HTSAT-base: 1024)."""
        branch: Any = self.audio_branch
        image = branch.reshape_wav2img(branch.bn0(logmel.transpose(1, 3)).transpose(1, 3))  # [n, 1, 256, 256]
        lower = self.precision != torch.float32
        with torch.autocast(image.device.type, self.precision if lower else torch.bfloat16, enabled=lower):
            return branch.forward_features(image)["embedding"].float()

    def fast(self, dtype: torch.dtype = torch.float32) -> Self:
        """A copy for inference alone, HTS-AT in ``dtype`` behind the front end, whose spectrum is by FFT."""
        tower = copy.deepcopy(self).eval().requires_grad_(False)
        spectrogram: Any = tower.audio_branch.spectrogram_extractor
        spectrogram.fft = spectrogram.is_fourier()
        tower.precision = dtype
        return tower


def filled(windows: Tensor) -> Tensor:
    """Windows [n, samples] as the published code passes them to the network: [n, 480000]."""
    windows = (windows.clamp(-1, 1) * STEPS).trunc() / STEPS
    windows = windows.repeat(1, WINDOW // windows.shape[1])
    return functional.pad(windows, (0, WINDOW - windows.shape[1]))


def frames_of(samples: int) -> int:
    """Always 1: a vector for the whole clip."""
    return 1


class ClapLaionExtractor(NetworkExtractor):
    """Audio tower of LAION-CLAP."""

    options: ClapLaionOptions

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, 1
    computed = ("audio_branch.spectrogram_extractor", "audio_branch.logmel_extractor")
    memory_mb = 2000

    def build(self) -> nn.Module:
        if self.options.untrained:
            return AudioTower("HTSAT-tiny" if self.options.amodel == "auto" else self.options.amodel)
        path = self.options.checkpoints()["weights"]
        return AudioTower(laion.audio_model(path, laion.read(path), self.options.amodel))

    def entries(self) -> dict[str, Tensor]:
        found = laion.read(self.options.checkpoints()["weights"])
        return {name: value for name, value in found.items() if name.startswith(("audio_branch.", "audio_projection."))}
