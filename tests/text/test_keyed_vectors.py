"""Files of word2vec give the words that are asked for; what is wrong in them is told with file, row and word."""

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.text import keyed_vectors
from earwitness.text.keyed_vectors import choose
from tests.places import shared

WORDS = ["dog", "rain", "été", "cat", "A"]


@pytest.mark.parametrize("kind", ["binary", "text", "packed"])
def test_wanted_and_first_words(vectors_file, kind):
    words, vectors, mean = choose(vectors_file(WORDS, kind), ["été", "bird"], 1)
    assert words == ["dog", "été"] and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[1, 0.5, -1], [3, 1.5, -3]])
    np.testing.assert_array_equal(mean, [3, 1.5, -3])


def test_files_of_gensim(vectors_file, tmp_path):
    from gensim.models import KeyedVectors

    made = KeyedVectors(3)
    made.add_vectors(WORDS, np.arange(15, dtype=np.float32).reshape(5, 3) / 7)
    for binary in (True, False):
        made.save_word2vec_format(str(tmp_path / "g"), binary=binary)
        np.testing.assert_allclose(choose(tmp_path / "g", WORDS, 0).vectors, made.vectors, rtol=1e-6)
    ours = KeyedVectors.load_word2vec_format(str(vectors_file(WORDS)), binary=True)
    np.testing.assert_array_equal(ours["cat"], [4, 2, -4])


def test_the_mean_is_of_the_first_words_in_alphabetical_order(vectors_file, monkeypatch):
    monkeypatch.setattr(keyed_vectors, "MEAN_OF", 2)
    words = ["dog", "zoo", "b", "c", "A", "x", "B", "y"]
    assert choose(vectors_file(words), [], 0).mean[0] == (5 + 7) / 2
    assert choose(vectors_file(words), ["zoo"], 0).words == ["zoo"]


def test_rows_may_end_with_line_feeds(vectors_file):
    path = vectors_file(["dog"])
    path.write_bytes(path.read_bytes().replace(b"1 3", b"2 3") + b"\ncat " + np.ones(3, "<f4").tobytes() + b"\n")
    assert choose(path, ["cat"], 0).words == ["cat"]


def refused(path, *words, first=0):
    with pytest.raises(EarwitnessError) as caught:
        choose(path, words, first)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["binary", "packed"])
def test_a_torn_last_row(vectors_file, kind):
    told = refused(vectors_file(["dog", "rain"], kind, end=-5))
    assert "row 2" in told and "'rain'" in told and "cut off" in told


def test_a_torn_last_row_of_text(vectors_file):
    told = refused(vectors_file(["dog", "rain"], "text", end=-4))
    assert "row 2" in told and "'rain'" in told and "cut off" in told


@pytest.mark.parametrize("kind", ["binary", "text", "packed"])
@pytest.mark.parametrize(("count", "row"), [(7, "row 6"), (4, "row 5")])
def test_another_number_of_words(vectors_file, kind, count, row):
    told = refused(vectors_file(WORDS, kind, count=count))
    assert row in told and f"{count} words" in told


@pytest.mark.parametrize("kind", ["binary", "text"])
@pytest.mark.parametrize("size", [2, 4, 300])
def test_another_dimension(vectors_file, kind, size):
    told = refused(vectors_file(WORDS, kind, size=size))
    assert "row" in told and ("first line" in told)


@pytest.mark.parametrize("kind", ["binary", "text"])
def test_values_that_are_not_finite(vectors_file, kind):
    path = vectors_file(WORDS, kind, cat=[1, np.nan, 0], dog=[np.inf, 0, 0])
    told = refused(path)
    assert "row 1: 'dog'" in told and "row 4: 'cat'" in told


def test_a_word_twice(vectors_file):
    told = refused(vectors_file(["dog", "rain", "dog"]), "dog")
    assert "row 3: 'dog', as in row 1" in told


def test_what_is_no_number(vectors_file):
    told = refused(vectors_file(WORDS, "text", rain=[1, "x1", 2]))
    assert "row 2" in told and "'x1'" in told and "'rain'" in told


@pytest.mark.parametrize("content", [b"", b"dog 0.1 0.2\n", b"\x80\x04\x95 gensim", b"0 300\n", b"3 999999999\n"])
def test_other_files(tmp_path, content):
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    assert "first line" in refused(path)


def test_a_cut_off_archive(vectors_file):
    path = vectors_file(WORDS, "packed")
    path.write_bytes(path.read_bytes()[:-12])
    assert "unpacked" in refused(path)


def test_words_that_are_no_text_are_left_out(vectors_file):
    path = vectors_file([f"w{number}" for number in range(200)])
    path.write_bytes(path.read_bytes().replace(b"w150 ", b"w\xc3\xc30 "))
    assert len(choose(path, [], 1000).words) == 199


def test_real_word_vectors():
    path = shared("features", "CLOTHO", "TextEmbeddings", "w2v.bin")
    words, vectors, mean = choose(path, [], 1000)
    assert vectors.shape == (507, 300) and words == sorted(words)
    norms = np.linalg.norm(vectors, axis=1)
    assert round(float(norms.min()), 1) == 1.7 and round(float(norms.max()), 1) == 5.3
    np.testing.assert_allclose(mean, vectors.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("row", [" dog 1 2 3", "dog  1 2 3", "cat 0.1 2 3 4", "a 1 b  2 3"])
def test_blanks_and_values_too_many(tmp_path, row):
    (tmp_path / "v.txt").write_text(f"2 3\nhot dog 1 2 3\n{row}\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match="row 2"):
        choose(tmp_path / "v.txt", ["dog"], 1)
