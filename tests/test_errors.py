"""Messages: counts in singular and plural, sentences and reasons that follow one another."""

import doctest

import pytest

from earwitness import doctor, errors
from earwitness.doctor.findings import FAIL, Finding
from earwitness.features import stage
from earwitness.metrics.bootstrap import summarise


@pytest.mark.parametrize("module", [errors, stage], ids=lambda module: module.__name__)
def test_the_examples_give_what_they_say(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed


def test_a_question_is_followed_by_its_advice():
    (line, end) = doctor.report([Finding(FAIL, "mine: did you mean 'clip'?", "Mend the table.")]).splitlines()
    assert line.endswith("'clip'? Mend the table") and end == "1 problem to fix."
    assert doctor.report([Finding(FAIL, "a"), Finding(FAIL, "b")]).endswith("2 problems to fix.")


def test_reasons_are_joined_without_full_stops_between():
    def seed(reason):
        return type("Seed", (), {"metrics": {"m": {"value": None, "reason": reason}}, "ids": ["a"], "statistics": {}})

    assert summarise([seed("No jar has them."), seed("There is no model.")])["m"]["reason"] == (
        "No jar has them; There is no model."
    )
