"""Training and prediction as stages, with CL4AC on a few short clips: from files to files, through a kill."""

import pytest
from safetensors.torch import load_file

from earwitness.corpora.tables import read_table
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.files import read_json, sha256, write_json
from earwitness.prediction.stage import PREDICTIONS, predict
from earwitness.systems.cl4ac.options import Cl4acOptions
from earwitness.systems.cl4ac.task import Cl4acTask
from earwitness.training.events import read_events
from earwitness.training.stage import train_model

STEPS = 4  # an epoch: 16 captions, 4 a batch


def options(**changes):
    sections = {
        "encoder": {"channels": [2, 3, 4, 5]},
        "decoder": {"feedforward": 16},
        "train": {"batch_size": 4, "epochs": 3},
    }
    return Cl4acOptions.model_validate({"system": "cl4ac", "feature": "f", "text": "t"} | sections | changes)


class Killed(Exception):
    pass


@pytest.fixture
def stages(corpus, tmp_path, monkeypatch):
    """Trains to a folder of the given name, captions with its model."""
    monkeypatch.setattr("earwitness.systems.cl4ac.task.ptb_tokenize", lambda texts: list(texts))

    class Stages:
        files = {name: path for name, path in corpus.items() if name != "evaluation"}

        def train(self, name, options, seed=0):
            out = {kind: tmp_path / name / kind for kind in ("weights", "description", "events")}
            train_model("mini", "cl4ac", options, seed, self.files, out, tmp_path / name / "work", threads=1)
            assert not list((tmp_path / name / "work").iterdir())
            return out

        def predict(self, made, options=options(), **changes):  # noqa: B008 (frozen)
            files = {"clips": corpus["clips"], "features": corpus["evaluation"], "vocabulary": corpus["vocabulary"]}
            out = made["weights"].parent / "captions.csv"
            predict(options, made["weights"], made["description"], files | changes, out, threads=1)
            return read_table(out, PREDICTIONS)

    return Stages()


def kill_at(step, monkeypatch):
    """Let the task die at a step, counted over all epochs."""
    losses, calls = Cl4acTask.losses, []

    def killed(task, batch):
        calls.append(1)
        if len(calls) == step:
            raise Killed
        return losses(task, batch)

    monkeypatch.setattr(Cl4acTask, "losses", killed)


VARIANTS = {
    "pairs": {},
    "workers": {"train": {"batch_size": 4, "epochs": 3, "workers": 2}},
    "hardest": {"contrastive": {"negatives": "hardest"}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_training_gives_the_same_model(stages, monkeypatch, variant):
    chosen = options(**VARIANTS[variant])
    undisturbed = stages.train("undisturbed", chosen)
    with monkeypatch.context() as patch:
        kill_at(STEPS + 2, patch)
        with pytest.raises(Killed):
            stages.train("killed", chosen)
    resumed = stages.train("killed", chosen)
    assert resumed["weights"].read_bytes() == undisturbed["weights"].read_bytes()
    assert read_json(resumed["description"]) == read_json(undisturbed["description"])
    kinds = [
        [(event.get("step"), event.get("metrics")) for event in read_events(made["events"])]
        for made in (resumed, undisturbed)
    ]
    assert kinds[0] == kinds[1]


def test_a_training_that_still_runs_is_not_trained_twice(stages, monkeypatch):
    """Where Snakemake alone was killed, its training goes on."""
    refused = []
    losses = Cl4acTask.losses

    def once_more(task, batch):
        if not refused:
            refused.append(True)
            with pytest.raises(EarwitnessError, match="Another process is training this already"):
                stages.train("same", options())
        return losses(task, batch)

    monkeypatch.setattr(Cl4acTask, "losses", once_more)
    stages.train("same", options())
    assert refused


def test_the_number_of_workers_does_not_change_the_weights(stages):
    weights = [stages.train(name, options(**VARIANTS[name]))["weights"].read_bytes() for name in ("pairs", "workers")]
    assert weights[0] == weights[1]


def test_the_model_tells_what_it_was_made_from(stages, corpus):
    made = stages.train("a", options(), seed=3)
    description = read_json(made["description"])
    assert (description["system"], description["seed"], description["checkpoints"]) == ("cl4ac", 3, {})
    assert description["options"]["train"]["epochs"] == 3
    assert description["provenance"]["inputs"]["vocabulary"] == sha256(corpus["vocabulary"])
    assert description["chosen"]["metric"] == "validation_cider_d"
    assert description["network"]["sizes"] == {
        "mels": 64,
        "words": len(load_file(made["weights"])["word_head.bias"]),
        "width": 16,
    }
    params, *rest = read_events(made["events"])
    assert params["params"]["seed"] == 3 and all("metrics" in event for event in rest)
    assert [event["epoch"] for event in rest if "validation_cider_d" in event["metrics"]] == [0, 1, 2]


@pytest.mark.parametrize("decode", [{}, {"beam": 2}])
def test_every_evaluation_clip_is_captioned(stages, decode):
    captions = stages.predict(stages.train("a", options()), options(decode=decode))
    assert captions["clip_id"].tolist() == [f"evaluation/{i}" for i in range(4)]
    assert captions["score"].astype(float).max() < 0


def test_a_model_of_another_vocabulary_is_refused(stages, corpus, tmp_path):
    made = stages.train("a", options())
    other = read_json(corpus["vocabulary"])
    other["tokens"][4:6] = other["tokens"][5:3:-1]
    write_json(tmp_path / "other.json", other)
    with pytest.raises(MismatchError, match=r"trained with another vocabulary than .*other\.json"):
        stages.predict(made, vocabulary=tmp_path / "other.json")


def test_weights_that_are_absent_are_an_error_before_training(stages, tmp_path):
    with pytest.raises(EarwitnessError, match=r"encoder\.weights: .*absent\.pth does not exist"):
        stages.train("a", options(encoder={"channels": [2, 3, 4, 5], "weights": str(tmp_path / "absent.pth")}))
    assert not (tmp_path / "a").exists()
