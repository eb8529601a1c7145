"""Two experiments compared over the clips that both have, from results made by hand."""

import json

import pandas as pd
import pytest

from earwitness.cli import main
from earwitness.compare import compare
from earwitness.corpora.tables import CAPTIONS, CLIPS, write_rows
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.files import sha256

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


def corpus(folder, digests, captions):
    """The tables of a data set, and what its seeds say of them: clip -> digest, clip -> captions."""
    rows = [(clip_id, "evaluation", clip_id, "name", 1.0, 8000, 1, digest) for clip_id, digest in digests.items()]
    write_rows(folder / "corpus" / "clips.csv", CLIPS, rows)
    texts = [
        (f"{clip_id}#{n}", clip_id, text) for clip_id, texts in captions.items() for n, text in enumerate(texts, 1)
    ]
    write_rows(folder / "corpus" / "captions.csv", CAPTIONS, texts)
    for path in folder.glob("*/seed-*/metrics.json"):
        inputs = {"references": sha256(folder / "corpus" / "captions.csv")}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"provenance": {"inputs": inputs}}), encoding="utf-8")


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
    scores = (second / "seed-0" / "metrics.json").read_text()
    (second / "seed-0" / "metrics.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"seed-0.metrics\.json holds no scores; remove it"):
        compare(first, second)
    (second / "seed-0" / "metrics.json").write_text(scores, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"empty.metrics\.json is not an experiment's result"):
        compare(first, tmp_path / "empty")
    (second / "seed-0" / "scores.csv").unlink()
    with pytest.raises(EarwitnessError, match=r"lacks files of its seeds:\n  - .*two/seed-0/scores\.csv"):
        compare(first, second)


def test_seeds_that_scored_other_clips_are_refused(second, tmp_path):
    torn = experiment(tmp_path / "clotho" / "torn", [{"a": 1.0}, {"b": 1.0}], "x")
    with pytest.raises(MismatchError, match="torn were scored on other clips"):
        compare(torn, second)


def test_other_audio_and_other_references_are_told(first, second, capsys):
    same = {"a": ["Rain.", "Water."], "b": ["A dog."]}
    corpus(first.parent, {"a": "1", "b": "2", "c": "3"}, same | {"c": ["Wind."]})
    corpus(second.parent, {"d": "4", "b": "2", "a": "1"}, {"d": ["Birds."], "b": ["A dog."], "a": ["Water.", "Rain."]})
    found = compare(first, second)
    assert (found["references_differ"], found["audio_differs"]) == (False, 0)
    corpus(second.parent, {"d": "4", "b": "5", "a": "1"}, same | {"b": ["A wolf."]})
    found = compare(first, second)
    assert (found["references_differ"], found["audio_differs"]) == (True, 1)
    assert main(["compare", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "\ntheir references differ: the two were scored against other captions\n" in printed
    assert "\n1 of the shared clips are other recordings in the two data sets\n" in printed
    (second.parent / "corpus" / "captions.csv").unlink()
    (second.parent / "corpus" / "clips.csv").unlink()
    found = compare(first, second)
    assert (found["references_differ"], found["audio_differs"]) == (True, None)
    main(["compare", str(first), str(second)])
    assert "whether the recordings are the same could not be checked" in capsys.readouterr().out


def test_references_that_changed_within_one_data_set_are_told(first, tmp_path):
    corpus(first.parent, {"a": "1"}, {"a": ["Rain."]})
    same = experiment(tmp_path / "clotho" / "same", [{"a": 0.0, "b": 0.0, "c": 3.0}], "x")
    assert (compare(first, same)["references_differ"], compare(first, same)["audio_differs"]) == (False, 0)
    path = same / "seed-0" / "metrics.json"
    scores = json.loads(path.read_text()) | {"provenance": {"inputs": {"references": "of before"}}}
    path.write_text(json.dumps(scores), encoding="utf-8")
    assert compare(first, same)["references_differ"] is True


def test_a_run_that_heard_its_evaluation_clips_is_marked(first, second, capsys):
    path = second / "metrics.json"
    mark = {"list": "own", "kind": "name", "by": ["name"], "clips": 2, "of": 3}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"leaks": [mark]}), encoding="utf-8")
    assert main(["compare", str(first), str(second)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["A", "B", "*", "B", "-", "A"] in [line.split() for line in lines]
    assert lines[-1] == "* B: 2 of 3 evaluation clips are in own, which it was trained on (name)"


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
