"""Batches of pairs of a clip and a text; all randomness depends on (seed, epoch) alone.

Frames and vectors of words are read for one batch at a time. A clip with several texts in a batch is encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from earwitness.features.store import FeatureStore
from earwitness.text.encoders import TextEncoder

VALIDATION = 1 << 32  # stands for an epoch where the draws of validation are made


class Batch(NamedTuple):
    """Pairs of a clip and a text."""

    frames: Tensor  # float32 [clips, frames, F], each clip once
    lengths: Tensor  # int64 [clips]
    words: Tensor  # float32 [pairs, words, D]
    word_mask: Tensor  # [pairs, words]
    clip_of_pair: Tensor  # int64 [pairs]
    impostors: Tensor  # int64 [pairs, 2], the pairs whose clip and whose text are drawn to be wrong ones
    negatives: Tensor  # [pairs, pairs], whether the text of the row is of another clip than that of the column


class Pairs(Dataset):
    """Training batches: ``self[epoch, i]`` is batch i of an epoch.

    The last batch has the pairs that are left over; one alone joins the batch before.

    Args:
        texts: the texts of each clip; fill: the value of frames beyond a clip's end, None for that of the features.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[str]],
        store: FeatureStore,
        encoder: TextEncoder,
        batch_size: int,
        seed: int,
        fill: float | None = None,
    ):
        self.pairs = [(clip, text) for clip, own in texts.items() for text in own]
        self.texts = {clip: frozenset(own) for clip, own in texts.items()}
        self.store, self.encoder, self.fill = store, encoder, fill
        self.batch_size, self.seed = batch_size, seed

    def __len__(self) -> int:
        whole, rest = divmod(len(self.pairs), self.batch_size)
        return max(1, whole + (rest > 1))

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, number = key
        end = None if number == len(self) - 1 else (number + 1) * self.batch_size
        pairs = [self.pairs[row] for row in self._order(epoch)[number * self.batch_size : end]]
        clips = list(dict.fromkeys(clip for clip, _ in pairs))
        place = {clip: row for row, clip in enumerate(clips)}
        owners = np.array([place[clip] for clip, _ in pairs])
        frames, lengths = self.store.batch(clips)
        if self.fill is not None:
            frames[np.arange(frames.shape[1]) >= lengths[:, None]] = self.fill
        words, counts = self.encoder.encode([text for _, text in pairs])
        # A text that another clip has too is no negative of it.
        negatives = np.array([[text not in self.texts[clip] for clip in clips] for _, text in pairs])[:, owners]
        return Batch(
            torch.from_numpy(frames),
            torch.from_numpy(lengths),
            torch.from_numpy(words),
            torch.from_numpy(np.arange(words.shape[1]) < counts[:, None]),
            torch.from_numpy(owners),
            torch.from_numpy(impostors(owners, np.random.default_rng([self.seed, epoch, 1, number]))),
            torch.from_numpy(negatives),
        )

    @lru_cache(maxsize=2)  # noqa: B019 (two epochs' orders, for as long as the data set lives)
    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.pairs))


def impostors(owners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each pair two others of the batch, drawn independently, whose clip is another one: int64 [pairs, 2].

    A pair is its own where all pairs are of one clip; the loss then has no gradient.
    """
    drawn = np.empty((len(owners), 2), dtype=np.int64)
    for pair, owner in enumerate(owners):
        others = np.flatnonzero(owners != owner)
        drawn[pair] = rng.choice(others, 2) if len(others) else pair
    return drawn
