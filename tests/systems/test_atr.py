"""Audio-Text Retrieval in Context on a few short clips: every pooling from files to a model that loads anywhere."""

import h5py
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from earwitness.corpora.tables import CLIPS, clips_of, read_table, write_table
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore, write
from earwitness.files import read_json
from earwitness.nn.pooling import unit_frames
from earwitness.prediction.clips import Clips
from earwitness.systems.atr.batches import fitted, joined
from earwitness.systems.atr.network import TABLE
from earwitness.systems.atr.options import TEXT_INPUT, AtrOptions
from earwitness.systems.atr.system import REFERENCE_FRAMES, AtrSystem
from earwitness.systems.interface import MODEL_FILES, load
from earwitness.text.encoders import text_digest, write_attributes
from earwitness.text.options import SentenceOptions, WordVectorsOptions
from earwitness.text.word_vectors import prepare
from earwitness.training.events import read_events
from earwitness.training.stage import train_model

POOLINGS = ["mean", "max", "attention", "lstm", "netvlad", "netrvlad", "transformer"]
SMALL = {
    "clusters": {"audio": 3, "text": 4},
    "lstm_hidden": 8,
    "transformer": {"width": 8, "layers": 1, "heads": 2},
    "joint": 8,
    "train": {"batch_size": 3, "epochs": 1},
}


class Killed(Exception):
    pass


def options(merged, **changes):
    content = {"system": "atr", "features": ["f"], "text": "t"} | SMALL
    return AtrOptions.model_validate(merged(content, changes))


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory):
    """Inputs of training with one feature ``f`` of 64 values, and with a second one ``g`` of 5, of unequal lengths."""
    folder = tmp_path_factory.mktemp("vectors")
    settings = WordVectorsOptions.model_validate({"kind": "word_vectors", "word2vec": {"size": 12, "passes": 2}})
    prepare(settings, corpus["clips"].parent, {"vectors": folder / "vectors.h5"})
    found = {"captions": corpus["captions"], "clips": corpus["clips"], TEXT_INPUT: folder / "vectors.h5"}
    rng = np.random.default_rng(1)
    for split in ("development", "validation", "evaluation"):
        made = FeatureStore(corpus[split]).provenance
        ids = clips_of(corpus["clips"], split, "the test")["clip_id"]
        write(folder / f"{split}.h5", [(i, rng.normal(size=(2 + n, 5))) for n, i in enumerate(ids)], 5, made)
        found |= {f"f {split}": corpus[split], f"g {split}": folder / f"{split}.h5"}
    return found


@pytest.fixture
def trained(files, corpus, tmp_path):
    """Train to a folder of the given name; the folder."""

    def train(name, chosen, seed=0):
        out = {kind: tmp_path / name / file for kind, file in MODEL_FILES.items()}
        inputs = {key: files[key] for key in chosen.training_inputs()}
        train_model("mini", "atr", chosen, seed, inputs, out, tmp_path / name / "work", threads=1)
        return tmp_path / name

    return train


@pytest.fixture
def clips(files):
    """The evaluation clips with both features."""
    table = clips_of(files["clips"], "evaluation", "the test")
    return Clips.of(table, {name: files[f"{name} evaluation"] for name in ("f", "g")})


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_trains_and_loads_anywhere(trained, clips, merged, pooling, tmp_path):
    made = trained("made", options(merged, pooling=pooling, features=["g"]))
    model = load(made.rename(tmp_path / "elsewhere"))
    similarity = model.similarity(clips, ["a dog", "the horn is near", "zebra"])
    assert similarity.shape == (3, len(clips)) and similarity.dtype == np.float32
    assert np.isfinite(similarity).all() and np.abs(similarity).max() <= 1 + 1e-5
    np.testing.assert_allclose(np.linalg.norm(model.embed_clips(clips), axis=1), 1, rtol=1e-5)
    nothing = model.similarity(Clips([], clips.stores), ["a dog"])
    assert nothing.shape == (1, 0) and model.similarity(clips, []).shape == (0, len(clips))
    # The padding of a batch, here of the longest clip alone, changes nothing.
    alone = np.concatenate([model.embed_clips(batch) for batch in clips.batches(1)])
    np.testing.assert_allclose(alone, model.embed_clips(clips), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pooling": "lstm", "train": {"workers": 2}},
        {"loss": {"kind": "info_nce", "captions": "draw"}, "optim": {"kind": "adamw", "schedule": "one_cycle"}},
        {"optim": {"schedule": "noam", "warmup": 3}},
    ],
)
def test_a_killed_training_gives_the_same_model(trained, merged, monkeypatch, changes):
    chosen = options(merged, **merged({"train": {"epochs": 4}}, changes))
    whole = trained("whole", chosen)
    losses, calls = AtrSystem.losses, []

    def killed(system, batch):
        calls.append(1)
        if len(calls) == 6:
            raise Killed
        return losses(system, batch)

    with monkeypatch.context() as patch:
        patch.setattr(AtrSystem, "losses", killed)
        with pytest.raises(Killed):
            trained("killed", chosen)
    (checkpoint,) = whole.parent.glob("killed/work/*/last.ckpt")
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert saved and not any(TABLE in name for name in saved)  # it is the same in every epoch
    resumed = trained("killed", chosen)
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert read_json(resumed / "model.json") == read_json(whole / "model.json")
    metrics = [metrics for event in read_events(whole / "events.jsonl") if (metrics := event.get("metrics"))]
    assert {"validation_t2a_r10", "validation_a2t_r1", "validation_loss", "learning_rate"} <= metrics[-1].keys()


