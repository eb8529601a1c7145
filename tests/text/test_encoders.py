"""Encoders come from a file of vectors or from what a trained model keeps, and encode alike."""

import json
import pickle

import h5py
import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.text import encoders
from earwitness.text.encoders import WordVectors, encoder_of, open_encoder
from earwitness.text.options import WordVectorsOptions

WORDS = ["dog", "bark", "rain"]
TEXTS = ["A dog barks", "rain, rain, rain on dogs", "12"]


@pytest.fixture
def make():
    def make(words=WORDS, size=2, **options):
        vectors = np.arange(1, len(words) * size + 1, dtype=np.float32).reshape(len(words), size)
        options = WordVectorsOptions.model_validate({"kind": "word_vectors"} | options)
        return WordVectors(words, vectors, np.full(size, -1, dtype=np.float32), options)

    return make


def test_vectors_lengths_and_zeros(make):
    vectors, lengths = make().encode(TEXTS)
    assert vectors.dtype == np.float32 and lengths.dtype == np.int64 and lengths.tolist() == [2, 4, 1]
    np.testing.assert_array_equal(vectors[0], [[1, 2], [3, 4], [0, 0], [0, 0]])
    np.testing.assert_array_equal(vectors[2], [[-1, -1], [0, 0], [0, 0], [0, 0]])
    assert [part.shape for part in make().encode([])] == [(0, 0, 2), (0,)]


def test_texts_are_cut_at_known_words(make):
    vectors, lengths = make(max_words=2).encode(TEXTS)
    assert lengths.tolist() == [2, 2, 1] and vectors.shape == (3, 2, 2)


def test_a_model_keeps_all_that_its_encoder_needs(make):
    encoder = make(max_words=3)
    description = json.loads(json.dumps(encoder.description()))
    again = encoder_of(description, encoder.tensors(), cache=None)
    for one, other in zip(encoder.encode(TEXTS), again.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.description() == encoder.description() and encoder.tensors()["word_vectors"].shape == (4, 2)
    with pytest.raises(MismatchError, match=r"\[4, D\]"):
        encoder_of(description, {"word_vectors": np.zeros((3, 2))})
    with pytest.raises(EarwitnessError, match="other"):
        encoder_of({"kind": "other"}, {})


def test_other_processes(make):
    again = pickle.loads(pickle.dumps(make()))  # noqa: S301
    np.testing.assert_array_equal(again.encode(TEXTS)[0], make().encode(TEXTS)[0])


def test_known_texts_are_parted_once(make, monkeypatch):
    words = [f"w{letter}{other}" for letter in "abcdefghij" for other in "abcdefghij"]
    encoder = make(words, size=300)
    texts = [" ".join(words[start : start + 14]) for start in range(80)] * 2
    encoder.encode(texts)
    monkeypatch.setattr(encoders, "tokens_of", None)
    encoder.encode(texts)


def test_other_files(tmp_path):
    with pytest.raises(EarwitnessError, match=r"none\.h5"):
        open_encoder(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(EarwitnessError, match=r"text\.h5"):
        open_encoder(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(EarwitnessError, match=r"empty\.h5.*provenance"):
        open_encoder(tmp_path / "empty.h5")


def test_words_that_are_unknown(make):
    encoder = make(["dog", "barks"])
    assert encoder.unknown("a dog barks, zzxqv") == ["a", "zzxqv"]
    assert encoder.unknown("zzxqv!") is encoder.unknown("") is None
    assert encoder.unknown("dog") == []
