"""Clips of videos are fetched with a yt-dlp that only pretends to be one."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from earwitness.errors import EarwitnessError
from earwitness.fetch import videos
from earwitness.fetch.videos import STOP_AFTER, Section, fetch_sections, unavailable

ID = "-a_B3d_f-h_"

# What YouTube is to say of each video is read from a file beside the program; "slow" videos take their time, and for
# "stubborn" ones the program does not end when it is told to.
YT_DLP = """\
#!{python}
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
address = arguments[arguments.index("--") + 1]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(arguments) + chr(10))
said = json.loads((here / "says").read_text()).get(address.removeprefix("https://www.youtube.com/watch?v="), "")
name = arguments[arguments.index("--output") + 1].replace("%(ext)s", arguments[arguments.index("--audio-format") + 1])
if said == "slow":
    pathlib.Path(name + ".part").write_text("half")
    (here / "pid").write_text(str(os.getpid()))
    (here / "pid").rename(here / "slow")
    time.sleep(60)
elif said == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (here / "pid").write_text(str(os.getpid()))
    (here / "pid").rename(here / "slow")
    time.sleep(60)
elif said == "nothing":
    sys.exit(0)
elif said:
    print(said, file=sys.stderr)
    sys.exit(1)
pathlib.Path(name).write_text(address)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a yt-dlp on PATH that says what it is told to; returns its folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("yt-dlp", YT_DLP.format(python=sys.executable)), ("ffmpeg", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "says").write_text("{}")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def says(program, **sayings):
    (program / "says").write_text(json.dumps(sayings))


def calls(program):
    path = program / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def root(tmp_path):
    (tmp_path / "50% of $HOME").mkdir()
    return tmp_path / "50% of $HOME"


def sections(*ids):
    return [Section(youtube_id, 30.0, f"train/Y{youtube_id}.wav") for youtube_id in ids]


def below(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


A, B, C, D = "aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc", "ddddddddddd"


def test_fetch(program, root):
    fetch_sections(root, [*sections(A, B), Section(ID, 12.5, f"test/Y{ID}.wav")], workers=2)
    assert below(root) == [f"test/Y{ID}.wav", f"train/Y{A}.wav", f"train/Y{B}.wav"]
    assert (root / f"test/Y{ID}.wav").read_text() == f"https://www.youtube.com/watch?v={ID}"
    assert {call[call.index("--download-sections") + 1] for call in calls(program)} == {
        "*30.000-40.000",
        "*12.500-22.500",
    }
    assert all(not argument.startswith(ID) for call in calls(program) for argument in call)


GONE = {
    A: "ERROR: [youtube] aaaaaaaaaaa: Video unavailable. This video has been removed by the uploader",
    B: "WARNING: x\nERROR: [youtube] bbbbbbbbbbb: Private video. Sign in if you've been granted access",
    C: "ERROR: Video unavailable\nThe uploader has not made this video available in your country",
}


def test_what_is_gone_is_noted_and_not_asked_for_again(program, root):
    says(program, **GONE)
    fetch_sections(root, sections(A, B, C, D), workers=2)
    assert below(root) == [f"train/Y{D}.wav", "unavailable.json"]
    assert unavailable(root) == {
        A: "Video unavailable. This video has been removed by the uploader",
        B: "Private video. Sign in if you've been granted access",
        C: "Video unavailable The uploader has not made this video available in your country",
    }
    before = len(calls(program))
    fetch_sections(root, sections(A, B, C), workers=2)
    assert len(calls(program)) == before
    (root / "unavailable.json").unlink()
    says(program)
    fetch_sections(root, sections(A, B, C), workers=2)
    assert len(below(root)) == 4


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: [youtube] aaaaaaaaaaa: Sign in to confirm you’re not a bot. Use --cookies-from-browser",
        "ERROR: [youtube] aaaaaaaaaaa: Video unavailable. This content isn't available, try again later. "
        "The current session has been rate-limited by YouTube for up to an hour.",
        "ERROR: unable to download video data: HTTP Error 429: Too Many Requests",
    ],
)
def test_a_request_that_is_turned_down_ends_it_and_is_not_noted(program, root, said):
    ids = [f"{number:011d}" for number in range(20)]
    says(program, **{A: said})
    with pytest.raises(EarwitnessError, match="YouTube turns down") as caught:
        fetch_sections(root, sections(A, *ids), workers=1)
    assert f"{A}: {said.removeprefix('ERROR: ').removeprefix(f'[youtube] {A}: ')}" in str(caught.value)
    assert not (root / "unavailable.json").exists() and len(calls(program)) < 20
    assert re.search(r"\d+ of them", str(caught.value))
    says(program)
    fetch_sections(root, sections(A), workers=1)
    assert f"train/Y{A}.wav" in below(root)


