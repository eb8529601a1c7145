"""Csv tables as people save them, read whole or row by row."""

import pytest

from earwitness.corpora.csv_reader import PIECE, Row, missing_column, open_sheet, read_sheet, some, unreadable_text


def table(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_come_one_by_one_and_are_not_kept(tmp_path):
    sheet, rows = open_sheet(table(tmp_path, "a,b\n1,2\n\n3\nx,y,z\n"))
    assert sheet.columns == ("a", "b")
    assert next(rows) == Row(2, ("1", "2")) and next(rows) == Row(4, ("3", ""))
    assert not sheet.problems
    assert list(rows) == [] and sheet.rows == []
    (problem,) = sheet.problems
    assert problem.startswith("t.csv, row 5: 'x'") and "3 fields, the header 2" in problem


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n",
        "\n\na;b\r\n1;2\r\n",
        "\ufeffa\tb\r1\t2",
        'a,b\n"1\nx",2\na,b\n"open,3\n',
        "",
        "a,b\n",
        "b,c\n1,2\n",
        "a,a,b\n1,2,3\n",
        b"a,b\n1,\xff\n",
    ],
)
def test_both_ways_give_the_same(tmp_path, content):
    path = table(tmp_path, content)
    whole, (sheet, rows) = read_sheet(path, ["a"]), open_sheet(path, ["a"])
    assert list(rows) == whole.rows
    assert (sheet.columns, sheet.problems) == (whole.columns, whole.problems)
    assert bool(whole.rows) or bool(whole.problems)


@pytest.mark.parametrize("before", [0, PIECE - 2, PIECE - 1, PIECE, 2 * PIECE + 5])
@pytest.mark.parametrize("end", [b"", b"\nmore\n"])
def test_what_is_not_utf8_is_found_wherever_pieces_end(tmp_path, before, end):
    content = b"x" * (before // 2) + b"\n" + b"y" * (before - before // 2)
    assert unreadable_text(table(tmp_path, content + "é€".encode() + end)) == ""
    message = unreadable_text(table(tmp_path, content + b"\xe2\x82" + end))
    assert message.startswith("t.csv, row 2: ") and "not UTF-8 (byte 0xe2 in '" in message


def test_an_absent_file_is_a_problem(tmp_path):
    (problem,) = read_sheet(tmp_path / "no.csv", []).problems
    assert problem.startswith("no.csv: ") and "(No such file or directory)" in problem


def test_columns_in_messages(tmp_path):
    assert some(["a", "b"]) == "'a', 'b'"
    assert some([f"c{number}" for number in range(30)]).endswith("'c19' and 10 more")
    problem = missing_column(tmp_path / "t.csv", "captoin", ["file", "caption"])
    assert problem.startswith("t.csv: ") and "'captoin' is missing" in problem
    assert "'file', 'caption'; did you mean 'caption'?" in problem


def test_a_table_without_a_header_is_read_from_its_first_row(tmp_path):
    def unheaded(cells):
        return ("a", "b") if cells[0].isdecimal() else ()

    for text, columns, numbers in (("1,2\n3,4\n", ("a", "b"), [1, 2]), ("x,y\n3,4\n", ("x", "y"), [2])):
        sheet, rows = open_sheet(table(tmp_path, text), unheaded=unheaded)
        assert sheet.columns == columns and [row.number for row in rows] == numbers and not sheet.problems
