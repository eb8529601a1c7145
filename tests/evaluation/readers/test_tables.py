"""Tables of all kinds of files."""

import h5py
import pytest

from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers.tables import find_column, need_column, open_hdf5, open_table, read_id, reason_of

ROWS = [("a.wav", "x"), ("b.wav", "y")]


def rows(table, *columns):
    return [values for _, values in table.rows(columns)]


def hdf(path, **columns):
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            text = isinstance(values[0], str)
            file.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "clip_id,caption\na.wav,x\nb.wav,y\n"),
        ("t.csv", "\ufeffclip_id;caption\r\na.wav;x\r\nb.wav;y\r\n"),
        ("t.tsv", 'clip_id\tcaption\na.wav\t"x"\nb.wav\ty'),
        ("t.json", {"a.wav": "x", "b.wav": "y"}),
        ("t.json", [{"clip_id": "a.wav", "caption": "x"}, {"clip_id": "b.wav", "caption": "y"}]),
        (
            "t.json",
            {"run": 1, "predictions": [{"clip_id": "a.wav", "caption": "x"}, {"clip_id": "b.wav", "caption": "y"}]},
        ),
        ("t.json", {"clip_id": ["a.wav", "b.wav"], "caption": ["x", "y"]}),
        ("t.json", {"clip_id": {"0": "a.wav", "1": "b.wav"}, "caption": {"0": "x", "1": "y"}}),
        ("t.jsonl", '{"clip_id": "a.wav", "caption": "x"}\n\n{"clip_id": "b.wav", "caption": "y"}\n'),
    ],
)
def test_every_kind_has_the_same_rows(write, name, content):
    table = open_table(write(name, content))
    assert set(table.columns) >= {"clip_id", "caption"} and not table.problems
    assert rows(table, "clip_id", "caption") == ROWS


def test_hdf5_has_a_column_a_data_set(tmp_path):
    table = open_table(hdf(tmp_path / "t.h5", clip_id=["a.wav", "b.wav"], caption=["x", "é"], number=[1, 2]))
    assert rows(table, "clip_id", "number", "caption") == [("a.wav", 1, "x"), ("b.wav", 2, "é")]


def test_data_sets_of_two_lengths_are_a_problem(tmp_path):
    table = open_table(hdf(tmp_path / "t.h5", clip_id=["a", "b"], caption=["x"]))
    assert rows(table, "clip_id", "caption") == []
    (problem,) = table.problems
    assert problem.startswith("t.h5: ") and "'clip_id' 2, 'caption' 1" in problem


def test_text_of_hdf5_that_is_not_utf8_is_refused(tmp_path):
    table = open_table(hdf(tmp_path / "t.h5", clip_id=[b"\xff"]))
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("clip_id", data=[b"\xff"], dtype=h5py.string_dtype())
    with pytest.raises(EarwitnessError, match=r"t\.h5: .*'clip_id'.* not UTF-8"):
        rows(table, "clip_id")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied", "/x/t.npz"), "Permission denied"),
        (OSError(13, "cannot open file: name = '/x/t.h5'"), "Permission denied"),
        (OSError("truncated file"), "truncated file"),
        (ValueError("no zip"), "no zip"),
    ],
)
def test_a_reason_does_not_repeat_the_path(error, expected):
    assert reason_of(error) == expected


def test_a_file_that_is_damaged_within_is_refused(tmp_path):
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("clip_id", data=list(range(1000)), chunks=(500,), compression="gzip")
        place = data.id.get_chunk_info(1).byte_offset
    content = path.read_bytes()
    path.write_bytes(content[:place] + bytes(20) + content[place + 20 :])
    with pytest.raises(EarwitnessError, match=r"^t\.h5: is damaged"):
        rows(open_table(path), "clip_id")
    with pytest.raises(KeyError), open_hdf5(path, []):
        raise KeyError("of another kind")


def test_phrases_by_column_are_a_table(write):
    table = open_table(write("t.json", {"phrase_id": ["p", "q"], "caption_id": ["a#1", "a#1"]}))
    assert rows(table, "phrase_id", "caption_id") == [("p", "a#1"), ("q", "a#1")]


