"""Splits and captions that targets need: in the corpus where it is made, otherwise in the data set's own tables."""

import os

import numpy as np
import pytest
import soundfile

from earwitness.corpora.stage import build
from earwitness.doctor import splits

AUDIOCAPS = "audiocap_id,youtube_id,start_time,caption\n"
RESULT = "results/{}/small/metrics.json"
TABLE = "file,caption,split\na.wav,a dog,train\nb.wav,a cat,val\nc.wav,a cow,test\n"


@pytest.fixture
def sounds(repository):
    """Three recordings of one folder, all of the evaluation split, without captions."""
    return [recording(repository, f"sounds/{name}.wav") for name in "abc"]


def recording(repository, path):
    path = repository.put(path)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    return path


def make_corpus(repository, name):
    (dataset,) = repository.ask(f"results/{name}/corpus/clips.csv").datasets()
    out = repository.folder / "results" / name / "corpus"
    out.mkdir(parents=True, exist_ok=True)
    build(dataset.layout, dataset.options, dataset.root, out, workers=1)
    for path in out.iterdir():  # whatever the clock of the disk says, made after the recordings
        os.utime(path, (path.stat().st_mtime + 10,) * 2)


def failed(repository, target):
    return repository.found(splits.check_splits, target)["FAIL"]


@pytest.mark.parametrize("made", [False, True])
def test_recordings_without_captions(repository, sounds, made):
    if made:
        make_corpus(repository, "sounds")
    absent, bare = failed(repository, RESULT.format("sounds"))
    for fact in (
        "no development clips",
        "(needed for the vocabulary, training)",
        "no validation clips",
        "evaluation 3",
    ):
        assert absent.startswith("sounds: ") and fact in absent
    assert bare.startswith("sounds: ") and "3 clips" in bare and "the vocabulary, training" in bare
    assert "Set datasets.sounds.table" in bare


@pytest.mark.parametrize("made", [False, True])
def test_what_is_made_without_captions_and_other_splits(repository, sounds, made):
    if made:
        make_corpus(repository, "sounds")
    nothing = {"ok": [], "note": [], "FAIL": []}
    assert repository.found(splits.check_splits, "results/sounds/corpus/leaks.json") == nothing
    found = repository.found(splits.check_splits, "results/sounds/features/mel/evaluation.h5")
    assert found["FAIL"] == [] and "evaluation 3" in found["ok"][0]
    (told,) = failed(repository, "results/sounds/features/mel/validation.h5")
    assert "no validation clips" in told and "features/mel/validation.h5" in told


def test_a_table_that_is_configured_later_is_read_though_the_corpus_is_made(repository, sounds):
    make_corpus(repository, "sounds")
    os.utime(repository.put("captions.csv", TABLE), (0, 0))
    repository.entries["datasets"]["sounds"] |= {"tables": ".", "table": "captions.csv"}
    found = repository.found(splits.check_splits, RESULT.format("sounds"))
    assert found["FAIL"] == [] and "development 1, validation 1, evaluation 1" in found["ok"][0]


def test_a_corpus_that_is_older_than_its_tables_is_not_asked(repository, sounds):
    repository.entries["datasets"]["sounds"] |= {"table": "captions.csv"}
    path = repository.put("sounds/captions.csv", TABLE.replace("val", "test"))
    make_corpus(repository, "sounds")
    assert "no validation clips" in failed(repository, RESULT.format("sounds"))[0]
    path.write_text(TABLE)
    os.utime(path, (path.stat().st_mtime + 20,) * 2)
    assert failed(repository, RESULT.format("sounds")) == []


def test_a_corpus_that_is_older_than_a_folder_of_recordings_is_not_asked(repository):
    for split in ("train", "test"):
        recording(repository, f"sounds/{split}/{split}.wav")
    make_corpus(repository, "sounds")
    target = "results/sounds/features/mel/validation.h5"
    assert "no validation clips" in failed(repository, target)[0]
    path = recording(repository, "sounds/val/val.wav")
    os.utime(path.parent, (path.stat().st_mtime + 20,) * 2)
    assert failed(repository, target) == []


