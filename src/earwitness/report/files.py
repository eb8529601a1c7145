"""Files of the report: pages from templates; a table of all metrics, and the plots, for papers and other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from earwitness.corpora.tables import write_rows
from earwitness.evaluation.interface import Baseline
from earwitness.files import write_text
from earwitness.report.interface import Experiment
from earwitness.report.notes import code
from earwitness.report.plots import COLOURS

COLUMNS = ["name", "is", "kind", "metric", "value", "low", "high", "seeds", "reason"]
_STYLE = Path(__file__).with_name("comparison.html")


def rendered(template: str, content: Mapping[str, Any]) -> str:
    """A page from a template of this folder; texts are escaped, and what stands between backticks is code."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_STYLE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    return environment.get_template(template).render(content)


def write_metrics(out: Path, found: Sequence[Experiment], baselines: Mapping[str, Sequence[Baseline]]) -> None:
    """Write a csv with a row for each metric of each experiment and baseline.

    Columns: ``name``, ``is`` (experiment, made elsewhere or baseline), ``kind`` of prediction, ``metric``, ``value``
    (mean over seeds), ``low`` and ``high`` (95 % interval over clips), number of ``seeds``, ``reason`` for no value.

    Args:
        baselines: those of each kind of prediction on the page.
    """
    rows: list[tuple[Any, ...]] = []
    for kind, of_kind in baselines.items():
        for experiment in (e for e in found if kind in e.result["kinds"]):
            entries = {name: experiment.metric(name) for name in experiment.result["kinds"][kind]["metrics"]}
            what = "made elsewhere" if experiment.elsewhere else "experiment"
            rows += _rows(experiment.name, what, kind, entries, len(experiment.seeds))
        for baseline in of_kind:
            rows += _rows(baseline.name, "baseline", kind, baseline.metrics, "")
    write_rows(out, COLUMNS, rows)


def _rows(name: str, what: str, kind: str, metrics: Mapping[str, Any], seeds: int | str) -> Iterable[tuple[Any, ...]]:
    for metric, entry in metrics.items():
        value, (low, high) = entry["value"], entry.get("ci95") or ("", "")
        yield name, what, kind, metric, "" if value is None else value, low, high, seeds, entry.get("reason", "")


def write_plots(folder: Path, plots: Mapping[str, str | None], legend: Sequence[str]) -> None:
    """Write the page's plots as SVG files, replacing all others in ``folder``.

    Args:
        plots: SVG elements of the page by file name; None is left out.
        legend: names of the experiments in the order of their colours; plots of scores and similarities name them
            themselves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = ("scores-", "similarities-")
    for path in folder.glob("*.svg"):
        path.unlink()
    for name, svg in plots.items():
        if svg:
            write_text(folder / f"{name}.svg", standalone(svg, () if name.startswith(named) else legend))


def standalone(svg: str, legend: Sequence[str] = ()) -> str:
    """A plot of the page as a document of its own: a title, a legend, a white background, colours of the light page."""
    # The first value of a variable is the light page's.
    colours = dict(reversed(re.findall(r"(--\w+): (#[0-9a-f]+);", _STYLE.read_text(encoding="utf-8"))))
    start, _, drawing = svg.partition(">")
    (size,) = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', start)
    (title,) = re.findall(r'aria-label="([^"]*)"', start)
    width, height = map(float, size)
    top, total = 20, 20 + height + 14 * len(legend)
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1" '
        f'width="{width:g}pt" height="{total:g}pt" viewBox="0 {-top} {width:g} {total:g}" font-family="sans-serif">',
        f'<rect y="{-top}" width="{width:g}" height="{total:g}" fill="#ffffff"/>',
        f'<text x="8" y="-7" style="font-size: 11px; fill: var(--ink)">{title}</text>',
        drawing.rpartition("</svg>")[0],
    ]
    for number, name in enumerate(legend):
        y = height + 14 * number + 8
        lines.append(f'<circle cx="12" cy="{y:g}" r="4" fill="var(--c{number % COLOURS})"/>')
        lines.append(f'<text x="22" y="{y + 3.5:g}" style="font-size: 10px; fill: var(--ink)">{escape(name)}</text>')
    text = "\n".join([*lines, "</svg>\n"]).replace("currentColor", "var(--ink)")
    return re.sub(r"var\((--\w+)\)", lambda match: colours[match[1]], text)
