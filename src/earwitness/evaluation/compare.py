"""Two sets of scores side by side, over the clips that both have.

Each is an experiment of the DAG, a folder that ``earwitness score`` wrote, or anybody's table of scores by clip. What
makes two experiments hard to compare is told with them: other references, other audio under the same ids, and clips
that a model was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.corpora.tables import captions_by_clip, read_table
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.result import read_result
from earwitness.evaluation.scores import Scores, read_scores, read_table_of_scores
from earwitness.files import read_json, sha256
from earwitness.metrics import bootstrap
from earwitness.metrics.statistics import Statistic

MOVED = 5  # clips that are told of those that moved most
OF_FILES = ("match", "subset", "candidate_columns", "reference_columns")
HEADLINES = ("spider", "cider_d", "t2a_map10", "miou")  # whose clips are told, the first that both have


@dataclass(frozen=True)
class Run:
    """Scores of one system, one set for each seed, all of the same clips."""

    name: str
    folder: Path
    seeds: list[Scores]
    result: dict[str, Any] | None = field(default=None)  # metrics.json of an experiment

    @property
    def metrics(self) -> dict[str, dict]:
        """The metrics of all its clips."""
        return self.seeds[0].metrics if self.result is None else self.result["metrics"]

    @property
    def ids(self) -> list[str]:
        """The clips it was scored on, in order."""
        return self.seeds[0].ids

    @property
    def corpus(self) -> Path | None:
        """The folder of its data set's tables."""
        return None if self.result is None else self.folder.parent / "corpus"

    @property
    def settings(self) -> dict[str, Any]:
        """How it was scored."""
        return self.seeds[0].settings

    @property
    def references(self) -> set[str]:
        """Digests of the tables of captions that its seeds were scored against."""
        return {scores.references for scores in self.seeds} - {None}

    @cached_property
    def place(self) -> dict[str, int]:
        """The index of each clip."""
        return {clip_id: number for number, clip_id in enumerate(self.ids)}

    def statistics(self, metric: str, clips: Sequence[str]) -> list[Statistic] | None:
        """Of each seed the statistic of some clips, in their order; None where a seed lacks it."""
        if not all(metric in scores.statistics for scores in self.seeds):
            return None
        rows = np.array([self.place[clip_id] for clip_id in clips])
        return [scores.statistics[metric].take(rows) for scores in self.seeds]

    def by_clip(self, metric: str, clips: Sequence[str]) -> np.ndarray | None:
        """The scores of some clips averaged over seeds: float64 [clips], NaN where a clip has none."""
        if not all(metric in scores.by_clip for scores in self.seeds):
            return None
        means = np.mean([scores.by_clip[metric] for scores in self.seeds], axis=0)
        return means[[self.place[clip_id] for clip_id in clips]]

    def summary(self) -> dict[str, Any]:
        """What it is, and of how many clips."""
        told = {"name": self.name, "seeds": len(self.seeds), "clips": len(self.ids)}
        return told | {key: (self.result or {}).get(key, []) for key in ("leaks", "untrained")}


def compare(a: Path, b: Path, metric: str | None = None) -> dict[str, Any]:
    """Compare two systems on the clips that both were scored on.

    Args:
        a, b: an experiment (``results/{dataset}/{experiment}``, or the ``metrics.json`` in it), a folder that
            ``earwitness score --out`` wrote, or a table of scores by clip (csv).
        metric: the metric whose clips are told in ``moved``; None takes the first of ``HEADLINES`` that both have.

    Returns ``runs`` (of both: name, seeds, clips, leaks, untrained), ``shared`` (how many clips both were scored on),
    ``lists_differ``, ``references_differ`` (of the shared clips), ``audio_differs`` (how many shared clips are other
    recordings in the two data sets; None where their tables are not there), ``settings_differ`` (how the two were
    scored, by the settings that both tell and that differ), ``metrics``: for each name ``a``, ``b``,
    ``difference`` (b less a), ``ci95`` of the difference and ``p_value`` over the shared clips
    (``earwitness.metrics.bootstrap.difference``), None with a ``reason`` where they cannot be computed; and ``moved``:
    ``metric`` and the clips that differ most in it. A metric that cannot be computed of the shared clips is that of
    the whole lists where they are equal, without an interval.

    Raises EarwitnessError when a file is missing, and MismatchError when no clip is shared.
    """
    _require(a, b)
    runs = [_run(a), _run(b)]
    shared = [clip_id for clip_id in runs[0].ids if clip_id in runs[1].place]
    if not shared:
        first, second = (run.ids[0] for run in runs)
        raise MismatchError(
            f"{a} and {b} share no clip, so they cannot be compared: the first was scored on {len(runs[0].ids)} clips "
            f"such as {first!r}, the second on {len(runs[1].ids)} such as {second!r}. Are they of the same data set?"
        )
    differ = not len(shared) == len(runs[0].ids) == len(runs[1].ids)
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return {
        "runs": [run.summary() for run in runs],
        "shared": len(shared),
        "lists_differ": differ,
        "references_differ": _references_differ(runs, shared),
        "audio_differs": _audio_differs(runs, shared),
        "settings_differ": _settings_differ(runs),
        "metrics": {name: _compared(name, runs, shared, differ) for name in names},
        "moved": _moved(metric, runs, shared),
    }


def _require(*paths: Path) -> None:
    missing = [path if path.suffix or path.is_dir() else path / "metrics.json" for path in paths if not path.exists()]
    missing += [path / "metrics.json" for path in paths if path.is_dir() and not (path / "metrics.json").is_file()]
    if missing:
        advice = "Name two experiments' folders, results/{dataset}/{experiment}, or two tables of scores by clip."
        raise EarwitnessError(
            listed("There is no result to compare:", [f"{path} does not exist" for path in missing], advice)
        )