def test_bfloat16_trains_and_validates_in_float32(trained, clips, merged):
    made = trained("made", options(merged, train={"precision": "bf16-mixed"}))
    assert np.isfinite(load(made).similarity(clips, ["a dog"])).all()


def test_later_ones_of_equal_epochs_are_kept(files, merged):
    choice = AtrSystem(options(merged), files, 0).choice
    assert choice.best([{"validation_t2a_gmean": value} for value in (0.3, 0.5, 0.5, 0.4)]) == 2


def test_a_sentence_encoder_is_read_and_not_kept(files, corpus, clips, merged, tmp_path):
    """With the settings of ``atr-sentence``, from made-up vectors of the captions' tokens."""
    texts = list(dict.fromkeys(read_table(corpus["captions"], ["text"])["text"]))
    rng, lengths = np.random.default_rng(0), np.array([2 + len(text.split()) for text in texts])
    vectors = tmp_path / "vectors.h5"
    with h5py.File(vectors, "w") as file:
        file["vectors"] = rng.normal(size=(lengths.sum(), 6)).astype(np.float32)
        file["offsets"], file["digests"] = np.cumsum([0, *lengths]), np.array([text_digest(text) for text in texts])
        settings = SentenceOptions(kind="sentence", model=str(tmp_path / "nowhere")).model_dump(mode="json")
        sizes = {"dimension": 6, "max_tokens": 16}
        write_attributes(file, "sentence", {"options": settings, "provenance": {}}, label="m", state="0" * 64, **sizes)
    modern = {
        "pooling": ["netvlad", "max"],
        "text_pooling": "netvlad",
        "frame_norm": "sqrt_l2",
        "mix": 0.5,
        "loss": {"kind": "info_nce", "captions": "draw"},
        "optim": {"kind": "adamw", "schedule": "one_cycle"},
        "train": {"epochs": 2, "keep": "last"},
    }
    chosen, out = options(merged, **modern), {kind: tmp_path / "made" / file for kind, file in MODEL_FILES.items()}
    inputs = {key: files[key] for key in chosen.training_inputs()} | {TEXT_INPUT: vectors}
    train_model("mini", "atr", chosen, 0, inputs, out, tmp_path / "work", threads=1)
    assert read_json(out["description"])["chosen"]["epoch"] == 1  # the last one
    model = load(tmp_path / "made", {TEXT_INPUT: vectors})
    assert not model.encoder.tensors() and np.isfinite(model.similarity(clips, texts)).all()
    with pytest.raises(EarwitnessError, match="nowhere"):
        load(tmp_path / "made").similarity(clips, texts)


# --- several features ---------------------------------------------------------------------------------------


