"""Text as a stage: from the training captions to ``vocabulary.json`` and ``word2vec.bin``."""

from __future__ import annotations

from pathlib import Path

from earwitness.corpora.tables import captions_by_clip, clips_of, read_table
from earwitness.files import digest, provenance
from earwitness.options import SPLITS, TextOptions
from earwitness.text import word2vec
from earwitness.text.vocabulary import Vocabulary, sentences_of


def prepare_text(options: TextOptions, clips: Path, captions: Path, vocabulary_out: Path, word2vec_out: Path) -> None:
    """Make vocabulary and word vectors of the training captions; count what the other splits have beyond them."""
    training = clips_of(clips, "development", "the vocabulary")
    sentences = sentences_of(_texts(captions, list(training["clip_id"])), options)
    vocabulary = Vocabulary.of(sentences, options)
    word2vec.train(sentences, vocabulary, word2vec_out)
    every = read_table(clips, ["clip_id", "split"])
    others = [split for split in SPLITS if split != "development" and split in set(every["split"])]
    counts = {
        split: vocabulary.count(_texts(captions, list(every["clip_id"][every["split"] == split]))) for split in others
    }
    made_by = provenance("text", {"captions": captions}, **options.model_dump())
    made_by["inputs"]["training_clips"] = digest(list(training["clip_id"]))
    vocabulary.write(vocabulary_out, made_by, {"training_captions": len(sentences), **counts})


def _texts(captions: Path, clip_ids: list[str]) -> list[str]:
    return [text for texts in captions_by_clip(captions, clip_ids).values() for text in texts]
