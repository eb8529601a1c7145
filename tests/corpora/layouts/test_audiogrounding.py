"""The AudioGrounding layout: four schemas in three containers end as one listing, and defects are told by row."""

import csv
import json
import sys
from collections import Counter, defaultdict
from types import ModuleType

import pytest
from pydantic import ValidationError

from earwitness.corpora.layouts.audiogrounding import PUBLISHED, AudioGrounding, AudioGroundingOptions, locate
from earwitness.corpora.tables import ListedPhrase
from earwitness.corpora.youtube import WITHOUT_SPLIT
from earwitness.errors import CorpusError
from tests.places import shared

NAN = float("nan")
A, B = "-aaaa_aaaa__30.000_40.000.wav", "Ybbbbbbbbbbb.wav"


def layout(root, **options):
    return AudioGrounding(AudioGroundingOptions(layout="audiogrounding", audio=str(root), **options))


def listing(root, **options):
    return layout(root, **options).listing(root)


def touched(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def written(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def phrase(**fields):
    """A row of schema B, changed; a field that is None is left out."""
    row = {
        "filename": A,
        "audiocap_id": 5,
        "tokens": ["a", "dog", "barks", ",", "twice"],
        "phrase": "a dog barks",
        "start_word": 0,
        "timestamps": [[1.0, 2.0]],
    }
    return {name: value for name, value in (row | fields).items() if value is not None}


def read(root, *rows):
    return listing(touched(written(root, "train.json", list(rows)), A, B))


def test_version_1(tmp_path):
    found = listing(tmp_path, tables=str(shared("captions", "audiogrounding_v1")))
    counts, texts = defaultdict(Counter), defaultdict(set)
    for clip in found.clips:
        counts[clip.listed_split].update(clips=1, captions=len(clip.captions))
        assert clip.sources and clip.path is None and not clip.problem
    for one in found.phrases:
        split = one.caption_id.partition("/")[0]
        counts[split].update(phrases=1, events=len(one.events), without_event=not one.events)
        texts[split].add(one.text)
    names = ("clips", "captions", "phrases", "events", "without_event")
    assert {split: tuple(counts[split][name] for name in names) for split in counts} == {
        "train": (4489, 4489, 12373, 19813, 383),
        "val": (31, 155, 451, 729, 7),
        "test": (70, 350, 1161, 1668, 46),
    }
    assert {split: len(texts[split]) for split in texts} == {"train": 4743, "val": 290, "test": 616}
    assert found.notes["sentinels"] == {"train": 383, "val": 7, "test": 46}
    assert found.notes["repeated_rows"] == found.notes["phrases_found_elsewhere"] == {"train": 0, "val": 0, "test": 0}
    captions = {f"{clip.clip_id}#{n}": text for clip in found.clips for n, text in enumerate(clip.captions, 1)}
    for one in found.phrases:
        assert " ".join(captions[one.caption_id].split()[one.start_word : one.end_word]) == one.text
        assert list(one.events) == sorted(one.events)
    assert [problem.split()[0] for problem in found.problems] == ["train.json", "val.json", "test.json"]
    assert all(str(tmp_path) in problem and WITHOUT_SPLIT in problem for problem in found.problems)


def test_the_soundscapes():
    root = shared("soundscapes")
    found = listing(root, tables=str(root / "audiogrounding"))
    counts = defaultdict(Counter)
    for clip in found.clips:
        counts[clip.split].update(clips=1, captions=len(clip.captions))
        assert (root / clip.path).is_file() and clip.path.startswith(f"{clip.split}/")
    of_clip = {clip.clip_id: clip.split for clip in found.clips}
    for one in found.phrases:
        counts[of_clip[one.caption_id.rpartition("#")[0]]]["phrases"] += 1
        assert one.events
    assert counts == {
        "development": {"clips": 300, "captions": 300, "phrases": 723},
        "validation": {"clips": 60, "captions": 120, "phrases": 287},
        "evaluation": {"clips": 100, "captions": 200, "phrases": 471},
    }
    assert not found.problems and found.notes["unlisted_audio"] == 0
    assert set(found.notes["tables"]) == {f"{split}/label.json" for split in ("train", "val", "test")}


# One content: file, audiocap_id, words, and phrases with the index of their first word and their segments.
CONTENT = [
    (
        A,
        11,
        "a dog barks , and rain falls",
        [("a dog barks", 0, [[3.0, 4.0], [1.0, 2.5]]), ("rain falls", 5, [[0, 0]])],
    ),
    (A, 12, "rain and a dog", [("rain", 0, [[0.0, 10.0]]), ("a dog", 2, [[1, 2]])]),
    (B, 13, "wind blows", [("wind blows", 0, None)]),
    (A, 14, "rain and a dog", [("a dog", 2, [[1, 2]])]),
]


def schema_a(number=12373):
    columns = {n: {} for n in ("audiocap_id", "filename", "caption", "tokens", "soundtag", "start_word", "timestamps")}
    for file, caption, text, phrases in CONTENT:
        for words, start, segments in phrases:
            row = (caption, file, text.replace(" ,", ","), text.split(), words, float(start), segments or NAN)
            for name, value in zip(columns, row, strict=True):
                columns[name][str(number)] = value
            number += 1
    return columns


def schema_b():
    return [
        {
            "audiocap_id": caption,
            "filename": file,
            "tokens": text.split(),
            "phrase": words,
            "start_word": start,
            "timestamps": segments,
        }
        for file, caption, text, phrases in CONTENT
        for words, start, segments in phrases
    ]


def schema_c():
    names = {"filename": "audio_id", "phrase": "soundtag"}
    rows = [{names.get(name, name): value for name, value in row.items()} for row in schema_b()]
    return [row | {"tokens": " ".join(row["tokens"]), "start_word": None} for row in rows]


def schema_d():
    return [
        {
            "audiocap_id": caption,
            "audio_id": file,
            "tokens": text,
            "phrases": [
                {
                    "phrase": words,
                    "start_index": start,
                    "end_index": start + len(words.split()) - 1,
                    "segments": segments,
                }
                for words, start, segments in phrases
            ],
        }
        for file, caption, text, phrases in CONTENT
    ]


def by_column(rows):
    return {name: {str(number): row[name] for number, row in enumerate(rows)} for name in rows[0]}


def by_row(columns):
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*(c.values() for c in columns.values()), strict=True)
    ]


