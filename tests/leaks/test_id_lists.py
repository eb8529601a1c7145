"""Lists of ids as they are published: every form is read, and what cannot be is told plainly."""

import gzip
import json

import pandas as pd
import pytest

from earwitness.errors import CorpusError
from earwitness.leaks.id_lists import comparable, read
from earwitness.options import IdListOptions
from tests.places import SHARED_DATA

AUDIOSET = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n"
    "# num_ytids=2, num_segs=2\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
    '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
    '--BfvyPmVMo, 20.000, 30.000, "/m/03l9g"\n'
)
VGGSOUND = '---g-f_I2yQ,1,"people marching, in step",test\n--0PQM4-hqg,30,waterfall burbling,train\n'


BLACKLIST = '{"AudioSet": ["YAb1_-xyz012.wav"], "FreeSound": ["180913", "42"]}'  # as WavCaps has it
RECORDS = '{"version": 1, "data": [{"id": "180913", "part": "train"}, {"part": "test", "id": 42, "tags": ["x"]}]}'


def entries(path, content, encoding="utf-8", **options):
    path.write_bytes(content.encode(encoding))
    return [tuple(entry) for entry in read(path, IdListOptions(files=[str(path)], **options))]


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        ("youtube", "r1nicOVtvkQ", "r1nicOVtvkQ"),
        ("youtube", " Yr1nicOVtvkQ.wav ", "r1nicOVtvkQ"),
        ("youtube", "train/r1nicOVtvkQ_000130.mp4", "r1nicOVtvkQ"),
        ("youtube", "Y--4gqARaEJE_30.000_40.000.wav", "--4gqARaEJE"),
        ("youtube", "YSkwCjGt4TQ", "YSkwCjGt4TQ"),
        ("youtube", "https://www.youtube.com/watch?t=3&v=r1nicOVtvkQ&list=x", "r1nicOVtvkQ"),
        ("youtube", "https://youtu.be/--4gqARaEJE?t=30", "--4gqARaEJE"),
        ("youtube", "https://www.youtube.com/embed/r1nicOVtvkQ", "r1nicOVtvkQ"),
        ("youtube", "https://www.youtube.com/watch?v=r1nicOVtvkQQ", None),
        ("youtube", "Speech, Male speech", None),
        ("youtube", "30.000", None),
        ("youtube", "", None),
        ("freesound", "0085362.wav", "85362"),
        ("freesound", " 85362.0", "85362"),
        ("freesound", "Not found", None),
        ("sha256", "AB" * 32 + "\n", "ab" * 32),
        ("sha256", "ab", None),
        ("name", " Rain &#39;n wind.wav ", " Rain &#39;n wind.wav "),
        ("name", "", None),
    ],
)
def test_ids_are_brought_to_one_form_and_names_left_alone(kind, value, form):
    assert comparable(kind, value) == form


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (AUDIOSET, {"column": "YTID"}, [("--4gqARaEJE", ""), ("--BfvyPmVMo", "")]),
        (VGGSOUND, {"column": "1", "side": "4"}, [("---g-f_I2yQ", "test"), ("--0PQM4-hqg", "train")]),
        ("a;YTID\n1;Y--4gqARaEJE\n\n2;\n", {"column": "YTID"}, [("--4gqARaEJE", ""), (None, "")]),
        ("﻿YTID\tpart\r\nr1nicOVtvkQ\t x \r\n", {"column": "YTID", "side": "part"}, [("r1nicOVtvkQ", "x")]),
        ("# of somebody\nr1nicOVtvkQ\r\n\n Y--4gqARaEJE.wav\n", {}, [("r1nicOVtvkQ", ""), ("--4gqARaEJE", "")]),
        ("# a, b\nr1nicOVtvkQ\n", {}, [("r1nicOVtvkQ", "")]),
    ],
)
def test_youtube_lists_of_every_form_are_read(tmp_path, content, options, expected):
    assert entries(tmp_path / "list.csv", content, kind="youtube", **options) == expected


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("#1 rain.wav\nb.wav\n# c.wav\n", {}, ["#1 rain.wav", "b.wav", "# c.wav"]),
        ("#1 rain.wav,1\nb.wav,2\n", {"column": "1"}, ["#1 rain.wav", "b.wav"]),
        ("file,n\n#1 rain.wav,1\n", {"column": "file"}, ["#1 rain.wav"]),
        ("# of somebody\n# file, n\n#1 rain.wav, 1\n", {"column": "file"}, ["#1 rain.wav"]),
        ("#file,n\n#1 rain.wav,1\n", {"column": "#file"}, ["#1 rain.wav"]),
    ],
)
def test_names_may_begin_as_comments_do(tmp_path, content, options, expected):
    assert entries(tmp_path / "list.txt", content, **options) == [(name, "") for name in expected]


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_names_keep_their_blanks_in_either_encoding(tmp_path, encoding):
    table = 'file_name,x\n Café.wav ,1\n"a, b.wav",2\n'
    expected = [(" Café.wav ", ""), ("a, b.wav", "")]
    assert entries(tmp_path / "table.csv", table, encoding, column="file_name") == expected
    assert entries(tmp_path / "lines.txt", " Café.wav \r\na, b.wav\n", encoding) == expected


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "'name'"),
        ("YTID\n", {"column": "YTID"}, "'name'"),
        ("YTID\nNot found\n", {"column": "YTID", "kind": "freesound"}, "'freesound'"),
        (VGGSOUND, {"column": "3", "kind": "youtube"}, "'youtube' | 'people marching, in step'"),
        (VGGSOUND, {"column": "2", "kind": "youtube"}, "is '2' the right `column`?"),
        ("a\nr1nicOVtvkQ\n30\n", {"kind": "youtube"}, "2 of its 3 entries | 'a'"),
        (VGGSOUND, {"kind": "youtube"}, "list.csv: | none is named | '---g-f_I2yQ,1"),
        ("file_name\tcaption\na.wav\tRain.\n", {}, "none is named"),
        ("# a comment\n1;2\n", {"kind": "freesound"}, "its first line is '1;2'"),
        ("YTIDS,x\na,b\n", {"column": "YTID"}, "'YTID' is missing | 'YTIDS', 'x'; did you mean 'YTIDS'"),
        ("a,b\n", {"column": "1", "side": "3"}, "column 3; | 2"),
        ("YTID,x\na,b\n", {"column": "YTID", "side": "part"}, "the column 'part' is missing"),
        ('YTID,x\na,"b\n', {"column": "YTID"}, "csv"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, content, options, message):
    path = tmp_path / "list.csv"
    with pytest.raises(CorpusError) as caught:
        entries(path, content, **options)
    assert all(fact in str(caught.value) for fact in [*message.split(" | "), str(path)])


