"""A few training captions and the vocabularies they give."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earwitness.corpora import tables
from earwitness.options import VocabularyOptions
from earwitness.text.vocabulary import Vocabulary, sentences_of

CAPTIONS = ["The rain falls, the wind blows.", "A dog barks", "rain falls on a roof"]


@pytest.fixture
def make():
    """Cleaned sentences and vocabulary of captions, by default the three above."""

    def make(captions=CAPTIONS, **options):
        options = VocabularyOptions.model_validate(options)
        sentences = sentences_of(captions, options)
        return sentences, Vocabulary.of(sentences, options)

    return make


@pytest.fixture
def corpus(tmp_path):
    """Writes the tables of a corpus of captions by split, a clip each; gives their folder."""

    def corpus(**texts: list[str]) -> Path:
        clips = [[f"{split}/1", split, "1.wav", "name", 1.0, 8000, 1, "x"] for split in texts]
        captions = [
            [f"{split}/1#{i}", f"{split}/1", text] for split, own in texts.items() for i, text in enumerate(own)
        ]
        tables.write_table(tmp_path / "clips.csv", pd.DataFrame(clips, columns=tables.CLIPS))
        tables.write_table(tmp_path / "captions.csv", pd.DataFrame(captions, columns=tables.CAPTIONS))
        return tmp_path

    return corpus


@pytest.fixture
def vectors_file(tmp_path):
    """Writes a file of word2vec: the word in row n has n, n / 2 and -n; ``kind`` is binary, text or packed."""

    def vectors_file(words, kind="binary", count=None, size=3, end=None, **rows) -> Path:
        content = f"{len(words) if count is None else count} {size}\n".encode()
        for number, word in enumerate(words, 1):
            values = rows.get(word, [number, number / 2, -number])
            if kind == "text":
                content += f"{word} {' '.join(map(str, values))}\n".encode()
            else:
                content += word.encode() + b" " + np.array(values, dtype="<f4").tobytes()
        path = tmp_path / f"{kind}.bin"
        content = content[:end]
        path.write_bytes(gzip.compress(content) if kind == "packed" else content)
        return path

    return vectors_file