def test_similarities_of_features_are_weighted(files, clips, merged):
    texts = ["a dog", "one bell and another noise"]
    for weights in ("uniform", "learned"):
        system = AtrSystem(options(merged, features=["f", "g"], weights=weights), files, 0)
        network = system.network.eval()
        audio = [torch.from_numpy(clips.store(name).batch(clips.ids)[0]) for name in ("f", "g")]
        masks = [
            torch.arange(frames.shape[1]) < torch.from_numpy(clips.store(name).batch(clips.ids)[1])[:, None]
            for name, frames in zip(("f", "g"), audio, strict=True)
        ]
        words, lengths = system.encoder.encode(texts)
        mask = torch.arange(words.shape[1]) < torch.from_numpy(lengths)[:, None]
        with torch.no_grad():
            similarity = network.embed_texts(torch.from_numpy(words), mask) @ network.embed_clips(audio, masks).T
            pooled = network.text_pooling(torch.from_numpy(words), mask)
            expected = torch.zeros(2, len(clips))
            shares = torch.full((2, 2), 0.5) if weights == "uniform" else network.expert_weights(pooled).softmax(dim=1)
            for m in range(2):
                frames = network.audio_pooling[m](audio[m], masks[m])
                cosine = network.text_units[m](pooled) @ network.audio_units[m](frames).T
                expected += shares[:, [m]] * cosine
        torch.testing.assert_close(similarity, expected)
        if weights == "learned":
            assert shares.std() > 0


def test_a_model_of_two_features_needs_both(trained, files, merged, clips):
    model = load(trained("made", options(merged, features=["f", "g"])))
    assert model.similarity(clips, ["a dog"]).shape == (1, len(clips))
    only = Clips(clips.ids, {"f": clips.store("f")})
    with pytest.raises(EarwitnessError, match="'g'"):
        model.similarity(only, ["a dog"])


# --- batches ---------------------------------------------------------------------------------------


def test_clips_are_mapped_to_the_vectors_of_texts(trained, files, merged, clips):
    """``identity`` leaves captions where their encoder has them, the mean direction of their words'."""
    poolings = ["attention", "max"]
    chosen = options(
        merged, text_side="identity", joint=None, pooling=poolings, loss={"kind": "info_nce", "cosine": 1.0}
    )
    model = load(trained("identity", chosen))
    texts = ["a dog", "the bird is near", "no such words"]
    words, lengths = model.encoder.encode(texts)
    directions = words / np.maximum(np.linalg.norm(words, axis=-1, keepdims=True), 1e-8)
    expected = directions.sum(axis=1) / lengths[:, None]
    expected /= np.maximum(np.linalg.norm(expected, axis=-1, keepdims=True), 1e-8)
    np.testing.assert_allclose(model.embed_texts(texts), expected, atol=1e-5)
    assert model.embed_clips(clips).shape == (4, 12)
    assert not any(name.startswith(("text_pooling", "text_units")) for name in model.network.state_dict())


def test_the_cosine_term_is_the_distance_of_pairs(files, merged):
    clips, texts = torch.eye(3)[:2], torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    owners = torch.arange(2)
    plain = AtrSystem(options(merged), files, 0)._loss(clips, texts, owners)
    more = AtrSystem(options(merged, loss={"cosine": 2.0}), files, 0)._loss(clips, texts, owners)
    torch.testing.assert_close(more - plain, torch.tensor(2.0 * (0.4 + 1.0) / 2))


def test_the_loss_averages_the_similarities_of_a_clips_captions(files, merged):
    system = AtrSystem(options(merged), files, 0)
    rng = torch.Generator().manual_seed(0)
    clips, texts = (torch.nn.functional.normalize(torch.randn(n, 8, generator=rng), dim=1) for n in (3, 6))
    owners = torch.tensor([0, 0, 0, 1, 2, 2])
    rows = torch.stack([(texts[owners == clip] @ clips.T).mean(dim=0) for clip in range(3)])
    margins = [
        max(0.0, 0.2 - float(rows[i, i]) + float(rows[a, b]))
        for i in range(3)
        for j in range(3)
        for a, b in ((i, j), (j, i))
        if i != j
    ]
    assert float(system._loss(clips, texts, owners)) == pytest.approx(sum(margins) / len(margins), rel=1e-5)


@pytest.mark.parametrize(("size", "sizes"), [(2, [2, 2, 3]), (3, [3, 4]), (4, [4, 3]), (6, [7]), (128, [7])])
def test_a_clip_that_is_left_over_joins_the_batch_before(files, merged, size, sizes):
    batches = AtrSystem(options(merged, train={"batch_size": size}), files, 0).batches
    assert [len(batches[0, number].frames[0]) for number in range(len(batches))] == sizes


def test_captions_are_drawn_from_seed_and_epoch(files, merged):
    drawing = options(merged, loss={"captions": "draw"}, train={"batch_size": 7})
    one, same, other = (AtrSystem(drawing, files, seed).batches for seed in (5, 5, 6))
    for epoch in range(3):
        batch = one[epoch, 0]
        assert torch.equal(batch.clip_of_caption, torch.arange(7))
        assert torch.equal(batch.words, same[epoch, 0].words)
    assert not torch.equal(one[0, 0].frames[0], other[0, 0].frames[0])
    assert not torch.equal(one[0, 0].frames[0], one[1, 0].frames[0])


