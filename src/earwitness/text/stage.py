"""The text stage: from the training captions to ``vocabulary.json`` and ``word2vec.bin``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from earwitness.corpora.tables import PHRASES, captions_by_clip, clips_of, read_table
from earwitness.files import digest, provenance
from earwitness.options import SPLITS, VocabularyOptions
from earwitness.text import word2vec
from earwitness.text.cleaning import odd_characters
from earwitness.text.vocabulary import RESERVED, Vocabulary, sentences_of


def prepare_text(options: VocabularyOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Make vocabulary and word vectors from the training captions; count unknown words in the other splits, and
    characters that the cleaning leaves in words.

    Args:
        corpus: the folder with the corpus' tables; out: paths of ``vocabulary`` and ``word2vec``.
    """
    clips, captions = corpus / "clips.csv", corpus / "captions.csv"
    training = clips_of(clips, "development", "the vocabulary")
    ids = list(training["clip_id"])
    places = cache(lambda: _places(captions, ids))
    sentences = sentences_of(_texts(captions, ids), options, lambda number: places()[number])
    vocabulary = Vocabulary.of(sentences, options)
    word2vec.train(sentences, vocabulary, out["word2vec"])
    every = read_table(clips, ["clip_id", "split"])
    others = [split for split in SPLITS if split != "development" and split in set(every["split"])]
    counts: dict[str, dict[str, int]] = {
        split: vocabulary.count(_texts(captions, list(every["clip_id"][every["split"] == split]))) for split in others
    }
    if odd := odd_characters(word for word in vocabulary.tokens if word not in RESERVED):
        counts["odd_characters"] = {character: number for character, (number, _) in odd.items()}
        some = ", ".join(f"{c!r} in {number} words, such as {word!r}" for c, (number, word) in odd.items())
        advice = "" if options.cleaning == "unicode" else "; `cleaning: unicode` leaves fewer"
        print(f"Characters that the cleaning {options.cleaning} leaves in words: {some}{advice}", file=sys.stderr)
    made_by = provenance("text", {"captions": captions}, **options.model_dump())
    made_by["inputs"]["training_clips"] = digest(list(training["clip_id"]))
    vocabulary.write(out["vocabulary"], made_by, {"training_captions": len(sentences), **counts})


def _places(captions: Path, clip_ids: list[str]) -> list[str]:
    """Row and clip of each caption of the given clips, in their order."""
    place = {clip_id: number for number, clip_id in enumerate(clip_ids)}
    table = enumerate(read_table(captions, ["clip_id"])["clip_id"], 2)
    rows = sorted((place[clip_id], row) for row, clip_id in table if clip_id in place)
    return [f"{captions.name}, row {row}, clip {clip_ids[number]!r}" for number, row in rows]


def _texts(captions: Path, clip_ids: list[str]) -> list[str]:
    return [text for texts in captions_by_clip(captions, clip_ids).values() for text in texts]


def texts_by_split(corpus: Path) -> dict[str, list[str]]:
    """The captions of each split that a corpus has."""
    every = read_table(corpus / "clips.csv", ["clip_id", "split"])
    ids = {split: list(every["clip_id"][every["split"] == split]) for split in SPLITS}
    return {split: _texts(corpus / "captions.csv", own) for split, own in ids.items() if own}


def phrase_texts(corpus: Path) -> list[str]:
    """The distinct phrases of the captions of a corpus; none where it has no table of them."""
    path = corpus / "phrases.csv"
    return list(dict.fromkeys(read_table(path, PHRASES)["text"])) if path.is_file() else []
