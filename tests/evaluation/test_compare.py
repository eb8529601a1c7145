"""Two experiments compared over the clips that both have, from results made by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from earwitness.cli.main import main
from earwitness.corpora.tables import CAPTIONS, CLIPS, write_rows
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.compare import compare, paired_difference, read_run
from earwitness.evaluation.scores import write_scores
from earwitness.files import sha256
from earwitness.metrics import bootstrap
from earwitness.metrics.statistics import Sums, mean_of

NOT_TOLD = {"value": None, "reason": "Java is not there."}


def experiment(folder, per_seed, ids_sha256, corpus_bleu=0.5):
    """An experiment whose seeds gave each clip a CIDEr-D: a list of clip -> score."""
    result = {"dataset": folder.parent.name, "experiment": folder.name, "seeds": list(range(len(per_seed)))}
    metrics = {"bleu_1": {"value": corpus_bleu}, "cider_d": {"value": 9.0}, "spice": NOT_TOLD}
    for seed, scores in enumerate(per_seed):
        below = folder / f"seed-{seed}" / "captioning"
        below.mkdir(parents=True)
        columns = {"clip_id": list(scores), "caption": ["NA"] * len(scores)}
        table = pd.DataFrame(columns | {"bleu_1": [0.1] * len(scores), "cider_d": list(scores.values())})
        table.to_csv(below / "scores.csv", index=False)
        (below / "metrics.json").write_text(json.dumps({"metrics": metrics}), encoding="utf-8")
    result |= {"schema": 2, "metrics": metrics, "counts": {"ids_sha256": ids_sha256}}
    result |= {"kinds": {"captioning": {"metrics": list(metrics), "counts": {}}}}
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
    for path in folder.glob("*/seed-*/captioning/metrics.json"):
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
    assert [(run["name"], run["clips"]) for run in found["runs"]] == [("clotho/one", 3), ("clotho-cl4ac/two", 3)]
    assert (found["shared"], found["lists_differ"]) == (2, True)
    cider_d = found["metrics"]["cider_d"]
    assert (cider_d["a"], cider_d["b"], cider_d["difference"]) == (2.0, 1.5, -0.5)
    # Clip a moves from 2 to 2, clip b from 2 to 1: draws of two clips differ by 0, -0.5 or -1.
    assert (cider_d["ci95"], cider_d["p_value"]) == ([-1.0, 0.0], 1.0)


def test_a_corpus_value_is_told_only_where_the_lists_are_equal(first, second, tmp_path):
    bleu = compare(first, second)["metrics"]["bleu_1"]
    assert (bleu["a"], bleu["b"], bleu["difference"]) == (None, None, None)
    assert "statistics" in bleu["reason"]
    same = experiment(tmp_path / "clotho" / "same", [{"a": 0.0, "b": 0.0, "c": 3.0}], "x", corpus_bleu=0.75)
    found = compare(first, same)
    assert found["lists_differ"] is False and found["shared"] == 3
    bleu = found["metrics"]["bleu_1"]
    assert (bleu["a"], bleu["b"], bleu["difference"], bleu["ci95"]) == (0.5, 0.75, 0.25, None)
    assert found["metrics"]["cider_d"]["difference"] == pytest.approx(1.0 - 10 / 3)


def test_a_metric_that_was_not_computed_keeps_its_reason(first, second):
    spice = compare(first, second)["metrics"]["spice"]
    assert spice["difference"] is None and spice["reason"] == ("Java is not there.")


def test_runs_without_a_shared_clip_are_refused(first, tmp_path):
    other = experiment(tmp_path / "mini" / "three", [{"z": 1.0}], "z")
    with pytest.raises(MismatchError, match=r"clotho/one .*mini/three .*\b3 .*'a'.*\b1 .*'z'"):
        compare(first, other)


def test_missing_files_are_named_together(first, second, tmp_path):
    with pytest.raises(EarwitnessError, match=r"(?s)/no/metrics\.json.*/nor/metrics\.json"):
        compare(tmp_path / "no", tmp_path / "nor")
    scores = (second / "seed-0" / "captioning" / "metrics.json").read_text()
    (second / "seed-0" / "captioning" / "metrics.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"seed-0.captioning.metrics\.json"):
        compare(first, second)
    (second / "seed-0" / "captioning" / "metrics.json").write_text(scores, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.json").write_text("[]", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"empty.metrics\.json"):
        compare(first, tmp_path / "empty")
    (second / "seed-0" / "captioning" / "scores.csv").unlink()
    with pytest.raises(EarwitnessError, match=r"two/seed-0/captioning/scores\.csv"):
        compare(first, second)


def test_seeds_that_scored_other_clips_are_refused(second, tmp_path):
    torn = experiment(tmp_path / "clotho" / "torn", [{"a": 1.0}, {"b": 1.0}], "x")
    with pytest.raises(MismatchError, match=r"torn .*clips"):
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
    assert "\nreferences differ" in printed and "\n1 of the shared clips" in printed
    (second.parent / "corpus" / "captions.csv").unlink()
    (second.parent / "corpus" / "clips.csv").unlink()
    found = compare(first, second)
    assert (found["references_differ"], found["audio_differs"]) == (True, None)
    main(["compare", str(first), str(second)])
    assert "corpus/clips.csv" in capsys.readouterr().out


def test_references_that_changed_within_one_data_set_are_told(first, tmp_path):
    corpus(first.parent, {"a": "1"}, {"a": ["Rain."]})
    same = experiment(tmp_path / "clotho" / "same", [{"a": 0.0, "b": 0.0, "c": 3.0}], "x")
    assert (compare(first, same)["references_differ"], compare(first, same)["audio_differs"]) == (False, 0)
    path = same / "seed-0" / "captioning" / "metrics.json"
    scores = json.loads(path.read_text()) | {"provenance": {"inputs": {"references": "of before"}}}
    path.write_text(json.dumps(scores), encoding="utf-8")
    assert compare(first, same)["references_differ"] is True


def test_a_run_that_heard_its_evaluation_clips_is_marked(first, second, capsys):
    path = second / "metrics.json"
    mark = {"list": "own", "kind": "name", "by": ["name"], "clips": 2, "of": 3}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"leaks": [mark]}), encoding="utf-8")
    assert main(["compare", str(first), str(second)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["A", "B", "*", "B", "-", "A", "95", "%", "interval", "p"] in [line.split() for line in lines]
    assert lines[-1].startswith("* B: 2 of 3 evaluation clips") and all(word in lines[-1] for word in ("own", "(name)"))


def test_the_command_says_what_was_compared(first, second, capsys):
    assert main(["compare", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert "A: clotho/one, 2 seeds, 3 clips\nB: clotho-cl4ac/two, 1 seed, 3 clips\n" in printed
    assert "\nshared: 2 clips; " in printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line}
    assert rows["cider_d"] == ["2.000", "1.500", "-0.500", "-1.000", "to", "+0.000", "1.0000"]
    assert rows["bleu_1"] == ["-"] * 5
    assert "\nbleu_1: " in printed and "not of training seeds" in printed
    assert " in cider_d:\n  b: 2.000 to 1.000 (-1.000)\n    A: NA\n    B: NA\n" in printed


def test_the_command_refuses_plainly(first, tmp_path, capsys):
    assert main(["compare", str(first), str(tmp_path / "no")]) == 1
    printed = capsys.readouterr().err
    assert f"- {tmp_path / 'no' / 'metrics.json'}" in printed and "clotho/one" not in printed


def scored(folder, bleu, scores):
    """A folder as ``earwitness score --out`` leaves it: clip -> matched words of five, clip -> score."""
    counts = np.array([[matched, 0, 0, 0, 5, 0, 0, 0, 5, 5] for matched in bleu.values()], dtype=float)
    values = np.array(list(scores.values()))
    statistics = {"bleu_1": Sums("bleu_1", counts), "cider_d": mean_of(values)}
    metrics = {name: {"value": bootstrap.value([statistic])} for name, statistic in statistics.items()}
    by_clip = {"bleu_1": counts[:, 0] / 5, "cider_d": values}
    write_scores(folder, SimpleNamespace(metrics=metrics, by_clip=by_clip, statistics=statistics, ids=list(scores)))
    return folder


def test_what_is_no_mean_is_compared_on_the_shared_clips(tmp_path):
    a = scored(tmp_path / "a", {"x": 5, "y": 1, "z": 0}, {"x": 1.0, "y": 2.0, "z": 0.0})
    b = scored(tmp_path / "b", {"w": 5, "y": 2, "x": 2}, {"w": 9.0, "y": 2.5, "x": 1.0})
    found = compare(a, b)
    assert (found["shared"], found["lists_differ"], found["audio_differs"]) == (2, True, None)
    bleu = found["metrics"]["bleu_1"]
    assert (bleu["a"], bleu["b"], bleu["difference"]) == pytest.approx((0.6, 0.4, -0.2))
    assert bleu["ci95"] == pytest.approx([-0.6, 0.2]) and 0 < bleu["p_value"] <= 1
    assert found["moved"]["metric"] == "cider_d"
    assert found["moved"]["clips"] == [{"clip_id": "y", "a": 2.0, "b": 2.5, "captions": [None, None]}]
    assert [clip["clip_id"] for clip in compare(a, b, "bleu_1")["moved"]["clips"]] == ["x", "y"]
    with pytest.raises(EarwitnessError, match=r"'spice'.*: bleu_1, cider_d\."):
        compare(a, b, "spice")


def test_a_paired_difference_does_not_depend_on_the_order_of_clips(tmp_path):
    a = read_run(scored(tmp_path / "a", {"x": 5, "y": 1, "z": 0}, {"x": 1.0, "y": 2.0, "z": 0.0})).first
    b = read_run(scored(tmp_path / "b", {"z": 1, "y": 2, "x": 2}, {"z": 0.5, "y": 2.0, "x": 1.0})).first
    found = paired_difference("cider_d", a, b)
    assert found["difference"] == pytest.approx(0.5 / 3) and found["ci95"][0] == 0
    assert found == compare(tmp_path / "a", tmp_path / "b")["metrics"]["cider_d"]
    assert paired_difference("spice", a, b) is None


def test_the_means_of_a_foreign_table_are_compared_and_nothing_else(tmp_path, capsys):
    ours = scored(tmp_path / "ours", {"1": 5, "2": 1}, {"1": 1.0, "2": 2.0})
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("file,bleu_1,cider_d,note\n2,0.5,2.5,good\n1,0.5,1.5,\n3,1,0.1,bad\n", encoding="utf-8")
    found = compare(ours, theirs)
    assert (found["shared"], found["lists_differ"]) == (2, True)
    assert found["metrics"]["cider_d"]["difference"] == 0.5 and found["metrics"]["cider_d"]["ci95"] == [0.5, 0.5]
    bleu = found["metrics"]["bleu_1"]
    assert (bleu["a"], bleu["b"], bleu["difference"]) == (pytest.approx(0.6), None, None)
    assert "theirs.csv: not a mean" in bleu["reason"]
    assert "note" not in found["metrics"]
    assert main(["compare", str(ours), str(theirs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clip,cider_d\n", r"table\.csv .*no row"),
        ("clip,cider_d\na,1\na,2\nb,1\n", r"table\.csv .*\n  - clip 'a' has 2 rows$"),
        ("clip,note\na,good\n", r"table\.csv .*: clip, note\."),
        ("clip,cider_d\na,1\nb,1,2,3\n", r"table\.csv .*comma-separated"),
        ("", r"table\.csv .*comma-separated"),
    ],
)
def test_a_table_that_holds_no_scores_is_refused(first, tmp_path, content, message):
    (tmp_path / "table.csv").write_text(content, encoding="utf-8")
    with pytest.raises(EarwitnessError, match=message):
        compare(first, tmp_path / "table.csv")
