"""The table and the plots beside the comparison page."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest

from earwitness.evaluation.interface import Baseline
from earwitness.report import plots
from earwitness.report.files import COLUMNS, standalone, write_metrics, write_plots
from earwitness.report.interface import Experiment

NAMES = ["a & <b>", "second"]
CURVES = [[{"loss": {1: 2.0, 2: 1.0}}], [{"loss": {1: 3.0, 2: 1.5}}]]


@pytest.fixture(scope="module")
def loss():
    return plots.curve_plot("loss", "Loss & more", {"loss": "-"}, CURVES)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_plot_stands_alone_with_title_legend_and_the_colours_of_the_light_page(loss):
    svg = standalone(loss, NAMES)
    assert "var(" not in svg and "currentColor" not in svg
    assert texts(svg)[0] == "Loss & more" and texts(svg)[-2:] == NAMES
    circles = list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle"))
    assert [circle.get("fill") for circle in circles] == ["#1f6fc4", "#c2570c"]
    assert svg.count("#1f6fc4") == 2  # the curve, too


def test_plots_replace_those_of_another_page(tmp_path, loss):
    write_plots(tmp_path, {"gone": loss}, NAMES)
    scores = plots.score_plot([(0, NAMES[0], 0.5, None)], {}, "CIDEr-D", "scores-captioning")
    write_plots(tmp_path, {"loss": loss, "scores-captioning": scores, "none": None}, NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.svg", "scores-captioning.svg"]
    assert texts((tmp_path / "scores-captioning.svg").read_text(encoding="utf-8")).count(NAMES[0]) == 1


def test_every_baseline_is_a_line_of_the_plot():
    lines = {f"control {number}": number / 10 for number in range(1, 7)} | {"none": None}
    svg = standalone(plots.score_plot([(0, "mine", 0.5, None)], lines, "mIoU", "scores-grounding"))
    found = [text for text in texts(svg) if text and text.startswith(("control", "none"))]
    assert found == [f"control {number} 0.{number}00" for number in range(1, 7)]


def test_the_table_has_every_metric_with_interval_or_reason(tmp_path):
    metrics = {"cider_d": {"value": 0.1 + 0.2, "ci95": [0.25, 0.5]}, "spice": {"value": None, "reason": "no jars, yet"}}
    result = {"seeds": [0, 1], "kinds": {"captioning": {"metrics": list(metrics)}}, "metrics": metrics}
    baseline = Baseline("constant", "Constant", "", {"cider_d": {"value": 0.125}})
    write_metrics(tmp_path / "t.csv", [Experiment("mine", Path("mine"), result)], {"captioning": [baseline]})
    header, *rows = csv.reader((tmp_path / "t.csv").open(encoding="utf-8"))
    assert header == COLUMNS
    assert rows == [
        ["mine", "experiment", "captioning", "cider_d", repr(0.1 + 0.2), "0.25", "0.5", "2", ""],
        ["mine", "experiment", "captioning", "spice", "", "", "", "2", "no jars, yet"],
        ["constant", "baseline", "captioning", "cider_d", "0.125", "", "", "", ""],
    ]
