"""Candidates and references as people have them."""

import h5py
import pytest

from earwitness.evaluation.readers.texts import read_candidates, read_references


def by_clip(texts):
    assert not texts.problems
    return {clip: [caption.text for caption in captions] for clip, captions in texts.by_clip().items()}


def check(problems, expected):
    """Each problem begins with its place and has the further facts."""
    for problem, (place, *facts) in zip(problems, expected, strict=True):
        assert problem.startswith(place) and all(fact in problem for fact in facts)


CANDIDATES = {"a.wav": ["a dog, barking"], "b é.wav": ["rain\nfalls"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", 'file_name,caption_predicted\na.wav,"a dog, barking"\nb é.wav,"rain\nfalls"\n'),  # DCASE task 6a
        ("c.csv", '\ufefffname;prediction\r\na.wav;a dog, barking\r\nb é.wav;"rain\nfalls"\r\n'),
        ("c.tsv", 'id\ttext\na.wav\ta dog, barking\nb é.wav\t"rain\nfalls"\n'),
        ("c.json", {"a.wav": "a dog, barking", "b é.wav": "rain\nfalls"}),
        ("c.json", {"a.wav": ["a dog, barking"], "b é.wav": [{"caption": "rain\nfalls"}]}),
        ("c.json", [{"image_id": c, "caption": texts[0]} for c, texts in CANDIDATES.items()]),
        (
            "c.jsonl",
            '{"clip_id": "a.wav", "caption": "a dog, barking"}\n{"clip_id": "b é.wav", "caption": "rain\\nfalls"}',
        ),
    ],
)
def test_candidates_of_every_kind(write, name, content):
    assert by_clip(read_candidates(write(name, content))) == CANDIDATES


def test_candidates_and_references_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["clip_id"], file["caption"] = ["a", "b é"], ["x", "y"]
        file["captions"] = [["x", "y"], ["z", "w"]]
    assert by_clip(read_candidates(tmp_path / "c.h5")) == {"a": ["x"], "b é": ["y"]}
    assert by_clip(read_references(tmp_path / "c.h5")) == {"a": ["x", "y"], "b é": ["z", "w"]}


def test_empty_candidates_are_captions_without_a_word(write):
    assert by_clip(read_candidates(write("c.csv", 'file_name,caption\na,\nb,""\nc,  \nd\n'))) == {
        "a": [""],
        "b": [""],
        "c": ["  "],
        "d": [""],
    }
    assert by_clip(read_candidates(write("c.json", {"a": "", "b": []}))) == {"a": [""], "b": [""]}


def test_columns_can_be_named(write):
    path = write("c.csv", "name,caption,mine\na,x,y\n")
    assert by_clip(read_candidates(path, "name", "mine")) == {"a": ["y"]}
    assert "did you mean 'name'?" in read_candidates(path, "nam", "mine").problems[0]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "c.csv",
            "file_name,caption\na,x\nb,y\na,z\na,w\n",
            [("c.csv, rows 2, 4 and 5: ", "clip 'a'", "3 candidates")],
        ),
        ("c.json", {"a": ["x", "y"]}, [("c.json, row 'a': ", "clip 'a'", "2 candidates")]),
        (
            "c.json",
            {"a": None, "b": 7},
            [("c.json, row 'a': ", "null", '""'), ("c.json, row 'b': ", "'7'", "text")],
        ),
        (
            "c.csv",
            "file_name,caption_1,caption_2\na,x,y\n",
            [("c.csv: ", "'caption_1' and 'caption_2'", "swapped?")],
        ),
        ("c.csv", "file_name,caption\n,x\n", [("c.csv, row 2: ", "clip", "missing")]),
        (
            "c.csv",
            "file_name,words\na,x\n",
            [("c.csv: ", "captions", "--caption-column", "'file_name', 'words'")],
        ),
    ],
)
def test_candidates_that_cannot_be_scored(write, name, content, expected):
    check(read_candidates(write(name, content)).problems, expected)


REFERENCES = {"a.wav": ["x", "y"], "b.wav": ["z"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "file_name,caption_1,caption_2\na.wav,x,y\nb.wav,z,\n"),  # Clotho
        ("r.csv", "file_name,caption_reference_01,caption_reference_02\na.wav,x,y\nb.wav,,z\n"),
        ("r.csv", "caption_id,clip_id,text\na.wav#1,a.wav,x\na.wav#2,a.wav,y\nb.wav#1,b.wav,z\n"),  # the project's own
        ("r.csv", "audiocap_id,youtube_id,start_time,caption\n1,a.wav,30,x\n2,b.wav,0,z\n3,a.wav,30,y\n"),  # AudioCaps
        ("r.csv", 'file_name,captions\na.wav,"[""x"", ""y""]"\nb.wav,z\n'),
        ("r.json", REFERENCES),
        ("r.json", {"a.wav": [{"caption": "x"}, {"caption": "y"}], "b.wav": [{"caption": "z"}]}),
        ("r.json", [{"file_name": "a.wav", "captions": ["x", "y"]}, {"file_name": "b.wav", "captions": ["z"]}]),
        (
            "r.json",
            {
                "images": [{"id": "a.wav"}, {"id": "b.wav"}],
                "annotations": [
                    {"image_id": "a.wav", "id": 1, "caption": "x"},
                    {"image_id": "a.wav", "id": 2, "caption": "y"},
                    {"image_id": "b.wav", "id": 3, "caption": "z"},
                ],
            },
        ),
    ],
)
def test_references_of_every_kind(write, name, content):
    assert by_clip(read_references(write(name, content))) == REFERENCES


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("file_name,caption_1,caption_2\na.wav,x,y\n", ["a.wav#1", "a.wav#2"]),
        ("clip_id,text\na.wav,x\na.wav,y\n", ["a.wav#1", "a.wav#2"]),
        ("caption_id,clip_id,text\nu,a.wav,x\nv,a.wav,y\n", ["u", "v"]),
        ("audiocap_id,youtube_id,caption\n7,a.wav,x\n9,a.wav,y\n", ["7", "9"]),
    ],
)
def test_captions_have_ids(write, content, expected):
    assert [caption.id for caption in read_references(write("r.csv", content)).captions] == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "clip_id,text\na,x\nb, \n",
            [("r.csv, row 3: ", "'b'", "blank")],
        ),
        (
            "caption_id,clip_id,text\nu,a,x\nu,b,y\n",
            [("r.csv, rows 2 and 3: ", "'u'", "2 times")],
        ),
        (
            "clip_id,text\na,\"['x', 'y']\"\n",
            [("r.csv, row 2: ", "\"['x', 'y']\"", "'a'", "json")],
        ),
    ],
)
def test_references_that_cannot_be_used(write, content, expected):
    check(read_references(write("r.csv", content)).problems, expected)


def test_clotho_as_it_is_published(shared):
    texts = read_references(shared("captions", "clotho_v2", "clotho_captions_evaluation.csv"))
    assert not texts.problems and len(texts.captions) == 5225
    assert all(len(captions) == 5 for captions in texts.by_clip().values())


def test_audiocaps_as_it_is_published(shared):
    texts = read_references(shared("captions", "audiocaps_v1", "test.csv"))
    assert not texts.problems and texts.columns == ["youtube_id", "caption"]
    assert len(texts.by_clip()) * 5 == len(texts.captions)
