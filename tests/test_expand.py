"""Experiments that extend others, and sweeps."""

import pytest

from earwitness.expand import expand, merge

BASE = {"system": "s", "pooling": "mean", "loss": {"margin": 0.2, "hard": False}}


def test_entries_without_extends_stay_as_they_are():
    found = expand({"a": BASE, "b": None})
    assert found.entries == {"a": BASE, "b": None} and not any(found.depth.values()) and not found.problems


def test_what_differs_is_merged_over_a_chain_of_experiments():
    found = expand(
        {
            "c": {"extends": "b", "pooling": "max"},
            "a": BASE,
            "b": {"extends": "a", "loss": {"margin": 0.5}},
        }
    )
    assert found.entries["c"] == {"system": "s", "pooling": "max", "loss": {"margin": 0.5, "hard": False}}
    assert list(found.entries) == ["c", "a", "b"] and found.depth == {"a": 0, "b": 1, "c": 2}


def test_a_sweep_stands_for_every_combination():
    sweep = {"pooling": ["mean", "max"], "loss.margin": {"narrow": 0.1, "wide": 0.9}}
    found = expand({"a": BASE, "grid": {"extends": "a", "sweep": sweep}})
    assert found.sweeps == {"grid": ["grid-mean-narrow", "grid-mean-wide", "grid-max-narrow", "grid-max-wide"]}
    assert found.entries["grid-max-narrow"] == {"system": "s", "pooling": "max", "loss": {"margin": 0.1, "hard": False}}
    assert "grid" not in found.entries and set(found.origin.values()) == {"a", "grid"}


def test_lists_and_truth_values_are_labels_too():
    found = expand({"a": {**BASE, "sweep": {"features": [["x"], ["x", "y"]], "loss.hard": [True, False]}}})
    assert found.sweeps["a"] == ["a-x-true", "a-x-false", "a-x_y-true", "a-x_y-false"]


def test_two_experiments_of_one_name_are_refused():
    ambiguous = {"p": {"b": 1, "b-c": 2}, "q": {"c-d": 1, "d": 2}}
    found = expand({"a": {**BASE, "sweep": ambiguous}, "a-b": {**BASE, "sweep": {"p": {"d": 1}}}})
    assert len(found.problems) == 2 and "'a-b-c-d'" in found.problems[0] and "'a-b-d'" in found.problems[1]


@pytest.mark.parametrize(
    ("entry", "place", "value"),
    [
        ({"extends": "ab"}, "experiments.x.extends", "'ab'"),
        ({"extends": ["a"]}, "experiments.x.extends", "['a']"),
        ({"extends": "x"}, "experiments.x.extends", "'x'"),
        ({"extends": "y"}, "experiments.y.extends", "'x'"),
        ({"extends": "grid"}, "experiments.x.extends", "'grid'"),
        ({"extends": "a", "sweep": {}}, "experiments.x.sweep", "{}"),
        ({"extends": "a", "sweep": {"pooling": "max"}}, "experiments.x.sweep.pooling", "'max'"),
        ({"extends": "a", "sweep": {"pooling": 3}}, "experiments.x.sweep.pooling", "3"),
        ({"extends": "a", "sweep": {"pooling": ["max", "MAX"]}}, "experiments.x.sweep.pooling", "label"),
        ({"extends": "a", "sweep": {"weights": ["a/b.pth"]}}, "experiments.x.sweep.weights", "'a/b.pth'"),
        ({"extends": "a", "sweep": {"pooling": ["taken"]}}, "experiments.x.sweep", "'x-taken'"),
    ],
)
def test_what_cannot_be_resolved_is_named_by_place_and_value(entry, place, value):
    grid = {"extends": "a", "sweep": {"pooling": ["max"]}}
    found = expand({"x": entry, "a": BASE, "y": {"extends": "x"}, "grid": grid, "x-taken": BASE})
    assert any(line.startswith(f"{place}: ") and value in line for line in found.problems), found.problems
    assert "x" not in found.entries


def test_an_encoder_of_another_kind_replaces_the_one_below():
    below = {"encoder": {"channels": [1, 2, 3, 4]}, "loss": {"margin": 1}}
    frames = {"kind": "frames", "layers": 2}
    assert merge(below, {"encoder": frames, "loss": {"kind": "x"}}) == {
        "encoder": frames,
        "loss": {"margin": 1, "kind": "x"},
    }
    assert merge({"encoder": frames}, {"encoder": {"layers": 3}})["encoder"] == {"kind": "frames", "layers": 3}
    assert merge(below, {"encoder": {"kind": "cnn10"}})["encoder"] == {"channels": [1, 2, 3, 4], "kind": "cnn10"}
