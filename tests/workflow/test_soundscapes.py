"""Real recordings go through the whole DAG with nothing but a data-set entry."""

from __future__ import annotations

import pytest
import yaml

from earwitness.files import read_json
from tests.workflow.conftest import ROOT, Workflow

REAL = ROOT.parent / "shared" / "data" / "soundscapes"

pytestmark = pytest.mark.workflow

ENTRY = {
    "layout": "clotho",
    "audio": str(REAL),
    "experiments": ["cl4ac"],
    "overrides": {
        "features": {"logmel-cl4ac": {"sample_rate": 32000, "hop": 1024, "seconds": 10}},
        "texts": {"cl4ac": {"word2vec": {"passes": 5}}},
        "systems": {
            "cl4ac": {
                "encoder": {"channels": [4, 8, 16, 32]},
                "decoder": {"feedforward": 64},
                "train": {"batching": "grouped", "batch_size": 8, "epochs": 1, "threads": 2},
            }
        },
    },
}


def test_soundscapes_give_a_result(tmp_path):
    if not REAL.exists():
        pytest.skip("the real recordings of ../shared/data are not here")
    workflow = Workflow(tmp_path / "run")
    config = tmp_path / "soundscapes.yaml"
    config.write_text(yaml.safe_dump({"datasets": {"soundscapes": ENTRY}}), encoding="utf-8")
    workflow.run("results/soundscapes/cl4ac/metrics.json", configfile=config)
    result = read_json(workflow / "results/soundscapes/cl4ac/metrics.json")
    assert result["counts"]["clips_scored"] == 100
    assert result["metrics"]["bleu_1"]["value"] > 0
    vocabulary = read_json(workflow / "results/soundscapes/text/cl4ac/vocabulary.json")
    assert 300 < len(vocabulary["tokens"]) < 700
    assert vocabulary["counts"]["training_captions"] == 1500
