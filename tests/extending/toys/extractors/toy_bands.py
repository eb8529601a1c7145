"""Band energies: the worked example of an extractor in docs/extending.md."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from earwitness.extractors.interface import Extractor
from earwitness.options import FeatureOptions


class ToyBandsOptions(FeatureOptions):
    """Log energies in bands of equal width, in frames that do not overlap."""

    extractor: Literal["toy_bands"]
    sample_rate: PositiveInt = 16000
    bands: PositiveInt = 32
    frame: PositiveFloat = 0.05  # seconds


class ToyBands(Extractor):
    """Waveform -> log energies of bands."""

    def __init__(self, options: ToyBandsOptions):
        self.sample_rate = options.sample_rate
        self.dimension = options.bands
        self.hop = round(options.frame * options.sample_rate)  # samples
        self.window_seconds = self.hop / self.sample_rate

    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        """Frames of clips of one length: float32 [clips, samples] -> float32 [clips, frames, bands]."""
        clips, samples = waveforms.shape
        if samples < self.hop:  # a clip that is too short for a frame goes on in zeros
            waveforms = np.pad(waveforms, ((0, 0), (0, self.hop - samples)))
        count = max(1, samples // self.hop)
        windows = waveforms[:, : count * self.hop].reshape(clips, count, self.hop) * np.hanning(self.hop)
        power = np.abs(np.fft.rfft(windows)) ** 2  # [clips, frames, bins]
        energies = [band.mean(axis=2) for band in np.array_split(power, self.dimension, axis=2)]
        return np.log(np.stack(energies, axis=2) + 1e-6).astype(np.float32)
