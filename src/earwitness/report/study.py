"""The page of a study: one self-contained file, beside a csv of its numbers and its plots.

The same study gives the same page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.corpora.tables import write_rows
from earwitness.evaluation.interface import SPLIT
from earwitness.files import write_text
from earwitness.leaks.audit import describe
from earwitness.metrics.catalogue import Metric
from earwitness.report import plots
from earwitness.report.differences import CLEAR
from earwitness.report.files import rendered, write_plots
from earwitness.report.notes import Notes

COLUMNS = (
    *("metric", "value", "low", "high", "sd_over_seeds", "seeds", "clips", "per_seed"),
    *("difference", "difference_low", "difference_high", "p_value", "p_corrected", "comparisons", "reason"),
)
HEADINGS = (
    "Score",
    "95 % interval over clips",
    "SD over seeds",
    "Difference, 95 % interval",
    "p",
    "p, corrected",
    "Seeds",
    "Clips",
)


@dataclass
class Cell:
    """A cell of the table; ``sort`` is what the column is sorted by, ``note`` the number of the note with a reason."""

    text: str = ""
    small: str = ""
    sort: str | float | None = None
    clear: bool = False
    note: int | None = None


def write_study(content: Mapping[str, Any], out: Path) -> None:
    """Write the page of a study (``evaluation.study``), the csv with its name, and its plots in a folder of its name.

    The csv has a row for each metric of each experiment: ``experiment``, whether it is the ``baseline``, its options
    (``option.KEY``), and ``COLUMNS``; ``per_seed`` has the values of its ``seeds``, both separated by spaces.
    """
    sections = [_section(content, metric, kind) for metric, kind in content["metrics"].items()]
    numbers = sorted({len(experiment["seeds"]) for experiment in content["experiments"]})
    shown = {
        "study": content["study"],
        "dataset": content["dataset"],
        "baseline": content["baseline"],
        "members": sum(experiment["member"] for experiment in content["experiments"]),
        "axes": {axis: _labels(content["experiments"], axis) for axis in content["axes"]},
        "seeds": " to ".join(map(str, dict.fromkeys([numbers[0], numbers[-1]]))),
        "sections": sections,
        "clear": CLEAR,
    }
    write_text(out, rendered("study.html", shown))
    options = [f"option.{axis}" for axis in content["axes"]]
    write_rows(out.with_suffix(".csv"), ["experiment", "baseline", *options, *COLUMNS], list(_csv_rows(content)))
    drawn = {name: plot for section in sections for name, plot in section["drawn"].items()}
    write_plots(out.with_suffix(""), drawn, ())


def _labels(experiments: Sequence[Mapping[str, Any]], axis: str) -> list[str]:
    """The labels on an axis, in the order of the experiments."""
    return list(dict.fromkeys(e["settings"][axis]["label"] for e in experiments if axis in e["settings"]))


def _csv_rows(content: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for experiment in content["experiments"]:
        name, settings = experiment["name"], experiment["settings"]
        options = [settings[axis]["label"] if axis in settings else "" for axis in content["axes"]]
        for metric, entry in experiment["metrics"].items():
            per_seed, seeds = " ".join(map(str, entry["per_seed"])), " ".join(map(str, experiment["seeds"]))
            row = [metric, entry["value"], *(entry["ci95"] or ("", "")), entry["sd_over_seeds"], seeds, entry["clips"]]
            row += [per_seed, entry["difference"], *(entry["difference_ci95"] or ("", "")), entry["p_value"]]
            row += [entry["p_corrected"], content["comparisons"][metric]]
            row += [entry.get("reason") or entry.get("difference_reason", "")]
            first = [name, "true" if name == content["baseline"] else "false", *options]
            yield tuple("" if value is None else value for value in (*first, *row))


def _section(content: Mapping[str, Any], metric: str, kind: str) -> dict[str, Any]:
    """Table, notes and plots of one metric."""
    properties, experiments, notes = registry.kind(kind).metric(metric), content["experiments"], Notes()
    rows = [
        {
            "name": experiment["name"],
            "baseline": experiment["name"] == content["baseline"],
            "marks": _marks(experiment),
            "cells": [
                *(_option(experiment["settings"].get(axis)) for axis in content["axes"]),
                *_cells(experiment, experiment["metrics"][metric], properties, notes),
            ],
        }
        for experiment in experiments
    ]
    known = any(experiment["metrics"][metric]["value"] is not None for experiment in experiments)
    drawn = dict(_plots(content, properties)) if known else {}
    return {
        "metric": metric,
        "label": properties.label,
        "headings": ["Experiment", *content["axes"], *HEADINGS],
        "rows": rows if known else [],
        "comparisons": content["comparisons"][metric],
        "reasons": notes.lines(metric),
        "plots": [(title, plot) for title, plot in drawn.values()],
        "drawn": {f"{metric}-{name}": plot for name, (_, plot) in drawn.items()},
    }


def _marks(experiment: Mapping[str, Any]) -> list[str]:
    """What must be known of an experiment: leaks, random weights, remarks, other settings of scoring."""
    return [
        *(f"Leak: {leak}" for leak in describe(experiment["leaks"], SPLIT)[0]),
        *(f"Untrained: the extractor of the features {name} has random weights" for name in experiment["untrained"]),
        *(f"Note: {remark}" for remark in experiment["remarks"]),
        *(f"{name}: {own}, not {other}" for name, (other, own) in experiment["settings_differ"].items()),
    ]


def _option(setting: Mapping[str, Any] | None) -> Cell:
    if setting is None:
        return Cell()
    return Cell(setting["label"], sort=setting["value"] if _is_number(setting["value"]) else setting["label"])


def _cells(experiment: Mapping[str, Any], entry: Mapping[str, Any], metric: Metric, notes: Notes) -> Iterator[Cell]:
    """The cells of ``HEADINGS``."""
    value, spread, p_corrected = entry["value"], entry["sd_over_seeds"], entry["p_corrected"]
    missing = notes.number(entry["reason"], metric.label) if value is None else None
    yield Cell("—", note=missing) if value is None else Cell(_number(value, metric), sort=value)
    yield Cell(_interval(entry["ci95"], metric), sort=entry["ci95"] and entry["ci95"][0])
    each = [_number(of_seed, metric) for of_seed in entry["per_seed"]]
    yield Cell(
        "" if spread is None else _number(spread, metric, 1), " · ".join(each if spread is not None else ()), spread
    )
    difference, reason = entry["difference"], entry.get("difference_reason")
    yield Cell(
        "" if difference is None else _signed(difference, metric),
        _interval(entry["difference_ci95"], metric, signed=True),
        difference,
        clear=p_corrected is not None and p_corrected < CLEAR,
        note=notes.number(reason, f"Difference in {metric.label}") if reason else None,
    )
    yield Cell(p_text(entry["p_value"]), sort=entry["p_value"])
    yield Cell(p_text(p_corrected), sort=p_corrected)
    yield Cell(str(len(experiment["seeds"])), sort=len(experiment["seeds"]))
    yield Cell(str(entry["clips"] or ""), sort=entry["clips"])


def p_text(p_value: float | None) -> str:
    """A p-value for a table; "" for None."""
    return "" if p_value is None else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _number(value: float, metric: Metric, more: int = 0) -> str:
    return f"{value:.{metric.digits + more}f}"


def _signed(value: float, metric: Metric) -> str:
    return f"{value:+.{metric.digits}f}".replace("-", "\N{MINUS SIGN}")


def _interval(ends: Sequence[float] | None, metric: Metric, signed: bool = False) -> str:
    if not ends:
        return ""
    return (
        " to ".join(_signed(end, metric) for end in ends) if signed else "–".join(_number(end, metric) for end in ends)
    )


def _plots(content: Mapping[str, Any], metric: Metric) -> Iterator[tuple[str, tuple[str, str]]]:
    """The plots of one metric: (name, (caption, SVG element)).

    A grid of two options in colour; lines over each numeric option, one for each combination of the others; and all
    experiments with intervals, unless one numeric option says it all.
    """
    name, experiments = metric.name, content["experiments"]
    found = {e["name"]: e["metrics"][name] for e in experiments}
    members = [e for e in experiments if e["member"] and found[e["name"]]["value"] is not None]
    varied = [axis for axis in content["axes"] if len(_labels(members, axis)) > 1]
    whole = [e for e in members if e["settings"].keys() >= {*varied}]
    numeric = [axis for axis in varied if whole and all(_is_number(e["settings"][axis]["value"]) for e in whole)]
    cells = {tuple(e["settings"][axis]["label"] for axis in varied): found[e["name"]]["value"] for e in whole}
    if len(varied) == 2 and len(cells) == len(whole) > 3:
        title = f"{metric.label} by {varied[0]} and {varied[1]}"
        yield "grid", (title, _grid(cells, (varied[0], varied[1]), metric))
    level = found[content["baseline"]]["value"]
    for axis in numeric:
        lines: dict[str, list[tuple[float, float, Sequence[float] | None]]] = {}
        for experiment in whole:
            others = ", ".join(experiment["settings"][other]["label"] for other in varied if other != axis)
            entry = found[experiment["name"]]
            lines.setdefault(others, []).append((experiment["settings"][axis]["value"], entry["value"], entry["ci95"]))
        if len(lines) <= plots.COLOURS:
            title, labels = f"{metric.label} over {axis}", (axis, metric.label)
            baseline = None if level is None else (content["baseline"], level)
            drawn = plots.axis_plot(f"{name}-{axis}", title, lines, labels, baseline)
            yield f"over-{axis}", (f"{title}, with 95 % intervals over clips", drawn)
    if len(varied) != 1 or not numeric:
        scores = [(int(one == content["baseline"]), one, e["value"], e["ci95"]) for one, e in found.items()]
        caption = "Dot: score. Bar: 95 % interval over clips. The baseline has a colour of its own."
        yield "scores", (caption, plots.score_plot(scores, {}, metric.label, f"scores-{name}"))


def _grid(cells: Mapping[tuple[str, ...], float], axes: tuple[str, str], metric: Metric) -> str:
    """The plot of a grid of two options; the better a value, the stronger its colour."""
    low, high, sign = min(cells.values()), max(cells.values()), -1 if metric.higher_is_better is False else 1
    shades = {cell: (value - low) / (high - low) if high > low else 0.0 for cell, value in cells.items()}
    shades = {cell: shade if sign > 0 else 1 - shade for cell, shade in shades.items()}
    texts = {(row, column): _number(value, metric) for (row, column), value in cells.items()}
    title = f"{metric.label} by {axes[0]} and {axes[1]}"
    return plots.grid_plot(
        f"{metric.name}-grid", title, texts, {(row, column): s for (row, column), s in shades.items()}, axes
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
