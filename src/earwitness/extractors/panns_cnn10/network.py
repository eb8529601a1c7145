"""PANNs Cnn10: AudioSet tagging, mAP 0.380 (arXiv 1912.10211). The parts are in ``panns``."""

from __future__ import annotations

from torch import nn

from earwitness.extractors.panns import FRONT_END, FrontEnd, Panns, PannsExtractor

SAMPLE_RATE = 32000  # Hz
DIMENSION = 512
HOP = 5120  # samples between two frames: 4 blocks halve the time of the spectrogram's hop, 320
MINIMUM = 4800  # samples: 16 frames of the spectrogram; a shorter clip is the caller's to pad with zeros

CHANNELS = (64, 128, 256, DIMENSION)


class Cnn10(Panns):
    """Waveform [clips, samples] -> frame features [clips, frames, 512]: the mean over mel after the fourth block."""

    def __init__(self, front_end: FrontEnd = FRONT_END):
        super().__init__(CHANNELS, last_pool=2, front_end=front_end)


def frames_of(samples: int) -> int:
    """Frame features of a clip of ``samples``, none below ``MINIMUM``."""
    return (samples // FRONT_END.hop + 1) // (HOP // FRONT_END.hop)


class PannsCnn10Extractor(PannsExtractor):
    """PANNs' Cnn10."""

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, MINIMUM

    def build(self) -> nn.Module:
        return Cnn10()
