"""The files of one set of scores: ``scores.csv``, ``statistics.h5`` and ``metrics.json`` in one folder.

``scores.csv`` has one row per clip and one column per metric that is defined for single clips. ``statistics.h5`` holds
the statistic from which each metric is computed on any resample of the clips: one group per metric, with its kind and
settings as attributes and its arrays as data sets.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from earwitness.corpora.tables import write_table
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.files import SCHEMA, atomic_hdf5, provenance, read_json, require_match, sha256, write_json
from earwitness.metrics import catalogue
from earwitness.metrics.psds import Psds
from earwitness.metrics.statistics import Median, Statistic, Sums, mean_of

FILES = ("scores.csv", "statistics.h5", "metrics.json")
KINDS = {kind.__name__.lower(): kind for kind in (Sums, Median, Psds)}
CLIP, CAPTION = "clip_id", "caption"
# Usual names of the column with clip ids, in order of preference, in lower case.
CLIP_COLUMNS = (
    *("clip_id", "image_id", "file_name", "filename", "fname", "file", "audio_file", "audio_filepath", "audio_path"),
    *("audio", "path", "wav", "youtube_id", "ytid", "audiocap_id", "sound_id", "clip", "id"),
)
EMPTY = ("", "nan", "na", "n/a", "none", "null", "-")
NOT_A_MEAN = "not a mean of the clips' values, and no other statistics by clip were stored"
MADE_BY = "scores"


class Evaluation(Protocol):
    """The attributes that ``write_scores`` reads; every ``Evaluation`` of ``earwitness.metrics`` has them."""

    metrics: Mapping[str, Mapping]
    by_clip: Mapping[str, np.ndarray]  # name -> [clips], NaN where a clip has no value
    statistics: Mapping[str, Statistic]
    ids: Sequence[str]


@dataclass(frozen=True)
class Scores:
    """One set of scores as read from files; clips in the order of ``ids``."""

    metrics: dict[str, dict]
    by_clip: dict[str, np.ndarray]
    statistics: dict[str, Statistic]
    ids: list[str]
    captions: dict[str, str]  # by clip id; empty unless captions were scored
    references: str | None = None  # digest of the table of references, None if unknown
    settings: dict[str, Any] = field(default_factory=dict)  # of scoring


@dataclass(frozen=True)
class Scored:
    """An evaluation with its context.

    Attributes:
        made_by, inputs, settings: provenance: the stage, the files it read and how they were scored.
        counts: such as numbers of scored clips; notes: remarks for the reader.
        columns: further columns of ``scores.csv``; more: further content of ``metrics.json``.
        tables: further tables (data frames) by the name of their file, as ``Kind.score_files`` names them.
    """

    evaluation: Any
    made_by: str
    inputs: Mapping[str, Path]
    settings: Mapping[str, Any]
    counts: Mapping[str, int | None]
    notes: Sequence[str] = ()
    columns: Mapping[str, Sequence] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)


def write_scores(
    folder: Path,
    evaluation: Evaluation,
    columns: Mapping[str, Sequence] | None = None,
    content: Mapping[str, Any] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Write the three files of an evaluation: all of them, or none after a failure.

    Args:
        columns: further columns of ``scores.csv``, each with one value per clip in order.
        content: further content of ``metrics.json``; its keys override ``schema`` and ``metrics``.
        tables: further tables to write, by the name of their file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({CLIP: list(evaluation.ids), **(columns or {}), **evaluation.by_clip})
    with tempfile.TemporaryDirectory(dir=folder, prefix=".scores.csv.", suffix=".tmp") as staging:
        new = Path(staging)
        write_table(new / "scores.csv", table)
        _write_statistics(new / "statistics.h5", evaluation)
        files = {name: sha256(new / name) for name in ("scores.csv", "statistics.h5")}
        described = {"schema": SCHEMA, "metrics": evaluation.metrics, **(content or {}), "files": files}
        write_json(new / "metrics.json", described)
        for name, further in (tables or {}).items():
            write_table(new / name, further)
        for name in (*(tables or {}), *FILES):
            os.replace(new / name, folder / name)


def _write_statistics(path: Path, evaluation: Evaluation) -> None:
    import h5py

    with atomic_hdf5(path) as file:
        file.attrs["provenance"] = json.dumps(provenance(MADE_BY), sort_keys=True)
        file.create_dataset("clip_ids", data=list(map(str, evaluation.ids)), dtype=h5py.string_dtype())
        statistic: Any  # a dataclass
        for name, statistic in evaluation.statistics.items():
            group = file.create_group(name)
            group.attrs["kind"] = type(statistic).__name__.lower()
            for entry in fields(statistic):
                value = getattr(statistic, entry.name)
                if isinstance(value, np.ndarray):
                    group.create_dataset(entry.name, data=value)
                else:
                    group.attrs[entry.name] = value


def read_scores(folder: Path, metrics: Collection[str] | None = None) -> Scores:
    """Read the files of ``write_scores``; without ``statistics.h5`` only means of clip values can be resampled.

    Args:
        metrics: those whose scores by clip and statistics are read; None reads all.

    Raises EarwitnessError for a missing or damaged file, and MismatchError if the files do not belong together.
    """
    content = read_json(folder / "metrics.json")
    if not isinstance(content, dict) or not isinstance(content.get("metrics"), dict):
        raise EarwitnessError(f"{folder / 'metrics.json'} holds no scores; remove it and make it again.")
    files = {folder / name: known for name, known in content.get("files", {}).items()}
    if others := [path.name for path, known in files.items() if path.is_file() and sha256(path) != known]:
        raise MismatchError(
            f"{' and '.join(others)} in {folder} {'do' if len(others) > 1 else 'does'} not belong to the metrics.json "
            "there. Remove these files and score again."
        )
    values, path = content["metrics"], folder / "statistics.h5"
    scores = read_table_of_scores(folder / "scores.csv", numbers_needed=not path.exists(), metrics=metrics)
    statistics = _read_statistics(path, scores.ids, metrics) if path.exists() else scores.statistics
    made_by = content.get("provenance") or {}
    return replace(
        scores,
        metrics=values,
        by_clip={name: by_clip for name, by_clip in scores.by_clip.items() if name in values},
        statistics=statistics,
        references=made_by.get("inputs", {}).get("references"),
        settings=made_by.get("settings", {}),
    )


def read_table_of_scores(path: Path, numbers_needed: bool = True, metrics: Collection[str] | None = None) -> Scores:
    """Read any table with one row per clip and columns of numbers.

    The clip ids are in a column with a usual name (``CLIP_COLUMNS``), else in the first one. Each column of numbers is
    a metric whose value is the mean; BLEU, METEOR, F1, medians and others that are not such means are None with the
    reason. A clip without a value has an empty cell or one of ``EMPTY``. ``metrics`` are the columns to read; None is
    all.

    Raises EarwitnessError for a table without clips, with duplicate clips, with other text in a column that is read, or
    without any column of numbers if ``numbers_needed``.
    """
    table = _table(path)
    named = {column.strip().lower(): column for column in reversed(table.columns)}
    clips = next((named[name] for name in CLIP_COLUMNS if name in named), table.columns[0])
    if not clips.strip() or clips.startswith("Unnamed: "):
        raise EarwitnessError(
            f"{path} has no column of clip ids: the first column has no heading (an index written by pandas?), and "
            f"none is called {', '.join(CLIP_COLUMNS[:4])} ..."
        )
    ids = list(table[clips])
    offenders = [f"clip {clip!r} has {number} rows" for clip, number in Counter(ids).items() if number > 1]
    if offenders:
        raise EarwitnessError(listed(f"{path} needs one row for each clip:", offenders))
    others = [name for name in table.columns if name not in (clips, CAPTION)]
    columns = {name: _numbers(table[name]) for name in others if metrics is None or name in metrics}
    offenders = [f"row {row}, {name}: {cell!r}" for name, (_, bad) in columns.items() for row, cell in bad]
    if offenders:
        raise EarwitnessError(listed(f"{path} has cells that are not finite numbers:", offenders))
    by_clip = {name: values for name, (values, _) in columns.items() if values is not None}
    if numbers_needed and not by_clip and all(_numbers(table[name])[0] is None for name in others):
        raise EarwitnessError(f"{path} has no column of numbers: {', '.join(table.columns)}.")
    means = {name: values for name, values in by_clip.items() if catalogue.find(name).is_mean}
    values_of = {
        name: {"value": float(np.nanmean(values))} if name in means else {"value": None, "reason": NOT_A_MEAN}
        for name, values in by_clip.items()
    }
    captions = dict(zip(ids, table[CAPTION], strict=True)) if CAPTION in table else {}
    return Scores(values_of, by_clip, {name: mean_of(values) for name, values in means.items()}, ids, captions)


def _table(path: Path) -> pd.DataFrame:
    """Read a csv with all cells as text."""
    if not path.is_file():
        raise EarwitnessError(f"{path} does not exist.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:  # includes pandas' errors, and bytes that are not UTF-8
        raise EarwitnessError(f"{path} is not a table of comma-separated values in UTF-8: {error}") from error
    if table.empty:
        raise EarwitnessError(f"{path} holds no scores: it has no rows.")
    return table


def _numbers(cells: pd.Series) -> tuple[np.ndarray | None, list[tuple[int, str]]]:
    """A column as float64 [clips], NaN where it is empty, and its cells that are not numbers, each with its row.

    A column with at least as many texts as numbers is a column of text: None, and no bad cells.
    """
    empty = cells.str.strip().str.lower().isin(EMPTY)
    values = pd.to_numeric(cells.where(~empty, "nan"), errors="coerce").to_numpy(dtype=float)
    known = np.isfinite(values)
    bad = ~known & ~empty.to_numpy()
    if known.sum() <= bad.sum():
        return None, []
    return values, [(int(row) + 2, cells.iloc[row]) for row in np.flatnonzero(bad)]


def _read_statistics(path: Path, clips: list[str], metrics: Collection[str] | None) -> dict[str, Statistic]:
    """The statistics by metric, of some of them or all. Raises MismatchError if they are of other clips."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            require_match(path, json.loads(file.attrs["provenance"]), {"schema": SCHEMA, "made_by": MADE_BY})
            if list(file["clip_ids"].asstr()[:]) != clips:
                raise MismatchError(f"{path} and scores.csv there have different clips. Remove both and run again.")
            wanted = [name for name in file if name != "clip_ids" and (metrics is None or name in metrics)]
            return {name: _statistic(file[name]) for name in wanted}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EarwitnessError(f"{path} cannot be read: {error}. Remove it and run again.") from error


def _statistic(group: Any) -> Statistic:
    settings = {name: value.item() if hasattr(value, "item") else value for name, value in group.attrs.items()}
    statistic = KINDS[settings.pop("kind")](**settings, **{name: array[:] for name, array in group.items()})
    statistic.values(np.ones((1, statistic.clips)))  # fails for an unknown formula or arrays that do not fit
    return statistic
