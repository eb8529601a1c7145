"""What the rows of anybody's table say: its columns by name, rows that are one clip, and every row that is refused."""

import json

import pytest

from earwitness.corpora.caption_rows import ColumnOptions, choose_columns, doubtful_splits, read_rows
from earwitness.corpora.records_reader import RecordTable

ROWS = [("a.wav", "one"), ("b.wav", "two"), ("a.wav", "three")]


def table(tmp_path, content, name="t.csv"):
    if not isinstance(content, str):
        name, content = "t.json", json.dumps(content)
    (tmp_path / name).write_text(content, encoding="utf-8")
    return RecordTable(tmp_path / name)


def read(tmp_path, content, name="t.csv", split="evaluation", **columns):
    """The rows of a table, and its problems."""
    read_from = table(tmp_path, content, name)
    return read_rows(read_from, choose_columns(read_from, ColumnOptions(**columns)), split), read_from.problems


def columns_of(tmp_path, header, **configured):
    found = table(tmp_path, f"{header}\n{','.join('x' * (header.count(',') + 1))}\n")
    return choose_columns(found, ColumnOptions(**configured)), found.problems


@pytest.mark.parametrize(
    ("header", "name", "captions", "split", "sources"),
    [
        ("file_name,caption", "file_name", ("caption",), None, ()),
        ("File Name,Caption,Split", "File Name", ("Caption",), "Split", ()),
        ("id,text,tags", "id", ("text",), None, ()),
        ("id,path,wav,audio,file,filename,file_name", "file_name", (), None, ()),
        ("id,wav,path", "path", (), None, ()),
        ("caption_2,wav,caption_10,caption_1" + "".join(f",caption_{n}" for n in range(3, 10)), "wav", None, None, ()),
        ("filename,caption_0,caption_1", "filename", ("caption_0", "caption_1"), None, ()),
        ("filename,Caption 1,caption-2,caption", "filename", ("Caption 1", "caption-2"), None, ()),
        ("audio,captions,text,caption", "audio", ("captions",), None, ()),
        (
            "file,youtube_id,freesound_id",
            "file",
            (),
            None,
            (("youtube", "youtube_id"), ("freesound", "freesound_id")),
        ),
    ],
)
def test_usual_columns(tmp_path, header, name, captions, split, sources):
    found, problems = columns_of(tmp_path, header)
    if captions is None:
        captions = tuple(f"caption_{number}" for number in range(1, 11))
    assert problems == [] and found == (name, captions, split, sources)


def test_configured_columns_win(tmp_path):
    header = "id,caption,split,sound,gpt,human,fold,yt,fs,freesound_id"
    found, problems = columns_of(
        tmp_path, header, file="sound", captions=["human", "gpt"], split="fold", youtube_id="yt", freesound_id="fs"
    )
    assert found == ("sound", ("human", "gpt"), "fold", (("youtube", "yt"), ("freesound", "fs"))) and problems == []
    assert columns_of(tmp_path, header, captions="gpt")[0].captions == ("gpt",)


def test_configured_columns_that_are_absent_are_all_named(tmp_path):
    found, problems = columns_of(tmp_path, "sound,human", file="sonud", captions=["human", "gpt"], youtube_id="yt")
    assert found is None and len(problems) == 3
    assert problems[0].startswith("t.csv: ")
    assert all(fact in problems[0] for fact in ("'sonud' is missing", "'sound', 'human'", "did you mean 'sound'?"))
    found, problems = columns_of(tmp_path, "id,caption", captions="text", freesound_id="fs")
    assert found == ("id", (), None, ()) and len(problems) == 2  # clips can still be told


def test_no_column_of_names(tmp_path):
    found, problems = columns_of(tmp_path, "sound,caption")
    assert found is None and len(problems) == 1
    assert "set `columns: {file: ...}` to one of 'sound', 'caption'" in problems[0]


@pytest.mark.parametrize(("header", "number"), [("file,caption_1,caption_3", 2), ("file,caption_2", 1)])
def test_a_numbered_caption_left_out(tmp_path, header, number):
    assert f"but number {number} is missing" in columns_of(tmp_path, header)[1][0]


