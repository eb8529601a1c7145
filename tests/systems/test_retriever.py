"""A trained retriever as a CLAP: its vectors of clips and texts are of length 1, and belong to its weights."""

import numpy as np
import pytest

from earwitness.clap import require_same
from earwitness.clap.retriever import RetrieverFeatureOptions, RetrieverTextOptions
from earwitness.corpora.tables import clips_of
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore, write
from earwitness.prediction.clips import Clips
from earwitness.systems.atr.options import TEXT_INPUT, AtrOptions
from earwitness.systems.interface import MODEL_FILES, load
from earwitness.systems.retriever import embed_clips
from earwitness.text.encoders import open_encoder
from earwitness.text.frozen import prepare
from earwitness.text.options import WordVectorsOptions
from earwitness.text.word_vectors import prepare as prepare_words
from earwitness.training.stage import train_model

OF = {"experiment": "e", "dataset": "other", "seed": 3}
FEATURE, TEXT = RetrieverFeatureOptions(extractor="retriever", **OF), RetrieverTextOptions(kind="retriever", **OF)


@pytest.fixture(scope="module")
def results(corpus, tmp_path_factory):
    """A folder with ``results/other/e/seed-3``, a retriever of two features, one of which is of the corpus."""
    folder = tmp_path_factory.mktemp("retriever")
    words = WordVectorsOptions.model_validate({"kind": "word_vectors", "word2vec": {"size": 12, "passes": 2}})
    prepare_words(words, corpus["clips"].parent, {"vectors": folder / "words.h5"})
    files = {"captions": corpus["captions"], "clips": corpus["clips"], TEXT_INPUT: folder / "words.h5"}
    rng = np.random.default_rng(1)
    for split in ("development", "validation", "evaluation"):
        made = FeatureStore(corpus[split]).provenance | {"untrained": True}
        ids = clips_of(corpus["clips"], split, "the test")["clip_id"]
        write(folder / f"{split}.h5", [(i, rng.normal(size=(4, 5))) for i in ids], 5, made)
        files |= {f"f {split}": corpus[split], f"g {split}": folder / f"{split}.h5"}
    options = AtrOptions.model_validate(
        {"system": "atr", "features": ["f", "g"], "text": "t", "pooling": "mean", "joint": 6, "weights": "learned"}
        | {"train": {"batch_size": 4, "epochs": 1}}
    )
    train(folder, options, files)
    return folder, options, files


def train(folder, options, files, seed=3):
    out = {kind: folder / "results/other/e/seed-3" / file for kind, file in MODEL_FILES.items()}
    inputs = {key: files[key] for key in options.training_inputs()}
    train_model("other", "e", options, seed, inputs, out, folder / "work", threads=1)


@pytest.fixture
def made(results, corpus, tmp_path, monkeypatch):
    """Where the vectors of the evaluation clips and of all captions were written."""
    folder, _, files = results
    monkeypatch.chdir(folder)
    read = {name: files[f"{name} evaluation"] for name in ("f", "g")}
    embed_clips(FEATURE, corpus["clips"], "evaluation", read, tmp_path / "evaluation.h5")
    prepare(TEXT, corpus["clips"].parent, {"vectors": tmp_path / "vectors.h5"})
    return tmp_path


def test_vectors_are_those_of_the_model_and_of_length_one(results, made, corpus):
    folder, _, files = results
    model = load(folder / "results/other/e/seed-3")
    table = clips_of(corpus["clips"], "evaluation", "the test")
    clips = Clips.of(table, {name: files[f"{name} evaluation"] for name in ("f", "g")})
    with FeatureStore(made / "evaluation.h5") as store:
        found = np.stack([store[clip] for clip in table["clip_id"]])
        assert found.shape == (4, 1, 12) and store.provenance["untrained"]
    np.testing.assert_allclose(found[:, 0], model.embed_clips(clips), atol=1e-6)
    texts = ["a dog", "the cat is near", "the rain is far away"]
    vectors, lengths = open_encoder(made / "vectors.h5").encode(texts)
    expected = model.embed_texts(texts)
    norms = np.linalg.norm(expected, axis=1, keepdims=True)
    assert lengths.tolist() == [1, 1, 1] and not np.allclose(norms, 1)
    np.testing.assert_allclose(vectors[:, 0], expected / norms, atol=1e-6)


def test_blocks_give_the_same(results, made, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("earwitness.systems.retriever.AT_ONCE", 3)
    read = {name: results[2][f"{name} evaluation"] for name in ("f", "g")}
    embed_clips(FEATURE, corpus["clips"], "evaluation", read, made / "again.h5")
    with FeatureStore(made / "evaluation.h5") as one, FeatureStore(made / "again.h5") as other:
        assert all(np.allclose(one[clip], other[clip], atol=1e-6) for clip in one)


def test_another_training_is_another_clap(results, made, corpus):
    folder, options, files = results
    kept = {file: (folder / "results/other/e/seed-3" / file).read_bytes() for file in MODEL_FILES.values()}
    with FeatureStore(made / "evaluation.h5") as store:
        encoder = open_encoder(made / "vectors.h5")
        require_same(store, encoder)
        train(folder, options, files, seed=4)
        with pytest.raises(MismatchError, match="other/e"):
            encoder.encode(["the rain is far away"])
        prepare(TEXT, corpus["clips"].parent, {"vectors": made / "vectors.h5"})
        with pytest.raises(MismatchError, match=r"evaluation\.h5"):
            require_same(store, open_encoder(made / "vectors.h5"))
    for file, content in kept.items():
        (folder / "results/other/e/seed-3" / file).write_bytes(content)


def test_features_that_it_was_not_trained_with_are_refused(results, made, corpus):
    read = {name: results[2][f"f {split}"] for name, split in (("f", "evaluation"), ("g", "development"))}
    with pytest.raises(MismatchError):
        embed_clips(FEATURE, corpus["clips"], "evaluation", read, made / "again.h5")
    assert not (made / "again.h5").exists()


def test_a_folder_without_a_model_is_named(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarwitnessError, match=r"results/other/e/seed-3.*model\.safetensors"):
        embed_clips(FEATURE, corpus["clips"], "evaluation", {}, tmp_path / "out.h5")


def test_a_model_that_embeds_nothing_is_named(results, made, corpus, monkeypatch):
    monkeypatch.setattr("earwitness.systems.atr.system.AtrSystem.load", lambda *_: object())
    with pytest.raises(EarwitnessError, match="system atr"):
        embed_clips(FEATURE, corpus["clips"], "evaluation", {}, made / "again.h5")


def test_the_data_set_is_the_own_one_where_none_is_named():
    own = RetrieverFeatureOptions(extractor="retriever", experiment="e")
    assert own.on("here").dataset == "here" and FEATURE.on("here") is FEATURE
    assert [use.path("here") for use in own.made_from().values()] == [
        "here/e/seed-0/model.safetensors",
        "here/e/seed-0/model.json",
    ]
