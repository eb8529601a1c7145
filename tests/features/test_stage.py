"""Extraction in shards: resumed where it was killed, and the same however it is divided."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from earwitness.corpora.tables import CLIPS, write_table
from earwitness.errors import CorpusError, EarwitnessError
from earwitness.extractors.logmel import LogMelOptions
from earwitness.features import stage, workers
from earwitness.features.stage import extract
from earwitness.features.store import FeatureStore
from earwitness.files import sha256

RATE = 8000
SECONDS = [0.5, 0.1, 0.01, 0.3, 0.47, 0.25, 0.5]  # 0.01 s: shorter than one window


def options(**changes):
    sizes = {"sample_rate": RATE, "n_fft": 256, "hop": 100, "mels": 8, "fmax": 4000, "seconds": 0.5}
    return LogMelOptions(extractor="logmel", **sizes | {"clips_per_shard": 2} | changes)


@pytest.fixture
def corpus(tmp_path):
    rows = []
    for number, seconds in enumerate(SECONDS):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, round(seconds * RATE))
        soundfile.write(tmp_path / f"{number}.wav", samples, RATE, subtype="FLOAT")
        known = sha256(tmp_path / f"{number}.wav")
        rows.append([f"development/{number}", "development", f"{number}.wav", "name", seconds, RATE, 1, known])
    rows.append(["evaluation/9", "evaluation", "9.wav", "name", 9.0, RATE, 1, "absent, and not asked for"])
    write_table(tmp_path / "clips.csv", pd.DataFrame(rows, columns=CLIPS))
    return tmp_path


def run(corpus, options, name="development.h5", workers=1):
    out = corpus / "out" / name
    extract(options, corpus / "clips.csv", "development", corpus, out, workers)
    assert not out.with_suffix(".shards").exists()
    return out


def content(path):
    """Everything a feature file holds."""
    with h5py.File(path) as file:
        return {name: file[name][:].tolist() for name in file} | dict(file.attrs)


def test_the_file_holds_every_clip_of_the_split_in_order(corpus):
    with FeatureStore(run(corpus, options())) as store:
        assert store.clip_ids == [f"development/{number}" for number in range(7)]
        assert (store.dimension, store.frames_per_clip, store.fill) == (8, 41, -100)
        assert store["development/2"].shape == (41, 8)
        assert store.provenance["counts"] == {"clips": 7, "cut": 0, "shorter_than_one_window": 1}
        with h5py.File(store.path) as file:
            assert file["frames"].chunks is None and file["frames"].compression is None


@pytest.mark.parametrize(("clips_per_shard", "workers"), [(1, 1), (3, 1), (256, 4), (2, 2)])
def test_features_do_not_depend_on_how_the_work_is_divided(corpus, clips_per_shard, workers):
    usual = content(run(corpus, options()))
    assert content(run(corpus, options(clips_per_shard=clips_per_shard), "other.h5", workers)) == usual


def test_a_killed_extraction_goes_on_with_the_missing_shards(corpus, monkeypatch):
    undisturbed = content(run(corpus, options(), "undisturbed.h5"))
    made, write = [], workers.write

    def killed(path, *rest, **kwargs):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(path.name)
        write(path, *rest, **kwargs)

    monkeypatch.setattr(workers, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, options())
    assert not (corpus / "out" / "development.h5").exists()
    shards = corpus / "out" / "development.shards"
    assert sorted(path.name for path in shards.iterdir()) == made
    (shards / made[0]).unlink()
    redone = []
    monkeypatch.setattr(workers, "write", lambda path, *a, **b: (redone.append(path.name), write(path, *a, **b)))
    assert content(run(corpus, options())) == undisturbed
    assert redone == ["0000000.h5", "0000004.h5", "0000006.h5"]


@pytest.mark.parametrize("change", [{"hop": 200}, {"mels": 6}])
def test_shards_of_other_settings_are_made_again(corpus, monkeypatch, change):
    undisturbed = content(run(corpus, options(**change), "undisturbed.h5"))
    monkeypatch.setattr(stage, "write", killed_write(stage.write))
    with pytest.raises(KeyboardInterrupt):
        run(corpus, options())
    monkeypatch.undo()
    assert content(run(corpus, options(**change))) == undisturbed


@pytest.mark.parametrize("change", [{"code": "other"}, {"device": "GPU"}])
def test_shards_of_other_code_or_another_device_are_made_again(corpus, monkeypatch, change):
    monkeypatch.setattr(stage, "write", killed_write(stage.write))
    with pytest.raises(KeyboardInterrupt):
        run(corpus, options())
    monkeypatch.undo()
    (shard, *_) = sorted((corpus / "out" / "development.shards").iterdir())
    with h5py.File(shard, "a") as file:
        file.attrs["provenance"] = json.dumps(json.loads(file.attrs["provenance"]) | change)
    redone, write = [], workers.write
    monkeypatch.setattr(workers, "write", lambda path, *a, **b: (redone.append(path.name), write(path, *a, **b)))
    run(corpus, options())
    assert redone == [shard.name]


def test_a_shard_that_is_no_feature_file_is_made_again(corpus):
    undisturbed = content(run(corpus, options(), "undisturbed.h5"))
    shards = corpus / "out" / "development.shards"
    shards.mkdir()
    (shards / "0000000.h5").write_bytes(b"torn")
    assert content(run(corpus, options())) == undisturbed


def killed_write(write):
    """The writer, killed when it comes to join the shards."""

    def killed(path, *args, **kwargs):
        if path.parent.suffix != ".shards":
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    return killed


def test_longer_clips_are_refused_all_together(corpus):
    with pytest.raises(CorpusError) as caught:
        run(corpus, options(seconds=0.3))
    heading, *offenders, advice = str(caught.value).splitlines()
    assert "0.3 s" in heading
    assert offenders == [f"  - development/{n}: {SECONDS[n]:.3f} s" for n in (0, 4, 6)]
    assert "on_longer: cut" in advice
    assert not (corpus / "out").exists()


def test_longer_clips_are_cut_by_choice_and_counted(corpus):
    with FeatureStore(run(corpus, options(seconds=0.3, on_longer="cut"))) as store:
        assert store.provenance["counts"]["cut"] == 3
        assert store.stored("development/0").shape == (25, 8)


def test_an_audio_file_that_cannot_be_read_leaves_no_feature_file(corpus):
    (corpus / "3.wav").unlink()
    with pytest.raises(CorpusError, match=r"went away after(.|\n)*3\.wav"):
        run(corpus, options())
    assert not (corpus / "out" / "development.h5").exists()


def test_a_recording_whose_features_are_not_finite_leaves_no_feature_file(corpus):
    """The check of the corpus refuses such a recording; this one came past it."""
    table = pd.read_csv(corpus / "clips.csv")
    for number in (1, 3):
        soundfile.write(corpus / f"{number}.wav", np.full(round(SECONDS[number] * RATE), 3e37), RATE, subtype="FLOAT")
        table.loc[number, "sha256"] = sha256(corpus / f"{number}.wav")
    write_table(corpus / "clips.csv", table)
    with pytest.raises(EarwitnessError, match=r"2 of 7 clips(.|\n)*development/1 (.|\n)*development/3 "):
        run(corpus, options(clips_per_shard=10))
    assert not (corpus / "out" / "development.h5").exists()


def test_recordings_that_changed_after_the_corpus_was_read_are_refused(corpus):
    for number in (0, 1):
        soundfile.write(corpus / f"{number}.wav", np.zeros(800), RATE)
    with pytest.raises(CorpusError, match=r"after the corpus was read") as caught:
        run(corpus, options(clips_per_shard=10))
    assert "0.wav" in str(caught.value) and "1.wav" in str(caught.value)
    assert not (corpus / "out" / "development.h5").exists()
