"""The DAG is struck twenty times, and what it makes is what an undisturbed run makes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from earwitness.files import write_json
from tests.workflow.faults import SYSTEMS, Harness, differences, summary


@pytest.mark.workflow
def test_twenty_faults_change_nothing(tmp_path):
    seed = datetime.now(UTC).toordinal()  # another one each day
    system = ("cl4ac", "atr", "alignment")[seed % 3]  # wsac is trained with a CLAP, which takes twice as long
    faults = Harness(tmp_path, seed, [system], whole=False).run(20)
    print(f"seed {seed}, {SYSTEMS[system]}: {summary(faults)}")
    assert len(faults) == 20
    assert not [fault for fault in faults if fault.problems or fault.left]


TABLES = """
CREATE TABLE runs (run_uuid, name, status, artifact_uri, lifecycle_stage);
CREATE TABLE metrics (run_uuid, key, step, value);
CREATE TABLE params (run_uuid, key, value);
CREATE TABLE tags (run_uuid, key, value);
"""


def results(folder: Path, run_id: str, time: float) -> Path:
    """A folder of results with one run in MLflow."""
    write_json(folder / "a/metrics.json", {"value": 1})
    (folder / "a/events.jsonl").write_text(f'{{"metrics": {{"loss": 1}}, "time": {time}}}\n', encoding="utf-8")
    write_json(folder / "a/tracking.json", {"published": True, "runs": {"0": run_id}})
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        store.executescript(TABLES)
        store.execute("INSERT INTO runs VALUES (?, 'a seed 0', 'FINISHED', '/none', 'active')", [run_id])
        store.execute("INSERT INTO metrics VALUES (?, 'loss', 1, 0.5)", [run_id])
        store.commit()
    return folder


def test_times_and_ids_are_no_differences_and_all_else_is(tmp_path):
    reference, other = results(tmp_path / "reference", "r1", 1.0), results(tmp_path / "other", "r2", 2.0)
    assert not differences(reference, other)
    write_json(other / "a/metrics.json", {"value": 2})
    (other / "a/.metrics.json.x.tmp").touch()
    with closing(sqlite3.connect(other / "mlflow.db")) as store:
        store.execute("INSERT INTO metrics VALUES ('r2', 'loss', 1, 0.5)")
        store.commit()
    found = differences(reference, other)
    assert [line.split()[0] for line in found] == ["a/.metrics.json.x.tmp", "a/metrics.json", "MLflow:", "MLflow:"]
