"""Frozen text models, and the text stage of all kinds that have one: each distinct caption is encoded once.

A kind with a frozen model has options that are ``FrozenOptions``, whose ``MODEL`` names its ``FrozenModel``; its line
in ``registry.TEXTS`` names ``prepare``.
"""

from __future__ import annotations

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from earwitness import registry
from earwitness.errors import EarwitnessError
from earwitness.files import atomic, atomic_hdf5, digest, provenance
from earwitness.text.encoders import text_digest, write_attributes
from earwitness.text.options import FrozenOptions
from earwitness.text.stage import phrase_texts, texts_by_split

BLOCK = 1024  # texts whose vectors are on disk together: what a run that is stopped loses; whole batches of any model


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
    parts = out["vectors"].with_name(f".{out['vectors'].name}.parts")
    blocks = _blocks(model, texts, parts / digest([made_by, texts])[:16], storage)
    numbers, lengths, tokens = (
        np.concatenate([np.empty(0, dtype=np.int64), *(_read(block, name) for block in blocks)])
        for name in ("numbers", "lengths", "tokens")
    )
    dimension = _read(blocks[0], "vectors").shape[1] if blocks else 0
    cut = {texts[number] for number in numbers[tokens > longest]} if longest else set()
    with atomic_hdf5(out["vectors"]) as file:
        file["offsets"] = offsets = np.concatenate([[0], np.cumsum(lengths)])
        # HDF5 keeps in one piece what has a known size.
        vectors = file.create_dataset("vectors", (offsets[-1], dimension), storage)
        start = 0
        for block in blocks:
            part = _read(block, "vectors")
            vectors[start : start + len(part)] = part
            start += len(part)
        file["digests"] = np.array([text_digest(texts[number]) for number in numbers], dtype="S32")
        counts: dict[str, Any] = {"distinct": len(texts)}
        for split, own in by_split.items():
            counts[split] = {"captions": len(own), "cut": sum(text in cut for text in own)}
        contents = {"options": options.model_dump(mode="json"), "counts": counts, "provenance": made_by}
        sizes = {"dimension": dimension, "max_tokens": longest}
        write_attributes(file, options.kind, contents, label=model.label, state=model.state, **sizes)
    shutil.rmtree(parts, ignore_errors=True)
    if cut:
        print(f"Captions of more than {longest} tokens, of which the end is left out: {len(cut)}", file=sys.stderr)


def _blocks(model: FrozenModel, texts: Sequence[str], folder: Path, storage: str) -> list[Path]:
    """The vectors of texts in files of ``BLOCK`` texts, of which an earlier run that was stopped made the first ones.

    Each has ``numbers``, ``lengths`` and ``tokens``, int64 [texts], and ``vectors`` [sum of lengths, D].
    """
    if folder.parent.is_dir():
        for other in set(folder.parent.iterdir()) - {folder}:  # of other captions, or another model
            shutil.rmtree(other)
    blocks = sorted(folder.glob("*.npz"))
    known = {number for block in blocks for number in _read(block, "numbers").tolist()}
    left = [number for number in range(len(texts)) if number not in known]
    coming = encoded(model, [texts[number] for number in left]) if left else iter(())
    while some := list(islice(coming, BLOCK)):
        numbers, vectors, tokens = zip(*some, strict=True)
        path = folder / f"{len(blocks):08}.npz"
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                numbers=np.array([left[number] for number in numbers]),
                lengths=np.array([len(one) for one in vectors]),
                tokens=np.array(tokens),
                vectors=np.concatenate(vectors).astype(storage),
            )
        blocks.append(path)
    return blocks


def _read(block: Path, name: str) -> np.ndarray:
    with np.load(block) as file:
        return file[name]
