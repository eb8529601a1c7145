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


def test_of_thousands_of_offenders_the_first_are_listed_and_the_others_counted():
    lines = errors.listed("Bad:", [f"row {row}" for row in range(4000)], "Mend them.").splitlines()
    assert lines[1] == "  - row 0" and len(lines) == errors.LISTED + 3
    assert f" {4000 - errors.LISTED} " in lines[-2] and lines[-1] == "Mend them."
    assert len(errors.listed("Bad:", ["row"] * errors.LISTED).splitlines()) == errors.LISTED + 1


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
