"""The command line: what it loads before a command runs, and that its help states the library's defaults."""

import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from importlib import import_module

import pytest

from earwitness import __version__
from earwitness.cli import completion, doctor, score
from earwitness.cli.main import main, parser
from earwitness.doctor.asked import DEMO
from earwitness.evaluation.readers.grounding import GroundingFiles
from earwitness.evaluation.readers.ids import MATCHES
from earwitness.evaluation.readers.matrices import ARRAYS
from earwitness.evaluation.readers.tables import EXTENSIONS
from earwitness.features.external_options import KEY_KINDS

LOADED = {"earwitness", "earwitness.errors", "earwitness.cli", "earwitness.cli.tracking"}
LOADED |= {
    f"earwitness.cli.{name}"
    for name in (
        "main",
        "parser",
        "models",
        "caption",
        "completion",
        "doctor",
        "ground",
        "register",
        "results",
        "score",
        "search",
    )
}


COMMANDS = ["show", "compare", "corpus", "cite", "export", "doctor", "score", "index", "search", "ground"]
COMMANDS += ["pictures", "caption", "publish", "ui", "register", "completion"]


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
            "moments": {"protocol", "match"},
        }[kind]
    )


@pytest.mark.parametrize("kind", score.KINDS)
def test_each_argument_of_score_is_a_field(capsys, kind):
    files = getattr(import_module(f"earwitness.evaluation.readers.{kind}"), score.KINDS[kind][1])
    described = help_of(capsys, "score", kind)
    options = {name.replace("-", "_") for name in re.findall(r"\[--([a-z-]+)", described)} - {"out", "json", "help"}
    arguments = {name.lower() for name in re.findall(r"\s\[?([A-Z]+)\]?(?= )", described.partition("Score")[0])}
    assert {field.name for field in fields(files)} == options | (arguments & {field.name for field in fields(files)})


def test_help_names_all_formats(capsys):
    for kind in score.KINDS:
        endings = set(re.findall(r"\.[a-z0-9]+(?=[ ;.])", help_of(capsys, "score", kind).partition("Tables:")[2]))
        assert endings == {*EXTENSIONS, *ARRAYS}


def refused(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["shwo", "mini"], "show"),
        (["scores"], "score"),
        (["score", "caption", "a", "b"], "captions"),
        (["score", "retreival", "a"], "retrieval"),
        (["show", "mini", "--reslts", "x"], "--results"),
        (["score", "captions", "a", "b", "--mach=stem"], "--match"),
        (["score", "captions", "a", "b", "--match", "stm"], "stem"),
        (["compare", "a", "b", "--metrics", "x", "c"], "--metric"),
        (["completion", "bsh"], "bash"),
    ],
)
def test_misspelt_words_are_answered_with_what_was_meant(capsys, words, meant):
    told = refused(capsys, *words)
    assert re.search(rf"did you mean .*'{meant}'", told) and "--help" in told


def test_global_options_stand_before_or_after_the_command(capsys, tmp_path):
    for words in (["--results", str(tmp_path), "show", "mini"], ["show", "mini", "--results", str(tmp_path)]):
        assert main(words) == 1
        told = capsys.readouterr().err
        assert str(tmp_path) in told and f"{tmp_path}/mini/comparison.html" not in told  # rules make results/ only
    parsed = parser().parse_args(["--results", "a", "score", "captions", "x", "y"])
    assert str(parsed.results) == "a" and str(parser().parse_args(["publish"]).results) == "results"
    assert "--results" in help_of(capsys, "corpus") and "--results" not in help_of(capsys, "compare")
    with pytest.raises(SystemExit):
        main(["score", "captions", "--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_the_package_can_be_run(tmp_path):
    done = subprocess.run([sys.executable, "-m", "earwitness", "shwo"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("earwitness: ") and "'show'" in done.stderr


@pytest.mark.parametrize(("command", "file"), [("show", "comparison.html"), ("corpus", "corpus/report.json")])
def test_before_any_run_the_commands_say_what_to_type(capsys, tmp_path, monkeypatch, command, file):
    monkeypatch.chdir(tmp_path)
    for words, name in (([command], "mini"), ([command, "clotho"], "clotho")):
        assert main(words) == 1
        told = capsys.readouterr().err
        assert f"snakemake --cores all results/{name}/{file}" in told and f"earwitness {command} {name}" in told
    for name in ("mini", "clotho"):
        made = tmp_path / "results" / name / ("corpus/report.json" if command == "corpus" else "e/metrics.json")
        made.parent.mkdir(parents=True)
        made.write_text("{}")
    for words in ([command], [command, "minni"], [command, "results/minni"]):
        assert main(words) == 1
        assert "mini" in capsys.readouterr().err
    assert main([command, "minni"]) == 1
    assert re.search(r"did you mean 'mini'\? `snakemake", capsys.readouterr().err)


def completed(script, *words):
    """What bash completes at the last of the words."""
    ask = "COMP_WORDS=(" + " ".join(f"'{word}'" for word in words) + f"); COMP_CWORD={len(words) - 1}; _earwitness"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_values(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert set(completed(script, "earwitness", "")) == {*COMMANDS, "--help", "--results", "--version"}
    assert completed(script, "earwitness", "--results", "x", "sc") == ["score"]
    assert completed(script, "earwitness", "score", "c") == ["captions"]
    assert set(completed(script, "earwitness", "score", "captions", "a", "--m")) == {"--match"}
    assert completed(script, "earwitness", "score", "captions", "a", "--match", "s") == ["stem"]
    assert completed(script, "earwitness", "score", "captions", "--out", "s") == []  # files, which bash knows
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.endswith(script.partition("\n")[2])


def test_choices_are_those_of_the_library(capsys):
    assert "--match {" + ",".join(MATCHES) + "}" in help_of(capsys, "score", "captions")
    assert "--keys {" + ",".join(("auto", *KEY_KINDS)) + "}" in help_of(capsys, "export")
    assert doctor.DEMO == DEMO


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(capsys, command):
    assert help_of(capsys, command).startswith(f"usage: earwitness {command} ")


def run_signalled(number):
    """The exit code of a command that a signal meets twice, the second time while it cleans up."""

    def work(options):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completion, "_completion", work)
        return main(["completion", "bash"])


@pytest.fixture
def handled(request):
    """SIGTERM and SIGHUP handled as asked, whatever runs the tests."""
    before = {number: signal.signal(number, request.param) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield request.param
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("handled", [signal.SIG_DFL], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_command_as_ctrl_c_does(handled, number, capsys):
    assert run_signalled(number) == 128 + number
    assert capsys.readouterr().err.count("Interrupted") == 1
    assert {signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)} == {handled}


@pytest.mark.parametrize("handled", [signal.SIG_IGN, lambda *_: None], indirect=True)
def test_signals_that_are_ignored_or_handled_stay_so(handled):
    assert run_signalled(signal.SIGHUP) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == handled


def test_commands_run_in_any_thread(capsys):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["completion", "bash"]).result() == 0
