"""The network: for each feature a pooling over time and a gated embedding unit, and the same for words.

Lou et al., arXiv 2203.13645, as the published code (SiyuLou/AudioTextRetrievalInContext) has it. B clips or captions,
N frames or words of the longest, M features ("experts").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.nn.gating import GatedEmbedding
from earwitness.nn.pooling import pooling, unit_frames
from earwitness.systems.atr.options import AtrOptions

NORM_EPS = 1e-7
TABLE = "text_table_"  # what the names of the text encoder's arrays begin with
HOTTEST = 100.0  # the largest factor of similarities that info_nce may learn


class Atr(nn.Module):
    """Embeds clips and captions apart; the similarity of two is the dot product of their embeddings.

    An embedding holds one vector for each of M features, one after another. A clip's are as long as each other, and a
    clip's embedding of length 1; a caption's are weighted, so that the product is the weighted mean of the cosines.

    Args:
        sizes: ``audio``, the dimensions of each of ``options.features``; ``text``, those of a word's vector; ``frames``
            and ``words``, the most of a clip or caption, for the learnt positions of the Transformer.
        tables: arrays of the text encoder, kept with the weights so that these answer any text.
    """

    def __init__(self, options: AtrOptions, sizes: Mapping[str, Any], tables: Mapping[str, np.ndarray] | None = None):
        super().__init__()
        self.options = options
        audio: list[int] = sizes["audio"]
        audio_pooling = [Poolings(options, "audio", size, size, sizes["frames"]) for size in audio]
        self.audio_pooling = nn.ModuleList(audio_pooling)
        self.text_pooling = Poolings(options, "text", sizes["text"], audio[0], sizes["words"])
        names = options.poolings["audio"]
        self.unit_pools, transformed = len(names) == 1 and names != ["max"], names == ["transformer"]
        joint = [options.joint or (options.transformer.width if transformed else size) for size in audio]
        if options.text_side == "identity":
            joint = [sizes["text"]] * len(audio)
        self.size = sum(joint)  # of an embedding
        self.audio_units = nn.ModuleList(
            GatedEmbedding(pool.size, out) for pool, out in zip(audio_pooling, joint, strict=True)
        )
        self.text_units = nn.ModuleList(
            nn.Identity() if options.text_side == "identity" else GatedEmbedding(self.text_pooling.size, out)
            for out in joint
        )
        learned = options.weights == "learned" and len(audio) > 1
        self.expert_weights = nn.Linear(self.text_pooling.size, len(audio)) if learned else None
        self.log_scale = nn.Parameter(torch.tensor(log(1 / options.loss.temperature)))
        self.log_scale.requires_grad_(options.loss.kind == "info_nce")
        for name, array in (tables or {}).items():
            self.register_buffer(f"{TABLE}{name}", torch.from_numpy(array))

    def embed_clips(self, frames: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Frames [B, N, D] and masks [B, N] of each feature, true where a frame is of the clip -> [B, sum of joint]."""
        embedded = []
        for pool, unit, x, mask in zip(self.audio_pooling, self.audio_units, frames, masks, strict=True):
            pooled = pool(unit_frames(x, self.options.frame_norm), mask)
            # As published (l2renorm), of audio alone; other poolings end with vectors of length 1.
            embedded.append(unit(pooled if self.unit_pools else renormalised(pooled)))
        return torch.cat(embedded, dim=1) / len(embedded) ** 0.5

    def embed_texts(self, words: Tensor, mask: Tensor) -> Tensor:
        """Vectors of words [B, N, D] and mask [B, N] -> [B, sum of joint]."""
        pooled = self.text_pooling(words, mask)
        features = len(self.text_units)
        weights = torch.full((len(pooled), features), 1 / features, device=pooled.device)
        if self.expert_weights is not None:
            weights = self.expert_weights(pooled).softmax(dim=1)
        embedded = [weights[:, [m]] * unit(pooled) for m, unit in enumerate(self.text_units)]
        return torch.cat(embedded, dim=1) * features**0.5

    @property
    def scale(self) -> Tensor:
        """What similarities are multiplied with in info_nce: the inverse of the temperature."""
        return self.log_scale.exp().clamp(max=HOTTEST)


class Poolings(nn.ModuleDict):
    """One pooling or several of one side; of several the vectors, each of length 1, are joined."""

    def __init__(self, options: AtrOptions, side: str, size: int, hidden: int, positions: int):
        super().__init__()
        names = options.poolings[side]
        for name in names:
            self[name] = pooling(
                name,
                size,
                clusters=getattr(options.clusters, side),
                ghosts=getattr(options.clusters, f"{side}_ghosts"),
                hidden=options.lstm_hidden or hidden,
                width=options.transformer.width,
                layers=options.transformer.layers,
                heads=options.transformer.heads,
                positions=positions,
                mask_pads=options.mask_pads,
            )
        self.size: int = sum(module.size for module in self.values())  # type: ignore[misc]
        # The published code leaves a maximum over words as it is; all other poolings end with vectors of length 1.
        self.normalises = len(names) > 1 or (options.mask_pads and names == ["max"])

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        pooled = [module(values, mask) for module in self.values()]
        return torch.cat([renormalised(part) for part in pooled] if self.normalises else pooled, dim=1)


def renormalised(vectors: Tensor) -> Tensor:
    """Vectors [B, D] divided by their length, as published."""
    return vectors / (vectors.norm(dim=1, keepdim=True) + NORM_EPS)
