"""WSAC: what it learns from, how text vectors are moved towards audio, and what it captions from."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from earwitness.clap import gap
from earwitness.corpora.tables import audio_digest, captions_by_clip, clips_of, read_table, write_table
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.captioning import PREDICTIONS
from earwitness.evaluation.predict import predict
from earwitness.features.store import write
from earwitness.files import atomic_hdf5, provenance, read_json
from earwitness.options import DecodingOptions
from earwitness.prediction.clips import Clips
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.interface import MODEL_FILES, load
from earwitness.systems.wsac import system as wsac
from earwitness.systems.wsac.batches import TrainingBatches, batch_of, caption_vectors, token_ids
from earwitness.systems.wsac.network import Sizes, Wsac, bridged, nearest, projected
from earwitness.systems.wsac.options import WsacOptions
from earwitness.systems.wsac.system import WsacCaptioner, WsacSystem
from earwitness.text.encoders import open_encoder, text_digest, write_attributes
from earwitness.text.options import WordsOptions
from earwitness.text.stage import prepare_words
from earwitness.text.wordpiece import read_vocabulary
from earwitness.training.events import read_events
from earwitness.training.schedules import Moment
from earwitness.training.stage import train_model

D = 8  # dimensions of a CLAP
WORDS = 7  # of a made-up vocabulary
SMALL = {
    "system": "wsac",
    "text": "words",
    "length": 8,
    "decoder": {"layers": 1, "heads": 2, "width": 16, "positions": 24, "dropout": 0.0},
    "optim": {"lr": 0.01, "warmup": 2},
    "train": {"batch_size": 4, "epochs": 2, "threads": 1},
    "decode": {"max_words": 10},
}


def options(**changes):
    merged = SMALL | {key: {**SMALL.get(key, {}), **value} if isinstance(value, dict) else value
                      for key, value in changes.items()}  # fmt: skip
    return WsacOptions.model_validate(merged)


def unit(seed, *shape):
    return normalize(torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float(), dim=-1)


def write_vectors(path, texts, vectors, state="untrained-0.x"):
    """A ``vectors.h5`` as a CLAP's text tower makes it."""
    with atomic_hdf5(path) as file:
        file["vectors"] = np.asarray(vectors, dtype=np.float32)
        file["offsets"] = np.arange(len(texts) + 1)
        file["digests"] = np.array([text_digest(text) for text in texts], dtype="S32")
        contents = {
            "options": {"kind": "clap_laion", "weights": "untrained"},
            "counts": {},
            "provenance": provenance("text"),
        }
        write_attributes(file, "clap_laion", contents, label="tiny", state=state, dimension=D, max_tokens=77)


@pytest.fixture(scope="session")
def clap(corpus, tmp_path_factory):
    """Files of training by name, and features by split: a clip's vector is near that of its first caption."""
    folder, root = tmp_path_factory.mktemp("clap"), corpus["clips"].parent
    texts = sorted(set(read_table(corpus["captions"], ["text"])["text"]))
    vectors = unit(0, len(texts), D).numpy()
    write_vectors(folder / "vectors.h5", texts, vectors)
    prepare_words(WordsOptions(kind="words"), root, {"vocabulary": folder / "vocabulary.json"})
    features = {}
    for split in ("development", "validation", "evaluation"):
        table = clips_of(corpus["clips"], split, "the test")
        made = provenance("clap_laion", seed=0)
        made["inputs"] = {"audio": audio_digest(table)}
        captions = captions_by_clip(corpus["captions"], list(table["clip_id"]))
        clips = [(clip, vectors[[texts.index(own[0])]]) for clip, own in captions.items()]
        features[split] = folder / f"{split}.h5"
        write(features[split], clips, D, made)
    files = {"captions": corpus["captions"], "clips": corpus["clips"]}
    files |= {"vectors": folder / "vectors.h5", "vocabulary": folder / "vocabulary.json"}
    return {"files": files, "features": features, "texts": texts, "vectors": vectors}


@pytest.fixture
def trained(clap, tmp_path):
    """Trains to a folder of the given name."""

    def train(name="a", chosen=None, seed=0, files=None):
        out = {kind: tmp_path / name / file for kind, file in MODEL_FILES.items()}
        train_model("d", "wsac", chosen or options(), seed, files or clap["files"], out, tmp_path / name / "work", 1)
        return tmp_path / name

    return train