def test_other_failures_are_told_together(program, root):
    says(program, **{A: "ERROR: [youtube] aaaaaaaaaaa: Unable to download API page: timed out", C: "boo"})
    with pytest.raises(EarwitnessError) as caught:
        fetch_sections(root, sections(A, C, D), workers=2)
    message = str(caught.value)
    assert message.startswith("2 of 3 clips ")
    assert f"{A}: Unable to download API page: timed out" in message and f"{C}: boo" in message
    assert "3 runs" in message and f"`unavailable` in {root / 'unavailable.json'}" in message
    assert below(root) == [f"train/Y{D}.wav", "unavailable.json"]


FORMAT = "ERROR: [youtube] aaaaaaaaaaa: Requested format is not available. Use --list-formats"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("nothing", "yt-dlp wrote no file"),
        (FORMAT, "Requested format is not available. Use --list-formats"),
        ("ERROR: This live stream recording is not available.", "This live stream recording is not available."),
    ],
)
@pytest.mark.parametrize("others", [(), (B, C)])
def test_what_is_the_videos_own_is_noted_and_not_asked_for_again(program, root, said, reason, others):
    says(program, **{A: said})
    fetch_sections(root, sections(A, *others), workers=1)
    assert unavailable(root).keys() == {A} and unavailable(root)[A].startswith(reason)
    before = len(calls(program))
    fetch_sections(root, sections(A), workers=1)
    assert len(calls(program)) == before == 1 + len(others)


def test_a_video_that_keeps_failing_is_given_up(program, root):
    says(program, **{A: "boo"})
    for runs in (1, 2):
        with pytest.raises(EarwitnessError, match=f"{A}: boo"):
            fetch_sections(root, [*sections(A), Section(A, 30.0, f"test/Y{A}.wav")], workers=1)
        noted = json.loads((root / "unavailable.json").read_text())
        assert noted["failed"] == {A: {"runs": runs, "reason": "boo"}} and unavailable(root) == {}
    fetch_sections(root, sections(A, B), workers=1)
    assert (
        unavailable(root).keys() == {A}
        and re.fullmatch(r"boo \(.*3 runs\)", unavailable(root)[A])
        and below(root)[0] == f"train/Y{B}.wav"
    )
    assert json.loads((root / "unavailable.json").read_text())["failed"] == {}


def test_failures_of_a_video_that_is_had_in_the_end_are_forgotten(program, root):
    says(program, **{A: "boo"})
    with pytest.raises(EarwitnessError):
        fetch_sections(root, sections(A), workers=1)
    says(program)
    fetch_sections(root, sections(A), workers=1)
    noted = json.loads((root / "unavailable.json").read_text())
    assert noted["failed"] == noted["unavailable"] == {}


@pytest.mark.parametrize(("said", "failing_runs"), [("boo", 3), (FORMAT, 1), ("nothing", 1)])
def test_videos_that_keep_failing_are_given_up_however_many_they_are(program, root, said, failing_runs):
    ids = [f"{number:011d}" for number in range(STOP_AFTER + 5)]
    says(program, **dict.fromkeys(ids, said))
    for _ in range(failing_runs):
        with pytest.raises(EarwitnessError):
            fetch_sections(root, sections(*ids), workers=1)
    fetch_sections(root, sections(*ids), workers=1)
    assert unavailable(root).keys() == set(ids)


def test_a_yt_dlp_that_has_grown_old_makes_no_video_unavailable(program, root):
    ids = [f"{number:011d}" for number in range(STOP_AFTER + 20)]
    says(program, **{**dict.fromkeys(ids, FORMAT), A: GONE[A]})
    for run in (1, 2):
        with pytest.raises(EarwitnessError, match=r"\d+ of them"):
            fetch_sections(root, sections(*ids[:5], A, *ids[5:]), workers=1)
        assert unavailable(root).keys() == {A} and len(calls(program)) == run * STOP_AFTER + 1


