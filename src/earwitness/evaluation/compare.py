"""Compares two sets of scores on the clips that both have.

Each set is an experiment of the DAG, a folder written by ``earwitness score``, or any table of scores by clip.
Obstacles to a fair comparison are reported: different references, different audio under the same ids, and clips that a
model was trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from earwitness import registry
from earwitness.corpora.tables import captions_by_clip, read_table
from earwitness.errors import EarwitnessError, MismatchError, counted, joined, listed
from earwitness.evaluation.result import kinds_of, read_result
from earwitness.evaluation.scores import Scores, read_scores, read_table_of_scores
from earwitness.files import read_json, sha256
from earwitness.metrics import bootstrap, catalogue
from earwitness.metrics.statistics import Statistic

MOVED = 5  # number of listed clips with the largest differences
SCORED_BY_COMMAND = {"score captions": "captioning"} | {
    f"score {kind}": kind for kind in ("retrieval", "grounding", "moments")
}
OF_FILES = ("match", "subset", "candidate_columns", "reference_columns")  # settings of reading, not of scoring


@dataclass(frozen=True)
class Seeds:
    """Scores of one kind of prediction of one system: one set per seed, all of the same clips."""

    seeds: list[Scores]

    @property
    def ids(self) -> list[str]:
        """Ids of the scored clips, in order."""
        return self.seeds[0].ids

    @cached_property
    def place(self) -> dict[str, int]:
        """The index of each clip."""
        return {clip_id: number for number, clip_id in enumerate(self.ids)}

    def statistics(self, metric: str, clips: Sequence[str]) -> list[Statistic] | None:
        """The statistic of the given clips, in their order, for each seed; None if a seed lacks it."""
        if not all(metric in scores.statistics for scores in self.seeds):
            return None
        rows = np.array([self.place[clip_id] for clip_id in clips])
        return [scores.statistics[metric].take(rows) for scores in self.seeds]

    def by_clip(self, metric: str, clips: Sequence[str]) -> np.ndarray | None:
        """Scores of the given clips, mean over seeds: float64 [clips], NaN for no value; None if a seed lacks them."""
        if not all(metric in scores.by_clip for scores in self.seeds):
            return None
        means = np.mean([scores.by_clip[metric] for scores in self.seeds], axis=0)
        return means[[self.place[clip_id] for clip_id in clips]]


@dataclass(frozen=True)
class Run:
    """The scores of one system by kind of prediction; other scores have a single kind without a name."""

    name: str
    folder: Path
    kinds: dict[str, Seeds]
    result: dict[str, Any] | None = field(default=None)  # metrics.json of an experiment; None for other scores

    @property
    def first(self) -> Seeds:
        """The scores of the leading kind."""
        return next(iter(self.kinds.values()))

    @property
    def metrics(self) -> dict[str, dict]:
        """The metrics over all clips."""
        return self.first.seeds[0].metrics if self.result is None else self.result["metrics"]

    @property
    def corpus(self) -> Path | None:
        """The folder with the data set's tables; None for scores from elsewhere."""
        return None if self.result is None else self.folder.parent / "corpus"

    def summary(self) -> dict[str, Any]:
        """Name, number of seeds and clips, leaks, untrained features and remarks."""
        facts = {"name": self.name, "seeds": len(self.first.seeds), "clips": len(self.first.ids)}
        return facts | {key: (self.result or {}).get(key, []) for key in ("leaks", "untrained", "remarks")}


@dataclass(frozen=True)
class Pair:
    """One kind of prediction of two runs, and the clips that both have."""

    a: Seeds
    b: Seeds
    shared: list[str]

    @property
    def lists_differ(self) -> bool:
        """Whether a run has clips that the other lacks."""
        return not len(self.shared) == len(self.a.ids) == len(self.b.ids)


def compare(a: Path, b: Path, metric: str | None = None) -> dict[str, Any]:
    """Compare two systems on the clips that both have, for every kind of prediction that both have.

    Args:
        a, b: an experiment (``results/{dataset}/{experiment}``, or the ``metrics.json`` in it), a folder written by
            ``earwitness score --out``, or a table of scores by clip (csv).
        metric: the metric for ``moved``; None selects the first headline metric that both have.

    Returns:
        A dictionary with ``runs`` (name, seeds, clips, leaks, untrained, remarks of each), ``kinds``, ``shared``
        (number of clips that both have), ``lists_differ``, ``references_differ`` (of shared clips), ``audio_differs``
        (number of shared clips with different recordings; None if the tables are missing), ``settings_differ``
        (settings of scoring that differ, as [a, b]), ``metrics`` and ``moved``.

        ``metrics`` has, by name, ``a``, ``b``, ``difference`` (b - a), ``ci95`` of the difference and ``p_value`` over
        the shared clips (``earwitness.metrics.bootstrap.difference``), None with a ``reason`` where they cannot be
        computed. A metric that cannot be recomputed for the shared clips keeps the values of the whole lists if these
        are equal, without interval. ``moved`` has ``metric`` and the clips with the largest differences. Counts of
        clips refer to the leading kind of prediction.

    Raises EarwitnessError if a file is missing, and MismatchError if no kind or no clip is shared.
    """
    _require(a, b)
    runs = [read_run(a), read_run(b)]
    pairs = _pairs(runs)
    leading = next(iter(pairs.values()))
    if not leading.shared:
        first, second = leading.a.ids, leading.b.ids
        raise MismatchError(
            f"{a} and {b} share no clip, so they cannot be compared: the first has {counted(len(first), 'clip')} such "
            f"as {first[0]!r}, the second {len(second)} such as {second[0]!r}. Are they of the same data set?"
        )
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return {
        "runs": [run.summary() for run in runs],
        "kinds": [kind for kind in pairs if kind],
        "shared": len(leading.shared),
        "lists_differ": leading.lists_differ,
        "references_differ": any(_references_differ(runs, pair) for pair in pairs.values()),
        "audio_differs": _audio_differs(runs, leading.shared),
        "settings_differ": _settings_differ(pairs.values()),
        "metrics": {name: _compared(name, runs, pairs) for name in names},
        "moved": _moved(metric, pairs),
    }


