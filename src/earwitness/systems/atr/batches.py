"""Batches of clips with their captions; all randomness depends on (seed, epoch) alone.

Frames and vectors of words are read for one batch at a time. The order of clips and the drawn captions are the same
for any number of worker processes, and after a resume.
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
from earwitness.systems.atr.options import AtrOptions
from earwitness.text.encoders import TextEncoder


class Batch(NamedTuple):
    """Clips with some of their captions; masks are true where a frame or word is there."""

    frames: list[Tensor]  # of each feature, float32 [clips, frames, D]
    masks: list[Tensor]  # of each feature, [clips, frames]
    words: Tensor  # float32 [captions, words, D]
    word_mask: Tensor  # [captions, words]
    clip_of_caption: Tensor  # [captions]


class Lengths(NamedTuple):
    """To how many frames of each feature, and words, clips and captions are cut (None: not at all), or also padded."""

    frames: Sequence[int | None]
    words: int | None
    pads: bool


class Tally:
    """Counts the clips, or texts, that are longer than ``most`` frames or words (None: none is), and those without any.

    Args:
        what: such as "f: {} of {} clips", with the places of the number and of that of all.
        parts: "frames" or "words".
    """

    def __init__(self, what: str, parts: str, most: int | None):
        self.what, self.parts, self.most = what, parts, most
        self.seen = self.cut = self.empty = self.beyond = 0

    def add(self, lengths: np.ndarray, beyond: int = 0) -> None:
        """Count the lengths of some, int64 [clips], of which the text encoder has cut the number ``beyond``."""
        self.seen += len(lengths)
        self.beyond += beyond
        self.cut += 0 if self.most is None else int((lengths > self.most).sum())
        self.empty += int((lengths == 0).sum())

    def remarks(self) -> list[str]:
        """What is to be said of those that were counted, which are then forgotten."""
        told = {
            f"have more than {self.most} {self.parts}, and are cut to them": self.cut,
            "are longer than the text encoder takes, and are cut": self.beyond,
            f"have no {self.parts}": self.empty,
        }
        said = [f"{self.what.format(number, self.seen)} {fact}" for fact, number in told.items() if number]
        self.seen = self.cut = self.empty = self.beyond = 0
        return said


def fitted(values: np.ndarray, lengths: np.ndarray, most: int | None, pads: bool) -> tuple[Tensor, Tensor]:
    """Cut [B, N, D] of the given lengths [B] to ``most`` rows, with ``pads`` also pad it to them; with its mask."""
    values = values[:, :most]
    if not values.shape[1]:  # poolings need a row, which need not be there
        values = np.zeros((len(values), 1, values.shape[2]), dtype=values.dtype)
    if pads and most is not None and values.shape[1] < most:
        values = np.pad(values, ((0, 0), (0, most - values.shape[1]), (0, 0)))
    mask = np.arange(values.shape[1]) < lengths[:, None]
    if pads:  # zeros, as published, and not what a feature has beyond the end of clips
        values = np.where(mask[..., None], values, np.float32(0))
    return torch.from_numpy(values), torch.from_numpy(mask)


def batch_of(
    clip_ids: Sequence[str],
    captions: Sequence[Sequence[str]],
    stores: Sequence[FeatureStore],
    encoder: TextEncoder,
    lengths: Lengths,
    partners: np.ndarray | None = None,
) -> Batch:
    """A batch of clips, each with the given captions of it.

    With ``partners`` [clips], where not -1, a clip is followed by another one of the batch, and its caption, which is
    the only one of a clip, by that of the other.
    """
    encoded = encoder.encode([text for texts in captions for text in texts])
    audio = [store.batch(clip_ids) for store in stores]
    if partners is not None:
        encoded, audio = joined(*encoded, partners), [joined(*values, partners) for values in audio]
    fitting = [fitted(*values, most, lengths.pads) for values, most in zip(audio, lengths.frames, strict=True)]
    words, word_mask = fitted(*encoded, *lengths[1:])
    owners = torch.arange(len(clip_ids)).repeat_interleave(torch.tensor([len(texts) for texts in captions]))
    return Batch([frames for frames, _ in fitting], [mask for _, mask in fitting], words, word_mask, owners)


def joined(values: np.ndarray, lengths: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sequences [B, N, D] of the given lengths [B], each followed by its partner's, if that is not -1."""
    total = lengths + np.where(partners < 0, 0, lengths[partners])
    both = np.zeros((len(values), total.max(), values.shape[2]), dtype=values.dtype)
    for row, partner in enumerate(partners):
        both[row, : lengths[row]] = values[row, : lengths[row]]
        if partner >= 0:
            both[row, lengths[row] : total[row]] = values[partner, : lengths[partner]]
    return both, total


class TrainingBatches(Dataset):
    """Training batches: ``self[epoch, i]`` is batch i of an epoch.

    The last batch has the clips that are left over; a single one joins the batch before, since it has no negatives.
    """

    def __init__(
        self,
        captions: Mapping[str, Sequence[str]],
        stores: Sequence[FeatureStore],
        encoder: TextEncoder,
        lengths: Lengths,
        options: AtrOptions,
        seed: int,
    ):
        self.captions, self.clip_ids = captions, list(captions)
        self.stores, self.encoder, self.lengths = stores, encoder, lengths
        self.batch_size, self.seed = options.train.batch_size, seed
        self.draws, self.mix = options.loss.captions == "draw", options.mix

    def __len__(self) -> int:
        whole, rest = divmod(len(self.clip_ids), self.batch_size)
        return max(1, whole + (rest > 1))

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, number = key
        order, draws = self._epoch(epoch)
        end = None if number == len(self) - 1 else (number + 1) * self.batch_size
        chosen = order[number * self.batch_size : end]
        clip_ids = [self.clip_ids[clip] for clip in chosen]
        captions = [self.captions[clip_id] for clip_id in clip_ids]
        if self.draws:
            captions = [[texts[int(draws[clip] * len(texts))]] for clip, texts in zip(chosen, captions, strict=True)]
        partners = self._partners(epoch, number, len(chosen)) if self.mix else None
        return batch_of(clip_ids, captions, self.stores, self.encoder, self.lengths, partners)

    def _partners(self, epoch: int, number: int, clips: int) -> np.ndarray:
        """The clip of the batch that follows each one, -1 for none; no clip follows two others."""
        rng = np.random.default_rng([self.seed, epoch, 2, number])
        shifted = (np.arange(clips) + rng.integers(1, clips)) % clips
        return np.where(rng.random(clips) < self.mix, shifted, -1)

    @lru_cache(maxsize=2)  # noqa: B019 (two epochs' orders, for as long as the data set lives)
    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of clips, and for each a number from 0 to 1 that draws its caption."""
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.clip_ids))
        return order, np.random.default_rng([self.seed, epoch, 1]).random(len(self.clip_ids))
