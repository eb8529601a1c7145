"""Frame scores and events as they are read."""

import h5py
import pytest

from earwitness.evaluation.readers.events import Activations, Events, Frames, open_predictions, read_events


def test_looking_for_a_pair_reads_no_scores():
    def read(name):
        raise AssertionError(f"{name} was read")

    activations = Activations({"p": "P"}, read)
    assert "p" in activations and "P" not in activations and list(activations) == ["p"]
    with pytest.raises(AssertionError, match="P was read"):
        activations["p"]


COLUMNS = {"phrase_id": ["p", "q"], "onset": [0.0, 1], "offset": [2.0, 3]}


@pytest.mark.parametrize(
    "content",
    [
        COLUMNS,
        {"filename": ["p", "q"], "Start time": [0, 1], "End time": [2, 3]},
        {name: dict(enumerate(values)) for name, values in COLUMNS.items()},  # as pandas writes it
    ],
)
def test_json_by_column_holds_events_not_frame_scores(write, content):
    path = write("p.json", content)
    with open_predictions(path) as found:
        assert isinstance(found, Events) and not found.problems
        assert found.by_pair() == read_events(path).by_pair() == {"p": [(0, 2)], "q": [(1, 3)]}


@pytest.mark.parametrize(
    "content",
    [{"p": [0, 1], "onset": [1, 0]}, {"activations": {"onset": [0, 1], "offset": [1, 0]}, "hop": 0.5}],
)
def test_pairs_may_have_names_of_columns(write, content):
    with open_predictions(write("p.json", content)) as found:
        assert isinstance(found, Frames) and not found.problems and list(found.read("onset")) in ([1, 0], [0, 1])


def test_frame_scores_of_json_that_are_no_numbers_are_problems(write):
    content = {"activations": {"p": [1, "0.5", None, [2]], "q": [0, 1.5], "r": "x", "s": [True]}}
    with open_predictions(write("p.json", content)) as found:
        expected = [("'p'", "'0.5', 'None', '[2]'"), ("'r'", "'x'"), ("'s'", "'True'")]
        for problem, facts in zip(found.problems, expected, strict=True):
            assert problem.startswith("p.json: ") and all(fact in problem for fact in facts)


@pytest.mark.parametrize("scores", [["0.1", "0.2"], [b"0.1", b"0.2"], [1j, 2j]])
def test_activations_of_hdf5_that_are_no_numbers_are_a_problem(tmp_path, scores):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["activations"], file["offsets"], file["phrase_ids"] = scores, [0, 1, 2], ["p", "q"]
    with open_predictions(tmp_path / "p.h5") as found:
        (problem,) = found.problems
    assert problem.startswith("p.h5: activations ") and "numbers" in problem
