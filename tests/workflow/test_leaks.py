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
    assert f"own: could not be checked: the list is not there; put it at {path}" in printed
    found = read_json(workflow / TARGET)["lists"]
    assert found["own"]["clips"] is None and "put it" in found["gone"]["reason"]
    assert found["other"]["splits"]["evaluation"]["by"] == {"sha256": 1}
    path.write_text("a.wav\n", encoding="utf-8")
    workflow.run(TARGET, configfile=config)
    assert read_json(workflow / TARGET)["lists"]["own"]["splits"]["evaluation"]["clips"] == 1
    assert "Nothing to be done" in workflow.run(TARGET, configfile=config)


def corpus(root, name="a.wav"):
    """One evaluation clip in the Clotho layout."""
    (root / "evaluation").mkdir(parents=True)
    soundfile.write(root / "evaluation" / name, 0.1 * np.sin(np.arange(8000)), 8000)
    table = f"file_name,caption_1\n{name},A tone.\n"
    (root / "clotho_captions_evaluation.csv").write_text(table, encoding="utf-8")
    return root
