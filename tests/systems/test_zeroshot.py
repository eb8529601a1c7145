"""Zero-shot retrieval: cosines of given vectors, and vectors that do not belong together."""

import numpy as np
import pytest

from earwitness.config import validated
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore, write
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import load
from earwitness.systems.zeroshot.options import TEXTS, ZeroshotOptions
from earwitness.systems.zeroshot.system import ZeroshotSystem
from tests.clap.fake import unit, write_clips, write_texts

OPTIONS = ZeroshotOptions(system="zeroshot", clap="mine")
SOUNDS, WORDS = unit([1, 0], [1, 1]), unit([0, 1], [1, 0], [1, 2])


@pytest.fixture
def files(tmp_path):
    return {
        "mine": write_clips(tmp_path / "evaluation.h5", ["a", "b"], SOUNDS),
        TEXTS: write_texts(tmp_path / "vectors.h5", ["one", "two", "three"], WORDS),
    }


def test_similarities_are_cosines(files, tmp_path):
    model = ZeroshotSystem.load(OPTIONS, tmp_path, files)
    with FeatureStore(files["mine"]) as store:
        clips = Clips(["b", "a"], {"mine": store})
        np.testing.assert_allclose(model.similarity(clips, ["two", "one", "three"]), WORDS[[1, 0, 2]] @ SOUNDS[::-1].T)
    assert model.made_by == {"mine": store.front_end} and model.unknown(" ") is None


def test_texts_of_another_model_are_refused(files, tmp_path):
    write_texts(files[TEXTS], ["one"], WORDS[:1], state="def")
    with pytest.raises(MismatchError, match=r"evaluation\.h5.*abc.*def"):
        ZeroshotSystem.load(OPTIONS, tmp_path, files)


def test_features_of_several_frames_are_refused(files, tmp_path):
    made = FeatureStore(files["mine"]).provenance
    model = ZeroshotSystem.load(OPTIONS, tmp_path, files)
    write(files["mine"], [("a", SOUNDS[:1]), ("b", SOUNDS)], 2, made)
    with pytest.raises(MismatchError, match=r"evaluation\.h5(.|\n)*- b: 2$"):
        model.embed_clips(Clips(["a", "b"], {"mine": FeatureStore(files["mine"])}))
    with pytest.raises(MismatchError, match=r"evaluation\.h5(.|\n)*- b: 2$"):
        ZeroshotSystem.load(OPTIONS, tmp_path, files)


def test_without_files_it_says_what_it_needs(tmp_path):
    with pytest.raises(EarwitnessError, match=r"mine(.|\n)*text vectors"):
        ZeroshotSystem.load(OPTIONS, tmp_path, {})
    with pytest.raises(EarwitnessError, match="no trained model"):
        load(tmp_path)


def test_a_feature_and_a_text_of_two_backends_do_not_fit():
    feature = validated("features", {"extractor": "retriever", "experiment": "e"})
    texts = [
        validated("texts", content) for content in ({"kind": "sentence"}, {"kind": "retriever", "experiment": "e"})
    ]
    found = [list(OPTIONS.misfits(lambda *_: feature, lambda *_, text=text: text)) for text in texts]
    assert [len(lines) for lines in found] == [1, 0] and "'mine'" in found[0][0]
