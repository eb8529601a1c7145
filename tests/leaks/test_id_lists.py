"""Lists of ids as they are published: every form is read, and what cannot be is told plainly."""

import pytest

from earwitness.errors import CorpusError
from earwitness.leaks.id_lists import comparable, read
from earwitness.options import IdListOptions

AUDIOSET = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n"
    "# num_ytids=2, num_segs=2\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
    '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n'
    '--BfvyPmVMo, 20.000, 30.000, "/m/03l9g"\n'
)
VGGSOUND = '---g-f_I2yQ,1,"people marching, in step",test\n--0PQM4-hqg,30,waterfall burbling,train\n'


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
