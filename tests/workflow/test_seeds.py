"""An experiment of several seeds: one result, one parent run, and a further seed joins its elders."""

from __future__ import annotations

import pytest
import yaml

from earwitness.files import read_json

pytestmark = pytest.mark.workflow


def test_a_further_seed_trains_alone_and_joins_the_others(tiny_ready, tiny_config, tmp_path):
    from mlflow import MlflowClient

    workflow = tiny_ready.copy(tmp_path / "run")
    target = "results/tiny/cl4ac/metrics.json"
    content = yaml.safe_load(tiny_config.read_text(encoding="utf-8"))
    content["datasets"]["tiny"]["overrides"]["systems"]["cl4ac"]["train"] |= {"epochs": 2, "precision": "bf16-mixed"}
    for seeds in ([3], [3, 4]):
        config = tmp_path / "tiny.yaml"
        experiment = {"system": "cl4ac", "feature": "logmel-cl4ac", "text": "cl4ac", "seeds": seeds}
        config.write_text(yaml.safe_dump(content | {"experiments": {"cl4ac": experiment}}), encoding="utf-8")
        printed = workflow.run(target, configfile=config)
        assert printed.count("(Rule: train)") == 1
    result = read_json(workflow / target)
    assert result["seeds"] == [3, 4]
    values = result["metrics"]["rouge_l"]["per_seed"]
    assert result["metrics"]["rouge_l"]["value"] == pytest.approx(sum(values) / 2)
    client = MlflowClient(f"sqlite:///{workflow / 'results/mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.run_name for run in parents] == ["cl4ac"]
    assert parents[0].data.metrics["rouge_l"] == result["metrics"]["rouge_l"]["value"]
    children = {run.info.run_name: run.data.tags["mlflow.parentRunId"] for run in runs if run not in parents}
    assert children == dict.fromkeys(["cl4ac seed 3", "cl4ac seed 4"], parents[0].info.run_id)
