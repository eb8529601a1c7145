"""Opens similarity matrices [captions, clips] of HDF5, npz, npy, csv and json files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.corpora.csv_reader import open_sheet, shown, some, unreadable_text
from earwitness.evaluation.readers.tables import HDF5, hdf_values, open_hdf5, reason_of

ARRAYS = (".npz", ".npy")
SIMILARITY = ("similarity", "similarities", "sims", "sim", "scores")
CAPTION_IDS = ("caption_ids", "caption_id", "query_ids", "captions", "queries")
CLIP_IDS = ("clip_ids", "clip_id", "file_names", "fnames", "clips")

# What NumPy and zipfile raise for a damaged file, for one of another format, and for one with a password.
UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass
class Matrix:
    """Scores with a ``shape`` of (captions, clips), read row by row as they are needed where the file allows it.

    ``captions`` and ``clips`` name rows and columns, None where the file does not.
    """

    path: Path
    scores: Any = None
    captions: list[str] | None = None
    clips: list[str] | None = None
    problems: list[str] = field(default_factory=list)


@contextmanager
def open_matrix(path: Path) -> Iterator[Matrix]:
    """The matrix of an HDF5, npz or npy file, which stays open meanwhile."""
    matrix = Matrix(path)
    if problem := "" if path.is_file() else unreadable_text(path):
        matrix.problems.append(problem)
        yield matrix
    elif path.suffix.lower() in HDF5:
        with open_hdf5(path, matrix.problems) as file:
            if file is not None:
                _take(matrix, {name: data for name, data in file.items() if hasattr(data, "shape")}, hdf_values)
            yield matrix
    else:
        try:
            found = np.load(path, allow_pickle=False, mmap_mode="r")
            if isinstance(found, np.ndarray):
                arrays = {"similarity": found}
            else:
                with found:
                    arrays = {name: data for name in found.files if isinstance(data := found[name], np.ndarray)}
        except UNREADABLE as error:
            matrix.problems.append(_unreadable(path, error))
        else:
            _take(matrix, arrays, lambda values: values.tolist())
        yield matrix


def from_json(path: Path, content: Mapping[str, Any]) -> Matrix:
    """The matrix of ``{"similarity": [[...], ...], "caption_ids": [...], "clip_ids": [...]}``."""
    matrix = Matrix(path)
    _take(matrix, content, lambda values: values)
    rows = matrix.scores if isinstance(matrix.scores, list) else []
    offenders = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list):
            offenders.append(f"{path.name}, scores {number}: {shown(str(row))} is no row of numbers")
        elif bad := [v for v in row if isinstance(v, bool) or not isinstance(v, int | float)]:
            offenders.append(f"{path.name}, scores {number}: no numbers: {', '.join(shown(str(v)) for v in bad)}")
    if not rows or offenders or len(set(map(len, rows))) > 1:
        matrix.problems += offenders or [f"{path.name}: its scores are not rows of numbers of the same length"]
        matrix.scores = None
    else:
        matrix.scores = np.array(rows, dtype=float)
    return matrix


def read_csv(path: Path) -> Matrix:
    """The matrix of a csv whose header names the clips, and whose first column names the captions."""
    sheet, rows = open_sheet(path)
    matrix = Matrix(path, clips=list(sheet.columns[1:]), problems=sheet.problems)
    captions, lines = [], []
    for row, (caption, *cells) in rows:
        captions.append(caption)
        try:
            lines.append(np.array(cells, dtype=float))
        except ValueError:
            bad = [(clip, cell) for clip, cell in zip(matrix.clips or (), cells, strict=True) if not _is_number(cell)]
            offenders = ", ".join(f"{shown(cell)} for {shown(clip)}" for clip, cell in bad)
            sheet.blame(row, f"{shown(caption)} has scores that are no numbers: {offenders}")
    if sheet.columns and not matrix.clips:
        what = (
            "is neither a matrix (captions in rows, clips in columns) nor ranked lists (caption, fname_1, fname_2 ...)"
        )
        sheet.problems.append(f"{path.name}: {what}; its header has {some(sheet.columns)}")
    elif not sheet.problems:
        matrix.scores, matrix.captions = np.stack(lines), captions
    return matrix


def _take(matrix: Matrix, arrays: Mapping[str, Any], values_of: Callable[[Any], Any]) -> None:
    """Take the matrix and the ids from named arrays; a problem where there is no matrix, or ids are invalid."""
    name = next((name for name in SIMILARITY if name in arrays), None)
    square = [name for name, data in arrays.items() if getattr(data, "ndim", 0) == 2]
    name = square[0] if name is None and len(square) == 1 else name
    where = matrix.path.name
    if name is None:
        what = f"no data set is called {', '.join(SIMILARITY[:-1])} or {SIMILARITY[-1]}"
        matrix.problems.append(f"{where}: {what}; it has {some(list(arrays)) or 'none'}")
        return
    scores = arrays[name]
    if hasattr(scores, "shape"):
        if len(scores.shape) != 2 or not all(scores.shape):
            matrix.problems.append(f"{where}: {name} has the shape {tuple(scores.shape)}, not (captions, clips)")
        if scores.dtype.kind not in "fiub":
            matrix.problems.append(f"{where}: {name} has the type {scores.dtype}, not numbers")
    matrix.scores = scores
    for names, attribute in ((CAPTION_IDS, "captions"), (CLIP_IDS, "clips")):
        if key := next((key for key in names if key in arrays), None):
            setattr(matrix, attribute, _ids(matrix, key, values_of(arrays[key])))


def _ids(matrix: Matrix, key: str, values: Any) -> list[str]:
    """Ids as text, numbers as they are written."""
    if not isinstance(values, list):
        matrix.problems.append(f"{matrix.path.name}: {key} is no list of ids")
        return []
    ids = []
    for number, value in enumerate(values, 1):
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            what = f"number {number} of {key} is {shown(str(value))}, which is no id"
            matrix.problems.append(f"{matrix.path.name}: {what}")
        ids.append(str(value))
    return ids


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _unreadable(path: Path, error: Exception) -> str:
    if "pickle" in str(error) or "Python objects" in str(error):
        # NumPy takes any format that it does not know for a pickle.
        known = "Object arrays" in str(error) or "Python objects" in str(error)
        kind = "" if known else f"is not NumPy's {path.suffix}, or "
        return f"{path.name}: {kind}holds Python objects, which are not read; save arrays of numbers and of text"
    return (
        f"{path.name}: cannot be read as NumPy's {path.suffix} ({reason_of(error)}); is it cut off or another format?"
    )
