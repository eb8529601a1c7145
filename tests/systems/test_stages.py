"""Training and prediction as stages, with CL4AC on a few short clips: from files to files, through a kill."""

import os

import pytest
from safetensors.torch import load_file

from earwitness.corpora.tables import clips_of, read_table
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.captioning import PREDICTIONS
from earwitness.evaluation.predict import predict
from earwitness.files import read_json, sha256, write_json
from earwitness.prediction.clips import Clips
from earwitness.systems.cl4ac.options import Cl4acOptions
from earwitness.systems.cl4ac.system import Cl4acSystem
from earwitness.systems.interface import MODEL_FILES, load
from earwitness.training.events import read_events
from earwitness.training.stage import share_training, train_model

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
    monkeypatch.setattr("earwitness.systems.cl4ac.system.ptb_tokenize", lambda texts: list(texts))

    class Stages:
        files = {name: path for name, path in corpus.items() if name != "evaluation"}

        def train(self, name, options, seed=0, left=False):
            out = {kind: tmp_path / name / file for kind, file in MODEL_FILES.items()}
            train_model("mini", "cl4ac", options, seed, self.files, out, tmp_path / name / "work", threads=1)
            assert not list((tmp_path / name / "work").iterdir()) or left
            return out

        def predict(self, made, options=options()):  # noqa: B008 (frozen)
            folder = made["weights"].parent
            predict(options, "captioning", {"f": corpus["evaluation"]}, corpus["clips"].parent, folder, threads=1)
            return read_table(folder / "captions.csv", PREDICTIONS)

    return Stages()


def kill_at(step, monkeypatch):
    """Let the system die at a step, counted over all epochs."""
    losses, calls = Cl4acSystem.losses, []

    def killed(task, batch):
        calls.append(1)
        if len(calls) == step:
            raise Killed
        return losses(task, batch)

    monkeypatch.setattr(Cl4acSystem, "losses", killed)


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
        [(event["step"], event["metrics"]) for event in read_events(made["events"]) if "metrics" in event]
        for made in (resumed, undisturbed)
    ]
    assert kinds[0] == kinds[1] != []
    ends = [event["ended"]["status"] for event in read_events(resumed["events"]) if "ended" in event]
    assert ends == ["FAILED", "FINISHED"]


def test_a_training_that_still_runs_is_not_trained_twice(stages, monkeypatch):
    """Where Snakemake alone was killed, its training goes on."""
    refused = []
    losses = Cl4acSystem.losses

    def once_more(task, batch):
        if not refused:
            refused.append(True)
            with pytest.raises(EarwitnessError, match=r"work.* the same command"):
                stages.train("same", options())
        return losses(task, batch)

    monkeypatch.setattr(Cl4acSystem, "losses", once_more)
    stages.train("same", options())
    assert refused


@pytest.mark.parametrize("fails", ["rmdir", "unlink"])
def test_a_work_folder_that_cannot_be_removed_harms_no_training(stages, tmp_path, monkeypatch, fails):
    """On NFS a file that is open keeps its folder; where nothing can be removed, the training counts as finished."""
    remove, losses, steps = getattr(os, fails), Cl4acSystem.losses, []

    def refused(path, *args, **kwargs):
        if fails == "rmdir" or str(path).endswith("last.ckpt"):
            raise OSError(39, "Directory not empty", str(path))
        remove(path, *args, **kwargs)

    monkeypatch.setattr(Cl4acSystem, "losses", lambda task, batch: steps.append(1) or losses(task, batch))
    with monkeypatch.context() as patch:
        patch.setattr(os, fails, refused)
        weights = stages.train("a", options(), left=True)["weights"].read_bytes()
    (left,) = (tmp_path / "a" / "work").iterdir()
    assert (left / "last.ckpt").exists() == (left / "best.safetensors").exists() == (fails == "unlink")
    assert stages.train("a", options())["weights"].read_bytes() == weights
    assert len(steps) == (3 if fails == "unlink" else 6) * STEPS


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
    params, started, *rest, ended = read_events(made["events"])
    assert params["params"]["seed"] == 3 and all("metrics" in event for event in rest)
    assert started["started"]["run_key"] == description["run_key"] and ended["ended"]["status"] == "FINISHED"
    assert [event["epoch"] for event in rest if "validation_cider_d" in event["metrics"]] == [0, 1, 2]