def test_every_caption_of_a_clip_is_drawn_in_some_epoch(files, merged):
    batches = AtrSystem(options(merged, loss={"captions": "draw"}, train={"batch_size": 7}), files, 0).batches
    drawn = {(clip, text): 0 for clip, texts in batches.captions.items() for text in texts}
    for epoch in range(40):
        order, draws = batches._epoch(epoch)
        words, mask = batches[epoch, 0].words, batches[epoch, 0].word_mask
        for clip, row, there in zip(order, words, mask, strict=True):
            texts = batches.captions[batches.clip_ids[clip]]
            text = texts[int(draws[clip] * len(texts))]
            np.testing.assert_array_equal(row[there], batches.encoder.encode([text])[0][0])
            drawn[batches.clip_ids[clip], text] += 1
    assert len(drawn) == 16 and min(drawn.values()) > 2


# --- clips that are mixed ---------------------------------------------------------------------------------------


def test_sequences_are_followed_by_their_partners():
    values = np.array([[[1], [2], [-9]], [[3], [-9], [-9]], [[4], [5], [6]]], dtype=np.float32)
    both, lengths = joined(values, np.array([2, 1, 3]), np.array([2, -1, 1]))
    assert lengths.tolist() == [5, 1, 4]
    assert both[..., 0].tolist() == [[1, 2, 4, 5, 6], [3, 0, 0, 0, 0], [4, 5, 6, 3, 0]]


MIXED = {"mix": 0.5, "loss": {"kind": "info_nce", "captions": "draw"}, "train": {"batch_size": 7}}


def test_frames_and_captions_are_joined_with_those_of_the_same_clip(files, merged):
    plain = AtrSystem(options(merged, **MIXED | {"mix": 0.0}, features=["f", "g"]), files, 0).batches
    mixed = AtrSystem(options(merged, **MIXED, features=["f", "g"]), files, 0).batches
    numbers = []
    for epoch in range(20):
        one, other, partners = plain[epoch, 0], mixed[epoch, 0], mixed._partners(epoch, 0, 7)
        parts = [(one.frames[n], one.masks[n], other.frames[n], other.masks[n]) for n in (0, 1)]
        for values, mask, both, there in [*parts, (one.words, one.word_mask, other.words, other.word_mask)]:
            for row, partner in enumerate(partners):
                expected = [values[row][mask[row]]] + ([values[partner][mask[partner]]] if partner >= 0 else [])
                assert torch.equal(both[row][there[row]], torch.cat(expected))
        chosen = [int(partner) for partner in partners if partner >= 0]
        assert len(set(chosen)) == len(chosen) and all(partner != row for row, partner in enumerate(partners))
        numbers.append(len(chosen))
    assert 2 < np.mean(numbers) < 5


def test_half_of_clips_mixed_needs_drawn_captions(merged):
    with pytest.raises(ValidationError, match="draw"):
        options(merged, mix=0.5)


# --- what is pooled ---------------------------------------------------------------------------------------


def test_frames_of_length_one():
    frames = torch.tensor([[[3.0, -4.0], [0.0, 0.0], [4.0, -9.0]]])
    assert unit_frames(frames, "none") is frames
    torch.testing.assert_close(unit_frames(frames, "l2")[0, :2], torch.tensor([[0.6, -0.8], [0.0, 0.0]]))
    roots = torch.tensor([2.0, -3.0]) / 13**0.5
    torch.testing.assert_close(unit_frames(frames, "sqrt_l2")[0, 1:], torch.stack([torch.zeros(2), roots]))


def test_joined_poolings_count_alike(files, clips, merged):
    system = AtrSystem(options(merged, features=["g"], pooling=["netvlad", "max"], text_pooling="mean"), files, 0)
    pool, text = system.network.audio_pooling[0].eval(), system.network.text_pooling
    frames, lengths = clips.store("g").batch(clips.ids)
    mask = torch.arange(frames.shape[1]) < torch.from_numpy(lengths)[:, None]
    pooled = pool(torch.from_numpy(frames), mask)
    assert pooled.shape == (len(clips), pool.size) == (len(clips), 3 * 5 + 5) and list(text) == ["mean"]
    for part in pooled.split([15, 5], dim=1):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(len(clips)))


