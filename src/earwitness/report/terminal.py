"""Results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.corpora.leaks import told
from earwitness.evaluation import SPLIT
from earwitness.files import read_json

LEAK = "*"  # marks experiments that were trained on what they are evaluated on


def experiments_of(folder: Path) -> list[dict[str, Any]]:
    """The results under ``results/{dataset}``, in order of their names."""
    return [read_json(path) for path in sorted(folder.glob("*/metrics.json"))]


def table(results: Sequence[dict[str, Any]], trivial: Path | None = None) -> str:
    """Experiments in rows, metrics in columns; what could not run is a dash, with its reason below.

    An experiment that was trained on clips it is evaluated on is marked, and the footnote says on how many.
    """
    names = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    rows = [["", *names]]
    for result in results:
        metrics = result["metrics"]
        rows.append([_marked(result), *(_number(metrics.get(name, {}).get("value")) for name in names)])
    if trivial is not None and trivial.exists():
        content = read_json(trivial)
        labels = {
            "constant_caption": "best constant caption",
            "one_reference_against_the_others": "one reference vs others",
        }
        for key, label in labels.items():
            value = content[key]["cider_d"]
            rows.append([label, *(_number(value) if name == "cider_d" else "" for name in names)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, *_reasons(results), *_leaks(results)])


def comparison(content: dict[str, Any]) -> str:
    """What ``compare`` found, as a table: metrics in rows, the two runs and their difference in columns."""
    lines = []
    for letter, run in zip("AB", content["runs"], strict=True):
        seeds = len(run["seeds"])
        lines.append(
            f"{letter}: {run['dataset']}/{run['experiment']}, {seeds} seed{'s' * (seeds > 1)}, {run['clips']} clips"
        )
    differ = "; the lists of clips differ, so only the shared ones are compared" if content["lists_differ"] else ""
    lines += [f"shared: {content['shared']} clips{differ}"]
    if content["lists_differ"] and "cider_d" in content["metrics"]:
        lines.append("CIDEr-D weighs words by how rare they are in the references of each run's whole list")
    lines.append("")
    rows = [["", "A", "B", "B - A"]]
    for name, entry in content["metrics"].items():
        rows.append([name, *(_number(entry[key]) for key in ("a", "b")), _difference(entry["difference"])])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    lines += [f"{name}: {entry['reason']}" for name, entry in content["metrics"].items() if "reason" in entry]
    return "\n".join(lines)


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return [first.strip().ljust(widths[0]), *others]


def _reasons(results: Sequence[dict[str, Any]]) -> list[str]:
    reasons = {name: m["reason"] for result in results for name, m in result["metrics"].items() if m["value"] is None}
    return [f"{name}: {reason}" for name, reason in reasons.items()]


def _marked(result: dict[str, Any]) -> str:
    leaked, _ = told(result.get("leaks", []), SPLIT)
    return f"{result['experiment']} {LEAK}" if leaked else result["experiment"]


def _leaks(results: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for result in results:
        leaked, unchecked = told(result.get("leaks", []), SPLIT)
        lines += [f"{LEAK} {result['experiment']}: {line}" for line in leaked]
        lines += [f"{result['experiment']}: {line}" for line in unchecked]
    return lines
