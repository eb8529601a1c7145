"""Which file a row's name stands for, and how they differ."""

from pathlib import Path

import pytest

from earwitness.corpora.layouts.folder import Folder, FolderOptions
from earwitness.corpora.paths import BY_NAME, Match, found_by, from_root, match, recordings_below
from earwitness.errors import CorpusError


@pytest.mark.parametrize(
    ("name", "file", "how"),
    [
        ("Chris&#39; Elevator.wav", "Chris' Elevator.wav", "html entity"),
        ("rain&amp;storm.wav", "rain&storm.wav", "html entity"),
        ("Chris' Elevator.wav", "Chris&#39; Elevator.wav", "html entity"),
        ("a&#39;b.wav", "a_b.wav", "html entity + odd character"),
        ("a&#39;b.wav", "a__39_b.wav", "odd character"),
        ("caf\u00e9.wav", "cafe\u0301.wav", "unicode form"),
        (" rain.wav", "rain.wav", "blank"),
        ("Breaking Glass .wav", "Breaking Glass.wav", "blank"),
        ("a  b.wav", "a b.wav", "blank"),
        ("1:2?3.wav", "1_2_3.wav", "odd character"),
        ("20091211.barking.stairs.wav", "20091211_barking_stairs.wav", "odd character"),
        ("rain.wav", "rain.flac", "extension"),
        ("rain.wav", "Rain.WAV", "letter case"),
        ("rain", "rain.ogg", "extension"),
        (" it&#39;s.wav", "it_s.mp3", "html entity + blank + odd character + extension"),
        ("sub/rain.wav", "sub/rain.ogg", "extension"),
        (" a.wav", "_a.wav", "odd character"),
        ("a  b.wav", "a__b.wav", "odd character"),
        ("a.wav ", "a.wav", "blank"),
        ("cafe\u0301.wav", "caf_.wav", "unicode form + odd character"),
        ("cafe\u0301.wav", "cafe_.wav", "odd character"),
    ],
)
def test_known_renamings(name, file, how):
    assert match([name], {file, "other.wav"}) == [(file, how, "")]
    assert found_by(name, file) == how


@pytest.mark.parametrize(
    ("name", "file"), [("rain (1).wav", "rain_1.wav"), ("rain.wav", "train.wav"), ("a/rain.wav", "b/rain.wav")]
)
def test_other_names_are_not_matched(name, file):
    assert match([name], [file]) == [(None, "", "")]


def test_names_that_differ_by_more_than_renamings_are_refused():
    with pytest.raises(ValueError, match=r"'rain\.wav' and 'train\.wav'"):
        found_by("rain.wav", "train.wav")


def test_a_file_of_the_very_name_is_taken_whatever_else_there_is():
    assert match(["a b.wav"], ["a b.wav", "a_b.wav", "a b.flac"]) == [("a b.wav", BY_NAME, "")]


def test_a_file_that_is_another_names_own_is_no_candidate():
    assert match(["a b.wav", "a_b.wav"], ["a_b.wav"]) == [(None, "", ""), ("a_b.wav", BY_NAME, "")]


def test_two_candidates_are_refused():
    (found,) = match(["a.wav"], ["a.mp3", "a.flac"])
    assert found.path is None
    assert "'a.flac' or 'a.mp3'" in found.problem


def test_one_candidate_for_two_names_is_refused_for_both():
    found = match(["a'b.wav", "a:b.wav", "c.wav"], ["a_b.wav", "c.wav"])
    assert [one.path for one in found] == [None, None, "c.wav"]
    assert "'a_b.wav'" in found[0].problem and "'a:b.wav'" in found[0].problem
    assert "'a_b.wav'" in found[1].problem and '"a\'b.wav"' in found[1].problem


def test_any_folder():
    files = ["x/rain.flac", "y/wind.wav"]
    assert match(["rain.wav"], files) == [(None, "", "")]
    assert match(["rain.wav", "wind.wav"], files, any_folder=True) == [
        ("x/rain.flac", "extension + folder", ""),
        ("y/wind.wav", "folder", ""),
    ]


def test_the_same_folder_written_otherwise():
    assert match(["./rain.wav"], ["rain.wav"]) == [("rain.wav", "folder", "")]


def test_recordings_below(tmp_path):
    for name in ["a.wav", "sub/b.FLAC", "._c.wav", ".hidden/d.wav", "notes.txt", "e.aiff"]:
        path = Path(tmp_path, name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert recordings_below(tmp_path) == {"a.wav", "sub/b.FLAC", "e.aiff"}
    assert recordings_below(tmp_path / "absent") == set()


@pytest.mark.parametrize("file", ["caf\udce9.wav", "caf\r.wav"])
def test_a_file_whose_name_no_table_can_hold_is_refused(file):
    (found,) = match(["caf_.wav"], [file])
    assert found.path is None and repr(file) in found.problem and "rename" in found.problem


def test_recordings_behind_a_link_to_a_folder(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.wav").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "deep" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "root" / "nowhere.wav").symlink_to(tmp_path / "root" / "nowhere.wav")
    assert recordings_below(tmp_path / "root") == {"linked/deep/a.wav", "nowhere.wav"}


def test_separators_of_windows():
    found = match(["sub\\a.wav", "sub\\B.wav", "c\\d.wav"], ["sub/a.wav", "sub/b.wav", "c\\d.wav", "c/d.wav"])
    assert [one.path for one in found] == ["sub/a.wav", "sub/b.wav", "c\\d.wav"]
    assert [one.found_by for one in found] == ["separator", "separator + letter case", "name"]
    both = match(["a\\b.wav", "a/b.wav"], ["a/b.wav"])
    assert both[1] == Match("a/b.wav", BY_NAME)


def test_absolute_paths_inside_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "data", Path("data")):
        assert from_root(f"{tmp_path}/data/sub/a.wav", root) == "sub/a.wav"
        for other in (f"{tmp_path}/data/../a.wav", f"{tmp_path}/a.wav", "sub/a.wav"):
            assert from_root(other, root) == other


def test_folders_that_cannot_be_read_are_named(tmp_path, unreadable):
    for name in ("a.wav", "locked/b.wav", "open/locked/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    unreadable(tmp_path / "locked", tmp_path / "open/locked")
    refused = []
    assert recordings_below(tmp_path, refused) == {"a.wav"}
    assert [str(error.path) for error in refused] == [f"{tmp_path}/locked", f"{tmp_path}/open/locked"]
    assert all("Permission denied" in error.reason for error in refused)
    with pytest.raises(CorpusError, match=rf"(?s){tmp_path}/locked.*{tmp_path}/open/locked"):
        Folder(FolderOptions(layout="folder", audio=str(tmp_path))).listing(tmp_path)
