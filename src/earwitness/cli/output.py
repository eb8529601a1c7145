"""What a command says of the scores, and the files it leaves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError
from earwitness.evaluation.scores import Scored
from earwitness.files import SCHEMA, provenance, read_json
from earwitness.metrics.bootstrap import summarise
from earwitness.report.terminal import aligned, grouped, number


def require_free(folder: Path) -> None:
    """Refuse a folder for the scores that is a file, or whose files are not this command's own.

    Raises EarwitnessError for an experiment's folder, a seed's, and any other with a ``metrics.json`` from elsewhere.
    """
    if folder.exists() and not folder.is_dir():
        raise EarwitnessError(f"--out {folder} is a file; the name of a folder is needed.")
    path = folder / "metrics.json"
    content = read_json(path) if path.is_file() else None
    what = ""
    if any(folder.glob("seed-*")) or (isinstance(content, dict) and "seeds" in content):
        what = "is the folder of an experiment, whose results would be overwritten"
    elif path.exists() and not _is_own(content):
        what = "has a metrics.json that `earwitness score` did not write, which would be overwritten"
    if what:
        raise EarwitnessError(f"--out {folder} {what}. Name another folder.")


def _is_own(content: Any) -> bool:
    """Whether the content of a ``metrics.json`` is from ``present``; that of a seed is made by ``score`` alone."""
    made = content.get("provenance") if isinstance(content, dict) else None
    return isinstance(made, dict) and str(made.get("made_by")).startswith("score ")


def present(scored: Scored, options: argparse.Namespace) -> None:
    """Write the files of ``scores.py`` to ``options.out`` if it names a folder; print the table, or JSON."""
    content = {
        "metrics": summarise([scored.evaluation]),
        "counts": dict(scored.counts),
        "notes": list(scored.notes),
        **scored.more,
        "provenance": provenance(scored.made_by, dict(scored.inputs), **scored.settings),
    }
    if options.out is not None:
        from earwitness.evaluation.scores import write_scores

        write_scores(options.out, scored.evaluation, scored.columns, content)
    if options.json:
        print(json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(report(content))


def report(content: Mapping[str, Any]) -> str:
    """The table of the metrics with their intervals; the reasons of those without a value, notes and counts below."""
    metrics = content["metrics"]
    rows = [["", "value", "95 % interval"]]
    rows += [[name, number(entry["value"]), _interval(entry.get("ci95"))] for name, entry in metrics.items()]
    lines = aligned(rows)
    if "classes" in content:
        lines += ["", *aligned(_by_class(content["classes"]))]
    lacking = [(name, entry["reason"]) for name, entry in metrics.items() if entry["value"] is None]
    told = [(name, entry["note"]) for name, entry in metrics.items() if "note" in entry]
    told += [
        (name, f"no interval: {entry['ci95_reason']}") for name, entry in metrics.items() if "ci95_reason" in entry
    ]
    below = [*grouped(lacking), *grouped(told), *content["notes"]]
    return "\n".join([*lines, *([""] if below else []), *below, "", counted(content["counts"])])


def counted(counts: Mapping[str, int | None]) -> str:
    """Counts in one line; what is 0 and need not be told is not among them."""
    return ", ".join(f"{name.replace('_', ' ')}: {'unknown' if n is None else n}" for name, n in counts.items())


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _by_class(classes: Mapping[str, Mapping[str, float | None]]) -> list[list[str]]:
    names = list(dict.fromkeys(name for values in classes.values() for name in values))
    return [["", *names], *([label, *(number(v.get(name)) for name in names)] for label, v in classes.items())]
