"""Two experiments compared over the clips that both have, from results made by hand."""

import json

import pandas as pd
import pytest

from earwitness.cli import main
from earwitness.compare import compare
from earwitness.errors import EarwitnessError, MismatchError

NOT_TOLD = {"value": None, "reason": "Java is not there."}


def experiment(folder, per_seed, ids_sha256, corpus_bleu=0.5):
    """An experiment whose seeds gave each clip a CIDEr-D: a list of clip -> score."""
    result = {"dataset": folder.parent.name, "experiment": folder.name, "seeds": list(range(len(per_seed)))}
    metrics = {"bleu_1": {"value": corpus_bleu}, "cider_d": {"value": 9.0}, "spice": NOT_TOLD}
    for seed, scores in enumerate(per_seed):
        below = folder / f"seed-{seed}"
        below.mkdir(parents=True)
        columns = {"clip_id": list(scores), "caption": ["NA"] * len(scores)}
        table = pd.DataFrame(columns | {"bleu_1": [0.1] * len(scores), "cider_d": list(scores.values())})
        table.to_csv(below / "scores.csv", index=False)
        (below / "metrics.json").write_text(json.dumps({"metrics": metrics}), encoding="utf-8")
    result |= {"metrics": metrics, "counts": {"ids_sha256": ids_sha256}}
    (folder / "metrics.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


@pytest.fixture
def first(tmp_path):
    return experiment(
        tmp_path / "clotho" / "one", [{"a": 1.0, "b": 2.0, "c": 6.0}, {"a": 3.0, "b": 2.0, "c": 6.0}], "x"
    )


@pytest.fixture
def second(tmp_path):
    return experiment(tmp_path / "clotho-cl4ac" / "two", [{"d": 8.0, "b": 1.0, "a": 2.0}], "y", corpus_bleu=0.75)


def test_means_are_over_shared_clips_and_seeds(first, second):
    found = compare(first, second / "metrics.json")
    assert [(run["dataset"], run["clips"]) for run in found["runs"]] == [("clotho", 3), ("clotho-cl4ac", 3)]
    assert (found["shared"], found["lists_differ"]) == (2, True)
    assert found["metrics"]["cider_d"] == {"a": 2.0, "b": 1.5, "difference": -0.5}


def test_a_corpus_value_is_told_only_where_the_lists_are_equal(first, second, tmp_path):
    bleu = compare(first, second)["metrics"]["bleu_1"]
    assert (bleu["a"], bleu["b"], bleu["difference"]) == (None, None, None) and "not a mean" in bleu["reason"]
    same = experiment(tmp_path / "clotho" / "same", [{"a": 0.0, "b": 0.0, "c": 3.0}], "x", corpus_bleu=0.75)
    found = compare(first, same)
    assert found["lists_differ"] is False and found["shared"] == 3
    assert found["metrics"]["bleu_1"] == {"a": 0.5, "b": 0.75, "difference": 0.25}
    assert found["metrics"]["cider_d"]["difference"] == pytest.approx(1.0 - 10 / 3)


def test_a_metric_that_was_not_computed_keeps_its_reason(first, second):
    spice = compare(first, second)["metrics"]["spice"]
    assert spice["difference"] is None and spice["reason"] == "one: Java is not there.; two: Java is not there."


def test_runs_without_a_shared_clip_are_refused(first, tmp_path):
    other = experiment(tmp_path / "mini" / "three", [{"z": 1.0}], "z")
    with pytest.raises(MismatchError, match=r"share no clip.*3 clips such as 'a'.*1 such as 'z'"):
        compare(first, other)


def test_missing_files_are_named_together(first, second, tmp_path):
    with pytest.raises(EarwitnessError, match=r"(?s)no/metrics\.json does not exist.*nor/metrics\.json does not exist"):
        compare(tmp_path / "no", tmp_path / "nor")
    with pytest.raises(EarwitnessError, match=r"seed-0.metrics\.json is not an experiment's result"):
        compare(first, second / "seed-0")
    (second / "seed-0" / "scores.csv").unlink()
    with pytest.raises(EarwitnessError, match=r"lacks files of its seeds:\n  - .*two/seed-0/scores\.csv"):
        compare(first, second)


def test_seeds_that_scored_other_clips_are_refused(second, tmp_path):
    torn = experiment(tmp_path / "clotho" / "torn", [{"a": 1.0}, {"b": 1.0}], "x")
    with pytest.raises(MismatchError, match="torn were scored on other clips"):
        compare(torn, second)


def test_the_command_says_what_was_compared(first, second, capsys):
    assert main(["compare", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "A: clotho/one, 2 seeds, 3 clips\nB: clotho-cl4ac/two, 1 seed, 3 clips\n" in printed
    assert "shared: 2 clips; the lists of clips differ, so only the shared ones are compared" in printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line}
    assert rows["cider_d"] == ["2.000", "1.500", "-0.500"] and rows["bleu_1"] == ["-", "-", "-"]
    assert "\nbleu_1: not a mean of the clips' values" in printed


def test_the_command_refuses_plainly(first, tmp_path, capsys):
    assert main(["compare", str(first), str(tmp_path / "no")]) == 1
    assert capsys.readouterr().err.startswith("There is no result to compare:")