def test_clips_without_a_caption_among_others(repository):
    for split in ("development", "validation", "evaluation"):
        repository.put(f"own/clotho_captions_{split}.csv", "file_name,caption_1\na.wav,a dog\n")
        recording(repository, f"own/{split}/a.wav")
    make_corpus(repository, "own")
    assert failed(repository, "own") == []
    captions = repository.folder / "results/own/corpus/captions.csv"
    captions.write_text("caption_id,clip_id,text\n1,development/a.wav,a dog\n")
    os.utime(captions, (captions.stat().st_mtime + 10,) * 2)
    (told,) = failed(repository, "own")
    assert "2 clips without a caption: validation/a.wav; evaluation/a.wav" in told


def test_tables_of_one_split_only(repository):
    repository.entries["datasets"]["ac"] = {"layout": "audiocaps", "audio": "ac"}
    repository.put("ac/test.csv", AUDIOCAPS + "1,aaaaaaaaaaa,0,a dog\n")
    repository.put("ac/Yaaaaaaaaaaa.wav")
    (told,) = failed(repository, RESULT.format("ac"))
    assert "no development clips" in told and "no validation clips" in told and "it has evaluation 1" in told
    assert failed(repository, "results/ac/features/mel/evaluation.h5") == []
    (told,) = failed(repository, "results/ac/baselines/captioning.json")
    assert "no validation clips" in told and "the baselines" in told


def test_videos_that_are_to_be_fetched_count(repository):
    for number, split in enumerate(("train", "val", "test")):
        repository.put(f"videos/{split}.csv", AUDIOCAPS + f"{number},{split:a<11},0,a dog\n")
    assert failed(repository, RESULT.format("videos")) == []
    (repository.folder / "videos/train.csv").unlink()
    (told,) = failed(repository, RESULT.format("videos"))
    assert "no development clips" in told and "no validation clips" not in told


def test_splits_of_a_scheme(repository, sounds):
    repository.entries["datasets"]["sounds"] |= {"table": "captions.csv", "split_scheme": "mine"}
    repository.put("sounds/captions.csv", TABLE.replace("val", "test"))
    assert failed(repository, RESULT.format("sounds")) == []  # that the lists are not there is told elsewhere
    repository.put("resources/splits/folder_mine_validation.txt", "b.wav\n")
    assert failed(repository, RESULT.format("sounds")) == []
    repository.put("resources/splits/folder_mine_validation.txt", "a.wav\n")
    (told,) = failed(repository, RESULT.format("sounds"))
    assert "no development clips" in told and "it has validation 1, evaluation 2" in told


def test_what_is_synthesised(repository):
    assert failed(repository, "mini") == []
    repository.entries["datasets"]["mini"] |= {"clips": {"development": 4, "validation": 0, "evaluation": 2}}
    (told,) = failed(repository, "mini")
    assert "no validation clips" in told and "Set datasets.mini.clips.validation to more than 0" in told


def test_what_nobody_knows_yet_is_not_told(repository):
    for name in ("clotho", "own", "sounds", "videos"):
        assert repository.found(splits.check_splits, name) == {"ok": [], "note": [], "FAIL": []}


def test_what_the_corpus_will_be_refused_for(repository, sounds):
    repository.entries["datasets"]["sounds"] |= {"table": "captions.csv"}
    more = "".join(f"{number}.wav,a cow,test\n" for number in range(4))
    repository.put("sounds/captions.csv", TABLE + more)
    (told,) = failed(repository, RESULT.format("sounds"))
    assert "4 clips without a recording: test/0.wav; test/1.wav; test/2.wav; and 1 more" in told
    repository.entries["datasets"]["sounds"]["on_bad_audio"] = "skip"
    assert failed(repository, RESULT.format("sounds")) == []
    sounds[0].unlink()
    assert "no development clips" in failed(repository, RESULT.format("sounds"))[0]
    repository.put("sounds/captions.csv", "name,words\na.wav,a dog\n")
    (told,) = failed(repository, RESULT.format("sounds"))
    assert "problem of its tables" in told


def test_a_data_set_that_cannot_be_listed_does_not_hide_another(repository):
    (repository.folder / "sounds").mkdir()
    found = repository.found(splits.check_splits, "sounds", "mini")
    assert "holds no recording" in found["FAIL"][0] and "mini: the splits" in found["ok"][0]
