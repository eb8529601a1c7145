"""The leak audit in the DAG: what it is made of, and what is made again when lists come or experiments say more."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import yaml

from earwitness.files import read_json
from tests.workflow.conftest import Workflow

pytestmark = pytest.mark.workflow

TARGET = "results/mine/corpus/leaks.json"


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path / "run")


def test_a_list_that_comes_later_is_noticed(workflow, tmp_path):
    path = tmp_path / "list.txt"
    lists = {
        "own": {"files": [str(path)]},
        "other": {"dataset": "other"},
        "gone": {"dataset": "gone"},
    }
    datasets = {
        "mine": {"layout": "clotho", "audio": str(corpus(tmp_path / "a")), "audit": list(lists), "experiments": []},
        "other": {"layout": "clotho", "audio": str(corpus(tmp_path / "b", "b.wav"))},
        "gone": {"layout": "clotho", "audio": str(tmp_path / "c")},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"datasets": datasets, "id_lists": lists}), encoding="utf-8")
    printed = workflow.run(TARGET, configfile=config)
    assert any(line.startswith("own: ") and str(path) in line for line in printed.splitlines())
    found = read_json(workflow / TARGET)["lists"]
    assert found["own"]["clips"] is None and "results/gone/corpus/clips.csv" in found["gone"]["reason"]
    assert found["other"]["splits"]["evaluation"]["by"] == {"sha256": 1}
    path.write_text("a.wav\n", encoding="utf-8")
    workflow.run(TARGET, configfile=config)
    assert read_json(workflow / TARGET)["lists"]["own"]["splits"]["evaluation"]["clips"] == 1
    assert "Nothing to be done" in workflow.run(TARGET, configfile=config)


def test_a_data_set_is_not_fetched_for_an_audit_and_noticed_when_its_corpus_is_there(workflow, tmp_path):
    away = tmp_path / "away"
    datasets = {
        "mine": {"layout": "clotho", "audio": str(corpus(tmp_path / "a")), "audit": ["big"], "experiments": []},
        "big": {"layout": "clotho", "audio": str(tmp_path / "b"), "source": "clotho-2.1", "mirror": str(away)},
    }
    config = tmp_path / "config.yaml"
    lists = {"big": {"dataset": "big"}}
    config.write_text(yaml.safe_dump({"datasets": datasets, "id_lists": lists}), encoding="utf-8")
    printed = workflow.run(TARGET, configfile=config)
    assert any(line.startswith("big: ") and "results/big/corpus/clips.csv" in line for line in printed.splitlines())
    assert not (tmp_path / "b").exists()
    assert "Nothing to be done" in workflow.run(TARGET, configfile=config)

    folder = workflow / "results/big/corpus"  # as brought from another machine, without its recordings
    folder.mkdir(parents=True)
    for table in ("clips", "sources"):
        content = (workflow / f"results/mine/corpus/{table}.csv").read_text(encoding="utf-8")
        (folder / f"{table}.csv").write_text(content.replace("evaluation", "development"), encoding="utf-8")
    workflow.run(TARGET, configfile=config)
    assert read_json(workflow / TARGET)["lists"]["big"]["splits"]["evaluation"]["by"] == {"name": 1, "sha256": 1}
    rows = (workflow / "results/mine/corpus/leaks.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == [f"big,evaluation,a.wav,{kind},development," for kind in ("name", "sha256")]
    assert not (tmp_path / "b").exists()
    assert "Nothing to be done" in workflow.run(TARGET, configfile=config)
    (folder / "clips.csv").write_text(content_without_clips(folder / "clips.csv"), encoding="utf-8")
    workflow.run(TARGET, configfile=config)
    assert "it has no clips" in read_json(workflow / TARGET)["lists"]["big"]["reason"]


def content_without_clips(path):
    return path.read_text(encoding="utf-8").splitlines(keepends=True)[0]


def corpus(root, name="a.wav"):
    """One evaluation clip in the Clotho layout."""
    (root / "evaluation").mkdir(parents=True)
    soundfile.write(root / "evaluation" / name, 0.1 * np.sin(np.arange(8000)), 8000)
    table = f"file_name,caption_1\n{name},A tone.\n"
    (root / "clotho_captions_evaluation.csv").write_text(table, encoding="utf-8")
    return root