def _run(path: Path) -> Run:
    """Read an experiment with its seeds, a folder of scores, or a table of scores."""
    if path.is_file() and path.suffix != ".json":
        return Run(str(path), path.parent, [read_table_of_scores(path)])
    folder = path if path.is_dir() else path.parent
    content = read_json(folder / "metrics.json")
    if isinstance(content, dict) and "seeds" not in content and (folder / "scores.csv").is_file():
        return Run(str(folder), folder, [read_scores(folder)])
    result = read_result(folder / "metrics.json")
    folders = [folder / f"seed-{seed}" for seed in result["seeds"]]
    files = [below / name for below in folders for name in ("scores.csv", "metrics.json")]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise EarwitnessError(listed(f"{folder} lacks files of its seeds:", missing, "Ask for the result again."))
    seeds = [read_scores(below) for below in folders]
    if any(scores.ids != seeds[0].ids for scores in seeds):
        raise MismatchError(f"The seeds in {folder} were scored on other clips; ask for its metrics.json again.")
    return Run(f"{result['dataset']}/{result['experiment']}", folder, seeds, result)


def _references_differ(runs: list[Run], shared: list[str]) -> bool:
    """Whether the shared clips were scored against other captions; where those are gone, whether their tables differ.

    The tables of two data sets may differ although these clips have the same captions in both.
    """
    if len(runs[0].references | runs[1].references) < 2:
        return False
    tables = [run.corpus and run.corpus / "captions.csv" for run in runs]
    for table, run in zip(tables, runs, strict=True):
        if table is None or not table.is_file() or run.references != {sha256(table)}:
            return True
    first, second = (captions_by_clip(table, shared) for table in tables)
    return any(sorted(first[clip_id]) != sorted(second[clip_id]) for clip_id in shared)


def _settings_differ(runs: list[Run]) -> dict[str, list[Any]]:
    """The settings of scoring that both tell and that differ, but for those of how files are read: [of a, of b]."""
    a, b = (run.settings for run in runs)
    return {name: [a[name], b[name]] for name in a if name in b and name not in OF_FILES and a[name] != b[name]}


def _audio_differs(runs: list[Run], shared: list[str]) -> int | None:
    """How many of the shared clips are other recordings in the one data set than in the other."""
    if any(run.corpus is None for run in runs):
        return None
    tables = [run.corpus / "clips.csv" for run in runs]
    if runs[0].corpus.resolve() == runs[1].corpus.resolve():
        return 0
    if not all(table.is_file() for table in tables):
        return None
    first, second = (_digests(table) for table in tables)
    return sum(first.get(clip_id) != second.get(clip_id) for clip_id in shared)


def _digests(table: Path) -> dict[str, str]:
    clips = read_table(table, ["clip_id", "sha256"])
    return dict(zip(clips["clip_id"], clips["sha256"], strict=True))


def _compared(name: str, runs: list[Run], shared: list[str], differ: bool) -> dict[str, Any]:
    """One metric of both runs, their difference, and how sure it is."""
    absent = {"value": None, "reason": "it was not scored with this metric"}
    entries = [run.metrics.get(name, absent) for run in runs]
    reasons = {run.name: entry["reason"] for run, entry in zip(runs, entries, strict=True) if entry["value"] is None}
    same = len(reasons) == len(runs) and len(set(reasons.values())) == 1  # both lack it alike
    lacking = list(set(reasons.values())) if same else [f"{name}: {reason}" for name, reason in reasons.items()]
    statistics = [run.statistics(name, shared) for run in runs]
    if not lacking and None not in statistics:
        return bootstrap.difference(*statistics)
    known = [_value(*found, differ) for found in zip(entries, statistics, strict=True)]
    reason = "; ".join(lacking) or "nothing was kept of the clips that it could be computed from again"
    difference = None if None in known else known[1] - known[0]
    return {"a": known[0], "b": known[1], "difference": difference, "ci95": None, "p_value": None, "reason": reason}


def _value(entry: dict[str, Any], statistic: list[Statistic] | None, differ: bool) -> float | None:
    """A run's value on the shared clips; without a statistic that of its whole list, where both lists are equal."""
    if statistic is None:
        return None if differ else entry["value"]
    value = bootstrap.value(statistic)
    return value if np.isfinite(value) else None


def _moved(metric: str | None, runs: list[Run], shared: list[str]) -> dict[str, Any]:
    """The clips that differ most: ``metric``, and of each clip its id, ``a``, ``b`` and what captions were scored."""
    known = [name for name in runs[0].seeds[0].by_clip if all(run.by_clip(name, shared) is not None for run in runs)]
    if metric is not None and metric not in known:
        raise EarwitnessError(
            f"The clips of both have no values of {metric!r}; there are {', '.join(known) or 'none'}."
        )
    metric = metric or next((name for name in (*HEADLINES, *known) if name in known), None)
    if metric is None:
        return {"metric": None, "clips": []}
    a, b = (run.by_clip(metric, shared) for run in runs)
    distance = np.nan_to_num(np.abs(b - a))
    order = [row for row in np.argsort(-distance, kind="stable")[:MOVED] if distance[row] > 0]
    clips = [
        {
            "clip_id": shared[row],
            "a": float(a[row]),
            "b": float(b[row]),
            "captions": [run.seeds[0].captions.get(shared[row]) for run in runs],
        }
        for row in order
    ]
    return {"metric": metric, "clips": clips}
