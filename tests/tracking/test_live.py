"""Trainings are seen while they run, lose no point, and say how they ended; scored later, they are the same runs."""

import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from earwitness.cli.main import main
from earwitness.files import read_json, write_json
from earwitness.lock import hold
from earwitness.tracking import live
from earwitness.tracking.live import AFTER, SOON, follow, live_after, publish_training, shown
from earwitness.tracking.publish import publish
from earwitness.tracking.runs import TrainingRun
from earwitness.tracking.store import opened
from earwitness.training.events import EventLog, read_events
from tests.tracking.test_publish import OPTIONS, result_in
from tests.tracking.test_store import in_processes

STARTED = {
    "run_key": "key",
    "host": "far",
    "platform": "Linux",
    "cpu": "a processor",
    "gpus": ["a card"],
    "commit": "abc-dirty",
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
}
INPUTS = {"captions": "aa", "lms development": "bb", "lms validation": "cc"}
ENDED = {"status": "FINISHED", "message": None, "seconds": 4.0, "peak_memory_bytes": 1000, "energy_joules": None}


def training_in(folder: Path, dataset="mini", experiment="cl4ac", seed=3, options=None) -> EventLog:
    """The record of a training that has begun."""
    log = EventLog(folder / "events.jsonl")
    params = {"dataset": dataset, "experiment": experiment, "seed": seed, "inputs": INPUTS}
    log.append(params=params | {"options": options or {"system": "cl4ac", "optim": {"lr": 0.1}}})
    log.append(started=STARTED)
    return log


def steps(log, first, last):
    for step in range(first, last + 1):
        log.metrics(step, 0, loss=1 / step)


def runs(store, dataset="mini"):
    from mlflow import MlflowClient

    client = MlflowClient(store)
    return client.search_runs([client.get_experiment_by_name(dataset).experiment_id])


def steps_of(store, run):
    """How often each step of the loss was logged."""
    from mlflow import MlflowClient

    return Counter(point.step for point in MlflowClient(store).get_metric_history(run.info.run_id, "loss"))


@pytest.mark.parametrize(
    ("setting", "uri", "remote", "expected"),
    [
        ("auto", "sqlite:///results/mlflow.db", False, AFTER),
        ("auto", "sqlite:///results/mlflow.db", True, None),
        ("auto", "https://host/", True, AFTER),
        ("auto", "postgresql://host/runs", False, None),
        (True, "sqlite:///results/mlflow.db", True, SOON),
        (False, "https://host/", False, None),
    ],
)
def test_where_trainings_are_live(setting, uri, remote, expected):
    assert live_after(setting, uri, remote) == expected


def test_a_run_has_what_is_known_of_its_training(store, tmp_path):
    from mlflow import MlflowClient

    log = training_in(tmp_path / "work")
    steps(log, 1, 3)
    log.append(ended=ENDED)
    assert publish_training(store, log.path, alive=False) == "FINISHED"
    (run,) = runs(store)
    assert run.data.params == {"system": "cl4ac", "optim.lr": "0.1"}
    taken = {"system/duration_seconds": 4.0, "system/peak_memory_bytes": 1000}
    assert run.data.metrics == {"loss": 1 / 3} | taken
    assert {"far", "a card", "abc-dirty"} <= set(run.data.tags.values())
    inputs = {(one.dataset.name, one.tags[0].value): "bb" in one.dataset.source for one in run.inputs.dataset_inputs}
    assert inputs == {("mini/development", "training"): True, ("mini/validation", "validation"): False}
    files = {file.path for file in MlflowClient(store).list_artifacts(run.info.run_id)}
    assert files == {"environment.json", "requirements.txt", "training.yaml"}


