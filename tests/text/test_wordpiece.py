"""Word pieces: those of BERT's tokenizer, or as many as the training captions need."""

import json

import pytest

from earwitness.errors import EarwitnessError
from earwitness.files import read_json
from earwitness.text.options import WordPieceOptions, WordsOptions
from earwitness.text.stage import prepare_pieces, prepare_words
from earwitness.text.vocabulary import Vocabulary
from earwitness.text.wordpiece import WordPieces, read_vocabulary, vocabulary_file, vocabulary_of

CAPTIONS = ["A dog barks, loudly.", "Thunderstorms rumble"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def options(**changes):
    return WordPieceOptions.model_validate({"kind": "wordpiece"} | changes)


@pytest.fixture(scope="module")
def auto():
    try:
        return vocabulary_file("auto")
    except EarwitnessError as error:
        pytest.skip(str(error))


@pytest.fixture
def make(auto):
    return lambda **changes: WordPieces.of_file(auto, CAPTIONS, options(**changes))


def test_ids_are_those_of_bert(make):
    vocabulary = make()
    assert len(vocabulary) == 30522
    assert (vocabulary.pad, vocabulary.sos, vocabulary.eos) == (0, 101, 102)
    ids = vocabulary.encode("A DOG, loudly")
    assert ids == [101, 1037, 3899, 1010, 9928, 102]
    assert vocabulary.decode(ids[1:]) == "a dog, loudly"
    assert vocabulary.max_words == len(vocabulary.clean(CAPTIONS[0])) > 5
    assert {0, 100, 101, 103, 1} <= set(vocabulary.never_generated) and 102 not in vocabulary.never_generated


def test_ids_are_those_of_the_tokenizer(make, auto):
    tokenizers = pytest.importorskip("tokenizers")
    other = tokenizers.Tokenizer.from_file(str(auto.with_name("tokenizer.json")))
    other.no_truncation()
    other.no_padding()
    vocabulary = make()
    for text in (*CAPTIONS, "Café 12°C – naïve!", "don't x-ray the [roof] 雨", "\u2028a\x85b", "zzz" * 50):
        assert vocabulary.encode(text) == other.encode(text).ids


def test_the_seen_pieces_give_the_same_pieces(make):
    whole, seen = make(), make(pieces="seen")
    assert len(seen) < 30 and [vocabulary.clean(CAPTIONS[1]) for vocabulary in (whole, seen)]
    for caption in CAPTIONS:
        assert seen.clean(caption) == whole.clean(caption)
        assert seen.decode(seen.encode(caption)[1:]) == whole.decode(whole.encode(caption)[1:])
    assert seen.encode("a zebra") == [seen.sos, seen.ids["a"], seen.ids["[UNK]"], seen.eos]
    assert seen.count(["a zebra", "a dog"])["with_unknown_words"] == 1


def test_a_caption_is_cut_and_still_ends(make):
    assert make().encode("a dog barks", 2) == [101, 1037, 3899, 102]


@pytest.mark.parametrize("pieces", ["all", "seen"])
def test_the_stage_writes_all_that_is_needed(auto, corpus, tmp_path, pieces):
    folder = corpus(development=CAPTIONS, evaluation=["A cat"])
    prepare_pieces(options(pieces=pieces), folder, {"vocabulary": tmp_path / "v.json"})
    content = read_json(tmp_path / "v.json")
    vocabulary = read_vocabulary(tmp_path / "v.json", {"made_by": "text"})
    assert isinstance(vocabulary, WordPieces) and vocabulary == vocabulary_of(json.loads(json.dumps(content)))
    assert content["counts"]["training_captions"] == 2 and content["counts"]["evaluation"]["captions"] == 1
    assert set(content["provenance"]["inputs"]) == {"captions", "training_clips", "tokenizer"}
    assert vocabulary.decode(vocabulary.encode(CAPTIONS[1])[1:]) == "thunderstorms rumble"


def test_the_stage_of_words_makes_no_vectors(corpus, tmp_path):
    words = WordsOptions.model_validate({"kind": "words"})
    prepare_words(words, corpus(development=CAPTIONS), {"vocabulary": tmp_path / "v.json"})
    vocabulary = read_vocabulary(tmp_path / "v.json")
    assert type(vocabulary) is Vocabulary and vocabulary.options == words
    assert vocabulary.decode(vocabulary.encode("a dog")[1:]) == "a dog"


def folder_of(tmp_path, tokens):
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return tmp_path / "vocab.txt"


def test_a_folder_without_its_vocabulary_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(EarwitnessError, match=str(folder)):
            vocabulary_file(str(folder))
        assert options(tokenizer=str(folder)).found() == {"tokenizer": "none"}


def test_what_is_no_whole_vocabulary_is_refused(tmp_path):
    with pytest.raises(EarwitnessError, match=r"vocab\.txt, of 2 tokens.*\n.*\[PAD\].*\n.*\[UNK\]"):
        WordPieces.of_file(folder_of(tmp_path, ["[CLS]", "[SEP]"]), [], options())
    with pytest.raises(EarwitnessError, match=r"4 tokens.*a, b"):  # as transformers makes them where files are missing
        WordPieces.of_file(folder_of(tmp_path, SPECIAL), [], options())
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}', encoding="utf-8")
    with pytest.raises(EarwitnessError, match="'BPE'"):
        WordPieces.of_file(tmp_path / "tokenizer.json", [], options())


def test_a_tokenizer_may_keep_case(tmp_path):
    path = folder_of(tmp_path, [*SPECIAL, *LETTERS, "A"])
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    vocabulary = WordPieces.of_file(path, ["A"], options())
    found = options(tokenizer=str(tmp_path)).found()
    (tmp_path / "tokenizer_config.json").unlink()
    assert found == {**options(tokenizer=str(tmp_path)).found(), "lowercase": "false"}
    assert vocabulary.encode("A a") == [2, len(vocabulary) - 1, 4, 3]
    assert vocabulary_of(vocabulary.content()).clean("A") == ["A"]