def test_coco_has_annotations_with_the_names_of_their_images(write):
    images = [{"id": 1, "file_name": "a.wav"}, {"id": 2, "file_name": "b.wav"}]
    annotations = [{"image_id": 1, "id": 7, "caption": "x"}, {"image_id": 3, "id": 8, "caption": "y"}]
    table = open_table(write("t.json", {"images": images, "annotations": annotations}))
    assert rows(table, "image_id", "file_name", "caption") == [(1, "a.wav", "x")]
    (problem,) = table.problems
    assert problem.startswith("t.json, row 2: ") and "image_id '3'" in problem


@pytest.mark.parametrize(
    "content", [{"7": [{"caption": "x"}]}, {"7": [{"image_id": 7, "id": 1, "caption": "x"}]}, {"7": ["x"]}, {"7": None}]
)
def test_json_by_clip_is_a_mapping_whatever_the_captions_are(write, content):
    assert rows(open_table(write("t.json", content)), "clip_id") == [("7",)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.xlsx", "x", ["t.xlsx: ", ".csv, .tsv, .txt, .json, .jsonl, .ndjson, .h5"]),
        ("t.h5", "clip_id,caption", ["t.h5: ", "HDF5 ("]),
        ("t.json", '{"a.wav": "x", "a.wav": "y"}', ["t.json: ", "key 'a.wav'", "2 times"]),
        ("t.json", '{"a": "x",\n "b": ', ["t.json, line 2: ", "not json", "(Expecting value)", "cut off?"]),
        ("t.json", b'{"a": "\xff"}', ["t.json, row 1: ", "not UTF-8 (byte 0xff"]),
        ("t.json", {}, ["t.json: ", "no list of objects"]),
        ("t.json", {"images": [], "annotations": []}, ["t.json: ", "no annotation"]),
        ("t.json", {"images": [{"id": [1]}], "annotations": [{"image_id": 1}]}, ["t.json, row 1: ", "image_id '1'"]),
        ("t.csv", "", ["t.csv: ", "empty"]),
    ],
)
def test_what_cannot_be_read_is_a_problem(write, name, content, expected):
    (problem,) = open_table(write(name, content)).problems
    assert problem.startswith(expected[0]) and all(fact in problem for fact in expected)


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.h5", "t.jsonl"])
def test_absent_files_have_the_same_problem(tmp_path, name):
    (problem,) = open_table(tmp_path / name).problems
    assert problem.startswith(f"{name}: ") and "(No such file or directory)" in problem


def test_columns_are_found_by_usual_names_in_their_order(write):
    table = open_table(write("t.csv", "id,File Name,text\n1,a,x\n"))
    assert find_column(table, ("clip_id", "file_name", "id")) == "File Name"
    assert find_column(table, ("file_name",), "id") == "id"
    assert find_column(table, ("caption",)) is None and not table.problems


def test_columns_that_are_missing_are_problems(write):
    table = open_table(write("t.csv", "id,txt\n1,a\n"))
    assert find_column(table, (), "text") is None and need_column(table, ("caption",), None, "captions", "--c") is None
    missing, unusual = table.problems
    assert missing.startswith("t.csv: ") and "'text'" in missing and "'id', 'txt'; did you mean 'txt'?" in missing
    assert unusual.startswith("t.csv: ") and "captions" in unusual and "--c;" in unusual and "'id', 'txt'" in unusual


@pytest.mark.parametrize(
    ("value", "expected", "problem"),
    [
        ("a b", "a b", None),
        (7, "7", None),
        ("007", "007", None),
        (None, None, "missing"),
        (" ", None, "missing"),
        (True, None, "clip 'True'"),
        (["a"], None, "clip \"['a']\""),
    ],
)
def test_ids_are_text(write, value, expected, problem):
    table = open_table(write("t.csv", "a\n1\n"))
    assert read_id(table, 3, value) == expected
    assert len(table.problems) == (problem is not None)
    assert all(found.startswith("t.csv, row 3: ") and problem in found for found in table.problems)
