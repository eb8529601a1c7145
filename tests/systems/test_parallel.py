"""Two processes that share every batch train as one does: losses, weights, and after a kill."""

import multiprocessing

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from earwitness import registry
from earwitness.corpora.tables import clips_of, read_table
from earwitness.errors import EarwitnessError
from earwitness.features.store import FeatureStore, write
from earwitness.files import atomic_hdf5, provenance
from earwitness.metrics.captions import Tools
from earwitness.systems.interface import MODEL_FILES, system_class
from earwitness.text.encoders import text_digest, write_attributes
from earwitness.text.options import WordsOptions, WordVectorsOptions
from earwitness.text.stage import prepare_words
from earwitness.text.word_vectors import prepare
from earwitness.training import loop
from earwitness.training.events import EventLog, read_events
from earwitness.training.processes import together
from earwitness.training.stage import train_model

OFF = Tools(spice="off", similarity="off", fluency="off")
CL4AC = {
    "system": "cl4ac",
    "feature": "f",
    "text": "t",
    "encoder": {"channels": [2, 3, 3, 3], "dropout": 0.0},
    "decoder": {"heads": 2, "feedforward": 8, "layers": 1, "dropout": 0.0},
    "train": {"batching": "grouped", "batch_size": 3, "epochs": 2},
}
FRAMES = CL4AC | {
    "encoder": {"kind": "frames", "heads": 2, "feedforward": 8, "layers": 1, "dropout": 0.0, "frame_dropout": 0.0}
}
ATR = {
    "system": "atr",
    "features": ["f", "g"],
    "text": "t",
    "pooling": ["netvlad", "lstm"],
    "clusters": {"audio": 3, "text": 4},
    "lstm_hidden": 8,
    "joint": 8,
    "train": {"batch_size": 3, "epochs": 2},
}
ALIGNMENT = {
    "system": "alignment",
    "feature": "g64",
    "text": "t",
    "crnn": {"channels": [2, 3, 3, 3, 3], "dropout": 0.0},
    "train": {"batch_size": 5, "epochs": 2, "stop": None},
}
WSAC = {
    "system": "wsac",
    "text": "words",
    "clap": "c",
    "length": 8,
    "decoder": {"layers": 1, "heads": 2, "width": 16, "positions": 24, "dropout": 0.0},
    "optim": {"lr": 0.01, "warmup": 2},
    "train": {"batch_size": 5, "epochs": 2},
}
INFO_NCE = ATR | {
    "loss": {"kind": "info_nce", "captions": "draw"},
    "mix": 0.5,
    "optim": {"kind": "adamw", "eps": 0.1},  # or biases before batch normalisation follow rounding
}
CASES = {
    "cl4ac": CL4AC,
    "cl4ac in_batch": CL4AC | {"contrastive": {"negatives": "in_batch", "share_encoder": False}},
    "cl4ac frames": FRAMES | {"contrastive": {"negatives": "hardest"}},
    "atr": ATR,
    "atr info_nce": INFO_NCE,
    "alignment": ALIGNMENT,
    "alignment info_nce": ALIGNMENT | {"loss": {"kind": "info_nce"}, "joint": 6},
    "alignment published": ALIGNMENT | {"mask_pads": False, "loss": {"negatives": "all"}},
    "wsac": WSAC,
}
CASES |= {
    f"{case['system']} bf16": case | {"train": case["train"] | {"precision": "bf16-mixed"}}
    for case in (CL4AC, ATR, ALIGNMENT, WSAC)
}


