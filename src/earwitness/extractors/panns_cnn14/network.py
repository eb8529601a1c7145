"""PANNs Cnn14: AudioSet tagging, mAP 0.431 (arXiv 1912.10211). The parts are in ``panns``."""

from __future__ import annotations

from torch import nn

from earwitness.extractors.panns import FRONT_END, FrontEnd, Panns, PannsExtractor

SAMPLE_RATE = 32000  # Hz
DIMENSION = 2048
HOP = 10240  # samples between two frames: 5 blocks halve the time of the spectrogram's hop, 320
MINIMUM = 9920  # samples: 32 frames of the spectrogram; a shorter clip is the caller's to pad with zeros

CHANNELS = (64, 128, 256, 512, 1024, DIMENSION)


class Cnn14(Panns):
    """Waveform [clips, samples] -> frame features [clips, frames, 2048]: the mean over mel after the sixth block.

    ``front_end=FRONT_END_16K`` makes it the network of the public file ``Cnn14_16k_mAP=0.438.pth``.
    """

    def __init__(self, front_end: FrontEnd = FRONT_END):
        super().__init__(CHANNELS, last_pool=1, front_end=front_end)


def frames_of(samples: int) -> int:
    """Frame features of a clip of ``samples``, none below ``MINIMUM``."""
    return (samples // FRONT_END.hop + 1) // (HOP // FRONT_END.hop)


class PannsCnn14Extractor(PannsExtractor):
    """PANNs' Cnn14."""

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, MINIMUM
    memory_mb = 2000  # of 81 million weights, twice while they are loaded

    def build(self) -> nn.Module:
        return Cnn14()
