"""``earwitness publish`` and ``ui`` use the store of the results that were named, not one below the current folder."""

import os
import shutil
import socket

import pytest

from earwitness.cli.main import main
from earwitness.files import read_json, write_json
from tests.tracking.test_publish import other_in, result_in


@pytest.fixture
def projects(made, tmp_path, monkeypatch):
    """Two projects with stores of their own; the current folder is that of the first, and the second has a result."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("here", "there"):
        results = tmp_path / name / "results"
        write_json(results / "mlflow-store.json", {"uri": "sqlite:///results/mlflow.db", "ready": True})
        shutil.copy(made, results / "mlflow.db")
    result = result_in(tmp_path / "there/results/mini/cl4ac")
    write_json(result.with_name("tracking.json"), {"published": False, "reason": "it was down"})
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def experiments(path):
    from mlflow import MlflowClient

    return {experiment.name for experiment in MlflowClient(f"sqlite:///{path}").search_experiments()}


def test_publish_uses_the_store_of_the_results(projects):
    assert main(["--results", "../there/results", "publish"]) == 0
    assert read_json(projects / "there/results/mini/cl4ac/tracking.json")["published"]
    assert experiments(projects / "there/results/mlflow.db") == {"Default", "mini"}
    assert experiments(projects / "here/results/mlflow.db") == {"Default"}


def test_publish_takes_up_scores_made_elsewhere(projects):
    record = projects / "there/results/mini/others/theirs.json"
    folder = other_in(projects / "scores/theirs")
    write_json(record, {"folder": str(folder), "published": False, "reason": "it was down"})
    assert main(["--results", "../there/results", "publish"]) == 0
    assert read_json(record)["published"]


def test_scores_made_elsewhere_that_stayed_there_are_named_and_the_rest_goes_on(projects, capsys):
    record = projects / "there/results/mini/others/theirs.json"
    write_json(record, {"folder": "/far/scores/theirs", "published": False, "reason": "it was down"})
    result = result_in(projects / "there/results/mini/later")
    write_json(result.with_name("tracking.json"), {"published": False, "reason": "it was down"})
    assert main(["--results", "../there/results", "publish"]) == 1
    said = capsys.readouterr().err
    assert "theirs.json" in said and "/far/scores/theirs" in said and "FileNotFoundError" not in said
    assert read_json(result.with_name("tracking.json"))["published"] and not read_json(record)["published"]


def test_ui_uses_the_store_of_the_results(projects, monkeypatch, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.append(arguments))
    main(["--results", str(projects / "there/results"), "ui", "--port", str(port)])
    (arguments,) = started
    assert f"sqlite:///{projects}/there/results/mlflow.db" in arguments
    assert "mini: http" in capsys.readouterr().err


def test_ui_of_results_without_a_store(projects, capsys):
    (projects / "there/results/mlflow.db").unlink()
    (projects / "there/results/mini/cl4ac/tracking.json").unlink()
    assert main(["--results", "../there/results", "ui"]) == 1
    assert str(projects / "there/results/mlflow.db") in capsys.readouterr().err
    assert not (projects / "there/results/mlflow.db").exists()


def test_a_store_that_was_named_is_used_as_it_is(projects, made, monkeypatch):
    shutil.copy(made, projects / "here/mine.db")
    assert main(["--results", "../there/results", "publish", "--uri", "sqlite:///mine.db"]) == 0
    assert experiments(projects / "here/mine.db") == {"Default", "mini"}
    assert experiments(projects / "there/results/mlflow.db") == {"Default"}
    record = projects / "there/results/mini/cl4ac/tracking.json"
    assert not read_json(record)["published"], "the store of the results lacks them still"
    monkeypatch.chdir(projects / "there")
    assert main(["publish", "--uri", "sqlite:///results/mlflow.db"]) == 0
    assert experiments(projects / "there/results/mlflow.db") == {"Default", "mini"}
    assert read_json(record)["published"]


def test_ui_says_why_a_store_cannot_be_opened(projects, capsys):
    (projects / "there/results/mlflow.db").write_text("no database\n" * 100)
    (projects / "there/results/mini/cl4ac/tracking.json").unlink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert main(["--results", "../there/results", "ui", "--port", str(port)]) == 1
    assert "there/results/mlflow.db" in capsys.readouterr().err


def test_publish_says_when_there_is_nothing_to_publish(projects, capsys):
    assert main(["--results", "nowhere", "publish"]) == 1
    assert "nowhere" in capsys.readouterr().err
    for said in ("mini/cl4ac: published", "published already"):
        assert main(["--results", "../there/results", "publish"]) == 0
        assert said in capsys.readouterr().err


def test_publish_adds_the_plots_of_the_page_once(projects, capsys):
    from mlflow import MlflowClient

    plots = projects / "there/results/mini/plots"
    plots.mkdir()
    (plots / "loss.svg").write_text("<svg/>")
    for said in ("mini/plots: added", "published already"):
        assert main(["--results", "../there/results", "publish"]) == 0
        assert said in capsys.readouterr().err
    client = MlflowClient(f"sqlite:///{projects}/there/results/mlflow.db")
    place = client.get_experiment_by_name("mini").experiment_id
    found = {
        run.info.run_name: [file.path for file in client.list_artifacts(run.info.run_id, "plots")]
        for run in client.search_runs([place])
    }
    assert found == {"cl4ac": ["plots/loss.svg"], "cl4ac seed 3": []}