def test_an_absent_list_is_told_where_to_be_put(tmp_path):
    path = tmp_path / "absent.csv"
    with pytest.raises(CorpusError, match=r"absent\.csv"):
        list(read(path, IdListOptions(files=[str(path)])))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.json", BLACKLIST, {}, [("YAb1_-xyz012.wav", ""), ("180913", ""), ("42", "")]),
        ("a.json", BLACKLIST, {"column": "FreeSound", "kind": "freesound"}, [("180913", ""), ("42", "")]),
        ("a.JSON", '[[["a.wav", 7], null], "b.wav"]', {}, [("a.wav", ""), ("7", ""), (None, ""), ("b.wav", "")]),
        ("a.json", RECORDS, {"column": "id", "side": "part"}, [("180913", "train"), ("42", "test")]),
        ("a.json", '{"id": {"0": 1, "1": 2}}', {"column": "id", "kind": "freesound"}, [("1", ""), ("2", "")]),
        ("a.json", '{"part": ["x", "y"], "id": [1, 2]}', {"column": "id", "side": "part"}, [("1", "x"), ("2", "y")]),
        ("a.json", '{"part": "x", "id": [1, 2]}', {"column": "id", "side": "part"}, [("1", "x"), ("2", "x")]),
        ("a.jsonl", '"a.wav"\n\n["b.wav"]\n', {}, [("a.wav", ""), ("b.wav", "")]),
        ("a.jsonl", '\ufeff{"id": "a.wav"}\n{"id": "b.wav"}', {"column": "id"}, [("a.wav", ""), ("b.wav", "")]),
        ("a.json", '{"id": "a.wav"}\n{"id": "b.wav"}', {"column": "id"}, [("a.wav", ""), ("b.wav", "")]),
        ("a.csv", "id,part\n1,x\n", {"column": "id", "side": "part"}, [("1", "x")]),
        ("a.txt", "{a}.wav\n[1] rain.wav\n", {}, [("{a}.wav", ""), ("[1] rain.wav", "")]),
    ],
)
def test_json_of_every_form_and_packed_lists_are_read(tmp_path, packed, name, content, options, expected):
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert [tuple(entry) for entry in read(path, IdListOptions(files=[str(path)], **options))] == expected


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", BLACKLIST, {}, "json"),
        ("a.csv", "[\n 1]", {"kind": "freesound"}, "json"),
        ("a.json", RECORDS, {}, "'part' | `column`"),
        ("a.jsonl", '{"id": "a.wav"}', {}, "'id' | `column`"),
        ("a.json", RECORDS, {"column": "ids"}, "'ids' is missing | did you mean 'id'"),
        ("a.json", RECORDS, {"column": "id", "side": "split"}, "'split' is missing"),
        ("a.json", '{"a.wav": ["dog", "rain"]}', {}, "keys | 'a.wav'"),
        ("a.json", '{"a": "b"}', {}, "no id"),
        ("a.json", '["a.wav",\n"b.wav"', {}, "line 2"),
        ("a.json", "[" * 100_000, {}, "a.json"),
        ("a.json", '{"id": [1, 2], "part": ["x"]}', {"column": "id", "side": "part"}, "2 values | 1"),
        ("a.txt", "<!doctype html>", {}, "web page"),
        ("a.xlsx", "PK\x03\x04\0\0", {}, "no text"),
        ("a.csv.gz", "\x1f\x8b", {}, "damaged"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, name, content, options, message):
    path = tmp_path / name
    with pytest.raises(CorpusError) as caught:
        entries(path, content, "latin-1", **options)
    assert all(fact in str(caught.value) for fact in [*message.split(" | "), str(path)])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["A dog barks.", "Rain falls!", "b.wav"], "name"),
        (["a man speaks while a dog barks far away"], "name"),
        (["0.000", "30.5", "7"], "name"),
        (["a.wav,1,train", "b.wav;2;train", "c.wav"], "name"),
        (["train", "test", "train"], "name"),
        (["/", "https://x.org/sounds/7/"], "name"),
        (["development", "evaluation"], "youtube"),
        (["7", "30"] * 300, "freesound"),
        (["dog barking"] * 600, "name"),
    ],
)
def test_a_list_of_which_hardly_an_entry_can_be_an_id_is_refused(tmp_path, values, kind):
    path = tmp_path / "list.json"
    with pytest.raises(CorpusError, match=r"list\.json .*'.*'.*`kind`"):
        entries(path, json.dumps(values), kind=kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["Rain and Storm", "180913", "Fast food soda with ice, sip slurp straw", "A/b"], "name"),
        (["a.wav"] * 600, "name"),  # a row for each event
        (["7", "30"], "freesound"),
    ],
)
def test_odd_ids_are_taken(tmp_path, values, kind):
    assert [id_ for id_, _ in entries(tmp_path / "list.json", json.dumps(values), kind=kind)] == values


def test_wrong_columns_of_real_tables_are_found_out(tmp_path):
    tables = {name: SHARED_DATA / "captions" / name for name in ("audiocaps_v1/test.csv", "clotho_v2")}
    if not all(table.exists() for table in tables.values()):
        pytest.skip("the tables of ../shared/data are not here")
    audiocaps = tables["audiocaps_v1/test.csv"]
    for column, kind in [("caption", "name"), ("start_time", "name"), ("start_time", "freesound")]:
        options = IdListOptions(files=[str(audiocaps)], column=column, kind=kind)
        with pytest.raises(CorpusError, match="right `column`"):
            list(read(audiocaps, options))
    assert (
        len(list(read(audiocaps, IdListOptions(files=[str(audiocaps)], column="youtube_id", kind="youtube")))) == 4875
    )
    names = pd.read_csv(tables["clotho_v2"] / "clotho_captions_evaluation.csv")["file_name"].str.removesuffix(".wav")
    stems = tmp_path / "stems.txt"
    stems.write_text("\n".join(names), encoding="utf-8")
    assert len(list(read(stems, IdListOptions(files=[str(stems)])))) == 1045
