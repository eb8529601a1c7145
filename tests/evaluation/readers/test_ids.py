"""Ids of one file in another."""

import pytest

from earwitness.corpora.paths import stem
from earwitness.evaluation.readers.ids import match


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.wav", "a"),
        ("evaluation/Rain on roof.WAV ", "rain on roof"),
        ("C:\\clips\\a.flac", "a"),
        ("door.knock", "door.knock"),
        ("a.wav#1", "a.wav#1"),
        ("cafe\u0301.mp3", "café"),
        ("a/b  c.AIFF", "b c"),
        ("b.npy", "b"),
    ],
)
def test_a_stem_has_no_folder_extension_case_and_blanks(name, expected):
    assert stem(name) == expected


def test_exact_ids_are_found_and_others_hinted_at():
    found = match(["a.wav", "B", "c"], ["b.wav", "a.wav"])
    assert found.found == {"a.wav": "a.wav"} and found.lost == ["B", "c"] and not found.problems
    assert found.alike == {"B": "b.wav"} and "'b.wav'" in found.hint("B") and found.hint("c") == ""


def test_stems_find_what_is_left():
    found = match(["a.wav", "B", "c"], ["b.wav", "a.wav"], "stem")
    assert found.found == {"a.wav": "a.wav", "B": "b.wav"} and found.lost == ["c"] and found.changed == 1


def test_another_key_may_be_given():
    found = match(["a/x", "b/x"], ["a/X", "c/X"], "stem", str.casefold)
    assert found.found == {"a/x": "a/X"} and found.lost == ["b/x"]


def test_exact_ids_win_over_stems():
    found = match(["a.wav", "A.wav"], ["A.wav", "a.wav"], "stem")
    assert found.found == {"a.wav": "a.wav", "A.wav": "A.wav"} and found.changed == 0


@pytest.mark.parametrize(
    ("ids", "known", "expected"),
    [
        (["x/a", "y/a"], ["a.wav"], ["'x/a'", "'y/a'", "'a.wav'"]),
        (["a"], ["a.wav", "A.wav"], ["'a'", "'a.wav'", "'A.wav'"]),
    ],
)
def test_stems_that_several_have_are_refused(ids, known, expected):
    found = match(ids, known, "stem")
    assert not found.found and found.lost == ids
    assert len(found.problems) == 1 and all(name in found.problems[0] for name in expected)
    assert not match(ids, known).problems


def test_an_unknown_way_to_match_is_refused():
    with pytest.raises(ValueError, match="nearly"):
        match(["a"], ["a"], "nearly")


VIDEO, OTHER = "-aaaa_aaaa_", "bbbbbbbbbbb"


@pytest.mark.parametrize("name", ["Y{}.wav", "audio/{}_30_40.wav", "{}_30000.flac", "Y{}_30.000_40.000.m4a", "test/{}"])
@pytest.mark.parametrize("known", [VIDEO, f"Y{VIDEO}.ogg", f"{VIDEO}_30"])
def test_names_of_videos_are_those_that_the_corpora_know(name, known):
    name = name.format(VIDEO)
    found = match([name, OTHER], [OTHER, known], "stem")
    assert found.found == {name: known, OTHER: OTHER} and not found.problems
    assert match([name], [OTHER, known]).alike == {name: known}


def test_names_of_videos_that_do_not_fit():
    assert match([f"{VIDEO}_50_60.wav"], [f"{VIDEO}_30_40"], "stem").lost == [f"{VIDEO}_50_60.wav"]
    (problem,) = match([f"Y{VIDEO}.wav", f"{VIDEO}_30.wav"], [VIDEO], "stem").problems
    assert f"Y{VIDEO}.wav" in problem and f"{VIDEO}_30.wav" in problem
    # Where not all names are of videos, 11 letters are a word.
    assert match(["rain_sounds_1.wav"], ["rain_sounds_2", "dog.wav"], "stem").lost == ["rain_sounds_1.wav"]


def test_recordings_called_by_the_numbers_of_captions():
    numbers = {"103549": VIDEO, "103550": VIDEO}
    assert match(["test/103550.ogg"], [VIDEO], "stem", numbers=numbers).found == {"test/103550.ogg": VIDEO}
    assert match(["103550.ogg"], [VIDEO], "stem").lost == ["103550.ogg"]
    assert match(["103549.ogg", "103550.ogg"], [VIDEO], "stem", numbers=numbers).problems