def saved(root, rows, container):
    """Write records as ``train.json`` by row or by column, as ``.jsonl``, or as ``.csv`` with lists in JSON."""
    if container == "csv":
        with (root / "train.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                cells = {n: json.dumps(value) if isinstance(value, list) else value for n, value in row.items()}
                writer.writerow({n: "" if value is None or value != value else value for n, value in cells.items()})
    elif container == "jsonl":
        written(root, "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    else:
        written(root, "train.json", by_column(rows) if container == "columns" else rows)
    return touched(root, "audio/Y-aaaa_aaaa_.wav", f"audio/{B}")


@pytest.mark.parametrize("container", ["columns", "rows", "jsonl", "csv"])
@pytest.mark.parametrize("schema", ["A", "B", "C", "D"])
def test_all_schemas_are_one_listing(tmp_path, schema, container):
    rows = {"A": lambda: by_row(schema_a()), "B": schema_b, "C": schema_c, "D": schema_d}[schema]()
    found = listing(saved(tmp_path, rows, container))
    assert not found.problems
    assert [(clip.clip_id, clip.path, clip.captions) for clip in found.clips] == [
        (f"train/{A}", "audio/Y-aaaa_aaaa_.wav", ("a dog barks , and rain falls", *2 * ["rain and a dog"])),
        (f"train/{B}", f"audio/{B}", ("wind blows",)),
    ]
    assert [clip.found_by for clip in found.clips] == ["Y{youtube_id}", "folder"]
    assert found.clips[0].sources == (("youtube", "-aaaa_aaaa_"),)
    assert found.phrases == [
        ListedPhrase(f"train/{A}#1", "a dog barks", 0, 3, ((1.0, 2.5), (3.0, 4.0))),
        ListedPhrase(f"train/{A}#1", "rain falls", 5, 7, ()),
        ListedPhrase(f"train/{A}#2", "rain", 0, 1, ((0.0, 10.0),)),
        ListedPhrase(f"train/{A}#2", "a dog", 2, 4, ((1.0, 2.0),)),
        ListedPhrase(f"train/{B}#1", "wind blows", 0, 2, ()),
        ListedPhrase(f"train/{A}#3", "a dog", 2, 4, ((1.0, 2.0),)),
    ]
    assert found.notes["sentinels"] == {"train": 1} and found.notes["phrases_found_elsewhere"] == {"train": 0}


def test_rows_by_column_are_told_by_their_own_numbers(tmp_path):
    columns = schema_a()
    columns["soundtag"]["12374"] = "a cat"
    found = listing(touched(written(tmp_path, "val.json", columns), A, B))
    (problem,) = found.problems
    assert problem.startswith("val.json, row 12374: ")
    assert "'a cat'" in problem and "'a dog barks , and rain falls'" in problem


@pytest.mark.parametrize(
    "names",
    [
        ("train.json", "val.json", "test.json"),
        ("v2/label/train/label.json", "v2/label/val/label.json", "v2/label/test/label.json"),
        ("labels/label_train.jsonl", "labels/label_val.jsonl", "labels/label_test.jsonl"),
    ],
)
def test_where_label_files_are(tmp_path, names):
    for name in names:
        written(tmp_path, name, phrase() if name.endswith("l") else [phrase()])
    touched(tmp_path, A, ".hidden/train.json")
    found = listing(tmp_path)
    assert [clip.clip_id for clip in found.clips] == [f"{split}/{A}" for split in ("train", "val", "test")]
    assert [clip.path for clip in found.clips] == [A] * 3  # the same clip in three splits
    assert not found.problems and list(found.notes["tables"]) == list(names)
    assert layout(tmp_path).tables(tmp_path) == [tmp_path / name for name in names]


def test_labels_in_a_linked_folder(tmp_path):
    written(tmp_path, "elsewhere/test/label.json", [phrase()])
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "labels").symlink_to(tmp_path / "elsewhere")
    found = listing(touched(tmp_path / "root", A))
    assert [clip.clip_id for clip in found.clips] == [f"test/{A}"]


def test_two_label_files_for_a_split(tmp_path):
    for name in ("train.json", "v2/train/label.json", "val.json"):
        written(tmp_path, name, [phrase()])
    found = listing(touched(tmp_path, A))
    assert len(found.problems) == 1 and "train" in found.problems[0] and "train.json and v2/" in found.problems[0]
    assert [clip.listed_split for clip in found.clips] == ["val"]


def test_captions_without_ids_are_told_apart_by_text(tmp_path):
    texts = [["a", "dog", "barks"], ["the", "dog", "barks"], ["a", "dog", "barks"]]
    rows = [
        phrase(audiocap_id=None, tokens=text, phrase=one) for text, one in zip(texts, ("dog", "dog", "a"), strict=True)
    ]
    found = read(tmp_path, *rows)
    assert found.clips[0].captions == ("a dog barks", "the dog barks")
    assert [one.caption_id[-2:] for one in found.phrases] == ["#1", "#2", "#1"]


@pytest.mark.parametrize("ids", [(5, 5.0), ("5", 5), ("5.0", 5)])
def test_ids_are_the_same_whatever_they_are_saved_as(tmp_path, ids):
    found = read(tmp_path, *(phrase(audiocap_id=one, phrase=text) for one, text in zip(ids, ("dog", "a"), strict=True)))
    assert len(found.clips[0].captions) == 1 and not found.problems


def test_rows_that_repeat_are_one_phrase(tmp_path):
    found = read(tmp_path, phrase(), phrase(), phrase(timestamps=[[4.0, 5.0]]))
    assert len(found.phrases) == 2 and found.notes["repeated_rows"] == {"train": 1}


@pytest.mark.parametrize("phrases", [[], None, NAN])
def test_a_caption_without_phrases(tmp_path, phrases):
    found = read(tmp_path, {"audio_id": B, "tokens": "wind  blows ", "audiocap_id": 1, "phrases": phrases})
    assert found.clips[0].captions == ("wind blows",) and not found.phrases and not found.problems


@pytest.mark.parametrize("segments", [NAN, None, [], [[0, 0]], [[0.0, 0.0], [0, 0]]])
def test_a_phrase_without_a_located_sound(tmp_path, segments):
    row = phrase() | {"timestamps": segments}
    found = read(tmp_path, row)
    assert [one.events for one in found.phrases] == [()] and not found.problems
    assert found.notes["sentinels"] == {"train": len(segments) if isinstance(segments, list) else 0}


WORDS = ["a", "dog", "barks", ",", "and", "a", "Dog", "barks", "loudly", "."]


@pytest.mark.parametrize(
    ("words", "start", "end", "span"),
    [
        ("a dog barks", 0, 3, (0, 3)),
        ("a dog barks", None, None, (0, 3)),
        ("dog barks", 6, 8, (6, 8)),  # the indices win over the place where the words are exactly the same
        ("dog barks", 6, None, (6, 8)),
        ("dog barks", 9, None, (1, 3)),
        ("Dog barks", 0, 2, (6, 8)),
        ("a", 4, None, (5, 6)),
        ("dog, barks", 1, 2, (1, 3)),
        ("loudly.", 8, 9, (8, 9)),
        ("barks and a dog", 2, None, (2, 7)),
        ("dog barks", -3, None, (1, 3)),
        ("dog barks", 50, 52, (1, 3)),
        ("dog barks", 2, 1, (1, 3)),
        ("cat", 0, 1, None),
        ("...", 0, 1, None),
        ("a dog barks , and a Dog barks loudly . now", 0, None, None),
    ],
)
def test_locate(words, start, end, span):
    assert locate(WORDS, words.split(), start, end) == span


def test_without_a_start_a_phrase_that_comes_twice_is_at_both_places(tmp_path):
    words = ["a", "dog", "and", "a", "dog"]
    rows = [phrase(tokens=words, phrase="a dog", start_word=None, timestamps=[[n, n + 1]]) for n in (1, 2, 3)]
    assert [one.start_word for one in read(tmp_path, *rows).phrases] == [0, 3, 0]


def test_phrases_that_are_not_where_their_indices_say_are_counted(tmp_path):
    found = read(tmp_path, phrase(start_word=1), phrase(phrase="twice", start_word=4))
    assert [(one.start_word, one.end_word) for one in found.phrases] == [(0, 3), (4, 5)]
    assert found.notes["phrases_found_elsewhere"] == {"train": 1} and not found.problems


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"timestamps": [[-0.1, 2.0]]}, "'[-0.1, 2.0]' | before"),
        ({"timestamps": [[2.0, 2.0]]}, "'[2.0, 2.0]' | after"),
        ({"timestamps": [[3.0, 2.0]]}, "'[3.0, 2.0]' | after"),
        ({"timestamps": [[NAN, 2.0]]}, "'[nan, 2.0]' | number"),
        ({"timestamps": [["1", "2"]]}, "\"['1', '2']\" | number"),
        ({"timestamps": [[True, 2]]}, "'[True, 2]' | number"),
        ({"timestamps": [[1.0, 2.0, 3.0]]}, "'[1.0, 2.0, 3.0]' | pair"),
        ({"timestamps": [1.0]}, "'1.0' | pair"),
        ({"timestamps": "1-2"}, "'1-2' | list"),
        ({"phrase": "a cat"}, "'a cat' | 'a dog barks , twice'"),
        ({"phrase": "..."}, "'...' | word"),
        ({"phrase": 7}, "phrase '7' | text"),
        ({"phrase": NAN}, "'[[1.0, 2.0]]' | no phrase"),
        ({"tokens": NAN}, "no caption is given"),
        ({"tokens": [1, 2]}, "caption '[1, 2]' | text"),
        ({"tokens": [","]}, "',' | word"),
        ({"filename": NAN}, "no audio file is given"),
        ({"filename": 7}, "7 is no file's name"),
        ({"filename": "../x.wav"}, "'../x.wav' | out of"),
        ({"filename": "a\nb.wav"}, "control character"),
        ({"start_word": "first"}, "'first' | index"),
        ({"start_word": 0.5}, "'0.5' | index"),
        ({"start_word": True}, "'True' | index"),
        ({"audiocap_id": [5]}, "the audiocap_id '[5]' is none"),
        ({"audiocap_id": 5.5}, "the audiocap_id '5.5' is none"),
        (
            {"filename": B},
            "audiocap_id 5 | 'Ybbbbbbbbbbb.wav' | '-aaaa_aaaa__30.000_40.000.wav' in row 1",
        ),
        (
            {"tokens": "a dog barks"},
            "audiocap_id 5 | 'a dog barks' | 'a dog barks , twice' in row 1",
        ),
    ],
)
def test_rows_that_are_refused(tmp_path, fields, told):
    found = read(tmp_path, phrase(phrase="twice", start_word=4), phrase(**fields))
    assert len(found.problems) == 1
    assert found.problems[0].startswith("train.json, row 2: ")
    assert all(fact in found.problems[0] for fact in told.split(" | "))