@pytest.fixture(scope="module")
def inputs(corpus, tmp_path_factory):
    """The inputs of training of each case: features ``f``, of clips of equal length, ``g`` and ``g64``, of others."""
    folder, tables = tmp_path_factory.mktemp("inputs"), corpus["captions"].parent
    settings = WordVectorsOptions.model_validate({"kind": "word_vectors", "word2vec": {"size": 12, "passes": 2}})
    prepare(settings, tables, {"vectors": folder / "words.h5"})
    prepare_words(WordsOptions(kind="words"), tables, {"vocabulary": folder / "words.json"})
    texts = sorted(set(read_table(corpus["captions"], ["text"])["text"]))
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(len(texts), 8))
    with atomic_hdf5(folder / "clap.h5") as file:
        file["vectors"] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        file["offsets"] = np.arange(len(texts) + 1)
        file["digests"] = np.array([text_digest(text) for text in texts], dtype="S32")
        of_text = {"kind": "clap_laion", "weights": "untrained"}
        contents = {"options": of_text, "counts": {}, "provenance": provenance("text")}
        write_attributes(file, "clap_laion", contents, label="tiny", state="untrained", dimension=8, max_tokens=77)
    found = {"f": corpus}
    for name, size in (("g", 5), ("g64", 64)):
        found[name] = {split: folder / f"{name}-{split}.h5" for split in ("development", "validation")}
        for split, path in found[name].items():
            made = FeatureStore(corpus[split]).provenance | {"hop": 0.02}
            ids = clips_of(corpus["clips"], split, "the test")["clip_id"]
            write(path, [(i, rng.normal(size=(30 + 5 * n, size))) for n, i in enumerate(ids)], size, made)
    common = {name: tables / f"{name}.csv" for name in ("captions", "clips", "phrases", "events")}
    atr = {f"{name} {split}": found[name][split] for name in ("f", "g") for split in found["g"]}
    files = {
        "cl4ac": corpus,
        "atr": common | atr | {"text vectors": folder / "words.h5"},
        "alignment": common | found["g64"] | {"text vectors": folder / "words.h5"},
        "wsac": common | {"vectors": folder / "clap.h5", "vocabulary": folder / "words.json"},
    }
    made = {}
    for name, content in CASES.items():
        options = registry.load(registry.SYSTEMS[content["system"]].options).model_validate(content)
        made[name] = options, {key: files[options.system][key] for key in options.training_inputs()}
    return made


def train_all(inputs, folder):
    """Train each case; the record of every step and the weights."""
    torch.set_num_threads(1)
    loop.EVENTS_EVERY = 1
    for name, (options, files) in inputs.items():
        loop.train(system_class(options.system)(options, files, 0, OFF), options.train, 0, folder / name)


@pytest.fixture(scope="module")
def trained(inputs, tmp_path_factory):
    """The folders of all cases, trained by one process and by two."""
    folders = {count: tmp_path_factory.mktemp(f"by-{count}") for count in (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "EVENTS_EVERY", 1)
        for count, folder in folders.items():
            together(count, train_all, inputs, folder)
    return folders


def records(folder):
    return [event["metrics"] for event in read_events(folder / "events.jsonl") if "metrics" in event]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_losses_of_one(trained, name):
    """In training and, with what was learnt, in validation, which two processes share too."""
    one, two = (records(trained[count] / name) for count in (1, 2))
    assert len(one) == len(two) > 4
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, rel=0.02 if "bf16" in name else 1e-5, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if "bf16" not in name])
def test_two_processes_have_the_weights_of_one(trained, name):
    """But for those on which the loss does not depend, such as biases of keys: the optimiser follows their rounding."""
    one, two = (load_file(trained[count] / name / "best.safetensors") for count in (1, 2))
    assert one.keys() == two.keys()
    alike = torch.cat([torch.isclose(two[key], one[key], rtol=1e-4, atol=1e-6).flatten() for key in one])
    assert alike.float().mean() > 0.98


def test_a_training_whose_second_process_was_killed_goes_on_to_the_same_bytes(trained, inputs, tmp_path, monkeypatch):
    options, files = inputs["cl4ac"]
    train = options.train.model_copy(update={"devices": 2})
    out = {kind: tmp_path / file for kind, file in MODEL_FILES.items()}
    given = ("d", "cl4ac", options.model_copy(update={"train": train}), 0, files, out, tmp_path / "work", 1, OFF)
    write = EventLog.metrics

    def killing(events, step, epoch, **values):
        write(events, step, epoch, **values)
        if step == 5:  # of the second epoch
            for process in multiprocessing.active_children():
                process.kill()

    monkeypatch.setattr(loop, "EVENTS_EVERY", 1)
    monkeypatch.setattr(EventLog, "metrics", killing)
    with pytest.raises(EarwitnessError, match="SIGKILL"):
        train_model(*given)
    assert list(tmp_path.glob("work/*/last.ckpt")) and not out["weights"].exists()
    monkeypatch.setattr(EventLog, "metrics", write)
    train_model(*given)
    assert out["weights"].read_bytes() == (trained[2] / "cl4ac" / "best.safetensors").read_bytes()
    assert records(tmp_path) == records(trained[2] / "cl4ac")
