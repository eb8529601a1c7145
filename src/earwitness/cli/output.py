"""How ``earwitness score`` prints scores, and the files it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError
from earwitness.evaluation.scores import Scored, write_scores
from earwitness.files import SCHEMA, provenance, read_json
from earwitness.metrics.bootstrap import summarise
from earwitness.report.terminal import aligned, grouped, number


def require_free(folder: Path) -> None:
    """Refuse a folder for the scores that is a file, or that has files which this command did not write.

    Raises EarwitnessError for the folder of an experiment or a seed, and for any other with a foreign ``metrics.json``.
    """
    if folder.exists() and not folder.is_dir():
        raise EarwitnessError(f"--out {folder} is a file; give the name of a folder.")
    path = folder / "metrics.json"
    content = read_json(path) if path.is_file() else None
    content = content if isinstance(content, dict) else {}
    made = content.get("provenance")
    ours = isinstance(made, dict) and str(made.get("made_by")).startswith("score ")  # a seed's is made by "score"
    what = ""
    if any(folder.glob("seed-*")) or "seeds" in content:
        what = "is the folder of an experiment, whose results would be overwritten"
    elif path.exists() and not ours:
        what = "has a metrics.json that `earwitness score` did not write, and that would be overwritten"
    if what:
        raise EarwitnessError(f"--out {folder} {what}. Use another folder.")


def present(scored: Scored, out: Path | None, as_json: bool) -> None:
    """Write the files of ``evaluation.scores`` to the folder ``out``, if there is one; print a table, or JSON."""
    content = {
        "metrics": summarise([scored.evaluation]),
        "counts": dict(scored.counts),
        "notes": list(scored.notes),
        **scored.more,
        "provenance": provenance(scored.made_by, dict(scored.inputs), **scored.settings),
    }
    if out is not None:
        write_scores(out, scored.evaluation, scored.columns, content)
    if as_json:
        print(json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(report(content))


def report(content: Mapping[str, Any]) -> str:
    """The metrics with their intervals as a table; below it why some have no value, notes and counts."""
    metrics, rows = content["metrics"], [["", "value", "95 % interval"]]
    for name, entry in metrics.items():
        interval = "{:.3f} to {:.3f}".format(*entry["ci95"]) if entry.get("ci95") is not None else ""
        rows.append([name, number(entry["value"]), interval])
    lines = aligned(rows)
    if classes := content.get("classes"):
        names = list(dict.fromkeys(name for values in classes.values() for name in values))
        rows = [[label, *(number(values.get(name)) for name in names)] for label, values in classes.items()]
        lines += ["", *aligned([["", *names], *rows])]
    lacking = [(name, entry["reason"]) for name, entry in metrics.items() if entry["value"] is None]
    notes = [(name, entry["note"]) for name, entry in metrics.items() if "note" in entry]
    notes += [
        (name, f"no interval: {entry['ci95_reason']}") for name, entry in metrics.items() if "ci95_reason" in entry
    ]
    below = [*grouped(lacking), *grouped(notes), *content["notes"]]
    counts = (f"{name.replace('_', ' ')}: {'unknown' if n is None else n}" for name, n in content["counts"].items())
    return "\n".join([*lines, *([""] if below else []), *below, "", ", ".join(counts)])
