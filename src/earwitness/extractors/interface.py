"""What the extraction asks of an extractor; a further one is a class of this kind and a line in ``registry.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Extractor(ABC):
    """Waveforms -> frames. Made anew in every process that extracts, from the options of its feature alone.

    Attributes:
        sample_rate: Hz; what recordings are resampled to.
        dimension: values of a frame.
        hop: samples from one frame to the next.
        window_seconds: of the shortest clip that gives a frame; shorter ones are filled up with zeros, and counted.
        frames_per_clip: of every clip when it is read back; None: clips keep their own length.
        fill: what stands beyond a clip's end where ``frames_per_clip`` is longer.
        batch_seconds: sound that runs together at most, in clips of one length; a longer clip runs alone.
        memory_mb: what a process of it needs, with clips of half a minute.
        on_gpu: whether one process has all the work, since it has the GPU.
    """

    sample_rate: int
    dimension: int
    hop: float
    window_seconds: float
    frames_per_clip: int | None = None
    fill: float = 0.0
    batch_seconds: float = 0
    memory_mb: int = 600
    on_gpu: bool = False

    @abstractmethod
    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        """Frames of clips of one length; those of a clip do not depend on the others.

        Args:
            waveforms: float32 [clips, samples], mono, at ``sample_rate``.

        Returns:
            float32 [clips, frames, dimension].
        """

    def too_long(self, seconds: float) -> bool:
        """Whether a clip is longer than the feature's options allow."""
        return False