def _pairs(runs: list[Run]) -> dict[str, Pair]:
    """The kinds that both have; scores from elsewhere are paired with the leading kind of an experiment."""
    a, b = runs
    kinds = [kind for kind in a.kinds if kind in b.kinds]
    if not kinds and "" not in {*a.kinds, *b.kinds}:
        raise MismatchError(
            f"{a.name} predicts {', '.join(a.kinds)} and {b.name} predicts {', '.join(b.kinds)}: they have no "
            "metric in common."
        )
    both = [(kind, a.kinds[kind], b.kinds[kind]) for kind in kinds] or [("", a.first, b.first)]
    return {kind: Pair(one, other, [clip for clip in one.ids if clip in other.place]) for kind, one, other in both}


def _require(*paths: Path) -> None:
    missing = [path if path.suffix or path.is_dir() else path / "metrics.json" for path in paths if not path.exists()]
    missing += [path / "metrics.json" for path in paths if path.is_dir() and not (path / "metrics.json").is_file()]
    if missing:
        advice = "Give the folders of two experiments, results/{dataset}/{experiment}, or two tables of scores by clip."
        raise EarwitnessError(
            listed("Results to compare are missing:", [f"{path} does not exist" for path in missing], advice)
        )


def paired_difference(metric: str, a: Seeds, b: Seeds) -> dict[str, Any] | None:
    """One metric of two systems on the same clips, in any order: as ``bootstrap.difference``.

    None where a seed has no statistics by clip from which the metric can be computed again.
    """
    first, second = a.statistics(metric, a.ids), b.statistics(metric, a.ids)
    return None if first is None or second is None else bootstrap.difference(first, second)


def read_run(path: Path, metrics: Collection[str] | None = None) -> Run:
    """Read an experiment with its seeds, a folder of scores, or a table of scores.

    Args:
        metrics: of an experiment, those whose statistics are read; None reads all.

    Raises EarwitnessError for missing or invalid files, and MismatchError for seeds of different clips.
    """
    if path.is_file() and path.suffix != ".json":
        return Run(str(path), path.parent, {"": Seeds([read_table_of_scores(path)])})
    folder = path if path.is_dir() else path.parent
    content = read_json(folder / "metrics.json")
    if isinstance(content, dict) and "seeds" not in content and (folder / "scores.csv").is_file():
        return Run(str(folder), folder, {scored_kind(content): Seeds([read_scores(folder)])})
    result = read_result(folder / "metrics.json")
    folders = {kind: [folder / f"seed-{seed}" / kind for seed in result["seeds"]] for kind in kinds_of(result)}
    files = [
        below / name for several in folders.values() for below in several for name in ("scores.csv", "metrics.json")
    ]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise EarwitnessError(listed(f"{folder} lacks files of its seeds:", missing, "Make the result again."))
    kinds = {kind: Seeds([read_scores(below, metrics) for below in several]) for kind, several in folders.items()}
    if any(scores.ids != scored.ids for scored in kinds.values() for scores in scored.seeds):
        raise MismatchError(f"The seeds in {folder} were scored on different clips; make its metrics.json again.")
    return Run(f"{result['dataset']}/{result['experiment']}", folder, kinds, result)


def scored_kind(content: Mapping[str, Any]) -> str:
    """The kind of prediction that a ``metrics.json`` of one set of scores is of; "" if it does not say."""
    made_by = (content.get("provenance") or {}).get("made_by", "")
    return content.get("kind") or SCORED_BY_COMMAND.get(made_by, "")


def _references_differ(runs: list[Run], pair: Pair) -> bool:
    """Whether the references of the shared clips differ; without the tables of captions, whether their digests differ.

    The tables of two data sets may differ although the shared clips have the same captions in both.
    """
    digests = [{scores.references for scores in scored.seeds} - {None} for scored in (pair.a, pair.b)]
    if len(digests[0] | digests[1]) < 2:
        return False
    tables = [run.corpus and run.corpus / "captions.csv" for run in runs]
    for table, known in zip(tables, digests, strict=True):
        if table is None or not table.is_file() or known != {sha256(table)}:
            return True
    first, second = (captions_by_clip(table, pair.shared) for table in tables if table is not None)
    return any(sorted(first[clip_id]) != sorted(second[clip_id]) for clip_id in pair.shared)


