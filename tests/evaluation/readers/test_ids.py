"""Ids of one file in another."""

import pytest

from earwitness.evaluation.readers.ids import match, stem, told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.wav", "a"),
        ("evaluation/Rain on roof.WAV ", "rain on roof"),
        ("C:\\clips\\a.flac", "a"),
        ("door.knock", "door.knock"),
        ("a.wav#1", "a.wav#1"),
        ("cafe\u0301.mp3", "café"),
    ],
)
def test_a_stem_has_no_folder_extension_case_and_blanks(name, expected):
    assert stem(name) == expected


def test_exact_ids_are_found_and_others_hinted_at():
    found = match(["a.wav", "B", "c"], ["b.wav", "a.wav"])
    assert found.found == {"a.wav": "a.wav"} and found.lost == ["B", "c"] and not found.problems
    assert told("B", found) == " ('b.wav' is: the folder, the extension, the case or blanks differ)"
    assert told("c", found) == ""


def test_stems_find_what_is_left():
    found = match(["a.wav", "B", "c"], ["b.wav", "a.wav"], "stem")
    assert found.found == {"a.wav": "a.wav", "B": "b.wav"} and found.lost == ["c"] and found.changed == 1


def test_another_plain_form_may_be_given():
    found = match(["a/x", "b/x"], ["a/X", "c/X"], "stem", str.casefold)
    assert found.found == {"a/x": "a/X"} and found.lost == ["b/x"]


def test_exact_ids_win_over_stems():
    found = match(["a.wav", "A.wav"], ["A.wav", "a.wav"], "stem")
    assert found.found == {"a.wav": "a.wav", "A.wav": "A.wav"} and found.changed == 0


@pytest.mark.parametrize(
    ("ids", "known", "expected"),
    [
        (["x/a", "y/a"], ["a.wav"], "--match stem confuses 'x/a' and 'y/a' and 'a.wav'"),
        (["a"], ["a.wav", "A.wav"], "--match stem confuses 'a' and 'a.wav' and 'A.wav'"),
    ],
)
def test_stems_that_several_have_are_refused(ids, known, expected):
    found = match(ids, known, "stem")
    assert found.problems == [expected] and not found.found and found.lost == ids
    assert not match(ids, known).problems
