"""The command line: what it loads before a command runs, and that its help states the library's defaults."""

import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import pytest

from earwitness import __version__
from earwitness.cli import doctor, score
from earwitness.cli.main import main
from earwitness.doctor.asked import DEMO
from earwitness.evaluation.readers.grounding import GroundingFiles
from earwitness.evaluation.readers.ids import MATCHES
from earwitness.features.external_options import KEY_KINDS

LOADED = {"earwitness", "earwitness.errors", "earwitness.cli"}
LOADED |= {f"earwitness.cli.{name}" for name in ("main", "doctor", "results", "score", "tracking")}


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_the_parser_alone(argument):
    code = (
        "import sys; before = set(sys.modules)\n"
        "from earwitness.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names} == LOADED


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", score.KINDS)
def test_the_help_of_score_states_the_defaults_of_the_library(capsys, kind):
    files = getattr(import_module(f"earwitness.evaluation.readers.{kind}"), score.KINDS[kind][1])
    defaults = {field.name: field.default for field in fields(files)}
    if kind == "grounding":
        settings = GroundingFiles("p", "r").settings()
        defaults |= {"threshold": settings.threshold, "silent": settings.silent, "collar": settings.t_collar}
        defaults |= {"offset_share": settings.percentage_of_length, "segment": settings.time_resolution}
        defaults |= {"grid": settings.grid}
    described = help_of(capsys, "score", kind).partition("options:")[2]
    stated = re.findall(r"--([a-z-]+) (?:(?!--).)*?\(default: ([^,\s)]+)", described)
    stated = {option.replace("-", "_"): value for option, value in stated}
    stated = {option: value for option, value in stated.items() if option not in ("spice_cache", "hop")}
    assert {option: str(defaults[option]) for option in stated} == {
        option: str(float(value)) if isinstance(defaults[option], float) else value for option, value in stated.items()
    }
    assert (
        stated.keys()
        >= {
            "captions": {"spice_jars", "spice_minutes", "sentence_model", "fluency_model", "match"},
            "retrieval": {"ties", "match"},
            "grounding": {"threshold", "silent", "collar", "offset_share", "segment", "match"},
        }[kind]
    )


@pytest.mark.parametrize("kind", score.KINDS)
def test_each_argument_of_score_is_a_field(capsys, kind):
    files = getattr(import_module(f"earwitness.evaluation.readers.{kind}"), score.KINDS[kind][1])
    described = help_of(capsys, "score", kind)
    options = {name.replace("-", "_") for name in re.findall(r"\[--([a-z-]+)", described)} - {"out", "json", "help"}
    arguments = {name.lower() for name in re.findall(r"\s\[?([A-Z]+)\]?(?= )", described.partition("Score")[0])}
    assert {field.name for field in fields(files)} == options | (arguments & {field.name for field in fields(files)})


def test_choices_are_those_of_the_library(capsys):
    assert "--match {" + ",".join(MATCHES) + "}" in help_of(capsys, "score", "captions")
    assert "--keys {" + ",".join(("auto", *KEY_KINDS)) + "}" in help_of(capsys, "export")
    assert doctor.DEMO == DEMO


@pytest.mark.parametrize("command", ["show", "compare", "corpus", "export", "doctor", "score", "publish", "ui"])
def test_each_command_has_help(capsys, command):
    assert help_of(capsys, command).startswith(f"usage: earwitness {command} ")
