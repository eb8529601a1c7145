"""Audio-caption alignment on a few short clips: every variant from files to a model that loads anywhere."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from earwitness.corpora.tables import CLIPS, EVENTS, PHRASES, audio_digest, clips_of, read_table, write_table
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore, write
from earwitness.files import read_json
from earwitness.prediction.clips import Clips
from earwitness.systems.alignment.batches import Pairs, impostors
from earwitness.systems.alignment.network import Alignment
from earwitness.systems.alignment.options import TEXT_INPUT, AlignmentOptions
from earwitness.systems.alignment.system import AlignmentSystem
from earwitness.systems.interface import MODEL_FILES, load
from earwitness.text.encoders import open_encoder
from earwitness.text.options import WordVectorsOptions
from earwitness.text.word_vectors import prepare
from earwitness.training.stage import train_model

SMALL = {"crnn": {"channels": [2, 3, 3, 3, 3]}, "train": {"batch_size": 4, "epochs": 2, "stop": None}}
VARIANTS = {
    "published": {"mask_pads": False, "scaling": "minmax"},
    "masked": {},
    "MTSQ": {"score": {"time": "max", "first": "time"}},
    "MQST": {"score": {"words": "max"}, "loss": {"negatives": "hardest", "margin": 0.2}},
    "all negatives": {"loss": {"negatives": "all"}, "texts": "phrases"},
    "info_nce": {
        "loss": {"kind": "info_nce"},
        "encoder": "linear",
        "frame_norm": "sqrt_l2",
        "joint": 6,
        "score": {"similarity": "softplus", "time": "linear_softmax"},
        "optim": {"schedule": "one_cycle", "weight_decay": 0.1},
        "train": {"keep": "last"},
        "resolution": 0.008,
    },
}


class Killed(Exception):
    pass


def options(merged, **changes):
    content = {"system": "alignment", "feature": "f", "text": "t"} | SMALL
    return AlignmentOptions.model_validate(merged(content, changes))


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory):
    """Inputs of training: log-mel frames of unequal lengths with 20 ms between them, and words of 12 dimensions."""
    folder = tmp_path_factory.mktemp("alignment")
    tables = corpus["captions"].parent
    settings = WordVectorsOptions.model_validate({"kind": "word_vectors", "word2vec": {"size": 12, "passes": 2}})
    prepare(settings, tables, {"vectors": folder / "vectors.h5"})
    found = {name: tables / f"{name}.csv" for name in ("captions", "clips", "phrases", "events")}
    found[TEXT_INPUT] = folder / "vectors.h5"
    rng = np.random.default_rng(1)
    for split in ("development", "validation", "evaluation"):
        made = FeatureStore(corpus[split]).provenance | {"hop": 0.02}
        ids = clips_of(corpus["clips"], split, "the test")["clip_id"]
        write(folder / f"{split}.h5", [(i, rng.normal(size=(40 + n, 64))) for n, i in enumerate(ids)], 64, made)
        found[split] = folder / f"{split}.h5"
    return found


@pytest.fixture
def trained(files, tmp_path):
    """Train to a folder of the given name; the folder."""

    def train(name, chosen, seed=0):
        out = {kind: tmp_path / name / file for kind, file in MODEL_FILES.items()}
        inputs = {key: files[key] for key in chosen.training_inputs()}
        train_model("mini", "alignment", chosen, seed, inputs, out, tmp_path / name / "work", threads=1)
        return tmp_path / name

    return train


@pytest.fixture
def clips(files):
    return Clips.of(clips_of(files["clips"], "evaluation", "the test"), {"f": files["evaluation"]})


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_and_loads_anywhere(name, trained, clips, merged, tmp_path):
    chosen = options(merged, **VARIANTS[name])
    model = load(trained("made", chosen).rename(tmp_path / "elsewhere"))
    texts = ["a dog", "the horn is near", "zebra"]
    similarity = model.similarity(clips, texts)
    assert similarity.shape == (3, len(clips)) and similarity.dtype == np.float32
    assert (similarity >= 0).all() and (similarity <= 1 + 1e-5).all()
    alone = np.concatenate([model.similarity(batch, texts) for batch in clips.batches(1)], axis=1)
    if chosen.mask_pads:
        np.testing.assert_allclose(alone, similarity, atol=1e-5)
    queries = [(clip, text) for clip in clips.ids for text in texts]
    activations = list(model.activations(clips, queries))
    assert len(activations) == len(queries)
    seconds = 0.02 * clips.store().length(clips.ids[0])
    assert len(activations[0]) == round(seconds / model.hop) and activations[0].dtype == np.float32
    assert all((one >= 0).all() and (one <= 1 + 1e-5).all() for one in activations)
    if chosen.scaling == "minmax":
        assert activations[0].min() == 0 and activations[0].max() == pytest.approx(1)
    assert model.similarity(clips, []).shape == (0, len(clips))


def test_the_score_is_that_of_the_activations(trained, clips, merged):
    model = load(trained("made", options(merged)))
    caption = "the cat is near"
    words, values = next(model.word_activations(clips, [(clips.ids[0], caption)]))
    assert words == ["the", "cat", "is", "near"] and values.shape == (40, 4)
    activation = next(model.activations(clips, [(clips.ids[0], caption)]))
    np.testing.assert_allclose(values.mean(axis=1), activation, atol=1e-6)
    np.testing.assert_allclose(activation.mean(), model.similarity(clips, [caption])[0, 0], atol=1e-5)


def test_a_clip_is_encoded_once_for_its_texts(trained, clips, merged, monkeypatch):
    model = load(trained("made", options(merged)))
    calls = []
    kept = Alignment.similarities_over_time
    monkeypatch.setattr(Alignment, "similarities_over_time", lambda *given: calls.append(len(given[1])) or kept(*given))
    list(model.activations(clips, [(clip, text) for clip in clips.ids[:2] for text in ("a dog", "a cat", "rain")]))
    assert calls == [40, 41]


def test_validation_chooses_threshold_and_smoothing(trained, clips, merged, files):
    folder = trained("made", options(merged))
    point = read_json(folder / "model.json")["operating_point"]
    model = load(folder)
    assert {name: getattr(model, name) for name in point} == point and model.frame_threshold <= 1
    assert model.threshold < 1 and model.median_filter % 2 == 1
    other = AlignmentSystem.load(options(merged, threshold=0.7, smoothing=0.1), folder, {})
    assert (other.threshold, other.median_filter) == (0.7, 5)


@pytest.mark.parametrize("name", ["masked", "info_nce"])
def test_a_killed_training_gives_the_same_model(name, trained, merged, monkeypatch):
    chosen = options(merged, **merged({"train": {"epochs": 4}}, VARIANTS[name]))
    whole = trained("whole", chosen)
    losses, calls = AlignmentSystem.losses, []

    def killed(system, batch):
        calls.append(1)
        if len(calls) == 19:
            raise Killed
        return losses(system, batch)

    monkeypatch.setattr(AlignmentSystem, "losses", killed)
    with pytest.raises(Killed):
        trained("again", chosen)
    monkeypatch.setattr(AlignmentSystem, "losses", losses)
    for file in MODEL_FILES.values():
        if file.endswith("safetensors"):
            assert (trained("again", chosen) / file).read_bytes() == (whole / file).read_bytes()


def test_seeds_differ(trained, merged):
    weights = [(trained(str(seed), options(merged), seed) / "model.safetensors").read_bytes() for seed in (0, 1)]
    assert weights[0] != weights[1]


def test_impostors_are_of_other_clips():
    owners = np.array([0, 0, 1, 2, 2])
    drawn = impostors(owners, np.random.default_rng(0))
    assert (owners[drawn] != owners[:, None]).all()
    assert impostors(np.array([3, 3]), np.random.default_rng(0)).tolist() == [[0, 0], [1, 1]]


def test_batches(files, corpus):
    store, encoder = FeatureStore(files["development"]), open_encoder(files[TEXT_INPUT])
    first, second, third = store.clip_ids[:3]
    texts = {first: ["a dog", "a cat"], second: ["a dog"], third: ["rain", "wind"]}
    batches = Pairs(texts, store, encoder, batch_size=2, seed=0)
    assert len(batches) == 2  # of five pairs the last is no batch of its own
    sizes = [len(batches[0, number].clip_of_pair) for number in range(2)]
    assert sizes == [2, 3]
    whole = Pairs(texts, store, encoder, batch_size=5, seed=0)[0, 0]
    assert len(whole.frames) == 3 and len(whole.words) == 5
    same = whole.clip_of_pair[:, None] == whole.clip_of_pair
    assert not (whole.negatives & same).any()
    # Two clips share a text, which is then no negative of the other clip; the other text of the first is.
    assert int((~whole.negatives & ~same).sum()) == 3


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"crnn": {"hidden": 5}}, "joint: 10"),
        ({"joint": 7}, "even"),
        ({"texts": "phrases"}, "phrase"),
    ],
)
def test_what_cannot_work_is_said(changes, key, trained, merged, files, tmp_path):
    chosen = options(merged, **changes)
    inputs = {name: files[name] for name in chosen.training_inputs()}
    if key == "phrase":  # a data set without any
        for name in ("captions", "clips"):
            (tmp_path / f"{name}.csv").write_bytes(files[name].read_bytes())
            inputs[name] = tmp_path / f"{name}.csv"
        for name, columns in (("phrases", PHRASES), ("events", EVENTS)):
            write_table(tmp_path / f"{name}.csv", read_table(files[name], columns)[:0])
            inputs[name] = tmp_path / f"{name}.csv"
    with pytest.raises(EarwitnessError) as error:
        AlignmentSystem(chosen, inputs, 0)
    assert key in str(error.value)


@pytest.mark.parametrize("lacking", [{"events": EVENTS}, {"events": EVENTS, "phrases": PHRASES}])
def test_no_events_leave_the_threshold_as_it_is(lacking, merged, files, tmp_path, capsys):
    inputs = dict(files)
    for name in ("captions", "clips", "phrases", "events"):
        inputs[name] = tmp_path / f"{name}.csv"
        inputs[name].write_bytes(files[name].read_bytes())
    for name, columns in lacking.items():
        write_table(inputs[name], read_table(files[name], columns)[:0])
    system = AlignmentSystem(options(merged), inputs, 0)
    assert system.operating_point() == {"threshold": 0.5, "frame_threshold": 0.5, "median_filter": 1}
    assert "0.5" in capsys.readouterr().err


def test_texts_without_a_known_word_are_counted(trained, clips, merged, files, tmp_path, capsys):
    model = load(trained("made", options(merged)))
    assert model.remarks() == []
    first, second = (next(model.activations(clips, [(clips.ids[0], text)])) for text in ("zyzzyva", "qwertz uiop"))
    assert np.isfinite(first).all() and (first == second).all()
    model.similarity(clips, ["a dog", "zyzzyva"])
    (said,) = model.remarks()
    assert "2 of 3" in said and "zyzzyva" in said and "dog" not in said and model.remarks() == []
    inputs = dict(files)
    for name in ("captions", "clips", "events"):
        (tmp_path / f"{name}.csv").write_bytes(files[name].read_bytes())
    phrases = read_table(files["phrases"], PHRASES)
    phrases.loc[0, "text"] = "zyzzyva"
    write_table(tmp_path / "phrases.csv", phrases)
    inputs |= {name: tmp_path / f"{name}.csv" for name in ("captions", "clips", "events", "phrases")}
    AlignmentSystem(options(merged, texts="phrases"), inputs, 0)
    said = capsys.readouterr().err
    assert "1 of" in said and "development" in said and "zyzzyva" in said


@pytest.mark.parametrize("loss", [{}, {"negatives": "hardest"}, {"negatives": "all"}, {"kind": "info_nce"}])
def test_a_batch_of_one_clip_teaches_nothing(loss, merged, files):
    system = AlignmentSystem(options(merged, loss=loss), files, 0)
    clip, other = list(system.pairs.texts)[:2]
    batch = Pairs({clip: ["a dog", "a cat"], other: []}, system.development, system.encoder, 2, 0)[0, 0]
    loss = system.losses(batch)["loss"]
    loss.backward()  # rounding apart
    gradients = [p.grad for p in system.network.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and all(gradient.abs().max() < 1e-6 for gradient in gradients)


@pytest.mark.parametrize("name", ["masked", "info_nce"])
def test_a_step_in_bfloat16_with_clips_of_unequal_lengths(name, merged, files):
    system = AlignmentSystem(options(merged, **VARIANTS[name]), files, 0)
    batch = system.pairs[0, 0]
    assert len(set(batch.lengths.tolist())) > 1
    expected = system.losses(batch)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(0)
        loss = system.losses(batch)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected.item(), abs=0.1)
    assert all(torch.isfinite(p.grad).all() for p in system.network.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["masked", "info_nce"])
def test_a_clip_of_no_frames(name, trained, merged, files, tmp_path):
    model = load(trained("made", options(merged, **VARIANTS[name])))
    table = clips_of(files["clips"], "evaluation", "the test")
    none, one, *others = table["clip_id"]
    shapes = [(none, np.zeros((0, 64))), (one, np.ones((1, 64))), *((clip, np.ones((9, 64))) for clip in others)]
    write(tmp_path / "short.h5", shapes, 64, FeatureStore(files["evaluation"]).provenance)
    short = Clips.of(table, {"f": tmp_path / "short.h5"})
    assert (model.similarity(short, ["a dog"])[:, 0] == 0).all()
    # Without activations such a clip is refused by name where it is scored.
    empty, single = model.activations(short, [(none, "a dog"), (one, "a dog")])
    assert len(empty) == 0 and len(single) >= 1 and np.isfinite(single).all()


def test_one_clip_cannot_be_compared(merged, files, tmp_path):
    clips = read_table(files["clips"], CLIPS)
    write_table(tmp_path / "clips.csv", clips[(clips["split"] != "development") | (clips.index == 0)])
    made = FeatureStore(files["development"])
    one = clips_of(tmp_path / "clips.csv", "development", "the test")
    made_by = made.provenance | {"inputs": {"audio": audio_digest(one)}}
    write(tmp_path / "one.h5", [(clip, made[clip]) for clip in one["clip_id"]], 64, made_by)
    with pytest.raises(EarwitnessError, match="1 of 1 development"):
        AlignmentSystem(
            options(merged), files | {"clips": tmp_path / "clips.csv", "development": tmp_path / "one.h5"}, 0
        )


def test_frames_without_a_hop_are_refused(merged, files, corpus):
    with pytest.raises(EarwitnessError, match="hop"):
        system = AlignmentSystem(options(merged), files | {s: corpus[s] for s in ("development", "validation")}, 0)
        system.description()


def test_other_features_are_refused(trained, merged, files, clips, tmp_path):
    model = load(trained("made", options(merged)))
    table = clips_of(files["clips"], "evaluation", "the test")
    made = FeatureStore(files["evaluation"]).provenance
    write(tmp_path / "other.h5", [(clip, np.ones((4, 5))) for clip in table["clip_id"]], 5, made)
    with pytest.raises(MismatchError, match="64"):
        model.similarity(Clips.of(table, {"f": tmp_path / "other.h5"}), ["a dog"])


@pytest.mark.parametrize(
    "changes",
    [
        {"optim": {"schedule": "one_cycle"}, "train": {"keep": "last", "stop": {"window": 4}}},
        {"crnn": {"channels": [1]}},
        {"resolution": 1e-9},
        {"smoothing": 1e9},
        {"threshold": float("nan")},
    ],
)
def test_options_that_contradict(changes, merged):
    with pytest.raises(ValidationError):
        options(merged, **changes)


def test_long_clips_are_scored_in_bounded_memory(merged):
    network = Alignment(options(merged, crnn={"channels": [1, 1, 1, 1, 1]}), {"audio": 64, "text": 12}).eval()
    words = torch.nn.functional.normalize(torch.randn(5, 12), dim=-1)
    frames = torch.randn(20000, 64)
    with torch.inference_mode():
        whole = network.similarities_over_time(frames, words)
        part = network.similarities_over_time(frames[:200], words)
    assert whole.shape == (20000, 5) and torch.isfinite(whole).all() and part.shape == (200, 5)


def test_options_without_effect(merged):
    vain = options(merged, encoder="linear", mask_pads=False, loss={"kind": "info_nce", "margin": 0.2})
    assert {key for key, _ in vain.without_effect()} == {"crnn.channels", "mask_pads", "loss.margin"}
    as_by_default = options(merged, frame_norm="none", loss={"temperature": 0.07}, optim={"warmup_share": 0.3})
    assert not list(as_by_default.without_effect())
