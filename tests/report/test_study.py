"""The page of a study, its csv and plots, and its table in the terminal, from a study made by hand."""

import csv
import json
import re
from html.parser import HTMLParser
from itertools import product
from xml.etree import ElementTree

import pytest

from earwitness.cli.main import main
from earwitness.report import plots
from earwitness.report.study import COLUMNS, p_text, write_study
from earwitness.report.terminal import study as table

REASON = "Java is <not> there."
NOTHING = dict.fromkeys(("ci95", "sd_over_seeds", "difference", "difference_ci95", "p_value", "p_corrected"))


def entry(value, p_value=None, corrected=None):
    found = {"value": value, "ci95": [value - 0.05, value + 0.05], "per_seed": [value - 0.01, value + 0.01], "clips": 9}
    found = NOTHING | found | {"sd_over_seeds": 0.0141}
    tested = {"difference": value - 0.3, "difference_ci95": [value - 0.4, value - 0.2], "p_value": p_value}
    return found | (tested | {"p_corrected": corrected} if p_value else {})


def without_value(reason):
    return NOTHING | {"value": None, "reason": reason, "per_seed": [], "clips": 9}


def made(axes, without=()):
    """A study of all combinations of values on axes, with a baseline from elsewhere."""
    experiments = [("base", {"pooling": {"label": "none", "value": "none"}}, False)]
    for number, values in enumerate(product(*axes.values())):
        settings = {axis: {"label": str(value), "value": value} for axis, value in zip(axes, values, strict=True)}
        experiments.append((f"x-{number}", settings, True))
    content = {"schema": 1, "study": "x", "dataset": "some-data", "baseline": "base", "axes": list(axes)}
    content |= {
        "metrics": {"cider_d": "captioning", "spider": "captioning"},
        "comparisons": {"cider_d": 2, "spider": 0},
    }
    content["experiments"] = []
    for number, (name, settings, member) in enumerate(experiments):
        cider = entry(0.3 + 0.02 * number, *((0.0004, 0.0123) if number == 1 else (0.5, 0.9) if number else ()))
        scores = {
            "cider_d": without_value(REASON) if name in without else cider,
            "spider": without_value("SPICE is off."),
        }
        one = {"name": name, "member": member, "settings": settings, "seeds": [0, 1], "settings_differ": {}}
        content["experiments"].append(one | {"leaks": [], "untrained": [], "remarks": [], "metrics": scores})
    return content


class Table(HTMLParser):
    """The cells of all rows."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


GRID = {"pooling": ["mean", "<max>"], "optim.lr": [0.0001, 0.001, 0.01]}


@pytest.fixture
def written(tmp_path):
    def write(content):
        write_study(content, tmp_path / "studies" / "x.html")
        return (tmp_path / "studies" / "x.html").read_text(encoding="utf-8")

    (tmp_path / "studies").mkdir()
    return write


def test_the_table_has_scores_spread_and_corrected_p_values(written):
    page = written(made(GRID))
    heads, base, first, *_ = Table(page).rows
    assert heads[:4] == ["Experiment", "pooling", "optim.lr", "Score"] and "corrected" in heads[8]
    assert base[:4] == ["basebaseline", "none", "", "0.300"]
    assert first[:5] == ["x-0", "mean", "0.0001", "0.320", "0.270–0.370"]
    assert all(text in first[5] for text in ("0.0141", "0.310", "0.330"))
    assert "+0.020" in first[6] and "\N{MINUS SIGN}0.080 to +0.120" in first[6]
    assert first[7:] == ["< 0.001", "0.012", "2", "9"]
    assert "<strong>+0.020</strong>" in page and page.count("<strong>+") == 1
    assert "<max>" not in page and "&lt;max&gt;" in page and "2 comparisons" in page


def test_missing_values_have_notes_and_metrics_without_any_have_no_table(written):
    page = written(made(GRID, without=["x-2"]))
    row = next(row for row in Table(page).rows if row[0] == "x-2")
    assert row[3] == "—1" and "Java is &lt;not&gt; there." in page
    assert page.count("<table>") == 1 and "SPICE is off." in page


def test_marks_of_experiments(written):
    content = made(GRID)
    content["experiments"][1] |= {"untrained": ["cnn14"], "remarks": ["a remark"], "settings_differ": {"t": [0.5, 0.3]}}
    row = Table(written(content)).rows[2]
    assert all(text in row[0] for text in ("cnn14", "a remark", "t: 0.3, not 0.5"))


def test_the_page_needs_nothing_else_and_is_the_same_again(written, tmp_path):
    page = written(made(GRID))
    before = {path.name: path.read_bytes() for path in (tmp_path / "studies" / "x").iterdir()}
    assert page == written(made(GRID))
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "studies" / "x").iterdir()}
    assert not re.search(r"""(?:src|<link[^>]*href)\s*=\s*["']?(?:https?:)?//""", page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_csv_has_a_row_for_each_metric_of_each_experiment(written, tmp_path):
    written(made(GRID, without=["x-2"]))
    with (tmp_path / "studies" / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    options = ["option.pooling", "option.optim.lr"]
    assert list(rows[0]) == ["experiment", "baseline", *options, *COLUMNS] and len(rows) == 14
    row = [
        rows[2][key] for key in ("experiment", "baseline", "metric", *options, "seeds", "comparisons", "p_corrected")
    ]
    assert row == ["x-0", "false", "cider_d", "mean", "0.0001", "0 1", "2", "0.0123"]
    assert [float(value) for value in rows[2]["per_seed"].split()] == pytest.approx([0.31, 0.33])
    assert rows[0]["baseline"] == "true" and rows[0]["difference"] == "" and rows[6]["reason"] == REASON


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        (GRID, ["grid", "over-optim.lr", "scores"]),
        ({"optim.lr": [0.0001, 0.001, 0.01]}, ["over-optim.lr"]),
        ({"pooling": ["mean", "max"]}, ["scores"]),
        ({"size": [1, 2], "lr": [1, 2], "pooling": ["a", "b"]}, ["over-lr", "over-size", "scores"]),
        ({"flag": [True, False]}, ["scores"]),
        ({"pooling": ["mean"]}, ["scores"]),
    ],
)
def test_plots_follow_from_the_options(written, tmp_path, axes, names):
    written(made(axes))
    files = sorted((tmp_path / "studies" / "x").iterdir())
    assert [path.name for path in files] == [f"cider_d-{name}.svg" for name in names]
    for path in files:
        ElementTree.parse(path)


