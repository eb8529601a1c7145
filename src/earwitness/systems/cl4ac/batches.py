"""Batches of clips and captions; all randomness depends on (seed, epoch) alone.

The order of examples and their unpaired captions are the same for any number of worker processes, and after a resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from earwitness.errors import EarwitnessError
from earwitness.features.store import FeatureStore
from earwitness.systems.cl4ac.options import Cl4acOptions
from earwitness.text.vocabulary import Vocabulary, padded

DRAWN = ("random", "epoch_constant")  # unpaired captions that do not depend on the batch


class Batch(NamedTuple):
    """The input of a training step. Rows are captions; ``ids`` are ``<sos> words <eos>`` and padding."""

    frames: Tensor  # float32 [clips, time, D]
    clip_of_row: Tensor  # [rows]
    ids: Tensor  # [rows, length + 1]
    words: Tensor  # [rows], number of words of each caption
    negative_ids: Tensor | None  # [rows, length + 1]; None if not needed, or chosen within the batch
    negative_words: Tensor | None  # [rows]
    source: (
        Tensor  # [rows], index of the clip in its split: captions of the same clip are never negatives of each other
    )
    mask: Tensor | None = None  # [clips, time], true where a frame is; None: clips of equal length

    def rows(self, clips: slice) -> Tensor:
        """Which rows are of consecutive clips, [rows]."""
        return (self.clip_of_row >= clips.start) & (self.clip_of_row < clips.stop)

    def of_clips(self, clips: slice) -> Batch:
        """Consecutive clips of the batch and their rows."""
        if (clips.start, clips.stop) == (0, len(self.frames)):
            return self
        rows = self.rows(clips)
        return Batch(
            self.frames[clips],
            self.clip_of_row[rows] - clips.start,
            self.ids[rows],
            self.words[rows],
            None if self.negative_ids is None else self.negative_ids[rows],
            None if self.negative_words is None else self.negative_words[rows],
            self.source[rows],
            None if self.mask is None else self.mask[clips],
        )


def padded_frames(store: FeatureStore, clip_ids: Sequence[str], masked: bool) -> tuple[Tensor, Tensor | None]:
    """The frames of clips, padded to the longest, and with ``masked`` where they are: [clips, time, D], [clips, time].

    A clip without frames has one of padding.
    """
    frames, lengths = store.batch(clip_ids)
    if not masked:
        return torch.from_numpy(frames), None
    if not frames.shape[1]:
        frames = np.full((len(frames), 1, store.dimension), store.fill, dtype=np.float32)
    return torch.from_numpy(frames), torch.from_numpy(np.arange(frames.shape[1]) < lengths.clip(min=1)[:, None])


@dataclass(frozen=True)
class Captions:
    """Encoded captions of one split, grouped by clip.

    Attributes:
        ids: for each caption, its ids from ``<sos>`` to ``<eos>``.
        clip: [captions], index of the clip; first, count: [clips], index of the first caption, number of captions.
    """

    clip_ids: list[str]
    ids: list[list[int]]
    clip: np.ndarray
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, captions: dict[str, list[str]], vocabulary: Vocabulary, max_words: int | None = None) -> Captions:
        """Encode captions by clip id, in the order of the mapping, each truncated to ``max_words`` words."""
        count = np.array([len(texts) for texts in captions.values()])
        return cls(
            clip_ids=list(captions),
            ids=[vocabulary.encode(text, max_words) for texts in captions.values() for text in texts],
            clip=np.repeat(np.arange(len(count)), count),
            first=np.concatenate([[0], count.cumsum()[:-1]]),
            count=count,
        )

    def of_clips(self, clips: np.ndarray) -> np.ndarray:
        """Indices of the captions of the given clips, in order."""
        return np.concatenate([np.arange(self.first[clip], self.first[clip] + self.count[clip]) for clip in clips])


class TrainingBatches(Dataset):
    """Training batches: ``self[epoch, i]`` is batch i of an epoch."""

    def __init__(
        self, store: FeatureStore, captions: Captions, vocabulary: Vocabulary, options: Cl4acOptions, seed: int
    ):
        self.store, self.captions, self.vocabulary, self.seed = store, captions, vocabulary, seed
        self.grouped = options.train.batching == "grouped"
        self.batch_size = options.train.batch_size
        self.masked = options.encoder.kind == "frames"
        self.negatives = options.contrastive.negatives if options.loss.contrastive_weight else None
        # One more position for the state at <eos>; a fixed length if padding counts in the loss.
        self.extra = 1 if options.contrastive.pool == "eos" else 0
        self.fixed = options.loss.padded_length
        if self.fixed and (needed := max(map(len, captions.ids)) - 1 + self.extra) > self.fixed:
            raise EarwitnessError(f"loss.padded_length: {self.fixed} is too short; these captions need {needed}.")

    def __len__(self) -> int:
        examples = len(self.captions.clip_ids) if self.grouped else len(self.captions.ids)
        return -(-examples // self.batch_size)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, number = key
        order, negatives = self._epoch(epoch)
        chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
        rows = self.captions.of_clips(chosen) if self.grouped else chosen
        sources = self.captions.clip[rows]
        clips = chosen if self.grouped else sources
        clip_of_row = (
            np.repeat(np.arange(len(chosen)), self.captions.count[chosen]) if self.grouped else np.arange(len(rows))
        )
        ids = [self.captions.ids[row] for row in rows]
        frames, mask = padded_frames(self.store, [self.captions.clip_ids[clip] for clip in clips], self.masked)
        # A batch of a single clip has no negatives to choose from, whatever the option.
        drawn = self.negatives in DRAWN or len(set(sources)) == 1
        unpaired = [self.captions.ids[row] for row in negatives[rows]] if negatives is not None and drawn else None
        length = self.fixed + 1 if self.fixed else max(map(len, ids + (unpaired or []))) + self.extra
        positive, words = self._padded(ids, length)
        negative, negative_words = self._padded(unpaired, length) if unpaired else (None, None)
        return Batch(
            frames,
            torch.from_numpy(clip_of_row),
            positive,
            words,
            negative,
            negative_words,
            torch.from_numpy(sources),
            mask,
        )

    def _padded(self, ids: list[list[int]], length: int) -> tuple[Tensor, Tensor]:
        words = torch.tensor([len(row) - 2 for row in ids])
        return torch.from_numpy(padded(ids, self.vocabulary.pad, length)), words

    @lru_cache(maxsize=2)  # noqa: B019 (two epochs' orders, for as long as the data set lives)
    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The order of clips or captions, and the unpaired caption of every caption."""
        examples = len(self.captions.clip_ids) if self.grouped else len(self.captions.ids)
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(examples)
        rng = np.random.default_rng([self.seed, epoch, 1])
        if self.negatives is None:
            return order, None
        draw = one_for_all if self.negatives == "epoch_constant" else draw_unpaired
        return order, draw(self.captions, rng)


def draw_unpaired(captions: Captions, rng: np.random.Generator) -> np.ndarray:
    """For each caption, the index of a caption of another clip, all equally probable: int64 [captions].

    The result is a permutation, so that nearly all unpaired captions of an epoch differ, except where that would give a
    clip one of its captions: these are replaced by captions drawn from all other clips.
    """
    total = len(captions.ids)
    permuted = rng.permutation(total)
    count, first = captions.count[captions.clip], captions.first[captions.clip]
    drawn = rng.integers(0, total - count)
    drawn = np.where(drawn >= first, drawn + count, drawn)  # skip the captions of the same clip
    return np.where(captions.clip[permuted] == captions.clip, drawn, permuted)


def one_for_all(captions: Captions, rng: np.random.Generator) -> np.ndarray:
    """As in the published code: one random caption for all examples; those of the same clip get the next one."""
    order = rng.permutation(len(captions.ids))
    constant = np.full(len(order), order[0])
    clip = captions.clip[order[0]]
    constant[captions.clip == clip] = order[np.argmax(captions.clip[order] != clip)]
    return constant
