"""Zero-shot retrieval: the similarity of a clip and a text is the cosine of their vectors by a CLAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from earwitness.clap import require_same
from earwitness.errors import EarwitnessError, listed
from earwitness.features.store import FeatureStore
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import DualEncoder, System
from earwitness.systems.zeroshot.options import TEXTS, ZeroshotOptions
from earwitness.text.encoders import TextEncoder, open_encoder


class ZeroshotSystem(System[ZeroshotOptions]):
    """Nothing is trained."""

    @classmethod
    def load(cls, options: ZeroshotOptions, folder: Path, files: Mapping[str, Path]) -> Zeroshot:
        """The retriever. Raises MismatchError for vectors of clips and texts by two CLAPs."""
        if missing := [name for name in (options.clap, TEXTS) if name not in files]:
            raise EarwitnessError(listed("Zero-shot retrieval has no model of its own and needs these files:", missing))
        with FeatureStore(files[options.clap]) as store:
            return Zeroshot(options.clap, store, open_encoder(files[TEXTS]))


class Zeroshot(DualEncoder):
    """A CLAP as retriever.

    Args:
        name: of the CLAP; store: a file of its vectors of clips, which says what made them; encoder: that of its texts.
    """

    def __init__(self, name: str, store: FeatureStore, encoder: TextEncoder):
        require_same(store, encoder)
        self.name, self.made_by, self.encoder = name, {name: store.front_end}, encoder
        self.cut = 0

    def embed_clips(self, clips: Clips) -> np.ndarray:
        """Float32 [clips, D], of length 1. Raises MismatchError for vectors of another CLAP."""
        store = clips.store(self.name)
        require_same(store, self.encoder)
        return store.batch(clips.ids)[0][:, 0]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [texts, D], of length 1."""
        vectors, _ = self.encoder.encode(texts)
        self.cut += self.encoder.cut(texts)
        return vectors[:, 0]

    def unknown(self, text: str) -> list[str] | None:
        return self.encoder.unknown(text)

    def remarks(self) -> list[str]:
        said = [f"{self.cut} texts are longer than the CLAP reads, and are cut"] if self.cut else []
        self.cut = 0
        return said
