"""The text stage of word vectors: from captions and a file, or from the training captions, to one table."""

import json

import h5py
import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.files import provenance, sha256
from earwitness.text.encoders import open_encoder
from earwitness.text.options import WordVectorsOptions
from earwitness.text.word_vectors import prepare
from tests.places import shared

TEXTS = {
    "development": ["A dog barks.", "rain falls, rain falls"],
    "validation": ["the dogs"],
    "evaluation": ["12 zzyzx", "Rain"],
}


def made(corpus, **options):
    options = WordVectorsOptions.model_validate({"kind": "word_vectors"} | options)
    prepare(options, corpus, {"vectors": corpus / "vectors.h5"})
    return open_encoder(corpus / "vectors.h5")


def counts_of(corpus):
    with h5py.File(corpus / "vectors.h5") as file:
        return json.loads(file.attrs["counts"])


def test_vectors_of_a_file(corpus, vectors_file, capsys):
    folder, path = corpus(**TEXTS), vectors_file(["first", "cat", "dog", "rain", "bark"])
    encoder = made(folder, vectors=str(path), keep=1)
    assert encoder.words == ["first", "dog", "rain", "bark"] and encoder.dimension == 3
    vectors, lengths = encoder.encode(["A dog barks.", "12 zzyzx", "cat"])
    assert lengths.tolist() == [2, 1, 1]
    np.testing.assert_array_equal(vectors[0, :, 0], [3, 5])
    assert vectors[1, 0, 0] == vectors[2, 0, 0] == 3 and not vectors[1:, 1].any()  # the mean of all five
    assert counts_of(folder) == {
        "development": {"captions": 2, "with_unknown_words": 2, "without_known_words": 0},
        "validation": {"captions": 1, "with_unknown_words": 1, "without_known_words": 0},
        "evaluation": {"captions": 2, "with_unknown_words": 1, "without_known_words": 1},
        "unknown_words": {"falls": 2, "A": 1, "the": 1, "12": 1, "zzyzx": 1},
    }
    told = capsys.readouterr().err
    assert "'falls' (2 times)" in told and "1 in evaluation" in told


def test_provenance_names_captions_and_vectors(corpus, vectors_file):
    folder, path = corpus(**TEXTS), vectors_file(["dog"])
    made(folder, vectors=str(path))
    inputs = {"captions": sha256(folder / "captions.csv"), "vectors": sha256(path)}
    expected = provenance("text", **WordVectorsOptions(kind="word_vectors", vectors=str(path)).settings("text"))
    open_encoder(folder / "vectors.h5", expected | {"inputs": inputs})
    with pytest.raises(MismatchError, match=r"inputs\.vectors"):
        open_encoder(folder / "vectors.h5", {"inputs": {"vectors": "other"}})


def test_trained_on_development_captions_alone(corpus):
    folder = corpus(**TEXTS)
    encoder = made(folder, word2vec={"size": 4, "passes": 2})
    assert encoder.words == ["a", "dog", "barks", "rain", "falls"] and encoder.dimension == 4
    table = encoder.tensors()["word_vectors"]
    np.testing.assert_allclose(table[-1], table[:-1].mean(axis=0), atol=1e-7)
    first = (folder / "vectors.h5").read_bytes()
    made(folder, word2vec={"size": 4, "passes": 2})
    assert (folder / "vectors.h5").read_bytes() == first
    assert counts_of(folder)["evaluation"]["without_known_words"] == 1


def test_trained_on_lemmas_where_these_are_looked_up(corpus):
    words = made(corpus(**TEXTS), tokens="reference", word2vec={"size": 4, "passes": 1}).words
    assert {"bark", "fall", ","} <= set(words) and "barks" not in words


def test_a_file_without_any_word_of_the_captions(corpus, vectors_file):
    path = vectors_file(["Hund", "Regen"])
    with pytest.raises(EarwitnessError) as caught:
        made(corpus(**TEXTS), vectors=str(path))
    assert str(path) in str(caught.value) and "Hund" in str(caught.value) and "falls" in str(caught.value)
    with pytest.raises(EarwitnessError, match=r"none\.bin"):
        made(corpus(**TEXTS), vectors="none.bin")


def test_captions_without_words_train_nothing(corpus):
    with pytest.raises(EarwitnessError, match="1 training caption"):
        made(corpus(development=["..."]))


def test_training_options_need_training():
    with pytest.raises(ValueError, match="word2vec"):
        WordVectorsOptions(kind="word_vectors", vectors="x.bin", word2vec={"size": 4})


def test_real_vectors_know_every_word_of_real_captions(corpus):
    import pandas as pd

    path = shared("features", "CLOTHO", "TextEmbeddings", "w2v.bin")
    table = pd.read_csv(shared("soundscapes", "clotho_captions_evaluation.csv"))
    folder = corpus(evaluation=list(table["caption_1"]))
    encoder = made(folder, vectors=str(path))
    assert len(encoder.words) == 507
    expected = {"captions": 100, "with_unknown_words": 0, "without_known_words": 0}
    assert counts_of(folder)["evaluation"] == expected