@pytest.mark.parametrize("decode", [{}, {"beam": 2}])
def test_every_evaluation_clip_is_captioned(stages, decode):
    captions = stages.predict(stages.train("a", options()), options(decode=decode))
    assert captions["clip_id"].tolist() == [f"evaluation/{i}" for i in range(4)]
    assert captions["score"].astype(float).max() < 0


def test_a_folder_is_loaded_anywhere_with_the_options_it_predicted_with(stages, corpus, tmp_path):
    made = stages.train("a", options())
    predicted = stages.predict(made, options(decode={"beam": 2}))
    moved = tmp_path / "elsewhere"
    made["weights"].parent.rename(moved)
    model = load(moved)
    assert model.options.decode.beam == 2
    clips = Clips.of(clips_of(corpus["clips"], "evaluation", "the test"), {"f": corpus["evaluation"]}, model.made_by)
    assert [text for text, _ in model.caption(clips)] == predicted["caption"].tolist()


def test_features_of_another_front_end_are_refused(stages, corpus, tmp_path):
    made = stages.train("a", options())
    description = read_json(made["description"])
    description["network"]["feature"]["settings"]["hop"] = 320
    write_json(made["description"], description)
    with pytest.raises(MismatchError, match=r"evaluation\.h5.*settings\.hop.*512.*320"):
        stages.predict(made)


def test_a_model_of_an_earlier_version_is_refused(stages):
    made = stages.train("a", options())
    description = read_json(made["description"])
    del description["schema"]
    write_json(made["description"], description)
    with pytest.raises(EarwitnessError, match=r"model\.json .*schema 1\b.*\b2\b"):
        stages.predict(made)


def test_a_training_is_shared_by_another_experiment(stages, tmp_path):
    made = stages.train("a", options())
    out = {kind: tmp_path / "b" / file for kind, file in MODEL_FILES.items()}
    share_training(made["weights"].parent, out)
    assert all(out[kind].read_bytes() == made[kind].read_bytes() for kind in MODEL_FILES)
    # A link would share the time of change: Snakemake would make the owner's predictions again.
    assert out["weights"].stat().st_ino != made["weights"].stat().st_ino


def test_weights_of_another_training_than_their_description_are_refused(stages):
    made, other = stages.train("a", options()), stages.train("b", options(), seed=1)
    made["weights"].write_bytes(other["weights"].read_bytes())
    with pytest.raises(EarwitnessError, match=r"a/model\.json and model\.safetensors"):
        stages.predict(made)


def test_predictions_of_an_earlier_training_do_not_say_how_a_model_is_loaded(stages):
    made, other = stages.train("a", options()), stages.train("b", options(), seed=1)
    stages.predict(made, options(decode={"beam": 2}))
    assert load(made["weights"].parent).options.decode.beam == 2
    for name in MODEL_FILES:
        made[name].write_bytes(other[name].read_bytes())
    assert load(made["weights"].parent).options.decode.beam == 1


@pytest.mark.parametrize("content", [[], {}, {"system": [], "options": {}, "provenance": {"inputs": {}}}])
def test_what_is_no_record_of_a_prediction_is_named(tmp_path, content):
    for kind in ("captioning", "retrieval"):
        write_json(tmp_path / kind / "prediction.json", content)
    with pytest.raises(EarwitnessError, match=r"(?s)captioning/prediction\.json.*retrieval/prediction\.json"):
        load(tmp_path)


def test_weights_that_are_absent_are_an_error_before_training(stages, tmp_path):
    with pytest.raises(EarwitnessError, match=r"encoder\.weights: .*absent\.pth"):
        stages.train("a", options(encoder={"channels": [2, 3, 4, 5], "weights": str(tmp_path / "absent.pth")}))
    assert not (tmp_path / "a").exists()