def _settings_differ(pairs: Iterable[Pair]) -> dict[str, list[Any]]:
    """Settings of scoring that both have and that differ, as [a, b], apart from those of reading files."""
    differing: dict[str, list[Any]] = {}
    for pair in pairs:
        differing |= differing_settings(pair.a, pair.b)
    return differing


def differing_settings(a: Seeds, b: Seeds) -> dict[str, list[Any]]:
    """Settings of scoring that both have and that differ, as [a, b], apart from those of reading files."""
    one, other = a.seeds[0].settings, b.seeds[0].settings
    both = [name for name in one if name in other and name not in OF_FILES]
    return {name: [one[name], other[name]] for name in both if one[name] != other[name]}


def _audio_differs(runs: list[Run], shared: list[str]) -> int | None:
    """How many shared clips are different recordings in the two data sets; None if that is unknown."""
    corpora = [run.corpus for run in runs if run.corpus is not None]
    if len(corpora) < len(runs):
        return None
    tables = [corpus / "clips.csv" for corpus in corpora]
    if corpora[0].resolve() == corpora[1].resolve():
        return 0
    if not all(table.is_file() for table in tables):
        return None
    read = (read_table(table, ["clip_id", "sha256"]) for table in tables)
    first, second = (dict(zip(clips["clip_id"], clips["sha256"], strict=True)) for clips in read)
    return sum(first.get(clip_id) != second.get(clip_id) for clip_id in shared)


def _compared(name: str, runs: list[Run], pairs: dict[str, Pair]) -> dict[str, Any]:
    """One metric of both runs: values, difference, interval and p-value."""
    scored = [pair for pair in pairs.values() if all(name in one.seeds[0].metrics for one in (pair.a, pair.b))]
    pair = (scored or list(pairs.values()))[0]
    absent = {"value": None, "reason": "not scored with this metric"}
    entries = [run.metrics.get(name, absent) for run in runs]
    reasons = {run.name: entry["reason"] for run, entry in zip(runs, entries, strict=True) if entry["value"] is None}
    same = len(reasons) == len(runs) and len(set(reasons.values())) == 1  # one reason for both
    lacking = list(set(reasons.values())) if same else [f"{name}: {reason}" for name, reason in reasons.items()]
    a, b = statistics = [scored.statistics(name, pair.shared) for scored in (pair.a, pair.b)]
    if not lacking and a is not None and b is not None:
        return bootstrap.difference(a, b)
    known = [_value(*found, pair.lists_differ) for found in zip(entries, statistics, strict=True)]
    reason = joined(lacking) or "no statistics by clip were stored from which it could be recomputed"
    first, second = known
    difference = None if first is None or second is None else second - first
    return {"a": first, "b": second, "difference": difference, "ci95": None, "p_value": None, "reason": reason}


def _value(entry: dict[str, Any], statistic: list[Statistic] | None, differ: bool) -> float | None:
    """A run's value on the shared clips; without a statistic, of its whole list if both lists are equal."""
    if statistic is None:
        return None if differ else entry["value"]
    value = bootstrap.value(statistic)
    return value if np.isfinite(value) else None


def _moved(metric: str | None, pairs: dict[str, Pair]) -> dict[str, Any]:
    """The clips with the largest differences in ``metric``: id, ``a``, ``b`` and the scored captions of each."""
    known = {
        name: pair
        for pair in pairs.values()
        for name in pair.a.seeds[0].by_clip
        if all(name in scores.by_clip for scored in (pair.a, pair.b) for scores in scored.seeds)
    }
    if metric is not None and metric not in known:
        raise EarwitnessError(f"No scores by clip of {metric!r} in both; available: {', '.join(known) or 'none'}.")
    headlines = [name for kind in pairs if kind for name in registry.kind(kind).headlines]
    headlines += [name for names in catalogue.HEADLINES.values() for name in names]
    metric = metric or next((name for name in (*headlines, *known) if name in known), None)
    if metric is None:
        return {"metric": None, "clips": []}
    pair = known[metric]
    a, b = (scored.by_clip(metric, pair.shared) for scored in (pair.a, pair.b))
    assert a is not None and b is not None  # `known` has what both have of each clip
    distance = np.nan_to_num(np.abs(b - a))
    order = [row for row in np.argsort(-distance, kind="stable")[:MOVED] if distance[row] > 0]
    clips = [
        {
            "clip_id": pair.shared[row],
            "a": float(a[row]),
            "b": float(b[row]),
            "captions": [scored.seeds[0].captions.get(pair.shared[row]) for scored in (pair.a, pair.b)],
        }
        for row in order
    ]
    return {"metric": metric, "clips": clips}
