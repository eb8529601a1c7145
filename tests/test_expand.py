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


def test_values_in_the_place_of_an_option_are_the_same_as_under_sweep():
    margins, poolings = {"narrow": 0.1, "wide": 0.9}, ["mean", "max"]
    in_place = {"extends": "a", "pooling": {"sweep": poolings}, "loss": {"margin": {"sweep": margins}}}
    under = {"extends": "a", "sweep": {"pooling": poolings, "loss.margin": margins}}
    one, other = (expand({"a": BASE, "grid": entry}) for entry in (in_place, under))
    assert one == other and len(one.sweeps["grid"]) == 4
    assert one.labels["grid-max-narrow"] == {"pooling": "max", "loss.margin": "narrow"}


def test_names_have_the_labels_in_the_order_of_the_entry():
    entry = {
        **BASE,
        "loss": {"margin": {"sweep": [1, 2]}, "hard": True},
        "sweep": {"pooling": ["max"]},
        "size": {"sweep": [8]},
    }
    found = expand({"a": entry})
    assert found.sweeps["a"] == ["a-1-max-8", "a-2-max-8"]
    assert found.entries["a-2-max-8"] == {
        "system": "s",
        "pooling": "max",
        "loss": {"margin": 2, "hard": True},
        "size": 8,
    }


def test_a_list_has_the_combinations_themselves():
    written = [{"pooling": "mean", "loss.margin": 0.1}, {"label": "wide", "pooling": "max", "loss": {"margin": 0.9}}]
    found = expand({"a": BASE, "some": {"extends": "a", "sweep": [*written, {"pooling": "max"}]}})
    assert found.sweeps == {"some": ["some-mean-0.1", "some-wide", "some-max"]}
    assert found.entries["some-wide"] == {"system": "s", "pooling": "max", "loss": {"margin": 0.9, "hard": False}}
    assert found.labels["some-wide"] == {"pooling": "max", "loss.margin": "0.9"}
    crossed = expand({"a": {**BASE, "size": {"sweep": [8, 9]}, "sweep": written}})
    assert crossed.sweeps["a"] == ["a-8-mean-0.1", "a-8-wide", "a-9-mean-0.1", "a-9-wide"]


def test_the_encoder_of_another_kind_keeps_the_sizes_that_are_varied_with_it():
    base = {"system": "s", "encoder": {"kind": "cnn10", "channels": [1]}}
    found = expand({"a": {**base, "sweep": {"encoder.layers": [1, 2], "encoder.kind": ["frames"]}}})
    assert found.entries["a-2-frames"]["encoder"] == {"kind": "frames", "layers": 2}


@pytest.mark.parametrize(
    ("written", "baseline"),
    [
        (None, "x-mean"),
        ("max", "x-max"),
        ("x-max", "x-max"),
        ("a", "a"),
        ("later-3", "later-3"),
        (0.5, None),
        ("later", None),
    ],
)
def test_the_baseline_of_a_sweep(written, baseline):
    entry = {"extends": "a", "sweep": {"pooling": ["mean", "max"]}} | ({} if written is None else {"baseline": written})
    found = expand({"a": BASE, "x": entry, "later": {"extends": "a", "size": {"sweep": [3]}}})
    assert found.baselines.get("x") == baseline and "baseline" not in found.entries["x-mean"]
    places = [problem.split(": ")[:2] for problem in found.problems]
    assert [place for place, _ in places] == [] if baseline else ["experiments.x.baseline"]
    assert all(repr(written) in value for _, value in places)


def test_only_a_sweep_has_a_baseline():
    assert expand({"a": BASE, "x": {"extends": "a", "baseline": "a"}}).entries["x"]["baseline"] == "a"


def test_options_of_one_group_vary_by_themselves():
    entry = {**BASE, "sweep": {"loss": {"soft": {"hard": False}, "hard": {"hard": True}}, "loss.margin": [1, 2]}}
    found = expand({"a": {**entry, "lossy": {"sweep": [3]}}})
    assert not found.problems and len(found.sweeps["a"]) == 4
    assert found.entries["a-hard-2-3"]["loss"] == {"margin": 2, "hard": True}


def test_two_experiments_of_a_sweep_with_the_same_options_are_refused():
    written = [{"label": "p", "pooling": "max"}, {"label": "q", "loss.hard": False}, {"label": "r", "pooling": "mean"}]
    found = expand({"a": BASE, "x": {"extends": "a", "sweep": written}})
    assert found.sweeps["x"] == ["x-p", "x-q"]
    (problem,) = found.problems
    assert problem.startswith("experiments.x.sweep: ") and "'x-r'" in problem and "'x-q'" in problem


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
        ({"extends": "a", "pooling": {"sweep": "max"}}, "experiments.x.pooling.sweep", "'max'"),
        ({"extends": "a", "loss": {"margin": {"sweep": []}}}, "experiments.x.loss.margin.sweep", "[]"),
        ({"extends": "a", "loss": {"sweep": [1], "hard": True}}, "experiments.x.loss.sweep", "'hard'"),
        (
            {"extends": "a", "pooling": {"sweep": ["b"]}, "sweep": {"pooling": ["c"]}},
            "experiments.x.sweep.pooling",
            "twice",
        ),
        (
            {"extends": "a", "pooling": {"sweep": ["b"]}, "sweep": [{"pooling": "c", "lr": 1}, {"lr": 2}]},
            "experiments.x.sweep",
            "'pooling'",
        ),
        (
            {"extends": "a", "sweep": [{"pooling": "c", "lr": 1}], "pooling": {"sweep": ["b"]}},
            "experiments.x.pooling.sweep",
            "'pooling'",
        ),
        (
            {"extends": "a", "sweep": {"optim": {"a": {"lr": 1}, "b": {"lr": 2}}, "optim.lr": [3, 4]}},
            "experiments.x.sweep.optim.lr",
            "'optim.lr'",
        ),
        (
            {"extends": "a", "sweep": {"loss.margin": [3, 4], "loss": {"none": None}}},
            "experiments.x.sweep.loss",
            "'loss'",
        ),
        ({"extends": "a", "sweep": {"pooling": {"sweep": ["max"]}}}, "experiments.x.sweep.pooling", "'sweep'"),
        ({"extends": {"sweep": ["a", "y"]}}, "experiments.x.extends", "sweep"),
        ({"extends": "inner"}, "experiments.x.extends", "'inner'"),
        ({"extends": "a", "sweep": []}, "experiments.x.sweep", "[]"),
        ({"extends": "a", "sweep": ["max"]}, "experiments.x.sweep, number 1", "'max'"),
        ({"extends": "a", "sweep": [{"label": "b"}]}, "experiments.x.sweep, number 1", "'b'"),
        ({"extends": "a", "sweep": [{"size": 1}, {"width": 1}]}, "experiments.x.sweep, number 2", "'1'"),
        ({"extends": "a", "sweep": [{"size": 1}, {"loss": {}}]}, "experiments.x.sweep, number 2", "'{}'"),
    ],
)
def test_what_cannot_be_resolved_is_named_by_place_and_value(entry, place, value):
    grid = {"extends": "a", "sweep": {"pooling": ["max"]}}
    inner = {**BASE, "loss": {"margin": {"sweep": [1]}}}
    found = expand({"x": entry, "a": BASE, "y": {"extends": "x"}, "grid": grid, "inner": inner, "x-taken": BASE})
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