def predicted(folder, chosen, clap, **more):
    predict(chosen, "captioning", {"clap": clap["features"]["evaluation"], **more},
            clap["files"]["clips"].parent, folder, threads=1)  # fmt: skip
    return read_table(folder / "captions.csv", PREDICTIONS)


# --- training on text alone ------------------------------------------------------------------------------------------

opened = None
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" and opened is not None else None)


def test_training_opens_no_audio_and_no_feature(trained, clap, monkeypatch):
    global opened
    seen, file = [], wsac.open_encoder.__globals__["h5py"].File
    monkeypatch.setattr(
        "h5py.File", lambda path, *args, **kwargs: seen.append(str(path)) or file(path, *args, **kwargs)
    )
    opened = seen
    try:
        trained()
    finally:
        opened = None
    assert str(clap["files"]["vectors"]) in seen and str(clap["files"]["captions"]) in seen
    features = {str(path) for path in clap["features"].values()}
    assert not features & set(seen)
    sounds = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
    assert not [path for path in seen if path.endswith(sounds)]
    # What is read of the data set are its tables and text.
    folders = {str(path.parent) for path in clap["files"].values()}
    own = {path.rsplit("/", 1)[1] for path in seen if path.rpartition("/")[0] in folders}
    assert own == {"clips.csv", "captions.csv", "vectors.h5", "vocabulary.json"}


def test_training_reads_text_of_another_corpus_where_it_is_named():
    uses = options(corpus="audiocaps", shift={"dataset": "clotho"}).training_inputs()
    assert {name: use.path("mini") for name, use in uses.items()} == {
        "captions": "audiocaps/corpus/captions.csv",
        "clips": "audiocaps/corpus/clips.csv",
        "vectors": "audiocaps/text/clap/vectors.h5",
        "vocabulary": "audiocaps/text/words/vocabulary.json",
        "gap": "clotho/clap/clap/gap.h5",
    }
    assert not [use for use in uses.values() if use.stage == "features"]
    assert options().prediction_inputs()["clap"].path("mini") == "mini/features/clap/evaluation.h5"


def test_a_corpus_without_validation_is_trained_on_and_keeps_its_last_epoch(trained, clap, tmp_path):
    table = pd.read_csv(clap["files"]["clips"])
    write_table(tmp_path / "clips.csv", table[table["split"] == "development"])
    files = clap["files"] | {"clips": tmp_path / "clips.csv"}
    assert read_json(trained("a", files=files) / "model.json")["chosen"] == {"epoch": 1, "metric": None, "value": None}
    with pytest.raises(EarwitnessError, match="validation"):
        trained("b", options(train={"keep": "best"}), files=files)


def test_the_epoch_of_least_validation_loss_may_be_kept(trained):
    folder = trained(chosen=options(train={"keep": "best", "epochs": 3}))
    chosen = read_json(folder / "model.json")["chosen"]
    losses = [e["metrics"]["validation_loss"] for e in read_events(folder / "events.jsonl")
              if "validation_loss" in e.get("metrics", {})]  # fmt: skip
    assert chosen["metric"] == "validation_loss" and chosen["value"] == min(losses) and len(losses) == 3


def test_noise_is_recorded_and_new_in_each_epoch_but_the_same_for_a_seed(trained, tmp_path):
    noisy = options(noise={"variance": 0.5})
    folders = [trained("a", noisy), trained("b", noisy), trained("c")]
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1] != weights[2]
    norms = [e["metrics"]["noise_norm"] for e in read_events(folders[0] / "events.jsonl")
             if "noise_norm" in e.get("metrics", {})]  # fmt: skip
    assert norms and abs(np.mean(norms) - 2) < 0.7  # sqrt(0.5 * 8)


