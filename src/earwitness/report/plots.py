"""Plots as inline SVG, in the colours of the page that holds them.

Matplotlib draws in colours that stand for variables of the page's style sheet, so that a plot follows the page into
dark mode. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from earwitness.training.events import read_events

COLOURS = 8  # that the style sheet has for experiments
INK, GRID = "#000001", "#000002"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with dollars is a name
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
    """The metrics in the record of a training, each averaged over its epochs."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in read_events(path):
        for name, value in event.get("metrics", {}).items():
            values[name][event["epoch"] + 1].append(value)
    return {name: {epoch: sum(all_) / len(all_) for epoch, all_ in curve.items()} for name, curve in values.items()}


def score_plot(
    scores: Sequence[tuple[str, float | None, Sequence[float] | None]],
    lines: Mapping[str, float | None],
    label: str,
    key: str = "scores",
) -> str:
    """A dot with its interval for each experiment, and a vertical line for each named value.

    Args:
        scores: name, value and 95 % interval of each experiment; those without a value keep an empty row.
        lines: values to be compared with, by name.
        label: of the metric; key: what sets the plot apart from others on the page.
    """
    with _figure(key, (10.8, 1.1 + 0.45 * len(scores)), f"{label} of each experiment with its interval") as drawn:
        figure, axes = drawn.figure, drawn.axes
        for row, (_, value, interval) in enumerate(scores):
            if value is None:
                continue
            if interval:
                axes.plot(interval, [row, row], color=_stand_in(row), linewidth=2.5, alpha=0.55, solid_capstyle="round")
            axes.plot([value], [row], "o", color=_stand_in(row), markersize=8)
            axes.annotate(f"{value:.3f}", (value, row), (0, 8), textcoords="offset points", ha="center", fontsize=9)
        for style, (name, value) in zip(("--", ":"), lines.items(), strict=False):
            if value is not None:
                axes.axvline(value, color=INK, linestyle=style, linewidth=1.2, label=f"{name} {value:.3f}")
        axes.set_yticks(range(len(scores)), [name for name, _, _ in scores])
        axes.set_ylim(len(scores) - 0.4, -0.8)
        axes.set_xlim(left=0)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return drawn.svg


def curve_plot(key: str, title: str, parts: Mapping[str, str], seeds: Sequence[Sequence[Curves]]) -> str | None:
    """Curves over epochs, one colour an experiment and one thin line a seed; None when there is nothing to draw.

    Args:
        key: what sets the plot apart from others on the page; parts: line style by name of metric.
        seeds: for each experiment, the curves of each of its seeds.
    """
    if not any(curves.get(name) for runs in seeds for curves in runs for name in parts):
        return None
    with _figure(key, (5.4, 3.2), title) as drawn:
        axes = drawn.axes
        for number, runs in enumerate(seeds):
            width = 1.6 if len(runs) == 1 else 0.9
            for curves in runs:
                for name, style in parts.items():
                    points = sorted(curves.get(name, {}).items())
                    marker = "o" if len(points) == 1 else None
                    axes.plot(*_columns(points), style, color=_stand_in(number), linewidth=width, marker=marker)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # it is a MaxNLocator
    return drawn.svg


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [epoch for epoch, _ in points], [value for _, value in points]


def _stand_in(number: int) -> str:
    return f"#0001{number % COLOURS:02x}"


class _Drawn:
    """A figure that is being drawn, and its SVG afterwards."""

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
    """SVG as part of a page: no prolog, names that no other plot has, the page's colours and type."""
    svg = _UNWANTED.sub("", svg[svg.index("<svg") :])
    svg = _REFERENCE.sub(rf"\g<1>{key}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
    svg = _VARIABLE.sub(lambda match: f"var(--c{int(match[1], 16)})", svg)
    svg = re.sub(r'\s(width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
