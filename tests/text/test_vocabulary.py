"""Words, ids and what is done with words that training never had."""

import csv

import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.files import provenance
from earwitness.text.vocabulary import Vocabulary, frequencies, padded
from tests.places import shared

WORDS = ("the", "rain", "falls", "wind", "blows", "a", "dog", "barks", "on", "roof")


def test_words_stand_in_the_order_of_their_first_occurrence(make):
    assert make()[1].tokens == ("<pad>", "<unk>", "<sos>", "<eos>", *WORDS)
    assert make(pad_is_eos=True)[1].tokens == ("<sos>", "<eos>", *WORDS)


def test_special_ids(make):
    vocabulary, published = make()[1], make(pad_is_eos=True)[1]
    assert (vocabulary.pad, vocabulary.sos, vocabulary.eos, vocabulary.never_generated) == (0, 2, 3, [0, 1])
    assert (published.pad, published.sos, published.eos, published.never_generated) == (1, 0, 1, [])


def test_the_longest_training_caption_sets_the_length(make):
    assert make()[1].max_words == 6
    assert make(["a b", "a"])[1].max_words == 2


def test_a_caption_there_and_back(make):
    vocabulary = make()[1]
    ids = vocabulary.encode("The DOG blows.")
    assert ids == [2, 4, 10, 8, 3]
    assert vocabulary.decode(ids) == "the dog blows"


def test_decoding_ends_at_the_first_eos_and_leaves_out_special_tokens(make):
    vocabulary = make()[1]
    assert vocabulary.decode([2, 4, 0, 1, 5, 3, 6]) == "the rain"
    assert vocabulary.decode([3, 4]) == ""
    assert vocabulary.decode([]) == ""


def test_encoding_cuts_after_the_given_number_of_words(make):
    vocabulary = make()[1]
    assert vocabulary.encode("the rain falls on a roof", 2) == [2, 4, 5, 3]
    assert vocabulary.encode("the rain", 2) == [2, 4, 5, 3]


def test_unknown_words_become_unk_or_are_left_out_where_there_is_none(make):
    assert make()[1].encode("the cat") == [2, 4, 1, 3]
    published = make(pad_is_eos=True)[1]
    assert published.encode("the cat meows") == published.encode("the")


def test_captions_of_other_splits_are_counted(make):
    counts = make(["a b", "a"])[1].count(["a b a", "c", "b", "a c b"])
    assert counts == {"captions": 4, "with_unknown_words": 2, "longer_than_training": 2}


def test_captions_that_cleaning_empties_are_refused_together(make):
    with pytest.raises(EarwitnessError, match=r":\n  - .*1: '\.\.\.' .*\n  - .*2: ' ' [^\n]*$"):
        make(["a dog", "...", " "])


@pytest.mark.parametrize("options", [{}, {"pad_is_eos": True}])
@pytest.mark.parametrize("word", ["<pad>", "<unk>", "<sos>", "<eos>"])
def test_reserved_words_in_training_captions_are_refused(make, options, word):
    with pytest.raises(EarwitnessError, match=f"reserved .*{word}"):
        make(["a dog", f"a {word}"], **options)


def test_occurrences_count_the_wrapping_tokens(make):
    sentences, vocabulary = make(["a b", "b"])
    assert frequencies(sentences, vocabulary) == {"<sos>": 2, "<eos>": 2, "a": 1, "b": 2}


def test_rows_are_padded_to_the_longest_or_to_a_given_length():
    assert padded([[5, 6], [7]], 0).tolist() == [[5, 6], [7, 0]]
    assert padded([[5, 6], [7]], 9, 4).tolist() == [[5, 6, 9, 9], [7, 9, 9, 9]]


@pytest.mark.parametrize("options", [{}, {"pad_is_eos": True, "punct_replacement": " "}])
def test_a_file_gives_back_the_same_vocabulary(make, tmp_path, options):
    vocabulary = make(**options)[1]
    vocabulary.write(tmp_path / "v.json", provenance("text"), {"training_captions": 3})
    assert Vocabulary.read(tmp_path / "v.json", {"made_by": "text"}) == vocabulary
    with pytest.raises(MismatchError, match=r"v\.json.*made_by.*'text'.*'other'"):
        Vocabulary.read(tmp_path / "v.json", {"made_by": "other"})


@pytest.fixture(scope="module")
def clotho():
    """Captions of the shared Clotho tables by split: file name -> captions."""
    folder = shared("captions", "clotho_v2")

    def read(split):
        with (folder / f"clotho_captions_{split}.csv").open(encoding="utf-8", newline="") as file:
            return {row[0]: row[1:] for row in list(csv.reader(file))[1:]}

    return {split: read(split) for split in ("development", "validation", "evaluation")}


def test_cl4ac_tables_give_the_known_vocabulary(clotho, make):
    """4369 words on these tables; 8 to 20 words a caption; no other split has a word beyond them."""
    names = shared("splits", "clotho_cl4ac_validation.txt").read_text(encoding="utf-8").splitlines()
    held_out = [captions for name, captions in clotho["development"].items() if name in set(names)]
    assert len(held_out) == 100
    rows = [captions for name, captions in clotho["development"].items() if name not in set(names)]
    training = [caption for captions in [*rows, *clotho["validation"].values()] for caption in captions]
    assert len(training) == 23920
    sentences, vocabulary = make(training, pad_is_eos=True)
    assert len(vocabulary) == 4369 + 2
    assert (min(map(len, sentences)), vocabulary.max_words) == (8, 20)
    others = [caption for captions in [*held_out, *clotho["evaluation"].values()] for caption in captions]
    assert vocabulary.count(others)["longer_than_training"] == 0


def test_special_tokens_written_in_a_caption_are_unknown_words(make):
    assert make()[1].encode("the <eos> rain <pad>") == [2, 4, 1, 5, 1, 3]
    assert make()[1].count(["the <eos> rain"])["with_unknown_words"] == 1
