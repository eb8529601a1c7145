"""Bags of hashed words: the worked example of a text in docs/extending.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from pydantic import PositiveInt

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.files import provenance, read_json, write_json
from earwitness.options import TextOptions


class ToyHashedOptions(TextOptions):
    """Each word counts in one of ``bins`` bins, the more the fewer training captions have it."""

    FILES = {"weights": "weights.json"}

    kind: Literal["toy_hashed"]
    bins: PositiveInt = 256


class HashedWords:
    """Turns texts into unit vectors.

    Attributes:
        weights: of each bin.
    """

    def __init__(self, weights: Sequence[float]):
        self.weights = list(weights)

    @classmethod
    def read(cls, path: Path) -> HashedWords:
        """What ``prepare`` wrote."""
        return cls(read_json(path)["weights"])

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (zero for a text without words): float32 [texts, bins]."""
        vectors = np.zeros((len(texts), len(self.weights)), dtype=np.float32)
        for row, text in enumerate(texts):
            for number in bins_of(text, len(self.weights)):
                vectors[row, number] += self.weights[number]
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def bins_of(text: str, bins: int) -> list[int]:
    """The bin of each word."""
    return [crc32(word.encode()) % bins for word in re.findall(r"\w+", text.lower())]


def prepare(options: ToyHashedOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Weigh the bins by the training captions: ln(captions / captions with the bin) + 1.

    Args:
        corpus: the folder of the corpus' tables; out: places of ``FILES``, by name.
    """
    clips = clips_of(corpus / "clips.csv", "development", "the weights of hashed words")
    captions = captions_by_clip(corpus / "captions.csv", clips["clip_id"])
    texts = [text for own in captions.values() for text in own]
    having = Counter(number for text in texts for number in set(bins_of(text, options.bins)))
    weights = [float(np.log(len(texts) / max(1, having[number]))) + 1 for number in range(options.bins)]
    made_by = provenance("text", {"captions": corpus / "captions.csv"}, **options.settings("text"))
    write_json(out["weights"], {"weights": weights, "provenance": made_by})
