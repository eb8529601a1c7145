"""The networks as extractors: built, filled with their weights, and run on batches of equally long clips."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from earwitness.errors import EarwitnessError
from earwitness.extractors import checkpoints, efficient_latent, panns_cnn10, panns_cnn14, vggish, vggsound
from earwitness.extractors.interface import Extractor
from earwitness.extractors.options import EfficientLatentOptions, NetworkOptions

FRONT_ENDS = ("spectrogram_extractor", "logmel_extractor", "front_end")  # entries that networks compute themselves


class NetworkExtractor(Extractor):
    """Waveforms -> frames of a network, whose weights are loaded when they are first needed."""

    MODULE: Any  # the module of the network, with its constants
    memory_mb = 1000
    # Seconds of sound by precision; larger batches are no faster.
    CPU_BATCH = {"float32": 40, "bfloat16": 40}
    GPU_BATCH = {"float32": 160, "bfloat16": 160}

    def __init__(self, options: NetworkOptions):
        self.options = options
        self.sample_rate, self.dimension = self.MODULE.SAMPLE_RATE, self.MODULE.DIMENSION
        self.hop, self.minimum = self.MODULE.HOP, self.MODULE.MINIMUM
        self.window_seconds = self.minimum / self.sample_rate
        self.on_gpu = torch.cuda.is_available()
        self.device = "cuda" if self.on_gpu else "cpu"
        self.batch_seconds = (self.GPU_BATCH if self.on_gpu else self.CPU_BATCH)[options.precision]

    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        """Frames of clips of one length, filled up with zeros to ``minimum`` samples."""
        missing = max(0, self.minimum - waveforms.shape[1])
        batch = torch.from_numpy(np.pad(waveforms, ((0, 0), (0, missing))))
        network = self.network
        try:
            with torch.inference_mode():
                return network(batch.to(self.device)).cpu().numpy()
        except torch.OutOfMemoryError as error:
            if len(waveforms) == 1 or not self._halves():
                told = f"{len(waveforms)} clip(s) of {waveforms.shape[1] / self.sample_rate:.1f} s"
                advice = "Leave longer clips out, or extract on the CPU (CUDA_VISIBLE_DEVICES= in the environment)."
                raise EarwitnessError(f"The GPU's memory does not suffice for {told}. {advice}") from error
        torch.cuda.empty_cache()
        half = len(waveforms) // 2
        return np.concatenate([self.frames(part) for part in (waveforms[:half], waveforms[half:])])

    def _halves(self) -> bool:
        """Whether a batch may be divided where memory does not suffice."""
        return True

    @cached_property
    def network(self) -> nn.Module:
        """The network with its weights, ready for inference."""
        network = self.build()
        if self.options.untrained:
            checkpoints.untrained(network, self.options.seed)
        else:
            self.load(network)
        torch.backends.cudnn.allow_tf32 = False  # its ten bits of mantissa are not float32
        torch.backends.cudnn.deterministic = True
        return network.to(self.device).fast(getattr(torch, self.options.precision))

    @abstractmethod
    def build(self) -> nn.Module:
        """The network without its weights."""

    def load(self, network: nn.Module) -> None:
        """Fill the network from its file; EarwitnessError when that is absent or of another kind."""
        path = self.options.checkpoints()["weights"]
        entries = checkpoints.read(path, checkpoints.KEYS[self.MODULE.FILE])
        checkpoints.fit(network, entries, path, file=self.MODULE.FILE, optional=FRONT_ENDS)


class VggishExtractor(NetworkExtractor):
    """VGGish: raw embeddings, or after its PCA."""

    MODULE = vggish
    memory_mb = 1500  # of 72 million weights, twice while they are loaded

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
    GPU_BATCH = {"float32": 40, "bfloat16": 160}  # in float32 160 s take cuDNN six times as long, and 36 GB


class PannsCnn10Extractor(_PannsExtractor):
    """PANNs' Cnn10."""

    MODULE = panns_cnn10

    def build(self) -> nn.Module:
        return panns_cnn10.Cnn10()


class PannsCnn14Extractor(_PannsExtractor):
    """PANNs' Cnn14."""

    MODULE = panns_cnn14
    memory_mb = 2000  # of 81 million weights, twice while they are loaded

    def build(self) -> nn.Module:
        return panns_cnn14.Cnn14()


class EfficientLatentExtractor(NetworkExtractor):
    """EfficientLatent."""

    MODULE = efficient_latent
    CPU_BATCH = {"float32": 10, "bfloat16": 40}

    def __init__(self, options: EfficientLatentOptions):
        super().__init__(options)
        if options.floor == "batch":  # what runs together counts then, so it is the same everywhere
            self.batch_seconds = 40

    def build(self) -> nn.Module:
        return efficient_latent.EfficientLatent(self.options.floor, self.options.padding)

    def _halves(self) -> bool:
        return self.options.floor == "clip"