def test_when_nothing_succeeds_any_more_it_is_given_up(program, root):
    ids = [f"{number:011d}" for number in range(STOP_AFTER + 20)]
    says(program, **dict.fromkeys(ids, "ERROR: Unable to download webpage: name resolution failed"))
    for _ in range(4):
        with pytest.raises(EarwitnessError, match=f"{len(ids)} of {len(ids)} .* 20 of them") as caught:
            fetch_sections(root, sections(*ids), workers=2)
        assert "out of date?" in str(caught.value)
    assert not (root / "unavailable.json").exists()


def test_a_network_that_is_down_is_no_videos_own(program, root):
    says(program, **{A: "ERROR: [Errno -3] Temporary failure in name resolution"})
    for _ in range(4):
        with pytest.raises(EarwitnessError, match="name resolution"):
            fetch_sections(root, sections(A), workers=1)
    assert below(root) == []


@pytest.mark.parametrize(("missing", "told"), [("yt-dlp", "yt-dlp cannot"), ("ffmpeg", "ffmpeg cannot")])
def test_programs_that_are_missing(program, root, monkeypatch, missing, told):
    (program / missing).unlink()
    monkeypatch.setenv("PATH", str(program))
    with pytest.raises(EarwitnessError, match=told):
        fetch_sections(root, sections(A), workers=1)
    assert below(root) == []


def test_without_anything_to_fetch_no_program_is_needed(root, monkeypatch):
    monkeypatch.setenv("PATH", "")
    fetch_sections(root, [], workers=1)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"unavailable": [1]}',
        '{"unavailable": {"a": 1}}',
        '{"unavailable": {}, "failed": []}',
        '{"unavailable": {}, "failed": {"a": 1}}',
        "{",
    ],
)
def test_a_spoilt_list_of_what_is_gone(root, content):
    (root / "unavailable.json").write_text(content)
    with pytest.raises(EarwitnessError, match=r"unavailable\.json .*Remove it"):
        unavailable(root)


def test_what_a_killed_process_left_is_removed(program, root):
    (root / ".fetching" / "x").mkdir(parents=True)
    fetch_sections(root, sections(A), workers=1)
    assert sorted(path.name for path in root.iterdir()) == ["train"]


def started(program, root):
    """A process that has fetched A and is at B; and yt-dlp's id."""
    code = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from earwitness.fetch import videos
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        videos.GRACE = 1
        sections = [videos.Section(i, 0.0, f"train/Y{{i}}.wav") for i in ({A!r}, {B!r}, {C!r})]
        videos.fetch_sections(Path({str(root)!r}), sections, workers=1)
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 30
    while not (told := (program / "slow").read_text() if (program / "slow").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, int(told)


def is_running(pid):
    """Whether a process is there, and no zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", ["slow", "stubborn"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_half_written_and_nothing_running(program, root, how, number):
    says(program, **{B: how})
    process, yt_dlp = started(program, root)
    try:
        process.send_signal(number)
        told = process.communicate(timeout=30)[1]
        assert b"KeyboardInterrupt" in told if number == signal.SIGINT else process.returncode == 128 + number
        assert not is_running(yt_dlp)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(yt_dlp, signal.SIGKILL)
    assert sorted(Path(root).iterdir()) == [root / "train"] and below(root) == [f"train/Y{A}.wav"]


def test_the_handler_of_sigterm_is_as_before(program, root):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGTERM)
        fetch_sections(root, sections(A), workers=1)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_it_is_fetched_all_the_same(program, root):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fetch_sections, root, sections(A), 1).result()
    assert below(root) == [f"train/Y{A}.wav"]


@pytest.mark.parametrize("how", ["slow", "stubborn"])
def test_a_download_that_stalls_is_ended_and_is_a_failure_of_the_video(program, root, monkeypatch, how):
    monkeypatch.setattr(videos, "STALLED_AFTER", 1)
    monkeypatch.setattr(videos, "GRACE", 0.5)
    says(program, **{A: how})
    with pytest.raises(EarwitnessError, match=f"1 of 2 .*\n.*{A}: .* 1 s "):
        fetch_sections(root, sections(A, B), workers=1)
    assert below(root) == [f"train/Y{B}.wav", "unavailable.json"]
    assert not is_running((program / "slow").read_text())