def test_an_experiment_that_lacks_an_option_is_left_out_of_its_plot(written, tmp_path):
    content = made(GRID)
    del content["experiments"][2]["settings"]["optim.lr"]  # as in a list of combinations
    row = next(row for row in Table(written(content)).rows if row[0] == "x-1")
    assert row[1:3] == ["mean", ""]
    assert "cider_d-over-optim.lr.svg" in {path.name for path in (tmp_path / "studies" / "x").iterdir()}


def test_experiments_of_which_none_has_all_options_have_a_plot_of_their_scores(written, tmp_path):
    content = made(GRID)
    for number, experiment in enumerate(content["experiments"][1:]):
        del experiment["settings"][list(GRID)[number % 2]]
    written(content)
    assert [path.name for path in (tmp_path / "studies" / "x").iterdir()] == ["cider_d-scores.svg"]


@pytest.mark.parametrize(("values", "middle"), [([0.001, 0.01, 0.1], 0.5), ([1, 2, 9], 0.125)])
def test_values_that_span_decades_have_a_logarithmic_axis(values, middle):
    svg = plots.axis_plot("k", "t", {"": [(value, 0.5, None) for value in values]}, ("lr", "m"))
    first, second, third = (float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"[^>]*style="fill: var\(--c0\)', svg))
    assert (second - first) / (third - first) == pytest.approx(middle, abs=1e-3)


def test_the_terminal_shows_the_same(tmp_path, capsys):
    content = made(GRID, without=["x-2"])
    lines = table(content).splitlines()
    row = next(line for line in lines if line.startswith("x-0 ")).split()
    assert row[1:4] == ["mean", "0.0001", "0.320"] and row[-4:] == ["0.0004", "0.0123", "2", "9"]
    assert any(line.startswith("cider_d of x-2: ") and REASON in line for line in lines)
    folder = tmp_path / "some-data" / "studies"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps(content), encoding="utf-8")
    for name in ("x.json", "x.html", "x"):
        assert main(["--results", str(tmp_path), "show", str(folder / name)]) == 0
        assert capsys.readouterr().out.splitlines() == lines
    assert main(["--results", str(tmp_path), "show", str(folder / "y.json")]) == 1
    assert f"{folder / 'y.json'} does not exist" in (printed := capsys.readouterr().err) and "x.json" in printed
    (folder / "x.json").write_text("{}", encoding="utf-8")
    assert main(["--results", str(tmp_path), "show", str(folder / "x.json")]) == 1
    assert str(folder / "x.json") in capsys.readouterr().err


def test_small_p_values_are_said_to_be_small():
    assert [p_text(p) for p in (None, 0.0004, 0.0123, 1.0)] == ["", "< 0.001", "0.012", "1.000"]
