"""Word vectors: the same bytes twice, in the vocabulary's order, without pickles."""

import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.text import word2vec

SMALL = {"word2vec": {"size": 8, "passes": 3}}


@pytest.fixture
def trained(make, tmp_path):
    def trained(name, **changes):
        sentences, vocabulary = make(word2vec=SMALL["word2vec"] | changes)
        word2vec.train(sentences, vocabulary, tmp_path / name)
        return tmp_path / name, vocabulary

    return trained


def test_the_same_captions_give_the_same_bytes(trained):
    first, again, other = (trained(name, **changes)[0] for name, changes in [("a", {}), ("b", {}), ("c", {"seed": 2})])
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_the_file_is_in_the_word2vec_binary_format(trained):
    path, vocabulary = trained("a")
    content = path.read_bytes()
    assert content.startswith(b"12 8\n")  # ten words, <sos> and <eos>
    for number, token in enumerate(vocabulary.tokens[2:], start=2):
        at = content.index(f"{token} ".encode(), 5) + len(token) + 1
        values = np.frombuffer(content[at : at + 4 * 8], dtype="<f4")
        assert values.tolist() == word2vec.read(path, vocabulary)[number].tolist()


def test_vectors_stand_in_the_vocabulary_order(trained):
    path, vocabulary = trained("a")
    vectors = word2vec.read(path, vocabulary)
    assert vectors.shape == (len(vocabulary), 8) and vectors.dtype == np.float32
    assert not vectors[vocabulary.pad].any()
    assert vectors[1] == pytest.approx(vectors[2:].mean(axis=0), abs=1e-6)
    assert len(np.unique(vectors[2:], axis=0)) == 12


def test_training_moves_the_vectors(trained):
    (few, vocabulary), (many, _) = trained("a", sample=1.0), trained("b", sample=1.0, passes=200)
    assert not np.allclose(word2vec.read(few, vocabulary), word2vec.read(many, vocabulary), atol=1e-3)


def test_vectors_that_are_not_finite_are_refused(trained):
    path, vocabulary = trained("a")
    content = bytearray(path.read_bytes())
    token = vocabulary.tokens[3]
    at = content.index(f"{token} ".encode(), 5) + len(token) + 1
    content[at : at + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    with pytest.raises(MismatchError, match=rf"a has vectors .*\n  - {token}\n"):
        word2vec.read(path, vocabulary)


def test_training_that_diverges_writes_no_vectors(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("gensim.models.Word2Vec.train", lambda model, *_, **__: model.wv.vectors.__setitem__(3, np.nan))
    with pytest.raises(EarwitnessError, match=r"diverged.*\n  - \S+\n.*learning_rate"):
        trained("a")
    assert not list(tmp_path.iterdir())


def test_vectors_of_another_vocabulary_are_refused(trained, make):
    path, _ = trained("a")
    with pytest.raises(MismatchError, match=r"vectors of cat\b"):
        word2vec.read(path, make(["the cat"])[1])