def test_long_clips_are_embedded_in_smaller_batches(trained, clips, merged, monkeypatch):
    model = load(trained("made", options(merged, features=["f", "g"])))
    expected, sizes = model.embed_clips(clips), []
    monkeypatch.setattr("earwitness.systems.atr.system.FRAMES_AT_ONCE", 100)  # two clips of 48
    embed = model.network.embed_clips
    monkeypatch.setattr(model.network, "embed_clips", lambda f, m: sizes.append(len(f[0])) or embed(f, m))
    np.testing.assert_allclose(model.embed_clips(clips), expected, atol=1e-6)
    assert sizes == [2, 2]
    assert [batch.ids for batch in clips.batches(3, 1)] == [[clip_id] for clip_id in clips.ids]
    assert [len(batch) for batch in clips.batches(3)] == [3, 1]


# --- the published code's ways ---------------------------------------------------------------------------------------


def test_published_limits_cut_clips_and_captions(files, merged, monkeypatch, corpus):
    monkeypatch.setitem(REFERENCE_FRAMES["clotho"], "logmel", 9)
    system = AtrSystem(options(merged, reference_limits="clotho", mask_pads=False), files, 0)
    batch = system.batches[0, 0]
    assert batch.frames[0].shape[1] == 9 and batch.words.shape[1] == 20
    assert batch.masks[0].all() and not batch.word_mask.all()


def test_what_limits_cut_is_said_of_every_split_and_by_the_model(trained, clips, merged, monkeypatch, capsys):
    monkeypatch.setitem(REFERENCE_FRAMES["clotho"], "logmel", 4)
    monkeypatch.setattr("earwitness.systems.atr.system.REFERENCE_WORDS", 2)
    made = trained("made", options(merged, features=["g"], reference_limits="clotho"))
    told = capsys.readouterr().err
    for said in ("g: 4 of 7 training clips have more than 4 frames", "training captions have more than 2 words"):
        assert said in told
    assert "validation captions" in told and "g: 1 of 3 validation clips" not in told
    model = load(made)
    model.similarity(clips, ["a dog", "the horn is near"])
    frames, words = model.remarks()
    assert frames.startswith("g: 1 of 4 recordings") and words.startswith("1 of 2 texts") and not model.remarks()


def test_clips_that_are_longer_than_the_transformer_learnt_are_said(trained, clips, merged, tmp_path):
    model = load(trained("made", options(merged, features=["g"], pooling="transformer")))
    assert model.lengths.frames == [8]
    write(tmp_path / "long.h5", [("long", np.ones((9, 5)))], 5, clips.store("g").provenance)
    model.similarity(Clips(["long"], {"g": FeatureStore(tmp_path / "long.h5")}), ["a dog"])
    assert model.remarks() == ["g: 1 of 1 recordings have more than 8 frames, and are cut to them"]


def test_texts_that_the_encoder_cuts_are_said(files, corpus, trained, clips, merged, capsys, monkeypatch, tmp_path):
    settings = {"kind": "word_vectors", "word2vec": {"size": 12, "passes": 2}, "max_words": 2}
    options_of_text = WordVectorsOptions.model_validate(settings)
    prepare(options_of_text, corpus["clips"].parent, {"vectors": tmp_path / "vectors.h5"})
    monkeypatch.setitem(files, TEXT_INPUT, tmp_path / "vectors.h5")
    made = trained("made", options(merged, features=["g"]))
    captions = read_table(corpus["captions"], ["clip_id", "text"])
    own = captions[captions["clip_id"].str.startswith("validation")]["text"]
    longer = (own.str.split().str.len() > 2).sum()
    assert f"{longer} of {len(own)} validation captions are longer" in capsys.readouterr().err
    model = load(made)
    model.embed_texts(["a dog", "the horn is near"])
    assert model.remarks() == ["1 of 2 texts are longer than the text encoder takes, and are cut"]


def test_clips_without_frames_are_said(files, merged, capsys, trained, tmp_path):
    made = FeatureStore(files["g validation"])
    frames = [(clip_id, made[clip_id][: 3 * n]) for n, clip_id in enumerate(made.clip_ids)]
    write(tmp_path / "short.h5", frames, 5, made.provenance)
    AtrSystem(options(merged, features=["g"], pooling="mean"), files | {"g validation": tmp_path / "short.h5"}, 0)
    assert "g: 1 of 3 validation clips have no frames" in capsys.readouterr().err


