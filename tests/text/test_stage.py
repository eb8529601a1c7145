"""The text stage: vocabulary of the training captions alone, and what the other splits have beyond it."""

import pandas as pd
import pytest

from earwitness.corpora.tables import CAPTIONS, CLIPS, write_table
from earwitness.errors import CorpusError, EarwitnessError
from earwitness.files import read_json
from earwitness.options import VocabularyOptions
from earwitness.text import word2vec
from earwitness.text.stage import prepare_text
from earwitness.text.vocabulary import Vocabulary

TEXTS = {
    "development": ["A dog barks.", "rain, NA rain"],
    "validation": ["a cat barks"],
    "evaluation": ["rain rain rain rain", "a dog"],
}
OPTIONS = VocabularyOptions.model_validate({"word2vec": {"size": 4, "passes": 1}})


def prepare(folder, splits):
    clips = [[f"{split}/1", split, "1.wav", "name", 1.0, 8000, 1, "x"] for split in splits]
    captions = [[f"{split}/1#{i}", f"{split}/1", text] for split in splits for i, text in enumerate(TEXTS[split])]
    write_table(folder / "clips.csv", pd.DataFrame(clips, columns=CLIPS))
    write_table(folder / "captions.csv", pd.DataFrame(captions, columns=CAPTIONS))
    prepare_text(OPTIONS, folder, {"vocabulary": folder / "v.json", "word2vec": folder / "w.bin"})
    return Vocabulary.read(folder / "v.json")


def test_only_training_captions_give_words(tmp_path):
    vocabulary = prepare(tmp_path, list(TEXTS))
    assert vocabulary.tokens[4:] == ("a", "dog", "barks", "rain", "na")
    assert word2vec.read(tmp_path / "w.bin", vocabulary).shape == (9, 4)


def test_captions_that_cannot_be_used_are_told_with_clip_and_row(tmp_path, monkeypatch):
    monkeypatch.setitem(TEXTS, "development", ["a dog", "a <unk> barks <eos>", "..."])
    with pytest.raises(EarwitnessError) as caught:
        prepare(tmp_path, ["evaluation", "development"])
    _, *lines = str(caught.value).splitlines()
    assert len(lines) == 2 and all("clip 'development/1'" in line for line in lines)
    assert "captions.csv, row 5" in lines[0] and "<unk>, <eos>" in lines[0] and "row 6" in lines[1]


def test_what_other_splits_have_beyond_training_is_counted(tmp_path):
    prepare(tmp_path, list(TEXTS))
    assert read_json(tmp_path / "v.json")["counts"] == {
        "training_captions": 2,
        "validation": {"captions": 1, "with_unknown_words": 1, "longer_than_training": 0},
        "evaluation": {"captions": 2, "with_unknown_words": 0, "longer_than_training": 1},
    }


def test_other_splits_may_be_absent_and_training_may_not(tmp_path):
    prepare(tmp_path, ["development"])
    with pytest.raises(CorpusError, match=r"vocabulary .*development"):
        prepare(tmp_path, ["evaluation"])


def test_odd_characters_in_words_are_counted_and_told(tmp_path, monkeypatch, capsys):
    prepare(tmp_path, ["development"])
    assert "odd_characters" not in read_json(tmp_path / "v.json")["counts"]
    monkeypatch.setitem(TEXTS, "development", ["a dog (barking) twice"])
    prepare(tmp_path, ["development"])
    assert read_json(tmp_path / "v.json")["counts"]["odd_characters"] == {"(": 1, ")": 1}
    assert "'(' in 1 words, such as '(barking)'" in capsys.readouterr().err
