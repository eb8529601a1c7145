"""The networks as extractors: built, filled with their weights, and run on batches of equally long clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from earwitness.extractors import checkpoints, efficient_latent, panns_cnn10, panns_cnn14, vggish, vggsound
from earwitness.extractors.options import UNTRAINED, NetworkOptions

FRONT_ENDS = ("spectrogram_extractor", "logmel_extractor", "front_end")  # entries that networks compute themselves


class NetworkExtractor(ABC):
    """Waveforms -> frames of a network. The weights are loaded when they are first needed.

    Attributes: ``sample_rate`` in Hz, ``dimension`` of a frame, ``hop`` in samples from one frame to the next,
    ``minimum`` samples of a clip: shorter ones are filled up with zeros, and counted. ``batch_size`` clips at most are
    run together.
    """

    MODULE: Any  # the module of the network, with its constants
    fill, frames_per_clip = 0.0, None  # clips keep their own length
    batch_size = 4
    one_thread_each = False  # one process has all threads, and one copy of the weights
    autocast = True  # how reduced precision is asked of the network

    def __init__(self, options: NetworkOptions):
        self.options = options
        self.sample_rate, self.dimension = self.MODULE.SAMPLE_RATE, self.MODULE.DIMENSION
        self.hop, self.minimum = self.MODULE.HOP, self.MODULE.MINIMUM
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def window_seconds(self) -> float:
        """Seconds of the shortest clip that gives a frame."""
        return self.minimum / self.sample_rate

    def too_long(self, seconds: float) -> bool:
        """No clip is."""
        return False

    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        """Frames of clips of one length.

        Args:
            waveforms: float32 [clips, samples], mono, at ``sample_rate``.

        Returns:
            float32 [clips, frames, dimension]; a clip's frames do not depend on the others.
        """
        missing = max(0, self.minimum - waveforms.shape[1])
        batch = torch.from_numpy(np.pad(waveforms, ((0, 0), (0, missing)))).to(self.device)
        low = self.autocast and self.options.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=low):
            return self.network(batch).float().cpu().numpy()

    @cached_property
    def network(self) -> nn.Module:
        """The network with its weights, ready for inference."""
        network = self.build()
        if self.options.weights == UNTRAINED:
            checkpoints.untrained(network, self.options.seed)
        else:
            self.load(network)
        torch.backends.cudnn.allow_tf32 = False  # its ten bits of mantissa are not float32
        return self.prepared(network.eval().to(self.device))

    @abstractmethod
    def build(self) -> nn.Module:
        """The network without its weights."""

    def load(self, network: nn.Module) -> None:
        """Fill the network from its file; EarwitnessError when that is absent or of another kind."""
        path = self.options.checkpoints()["weights"]
        entries = checkpoints.read(path, checkpoints.KEYS[self.MODULE.FILE])
        checkpoints.fit(network, entries, path, file=self.MODULE.FILE, optional=FRONT_ENDS)

    def prepared(self, network: nn.Module) -> nn.Module:
        """The network as it is fastest."""
        return network


class VggishExtractor(NetworkExtractor):
    """VGGish: raw embeddings, or after its PCA."""

    MODULE = vggish

    def build(self) -> nn.Module:
        return vggish.Vggish(self.options.postprocess)

    def load(self, network: nn.Module) -> None:
        files = self.options.checkpoints()
        entries = checkpoints.read(files["weights"], None)
        if "pca" in files:
            pca = checkpoints.read(files["pca"], None)
            entries |= {f"pproc.{name}": value for name, value in pca.items()}
        checkpoints.fit(network, entries, files["weights"], file=vggish.FILE)


class VggsoundExtractor(NetworkExtractor):
    """VGGSound's ResNet-18."""

    MODULE = vggsound

    def build(self) -> nn.Module:
        return vggsound.Vggsound(seconds=self.options.seconds)


class _PannsExtractor(NetworkExtractor):
    autocast = False

    def prepared(self, network: nn.Module) -> nn.Module:
        return network.fast(getattr(torch, self.options.precision))


class PannsCnn10Extractor(_PannsExtractor):
    """PANNs' Cnn10."""

    MODULE = panns_cnn10

    def build(self) -> nn.Module:
        return panns_cnn10.Cnn10()


class PannsCnn14Extractor(_PannsExtractor):
    """PANNs' Cnn14."""

    MODULE = panns_cnn14

    def build(self) -> nn.Module:
        return panns_cnn14.Cnn14()


class EfficientLatentExtractor(NetworkExtractor):
    """EfficientLatent."""

    MODULE = efficient_latent
    batch_size = 1  # larger ones are slower, and move the last digits

    def build(self) -> nn.Module:
        return efficient_latent.EfficientLatent(self.options.floor)
