"""What `make demo` gives: numbers that mean something, a page, and tracked runs."""

from __future__ import annotations

import os
import re

import pandas as pd
import pytest

from earwitness.corpora.tables import captions_by_clip
from earwitness.files import read_json
from earwitness.metrics.captions import tokenize
from earwitness.metrics.cider import CiderD
from earwitness.metrics.trivial import shuffled

pytestmark = pytest.mark.workflow
NAMES = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider_d", "spice", "spider"]


@pytest.fixture(scope="module")
def result(mini) -> dict:
    return read_json(mini / "results/mini/cl4ac/metrics.json")


def test_metrics_follow_the_contract(mini, result):
    assert {"schema", "dataset", "experiment", "system", "seeds", "metrics", "counts", "provenance"} <= result.keys()
    assert sorted(result["metrics"]) == sorted(NAMES)
    for name, metric in result["metrics"].items():
        if metric["value"] is None:
            assert metric["reason"], name
        else:
            assert len(metric["per_seed"]) == 1
    low, high = result["metrics"]["cider_d"]["ci95"]
    assert low < result["metrics"]["cider_d"]["value"] < high
    counts = result["counts"]
    assert counts["clips_listed"] == counts["clips_found"] == counts["clips_scored"] == 100
    assert result["provenance"]["encoder_weights"] == "none"


def test_only_what_needs_spice_is_null(result):
    assert {name for name, metric in result["metrics"].items() if metric["value"] is None} == {"spice", "spider"}


def test_cl4ac_beats_the_best_constant_caption_by_far(mini, result):
    constant = read_json(mini / "results/mini/corpus/trivial.json")["constant_caption"]["cider_d"]
    assert result["metrics"]["cider_d"]["value"] >= 3 * constant


def test_captions_belong_to_their_clips(mini, result):
    table = pd.read_csv(mini / "results/mini/cl4ac/seed-0/captions.csv", keep_default_na=False)
    captions = dict(zip(table["clip_id"], table["caption"], strict=True))
    references = captions_by_clip(mini / "results/mini/corpus/captions.csv", list(captions))
    wrong = shuffled(captions, seed=0)
    tokens, reference_tokens = tokenize([wrong[clip_id] for clip_id in references], list(references.values()))
    assert result["metrics"]["cider_d"]["value"] >= 2 * CiderD(reference_tokens).score(tokens).mean()


def test_nothing_is_left_to_do(mini):
    assert "Nothing to be done" in mini.run("--dry-run", "results/mini/comparison.html")


def test_another_data_set_is_made_and_leaves_this_one_alone(mini, tmp_path):
    config = tmp_path / "other.yaml"
    config.write_text("datasets: {other: {layout: mini}}", encoding="utf-8")
    assert "Nothing to be done" in mini.run("--dry-run", "results/mini/comparison.html", configfile=config)
    planned = mini.run("--dry-run", "results/other/cl4ac/metrics.json", configfile=config)
    assert re.search(r"^train +1$", planned, re.MULTILINE) and re.search(r"^result +1$", planned, re.MULTILINE)


def test_page_needs_no_network(mini):
    page = (mini / "results/mini/comparison.html").read_text(encoding="utf-8")
    assert "cl4ac-baseline" in page
    assert not re.search(r"""(?:src|<link[^>]*href)\s*=\s*["']?(?:https?:)?//""", page)


def test_runs_are_tracked_once(mini):
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{mini / 'results/mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("mini").experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "cl4ac",
        "cl4ac seed 0",
        "cl4ac-baseline",
        "cl4ac-baseline seed 0",
    ]
    child = next(run for run in runs if run.info.run_name == "cl4ac seed 0")
    parent = next(run for run in runs if run.info.run_name == "cl4ac")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    curve = client.get_metric_history(child.info.run_id, "validation_cider_d")
    assert len(curve) > 5
    assert child.data.params["optim.lr"] == parent.data.params["optim.lr"] == "0.002"
    assert child.data.params["decode.beam"] == "1"
    assert {"model.json", "captions.csv"} <= {artifact.path for artifact in client.list_artifacts(child.info.run_id)}


def test_publishing_again_changes_nothing(mini):
    from earwitness.tracking.publish import publish

    uri = f"sqlite:///{mini / 'results/mlflow.db'}"
    folder = mini / "results/mini/cl4ac"
    before = read_json(folder / "tracking.json")["runs"]
    assert publish(uri, folder / "metrics.json", [folder / "seed-0"], folder / "again.json")
    assert read_json(folder / "again.json")["runs"] == before


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////dev/null/mlflow.db"])
def test_a_tracker_that_is_down_fails_nothing(mini, tmp_path, uri):
    from earwitness.tracking.publish import publish

    folder = mini / "results/mini/cl4ac"
    out = tmp_path / "tracking.json"
    assert not publish(uri, folder / "metrics.json", [folder / "seed-0"], out)
    assert read_json(out)["reason"]