def test_all_offenders_at_once(tmp_path):
    rows = [phrase(phrase="a cat"), phrase(timestamps=[[2, 1], [-1, 1]]), phrase(filename=NAN)]
    assert len(read(tmp_path, *rows).problems) == 4


def test_nested_phrases_are_told_by_their_number(tmp_path):
    rows = schema_d()
    rows[1]["phrases"][1]["segments"] = [[5, 4]]
    rows[2]["phrases"] = ["wind"]
    rows[3]["phrases"] = "a dog"
    found = read(tmp_path, *rows).problems
    assert [problem.partition(": ")[0] for problem in found] == [
        "train.json, row 3, phrase 1",
        "train.json, row 4",
        "train.json, row 2, phrase 2",
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("train.json", "[{", "train.json"),
        ("train.json", "7", "train.json"),
        ("train.json", "[]", "train.json"),
        ("train.json", "[7]", "train.json"),
        ("train/label.jsonl", "{\n", "train/label.jsonl, row 1"),
        ("train/label.csv", "audio_id,tokens,soundtag,timestamps\n", "train/label.csv"),
        ("train/label.csv", "audio_id,tokens,soundtag,timestamps\na.wav,x,x,[(1\n", "no list in JSON"),
        ("train.csv", "audio_id,tokens,soundtag,timestamps\na.wav,\"['a', 'dog']\",a,\n", "no list in JSON"),
        ("train.csv", 'audio_id,tokens,soundtag,timestamps\na.wav,"[""a"", dog]",a,\n', "no list in JSON"),
        ("train.csv", "audio_id,tokens,soundtag,timestamps\na.wav,[ ],a,\n", "has no word"),
        ("train.json", [{"file": "a.wav", "text": "x"}], "filename or audio_id"),
        ("train.json", [{"audio_id": "a.wav", "tokens": "x", "phrase": "x"}], "times"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, told):
    found = listing(touched(written(tmp_path, name, content), "a.wav"))
    assert found.problems and told in "\n".join(found.problems)
    assert all(problem.startswith(name) for problem in found.problems)


def test_fields_that_mean_nothing_are_noted(tmp_path):
    found = read(tmp_path, phrase(speaker="x"))
    assert found.notes["ignored_columns"] == {"train.json": ["speaker"]} and not found.problems


def test_recordings_of_the_split_are_preferred(tmp_path):
    written(tmp_path, "train.json", [phrase()])
    written(tmp_path, "test.json", [phrase()])
    found = listing(touched(tmp_path, f"audio/train/{A}", f"audio/test/{A}"))
    assert [clip.path for clip in found.clips] == [f"audio/train/{A}", f"audio/test/{A}"]


@pytest.mark.parametrize("own", ["test/-aaaa_aaaa_.wav", f"test/{A}"])
def test_recordings_of_the_split_are_preferred_whatever_they_are_called(tmp_path, own):
    written(tmp_path, "train.json", [phrase()])
    written(tmp_path, "test.json", [phrase()])
    found = listing(touched(tmp_path, f"train/{A}", own))
    assert [clip.path for clip in found.clips] == [f"train/{A}", own]


@pytest.mark.parametrize("name", [A, "Y-aaaa_aaaa_.wav", "-aaaa_aaaa__30.wav"])
@pytest.mark.parametrize("file", ["Y-aaaa_aaaa_.wav", "train/Y-aaaa_aaaa_.wav", "val/-aaaa_aaaa__30_40.wav"])
def test_the_same_clip_in_two_splits_has_one_file(tmp_path, name, file):
    written(tmp_path, "train.json", [phrase()])
    written(tmp_path, "test.json", [phrase(filename=name)])
    found = listing(touched(tmp_path, file))
    assert [(clip.path, clip.problem) for clip in found.clips] == [(file, "")] * 2 and not found.problems


OTHER = "-aaaa_aaaa__60.000_70.000.wav"


def test_two_clips_of_a_video_have_not_one_file(tmp_path):
    written(tmp_path, "train.json", [phrase()])
    written(tmp_path, "test.json", [phrase(filename=OTHER)])
    found = listing(touched(tmp_path, "Y-aaaa_aaaa_.wav"))
    assert [clip.path for clip in found.clips] == [None, None]
    assert "'Y-aaaa_aaaa_.wav'" in found.clips[0].problem and f"test/{OTHER}" in found.clips[0].problem
    assert f"as well train/{A}" in found.clips[1].problem


def test_of_two_clips_of_a_video_the_split_of_the_folder_has_the_file(tmp_path):
    written(tmp_path, "train.json", [phrase(), phrase(filename=B, audiocap_id=6)])
    written(tmp_path, "test.json", [phrase(filename=OTHER), phrase(filename=B, audiocap_id=6)])
    found = listing(touched(tmp_path, "train/Y-aaaa_aaaa_.wav", B))
    assert [clip.path for clip in found.clips] == ["train/Y-aaaa_aaaa_.wav", B, None, B]
    assert not any(clip.problem for clip in found.clips)


def test_one_recording_for_two_clips_of_a_split_is_refused(tmp_path):
    found = read(tmp_path, phrase(filename="-aaaa_aaaa__30_40.wav"), phrase(filename=OTHER, audiocap_id=6))
    assert found.clips[0].path == A  # of the same time
    (tmp_path / A).rename(tmp_path / "Y-aaaa_aaaa_.wav")
    found = listing(tmp_path)
    assert [clip.path for clip in found.clips] == [None, None] and "as well train/" in found.clips[0].problem


def test_two_recordings_for_a_clip_are_refused(tmp_path):
    written(tmp_path, "train.json", [phrase()])
    clip = listing(touched(tmp_path, "one/Y-aaaa_aaaa_.wav", "two/Y-aaaa_aaaa_.wav")).clips[0]
    assert clip.path is None and "may be" in clip.problem


def test_a_recording_of_another_time_is_not_the_clips(tmp_path):
    written(tmp_path, "train.json", [phrase()])
    clip = listing(touched(tmp_path, "-aaaa_aaaa__70.000_80.000.wav")).clips[0]
    assert clip.path is None and "begins at 30 s" in clip.problem


def test_missing_recordings(tmp_path):
    written(tmp_path, "train.json", [phrase(), phrase(filename=B, audiocap_id=6)])
    written(tmp_path, "test.json", [phrase(filename="Yccccccccccc.wav")])
    found = listing(touched(tmp_path, A, "other.wav"))
    assert [clip.path for clip in found.clips] == [A, None, None] and found.notes["unlisted_audio"] == 1
    (problem,) = found.problems
    assert problem.startswith("test.json ") and str(tmp_path) in problem


def test_a_name_that_is_not_of_youtube(tmp_path):
    clip = listing(touched(written(tmp_path, "val.json", [phrase(filename="rain 1.wav")]), "x/rain 1.flac")).clips[0]
    assert (clip.clip_id, clip.path, clip.sources) == ("val/rain 1.wav", "x/rain 1.flac", ())
    assert clip.found_by == "extension + folder"


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("rain_sounds.wav", None),
        ("aaaaaaaaaaa.wav", None),
        ("Yrain_sounds.wav", "rain_sounds"),
        ("rain_sounds_30_40.wav", "rain_sounds"),
        ("Yellow_bird.wav", None),
    ],
)
def test_a_word_is_not_taken_for_a_video(tmp_path, name, video):
    clip = listing(touched(written(tmp_path, "val.json", [phrase(filename=name)]), name)).clips[0]
    assert clip.path == name and clip.sources == ((("youtube", video),) if video else ())


