"""The gap between clips and captions, by hand, and what belongs to another CLAP."""

import json

import h5py
import numpy as np
import pytest

from earwitness.clap import gap
from earwitness.clap.wavcaps import ClapWavcapsTextOptions
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore, write
from earwitness.text.encoders import open_encoder
from tests.clap.fake import unit, write_clips, write_texts

CLIPS, TEXTS = unit([1, 0, 0], [1, 1, 0]), unit([0, 0, 1], [0, 1, 1], [1, 0, 1])


@pytest.fixture
def files(tmp_path):
    table = "caption_id,clip_id,text\na#1,a,one\na#2,a,two\nb#1,b,three\nc#1,c,four\n"
    (tmp_path / "captions.csv").write_text(table)
    features = write_clips(tmp_path / "development.h5", ["a", "b"], CLIPS)
    # The clip c is of another split.
    vectors = write_texts(tmp_path / "vectors.h5", ["four", "one", "two", "three"], [unit([1, 2, 3])[0], *TEXTS])
    out = {"gap": tmp_path / "gap.h5", "report": tmp_path / "gap.json"}
    return {"features": features, "vectors": vectors, "captions": tmp_path / "captions.csv", "out": out}


@pytest.mark.parametrize("at_once", [2, 512])
def test_the_gap_is_the_difference_of_means(files, monkeypatch, at_once):
    monkeypatch.setattr(gap, "AT_ONCE", at_once)
    gap.make(**files)
    expected = CLIPS.mean(axis=0) - TEXTS.mean(axis=0)
    found = gap.read(files["out"]["gap"], open_encoder(files["vectors"]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)
    report = json.loads(files["out"]["report"].read_text())
    assert report["counts"] == {"clips": 2, "captions": 3} and report["dimension"] == 3
    assert report["lengths"]["gap"] == pytest.approx(np.linalg.norm(expected), abs=1e-6)
    assert report["provenance"]["inputs"].items() >= {"backend": "retriever", "state": "abc"}.items()


def test_the_gap_of_another_clap_is_refused(files, tmp_path):
    gap.make(**files)
    other = open_encoder(write_texts(tmp_path / "other.h5", ["one"], TEXTS[:1], state="def"))
    with pytest.raises(MismatchError, match=r"gap\.h5.*state.*'abc'.*'def'"):
        gap.read(files["out"]["gap"], other)
    assert len(gap.read(files["out"]["gap"])) == 3


def test_the_gap_of_texts_that_were_otherwise_prepared_is_refused(files):
    write_texts(files["vectors"], ["one", "two", "three"], TEXTS, state="abc.tokenizer")
    gap.make(**files)
    write_texts(files["vectors"], ["one", "two", "three"], TEXTS, state="abc.other")
    with pytest.raises(MismatchError, match=r"gap\.h5.*abc\.tokenizer.*abc\.other"):
        gap.read(files["out"]["gap"], open_encoder(files["vectors"]))
    encoder = open_encoder(write_texts(files["vectors"], ["one"], TEXTS[:1], state="abc.tokenizer"))
    encoder.options = ClapWavcapsTextOptions(kind="clap_wavcaps", preprocess="wavcaps")
    with pytest.raises(MismatchError, match=r"gap\.h5.*form.*'vectors'.*'wavcaps'"):
        gap.read(files["out"]["gap"], encoder)


def test_clips_and_texts_of_two_claps_have_no_gap(files, tmp_path):
    write_texts(tmp_path / "vectors.h5", ["one", "two", "three"], TEXTS, state="def")
    with pytest.raises(MismatchError, match=r"development\.h5.*abc.*def"):
        gap.make(**files)
    assert not files["out"]["gap"].exists()


def test_clips_with_several_vectors_or_of_another_dimension_have_no_gap(files):
    made = FeatureStore(files["features"]).provenance
    write(files["features"], [("a", CLIPS[:1]), ("b", CLIPS)], 3, made)
    with pytest.raises(MismatchError, match=r"development\.h5(.|\n)*- b: 2$"):
        gap.make(**files)
    write_clips(files["features"], ["a", "b"], CLIPS[:, :2])
    with pytest.raises(MismatchError, match=r"development\.h5.* 2 .* 3"):
        gap.make(**files)


def test_files_that_are_no_gap(files, tmp_path):
    with pytest.raises(EarwitnessError, match=r"none\.h5"):
        gap.read(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    h5py.File(tmp_path / "empty.h5", "w").close()
    for path in (tmp_path / "text.h5", tmp_path / "empty.h5", files["features"]):
        with pytest.raises(EarwitnessError, match=path.name):
            gap.read(path)


def test_clips_without_captions_have_no_gap(files):
    files["captions"].write_text("caption_id,clip_id,text\nc#1,c,four\n")
    with pytest.raises(EarwitnessError, match=r"captions\.csv"):
        gap.make(**files)