@pytest.mark.parametrize(
    "content",
    [
        "file,caption\na.wav,one\nb.wav,two\na.wav,three\n",
        "file,caption_1,caption_2\na.wav,one,three\nb.wav,two,\n",
        'file,captions\na.wav,"[""one"", ""three""]"\nb.wav,two\n',
        [{"file": "a.wav", "captions": ["one", None, "three", ""]}, {"file": "b.wav", "captions": "two"}],
        {"file": {"0": "a.wav", "1": "b.wav"}, "caption_1": {"0": "one", "1": "two"}, "caption_2": {"0": "three"}},
        [{"file": "a.wav", "caption_1": "one", "caption_2": "three"}, {"file": "b.wav", "caption_1": "two"}],
        {"n": 1, "data": [dict(zip(("file", "caption"), row, strict=True)) for row in ROWS]},
    ],
)
def test_rows_of_one_name_are_one_clip(tmp_path, content):
    rows, problems = read(tmp_path, content)
    assert problems == []
    assert list(rows.captions.items()) == [("evaluation/a.wav", ["one", "three"]), ("evaluation/b.wav", ["two"])]


def test_no_caption_column_gives_clips_without_captions(tmp_path):
    rows, problems = read(tmp_path, "file\na.wav\n it&#39;s.wav\n", split="validation")
    assert rows.captions == {"validation/a.wav": [], "validation/ it&#39;s.wav": []} and problems == []


def test_names_may_be_numbers_in_json(tmp_path):
    assert list(read(tmp_path, [{"id": 180913, "caption": "bees"}])[0].captions) == ["evaluation/180913"]


def test_captions_stay_as_they_are_but_for_line_breaks(tmp_path):
    rows, problems = read(tmp_path, 'file,caption\na,NA\nb,nan\nc,"x\r\ny\nz"\nd, [music] \n')
    assert [texts[0] for texts in rows.captions.values()] == ["NA", "nan", "x y z", " [music] "] and problems == []


def test_splits_by_column(tmp_path):
    for values in (["train", "Test", "valid"], ["development", " evaluation ", "val"], ["training", "eval"]):
        rows, problems = read(tmp_path, "file,split\n" + "".join(f"a.wav,{value}\n" for value in values))
        assert list(rows.captions) == [f"{value.strip()}/a.wav" for value in values] and problems == []
    assert list(read(tmp_path, "file,split\na.wav,dev\nb.wav,test\n")[0].captions) == ["dev/a.wav", "test/b.wav"]


def test_splits_that_are_refused_name_all_their_rows(tmp_path):
    lines = ["a,fold1", "b,train", "c,fold1", "d,fold1", "e,", "f,fold2"]
    rows, problems = read(tmp_path, "file,split\n" + "\n".join(lines) + "\n")
    known = "development, train, training, dev, validation, valid, val, evaluation, eval, test"
    places = ["t.csv, rows 2, 4 to 5: ", "t.csv, row 6: ", "t.csv, row 7: "]
    for problem, place, value in zip(problems, places, ("'fold1'", "''", "'fold2'"), strict=True):
        assert problem.startswith(place) and value in problem and known in problem
    assert list(rows.captions) == ["train/b"]
    (problem,) = read(tmp_path, [{"file": "a", "split": None}])[1]
    assert problem.startswith("t.json, row 1: ") and "''" in problem and known in problem


def test_dev_beside_train_is_doubtful(tmp_path):
    _, problems = read(tmp_path, "file,split\na,train\nb,Dev\n")
    (problem,) = problems
    assert problem.startswith("t.csv: ") and "'Dev'" in problem and "'train'" in problem
    assert doubtful_splits("x", ["dev", "test"]) == doubtful_splits("x", ["train", "val"]) == []


