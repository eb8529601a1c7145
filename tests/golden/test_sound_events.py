"""Segment- and event-based metrics against sed_eval's golden numbers, which were made without durations."""

import math

import pytest

from earwitness.metrics import grounding

SETTINGS = ("time_resolution",), ("t_collar", "percentage_of_length", "evaluate_onset", "evaluate_offset")
FUNCTIONS = {"segment": grounding.segment_based, "event": grounding.event_based}


def flat(tree, path=()):
    """The numbers of nested dictionaries by their path; null is NaN."""
    if not isinstance(tree, dict):
        return {path: math.nan if tree is None else tree}
    return {key: value for name, branch in tree.items() for key, value in flat(branch, (*path, name)).items()}


@pytest.mark.parametrize("number", range(5))
def test_sed_eval(golden, number):
    content = golden("metrics_sound_events.json")
    assert len(content["results"]) == 5
    expected = content["results"][number]
    settings = {name: expected[name] for names in SETTINGS for name in names if name in expected}
    result = FUNCTIONS[expected["kind"]](content["reference"], content["estimated"], **settings)
    parts = {name: expected[name] for name in ("overall", "class_wise", "class_wise_average")}
    assert flat(result) == pytest.approx(flat(parts), abs=1e-6, rel=0, nan_ok=True)
