"""Tables of results for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from earwitness.evaluation.interface import SPLIT, Baseline
from earwitness.evaluation.result import read_baselines, read_result, validation_of
from earwitness.evaluation.retrieval import several_relevant
from earwitness.leaks.audit import describe
from earwitness.registry import KINDS

MARK = "*"  # of experiments with footnotes on what they, or their features, were trained with


def experiments_of(folder: Path) -> list[dict[str, Any]]:
    """The results in ``results/{dataset}``, sorted by name. Raises EarwitnessError for an invalid file."""
    return [read_result(path) for path in sorted(folder.glob("*/metrics.json"))]


def baselines_of(folder: Path) -> list[Baseline]:
    """The baselines in ``results/{dataset}`` of all kinds of prediction, as far as they exist."""
    return [baseline for kind in KINDS for baseline in read_baselines(folder / "baselines" / f"{kind}.json")]


def table(results: Sequence[dict[str, Any]], baselines: Sequence[Baseline] = ()) -> str:
    """A table with metrics in rows, experiments and baselines in columns; a dash for values that are None.

    The last rows are metrics on validation clips, where predictions recorded them.

    Below it are the reasons for missing values, and footnotes for marked experiments: those that were trained on
    evaluation clips, whose features have random weights, or whose training data must be told.
    """
    names = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    columns = {
        _marked(result["experiment"], result): {name: entry["value"] for name, entry in result["metrics"].items()}
        | validation_of(result)
        for result in results
    }
    for baseline in baselines:
        values = {name: entry["value"] for name, entry in baseline.metrics.items() if name in names}
        if values:
            columns[baseline.name] = values
    names += dict.fromkeys(name for result in results for name in validation_of(result))
    rows = [["", *columns]]
    for name in names:
        rows.append([name, *(number(values[name]) if name in values else "" for values in columns.values())])
    lines = aligned(rows)
    warnings = [line for result in results for line in _warnings(result["experiment"], result)]
    entries = [entry for result in results for entry in result["metrics"].items()]
    reasons = grouped((name, entry["reason"]) for name, entry in entries if entry["value"] is None)
    told = [(result["experiment"], several_relevant(result["counts"])) for result in results]
    remarks = grouped((name, remark) for name, remark in told if remark)
    return "\n".join([*lines, *reasons, *remarks, *warnings])


def comparison(content: dict[str, Any]) -> str:
    """The result of ``compare`` as a table: metrics in rows, the two runs and their difference in columns.

    Marks and footnotes are as in ``table``.
    """
    lines = []
    runs = dict(zip("AB", content["runs"], strict=True))
    for letter, run in runs.items():
        lines.append(f"{letter}: {run['name']}, {run['seeds']} seed{'s' * (run['seeds'] > 1)}, {run['clips']} clips")
    differ = "; the lists of clips differ, only shared clips are compared" if content["lists_differ"] else ""
    lines += [f"shared: {content['shared']} clips{differ}"]
    if content["lists_differ"] and "cider_d" in content["metrics"]:
        lines.append("CIDEr-D weights words by their rarity in the references of each run's whole list")
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


def study(content: dict[str, Any]) -> str:
    """A study (``evaluation.study``) as tables, one for each metric: experiments in rows, a dash for what is missing.

    Marks and footnotes are as in ``table``.
    """
    lines = [f"{content['study']} on {content['dataset']}, compared with {content['baseline']}"]
    headings = ["score", "95 % interval", "sd over seeds", "difference", "95 % interval", "p", "p corrected"]
    for metric, compared in content["comparisons"].items():
        rows = [[metric, *content["axes"], *headings, "seeds", "clips"]]
        entries = [(experiment, experiment["metrics"][metric]) for experiment in content["experiments"]]
        for experiment, entry in entries:
            options = [experiment["settings"].get(axis, {}).get("label", "") for axis in content["axes"]]
            score = [number(entry["value"]), " to ".join(map(number, entry["ci95"] or [])) or "-"]
            score += ["-" if entry["sd_over_seeds"] is None else f"{entry['sd_over_seeds']:.4f}"]
            score += [
                _difference(entry["difference"]),
                " to ".join(map(_difference, entry["difference_ci95"] or [])) or "-",
            ]
            score += ["-" if entry[key] is None else f"{entry[key]:.4f}" for key in ("p_value", "p_corrected")]
            counts = [str(len(experiment["seeds"])), str(entry["clips"])]
            rows.append([_marked(experiment["name"], experiment), *options, *score, *counts])
        if any(entry["value"] is not None for _, entry in entries):
            lines += ["", *aligned(rows)]
        if compared > 1:
            lines.append(f"p corrected after Holm for the {compared} comparisons in {metric}")
        reasons = ((e["name"], entry.get("reason") or entry.get("difference_reason")) for e, entry in entries)
        lines += [f"{metric} of {line}" for line in grouped((name, reason) for name, reason in reasons if reason)]
    lines.append("Intervals and p-values reflect the choice of clips, not of training seeds.")
    remarks = [(e["name"], *_remarks(e)) for e in content["experiments"]]  # a sweep shares most of them
    lines += [f"{MARK} {line}" for line in grouped((name, line) for name, marked, _ in remarks for line in marked)]
    lines += grouped((name, line) for name, _, unchecked in remarks for line in unchecked)
    return "\n".join(lines)


def _moved(moved: dict[str, Any]) -> list[str]:
    """The clips with the largest differences, with both captions."""
    lines = [f"\nClips with the largest differences in {moved['metric']}:"] if moved["clips"] else []
    for clip in moved["clips"]:
        values = f"{number(clip['a'])} to {number(clip['b'])} ({_difference(clip['b'] - clip['a'])})"
        lines.append(f"  {clip['clip_id']}: {values}")
        lines += [
            f"    {letter}: {text}" for letter, text in zip("AB", clip["captions"], strict=True) if text is not None
        ]
    return [*lines, ""] if lines else []


def _differences(content: dict[str, Any]) -> list[str]:
    """Obstacles to a fair comparison."""
    lines = []
    if content["references_differ"]:
        lines.append("references differ: the two were scored against different references")
    lines += [f"{name} differs: {a} against {b}" for name, (a, b) in content["settings_differ"].items()]
    if content["audio_differs"]:
        lines.append(f"{content['audio_differs']} of the shared clips have different recordings in the two data sets")
    if content["audio_differs"] is None:
        lines.append("could not check whether the recordings are the same: a corpus/clips.csv is missing")
    return lines


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def number(value: float | None) -> str:
    """Format a value for a table; a dash for None."""
    return "-" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows of cells as lines, the first column left-aligned and the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def grouped(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Format pairs of name and reason as lines, one per reason."""
    names: dict[str, dict[str, None]] = {}
    for name, reason in reasons:
        names.setdefault(reason, {})[name] = None
    return [f"{', '.join(several)}: {reason}" for reason, several in names.items()]


def _marked(name: str, result: dict[str, Any]) -> str:
    marked, _ = _remarks(result)
    return f"{name} {MARK}" if marked else name


def _warnings(name: str, result: dict[str, Any]) -> list[str]:
    """The footnotes of one result; ``name`` is its name in the table."""
    marked, unchecked = _remarks(result)
    return [*(f"{MARK} {name}: {line}" for line in marked), *(f"{name}: {line}" for line in unchecked)]


def _remarks(result: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The reasons for marking a result, and what could not be checked."""
    leaked, unchecked = describe(result.get("leaks", []), SPLIT)
    untrained = [f"the extractor of the features {name} has random weights" for name in result.get("untrained", [])]
    return [*leaked, *untrained, *result.get("remarks", [])], unchecked