def test_sources(tmp_path):
    content = (
        "file,youtube_id,freesound_id\na,-Ab_0123456,85362\nb,,Not found\na,-Ab_0123456,7.0\nc, xyz ,nan\n"  # pandas
    )
    rows, problems = read(tmp_path, content)
    assert problems == [] and {clip: list(ids) for clip, ids in rows.sources.items()} == {
        "evaluation/a": [("youtube", "-Ab_0123456"), ("freesound", "85362"), ("freesound", "7")],
        "evaluation/c": [("youtube", "xyz")],
    }
    content = '[{"file": "a", "fs": 85362.0}, {"file": "b", "fs": NaN}]'
    rows, problems = read(tmp_path, content, "t.json", freesound_id="fs")
    assert problems == [] and list(rows.sources) == ["evaluation/a"]
    assert list(rows.sources["evaluation/a"]) == [("freesound", "85362")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file,caption\na.wav,\n", "t.csv, row 2: 'a.wav' has no caption"),
        ("file,caption_1,caption_2\na.wav,x,\nb.wav,,\n", "t.csv, row 3: 'b.wav' has no caption"),
        ([{"file": "a", "caption": []}], "t.json, row 1: 'a' has no caption"),
        ([{"file": "a", "caption": "x"}, {"file": "b"}], "t.json, row 2: 'b' has no caption"),
        ("file,caption\na,...\n", "row 2: | '...' of 'a' | no word"),
        ("file,caption\na, \n", "row 2: | ' ' of 'a' | no word"),
        ("file,caption\na,x\0y\n", "row 2: | 'x\\x00y' of 'a' | NUL"),
        (f"file,caption\na,{'x' * 32769}\n", "row 2: | 'xxx | 32769 characters"),
        ([{"file": "a", "caption": "\ud800"}], "row 1: | '\\ud800' of 'a' | half a character"),
        ([{"file": "a", "caption": [5, "x"]}], "row 1: | caption '5' of 'a'"),
        ("file,captions\na,\"['x', 'y']\"\n", "row 2: | \"['x', 'y']\" of 'a' | list"),
        ("file,caption\n,x\n", "row 2: the file name is ''"),
        ("file,caption\n ,x\n", "row 2: the file name is ' '"),
        ("file,caption\n/etc/a.wav,x\n", "row 2: '/etc/a.wav' leads out of"),
        ("file,caption\nb/../../a.wav,x\n", "row 2: 'b/../../a.wav' leads out of"),
        ('file,caption\n"a\n.wav",x\n', "row 2: 'a\\n.wav' holds a control character"),
        (
            [{"file": "\udcff", "caption": "x"}],
            "row 1: '\\udcff' | UTF-8",
        ),
        ([{"file": None, "caption": "x"}], "row 1: | file name | missing"),
        ([{"file": 1.5, "caption": "x"}], "row 1: | file name '1.5'"),
        ([{"file": True, "caption": "x"}], "row 1: | file name 'True'"),
        ("file,caption\na,x\nfile,caption\n", "row 3: | header"),
        ("file,freesound_id\na,abc\n", "row 2: the freesound_id 'abc' is no number"),
        ([{"file": "a", "youtube_id": ["x"]}], "row 1: the youtube_id \"['x']\" is no id"),
    ],
)
def test_rows_that_are_refused(tmp_path, content, said):
    _, problems = read(tmp_path, content)
    assert len(problems) == 1 and all(fact in problems[0] for fact in said.split(" | "))


def test_all_offenders_at_once(tmp_path):
    lines = ["a,train,x", "b,train,", "c,train,?!", "../d,train,x", "e,nowhere,"]
    problems = read(tmp_path, "file,split,caption\n" + "\n".join(lines) + "\n")[1]
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        *(f"t.csv, row {number}" for number in (3, 4, 5, 6, 6)),
    ]


def test_spellings_of_one_split_are_refused_together():
    one, two = doubtful_splits("t.csv", ["train", "Train", "val", "test", "evaluation"])
    assert one.startswith("t.csv: 'train' and 'Train' ") and "development" in one
    assert two.startswith("t.csv: 'test' and 'evaluation' ")
    assert doubtful_splits("t.csv", ["Dev", "val", "test"]) == []


def test_two_columns_of_one_number_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("file_name,caption_1,caption1\na.wav,rain,wind\n")
    table = RecordTable(tmp_path / "t.csv")
    choose_columns(table, ColumnOptions())
    (problem,) = table.problems
    assert "'caption_1' and 'caption1'" in problem and "number" in problem
