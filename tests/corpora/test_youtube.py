"""Naming habits of clips from YouTube, and fetching them with a yt-dlp that only pretends to be one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from earwitness.corpora.paths import Match
from earwitness.corpora.youtube import (
    STOP_AFTER,
    Cut,
    Section,
    Wanted,
    cut_of,
    fetch_sections,
    find,
    is_youtube_id,
    names_split,
    unavailable,
)
from earwitness.errors import EarwitnessError

ID = "-a_B3d_f-h_"
ODD = ["_30_40_50_6", "YYYYYYYYYYY", "Y_1234567_8", "-----------", "1_2_3_4_5_6"]


@pytest.mark.parametrize("youtube_id", [ID, *ODD])
@pytest.mark.parametrize("prefix", ["", "Y"])
@pytest.mark.parametrize("times", [(), ("30",), ("30", "40"), ("30.000", "40.000"), ("30000", "40000")])
@pytest.mark.parametrize("ending", [".wav", ".FLAC", ".m4a", ""])
def test_a_name_is_read_in_one_way(youtube_id, prefix, times, ending):
    name = "_".join([prefix + youtube_id, *times]) + ending
    assert cut_of(f"some/folder_30/{name}") == Cut(youtube_id, prefix, *times)


@pytest.mark.parametrize("name", ["rain.wav", f"{ID}x.wav", f"X{ID}.wav", f"{ID}_.wav", f"{ID}_1_2_3.wav", ""])
def test_a_name_without_an_id(name):
    assert cut_of(name) is None


@pytest.mark.parametrize(
    ("text", "expected"), [(ID, True), (f"Y{ID}", False), ("short", False), ("", False), ("abc def+hij", False)]
)
def test_is_youtube_id(text, expected):
    assert is_youtube_id(text) == expected


@pytest.mark.parametrize(
    ("path", "split", "expected"),
    [
        ("train/a.wav", "train", True),
        ("audio/Development/a.wav", "train", True),
        ("valid/a.wav", "val", True),
        ("validation/x/a.wav", "val", True),
        ("eval/a.wav", "test", True),
        ("test/a.wav", "train", False),
        ("test", "test", False),
        ("my_train/a.wav", "train", False),
    ],
)
def test_names_split(path, split, expected):
    assert names_split(path, split) == expected


def one(file, start=30.0, split="train"):
    return find([Wanted(ID, split, start)], [file])[0]


@pytest.mark.parametrize(
    ("name", "habit"),
    [
        ("{}.wav", "{youtube_id}"),
        ("Y{}.flac", "Y{youtube_id}"),
        ("{}_30.wav", "{youtube_id}_{start}"),
        ("{}_30000.wav", "{youtube_id}_{start} ms"),
        ("{}_30_40.m4a", "{youtube_id}_{start}_{end}"),
        ("{}_30.000_40.000.wav", "{youtube_id}_{start}_{end}"),
        ("{}_30000_40000.wav", "{youtube_id}_{start}_{end} ms"),
        ("Y{}_30000_40000.wav", "Y{youtube_id}_{start}_{end} ms"),
        ("Y{}_30.5_40.5.wav", None),
        ("{}_30000_30010.wav", None),  # ten seconds after eight hours
        ("{}_30.000.wav", "{youtube_id}_{start}"),
        ("{}_40.wav", None),
        ("{}_40_50.wav", None),
        ("{}_0_10000.wav", None),
    ],
)
def test_habits(name, habit):
    file = "audio/" + name.format(ID)
    found = one(file)
    if habit:
        assert found == Match(file, habit)
    else:
        assert found.path is None and "begins at 30 s" in found.problem and repr(file) in found.problem


def test_zero_seconds_are_zero_in_either_unit():
    assert one(f"{ID}_0_10.wav", 0.0).found_by == "{youtube_id}_{start}_{end}"
    assert one(f"{ID}_0_10000.wav", 0.0).found_by == "{youtube_id}_{start}_{end} ms"
    assert one(f"{ID}_0.wav", 0.0).found_by == "{youtube_id}_{start}"


def test_a_row_without_a_start_takes_any_time():
    assert one(f"{ID}_70_80.wav", None) == Match(f"{ID}_70_80.wav", "{youtube_id}_{start}_{end}")
    assert one(f"{ID}_70000_80000.wav", None).found_by == "{youtube_id}_{start}_{end} ms"


def test_ids_that_differ_in_case_only_are_two():
    assert one(f"Y{ID.upper()}.wav") == Match(None)


def test_the_time_decides_before_the_folder():
    files = [f"train/{ID}_40_50.wav", f"test/{ID}_30_40.wav"]
    assert find([Wanted(ID, "train", 30.0)], files)[0].path == files[1]


def test_the_folder_of_the_split_decides_between_two():
    files = [f"train/Y{ID}.wav", f"test/Y{ID}.wav"]
    wanted = [Wanted(ID, "train", 30.0), Wanted(ID, "test", 60.0)]
    assert [found.path for found in find(wanted, files)] == files


def test_the_name_in_the_table_decides_between_two():
    files = [f"Y{ID}.wav", f"{ID}.wav"]
    assert find([Wanted(ID, "train", None, f"{ID}.wav")], files)[0].path == f"{ID}.wav"


def test_two_candidates_are_refused():
    found = find([Wanted(ID, "train", 30.0)], [f"train/Y{ID}.wav", f"train/{ID}_30.wav", f"test/{ID}.wav"])[0]
    assert found.path is None
    assert found.problem == f"may be 'train/{ID}_30.wav' or 'train/Y{ID}.wav'; remove or rename the wrong one"


def test_one_file_for_two_rows_is_refused():
    found = find([Wanted(ID, "train", 30.0), Wanted(ID, "test", 60.0)], [f"Y{ID}.wav"])
    assert [one.path for one in found] == [None, None]
    assert f"'Y{ID}.wav' may be it, but as well test/{ID}" in found[0].problem
    assert f"as well train/{ID}" in found[1].problem


def test_one_file_in_the_folder_of_one_of_two_rows():
    found = find([Wanted(ID, "train", 30.0), Wanted(ID, "test", 60.0)], [f"test/Y{ID}.wav"])
    assert found == [Match(None), Match(f"test/Y{ID}.wav", "Y{youtube_id}")]


def test_fifty_thousand_rows_are_found_in_seconds():
    ids = [f"{number:011d}" for number in range(50_000)]
    files = [f"train/Y{youtube_id}_30000_40000.wav" for youtube_id in ids]
    begun = time.perf_counter()
    found = find([Wanted(youtube_id, "train", 30.0) for youtube_id in ids], files)
    assert time.perf_counter() - begun < 10
    assert [one.path for one in found] == files


# What YouTube is to say of each video is read from a file beside the program; "slow" videos take their time.
YT_DLP = """\
#!{python}
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
address = arguments[arguments.index("--") + 1]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(arguments) + chr(10))
said = json.loads((here / "says").read_text()).get(address.removeprefix("https://www.youtube.com/watch?v="), "")
name = arguments[arguments.index("--output") + 1].replace("%(ext)s", arguments[arguments.index("--audio-format") + 1])
if said == "slow":
    pathlib.Path(name + ".part").write_text("half")
    (here / "slow").touch()
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
    assert "not tried any more" in str(caught.value)
    says(program)
    fetch_sections(root, sections(A), workers=1)
    assert f"train/Y{A}.wav" in below(root)