def test_a_training_whose_machine_could_not_be_described(store, tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append(params={"dataset": "mini", "experiment": "cl4ac", "seed": 3, "options": {}})
    log.append(started={"run_key": "key", "error": "KeyError: METADATA"})
    log.append(ended=ENDED)
    assert publish_training(store, log.path, alive=False) == "FINISHED"


def test_four_trainings_at_once_lose_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.05)
    monkeypatch.setattr(live, "SHARE", 0.0)
    names = [(dataset, experiment) for dataset in ("mini", "other") for experiment in ("first", "second")]
    pipes = [os.pipe() for _ in names]

    def train(number):
        """Train in one process, and follow it in another."""
        log = training_in(tmp_path / f"{number}", *names[number])
        if (child := os.fork()) == 0:
            follow(store, log.path, os.getppid(), pipes[number][0])
            os._exit(0)
        for step in range(60):
            log.metrics(step, 0, loss=1.0, accuracy=0.5)
            time.sleep(0.02)
        log.append(ended=ENDED)
        os.write(pipes[number][1], b"\n")
        assert os.waitpid(child, 0)[1] == 0

    assert in_processes(*[lambda number=number: train(number) for number in range(4)]) == [0] * 4
    assert not list(tmp_path.glob("*/live.txt"))
    for dataset in ("mini", "other"):
        found = runs(store, dataset)
        assert sorted(run.info.run_name for run in found) == ["first seed 3", "second seed 3"]
        for run in found:
            assert steps_of(store, run) == dict.fromkeys(range(60), 1) and run.info.status == "FINISHED"


def test_a_killed_training_is_seen_resumes_and_is_scored_as_one_run(store, tmp_path):
    """The pipe stays open, as it does while loaders of batches live on."""
    result = result_in(tmp_path / "results/mini/cl4ac")
    log = training_in(tmp_path / "work", options=OPTIONS)
    steps(log, 1, 8)
    follow(store, log.path, parent=-1, pipe=os.pipe()[0])
    (killed,) = runs(store)
    assert killed.info.status == "KILLED" and killed.data.tags["earwitness.message"]
    log.append(ended={"status": "KILLED", "message": "It was killed.", "seconds": 2.0})
    log.cut_back(4)  # the checkpoint's step
    log.append(started=STARTED)
    steps(log, 5, 12)
    with opened(store, log.path) as client:
        events = list(read_events(log.path))
        resumed = TrainingRun.of(client, store, events)
        assert [resumed.log(client, events, alive=True) for _ in range(2)] == ["RUNNING"] * 2
    log.append(ended=ENDED)
    (result.with_name("seed-3") / "events.jsonl").write_bytes(log.path.read_bytes())
    for _ in range(2):
        assert publish(store, result, [result.with_name("seed-3")], result.with_name("tracking.json"))
        assert publish_training(store, log.path, alive=False) == ""
    found = {run.info.run_name: run for run in runs(store)}
    assert set(found) == {"cl4ac", "cl4ac seed 3"}
    run = found["cl4ac seed 3"]
    assert run.info.run_id == killed.info.run_id and run.info.status == "FINISHED"
    assert steps_of(store, run) == dict.fromkeys(range(1, 13), 1)
    assert run.data.metrics == {
        "loss": 1 / 12,
        "cider_d": 0.5,
        "system/duration_seconds": 6.0,
        "system/peak_memory_bytes": 1000,
    }
    assert "earwitness.message" not in run.data.tags


def test_a_training_that_was_seen_killed_and_is_scored_has_no_message(store, tmp_path):
    result = result_in(tmp_path / "results/mini/cl4ac")
    (result.with_name("seed-3") / "events.jsonl").unlink()
    log = training_in(result.with_name("seed-3"), options=OPTIONS)
    assert publish_training(store, log.path, alive=False) == "KILLED"
    (killed,) = runs(store)
    log.append(started=STARTED)
    log.append(ended=ENDED)
    assert publish(store, result, [result.with_name("seed-3")], result.with_name("tracking.json"))
    (run,) = (run for run in runs(store) if run.info.run_id == killed.info.run_id)
    assert run.info.status == "FINISHED" and "earwitness.message" in killed.data.tags
    assert "earwitness.message" not in run.data.tags


