"""Studies: experiments of a sweep compared with a baseline, from scores made by hand."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.compare import compare
from earwitness.evaluation.scores import write_scores
from earwitness.evaluation.study import study
from earwitness.metrics import bootstrap
from earwitness.metrics.statistics import mean_of

JAVA = {"value": None, "reason": "Java is not there."}


@dataclass
class Evaluation:
    metrics: dict
    by_clip: dict
    statistics: dict
    ids: list


def write_experiment(folder, per_seed, ids=None, references="x", settings=None, kind="captioning", metric="cider_d"):
    """An experiment whose seeds gave each clip a score: float64 [seeds, clips]."""
    evaluations = []
    for seed, values in enumerate(np.atleast_2d(per_seed)):
        metrics = {metric: {"value": float(values.mean())}, "spider": JAVA}
        names = ids or [f"clip {number}" for number in range(len(values))]
        evaluation = Evaluation(metrics, {metric: values}, {metric: mean_of(values)}, names)
        made_by = {"inputs": {"references": references}, "settings": settings or {}}
        write_scores(folder / f"seed-{seed}" / kind, evaluation, content={"kind": kind, "provenance": made_by})
        evaluations.append(evaluation)
    metrics = bootstrap.summarise(evaluations)
    result = {"schema": 2, "dataset": folder.parent.name, "experiment": folder.name, "metrics": metrics, "counts": {}}
    result |= {"seeds": list(range(len(evaluations))), "kinds": {kind: {"metrics": list(metrics), "counts": {}}}}
    (folder / "metrics.json").write_text(json.dumps(result), encoding="utf-8")


def made(results, experiments, baseline="a"):
    settings = {name: {"pooling": {"label": name, "value": name}} for name in experiments}
    return study(results, "grid", baseline, [*experiments], ["pooling"], settings)


def entries(content, metric="cider_d"):
    return {experiment["name"]: experiment["metrics"][metric] for experiment in content["experiments"]}


@pytest.fixture
def results(tmp_path):
    generator = np.random.default_rng(0)
    base = generator.normal(1, 0.5, size=(2, 40))
    shifts = {"a": 0.0, "b": 0.02, "c": 0.3, "d": -0.4}
    for name, shift in shifts.items():
        write_experiment(tmp_path / "set" / name, base + shift + 0.1 * generator.normal(size=base.shape))
    return tmp_path / "set"


def test_each_experiment_is_compared_with_the_baseline_as_by_compare(results):
    content = made(results, "abcd")
    found = entries(content)
    for name in "bcd":
        pair = compare(results / "a", results / name)["metrics"]["cider_d"]
        assert found[name]["difference"] == pytest.approx(pair["difference"])
        assert (
            found[name]["difference_ci95"] == pytest.approx(pair["ci95"]) and found[name]["p_value"] == pair["p_value"]
        )
    assert found["a"]["difference"] is None and "difference_reason" not in found["a"]
    assert content["comparisons"] == {"spider": 0, "cider_d": 3} and content["metrics"]["cider_d"] == "captioning"
    assert {entry["clips"] for entry in found.values()} == {40}


def test_p_values_are_corrected_within_a_metric(results):
    found = entries(made(results, "abcd"))
    p_values = [found[name]["p_value"] for name in "bcd"]
    assert [found[name]["p_corrected"] for name in "bcd"] == bootstrap.holm(p_values)
    assert found["c"]["p_value"] == found["d"]["p_value"] == pytest.approx(1 / 2001)
    assert found["c"]["p_corrected"] == pytest.approx(3 / 2001) and found["b"]["p_corrected"] == found["b"]["p_value"]


def test_clips_and_seeds_vary_each_by_itself(results):
    entry = entries(made(results, "ab"))["b"]
    first, second = entry["per_seed"]
    assert entry["value"] == pytest.approx((first + second) / 2)
    assert entry["sd_over_seeds"] == pytest.approx(abs(first - second) / 2**0.5)
    assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]
    write_experiment(results / "e", np.ones(40))
    assert entries(made(results, "ae"))["e"]["sd_over_seeds"] is None


def test_what_cannot_be_compared_has_the_reason(results):
    values = np.linspace(0, 1, 40)
    others = [f"clip {number}" for number in range(1, 41)]
    write_experiment(results / "e", values, ids=others)
    write_experiment(results / "f", values, references="y")
    write_experiment(results / "g", values, kind="retrieval", metric="t2a_r1")
    content = made(results, "abefg")
    found = entries(content)
    assert all(text in found["e"]["difference_reason"] for text in ("40", "39"))
    assert "references" in found["f"]["difference_reason"] and found["f"]["value"] == pytest.approx(0.5)
    assert found["g"]["value"] is None and found["g"]["reason"] and content["comparisons"]["cider_d"] == 1
    assert entries(content, "spider")["b"]["reason"] == JAVA["reason"]
    recall = entries(content, "t2a_r1")["g"]
    assert recall["difference"] is None and "baseline a" in recall["difference_reason"]


def test_the_order_of_clips_does_not_matter(results):
    table = np.random.default_rng(1).normal(size=40)
    write_experiment(results / "e", table)
    write_experiment(results / "f", table[::-1], ids=[f"clip {number}" for number in range(40)][::-1])
    found = entries(made(results, "aef"))
    assert found["e"]["difference_ci95"] == found["f"]["difference_ci95"]


def test_other_settings_of_scoring_are_noted(results):
    write_experiment(results / "e", np.ones(40), settings={"threshold": 0.3})
    write_experiment(results / "f", np.ones(40), settings={"threshold": 0.5})
    *_, last = made(results, "ef", baseline="e")["experiments"]
    assert last["settings_differ"] == {"threshold": [0.3, 0.5]}


def test_where_nothing_differs_nothing_is_found(tmp_path):
    generator = np.random.default_rng(3)
    names = [f"x{member}" for member in range(21)]
    for name in names:
        write_experiment(tmp_path / "set" / name, generator.normal(size=30))
    found = entries(made(tmp_path / "set", names, baseline=names[0]))
    assert min(found[name]["p_value"] for name in names[1:]) < 0.2  # of 20, by chance
    assert min(found[name]["p_corrected"] for name in names[1:]) > 0.05


def test_missing_and_foreign_results_are_all_named(results, tmp_path):
    with pytest.raises(EarwitnessError) as caught:
        made(results, "axy")
    assert all(str(results / name / "metrics.json") in str(caught.value) for name in "xy")
    results.rename(tmp_path / "moved")
    with pytest.raises(MismatchError, match="moved/a"):
        made(tmp_path / "moved", "ab")
