"""Vectors of recordings by a trained retriever, from the features that it reads."""

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.serving.recordings import Features
from earwitness.systems.retriever import TrainedRetriever
from tests.clap.fake import OF
from tests.serving.conftest import write_model
from tests.serving.fake import Bands

CLAP = {"made_by": "retriever", "settings": {"extractor": "retriever", **OF}}


@pytest.fixture
def made(tmp_path):
    folder = write_model(tmp_path / "results/d/e/seed-0")
    return CLAP | {"inputs": {"weights": TrainedRetriever(folder).state}}


def test_a_retrievers_vectors_are_made_of_its_features(made, tones, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Bands, "remarks", lambda self: ["some are cut"])
    features = Features({"clap": made})
    found = list(features.checked(tones, ["2.wav", "below/6.wav"], cores=1))
    for _, clips in features.blocks(tones, found, tmp_path / "blocks", cores=1):
        store = clips.store("clap")
        assert store.front_end == made and store.lengths.tolist() == [1, 1]
        vectors = np.concatenate([store[clip] for clip in clips.ids])
    assert vectors.argmax(axis=1).tolist() == [2, 6]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert features.remarks() == ["clap: some are cut"] and not capsys.readouterr().err  # no bar beside the command's


def test_a_retriever_is_found_beside_the_model_from_any_folder(made, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = Features({"clap": made}, model=tmp_path / "results/other/wsac/seed-1").retrievers["clap"]
    assert found.folder == tmp_path / "results/d/e/seed-0"
    with pytest.raises(EarwitnessError, match=r"results/d/e/seed-0.*elsewhere"):
        Features({"clap": made}, model=tmp_path / "moved")


def test_a_retriever_that_was_trained_again_is_refused(made, tmp_path):
    (tmp_path / "results/d/e/seed-0").rename(tmp_path / "before")
    with pytest.raises(EarwitnessError, match=r"clap: results/d/e/seed-0"):
        Features({"clap": made})
    write_model(tmp_path / "results/d/e/seed-0", scale=2.0)
    with pytest.raises(EarwitnessError, match=r"clap: results/d/e/seed-0.*trained again"):
        Features({"clap": made})