def test_features_without_a_published_limit_are_said(files, merged, monkeypatch, capsys):
    monkeypatch.delitem(REFERENCE_FRAMES["clotho"], "logmel")
    system = AtrSystem(options(merged, reference_limits="clotho"), files, 0)
    assert system.lengths.frames == [48]
    assert "f: `reference_limits: clotho`" in capsys.readouterr().err


def test_without_limits_unmasked_pads_are_as_many_in_every_batch(files, merged):
    system = AtrSystem(options(merged, features=["g"], mask_pads=False), files, 0)
    longest = FeatureStore(files["g development"]).longest
    assert {system.batches[0, number].frames[0].shape[1] for number in range(2)} == {longest}


def test_unmasked_pads_are_zeros_whatever_a_feature_has_there():
    """A log-mel has its floor beyond the end of a clip."""
    frames = np.full((2, 3, 1), -36, dtype=np.float32)
    padded, mask = fitted(frames, np.array([3, 1]), 4, pads=True)
    assert padded[..., 0].tolist() == [[-36, -36, -36, 0], [-36, 0, 0, 0]]
    assert mask.sum(dim=1).tolist() == [3, 1]


# --- bad input ---------------------------------------------------------------------------------------


def test_too_few_frames_for_the_clusters_are_said(files, merged, capsys):
    AtrSystem(options(merged, features=["g"], clusters={"audio": 4}), files, 0)
    assert "g: 2 of 7 training clips" in capsys.readouterr().err
    AtrSystem(options(merged, features=["g"], clusters={"audio": 4}, pooling="mean"), files, 0)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_training_that_diverges_in_its_last_step_is_said(trained, merged, keep):
    chosen = options(merged, optim={"lr": 1e30}, train={"batch_size": 7, "keep": keep})  # one step
    with pytest.raises(EarwitnessError, match="learning rate"):
        trained("made", chosen)


def test_one_training_clip_is_refused(files, merged, tmp_path):
    table = read_table(files["clips"], CLIPS)
    few = table[(table["split"] != "development") | (table["clip_id"] == "development/0")]
    write_table(tmp_path / "clips.csv", few)
    with pytest.raises(EarwitnessError, match="one training clip"):
        AtrSystem(options(merged), files | {"clips": tmp_path / "clips.csv"}, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": []}, "features"),
        ({"features": ["f", "f"]}, "twice"),
        ({"clusters": {"audio_ghosts": 1}}, "audio_ghosts: 1"),
        ({"pooling": "netvlad", "text_pooling": "max", "clusters": {"text_ghosts": 2}}, "text_ghosts: 2"),
        ({"transformer": {"heads": 3}}, "heads: 3"),
        ({"train": {"batch_size": 1}}, "batch_size"),
        ({"mix": 0.5, "loss": {"captions": "draw"}, "reference_limits": "clotho"}, "mix: 0.5"),
        ({"train": {"patience": 3, "keep": "last"}}, "patience: 3"),
        ({"weights": "learned"}, "weights: learned"),
        ({"text_side": "identity"}, "joint: 8"),
        ({"text_side": "identity", "joint": None, "text_pooling": "max"}, "text_pooling: 'max'"),
        ({"text_side": "identity", "joint": None, "features": ["f", "g"], "weights": "learned"}, "weights: 'learned'"),
        ({"loss": {"temperature": 0.001}}, "temperature"),
        ({"optim": {"decay": 1.5}}, "decay"),
    ],
)
def test_options_that_cannot_be(merged, changes, said):
    with pytest.raises(ValidationError, match=said):
        options(merged, **changes)


def test_features_of_another_dimension_are_refused(files, merged, trained, clips, tmp_path):
    made = FeatureStore(files["g validation"])
    write(tmp_path / "wide.h5", [(i, np.ones((3, 7))) for i in made.clip_ids], 7, made.provenance)
    with pytest.raises(MismatchError, match=r"wide\.h5 has frames of 7 .* g has 5"):
        AtrSystem(options(merged, features=["g"]), files | {"g validation": tmp_path / "wide.h5"}, 0)
    model = load(trained("made", options(merged, features=["g"])))
    with pytest.raises(MismatchError, match="64"):
        model.embed_clips(Clips(clips.ids, {"g": clips.store("f")}))


def test_clips_without_frames_pool_to_something():
    frames, mask = fitted(np.zeros((2, 0, 3), dtype=np.float32), np.zeros(2, dtype=np.int64), None, pads=False)
    assert frames.shape == (2, 1, 3) and not mask.any()
