"""What the networks share as extractors: built, filled with their weights, and run on batches of equally long clips."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.errors import EarwitnessError
from earwitness.extractors import checkpoints
from earwitness.extractors.interface import Extractor
from earwitness.extractors.options import NetworkOptions


class NetworkExtractor(Extractor):
    """Waveforms -> frames of a network, whose weights are loaded when they are first needed.

    Attributes:
        minimum: samples of the shortest clip that the network takes; shorter ones are padded with zeros.
        computed: beginnings of the names of entries that the network computes itself where its file lacks them.
        cpu_batch, gpu_batch: seconds of sound that run together, by precision; larger batches are no faster.
        divisible: whether a batch may be divided where memory does not suffice.
    """

    options: NetworkOptions
    minimum: int
    computed: tuple[str, ...] = ()
    memory_mb = 1000
    cpu_batch = {"float32": 40, "bfloat16": 40}
    gpu_batch = {"float32": 160, "bfloat16": 160}
    divisible = True

    def __init__(self, options: NetworkOptions):
        self.options = options
        self.window_seconds = self.minimum / self.sample_rate
        self.on_gpu = torch.cuda.is_available()
        self.device = "cuda" if self.on_gpu else "cpu"
        self.batch_seconds = (self.gpu_batch if self.on_gpu else self.cpu_batch)[options.precision]

    @abstractmethod
    def build(self) -> nn.Module:
        """The network without its weights."""

    def entries(self) -> dict[str, Tensor]:
        """The weights by their names in the network; EarwitnessError when a file is absent or of another kind."""
        path = self.options.checkpoints()["weights"]
        return checkpoints.read(path, self.options.PUBLISHED["weights"].key)

    @cached_property
    def network(self) -> nn.Module:
        """The network with its weights, ready for inference."""
        network: Any = self.build()
        if self.options.untrained:
            checkpoints.untrained(network, self.options.seed)
        else:
            path, file = self.options.checkpoints()["weights"], self.options.PUBLISHED["weights"].file
            checkpoints.fit(network, self.entries(), path, file=file, optional=self.computed)
        torch.backends.cudnn.allow_tf32 = False  # its ten bits of mantissa are not float32
        torch.backends.cudnn.deterministic = True
        return network.to(self.device).fast(getattr(torch, self.options.precision))

    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        """Frames of clips of one length, padded with zeros to ``minimum`` samples."""
        missing = max(0, self.minimum - waveforms.shape[1])
        batch = torch.from_numpy(np.pad(waveforms, ((0, 0), (0, missing))))
        network = self.network
        try:
            with torch.inference_mode():
                return network(batch.to(self.device)).cpu().numpy()
        except torch.OutOfMemoryError as error:
            if len(waveforms) == 1 or not self.divisible:
                clips = f"{len(waveforms)} clip(s) of {waveforms.shape[1] / self.sample_rate:.1f} s"
                advice = "Leave longer clips out, or extract on the CPU (CUDA_VISIBLE_DEVICES= in the environment)."
                raise EarwitnessError(f"The GPU's memory does not suffice for {clips}. {advice}") from error
        torch.cuda.empty_cache()  # outside the handler, which would keep the failed batch alive
        half = len(waveforms) // 2
        return np.concatenate([self.frames(part) for part in (waveforms[:half], waveforms[half:])])
