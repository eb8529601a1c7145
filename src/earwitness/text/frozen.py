"""Frozen text models, and the text stage of all kinds that have one: each distinct caption is encoded once.

A kind with a frozen model has options that are ``FrozenOptions``, whose ``MODEL`` names its ``FrozenModel``; its line
in ``registry.TEXTS`` names ``prepare``.
"""

from __future__ import annotations

import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earwitness import registry
from earwitness.errors import EarwitnessError
from earwitness.files import atomic_hdf5, provenance
from earwitness.text.encoders import text_digest, write_attributes
from earwitness.text.options import FrozenOptions
from earwitness.text.stage import phrase_texts, texts_by_split


class FrozenModel(ABC):
    """Encodes texts; made from its options alone, and loads what is large only when it encodes.

    Attributes:
        label: what messages and files call the model.
        state: digest of all that its vectors depend on beside the options.
        where: the folder or file it is loaded from, for messages.
    """

    label: str
    state: str
    where: str

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text it reads; 0: all."""
        return 0

    @abstractmethod
    def encoded(self, texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, int]]:
        """Number of each text, its vectors, float32 [n, D], and how many tokens it has.

        The model reads the first ``max_tokens`` of these. In any order, the same for the same texts.
        ``earwitness.metrics.models.batches`` batches by length and shows the progress.
        """


def model_of(options: FrozenOptions) -> FrozenModel:
    """The model of a text entry. Raises EarwitnessError where it is not on this machine."""
    return registry.load(options.MODEL)(options)


def encoded(model: FrozenModel, texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, int]]:
    """As ``model.encoded``; raises EarwitnessError for vectors that are not finite."""
    for number, vectors, tokens in model.encoded(texts):
        if not np.isfinite(vectors).all():
            raise EarwitnessError(f"The text model in {model.where} gives {texts[number]!r} no finite vectors.")
        yield number, vectors, tokens


def prepare(options: FrozenOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Encode the captions of all splits, and their phrases, and count those of which the model leaves out the end.

    Args:
        corpus: the folder with the corpus' tables; out: path of ``vectors``.
    """
    by_split = texts_by_split(corpus)
    texts = list(dict.fromkeys([*(text for own in by_split.values() for text in own), *phrase_texts(corpus)]))
    model = model_of(options)
    longest, storage = model.max_tokens, getattr(options, "storage", "float32")
    made_by = provenance("text", {"captions": corpus / "captions.csv"}, **options.settings("text"))
    made_by["inputs"]["model"] = model.state
    numbers, offsets, dimension = list[int](), [0], 0
    cut = set[str]()
    # The number of all tokens is known in the end only, and HDF5 keeps in one piece what has a known size.
    with atomic_hdf5(out["vectors"]) as file, tempfile.TemporaryFile(dir=out["vectors"].parent) as spool:
        for number, vectors, tokens in encoded(model, texts):
            dimension = vectors.shape[1]
            numbers.append(number)
            offsets.append(offsets[-1] + len(vectors))
            if tokens > longest > 0:
                cut.add(texts[number])
            spool.write(vectors.astype(storage).tobytes())
        spool.flush()
        shape = offsets[-1], dimension
        file["vectors"] = np.memmap(spool, storage, "r", shape=shape)
        file["offsets"] = np.array(offsets, dtype=np.int64)
        file["digests"] = np.array([text_digest(texts[number]) for number in numbers], dtype="S32")
        counts: dict[str, Any] = {"distinct": len(texts)}
        for split, own in by_split.items():
            counts[split] = {"captions": len(own), "cut": sum(text in cut for text in own)}
        contents = {"options": options.model_dump(mode="json"), "counts": counts, "provenance": made_by}
        sizes = {"dimension": dimension, "max_tokens": longest}
        write_attributes(file, options.kind, contents, label=model.label, state=model.state, **sizes)
    if cut:
        print(f"Captions of more than {longest} tokens, of which the end is left out: {len(cut)}", file=sys.stderr)
