"""Results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from earwitness.evaluation.interface import SPLIT, Baseline
from earwitness.evaluation.result import read_baselines, read_result
from earwitness.leaks.audit import told
from earwitness.registry import KINDS

MARK = "*"  # of experiments that were trained on what they are evaluated on, or stand on features of random weights


def experiments_of(folder: Path) -> list[dict[str, Any]]:
    """The results under ``results/{dataset}``, in order of their names; EarwitnessError for a file that is none."""
    return [read_result(path) for path in sorted(folder.glob("*/metrics.json"))]


def baselines_of(folder: Path) -> list[Baseline]:
    """The baselines under ``results/{dataset}`` that were computed, by kind of prediction."""
    return [baseline for kind in KINDS for baseline in read_baselines(folder / "baselines" / f"{kind}.json")]


def table(results: Sequence[dict[str, Any]], baselines: Sequence[Baseline] = ()) -> str:
    """Metrics in rows, experiments and baselines in columns; what could not run is a dash, with its reason below.

    An experiment that was trained on clips it is evaluated on is marked, as is one whose features are made with random
    weights, and the footnote says so.
    """
    names = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    columns = {
        _marked(result["experiment"], result): {name: entry["value"] for name, entry in result["metrics"].items()}
        for result in results
    }
    for baseline in baselines:
        values = {name: entry["value"] for name, entry in baseline.metrics.items() if name in names}
        if values:
            columns[baseline.name] = values
    rows = [["", *columns]]
    for name in names:
        rows.append([name, *(number(values[name]) if name in values else "" for values in columns.values())])
    lines = aligned(rows)
    warnings = [line for result in results for line in _warnings(result["experiment"], result)]
    entries = [entry for result in results for entry in result["metrics"].items()]
    reasons = grouped((name, entry["reason"]) for name, entry in entries if entry["value"] is None)
    return "\n".join([*lines, *reasons, *warnings])


def comparison(content: dict[str, Any]) -> str:
    """What ``compare`` found, as a table: metrics in rows, the two runs and their difference in columns.

    Marks and footnotes are those of ``table``.
    """
    lines = []
    runs = dict(zip("AB", content["runs"], strict=True))
    for letter, run in runs.items():
        lines.append(f"{letter}: {run['name']}, {run['seeds']} seed{'s' * (run['seeds'] > 1)}, {run['clips']} clips")
    differ = "; the lists of clips differ, so only the shared ones are compared" if content["lists_differ"] else ""
    lines += [f"shared: {content['shared']} clips{differ}"]
    if content["lists_differ"] and "cider_d" in content["metrics"]:
        lines.append("CIDEr-D weighs words by how rare they are in the references of each run's whole list")
    lines += [*_differences(content), ""]
    rows = [["", *(_marked(letter, run) for letter, run in runs.items()), "B - A", "95 % interval", "p"]]
    for name, entry in content["metrics"].items():
        values = [*(number(entry[key]) for key in ("a", "b")), _difference(entry["difference"])]
        interval = " to ".join(map(_difference, entry["ci95"])) if entry["ci95"] else "-"
        rows.append([name, *values, interval, "-" if entry["p_value"] is None else f"{entry['p_value']:.4f}"])
    lines += aligned(rows)
    if any(run["seeds"] == 1 for run in content["runs"]):
        lines.append("Intervals and p-values reflect the choice of clips, not of training seeds.")
    lines += _moved(content["moved"])
    lines += grouped((name, entry["reason"]) for name, entry in content["metrics"].items() if "reason" in entry)
    return "\n".join([*lines, *(line for letter, run in runs.items() for line in _warnings(letter, run))])


def _moved(moved: dict[str, Any]) -> list[str]:
    """The clips that differ most between two runs, each with what was said of it."""
    lines = [f"\nThe clips that moved most in {moved['metric']}:"] if moved["clips"] else []
    for clip in moved["clips"]:
        values = f"{number(clip['a'])} to {number(clip['b'])} ({_difference(clip['b'] - clip['a'])})"
        lines.append(f"  {clip['clip_id']}: {values}")
        lines += [
            f"    {letter}: {text}" for letter, text in zip("AB", clip["captions"], strict=True) if text is not None
        ]
    return [*lines, ""] if lines else []


def _differences(content: dict[str, Any]) -> list[str]:
    """What makes the scores of the shared clips hard to compare."""
    lines = []
    if content["references_differ"]:
        lines.append("their references differ: the two were scored against other files of references")
    lines += [f"{name} differs: {a} against {b}" for name, (a, b) in content["settings_differ"].items()]
    if content["audio_differs"]:
        lines.append(f"{content['audio_differs']} of the shared clips are other recordings in the two data sets")
    if content["audio_differs"] is None:
        lines.append("whether the recordings are the same could not be checked: a corpus/clips.csv is not there")
    return lines


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def number(value: float | None) -> str:
    """A value as the tables have it; a dash for none."""
    return "-" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def grouped(told: Iterable[tuple[str, str]]) -> list[str]:
    """What there is to say of metrics as lines, those that share it in one."""
    names: dict[str, dict[str, None]] = {}
    for name, what in told:
        names.setdefault(what, {})[name] = None
    return [f"{', '.join(several)}: {what}" for what, several in names.items()]


def _marked(name: str, result: dict[str, Any]) -> str:
    marked, _ = _told(result)
    return f"{name} {MARK}" if marked else name


def _warnings(name: str, result: dict[str, Any]) -> list[str]:
    """The footnotes of one result, by the name it has in the table."""
    marked, unchecked = _told(result)
    return [*(f"{MARK} {name}: {line}" for line in marked), *(f"{name}: {line}" for line in unchecked)]


def _told(result: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What a result is marked for, and what could not be checked."""
    leaked, unchecked = told(result.get("leaks", []), SPLIT)
    untrained = [f"the weights that made the features {name} are random" for name in result.get("untrained", [])]
    return [*leaked, *untrained], unchecked