@pytest.mark.parametrize(
    ("cell", "caption"),
    [
        ("[barking] a dog", "[barking] a dog"),
        (" [inaudible]", "[inaudible]"),
        ('["a", "dog"]', "a dog"),
        (' [ "a","dog" ] ', "a dog"),
    ],
)
def test_a_caption_in_a_csv_that_begins_with_a_bracket(tmp_path, cell, caption):
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("audio_id", "tokens", "phrases"), (B, cell, " [] ")])
    found = listing(touched(tmp_path, B))
    assert not found.problems and found.clips[0].captions == (caption,)


def test_no_labels(tmp_path):
    with pytest.raises(CorpusError) as caught:
        listing(touched(tmp_path, "a.wav"))
    message = str(caught.value)
    assert "{split}/label.json" in message and "'a.wav'" in message and PUBLISHED in message


@pytest.mark.parametrize(("options", "key"), [({}, "audio"), ({"tables": "nowhere"}, "tables")])
def test_no_folder(tmp_path, options, key):
    with pytest.raises(CorpusError, match=f"nowhere .*`{key}`"):
        listing(tmp_path / "nowhere", **options)
    assert layout(tmp_path / "nowhere", **options).tables(tmp_path / "nowhere") == []


def test_options():
    assert AudioGroundingOptions(layout="audiogrounding", audio="x").source is None
    with pytest.raises(ValidationError):
        AudioGroundingOptions(layout="audiogrounding", audio="x", source="youtube")


def test_fetch(tmp_path, monkeypatch):
    asked = []
    records = ModuleType("earwitness.fetch.records")
    records.RECORDS = {"audiogrounding-2": "the record"}
    records.fetch = lambda *arguments: asked.append(arguments)
    monkeypatch.setitem(sys.modules, "earwitness.fetch.records", records)
    layout(tmp_path, source="audiogrounding-2", mirror="folder").fetch(tmp_path)
    assert asked == [("the record", tmp_path, "folder")]


@pytest.mark.parametrize(("text", "told"), [("a \\ud800 dog", "half a character"), ("a " * 20000, "40000 characters")])
def test_captions_that_no_table_can_hold(tmp_path, text, told):
    row = f'{{"audio_id": "Yabcdefghijk.wav", "tokens": "{text}", "phrase": "a", "segments": [[0, 1]]}}'
    (tmp_path / "train.json").write_text(f"[{row}]")
    problems = AudioGrounding(AudioGroundingOptions(layout="audiogrounding", audio=".")).listing(tmp_path).problems
    assert any("train.json, row 1" in problem and told in problem for problem in problems)
