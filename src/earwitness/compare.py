"""Two experiments side by side, over the clips that both were scored on.

What makes them hard to compare is told with them: other references, other audio under the same ids, and clips that a
model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.corpora.tables import captions_by_clip, read_table
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation import read_result, seed_scores
from earwitness.files import sha256
from earwitness.metrics.bootstrap import NOT_A_MEAN
from earwitness.metrics.captions import MEANS

OTHER_CLIPS = f"{NOT_A_MEAN}, and the two were scored on other clips"


@dataclass(frozen=True)
class Run:
    """An experiment's result, and the scores of its seeds."""

    folder: Path
    result: dict[str, Any]

    @cached_property
    def seeds(self) -> list[Any]:
        """Of each seed ``ids`` and ``items`` (name -> [clips]); all seeds scored the same clips."""
        found = [seed_scores(self.folder / f"seed-{seed}") for seed in self.result["seeds"]]
        if any(scores.ids != found[0].ids for scores in found):
            raise MismatchError(
                f"The seeds in {self.folder} were scored on other clips; ask for its metrics.json again."
            )
        return found

    @property
    def corpus(self) -> Path:
        """The folder of its data set's tables."""
        return self.folder.parent / "corpus"

    @property
    def references(self) -> set[str]:
        """Digests of the tables of captions that its seeds were scored against."""
        return {scores.references for scores in self.seeds} - {None}

    @property
    def ids(self) -> list[str]:
        """The clips it was scored on, in order."""
        return self.seeds[0].ids

    def values(self, metric: str) -> dict[str, float] | None:
        """By clip the score averaged over seeds; None where a seed lacks it."""
        if not all(metric in scores.items for scores in self.seeds):
            return None
        means = np.mean([scores.items[metric] for scores in self.seeds], axis=0)
        return dict(zip(self.ids, means, strict=True))

    def summary(self) -> dict[str, Any]:
        """What it is, and of how many clips."""
        named = {key: self.result[key] for key in ("dataset", "experiment", "seeds")}
        ids = {"clips": len(self.ids), "ids_sha256": self.result["counts"]["ids_sha256"]}
        return named | ids | {"leaks": self.result.get("leaks", [])}


def compare(a: Path, b: Path) -> dict[str, Any]:
    """Compare two experiments.

    Args:
        a, b: the folders ``results/{dataset}/{experiment}``, or the ``metrics.json`` in them.

    Returns ``runs`` (of both: dataset, experiment, seeds, clips, ids_sha256, leaks), ``shared`` (how many clips both
    were scored on), ``lists_differ``, ``references_differ`` (of the shared clips), ``audio_differs`` (how many shared
    clips are other recordings in the two data sets; None where their tables are not there), and ``metrics``: for each
    name ``a``, ``b`` and ``difference`` (b less a), None with a ``reason`` where it cannot be computed. Metrics that
    are means of the clips' values are means over the shared clips and over seeds; the others are those of the whole
    lists, and None when the lists differ.

    Raises EarwitnessError when a file is missing, and MismatchError when no clip is shared.
    """
    _require(a, b)
    runs = [_run(a), _run(b)]
    theirs = set(runs[1].ids)
    shared = [clip_id for clip_id in runs[0].ids if clip_id in theirs]
    if not shared:
        first, second = (run.ids[0] for run in runs)
        raise MismatchError(
            f"{a} and {b} share no clip, so they cannot be compared: the first was scored on {len(runs[0].ids)} clips "
            f"such as {first!r}, the second on {len(runs[1].ids)} such as {second!r}. Are they of the same data set?"
        )
    summaries = [run.summary() for run in runs]
    differ = summaries[0]["ids_sha256"] != summaries[1]["ids_sha256"]
    names = dict.fromkeys(name for run in runs for name in run.result["metrics"])
    metrics = {name: _compared(name, runs, shared, differ) for name in names}
    return {
        "runs": summaries,
        "shared": len(shared),
        "lists_differ": differ,
        "references_differ": _references_differ(runs, shared),
        "audio_differs": _audio_differs(runs, shared),
        "metrics": metrics,
    }


def _result(path: Path) -> Path:
    return path if path.name == "metrics.json" else path / "metrics.json"


def _require(*paths: Path) -> None:
    if missing := [f"{_result(path)} does not exist" for path in paths if not _result(path).is_file()]:
        advice = "Name two experiments' folders, results/{dataset}/{experiment}."
        raise EarwitnessError(listed("There is no result to compare:", missing, advice))


def _run(path: Path) -> Run:
    """Read an experiment; what else has a metrics.json (a seed) and seeds without files are refused."""
    path = _result(path)
    result = read_result(path)
    files = [path.parent / f"seed-{seed}" / name for seed in result["seeds"] for name in ("scores.csv", "metrics.json")]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise EarwitnessError(listed(f"{path} lacks files of its seeds:", missing, "Ask for the result again."))
    return Run(path.parent, result)


def _references_differ(runs: list[Run], shared: list[str]) -> bool:
    """Whether the shared clips were scored against other captions; where those are gone, whether their tables differ.

    The tables of two data sets may differ although these clips have the same captions in both.
    """
    if len(runs[0].references | runs[1].references) < 2:
        return False
    tables = [run.corpus / "captions.csv" for run in runs]
    if not all(table.is_file() and run.references == {sha256(table)} for table, run in zip(tables, runs, strict=True)):
        return True
    first, second = (captions_by_clip(table, shared) for table in tables)
    return any(sorted(first[clip_id]) != sorted(second[clip_id]) for clip_id in shared)


def _audio_differs(runs: list[Run], shared: list[str]) -> int | None:
    """How many of the shared clips are other recordings in the one data set than in the other."""
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
    """One metric of both runs, and their difference."""
    entries = [_value(name, run, shared, differ) for run in runs]
    a, b = (entry["value"] for entry in entries)
    reasons = dict.fromkeys(entry["reason"] for entry in entries if "reason" in entry)
    compared = {"a": a, "b": b, "difference": None if a is None or b is None else b - a}
    return compared | ({"reason": "; ".join(reasons)} if reasons else {})


def _value(name: str, run: Run, shared: list[str], differ: bool) -> dict[str, Any]:
    entry = run.result["metrics"].get(name, {"value": None, "reason": "it was not scored with this metric"})
    if entry["value"] is None:
        return {"value": None, "reason": f"{run.result['experiment']}: {entry['reason']}"}
    if name in MEANS and (values := run.values(name)) is not None:
        return {"value": float(np.mean([values[clip_id] for clip_id in shared]))}
    if differ:
        return {"value": None, "reason": OTHER_CLIPS}
    return {"value": entry["value"]}
