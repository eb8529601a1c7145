"""An SQLite store is whole, or is made anew; a store with content is never touched."""

import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from earwitness.files import read_json, sha256, write_json
from earwitness.tracking import store as stores
from earwitness.tracking.store import next_attempt, opened, prepare_store, uri_below


def in_processes(*functions):
    """Call each function in a process of its own, all at once; returns their exit codes."""
    children = []
    for function in functions:
        if (child := os.fork()) == 0:
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


@pytest.fixture
def quick(made, monkeypatch):
    """Making a store takes a copy's time; the stores made are listed in the file beside it."""

    def make(path):
        with Path(f"{path}.log").open("a") as log:
            log.write("made\n")
        time.sleep(0.05)  # the others come
        shutil.copy(made, path)

    monkeypatch.setattr(stores, "_make", make)


def initial_tables(path):
    """What a kill leaves early: tables, some of them in an old form, and no experiment."""
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    engine.dispose()


def all_tables(path):
    """What a kill leaves at the end: every table, no experiment."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM experiments")


def old_revision(path):
    """What a kill leaves in between: MLflow asks to upgrade it by hand."""
    all_tables(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")


def nothing(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("left", [initial_tables, all_tables, old_revision, nothing])
def test_a_half_made_store_is_made_anew(made, quick, tmp_path, left):
    path, out = tmp_path / "mlflow.db", tmp_path / "mlflow-store.json"
    if left in (all_tables, old_revision):
        shutil.copy(made, path)
    left(path)
    assert prepare_store(f"sqlite:///{path}", out), read_json(out)
    assert Path(f"{path}.log").read_text() == "made\n"
    with opened(f"sqlite:///{path}", out) as client:
        assert [experiment.name for experiment in client.search_experiments()] == ["Default"]


def test_a_kill_while_the_store_is_made_leaves_none(tmp_path):
    path = tmp_path / "mlflow.db"

    def die(*_):
        assert (tmp_path / ".mlflow.db.new").stat().st_size > 0  # the first tables are there
        os.kill(os.getpid(), signal.SIGKILL)

    def make():
        from mlflow.store.db import utils

        utils._upgrade_db = die
        stores._make(path)

    assert in_processes(make) == [-signal.SIGKILL]
    assert not path.exists() and (tmp_path / ".mlflow.db.new").exists()


def test_what_a_kill_left_is_in_nobody_s_way(tmp_path, monkeypatch):
    path = tmp_path / "mlflow.db"
    for name in (".mlflow.db.new", ".mlflow.db.new-journal", "mlflow.db-journal"):
        (tmp_path / name).write_bytes(b"left")

    class Made:
        """Stands in for MLflow's store, which makes its file."""

        def __init__(self, uri, artifacts):
            Path(uri.removeprefix("sqlite:///")).write_bytes(b"whole")
            self.engine = self

        def dispose(self):
            pass

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", Made)
    stores._make(path)
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_processes_that_meet_no_store_make_one(quick, tmp_path):
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"

    def publish(number):
        with opened(uri, tmp_path) as client:
            assert client.get_experiment_by_name("mini") is None
            client.create_experiment(f"mini{number}")

    assert in_processes(*(lambda number=number: publish(number) for number in range(3))) == [0, 0, 0]
    assert (tmp_path / "new" / "mlflow.db.log").read_text() == "made\n"


@pytest.mark.parametrize("table", ["experiments", "registered_models"])
def test_a_store_with_content_stays(quick, store, tmp_path, table):
    """It needs an upgrade, which is the user's to decide."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        if table != "experiments":
            database.execute("DELETE FROM experiments")
            database.execute("INSERT INTO registered_models (name, workspace) VALUES ('mine', 'default')")
    before, out = sha256(tmp_path / "mlflow.db"), tmp_path / "mlflow-store.json"
    assert not prepare_store(store, out)
    assert "upgrade" in read_json(out)["reason"]
    assert sha256(tmp_path / "mlflow.db") == before and not (tmp_path / "mlflow.db.log").exists()


def test_another_file_stays(quick, tmp_path):
    path, out = tmp_path / "notes.txt", tmp_path / "mlflow-store.json"
    path.write_text("no database\n" * 100)
    assert not prepare_store(f"sqlite:///{path}", out)
    assert read_json(out)["reason"] and path.read_text() == "no database\n" * 100


def test_a_failure_is_asked_again_and_a_success_is_not(tmp_path):
    out = tmp_path / "mlflow-store.json"
    assert next_attempt(out) == 1
    write_json(out, {"uri": "http://x", "ready": False, "reason": "no", "attempt": 3})
    assert next_attempt(out) == 4
    write_json(out, {"uri": "http://x", "ready": True, "attempt": 4})
    assert next_attempt(out) == 4
    assert not prepare_store("sqlite:////dev/null/mlflow.db", out, attempt=7)
    assert read_json(out)["attempt"] == 7 and next_attempt(out) == 8


@pytest.mark.parametrize(
    ("results", "uri", "expected"),
    [
        ("/a/results", "sqlite:///results/mlflow.db", "sqlite:////a/results/mlflow.db"),
        ("/a/moved", "sqlite:///results/mlflow.db", "sqlite:////a/moved/mlflow.db"),
        ("/a/results", "sqlite:///./results/x/mlflow.db?timeout=3", "sqlite:////a/results/x/mlflow.db?timeout=3"),
        ("/a/results", "sqlite:///runs/mlflow.db", "sqlite:////a/runs/mlflow.db"),
        ("/a/results", "sqlite:////b/mlflow.db", "sqlite:////b/mlflow.db"),
        ("/a/results", "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("other/results", "sqlite:///results/mlflow.db", "sqlite:///{here}/other/results/mlflow.db"),
    ],
)
def test_a_relative_store_is_below_the_results(results, uri, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert uri_below(Path(results), uri) == expected.format(here=tmp_path)


def test_results_that_are_a_link_keep_their_own_parent(tmp_path):
    (tmp_path / "disk" / "r1").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "results").symlink_to(tmp_path / "disk" / "r1")
    assert (
        uri_below(tmp_path / "project" / "results", "sqlite:///runs/m.db") == f"sqlite:///{tmp_path}/project/runs/m.db"
    )
