"""What metrics take: mappings, lists and arrays give the same values, and everything else is a plain error."""

import numpy as np
import pandas as pd
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import arguments, captions, fluency, grounding, retrieval, vocabulary
from earwitness.metrics.baselines import best_constant, human_bound
from earwitness.metrics.cider import CiderD

CANDIDATES = {"a": "a dog barks", "b": "rain falls"}
REFERENCES = {"b": ["rain is falling", "the rain falls"], "a": ["a dog barks loudly", "dogs bark"]}
IN_ORDER = [CANDIDATES[name] for name in REFERENCES], list(REFERENCES.values())
PARTS = [captions.bleu, captions.rouge_l, captions.cider_d, vocabulary.vocabulary]
METRICS = ["bleu_1", "rouge_l", "cider_d"]


def flat(result):
    """All numbers of a nested result, as strings."""
    return repr(jsonable(result))


def jsonable(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {key: jsonable(one) for key, one in value.items()}
    return [jsonable(one) for one in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_captions_take_lists_arrays_and_mappings(part):
    expected = flat(part(*IN_ORDER))
    assert flat(part(CANDIDATES, REFERENCES)) == expected  # by name, in whatever order
    assert flat(part(np.array(IN_ORDER[0]), np.array(IN_ORDER[1]))) == expected
    assert flat(part(tuple(IN_ORDER[0]), tuple(map(tuple, IN_ORDER[1])))) == expected
    assert flat(part(pd.Series(CANDIDATES), pd.Series(REFERENCES))) == expected


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("candidates", "references", "named"),
    [
        (["a dog"], ["a dog barks"], "item 0"),  # the letters of a string are no references
        ("ab", [["x"], ["y"]], "one string"),
        ([None, "rain"], [["x"], ["y"]], "item 0: None"),
        (["a", "b"], [["x", 1.5], ["y"]], "item 0, reference 1: 1.5"),
        (["a"], {"a": ["x"]}, "mapping"),
        ({"a": "x"}, {"b": ["x"]}, "'b' has no candidate"),
        ({"x", "y"}, [["x"], ["y"]], "no order"),
        (3, [["x"]], "3 \\(int\\)"),
        (["a"], [["x"], ["y"]], "1 candidates, 2 lists"),
    ],
)
def test_parts_of_captions_refuse(part, candidates, references, named):
    with pytest.raises(EarwitnessError, match=named):
        part(candidates, references)


def test_captions_as_lists():
    result = captions.evaluate(*IN_ORDER, metrics=METRICS)
    named = captions.evaluate(CANDIDATES, REFERENCES, metrics=METRICS)
    assert result.ids == [0, 1] and named.ids == ["b", "a"]
    assert result.metrics == named.metrics
    captions.validate(np.array(IN_ORDER[0]), np.array(IN_ORDER[1]))


@pytest.mark.parametrize(
    ("given", "options", "named"),
    [
        ((IN_ORDER[0], REFERENCES), {}, "captions are a list"),
        (("a dog", "a dog"), {}, "one string"),
        ((None, None), {}, "None"),
        ((CANDIDATES, REFERENCES), {"tools": {"spice": "off"}}, "tools are"),
        ((CANDIDATES, REFERENCES), {"metrics": 4}, "metrics are 4"),
        (({"a": 1}, {"a": 2}), {}, "'a' is not text: 1 .*\n.*references of clip 'a' are 2"),
        ((pd.DataFrame({"a": ["x"]}), [["x"]]), {}, "columns"),
    ],
)
def test_captions_that_are_refused(given, options, named):
    with pytest.raises(EarwitnessError, match=named):
        captions.evaluate(*given, **options)


def test_others_that_take_texts_refuse_one_string():
    for call in (
        lambda: captions.tokenize("a dog", [["a dog"]]),
        lambda: CiderD(["a dog", "rain"]),
        lambda: CiderD([["a dog"], ["rain"]]).score("ab"),
        lambda: best_constant("ab", [["a dog"], ["rain"]]),
        lambda: human_bound(["ab", "cd"]),
    ):
        with pytest.raises(EarwitnessError, match="one string"):
            call()
    with pytest.raises(EarwitnessError, match="errors"):
        fluency.fense([0.5], {"a": 1})


def test_a_series_is_taken_by_its_index():
    assert arguments.by_name("x", pd.Series([1, 2], index=["a", "b"])) == {"a": 1, "b": 2}
    with pytest.raises(EarwitnessError, match="twice"):
        arguments.by_name("x", pd.Series([1, 2], index=["a", "a"]))


SCORES = [[0.9, 0.1, 0.2], [0.3, 0.1, 0.6], [0.2, 0.8, 0.1]]
OWNERS, CLIPS, NAMES = ["x", "y", "z"], ["x", "y", "z"], ["c0", "c1", "c2"]


def values(result):
    return {name: entry["value"] for name, entry in result.metrics.items()}


def test_retrieval_takes_lists_arrays_and_mappings():
    expected = values(retrieval.evaluate(SCORES, OWNERS, CLIPS))
    by_caption = dict(zip(NAMES, OWNERS, strict=True))
    by_clip = {n: dict(zip(CLIPS, row, strict=True)) for n, row in zip(NAMES, SCORES, strict=True)}
    shuffled = {name: dict(reversed(by_clip[name].items())) for name in reversed(NAMES)}
    table = pd.DataFrame(SCORES, index=NAMES, columns=CLIPS)
    for scores, owners in (
        (np.array(SCORES), np.array(OWNERS)),
        (SCORES, by_caption),
        (dict(zip(NAMES, SCORES, strict=True)), by_caption),
        (shuffled, by_caption),
        (table, pd.Series(by_caption)),
        (table.iloc[::-1, ::-1], by_caption),
    ):
        assert values(retrieval.evaluate(scores, owners, np.array(CLIPS))) == expected
    named = retrieval.evaluate(SCORES, OWNERS, CLIPS, captions=NAMES, relevant={n: [c] for n, c in by_caption.items()})
    assert values(retrieval.evaluate(SCORES, OWNERS, CLIPS, relevant=[[c] for c in OWNERS])) == values(named)
    retrieval.validate(shuffled, by_caption, CLIPS)


def test_ranked_lists_may_be_mappings_or_arrays():
    ranked = [["x", "y"], ["z", "x"], ["y", "z"]]
    expected = values(retrieval.evaluate_top(ranked, OWNERS))
    assert values(retrieval.evaluate_top(np.array(ranked), tuple(OWNERS))) == expected
    by_caption = dict(zip(NAMES, ranked, strict=True))
    owners = dict(reversed(list(zip(NAMES, OWNERS, strict=True))))
    assert values(retrieval.evaluate_top(by_caption, owners)) == expected


@pytest.mark.parametrize(
    ("given", "options", "named"),
    [
        ((None, OWNERS, CLIPS), {}, "None"),
        ((SCORES, "xyz", CLIPS), {}, "one string"),
        ((SCORES, OWNERS, {"x", "y", "z"}), {}, "no order"),
        ((SCORES, OWNERS, 3), {}, "3 \\(int\\)"),
        ((SCORES, [["x"], ["y"], ["z"]], CLIPS), {}, "item 0"),
        ((dict(zip(NAMES, SCORES, strict=True)), OWNERS, CLIPS), {"captions": ["c0", "c1", "d"]}, "'d'.*\n.*'c2'"),
        ((SCORES, OWNERS, CLIPS), {"relevant": [["x"]]}, "1 of 3"),
        ((SCORES, OWNERS, CLIPS), {"relevant": [5, ["y"], ["z"]]}, "caption 0 are 5"),
        (([["a", "b"]], ["x"], ["x", "y"]), {}, "type <U1"),
    ],
)
def test_retrieval_that_is_refused(given, options, named):
    with pytest.raises(EarwitnessError, match=named):
        retrieval.evaluate(*given, **options)


def test_parts_of_retrieval():
    ranks, one = [1, 3, 12], np.ones(3)
    full = retrieval.Ranks(np.array(ranks) - 1, one)
    for part in (retrieval.recall, retrieval.mean_average_precision, retrieval.set_recall):
        assert flat(part(np.array(ranks), 5)) == flat(part(ranks, 5)) == flat(part(full, 5))
        for bad in ("123", None, {"a": 1}, [0, 1], [1, float("nan")], [], ["a"], [[1, 2]]):
            with pytest.raises(EarwitnessError):
                part(bad, 5)
        for cut in (0, "5", 1.5):
            with pytest.raises(EarwitnessError, match="cut"):
                part(ranks, cut)


ACTIVATIONS = {"p": [0.1, 0.9, 0.8, 0.2], "q": [0.7, 0.6, 0.2, 0.1]}
EVENTS = {"p": [(1.0, 3.0)], "q": [(0.0, 4.0)]}
OF_GROUNDING = ["frame_f1", "segment_f1", "event_f1", "miou"]


def test_grounding_takes_lists_arrays_and_mappings():
    def found(*given, **more):
        return values(grounding.evaluate(*given, metrics=OF_GROUNDING, **more))

    expected = found(ACTIVATIONS, EVENTS, hop=1.0)
    rows, events = list(ACTIVATIONS.values()), list(EVENTS.values())
    assert found(rows, events, hop=1.0) == found(np.array(rows), np.array(events), hop=1.0) == expected
    assert found(pd.Series(ACTIVATIONS), pd.Series(EVENTS), hop=1.0) == expected
    assert found(rows, events, hop=1.0, durations=[4.0, 4.0]) == expected
    assert found(rows, events, hop=1.0, clips=["a", "a"], durations={"a": 4.0}) == expected
    perfect = found(None, events, hop=None, events=events)
    assert perfect["event_f1"] == perfect["miou"] == 1


@pytest.mark.parametrize(
    ("given", "options", "named"),
    [
        ((list(ACTIVATIONS.values()), EVENTS), {}, "activations are lists, the references are by name"),
        ((ACTIVATIONS, list(EVENTS.values())), {}, "references are lists"),
        (("pq", EVENTS), {}, "one string"),
        ((ACTIVATIONS, 5), {}, "5 \\(int\\)"),
        ((ACTIVATIONS, EVENTS), {"options": {"threshold": 0.4}}, "options are"),
        ((ACTIVATIONS, EVENTS), {"durations": 4.0}, "durations"),
        ((ACTIVATIONS, EVENTS), {"durations": [4.0, 4.0], "clips": {"p": "a", "q": "b"}}, "durations"),
        ((ACTIVATIONS, {"p": None, "q": {}}), {}, "'p'.*\n.*'q'"),
        ((ACTIVATIONS, {"p": "ab", "q": []}), {}, "'p'"),
    ],
)
def test_grounding_that_is_refused(given, options, named):
    with pytest.raises(EarwitnessError, match=named):
        grounding.evaluate(*given, **{"hop": 1.0} | options)


def test_options_of_grounding_need_lists_of_numbers():
    assert grounding.Options(e_max=[100], thresholds=[0.5]).e_max == [100]
    for options in ({"e_max": 100}, {"thresholds": 0.5}, {"thresholds": "abc"}):
        with pytest.raises(EarwitnessError, match=next(iter(options))):
            grounding.Options(**options)


def test_sound_events_may_be_given_by_file():
    rows = [{"filename": "a", "onset": 0.0, "offset": 2.0, "event_label": "dog"}]
    expected = grounding.event_based(rows, rows)
    by_file = {"a": [(0.0, 2.0, "dog")]}
    assert flat(grounding.event_based(by_file, by_file)) == flat(expected)
    assert flat(grounding.event_based(by_file, {"a": rows})) == flat(expected)
    for bad in ([(0.0, 2.0, "dog")], "a", None, pd.DataFrame(rows), {"a": (0.0, 2.0, "dog")}):
        with pytest.raises(EarwitnessError):
            grounding.event_based(rows, bad)
    with pytest.raises(EarwitnessError, match="durations"):
        grounding.segment_based(rows, rows, durations=[2.0])
