"""Publishing gives each result one whole run, whatever was killed before and whoever publishes at the same time."""

import os
import shutil
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from earwitness.files import read_json, write_json
from earwitness.tracking.publish import publish, publish_other

OPTIONS = {"system": "cl4ac", "decode": {"beam": 1}, "train": {"epochs": 3, "devices": None}, "lists": [1, 2]}
PARAMS = {"system": "cl4ac", "decode.beam": "1", "train.epochs": "3", "train.devices": "None", "lists": "[1, 2]"}
METRICS = {"cider_d": 0.5, "cider_d_ci95_low": 0.4, "cider_d_ci95_high": 0.6, "bleu_1": 0.25}
WRITES = ("create_experiment", "create_run", "update_run", "log_batch", "log_inputs", "set_tag", "set_terminated")


class Killed(BaseException):
    """No handler of errors catches it, as none survives a kill."""


def result_in(folder: Path, value: float = 0.5) -> Path:
    content = {
        "dataset": "mini",
        "experiment": "cl4ac",
        "system": "cl4ac",
        "seeds": [3],
        "kinds": {"captioning": {}},
        "metrics": {
            "cider_d": {"value": value, "ci95": [0.4, 0.6]},
            "bleu_1": {"value": 0.25, "ci95": None},
            "spice": {"value": None, "reason": "no jars"},
        },
        "provenance": {"options": OPTIONS, "inputs": {"captions": "ab"}},
    }
    write_json(folder / "metrics.json", content)
    seed = folder / "seed-3"
    write_json(seed / "captioning/metrics.json", {"metrics": {"cider_d": {"value": value}}})
    for name in ("captioning/scores.csv", "captioning/prediction.json", "captions.csv"):
        (seed / name).write_text("a\n", encoding="utf-8")
    write_json(seed / "model.json", {"run_key": "key"})
    events = '{"time": 1.0, "params": {}}\n{"time": 2.0, "step": 1, "epoch": 0, "metrics": {"loss": 2.0}}\n'
    (seed / "events.jsonl").write_text(events, encoding="utf-8")
    return folder / "metrics.json"


@pytest.fixture
def result(tmp_path):
    return result_in(tmp_path / "results/mini/cl4ac")


def again(store, result) -> bool:
    return publish(store, result, [result.with_name("seed-3")], result.with_name("tracking.json"))


def runs_of(store):
    """The runs by name, each with how often each of its metrics was logged."""
    from mlflow import MlflowClient

    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("mini").experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs), "one result has several runs"
    logged = {
        run.info.run_name: Counter(
            {name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics}
        )
        for run in runs
    }
    return {run.info.run_name: run for run in runs}, logged


def require_whole(store, params=PARAMS, metrics=METRICS):
    runs, logged = runs_of(store)
    assert set(runs) == {"cl4ac", "cl4ac seed 3"}
    parent, child = runs["cl4ac"], runs["cl4ac seed 3"]
    assert parent.data.params == params and parent.data.metrics == metrics
    assert child.data.params == params | {"seed": "3"} and child.data.metrics == {"cider_d": 0.5, "loss": 2.0}
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {name: number for counts in logged.values() for name, number in counts.items() if number != 1} == {}


def test_a_run_is_whole(store, result):
    assert again(store, result), read_json(result.with_name("tracking.json"))
    require_whole(store)


def test_what_prediction_chose_is_logged(store, result):
    content = read_json(result)
    content["kinds"]["captioning"]["chosen"] = [{"validation_cider_d": 0.75, "tau": 0.02}]
    write_json(result, content)
    assert again(store, result)
    parent, child = (runs_of(store)[0][name].data.metrics for name in ("cl4ac", "cl4ac seed 3"))
    assert parent == METRICS | {"validation_cider_d": 0.75}
    assert child == {"cider_d": 0.5, "loss": 2.0, "validation_cider_d": 0.75, "tau": 0.02}


