"""The network: frames of a clip and words of a text as unit vectors of one space, whose cosines say what sounds when.

Xie et al., arXiv 2110.02939, as its published code (xieh97/audio-caption-alignment) has it. N clips, T frames, M texts,
Q words, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.errors import EarwitnessError
from earwitness.nn.alignment import pooled, similarities
from earwitness.nn.crnn import Crnn
from earwitness.nn.pooling import unit_frames
from earwitness.systems.alignment.options import LEAST_BANDS, AlignmentOptions

TABLE = "text_table_"  # what the names of the text encoder's arrays begin with
HOTTEST = 100.0  # the largest factor of scores that info_nce may learn
ELEMENTS = 1 << 25  # similarities of frames and words that are held at a time, outside training
BLOCK = 8192  # frames of a long clip whose vectors are held at a time


class Alignment(nn.Module):
    """Aligns frames and words.

    Args:
        sizes: ``audio`` and ``text``, the dimensions of a frame and of a word's vector.
        tables: arrays of the text encoder, kept with the weights so that these answer any text.
    """

    def __init__(
        self, options: AlignmentOptions, sizes: Mapping[str, int], tables: Mapping[str, np.ndarray] | None = None
    ):
        super().__init__()
        self.options = options
        joint = options.joint or sizes["text"]
        if options.encoder == "crnn":
            if sizes["audio"] < LEAST_BANDS:
                raise EarwitnessError(
                    f"Frames of {options.feature!r} have {sizes['audio']} values; `encoder: crnn` needs {LEAST_BANDS}."
                )
            if options.crnn.hidden is None and joint % 2:
                raise EarwitnessError(
                    f"Words have {joint} dimensions, of which the GRU cannot have half in each direction. Set `joint`, "
                    "to which both sides are then mapped, to an even number."
                )
            hidden = options.crnn.hidden or joint // 2
            if 2 * hidden != joint:
                raise EarwitnessError(
                    f"`crnn.hidden: {hidden}` gives frames of {2 * hidden} dimensions, and words have {joint}. Set "
                    f"`joint: {2 * hidden}`."
                )
            crnn = options.crnn
            self.audio_encoder: nn.Module = Crnn(sizes["audio"], hidden, crnn.dropout, options.mask_pads, crnn.channels)
        else:
            self.audio_encoder = Projection(sizes["audio"], joint, options.frame_norm)
        self.text_encoder = nn.Linear(sizes["text"], joint) if options.joint else nn.Identity()
        self.log_scale = nn.Parameter(torch.tensor(log(1 / options.loss.temperature)))
        self.log_scale.requires_grad_(options.loss.kind == "info_nce")
        for name, array in (tables or {}).items():
            self.register_buffer(f"{TABLE}{name}", torch.from_numpy(array))

    def embed_audio(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Frames [N, T, F] and their number for each clip, int64 [N] -> unit vectors, float32 [N, T, D]."""
        return functional.normalize(self.audio_encoder(frames, lengths).float(), dim=-1)

    def embed_texts(self, words: Tensor, mask: Tensor) -> Tensor:
        """Vectors of words [M, Q, W] and mask [M, Q] -> unit vectors, float32 [M, Q, D]; 0 where no word is there."""
        return functional.normalize(self.text_encoder(words).float(), dim=-1) * mask[..., None]

    def similarities(self, audio: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors [..., T, D] and [..., Q, D] -> similarities 0 to 1, [..., T, Q]."""
        return similarities(audio, texts, self.options.score.similarity)

    def scores_of_pairs(self, audio: Tensor, frames: Tensor, texts: Tensor, words: Tensor) -> Tensor:
        """Scores of clips [B, T, D] with texts [B, Q, D], pair by pair, with masks [B, T] and [B, Q]: [B]."""
        return self._pooled(self.similarities(audio, texts), frames, words)

    def scores(self, audio: Tensor, frames: Tensor, texts: Tensor, words: Tensor) -> Tensor:
        """Scores of all clips [N, T, D] with all texts [M, Q, D], with masks [N, T] and [M, Q]: [M, N]."""
        count, size = texts.shape[:2]
        values = self.similarities(audio, texts.flatten(0, 1)).unflatten(2, (count, size))  # [N, T, M, Q]
        return self._pooled(values.transpose(1, 2), frames[:, None], words[None]).T

    def _pooled(self, values: Tensor, frames: Tensor, words: Tensor) -> Tensor:
        score = self.options.score
        return pooled(values, frames, words, score.time, score.words, score.first)

    @property
    def scale(self) -> Tensor:
        """What scores are multiplied with in info_nce: the inverse of the temperature."""
        return self.log_scale.exp().clamp(max=HOTTEST)

    def similarities_over_time(self, frames: Tensor, words: Tensor) -> Tensor:
        """Similarities of each frame [T, F] of one clip, however long, with unit vectors [Q, D]: float32 [T, Q]."""
        longest, device = len(frames), frames.device
        lengths = torch.tensor([longest], device=device)
        parts = []
        encoder = self.audio_encoder
        steps = encoder.steps(frames[None], lengths) if isinstance(encoder, Crnn) else None
        for start in range(0, max(1, longest), BLOCK):  # also of no frames, which have no similarities
            stop = min(start + BLOCK, longest)
            if steps is not None and isinstance(encoder, Crnn):
                vectors = encoder.spread(steps, lengths, longest, start, stop)
            else:
                vectors = encoder(frames[None, start:stop], lengths)
            parts.append(self.similarities(functional.normalize(vectors.float(), dim=-1)[0], words))
        return torch.cat(parts)


class Projection(nn.Linear):
    """A linear map of frames, each of length 1 before if asked for: [N, T, F] -> [N, T, D]."""

    def __init__(self, inputs: int, outputs: int, norm: str):
        super().__init__(inputs, outputs)
        self.norm = norm

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(unit_frames(frames, self.norm))
