"""Plots as inline SVG in the colours of the page.

Matplotlib draws with placeholder colours that are replaced by variables of the page's style sheet, so that plots follow
the page into dark mode. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.training.events import read_events

if TYPE_CHECKING:
    import numpy as np

PLACES = 8  # ticks at the values of an option; of more values some have none
COLOURS = 8  # number of colours for experiments in the style sheet
INK, GRID = "#000001", "#000002"
LINES = ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))  # of baselines; more of them begin anew
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may contain dollar signs
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_UNWANTED = re.compile(
    r'<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|\sxmlns(:xlink)?="[^"]*"', re.DOTALL
)
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')
_VARIABLE = re.compile(r"#0001([0-9a-f]{2})")

Curve = Mapping[int, float]  # epoch, counted from 1 -> value
Curves = Mapping[str, Curve]  # name of a metric -> its curve


def colour(number: int) -> str:
    """The style sheet's variable for an experiment."""
    return f"var(--c{number % COLOURS})"


def read_curves(path: Path) -> dict[str, dict[int, float]]:
    """The metrics in ``events.jsonl``, each averaged over the events of an epoch."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in read_events(path):
        for name, value in event.get("metrics", {}).items():
            values[name][event["epoch"] + 1].append(value)
    return {name: {epoch: sum(all_) / len(all_) for epoch, all_ in curve.items()} for name, curve in values.items()}


def score_plot(
    scores: Sequence[tuple[int, str, float | None, Sequence[float] | None]],
    lines: Mapping[str, float | None],
    label: str,
    key: str = "scores",
) -> str:
    """A plot with a dot and an interval for each experiment, and a vertical line for each baseline.

    Args:
        scores: number on the page (for its colour), name, value and 95 % interval of each experiment; without a value,
            the row is empty.
        lines: values of baselines by name.
        label: name of the metric; key: unique on the page.

    Returns the SVG element.
    """
    with _figure(key, (6.2, 1.4 + 0.42 * len(scores)), f"{label} of each experiment with its interval") as drawn:
        figure, axes = drawn.figure, drawn.axes
        for row, (number, _, value, interval) in enumerate(scores):
            if value is None:
                continue
            if interval:
                axes.plot(
                    interval, [row, row], color=_placeholder(number), linewidth=2.5, alpha=0.55, solid_capstyle="round"
                )
            axes.plot([value], [row], "o", color=_placeholder(number), markersize=8)
            axes.annotate(f"{value:.3f}", (value, row), (0, 8), textcoords="offset points", ha="center", fontsize=9)
        for style, (name, value) in zip(cycle(LINES), lines.items(), strict=False):
            if value is not None:
                axes.axvline(value, color=INK, linestyle=style, linewidth=1.2, label=f"{name} {value:.3f}")
        axes.set_yticks(range(len(scores)), [name for _, name, _, _ in scores])
        axes.set_ylim(len(scores) - 0.4, -0.8)
        axes.set_xlim(left=0)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", fontsize=9)
    return drawn.svg


def curve_plot(key: str, title: str, parts: Mapping[str, str], seeds: Sequence[Sequence[Curves]]) -> str | None:
    """Curves over epochs: one colour per experiment, one line per seed. Returns the SVG element, None without data.

    Args:
        key: unique on the page; parts: line style by name of metric.
        seeds: for each experiment, the curves of each seed.
    """
    if not any(curves.get(name) for runs in seeds for curves in runs for name in parts):
        return None
    with _figure(key, (5.4, 3.2), title) as drawn:
        axes = drawn.axes
        for number, runs in enumerate(seeds):
            width = 1.6 if len(runs) == 1 else 0.9
            for curves in runs:
                for name, style in parts.items():
                    curve = dict(sorted(curves.get(name, {}).items()))
                    marker = "o" if len(curve) == 1 else None
                    axes.plot(
                        list(curve),
                        list(curve.values()),
                        style,
                        color=_placeholder(number),
                        linewidth=width,
                        marker=marker,
                    )
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # it is a MaxNLocator
    return drawn.svg


def axis_plot(
    key: str,
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float, Sequence[float] | None]]],
    labels: tuple[str, str],
    level: tuple[str, float] | None = None,
) -> str:
    """A metric over a numeric option, with a dot and an interval at each value. Returns the SVG element.

    Args:
        key: unique on the page.
        lines: (value of the option, metric, 95 % interval) by name; a single line needs none.
        labels: what the option and the metric are; level: name and value of the baseline, a horizontal line.

    The option has a logarithmic axis where its values are positive and a factor of ten or more apart.
    """
    places = sorted({x for points in lines.values() for x, _, _ in points})
    with _figure(key, (5.4, 3.2 + 0.18 * len(lines) * (len(lines) > 1)), title) as drawn:
        figure, axes = drawn.figure, drawn.axes
        if places[0] > 0 and places[-1] >= 10 * places[0]:
            axes.set_xscale("log")
        for number, (name, points) in enumerate(lines.items()):
            x, y, intervals = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            axes.plot(x, y, "o-", color=_placeholder(number), linewidth=1.6, markersize=5, label=name)
            for place, interval in zip(x, intervals, strict=True):
                if interval:
                    axes.plot([place, place], interval, color=_placeholder(number), linewidth=2, alpha=0.4)
        if level:
            axes.axhline(level[1], color=INK, linestyle=LINES[0], linewidth=1.2, label=f"{level[0]} {level[1]:.3f}")
        if len(places) <= PLACES:
            axes.set_xticks(places, [f"{place:g}" for place in places])
            axes.set_xticks([], minor=True)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if len(lines) > 1 or level:
            handles, names = axes.get_legend_handles_labels()
            named = [entry for entry in zip(handles, names, strict=True) if entry[1]]
            figure.legend(*zip(*named, strict=True), loc="outside lower center", fontsize=9, ncols=2)
    return drawn.svg


def grid_plot(
    key: str,
    title: str,
    values: Mapping[tuple[str, str], str],
    shades: Mapping[tuple[str, str], float],
    labels: tuple[str, str],
) -> str:
    """A table in colour: rows and columns by the labels of two options. Returns the SVG element.

    Args:
        key: unique on the page.
        values: the text of each cell by (row, column), in their order; shades: 0 to 1 for the colour, of some cells.
        labels: what rows and columns are.
    """
    rows, columns = (list(dict.fromkeys(cell[place] for cell in values)) for place in (0, 1))
    from matplotlib.patches import Rectangle

    with _figure(key, (max(3.6, 1.6 + 0.8 * len(columns)), 1.2 + 0.4 * len(rows)), title) as drawn:
        axes = drawn.axes
        for (row, column), text in values.items():
            x, y = columns.index(column), rows.index(row)
            alpha = 0.08 + 0.52 * shades.get((row, column), 0)  # text stays readable in light and in dark
            axes.add_patch(
                Rectangle((x - 0.49, y - 0.48), 0.98, 0.96, facecolor=_placeholder(0), alpha=alpha, linewidth=0)
            )
            axes.text(x, y, text, ha="center", va="center", fontsize=9)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.grid(False)
        axes.set_ylabel(labels[0])
        axes.set_xlabel(labels[1])
        for side in axes.spines.values():
            side.set_visible(False)
    return drawn.svg


def threshold_plot(key: str, title: str, lines: Sequence[tuple[int, Sequence[float], Sequence[float], float]]) -> str:
    """Curves over thresholds, one colour per experiment, with a dot at a chosen threshold. Returns the SVG element.

    Args:
        key: unique on the page.
        lines: number on the page (for the colour), thresholds, values and the chosen threshold (NaN: none).
    """
    with _figure(key, (5.4, 3.2), title) as drawn:
        axes = drawn.axes
        for number, thresholds, values, chosen in lines:
            axes.plot(thresholds, values, color=_placeholder(number), linewidth=1.6)
            if thresholds[0] <= chosen <= thresholds[-1]:
                place = min(range(len(thresholds)), key=lambda at: abs(thresholds[at] - chosen))
                axes.plot([thresholds[place]], [values[place]], "o", color=_placeholder(number), markersize=7)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, 1)
        axes.set_xlabel("threshold")
    return drawn.svg


def heat_map(
    key: str, title: str, values: np.ndarray, marks: Sequence[tuple[int, int]], labels: tuple[str, str]
) -> str:
    """Values [rows, columns] as colours, rows and columns numbered from 1. Returns the SVG element.

    Args:
        key: unique on the page; marks: (row, column) of cells with a ring.
        labels: what columns and rows are.
    """
    with _figure(key, (5.4, 3.2), title) as drawn:
        figure, axes = drawn.figure, drawn.axes
        extent = (0.5, values.shape[1] + 0.5, values.shape[0] + 0.5, 0.5)
        picture = axes.imshow(values, cmap="magma", interpolation="none", aspect="auto", extent=extent)
        rows, columns = zip(*marks, strict=True) if marks else ((), ())
        axes.plot(
            [column + 1 for column in columns],
            [row + 1 for row in rows],
            "o",
            markersize=4,
            markerfacecolor="none",
            markeredgecolor="#ffffff",
        )
        axes.grid(False)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # it is a MaxNLocator
        figure.colorbar(picture, ax=axes).outline.set_visible(False)
    return drawn.svg


def _placeholder(number: int) -> str:
    return f"#0001{number % COLOURS:02x}"


class _Drawn:
    """A figure, and its SVG once it is finished."""

    def __init__(self, size: tuple[float, float]):
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=size, layout="constrained")
        self.axes = self.figure.subplots()
        self.svg = ""


@contextmanager
def _figure(key: str, size: tuple[float, float], title: str) -> Iterator[_Drawn]:
    from matplotlib import rc_context

    with rc_context({**STYLE, "svg.hashsalt": key}):
        drawn = _Drawn(size)
        yield drawn
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawn.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawn.svg = _inline(buffer.getvalue(), key, title)


def _inline(svg: str, key: str, title: str) -> str:
    """SVG to embed in a page: no prolog, unique ids, the page's colours and fonts."""
    svg = _UNWANTED.sub("", svg[svg.index("<svg") :])
    svg = _REFERENCE.sub(rf"\g<1>{key}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
    svg = _VARIABLE.sub(lambda match: f"var(--c{int(match[1], 16)})", svg)
    svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
