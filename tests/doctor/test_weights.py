"""What the doctor says of weights that are there, fetched or absent, and of features that somebody else made."""

import hashlib

import h5py
import pytest

from earwitness.doctor import weights
from earwitness.options import VocabularyOptions
from tests.doctor.test_data import corpus

EVALUATION = "results/own/features/{}/evaluation.h5"


def test_options_that_do_not_fit(repository):
    repository.entries["features"]["mel"]["seconds"] = 6
    assert repository.found(weights.check_options, "mini", "own") == {"ok": [], "note": [], "FAIL": []}
    repository.entries["experiments"]["other"]["decoder"] = {"heads": 3}
    assert repository.found(weights.check_options, "mini")["FAIL"] == []
    (told,) = repository.found(weights.check_options, "own")["FAIL"]
    assert told.startswith("own/other: experiments.other.decoder.heads: 3 ") and "128" in told


def test_weights(repository):
    for name in ("small", "other"):
        repository.entries["experiments"][name]["encoder"] = {"weights": "resources/cnn10.pth"}
    (told,) = repository.found(weights.check_checkpoints, "own")["FAIL"]
    assert told.startswith("own/small encoder.weights, own/other encoder.weights: resources/cnn10.pth does not exist")
    path = repository.put("resources/cnn10.pth", "weights")
    found = repository.found(weights.check_checkpoints, "own")
    assert found["FAIL"] == [] and hashlib.sha256(path.read_bytes()).hexdigest() in found["ok"][0]
    assert repository.found(weights.check_checkpoints, corpus("own")) == {"ok": [], "note": [], "FAIL": []}


def test_files_of_texts(repository, monkeypatch):
    file = "resources/checkpoints/word2vec-google-news-300.gz"
    monkeypatch.setattr(VocabularyOptions, "checkpoints", lambda options: {"vectors": file})
    (told,) = repository.found(weights.check_features, "own")["ok"]
    assert told.startswith(f"own/text/words: {file} will be fetched from ")
    repository.put(file, "other")
    (told,) = repository.found(weights.check_features, "own")["FAIL"]
    assert "is not the published file" in told and "a5e5354d40acb95f9ec66d5977d140ef" in told


def test_what_else_a_clap_needs(repository, monkeypatch):
    monkeypatch.setattr("earwitness.clap.laion.PACKAGE", "laion_clap_that_is_not_there")
    repository.entries["features"]["clap"] = {"extractor": "clap_laion", "weights": "untrained"}
    repository.entries["texts"]["clap"] = {"kind": "clap_laion", "weights": "untrained"}
    repository.entries["features"]["wavcaps"] = {"extractor": "clap_wavcaps"}
    repository.entries["experiments"]["pair"] = {"system": "atr", "features": ["clap"], "text": "clap"}
    asked = ["results/own/pair/metrics.json", EVALUATION.format("wavcaps")]
    of_feature, of_text, of_file = repository.found(weights.check_features, *asked)["FAIL"]
    assert of_feature.startswith("own/features/clap: ") and "laion-clap" in of_feature
    assert of_text.startswith("own/text/clap: resources/roberta-base") and "vocab.json" in of_text
    assert of_file.startswith("own/features/wavcaps: resources/checkpoints/cnn14-bert.pt does not exist")


@pytest.fixture
def features(repository):
    entries = repository.entries["features"]
    entries["cnn14"] = {"extractor": "panns_cnn14"}
    entries["mine"] = {"extractor": "panns_cnn10", "weights": "mine.pth"}
    entries["untrained"] = {"extractor": "vggsound", "weights": "untrained"}
    entries["yamnet"] = {"extractor": "external", "folder": "experts/yamnet"}
    return repository


def test_weights_of_extractors(features, monkeypatch):
    asked = [EVALUATION.format(name) for name in ("cnn14", "mine", "untrained", "mel")]
    found = features.found(weights.check_features, *asked)
    (told,) = found["FAIL"]
    assert told.startswith("own/features/mine: mine.pth does not exist")
    (told,) = found["ok"]
    assert told.startswith("own/features/cnn14: resources/checkpoints/Cnn14_mAP=0.431.pth will be fetched from")
    monkeypatch.setattr(weights, "unanswered", lambda address: "no route")
    told = features.found(weights.check_features, asked[0])["FAIL"][0]
    assert "(no route)" in told and "327,428,481 bytes" in told
    features.entries["checkpoints"] = {"mirror": str(features.folder)}
    assert str(features.folder) in features.found(weights.check_features, asked[0])["FAIL"][0]
    features.put("Cnn14_mAP=0.431.pth")
    assert "will be taken from" in features.found(weights.check_features, asked[0])["ok"][0]
    features.put("resources/checkpoints/Cnn14_mAP=0.431.pth", "<html>")
    assert "not the published file" in features.found(weights.check_features, asked[0])["FAIL"][0]
    features.put("mine.pth", "weights")
    assert "no digest is published" in features.found(weights.check_features, asked[1])["ok"][0]


def test_external_features(features):
    (told,) = features.found(weights.check_features, EVALUATION.format("yamnet"))["FAIL"]
    assert "experts/yamnet/train/yamnet.h5" in told
    path = features.put("experts/yamnet/test/yamnet.h5")
    h5py.File(path, "w").close()
    (told,) = features.found(weights.check_features, EVALUATION.format("yamnet"))["ok"]
    assert "features are read from experts/yamnet/test/yamnet.h5" in told