def kill_at(call, monkeypatch):
    """Die before the given call that writes to the store, counted from 0; returns the calls, as they are made."""
    from mlflow import MlflowClient

    calls = []

    def dying(write):
        def wrapped(*arguments, **named):
            calls.append(write.__name__)
            if len(calls) > call:
                raise Killed
            return write(*arguments, **named)

        return wrapped

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
    return calls


def test_a_kill_between_any_two_writes_is_made_good(made, result, tmp_path, monkeypatch):
    written = []
    for call in range(1, 100):
        folder = tmp_path / f"{call}"
        folder.mkdir()
        shutil.copy(made, folder / "mlflow.db")
        store = f"sqlite:///{folder / 'mlflow.db'}"
        with monkeypatch.context() as patch:
            written = kill_at(call, patch)
            with suppress(Killed):
                assert again(store, result)
        if len(written) <= call:
            break
        assert again(store, result), read_json(result.with_name("tracking.json"))
        require_whole(store)
    parent = ["create_run", "log_batch", "set_tag", "log_batch", "set_tag", "set_terminated"]
    assert written == ["create_experiment", *parent, "create_run", *["log_batch"] * 3, "set_terminated"]


def test_parameters_that_an_earlier_version_left_out_are_added(store, result):
    from mlflow import MlflowClient

    again(store, result)
    client = MlflowClient(store)
    (run,) = [run for name, run in runs_of(store)[0].items() if name == "cl4ac"]
    lost = {key: value for key, value in run.data.tags.items() if key.startswith("earwitness.")}
    client.delete_run(run.info.run_id)
    bare = client.create_run(run.info.experiment_id, run_name="cl4ac", tags=lost).info.run_id
    client.set_terminated(bare)
    assert again(store, result)
    assert runs_of(store)[0]["cl4ac"].info.run_id == bare
    assert client.get_run(bare).data.params == PARAMS


def test_a_changed_result_updates_its_run(store, result):
    again(store, result)
    before = runs_of(store)[0]["cl4ac"].info.run_id
    content = read_json(result)
    content["metrics"]["bleu_1"]["value"] = 0.75
    write_json(result, content)
    assert again(store, result)
    parent = runs_of(store)[0]["cl4ac"]
    assert parent.info.run_id == before and parent.data.metrics["bleu_1"] == 0.75


def test_processes_that_publish_one_result_make_one_run(store, result):
    def publish_it():
        os._exit(0 if again(store, result) else 1)

    processes = [get_context("fork").Process(target=publish_it) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0], read_json(result.with_name("tracking.json"))
    require_whole(store)


def other_in(folder: Path) -> Path:
    metrics = {"cider_d": {"value": 0.5, "ci95": [0.4, 0.6]}, "spice": {"value": None, "reason": "no jars"}}
    write_json(folder / "metrics.json", {"metrics": metrics})
    (folder / "scores.csv").write_text("a\n", encoding="utf-8")
    return folder


def test_scores_made_elsewhere_are_one_whole_run(store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    folder, record = other_in(tmp_path / "scores/theirs"), tmp_path / "results/mini/others/theirs.json"
    with monkeypatch.context() as patch:
        kill_at(3, patch)  # before the run is ended
        with suppress(Killed):
            publish_other(store, "mini", "theirs", folder, record)
    for _ in range(2):
        assert publish_other(store, "mini", "theirs", folder, record), read_json(record)
    runs, logged = runs_of(store)
    (run,) = runs.values()
    assert run.info.run_name == "theirs" and run.info.status == "FINISHED"
    assert run.data.tags["earwitness.made_elsewhere"] == "true"
    assert run.data.metrics == {"cider_d": 0.5, "cider_d_ci95_low": 0.4, "cider_d_ci95_high": 0.6}
    assert set(logged["theirs"].values()) == {1} and read_json(record)["runs"] == {"other": run.info.run_id}
    assert sorted(file.path for file in MlflowClient(store).list_artifacts(run.info.run_id)) == [
        "metrics.json",
        "scores.csv",
    ]
    (folder / "scores.csv").unlink()
    write_json(folder / "metrics.json", {"metrics": {}})
    assert not publish_other(store, "mini", "theirs", folder, record) and "scores.csv" in read_json(record)["reason"]
