"""Results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.files import read_json


def experiments_of(folder: Path) -> list[dict[str, Any]]:
    """The results under ``results/{dataset}``, in order of their names."""
    return [read_json(path) for path in sorted(folder.glob("*/metrics.json"))]


def table(results: Sequence[dict[str, Any]], trivial: Path | None = None) -> str:
    """Experiments in rows, metrics in columns; what could not run is a dash, with its reason below."""
    names = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    rows = [["", *names]]
    for result in results:
        metrics = result["metrics"]
        rows.append([result["experiment"], *(_number(metrics.get(name, {}).get("value")) for name in names)])
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
    return "\n".join([*lines, *_reasons(results)])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return [first.strip().ljust(widths[0]), *others]


def _reasons(results: Sequence[dict[str, Any]]) -> list[str]:
    reasons = {name: m["reason"] for result in results for name, m in result["metrics"].items() if m["value"] is None}
    return [f"{name}: {reason}" for name, reason in reasons.items()]
