"""Csv, json and jsonl as rows of named columns: every shape gives the same rows, damage is reported by line."""

import json
import tracemalloc

import pytest

from earwitness.corpora import csv_reader, records_reader
from earwitness.corpora.records_reader import RecordTable

ROWS = [("a.wav", "rain"), ("b.wav", "a dog"), ("é.wav", 'he says "now"')]
RECORDS = [{"file": name, "caption": text} for name, text in ROWS]
SHAPES = {
    "t.csv": 'file,caption\na.wav,rain\nb.wav,a dog\né.wav,"he says ""now"""\n',
    "t.TSV": 'file\tcaption\na.wav\train\nb.wav\ta dog\né.wav\t"he says ""now"""\n',
    "t.jsonl": "".join(json.dumps(record) + "\n" for record in RECORDS),
    "t.ndjson": "\ufeff" + "\r\n\r\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS),
    "list.json": json.dumps(RECORDS),
    "indented.json": "\ufeff" + json.dumps(RECORDS, indent=4, ensure_ascii=False) + "\n\n",
    "wavcaps.json": json.dumps({"num_captions_per_audio": 1, "about": {"x": [1]}, "data": RECORDS, "tags": ["a"]}),
    "columns.json": json.dumps({"file": [row[0] for row in ROWS], "caption": [row[1] for row in ROWS]}),
    "pandas.json": json.dumps(
        {"file": {str(i): row[0] for i, row in enumerate(ROWS)}, "caption": {str(i): r[1] for i, r in enumerate(ROWS)}}
    ),
}


def read(tmp_path, name, content, columns=("file", "caption")):
    """The columns, the rows' values and the problems of a table of that name."""
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    table = RecordTable(tmp_path / name)
    rows = list(table.rows(columns)) if table.columns else []
    return table.columns, rows, table.problems


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_the_same_rows(tmp_path, monkeypatch, name, piece):
    monkeypatch.setattr(records_reader, "PIECE", piece)
    columns, rows, problems = read(tmp_path, name, SHAPES[name])
    assert columns == ("file", "caption") and problems == []
    assert [row.values for row in rows] == ROWS


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("t.csv", [2, 3, 4]), ("t.ndjson", [1, 3, 5]), ("list.json", [1, 2, 3]), ("pandas.json", [0, 1, 2])],
)
def test_rows_are_numbered(tmp_path, name, numbers):
    assert [row.number for row in read(tmp_path, name, SHAPES[name])[1]] == numbers


@pytest.mark.parametrize("piece", range(1, 12))
@pytest.mark.parametrize("value", [-12.5e-3, 1e300, 123456, True, None, "\\u00e9 \\\\", [1, [2.5]], [{"x": {}}]])
def test_values_stay_whole_wherever_pieces_end(tmp_path, monkeypatch, value, piece):
    monkeypatch.setattr(records_reader, "PIECE", piece)
    columns, rows, problems = read(tmp_path, "t.json", json.dumps({"file": [value, value]}), ["file"])
    assert (columns, problems) == (("file",), []) and [row.values for row in rows] == [(value,), (value,)]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_nan_and_null_are_not_given(tmp_path, name):
    records = ['{"file": "a.wav", "caption": NaN}', '{"file": null}', '{"caption": ["x", NaN]}']
    content = "\n".join(records) if name == "t.jsonl" else f"[{', '.join(records)}]"
    assert [row.values for row in read(tmp_path, name, content)[1]][:2] == [("a.wav", None), (None, None)]


