"""VGGish: one 128-dimensional embedding for every 0.96 s of sound (arXiv 1609.09430).

State-dict names and shapes are those of ``harritaylor/torchvggish``, release v0.1: one file holds ``features`` and
``embeddings``, another the two matrices of ``pproc``.
"""

from __future__ import annotations

import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.extractors import checkpoints
from earwitness.extractors.inference import arrange
from earwitness.extractors.networks import NetworkExtractor
from earwitness.extractors.vggish import VggishOptions

SAMPLE_RATE = 16000  # Hz
WINDOW, STEP, FFT = 400, 160, 512  # samples
BANDS = 64
FMIN, FMAX = 125.0, 7500.0  # Hz
OFFSET = 0.01  # added before the logarithm
EXAMPLE = 96  # log-mel frames in one example; examples do not overlap
DIMENSION = 128
HOP = EXAMPLE * STEP  # samples between two embeddings: 0.96 s
MINIMUM = WINDOW + (EXAMPLE - 1) * STEP  # samples of the shortest clip with one example: 15,600, which is 0.975 s
QUANTISED = 2.0  # values beyond +-2 are clipped before they are quantised


class Vggish(nn.Module):
    """Waveforms -> one embedding for each whole 0.96 s; what is left at the end is dropped, as in the reference.

    Args:
        postprocess: PCA, clipping and quantisation to 0..255, as in the features that were published for AudioSet.
            Raw embeddings and these differ in sign, scale and correlation: they do not mix.
    """

    def __init__(self, postprocess: bool = False):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(128, 256, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        )
        self.embeddings = nn.Sequential(
            *(nn.Linear(512 * 6 * 4, 4096), nn.ReLU(inplace=True)),
            *(nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
            *(nn.Linear(4096, DIMENSION), nn.ReLU(inplace=True)),
        )
        self.pproc = PostProcessor() if postprocess else None
        self.mel: Tensor
        self.register_buffer("mel", mel_filters(), persistent=False)  # [257, 64]
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, waveform: Tensor) -> Tensor:
        """Embeddings of the examples of each clip.

        Args:
            waveform: [clips, samples] in [-1, 1], mono, at ``SAMPLE_RATE``. Clips shorter than ``MINIMUM`` samples
                have no example: pad them with zeros first.

        Returns:
            [clips, ``frames_of(samples)``, 128]: raw embeddings, which are >= 0, or whole numbers from 0 to 255 with
            ``postprocess``.
        """
        examples = self.examples(waveform)  # [clips, examples, 96, 64]
        raw = self.embed(examples.flatten(0, 1)).unflatten(0, examples.shape[:2])  # [clips, examples, 128]
        return raw if self.pproc is None else self.pproc(raw)

    def examples(self, waveform: Tensor) -> Tensor:
        """Log-mel examples: [clips, samples] -> [clips, examples, 96, 64], natural logarithm of mel magnitudes + 0.01.

        Windows begin at the first sample, nothing is padded, and the incomplete example at the end is dropped.
        """
        # Where a clip is nearly silent the logarithm shows the rounding of a float32 FFT: up to 5e-5.
        window = torch.hann_window(WINDOW, dtype=torch.float64, device=waveform.device)
        segments = waveform.double().unfold(-1, WINDOW, STEP) * window  # [clips, frames, 400]
        spectrum = torch.view_as_real(torch.fft.rfft(segments, FFT))
        magnitude = spectrum.square().sum(dim=-1).sqrt().to(self.mel.dtype)  # [clips, frames, 257]
        logmel = torch.log(magnitude @ self.mel + OFFSET)  # [clips, frames, 64]
        whole = logmel.shape[1] // EXAMPLE
        return logmel[:, : whole * EXAMPLE].unflatten(1, (whole, EXAMPLE))

    def embed(self, examples: Tensor) -> Tensor:
        """Raw embeddings of log-mel examples: [examples, 96, 64] -> [examples, 128], all values >= 0."""
        x = examples[:, None].to(next(self.features.parameters()).dtype)
        x = self.features(x)  # [examples, 512, 6, 4]
        x = x.permute(0, 2, 3, 1).flatten(1)  # [examples, 12288]: channels come last, as in TensorFlow
        return self.embeddings(x).to(self.mel.dtype)

    def fast(self, dtype: torch.dtype = torch.float32) -> Self:
        """A copy for inference alone, its layers in ``dtype`` and channels last.

        In float32 it gives what the network gives, up to rounding. Front end and PCA keep the network's precision.
        """
        network = copy.deepcopy(self).eval().requires_grad_(False)
        for part in (network.features, network.embeddings):
            arrange(part, dtype)
        return network


class PostProcessor(nn.Module):
    """PCA with whitening, then 8-bit quantisation: [..., 128] -> [..., 128], whole numbers from 0 to 255 as floats.

    The reference also squeezes its result, so that a single example loses its first axis there. ``PCA_FILE`` has the
    means as [128].
    """

    def __init__(self) -> None:
        super().__init__()
        self.pca_eigen_vectors = nn.Parameter(torch.eye(DIMENSION), requires_grad=False)  # one component in each row
        self.pca_means = nn.Parameter(torch.zeros(DIMENSION, 1), requires_grad=False)

    def forward(self, raw: Tensor) -> Tensor:
        clipped = self.pca(raw).clamp(-QUANTISED, QUANTISED)
        return torch.round((clipped + QUANTISED) * (255 / (2 * QUANTISED)))

    def pca(self, raw: Tensor) -> Tensor:
        """The principal components before they are clipped: [..., 128] -> [..., 128]."""
        return (raw - self.pca_means[:, 0]) @ self.pca_eigen_vectors.T


def mel_filters() -> Tensor:
    """Mel filters [257, 64] in float32: triangles of height 1, linear in mel and not in Hz; none takes the DC bin."""
    lowest, highest = _mel(np.array([FMIN, FMAX]))
    edges = np.linspace(lowest, highest, BANDS + 2)
    bins = _mel(np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    filters = np.minimum(rising, falling).clip(min=0)
    filters[0] = 0
    return torch.from_numpy(filters.astype(np.float32))


def _mel(frequency: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(frequency / 700.0)


def frames_of(samples: int) -> int:
    """Embeddings of a clip of ``samples`` samples, none below ``MINIMUM``."""
    frames = max(0, (samples - WINDOW) // STEP + 1)
    return frames // EXAMPLE


class VggishExtractor(NetworkExtractor):
    """VGGish: raw embeddings, or after its PCA."""

    options: VggishOptions

    sample_rate, dimension, hop, minimum = SAMPLE_RATE, DIMENSION, HOP, MINIMUM
    memory_mb = 1500  # of 72 million weights, twice while they are loaded

    def build(self) -> nn.Module:
        return Vggish(self.options.postprocess)

    def entries(self) -> dict[str, Tensor]:
        pca = self.options.checkpoints().get("pca")
        matrices = {} if pca is None else checkpoints.read(pca, self.options.PUBLISHED["pca"].key)
        return super().entries() | {f"pproc.{name}": value for name, value in matrices.items()}