def test_other_failures_are_told_together(program, root):
    says(program, **{A: "ERROR: [youtube] aaaaaaaaaaa: Unable to download API page: timed out", B: "nothing", C: "boo"})
    with pytest.raises(EarwitnessError) as caught:
        fetch_sections(root, sections(A, B, C, D), workers=2)
    message = str(caught.value)
    assert message.startswith("3 of 4 clips could not be fetched from YouTube for now:")
    assert f"{A}: Unable to download API page: timed out" in message
    assert f"{B}: yt-dlp wrote no file; does the video reach to second 30?" in message and f"{C}: boo" in message
    assert below(root) == [f"train/Y{D}.wav"]


def test_when_nothing_succeeds_any_more_it_is_given_up(program, root):
    ids = [f"{number:011d}" for number in range(STOP_AFTER + 20)]
    says(program, **dict.fromkeys(ids, "ERROR: Unable to download webpage: name resolution failed"))
    with pytest.raises(EarwitnessError, match=f"{len(ids)} of {len(ids)} clips .* 20 of them were not tried any more"):
        fetch_sections(root, sections(*ids), workers=2)
    assert not (root / "unavailable.json").exists()


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


@pytest.mark.parametrize("content", ["[]", '{"unavailable": [1]}', '{"unavailable": {"a": 1}}', "{"])
def test_a_spoilt_list_of_what_is_gone(root, content):
    (root / "unavailable.json").write_text(content)
    with pytest.raises(EarwitnessError, match=r"unavailable\.json .*Remove it"):
        unavailable(root)


def test_what_a_killed_process_left_is_removed(program, root):
    (root / ".fetching" / "x").mkdir(parents=True)
    fetch_sections(root, sections(A), workers=1)
    assert sorted(path.name for path in root.iterdir()) == ["train"]


def test_an_interruption_leaves_nothing_half_written(program, root):
    says(program, **{B: "slow"})
    code = textwrap.dedent(f"""
        from pathlib import Path
        from earwitness.corpora.youtube import Section, fetch_sections
        sections = [Section(i, 0.0, f"train/Y{{i}}.wav") for i in ({A!r}, {B!r})]
        fetch_sections(Path({str(root)!r}), sections, workers=1)
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 30
    while not (program / "slow").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert sorted(Path(root).iterdir()) == [root / "train"] and below(root) == [f"train/Y{A}.wav"]