def test_columns_are_those_of_all_rows(tmp_path):
    columns, rows, _ = read(tmp_path, "t.jsonl", '{"file": "a"}\n{"caption": "b", "file": "c"}\n')
    assert columns == ("file", "caption") and [row.values for row in rows] == [("a", None), ("c", "b")]
    columns, rows, _ = read(tmp_path, "t.json", '{"file": {"x": "a", "y": "b"}, "caption": {"y": "c"}}')
    assert [(row.number, *row.values) for row in rows] == [("x", "a", None), ("y", "b", "c")]


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("t.csv", "", ["t.csv: ", "empty"]),
        ("t.json", "", ["t.json: ", "empty"]),
        ("t.json", " [ ] ", ["t.json: ", "empty"]),
        ("t.jsonl", "\n\n", ["t.jsonl: ", "empty"]),
        ("t.json", "{}", ["t.json: ", "no list of objects"]),
        ("t.json", '{"file": "a.wav", "caption": "x"}', ["t.json: ", "no list of objects"]),
        ("t.json", "5", ["t.json, line 1: begins with '5'", "[{...}, ...]"]),
        ("t.json", '[\n{"a": 1},\n{"b": "cut', ["t.json, line 3: ", "(Unterminated string", "cut off?"]),
        ("t.json", '[\n{"a": 1}\n{"b": 2}]', ["t.json, line 3: ", "(',' is expected, here is '{')"]),
        ("t.json", '[{"a": 1},\n', ["t.json, line 2: ", "(Expecting value)"]),
        ("t.json", '[{"a": 1}', ["t.json, line 1: ", "(',' is expected, here is the file's end)"]),
        ("t.json", '{"d": [{"a": 1}]', ["t.json, line 1: ", "(',' is expected, here is the file's end)"]),
        ("t.json", "{d: 1}", ["t.json, line 1: ", "('\"' is expected, here is 'd')"]),
        ("t.json", '{"d" 1}', ["t.json, line 1: ", "(':' is expected, here is '1')"]),
        ("t.json", '[{"a": 1}]\n[{"a": 2}]', ["t.json, line 2: ", "after its end"]),
        ("t.json", '{"a": "x"}\n{"a": "y"}', ["t.json, line 2: ", "after its end", ".jsonl"]),
        ("t.json", '[{"a": 1}, 7, "x"]', ["t.json, row 2: '7'", "object"]),
        ("t.json", '{"x": [{"a": 1}], "y": [{"a": 2}]}', ["t.json: ", "several lists of objects, 'x', 'y'"]),
        ("t.json", '{"a": [1], "b": {"0": 1}}', ["t.json: ", "'a' is a list", "'b' an object"]),
        ("t.json", '{"a": [1, 2], "b": [1]}', ["t.json: ", "length", "'a' 2, 'b' 1"]),
        ("t.json", "[" * 100_000, ["t.json, line 1: ", "(nested too deeply)"]),
        ("t.json", f'[{{"a": {"1" * 5000}}}]', ["t.json, line 1: ", "(Exceeds the limit"]),
        ("t.jsonl", '{"a": 1}\n{"a": \n\n{"a"', ["t.jsonl, row 2: '{\"a\":'", "(Expecting value"]),
        ("t.jsonl", '{"a": 1}\n{"a": \n\n{"a"', ["t.jsonl, row 4: '{\"a\"'", "(Expecting ':' delimiter at"]),
        ("t.jsonl", '{"a": 1}\n[2]\n3\n', ["t.jsonl, row 2: '[2]'", "object"]),
        ("t.jsonl", '{"a": 1}\n[2]\n3\n', ["t.jsonl, row 3: '3'", "object"]),
        ("t.jsonl", '[{"a": 1}]', ["t.jsonl, row 1: begins with a list", ".json"]),
        ("t.jsonl", '[\n{"a": 1},\n{"a": 2}\n]', ["t.jsonl, row 1: begins with a list"]),
        ("t.xlsx", "PK", ["t.xlsx: ", "known are .csv"]),
    ],
)
def test_damaged_tables(tmp_path, name, content, facts):
    problems = read(tmp_path, name, content, [])[2]
    assert any(all(fact in problem for fact in facts) for problem in problems), problems
    assert len(problems) == len(set(problems))  # json is read twice


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_not_utf8(tmp_path, name):
    (tmp_path / name).write_bytes(b'\n{"file": "caf\xe9"}')
    table = RecordTable(tmp_path / name)
    assert list(table.rows([])) == []
    assert table.columns == () and f"{name}, row 2: is not UTF-8 (byte 0xe9" in table.problems[0]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_sound_rows_are_read_beside_damaged_ones(tmp_path, name):
    content = '[{"a": 1}, 2, {"a": 3}]' if name == "t.json" else '{"a": 1}\n2\n{"a": 3}\n'
    columns, rows, problems = read(tmp_path, name, content, ["a"])
    assert columns == ("a",) and [row.values for row in rows] == [(1,), (3,)] and len(problems) == 1


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_long_tables_are_not_held(tmp_path, monkeypatch, name):
    monkeypatch.setattr(records_reader, "PIECE", 1 << 14)
    monkeypatch.setattr(csv_reader, "PIECE", 1 << 14)
    records = [{"file": f"{i}.wav", "caption": "rain " * 100} for i in range(4000)]
    content = {
        "t.csv": "file,caption\n" + "".join(f"{record['file']},{record['caption']}\n" for record in records),
        "t.json": json.dumps(records),
        "t.jsonl": "\n".join(map(json.dumps, records)),
    }[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    tracemalloc.start()
    table = RecordTable(tmp_path / name)
    count = sum(1 for _ in table.rows(["file", "caption"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000 and peak < len(content) / 2
