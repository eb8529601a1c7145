"""The text stage of vocabularies: from the training captions to ``vocabulary.json`` and ``word2vec.bin``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from earwitness.corpora.tables import PHRASES, captions_by_clip, clips_of, read_table
from earwitness.errors import EarwitnessError, listed
from earwitness.files import digest, provenance, sha256
from earwitness.options import SPLITS, CleaningOptions, VocabularyOptions
from earwitness.text import word2vec
from earwitness.text.cleaning import odd_characters
from earwitness.text.options import WordPieceOptions
from earwitness.text.vocabulary import RESERVED, Vocabulary, sentences_of
from earwitness.text.wordpiece import WordPieces, vocabulary_file


def prepare_text(options: VocabularyOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Make vocabulary and word vectors from the training captions (``prepare_words``).

    Args:
        corpus: the folder with the corpus' tables; out: paths of ``vocabulary`` and ``word2vec``.
    """
    sentences, vocabulary = prepare_words(options, corpus, out)
    word2vec.train(sentences, vocabulary, out["word2vec"])


def prepare_words(
    options: CleaningOptions, corpus: Path, out: Mapping[str, Path]
) -> tuple[list[list[str]], Vocabulary]:
    """Make a vocabulary from the training captions; count unknown words in the other splits, and characters that the
    cleaning leaves in words.

    Args:
        corpus: the folder with the corpus' tables; out: path of ``vocabulary``.

    Returns:
        The cleaned training captions, and the vocabulary.
    """
    ids = _training_clips(corpus)
    places = cache(lambda: _places(corpus / "captions.csv", ids))
    sentences = sentences_of(_texts(corpus / "captions.csv", ids), options, lambda number: places()[number])
    vocabulary = Vocabulary.of(sentences, options)
    counts = dict[str, Any]()
    if odd := odd_characters(word for word in vocabulary.tokens if word not in RESERVED):
        counts["odd_characters"] = {character: number for character, (number, _) in odd.items()}
        some = ", ".join(f"{c!r} in {number} words, such as {word!r}" for c, (number, word) in odd.items())
        advice = "" if options.cleaning == "unicode" else "; `cleaning: unicode` leaves fewer"
        print(f"Characters that the cleaning {options.cleaning} leaves in words: {some}{advice}", file=sys.stderr)
    _write(vocabulary, corpus, ids, out["vocabulary"], len(sentences), counts)
    return sentences, vocabulary


def prepare_pieces(options: WordPieceOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Write the vocabulary of a tokenizer, or the part of it that the training captions need; count as for words.

    Args:
        corpus: the folder with the corpus' tables; out: path of ``vocabulary``.
    """
    ids = _training_clips(corpus)
    texts = _texts(corpus / "captions.csv", ids)
    file = vocabulary_file(options.tokenizer)
    vocabulary = WordPieces.of_file(file, texts, options)
    if bare := [number for number, text in enumerate(texts) if not vocabulary.clean(text)]:
        places = _places(corpus / "captions.csv", ids)
        problems = [f"{places[number]}: {texts[number]!r} has no word" for number in bare]
        raise EarwitnessError(listed("Training captions that cannot be used:", problems))
    _write(vocabulary, corpus, ids, out["vocabulary"], len(texts), {}, tokenizer=sha256(file))


def _training_clips(corpus: Path) -> list[str]:
    return list(clips_of(corpus / "clips.csv", "development", "the vocabulary")["clip_id"])


def _write(
    vocabulary: Vocabulary, corpus: Path, ids: list[str], out: Path, captions: int, more: Mapping[str, Any], **made: str
) -> None:
    """Write a vocabulary with counts of the other splits; ``made`` are digests of what else it was made from."""
    every = read_table(corpus / "clips.csv", ["clip_id", "split"])
    others = [split for split in SPLITS if split != "development" and split in set(every["split"])]
    counts = {
        split: vocabulary.count(_texts(corpus / "captions.csv", list(every["clip_id"][every["split"] == split])))
        for split in others
    }
    made_by = provenance("text", {"captions": corpus / "captions.csv"}, **vocabulary.options.model_dump())
    made_by["inputs"] |= {"training_clips": digest(ids), **made}
    vocabulary.write(out, made_by, {"training_captions": captions, **counts, **more})


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
