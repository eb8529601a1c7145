"""Results in the terminal."""

import json

import pytest

from earwitness.cli import main
from earwitness.report.terminal import table

NONE = {"list": "development", "kind": "split", "by": [], "clips": 0, "of": 100}
LEAK = {"list": "validation", "kind": "split", "by": ["sha256"], "clips": 3, "of": 100}
UNTOLD = {"list": "own", "kind": "name", "by": [], "clips": None, "of": 100, "reason": "the list is not there"}


def result(name, **more):
    metrics = {"cider_d": {"value": 0.25}, "spice": {"value": None, "reason": "Java is not there."}}
    return {"experiment": name, "metrics": metrics, **more}


@pytest.mark.parametrize("more", [{}, {"leaks": []}, {"leaks": [NONE]}])
def test_without_a_leak_nothing_is_marked(more):
    assert table([result("one", **more)]).splitlines() == [
        "     cider_d  spice",
        "one    0.250      -",
        "spice: Java is not there.",
    ]


def test_leaks_have_a_footnote():
    lines = table([result("one", leaks=[NONE, LEAK, UNTOLD]), result("two")]).splitlines()
    assert lines[1].startswith("one *  ") and lines[2].startswith("two    ")
    told = "3 of 100 evaluation clips are in validation, by which its weights were chosen (the same audio)"
    assert lines[4] == f"* one: {told}"
    untold = "whether evaluation clips are in own, which it was trained on, could not be checked: the list is not there"
    assert lines[5:] == [f"one: {untold}"]


def test_show_prints_the_footnote(tmp_path, capsys):
    path = tmp_path / "clotho" / "one" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result("one", leaks=[LEAK])), encoding="utf-8")
    assert main(["--results", str(tmp_path), "show", "clotho"]) == 0
    assert "\n* one: 3 of 100 evaluation clips are in validation" in capsys.readouterr().out


def test_what_was_found_in_a_data_set_is_printed_again(tmp_path, capsys, monkeypatch):
    path = tmp_path / "clotho" / "corpus" / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"clips": 3}', encoding="utf-8")
    monkeypatch.setattr("earwitness.corpora.report.table", lambda report: f"{report['clips']} clips")
    assert main(["--results", str(tmp_path), "corpus", "clotho"]) == 0
    assert capsys.readouterr().out == "3 clips\n"
    assert main(["--results", str(tmp_path), "corpus", "cloto"]) == 1
    assert "did you mean 'clotho'?" in capsys.readouterr().err
