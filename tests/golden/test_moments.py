"""R1 and mAP of moments against the golden numbers of lighthouse's evaluator."""

import math

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import moments


@pytest.fixture(scope="module")
def content(golden):
    return golden("metrics_moments.json")


def evaluated(content, protocol="lighthouse"):
    """Both files by query as the evaluator reads them."""
    predictions = {entry["qid"]: entry["pred_relevant_windows"] for entry in content["predictions"]}
    references = {entry["qid"]: entry["relevant_windows"] for entry in content["ground_truth"]}
    return moments.evaluate(predictions, references, protocol=protocol)


@pytest.mark.parametrize("name", ["random", "edges"])
def test_every_figure_of_lighthouse(content, name):
    given = content["sets"][name]
    result = evaluated(given)
    assert content["thresholds"] == moments.THRESHOLDS.tolist()
    assert {length: list(limits) for length, limits in moments.RANGES.items()} == content["length_ranges"]
    for length in moments.RANGES:
        expected = given["expected"][length]
        assert len(result.ranges[length].rows) == expected["queries"]
        assert moments.lighthouse(result, length) == expected["rounded"]
        exact = moments.lighthouse(result, length, digits=None)
        for what in ("R1", "mAP"):
            assert exact[what] == pytest.approx(expected["exact"][what], abs=1e-9, rel=0)
    assert moments.brief(result) == given["brief"]


@pytest.mark.parametrize("name", ["random", "edges"])
def test_every_query(content, name):
    given = content["sets"][name]
    result = evaluated(given)
    full, expected = result.ranges["full"], given["expected"]["per_query"]
    assert {result.queries[row] for row in full.rows} == expected.keys()
    for row, iou, window, ap in zip(full.rows, full.iou, full.window, full.ap, strict=True):
        query = expected[result.queries[row]]
        assert window == query["top1_window"]
        assert iou == pytest.approx(query["top1_iou"], abs=1e-9, rel=0)
        assert ap == pytest.approx(query["ap"], abs=1e-9, rel=0)


def test_the_metrics_are_those_figures_as_shares(content):
    for given in content["sets"].values():
        result = evaluated(given)
        for length, suffix in {"full": "", "short": "_short", "middle": "_middle", "long": "_long"}.items():
            exact = given["expected"][length]["exact"]
            figures = {"r1_50": exact["R1"]["0.5"], "r1_70": exact["R1"]["0.7"], "map_avg": exact["mAP"]["average"]}
            figures |= {"map_50": exact["mAP"]["0.5"], "map_75": exact["mAP"]["0.75"]}
            for name, figure in figures.items():
                assert result.metrics[name + suffix]["value"] == pytest.approx(figure / 100, abs=1e-12)


def test_the_default_sorts_by_score_and_refuses_what_has_no_length(content):
    given = content["sets"]["edges"]
    with pytest.raises(EarwitnessError) as error:
        evaluated(given, "default")
    assert [f"query 'e{n}_" in str(error.value) for n in (16, 19, 20)] == [True] * 3
    names = [f"e{n:02}" for n in (0, 3, 4, 5, 6, 7, 8, 12, 18, 23)]
    some = {key: [e for e in given[key] if e["qid"][:3] in names] for key in ("predictions", "ground_truth")}
    first, result = evaluated(some), evaluated(some, "default")
    found = {query[:3]: value for query, value in zip(result.queries, result.items["r1_70"], strict=True)}
    as_written = {query[:3]: value for query, value in zip(first.queries, first.items["r1_70"], strict=True)}
    changed = {name for name in found if found[name] != as_written[name]}
    assert changed == {"e05", "e06", "e07", "e23"} and all(found[name] == 1 for name in changed)
    assert result.items["map_avg"][result.queries.index("e06_eleventh_is_cut_before_sorting")] == 1


def test_ill_formed_input(content):
    """What the evaluator computes is computed, what stops it is refused or counted; ids twice are the readers'."""
    cases = {case["name"]: case for case in content["behaviour"]}
    for name in ("inverted_prediction_as_long_as_the_window", "inverted_prediction_other_length"):
        case = cases[name]
        assert moments.lighthouse(evaluated(case))["mAP"] == case["mAP"]
        assert moments.lighthouse(evaluated(case))["R1"] == case["R1"]
        with pytest.raises(EarwitnessError, match="query 'a'"):
            evaluated(case, "default")
    empty = cases["one_query_with_empty_list"]
    with pytest.raises(EarwitnessError, match="'b'"):
        evaluated(empty)
    assert (
        evaluated(empty, "default").metrics["map_avg"] == evaluated(empty, "default").metrics["r1_50"] == {"value": 0.5}
    )
    without = cases["windows_without_score"]
    for protocol in moments.PROTOCOLS:
        assert moments.lighthouse(evaluated(without, protocol))["R1"] == without["R1"]
    for name in ("query_missing_in_predictions", "no_windows_in_ground_truth"):
        for protocol in moments.PROTOCOLS:
            with pytest.raises(EarwitnessError):
                evaluated(cases[name], protocol)
    assert all(math.isnan(np.nan if value is None else value) for value in cases[name]["mAP"].values())