def test_another_scoring_of_a_training_is_another_run(store, tmp_path):
    result = result_in(tmp_path / "results/mini/cl4ac")
    seed = result.with_name("seed-3")
    log = training_in(seed, options=OPTIONS)
    for value in (0.5, 0.75):
        write_json(seed / "captioning/metrics.json", {"metrics": {"cider_d": {"value": value}}})
        assert publish(store, result, [seed], result.with_name("tracking.json"))
    scores = sorted(run.data.metrics["cider_d"] for run in runs(store) if "seed" in run.info.run_name)
    assert scores == [0.5, 0.75] and log.path.exists()


def test_a_server_that_is_down_fails_no_training(store, tmp_path, capsys, monkeypatch):
    log = training_in(tmp_path / "work")
    with shown("http://127.0.0.1:9", 60.0, log.path):
        follow("http://127.0.0.1:9", log.path, parent=-1, pipe=os.pipe()[0])
    assert "127.0.0.1" in capsys.readouterr().err
    log.append(ended=ENDED)
    assert publish_training(store, log.path, alive=False) == "FINISHED"


def test_the_process_beside_a_training(store, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(live, "LAST", 120.0)
    real, commands = live.subprocess.Popen, []

    def start(command, **given):
        commands.append(command)
        return real(command, **given)

    monkeypatch.setattr(live.subprocess, "Popen", start)
    log = training_in(tmp_path / "work")
    with shown(store, 0.0, log.path):
        steps(log, 1, 5)
        log.append(ended={"status": "FAILED", "message": "The loss became nan.", "seconds": 1.0})
    (run,) = runs(store)
    assert run.info.status == "FAILED" and run.data.tags["earwitness.message"] == "The loss became nan."
    assert steps_of(store, run) == dict.fromkeys(range(1, 6), 1) and capfd.readouterr() == ("", "")
    assert len(commands) == 1 and store not in " ".join(commands[0])  # it may have a password


def test_a_short_training_starts_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(live.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with shown("sqlite:///none.db", 5.0, tmp_path / "events.jsonl"):
        pass


def test_publish_shows_unfinished_trainings_with_their_status(store, tmp_path, capsys):
    results = tmp_path / "results"
    for name in ("killed", "failed", "running"):
        steps(training_in(results / f".work/{name}", experiment=name), 1, 2)
    EventLog(results / ".work/failed/events.jsonl").append(ended={"status": "FAILED", "message": "row 3"})
    with hold(results / ".work/running/lock"):
        assert main(["publish", str(results), "--uri", store]) == 0
    status = {run.info.run_name.removesuffix(" seed 3"): run.info.status for run in runs(store)}
    assert status == {"killed": "KILLED", "failed": "FAILED", "running": "RUNNING"}
    assert "FAILED" in capsys.readouterr().err
    with hold(results / ".work/running/lock"):
        assert main(["publish", str(results), "--uri", store]) == 0
    assert "published already" in (said := capsys.readouterr().err) and "FAILED" not in said


def test_results_of_another_machine_are_published_to_this_ones_store(store, tmp_path):
    """The other machine published them to its own; a training that has no scores yet is among them."""
    results = tmp_path / "copied"
    result = result_in(results / "mini/cl4ac")
    log = training_in(results / "mini/atr/seed-0", experiment="atr", seed=0)
    log.append(ended=ENDED)
    record = result.with_name("tracking.json")
    write_json(record, {"published": True, "runs": {}})
    assert main(["publish", str(results), "--uri", "http://127.0.0.1:9"]) == 1
    assert read_json(record)["published"], "a store that is down undoes nothing"
    for _ in range(2):
        assert main(["publish", str(results), "--uri", store]) == 0
        assert sorted(run.info.run_name for run in runs(store)) == ["atr seed 0", "cl4ac", "cl4ac seed 3"]
    assert list(read_events(log.path)) and "mlflow" in sys.modules
