"""The files that hold one set of scores: ``scores.csv``, ``statistics.h5`` and ``metrics.json`` in one folder.

``scores.csv`` has a row for each clip and a column for each metric that is computed of single clips. ``statistics.h5``
holds, for each metric, what it takes to compute it again on any resample of the clips: one group by the metric's name,
its kind and settings as attributes, its arrays as data sets.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from earwitness.corpora.tables import write_table
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.files import SCHEMA, atomic, provenance, read_json, require_match, write_json
from earwitness.metrics.psds import Psds
from earwitness.metrics.statistics import Median, Statistic, Sums, mean_of

FILES = ("scores.csv", "statistics.h5", "metrics.json")
KINDS = {kind.__name__.lower(): kind for kind in (Sums, Median, Psds)}
CLIP, CAPTION = "clip_id", "caption"
# Metrics whose values of single clips are told, but whose corpus value is not their mean.
NO_MEAN = re.compile(r"bleu_\d|meteor|(.*_)?medr")
NOT_A_MEAN = "not a mean of the clips' values, and nothing else was kept of the clips"
MADE_BY = "scores"


class Evaluation(Protocol):
    """What ``write_scores`` reads; every ``Evaluation`` of ``earwitness.metrics`` has it."""

    metrics: Mapping[str, Mapping]
    by_clip: Mapping[str, np.ndarray]  # name -> [clips], NaN where a clip has no value
    statistics: Mapping[str, Statistic]
    ids: Sequence[str]


@dataclass(frozen=True)
class Scores:
    """One set of scores as it was written; clips in the order of ``ids``."""

    metrics: dict[str, dict]
    by_clip: dict[str, np.ndarray]
    statistics: dict[str, Statistic]
    ids: list[str]
    captions: dict[str, str]  # by clip id, empty where none were scored
    references: str | None  # digest of the table that it was scored against, None where it is not told


def write_scores(
    folder: Path,
    evaluation: Evaluation,
    columns: Mapping[str, Sequence] | None = None,
    content: Mapping[str, Any] | None = None,
) -> None:
    """Write the three files of an evaluation.

    Args:
        columns: further columns of ``scores.csv``, each with a value for every clip in order.
        content: what ``metrics.json`` tells beside ``schema`` and ``metrics``, or in place of ``metrics``.
    """
    table = pd.DataFrame({CLIP: list(evaluation.ids), **(columns or {}), **evaluation.by_clip})
    write_table(folder / "scores.csv", table)
    _write_statistics(folder / "statistics.h5", evaluation)
    write_json(folder / "metrics.json", {"schema": SCHEMA, "metrics": evaluation.metrics, **(content or {})})


def _write_statistics(path: Path, evaluation: Evaluation) -> None:
    import h5py

    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["provenance"] = json.dumps(provenance(MADE_BY), sort_keys=True)
        file.create_dataset("clip_ids", data=list(map(str, evaluation.ids)), dtype=h5py.string_dtype())
        for name, statistic in evaluation.statistics.items():
            group = file.create_group(name)
            group.attrs["kind"] = type(statistic).__name__.lower()
            for field in fields(statistic):
                value = getattr(statistic, field.name)
                if isinstance(value, np.ndarray):
                    group.create_dataset(field.name, data=value)
                else:
                    group.attrs[field.name] = value


def read_scores(folder: Path) -> Scores:
    """Read what ``write_scores`` wrote; without ``statistics.h5`` only means of clip values can be resampled.

    Raises EarwitnessError for a file that is missing or damaged, MismatchError where the files are of other clips.
    """
    content = read_json(folder / "metrics.json")
    if not isinstance(content, dict) or "metrics" not in content:
        raise EarwitnessError(f"{folder / 'metrics.json'} holds no scores; remove it and ask for it again.")
    path = folder / "statistics.h5"
    scores = read_table_of_scores(folder / "scores.csv", numbers_needed=not path.exists())
    if path.exists():
        ids, statistics = _read_statistics(path)
        if ids != scores.ids:
            raise MismatchError(f"{path} holds other clips than scores.csv beside it. Remove both and run again.")
    else:
        statistics = scores.statistics
    references = content.get("provenance", {}).get("inputs", {}).get("references")
    return replace(scores, metrics=content["metrics"], statistics=statistics, references=references)


def read_table_of_scores(path: Path, numbers_needed: bool = True) -> Scores:
    """A table with a row for each clip and columns of numbers, from anywhere; the first column names the clips.

    Each column of numbers is a metric, the mean of which is its value; BLEU, METEOR and median ranks, which are no such
    means, are None with the reason. Cells may be empty where a clip has no value. Raises EarwitnessError for a table
    without clips, with a clip twice, or without numbers where they are needed.
    """
    if not path.is_file():
        raise EarwitnessError(f"{path} does not exist.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:  # pandas' own errors, and bytes that are not UTF-8, are of this kind
        raise EarwitnessError(f"{path} is not a table of comma-separated values in UTF-8: {error}") from error
    if table.empty or len(table.columns) < 1 + numbers_needed:
        raise EarwitnessError(
            f"{path} holds no scores: a first column that names clips and columns of numbers are needed."
        )
    ids = list(table.iloc[:, 0])
    if len(set(ids)) < len(ids):
        twice = [f"clip {clip!r} has several rows" for clip, number in Counter(ids).items() if number > 1]
        raise EarwitnessError(listed(f"{path} needs one row for each clip:", twice))
    columns = [name for name in table.columns[1:] if name != CAPTION]
    by_clip = {name: values for name in columns if (values := _numbers(table[name])) is not None}
    if not by_clip and numbers_needed:
        raise EarwitnessError(f"{path} has no column of numbers: {', '.join(table.columns)}.")
    means = {name: values for name, values in by_clip.items() if not NO_MEAN.fullmatch(name)}
    metrics = {name: {"value": None, "reason": NOT_A_MEAN} for name in by_clip.keys() - means.keys()}
    metrics |= {name: {"value": float(np.nanmean(values))} for name, values in means.items()}
    captions = dict(zip(ids, table[CAPTION], strict=True)) if CAPTION in table else {}
    statistics = {name: mean_of(values) for name, values in means.items()}
    return Scores({name: metrics[name] for name in by_clip}, by_clip, statistics, ids, captions, None)


def _numbers(cells: pd.Series) -> np.ndarray | None:
    """A column as float64 [clips], NaN where it is empty; None when it holds anything but numbers, or nothing."""
    values = pd.to_numeric(cells.where(cells != "", "nan"), errors="coerce").to_numpy(dtype=float)
    filled = (cells != "").to_numpy()
    return values if np.isfinite(values[filled]).all() and filled.any() else None


def _read_statistics(path: Path) -> tuple[list[str], dict[str, Statistic]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            require_match(path, json.loads(file.attrs["provenance"]), {"schema": SCHEMA, "made_by": MADE_BY})
            ids = list(file["clip_ids"].asstr()[:])
            return ids, {name: _statistic(group) for name, group in file.items() if name != "clip_ids"}
    except (OSError, KeyError) as error:
        raise EarwitnessError(f"{path} cannot be read: {error}. Remove it and run again.") from error


def _statistic(group: Any) -> Statistic:
    settings = {name: value.item() if hasattr(value, "item") else value for name, value in group.attrs.items()}
    return KINDS[settings.pop("kind")](**settings, **{name: array[:] for name, array in group.items()})
