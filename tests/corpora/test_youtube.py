"""Naming habits of clips from YouTube, and which row a file belongs to."""

import pytest

from earwitness.corpora.paths import Match
from earwitness.corpora.youtube import Cut, Wanted, cut_of, find, is_youtube_id, names_split

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
    assert f"'train/{ID}_30.wav' or 'train/Y{ID}.wav'" in found.problem


def test_one_file_for_two_rows_is_refused():
    found = find([Wanted(ID, "train", 30.0), Wanted(ID, "test", 60.0)], [f"Y{ID}.wav"])
    assert [one.path for one in found] == [None, None]
    assert f"'Y{ID}.wav'" in found[0].problem and f"test/{ID}" in found[0].problem
    assert f"train/{ID}" in found[1].problem


@pytest.mark.parametrize("start", [30.0, None])
@pytest.mark.parametrize("file", [f"Y{ID}.wav", f"train/Y{ID}.wav", f"val/Y{ID}_30.wav"])
def test_the_same_clip_in_two_splits_has_one_file(file, start):
    found = find([Wanted(ID, "train", 30.0), Wanted(ID, "test", start)], [file])
    assert [one.path for one in found] == [file, file]


def test_one_file_for_two_rows_of_a_split_is_refused():
    found = find([Wanted(ID, "train", 30.0, "a"), Wanted(ID, "train", 30.0, "b"), Wanted(ID, "test")], [f"Y{ID}.wav"])
    assert all(one.problem.startswith(f"'Y{ID}.wav' ") for one in found[:2])
    assert "train/b" in found[0].problem and "train/a" in found[1].problem and not found[2].problem


def test_a_file_is_shared_with_the_split_of_its_folder_only():
    wanted = [Wanted(ID, "train", 30.0), Wanted(ID, "val", 60.0), Wanted(ID, "test", 30.0)]
    file = f"train/Y{ID}.wav"
    assert find(wanted, [file]) == [Match(file, "Y{youtube_id}"), Match(None), Match(file, "Y{youtube_id}")]


def test_one_file_in_the_folder_of_one_of_two_rows():
    found = find([Wanted(ID, "train", 30.0), Wanted(ID, "test", 60.0)], [f"test/Y{ID}.wav"])
    assert found == [Match(None), Match(f"test/Y{ID}.wav", "Y{youtube_id}")]


def test_fifty_thousand_rows_are_found():
    ids = [f"{number:011d}" for number in range(50_000)]
    files = [f"train/Y{youtube_id}_30000_40000.wav" for youtube_id in ids]
    found = find([Wanted(youtube_id, "train", 30.0) for youtube_id in ids], files)
    assert [one.path for one in found] == files