def test_a_killed_training_gives_the_same_model(trained, monkeypatch):
    noisy = options(noise={"variance": 0.1})
    undisturbed = trained("a", noisy)
    losses, calls = WsacSystem.losses, []

    def killed(system, batch):
        calls.append(1)
        if len(calls) == 6:  # of eight steps
            raise RuntimeError("killed")
        return losses(system, batch)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(WsacSystem, "losses", killed)
        trained("b", noisy)
    resumed = trained("b", noisy)
    assert (resumed / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


def test_the_rate_rises_and_falls(clap):
    system = WsacSystem(options(), clap["files"], 0)
    rates = [system.learning_rate(Moment(0, step, 10, 1)) for step in range(10)]
    assert rates[0] == 0 and max(rates) == rates[2] == 0.01 and rates[9] == pytest.approx(0.01 / 8)
    (group,) = system.optimiser().param_groups
    assert (group["eps"], group["weight_decay"], group["betas"]) == (1e-6, 0.02, (0.9, 0.999))


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_caption_is_cut_before_its_end_or_as_published_without_one(clap):
    vocabulary = read_vocabulary(clap["files"]["vocabulary"])
    whole = vocabulary.encode("the dog is near")
    for ended, last in ((True, vocabulary.eos), (False, whole[3])):
        (ids, short), cut = token_ids(["the dog is near", "a dog"], vocabulary, 4, ended)
        assert ids.tolist() == [*whole[:3], last] and cut == 1 and len(short) == 4


def test_cut_captions_are_counted(clap, capsys):
    system = WsacSystem(options(length=4), clap["files"], 0)
    assert system.cut and system.description()["captions"]["cut"] == system.cut
    assert f"{system.cut} of {len(system.batches.ids)}" in capsys.readouterr().err


def test_epochs_have_other_orders_and_leave_out_a_last_batch():
    ids = [np.arange(2 + n % 3, dtype=np.int32) for n in range(11)]
    batches = TrainingBatches(np.eye(11, dtype=np.float32), ids, 0, 4, seed=0)
    assert len(batches) == 2
    orders = [[int(row) for i in range(2) for row in batches[epoch, i].vectors.argmax(dim=1)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and len(set(orders[0])) == 8
    batch = batches[0, 0]
    assert [len(ids[row]) for row in orders[0][:4]] == batch.lengths.tolist()
    assert batch.ids.shape == (4, batch.lengths.max())
    assert len(TrainingBatches(np.eye(2, dtype=np.float32), ids[:2], 0, 4, 0)) == 1  # fewer captions than a batch


def test_vectors_are_of_length_one(clap, tmp_path):
    write_vectors(tmp_path / "v.h5", ["a", "b"], np.eye(2, D) * [[1], [2]])
    with pytest.raises(EarwitnessError, match=r"v\.h5.*:\n.*'b': 2"):
        caption_vectors(open_encoder(tmp_path / "v.h5"), ["a", "b", "a"], "v.h5")
    found = caption_vectors(open_encoder(tmp_path / "v.h5"), ["a", "a"], "v.h5")
    assert found.tolist() == np.eye(2, D)[[0, 0]].tolist()


# --- the way from text to audio --------------------------------------------------------------------------------------


def test_noise_and_shift_are_independent():
    text, shift = unit(1, 5, D), torch.full((D,), 0.3)
    same, norm = bridged(text, 0.0, None)
    assert torch.allclose(same, text, atol=1e-6) and norm == 0
    shifted, norm = bridged(text, 0.0, shift)
    assert torch.allclose(shifted, normalize(text + shift, dim=-1)) and norm == 0
    assert bridged(text, 0.0, shift, gate=True)[0] is text
    torch.manual_seed(3)
    both, norm = bridged(text, 0.04, shift)
    torch.manual_seed(3)
    noise = 0.2 * torch.randn(5, D)
    assert torch.allclose(both, normalize(text + noise + shift, dim=-1), atol=1e-6)
    assert norm == pytest.approx(float(noise.norm(dim=1).mean()), rel=1e-5)


def test_noise_has_its_length():
    _, norm = bridged(unit(1, 400, 512), 0.002, None)
    assert norm == pytest.approx((512 * 0.002) ** 0.5, rel=0.01)


def test_projection_of_no_temperature_is_the_nearest_and_on_one_entry_that_entry():
    audio, memory = unit(1, 6, D), unit(2, 20, D)
    assert torch.allclose(projected(audio, memory, 1e-6), nearest(audio, memory), atol=1e-5)
    assert torch.allclose(projected(audio, memory[:1], 0.1), memory[:1].expand(6, D), atol=1e-6)
    assert torch.allclose(projected(audio, memory, 0.1).norm(dim=1), torch.ones(6))


def test_the_network_learns_shifted_vectors(clap, tmp_path):
    out = {"gap": tmp_path / "gap.h5", "report": tmp_path / "gap.json"}
    gap.make(clap["features"]["development"], clap["files"]["vectors"], clap["files"]["captions"], out)
    files = clap["files"] | {"gap": tmp_path / "gap.h5"}
    system, plain = WsacSystem(options(shift={}), files, 0), WsacSystem(options(), files, 0)
    batch = system.batches[0, 0]
    moved = normalize(batch.vectors + torch.from_numpy(gap.read(tmp_path / "gap.h5")), dim=-1)
    with torch.no_grad():
        losses = [float(one.losses(batch._replace(vectors=vectors))["loss"])
                  for one, vectors in ((system, batch.vectors), (plain, moved), (plain, batch.vectors))]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and losses[0] != losses[2]
    write_vectors(tmp_path / "v.h5", clap["texts"], clap["vectors"], state="untrained-1.x")
    with pytest.raises(MismatchError, match=r"gap\.h5.*untrained-0.*untrained-1"):
        WsacSystem(options(shift={}), files | {"vectors": tmp_path / "v.h5"}, 0)


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    chosen = options(prefix={"length": 3}, decoder={"layers": 2})
    return Wsac(chosen, Sizes(dimension=D, words=WORDS, memory=0)).eval()


def test_padding_changes_no_loss(clap):
    system = WsacSystem(options(prefix={"length": 2}), clap["files"], 0)
    batch = system.batches[0, 0]
    wider = torch.nn.functional.pad(batch.ids, (0, 3), value=7)
    with torch.no_grad():
        losses = [float(system.losses(batch._replace(ids=ids))["loss"]) for ids in (batch.ids, wider)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_steps_with_a_cache_are_those_of_the_whole(network):
    vectors, ids = unit(5, 2, D), torch.randint(0, WORDS, (2, 5), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = network.word_logits(network(vectors, ids))
        cache = network.start(vectors, torch.arange(2), 5)
        for position in range(5):
            logits = network.next_logits(ids[:, position], cache, position)
            assert torch.allclose(logits, whole[:, 3 + position], atol=1e-5)


def test_a_wide_beam_finds_the_best_caption(network):
    """Against all captions of at most two tokens, one clip beside another."""
    vectors, symbols = unit(6, 2, D), Symbols(sos=1, eos=2, forbidden=[])
    words, scores = decode(network, vectors, symbols, DecodingOptions(beam=WORDS, max_words=2), 2)
    others = [word for word in range(WORDS) if word != 2]
    captions = [[], *([one] for one in others), *([one, two] for one in others for two in others)]
    for row in range(2):
        totals = []
        for caption in captions:
            ids = torch.tensor([[1, *caption, 2]])
            with torch.inference_mode():
                logits = network.word_logits(network(vectors[[row]], ids))[0, 3:-1]
            totals.append(float(logits.log_softmax(dim=1)[torch.arange(len(caption) + 1), ids[0, 1:]].sum()))
        assert words[row] == captions[int(np.argmax(totals))] and scores[row] == pytest.approx(max(totals), rel=1e-4)


def test_too_few_rows_for_the_text_are_refused():
    with pytest.raises(EarwitnessError, match=r"decoder\.rows: 10 .* 30"):
        Wsac(options(decoder={"rows": 10}), Sizes(dimension=D, words=30, memory=0))


# --- the trained captioner -------------------------------------------------------------------------------------------


def test_text_vectors_give_back_their_captions(clap):
    """From the vector of a training caption, and from the vector of a clip near it."""
    system = WsacSystem(options(decoder={"width": 32}), clap["files"], 0)
    batches, optimiser = system.batches, system.optimiser()
    batch = batch_of(batches.vectors, batches.ids, batches.pad)
    for _ in range(150):
        optimiser.zero_grad()
        system.losses(batch)["loss"].backward()
        optimiser.step()
    model = WsacCaptioner(system.options, system.description(), system.network.state_dict())
    texts = [model.vocabulary.decode(ids[1:]) for ids in batches.ids]
    assert [text for text, _ in model.captions_of(batches.vectors)] == texts
    table = clips_of(clap["files"]["clips"], "evaluation", "the test")
    found = list(model.caption(Clips.of(table, {"clap": clap["features"]["evaluation"]})))
    assert [text for text, _ in found] == ["a dog", "a cat", "a car", "a bird"]
    assert max(score for _, score in found) < 0


INFERENCES = [
    {"inference": "nnd", "decode": {"beam": 3}},
    {"inference": "pd", "tau": 0.05, "memory": {"size": 5}},
    {"legacy_decoding": True},
]


@pytest.mark.parametrize("changes", INFERENCES)
def test_every_way_of_inference_captions_every_clip(trained, clap, changes):
    folder, chosen = trained(), options(**changes)
    captions = predicted(folder, chosen, clap)
    assert len(captions) == 4
    moved = folder.rename(folder.with_name("elsewhere"))
    model = load(moved)
    assert model.options == chosen and model.made_by["clap"]["made_by"] == "clap_laion"
    table = clips_of(clap["files"]["clips"], "evaluation", "the test")
    clips = Clips.of(table, {"clap": clap["features"]["evaluation"]}, model.made_by)
    assert [text for text, _ in model.caption(clips)] == captions["caption"].tolist()


def test_the_temperature_is_chosen_on_validation_and_recorded(trained, clap, monkeypatch):
    monkeypatch.setattr(wsac, "ptb_tokenize", lambda texts: list(texts))
    scores = iter([0.1, 0.4, 0.2, 0.4, 0.3])
    monkeypatch.setattr(wsac.CiderD, "score", lambda self, texts: np.full(len(texts), next(scores)))
    folder, chosen = trained(), options(inference="pd", tau="validation")
    inputs = chosen.prediction_inputs()
    assert inputs[wsac.VALIDATION].path("mini") == "mini/features/clap/validation.h5"
    files = {wsac.VALIDATION: clap["features"]["validation"], wsac.CLIPS: clap["files"]["clips"]}
    predicted(folder, chosen, clap, **files, **{wsac.CAPTIONS: clap["files"]["captions"]})
    record = read_json(folder / "captioning" / "prediction.json")["chosen"]
    assert record["tau"] == wsac.TAUS[1] and record["validation_cider_d"] == pytest.approx(0.4)
    assert list(record["validation_cider_d_by_tau"].values()) == pytest.approx([0.1, 0.4, 0.2, 0.4, 0.3])
    assert load(folder).tau == wsac.TAUS[1]


def test_a_temperature_that_was_not_chosen_yet_is_refused(trained):
    folder = trained()
    with pytest.raises(EarwitnessError, match=r"tau: validation.*a/captioning/prediction\.json"):
        WsacSystem.load(options(inference="pd", tau="validation"), folder, {})


def test_other_inferences_record_their_score_on_validation(trained, clap, monkeypatch):
    monkeypatch.setattr(wsac, "ptb_tokenize", lambda texts: list(texts))
    monkeypatch.setattr(wsac.CiderD, "score", lambda self, texts: np.full(len(texts), 0.3))
    folder, chosen = trained(), options(inference="nnd", tau="validation")
    assert not list(chosen.without_effect())
    files = {wsac.VALIDATION: clap["features"]["validation"], wsac.CLIPS: clap["files"]["clips"]}
    predicted(folder, chosen, clap, **files, **{wsac.CAPTIONS: clap["files"]["captions"]})
    record = read_json(folder / "captioning" / "prediction.json")["chosen"]
    assert record.keys() == {"validation_cider_d", "front_end"} and record["validation_cider_d"] == pytest.approx(0.3)


def test_validation_and_evaluation_vectors_of_two_front_ends_are_refused(trained, clap, tmp_path):
    table = clips_of(clap["files"]["clips"], "validation", "the test")
    made = provenance("clap_laion", seed=0, precision="bfloat16")
    made["inputs"] = {"audio": audio_digest(table)}
    write(tmp_path / "validation.h5", [(clip, np.ones((1, D)) / D**0.5) for clip in table["clip_id"]], D, made)
    files = {wsac.VALIDATION: tmp_path / "validation.h5", wsac.CLIPS: clap["files"]["clips"]}
    with pytest.raises(MismatchError, match=r"evaluation\.h5.*precision"):
        predicted(trained(), options(tau="validation"), clap, **files, **{wsac.CAPTIONS: clap["files"]["captions"]})


def test_one_validation_clip_chooses_nothing(trained, clap, tmp_path):
    table = pd.read_csv(clap["files"]["clips"])
    validation = table[table["split"] == "validation"]
    write_table(tmp_path / "clips.csv", pd.concat([table[table["split"] != "validation"], validation[:1]]))
    files = {wsac.VALIDATION: clap["features"]["validation"], wsac.CLIPS: tmp_path / "clips.csv"}
    with pytest.raises(EarwitnessError, match=r"tau: validation.*clips\.csv"):
        predicted(trained(), options(inference="pd", tau="validation"), clap, **files,
                  **{wsac.CAPTIONS: clap["files"]["captions"]})  # fmt: skip


def test_a_part_of_the_memory_is_drawn_by_its_seed(trained, clap):
    folder = trained()
    model = load(folder)
    description, weights = read_json(folder / "model.json")["network"], model.network.state_dict()
    parts = [
        WsacCaptioner(options(inference="pd", memory=memory), description, weights).memory
        for memory in ({"size": 5}, {"size": 5}, {"size": 5, "seed": 1}, {"size": 10**6})
    ]
    assert torch.equal(parts[0], parts[1]) and not torch.equal(parts[0], parts[2])
    assert torch.equal(parts[3], model.network.memory)
    assert all((model.network.memory == row).all(dim=1).any() for row in parts[0])


def test_a_model_without_memory_is_refused_where_one_is_needed(trained):
    folder = trained()
    model = load(folder)
    description = read_json(folder / "model.json")["network"]
    description["sizes"]["memory"] = 0
    weights = model.network.state_dict() | {"memory": torch.empty(0, D)}
    WsacCaptioner(options(), description, weights)
    for inference in ("nnd", "pd"):
        with pytest.raises(EarwitnessError, match=f"memory.*{inference}"):
            WsacCaptioner(options(inference=inference), description, weights)


def test_clips_of_another_clap_are_refused(trained, clap, tmp_path):
    folder = trained()
    table = clips_of(clap["files"]["clips"], "evaluation", "the test")
    for name, made, frames in (
        ("other", provenance("clap_wavcaps", seed=0), 1),
        ("weights", provenance("clap_laion") | {"inputs": {"weights": "abc"}}, 1),
        ("frames", provenance("clap_laion", seed=0), 2),
    ):
        made["inputs"] = {**made["inputs"], "audio": audio_digest(table)}
        write(tmp_path / f"{name}.h5", [(clip, np.ones((frames, D))) for clip in table["clip_id"]], D, made)
        features = clap["features"] | {"evaluation": tmp_path / f"{name}.h5"}
        with pytest.raises(MismatchError, match=rf"{name}\.h5"):
            predicted(folder, options(), clap | {"features": features})


def test_vectors_that_are_damaged_are_refused(trained, clap, tmp_path):
    table = clips_of(clap["files"]["clips"], "evaluation", "the test")
    made = provenance("clap_laion", seed=0)
    made["inputs"] = {**made["inputs"], "audio": audio_digest(table)}
    vectors = [(clip, np.full((1, D), 3.0 if number == 1 else D**-0.5)) for number, clip in enumerate(table["clip_id"])]
    write(tmp_path / "damaged.h5", vectors, D, made)
    clap = clap | {"features": clap["features"] | {"evaluation": tmp_path / "damaged.h5"}}
    with pytest.raises(EarwitnessError, match=rf"damaged\.h5.*\n  - {table['clip_id'].iloc[1]}: 8.49$"):
        predicted(trained(), options(), clap)


def test_scores_that_are_not_finite_are_refused(trained, clap, monkeypatch):
    def broken(model, vectors):
        return [("", float("nan")) for _ in vectors]

    monkeypatch.setattr(WsacCaptioner, "captions_of", broken)
    with pytest.raises(EarwitnessError, match=r"not finite.*\n  - evaluation/0: nan"):
        predicted(trained(), options(), clap)


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, words", [
    ({"decoder": {"heads": 3}}, "heads: 3 .* 16"),
    ({"length": 24}, "decoder.positions: 24"),
    ({"legacy_noise_gate": True}, "legacy_noise_gate"),
    ({"memory": {"size": 0}}, "memory.size"),
    ({"tau": 0.0}, "tau"),
    ({"tau": 1e-5}, "tau"),
    ({"noise": {"variance": 1e300}}, "noise.variance"),
])  # fmt: skip
def test_options_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        options(**changes)


def test_options_of_another_inference_have_no_effect():
    assert dict(options(tau=0.1, memory={"size": 5}).without_effect()).keys() == {"tau", "memory"}
    assert dict(options(inference="nnd", tau=0.1, memory={"size": 5}).without_effect()).keys() == {"tau"}
    assert not list(options(inference="pd", tau=0.1, memory={"size": 5}).without_effect())
    assert dict(options(inference="pd", memory={"seed": 1}).without_effect()).keys() == {"memory.seed"}
    assert dict(options(memory={"seed": 1}).without_effect()).keys() == {"memory"}
