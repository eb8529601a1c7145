"""The text stage of word vectors: those of the captions' words, and of a file's most frequent ones, in one table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from earwitness.corpora.tables import clips_of
from earwitness.errors import EarwitnessError, counted
from earwitness.files import atomic_hdf5, digest, provenance, sha256
from earwitness.text import word2vec
from earwitness.text.encoders import TABLE, WordVectors, write_attributes
from earwitness.text.keyed_vectors import MEAN_OF, choose
from earwitness.text.options import TRAINED, WordVectorsOptions
from earwitness.text.stage import phrase_texts, texts_by_split
from earwitness.text.tokens import asked_for, tokens_of, trained_as

SHOWN = 20  # unknown words that are counted one by one


def prepare(options: WordVectorsOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Train vectors on the training captions, or read those of all captions' words; count captions without them.

    Args:
        corpus: the folder with the corpus' tables; out: path of ``vectors``.
    """
    texts = texts_by_split(corpus)
    made_by = provenance("text", {"captions": corpus / "captions.csv"}, **options.settings("text"))
    if options.vectors == TRAINED:
        ids = list(clips_of(corpus / "clips.csv", "development", "the training of word vectors")["clip_id"])
        made_by["inputs"]["training_clips"] = digest(ids)
        encoder = _trained(options, texts["development"])
    else:
        path = Path(options.vectors)
        if not path.is_file():
            raise EarwitnessError(f"{path} does not exist; `vectors` names a file of word2vec, or is `trained`.")
        made_by["inputs"]["vectors"] = sha256(path)
        every = {text for split in texts.values() for text in split} | set(phrase_texts(corpus))
        tokens = {token for text in every for token in tokens_of(text, options.tokens)}
        wanted = {word for token in tokens for word in asked_for(token, options.tokens, options.splits)}
        chosen = choose(path, wanted, options.keep)
        encoder = WordVectors(*chosen, options)
    if options.unknown == "random":
        encoder = WordVectors(encoder.words, encoder.vectors, _random(encoder.vectors), options)
    counts, unknown = _counted(encoder, texts)
    if all(counts[split]["captions"] == counts[split]["without_known_words"] for split in texts):
        there, wanted_words = ", ".join(encoder.words[:5]), ", ".join(counts["unknown_words"])
        raise EarwitnessError(
            f"{options.vectors} has a vector of no word of the captions: it begins with {there or 'none of them'}, and "
            f"the captions have {wanted_words}. Is it of another language, or in another script or case?"
        )
    _report(counts, unknown, texts)
    vectors = encoder.tensors()[TABLE]
    with atomic_hdf5(out["vectors"]) as file:
        file.create_dataset("words", data=encoder.words, dtype=h5py.string_dtype())
        file["vectors"], file["unknown"] = vectors[:-1], vectors[-1]
        contents = {"options": options.model_dump(mode="json"), "counts": counts, "provenance": made_by}
        write_attributes(file, options.kind, contents)


def _trained(options: WordVectorsOptions, texts: Sequence[str]) -> WordVectors:
    """Vectors of the words of the training captions, in order of their first occurrence."""
    sentences = [[trained_as(token, options.tokens) for token in tokens_of(text, options.tokens)] for text in texts]
    counts = Counter(word for sentence in sentences for word in sentence)
    if not counts:
        raise EarwitnessError(f"None of the {counted(len(texts), 'training caption')} has a word.")
    found = word2vec.trained(sentences, dict(counts), options.word2vec)
    order = sorted(range(len(found.index_to_key)), key=lambda row: found.index_to_key[row])[:MEAN_OF]
    return WordVectors(found.index_to_key, found.vectors, found.vectors[order].mean(axis=0, dtype=np.float64), options)


def _random(vectors: np.ndarray) -> np.ndarray:
    """A vector drawn with the mean and deviation of each dimension, as published, always the same: float32 [D]."""
    drawn = np.random.default_rng(0).standard_normal(vectors.shape[1])
    return (vectors.mean(axis=0) + vectors.std(axis=0) * drawn).astype(np.float32)


def _counted(encoder: WordVectors, texts: Mapping[str, Sequence[str]]) -> tuple[dict[str, Any], Counter[str]]:
    """By split the captions, those with unknown words and those with no other; the most frequent unknown words."""
    counts: dict[str, Any] = {}
    unknown: Counter[str] = Counter()
    for split, captions in texts.items():
        some = none = 0
        for text in captions:
            words = encoder.words_of(text)
            missing = [
                token for token, own in zip(tokens_of(text, encoder.options.tokens), words, strict=True) if not own
            ]
            unknown.update(missing)
            some += bool(missing)
            none += not any(words)
        counts[split] = {"captions": len(captions), "with_unknown_words": some, "without_known_words": none}
    return counts | {"unknown_words": dict(unknown.most_common(SHOWN))}, unknown


def _report(counts: Mapping[str, Any], unknown: Counter[str], texts: Mapping[str, Sequence[str]]) -> None:
    """Say which words have no vector, and how many captions have none but these."""
    if unknown:
        some = ", ".join(f"{word!r} ({number} times)" for word, number in counts["unknown_words"].items())
        more = f" and {len(unknown) - SHOWN} others" if len(unknown) > SHOWN else ""
        print(f"Words without a vector, which are left out: {some}{more}", file=sys.stderr)
    if bare := {split: number for split in texts if (number := counts[split]["without_known_words"])}:
        some = ", ".join(f"{number} in {split}" for split, number in bare.items())
        print(f"Captions without any known word, which become the mean vector: {some}", file=sys.stderr)
