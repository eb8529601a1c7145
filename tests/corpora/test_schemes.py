"""Split schemes: lists of names that move clips, whose ids stay."""

from pathlib import Path

import pytest

from earwitness.corpora.layouts.clotho import Clotho, ClothoOptions
from earwitness.corpora.schemes import SHIPPED, apply_scheme, scheme_files
from earwitness.corpora.tables import ListedClip, Listing
from earwitness.errors import CorpusError
from tests.places import shared


def clip(own_split, name, split=None):
    return ListedClip(f"{own_split}/{name}", split or own_split, None, ("rain",))


@pytest.fixture
def listing():
    names = {"development": " a b", "validation": "bc", "evaluation": "de"}
    return Listing([clip(split, name) for split, own in names.items() for name in own.replace(" ", "x")])


def lists(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, newline="")
    return folder


def splits(listing):
    return {clip.clip_id: clip.split for clip in listing.clips}


def test_names_move_and_the_rest_stays_in_a_scheme_of_ones_own(listing, tmp_path):
    lists(tmp_path, clotho_mine_validation="a\r\n\r\nd", clotho_mine_development="c\n")
    before = splits(listing)
    apply_scheme(listing, "clotho", "mine", tmp_path)
    moves = {"development/a": "validation", "evaluation/d": "validation", "validation/c": "development"}
    assert listing.problems == [] and splits(listing) == before | moves
    note = listing.notes["split_scheme"]
    assert note["moved"] == {
        "development to validation": 1,
        "evaluation to validation": 1,
        "validation to development": 1,
    }
    assert note["left_out"] == 0
    assert list(note["lists"]) == ["clotho_mine_development.txt", "clotho_mine_validation.txt"]


def test_cl4ac_trains_on_the_official_validation_clips(listing, tmp_path, monkeypatch):
    monkeypatch.setattr("earwitness.corpora.schemes.SHIPPED", tmp_path)
    lists(tmp_path, clotho_cl4ac_validation="b\n")  # stands in two splits: the development clip is meant
    apply_scheme(listing, "clotho", "cl4ac", tmp_path / "resources")
    found = splits(listing)
    assert listing.problems == [] and found["development/b"] == "validation"
    assert {found[f"validation/{name}"] for name in "bc"} == {found["development/a"]} == {"development"}
    assert {found["evaluation/d"], found["evaluation/e"]} == {"evaluation"}


def test_the_benchmark_leaves_out_what_it_does_not_name(listing, tmp_path):
    lists(tmp_path, **{"clotho_v1-benchmark_development": "a", "clotho_v1-benchmark_validation": "b"})
    apply_scheme(listing, "clotho", "v1-benchmark", tmp_path)
    assert listing.problems == []
    expected = {"development/a": "development", "development/b": "validation"}
    assert splits(listing) == expected | {"evaluation/d": "evaluation", "evaluation/e": "evaluation"}
    assert listing.notes["split_scheme"]["left_out"] == 4


def test_audiocaps_without_the_clips_of_vggsound(tmp_path):
    known = {"train": "development", "val": "validation", "test": "evaluation"}
    listing = Listing([clip(own, name, known[own]) for own in known for name in ("p", "q")])
    lists(tmp_path, audiocaps_filtered_validation="p", audiocaps_filtered_evaluation="q")
    apply_scheme(listing, "audiocaps", "filtered", tmp_path)
    assert [clip.clip_id for clip in listing.clips] == ["train/p", "train/q", "val/p", "test/q"]


@pytest.mark.parametrize(
    ("layout", "scheme", "needed"),
    [
        ("clotho", "v1-benchmark", ["clotho_v1-benchmark_development.txt", "clotho_v1-benchmark_validation.txt"]),
        ("audiocaps", "filtered", ["audiocaps_filtered_validation.txt", "audiocaps_filtered_evaluation.txt"]),
        ("clotho", "typo", [f"clotho_typo_{split}.txt" for split in ("development", "validation", "evaluation")]),
    ],
)
def test_absent_lists_are_named_with_their_place(layout, scheme, needed, tmp_path):
    with pytest.raises(CorpusError) as caught:
        scheme_files(layout, scheme, tmp_path)
    lines = str(caught.value).splitlines()
    assert f"split scheme {scheme!r} of {layout}" in lines[0]
    assert lines[1:-1] == [f"  - {tmp_path / name}" for name in needed]
    assert "one a line" in lines[-1]


def test_names_that_no_clip_has_and_names_twice_are_all_told(listing, tmp_path):
    lists(tmp_path, clotho_mine_validation="a\na\nz\n b\nb\n", clotho_mine_evaluation="development/a\nvalidation/b\n")
    apply_scheme(listing, "clotho", "mine", tmp_path)
    facts = [
        ("clotho_mine_validation.txt, row 2: 'a'", "row 1"),
        ("clotho_mine_validation.txt, row 3: 'z'", "not in the data set"),
        ("clotho_mine_validation.txt, row 4: ' b'", "not in the data set"),
        ("clotho_mine_validation.txt, row 5: 'b'", "'development/b' or 'validation/b'"),
        ("clotho_mine_evaluation.txt: 'development/a'", "validation"),
    ]
    for problem, (place, fact) in zip(listing.problems, facts, strict=True):
        assert problem.startswith(place) and fact in problem


def test_an_empty_list_is_a_problem(listing, tmp_path):
    lists(tmp_path, clotho_mine_validation="\n\n")
    apply_scheme(listing, "clotho", "mine", tmp_path)
    assert listing.problems == ["clotho_mine_validation.txt: names no clip"]


def test_another_list_under_the_name_of_a_shipped_one_is_refused(tmp_path):
    lists(tmp_path, clotho_cl4ac_validation="mine.wav")
    with pytest.raises(CorpusError, match=r"clotho_cl4ac_validation\.txt is not "):
        scheme_files("clotho", "cl4ac", tmp_path)
    (tmp_path / "clotho_cl4ac_validation.txt").write_bytes((SHIPPED / "clotho_cl4ac_validation.txt").read_bytes())
    assert list(scheme_files("clotho", "cl4ac", tmp_path)) == ["validation"]


def test_a_list_that_is_no_text(listing, tmp_path):
    (tmp_path / "clotho_mine_validation.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(CorpusError, match="is not UTF-8"):
        apply_scheme(listing, "clotho", "mine", tmp_path)


def test_the_real_tables_under_cl4ac():
    tables = str(shared("captions", "clotho_v2"))
    listing = Clotho(ClothoOptions(layout="clotho", audio="nowhere", tables=tables)).listing(Path("nowhere"))
    ids = [clip.clip_id for clip in listing.clips]
    problems = list(listing.problems)
    apply_scheme(listing, "clotho", "cl4ac")
    assert listing.problems == problems and [clip.clip_id for clip in listing.clips] == ids
    counts = [list(splits(listing).values()).count(split) for split in ("development", "validation", "evaluation")]
    assert counts == [4784, 100, 1045]
    assert listing.notes["split_scheme"]["moved"] == {
        "development to validation": 100,
        "validation to development": 1045,
    }


def test_the_shipped_list_is_that_of_the_shared_data():
    theirs = shared("splits", "clotho_cl4ac_validation.txt")
    assert (SHIPPED / theirs.name).read_bytes() == theirs.read_bytes()
