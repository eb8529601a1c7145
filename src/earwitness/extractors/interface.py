"""What the extraction asks of an extractor.

To add one, say ``yamnet``, which needs no edit elsewhere:

1. ``extractors/yamnet/__init__.py`` (cheap to import: no torch) has ``YamnetOptions``: a ``FeatureOptions`` with
   ``extractor: Literal["yamnet"]`` and what may be set. Of a network it is a ``NetworkOptions`` (``options.py``), whose
   ``PUBLISHED`` declares the published file of each option that names one: addresses, digests, and the entries by which
   the file is recognised. The rules, the fetching and the doctor know the file from there.
2. ``extractors/yamnet/network.py`` has the class that computes: an ``Extractor``, made from these options alone. Of a
   network it is a ``NetworkExtractor`` (``networks.py``), which asks for ``build()``; the network gives frames
   [clips, frames, dimension] for waveforms [clips, samples], and has ``fast(dtype)``, a copy for inference.
3. A line in ``registry.EXTRACTORS`` names both classes.
4. An entry under ``features`` in the configuration uses it: ``yamnet: {extractor: yamnet}``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Extractor(ABC):
    """Waveforms -> frames. Constructed in every process that extracts, from the options of its feature alone.

    Attributes:
        sample_rate: Hz; what recordings are resampled to.
        dimension: values of a frame.
        hop: samples from one frame to the next.
        window_seconds: length of the shortest clip that gives a frame; shorter ones are padded with zeros and counted.
        frames_per_clip: of every clip when it is read back; None: clips keep their length.
        fill: value of the frames that pad a clip to ``frames_per_clip``.
        batch_seconds: at most this much sound runs together, in clips of one length; a longer clip runs alone.
        memory_mb: memory that one process needs, with clips of half a minute.
        on_gpu: whether it runs on a GPU, where one process does all the work.
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
        """Frames of clips of one length; those of a clip do not depend on the other clips.

        Args:
            waveforms: float32 [clips, samples], mono, at ``sample_rate``.

        Returns:
            float32 [clips, frames, dimension], all finite: a feature file with other values is refused.
        """

    def too_long(self, seconds: float) -> bool:
        """Whether a clip is longer than the feature's options allow."""
        return False
