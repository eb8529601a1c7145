"""Results in the terminal."""

import json

import numpy as np
import pytest
import soundfile

from earwitness.cli.main import main
from earwitness.corpora.layouts.folder import Folder, FolderOptions
from earwitness.corpora.stage import build
from earwitness.errors import MismatchError
from earwitness.evaluation.interface import Baseline
from earwitness.evaluation.result import split_counts
from earwitness.report.terminal import experiments_of, table

NONE = {"list": "development", "kind": "split", "by": [], "clips": 0, "of": 100}
LEAK = {"list": "validation", "kind": "split", "by": ["sha256"], "clips": 3, "of": 100}
UNCHECKED = {"list": "own", "kind": "name", "by": [], "clips": None, "of": 100, "reason": "the list is not there"}


def result(name, **more):
    metrics = {"cider_d": {"value": 0.25}, "spice": {"value": None, "reason": "Java is not there."}}
    return {"dataset": "clotho", "experiment": name, "seeds": [0], "metrics": metrics, "counts": {}} | {
        "schema": 2,
        **more,
    }


@pytest.mark.parametrize("more", [{}, {"leaks": []}, {"leaks": [NONE]}])
def test_without_a_leak_nothing_is_marked(more):
    assert table([result("one", **more)]).splitlines() == [
        "           one",
        "cider_d  0.250",
        "spice        -",
        "spice: Java is not there.",
    ]


def test_tables_of_relevant_clips_are_said():
    lines = table([result("one", counts={"relevant_pairs": 7}), result("two")]).splitlines()
    assert lines[-1].startswith("one: ") and "7 pairs" in lines[-1]


def test_leaks_have_a_footnote():
    lines = table([result("one", leaks=[NONE, LEAK, UNCHECKED]), result("two")]).splitlines()
    assert lines[0].split() == ["one", "*", "two"] and lines[1].split() == ["cider_d", "0.250", "0.250"]
    assert lines[4].startswith("* one: 3 of 100 evaluation clips are in validation, ")
    assert lines[4].endswith(" (the same audio)")
    (unchecked,) = lines[5:]
    assert unchecked.startswith("one: ") and " in own, " in unchecked and unchecked.endswith(": the list is not there")


def test_features_of_random_weights_have_a_footnote():
    lines = table([result("one"), result("two", untrained=["cnn14-untrained"])]).splitlines()
    assert lines[0].split() == ["one", "two", "*"]
    assert lines[-1].startswith("* two: ") and all(word in lines[-1] for word in ("cnn14-untrained", "random weights"))


def test_metrics_on_validation_clips_are_a_row():
    kinds = {"captioning": {"chosen": [{"validation_cider_d": 0.25, "tau": 0.01}, {"validation_cider_d": 0.75}]}}
    lines = table([result("one", kinds=kinds), result("two")], [Baseline("constant", "c", {})]).splitlines()
    assert lines[3].split() == ["validation_cider_d", "0.500"] and "tau" not in "\n".join(lines)


def test_remarks_on_training_data_have_a_footnote():
    lines = table([result("one", remarks=["the weights of clap"]), result("two")]).splitlines()
    assert lines[0].split() == ["one", "*", "two"] and lines[-1] == "* one: the weights of clap"


def test_show_prints_the_footnote(tmp_path, capsys):
    path = tmp_path / "clotho" / "one" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result("one", leaks=[LEAK])), encoding="utf-8")
    assert main(["--results", str(tmp_path), "show", "clotho"]) == 0
    assert "\n* one: 3 of 100 evaluation clips" in capsys.readouterr().out


def test_a_file_that_is_no_result_is_refused(tmp_path, capsys):
    path = tmp_path / "clotho" / "one" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]", encoding="utf-8")
    assert main(["--results", str(tmp_path), "show", "clotho"]) == 1
    assert str(path) in capsys.readouterr().err
    path.write_text(json.dumps(result("one")), encoding="utf-8")
    assert [found["experiment"] for found in experiments_of(tmp_path / "clotho")] == ["one"]


def test_a_result_of_an_earlier_version_is_refused(tmp_path, capsys):
    path = tmp_path / "clotho" / "one" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result("one", schema=1)), encoding="utf-8")
    assert main(["--results", str(tmp_path), "show", "clotho"]) == 1
    printed = capsys.readouterr().err
    assert str(path) in printed and "schema 1" in printed and "2 is needed" in printed


def test_baselines_are_columns_of_the_metrics_that_they_have():
    baselines = [
        Baseline("chance", "", "", {"t2a_r1": {"value": 0.1}}),
        Baseline("c", "", "", {"cider_d": {"value": 1}}),
    ]
    assert table([result("one")], baselines).splitlines()[:2] == ["           one      c", "cider_d  0.250  1.000"]


@pytest.fixture
def corpus(tmp_path):
    """The corpus of a folder with one recording, as the stage makes it."""
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "rain.wav", 0.1 * np.sin(np.arange(8000)), 8000)
    options = FolderOptions(layout="folder", audio=str(data))
    build(Folder(options), options, data, tmp_path / "results" / "mine" / "corpus", workers=1)
    return tmp_path / "results" / "mine" / "corpus"


def test_what_was_found_in_a_data_set_is_printed_again(corpus, capsys):
    results = str(corpus.parents[1])
    assert main(["--results", results, "corpus", "mine"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("split ") and printed[1].split()[:3] == ["evaluation", "1", "1"]
    assert len(printed) == 5 and "evaluation" in printed[2] and printed[3] == "clips by sample rate: 1 at 8000 Hz"
    assert printed[4].startswith("evaluation clips last 1.00 to 1.00 s")
    assert main(["--results", results, "corpus", "mind"]) == 1
    assert "did you mean 'mine'?" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['{"schema": 1, "clips": {"evaluation": {"found": 3}}}', "[]"])
def test_a_report_of_another_version_is_refused(corpus, capsys, content):
    assert split_counts(corpus)["clips_found"] == 1
    path = corpus / "report.json"
    path.write_text(content, encoding="utf-8")
    assert main(["--results", str(corpus.parents[1]), "corpus", "mine"]) == 1
    assert f"snakemake --cores 8 {path}" in capsys.readouterr().err
    with pytest.raises(MismatchError, match=r"report\.json"):
        split_counts(corpus)
