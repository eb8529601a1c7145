"""Batches of captions with their vectors; the order depends on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from earwitness.errors import EarwitnessError, listed
from earwitness.text.encoders import TextEncoder
from earwitness.text.vocabulary import Vocabulary, padded

TEXTS_AT_ONCE = 1024
UNIT = 1e-3  # how far from 1 the length of a vector may be


class Batch(NamedTuple):
    """Captions of a step."""

    vectors: Tensor  # float32 [rows, D]
    ids: Tensor  # [rows, longest], padded
    lengths: Tensor  # [rows], tokens of each caption


def batch_of(vectors: np.ndarray, ids: Sequence[Any], pad: int) -> Batch:
    """A batch of vectors [rows, D] and the tokens of each caption."""
    lengths = torch.tensor([len(row) for row in ids])
    return Batch(torch.from_numpy(vectors), torch.from_numpy(padded(ids, pad)), lengths)


class TrainingBatches(Dataset):
    """Training batches: ``self[epoch, i]`` is batch i of an epoch. A last batch that is not full is left out.

    Args:
        vectors: of all captions, float32 [captions, D]; ids: the tokens of each.
    """

    def __init__(self, vectors: np.ndarray, ids: list[np.ndarray], pad: int, batch_size: int, seed: int):
        self.vectors, self.ids, self.pad, self.batch_size, self.seed = vectors, ids, pad, batch_size, seed

    def __len__(self) -> int:
        return max(1, len(self.ids) // self.batch_size)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, number = key
        rows = self._order(epoch)[number * self.batch_size : (number + 1) * self.batch_size]
        return batch_of(self.vectors[rows], [self.ids[row] for row in rows], self.pad)

    @lru_cache(maxsize=2)  # noqa: B019 (two epochs' orders, for as long as the data set lives)
    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.ids))


def token_ids(texts: Sequence[str], vocabulary: Vocabulary, length: int, ended: bool) -> tuple[list[np.ndarray], int]:
    """The tokens of each caption from start to end, int32 [at most ``length``], and how many captions were cut.

    ``ended``: captions that are cut have an end too.
    """
    rows, cut = [], 0
    for text in texts:
        ids = vocabulary.encode(text)
        if len(ids) > length:
            cut += 1
            ids = [*ids[: length - 1], vocabulary.eos] if ended else ids[:length]
        rows.append(np.array(ids, dtype=np.int32))
    return rows, cut


def caption_vectors(encoder: TextEncoder, texts: Sequence[str], source: str) -> np.ndarray:
    """The vector of each caption, float32 [captions, D].

    Raises EarwitnessError for a text of ``source`` that has other than one vector, or one of another length than 1.
    """
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    problems = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        found, numbers = encoder.encode(some)
        if (numbers != 1).any():
            raise EarwitnessError(
                f"{source} has {numbers.max()} vectors of the caption {some[int(numbers.argmax())]!r}; one is needed."
            )
        vectors[start : start + len(some)] = found[:, 0]
        norms = np.linalg.norm(found[:, 0], axis=1)
        off = np.flatnonzero(~(np.abs(norms - 1) < UNIT))
        problems += [f"{some[row]!r}: {norms[row]:.3g}" for row in off.tolist()]
    if problems:
        raise EarwitnessError(listed(f"Vectors of captions in {source} that are not of length 1:", problems))
    return vectors
