"""The index: one HDF5 file with the embedding of each recording below a folder.

Data sets: ``embeddings`` float32 [recordings, D], contiguous; ``paths`` (from the folder, sorted), ``digests``
(sha256), ``sizes`` (bytes), ``changed`` (ns) and ``seconds`` of the files. Attributes: ``format``, ``schema``,
``root`` (the folder), ``model`` (JSON: folder and identity) and ``provenance`` (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.files import atomic_hdf5

SCHEMA = 1
FORMAT = "earwitness index"
DATA = ("embeddings", "paths", "digests", "sizes", "changed", "seconds")
ROWS = 1 << 13  # embeddings that are read at a time


class Row(NamedTuple):
    """A recording: path from the folder, size in bytes, time of change in ns, sha256 of the file, and its length."""

    path: str
    size: int
    changed: int
    digest: str
    seconds: float


class Index:
    """An index that is open for reading; embeddings stay on the disk until they are used.

    Raises EarwitnessError for a file that is none, or is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise EarwitnessError(f"There is no index {path}; `earwitness index FOLDER --index {path}` makes it.")
        try:
            with h5py.File(path, "r") as file:
                self._read(file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EarwitnessError(
                f"{path} is no index, or is damaged ({error}). Give another name, or remove it and index again."
            ) from error

    def _read(self, file: h5py.File) -> None:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"it is HDF5 without the format {FORMAT!r}")
        if (schema := int(file.attrs["schema"])) != SCHEMA:
            raise ValueError(f"its schema is {schema}, {SCHEMA} is read")
        self.root = Path(file.attrs["root"])
        self.model: dict[str, Any] = json.loads(file.attrs["model"])
        embeddings = file["embeddings"]
        lengths = {name: len(file[name]) for name in DATA}
        if embeddings.ndim != 2 or embeddings.dtype != np.float32 or len(set(lengths.values())) > 1:
            raise ValueError(f"its data sets do not go together: {lengths}")
        offset = embeddings.id.get_offset()
        if offset is None:
            raise ValueError("its embeddings are not one piece")
        # As a plain array, whose slices are quicker.
        self.embeddings = np.asarray(np.memmap(self.path, np.float32, "r", offset, embeddings.shape))

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows(self) -> list[Row]:
        """All recordings, in the order of their paths."""
        with h5py.File(self.path, "r") as file:
            columns = [file["paths"].asstr()[:], file["sizes"][:], file["changed"][:]]
            columns += [file["digests"].asstr()[:], file["seconds"][:]]
            return [Row(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def paths(self, rows: Iterable[int]) -> dict[int, str]:
        """The paths of some rows."""
        with h5py.File(self.path, "r") as file:
            wanted = sorted(set(rows))
            return dict(zip(wanted, file["paths"].asstr()[wanted], strict=True))

    def best(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows with the largest dot products, best first; of equal ones the first path.

        Args:
            queries: float32 [queries, D].

        Returns:
            Rows, int64, and dot products, float32, each [queries, k], or fewer where the index has fewer.
        """
        blocks = (self.embeddings[start : start + ROWS] for start in range(0, len(self), ROWS))
        return best(queries, blocks, k)


def best(queries: np.ndarray, blocks: Iterable[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """As ``Index.best``, of embeddings in blocks [rows, D]."""
    if k < 1:
        raise EarwitnessError(f"k is {k!r}; at least one result is needed.")
    kept: list[list[tuple[float, int]]] = [[] for _ in queries]  # (minus the score, row) of the best so far
    start = 0
    for block in blocks:
        for query, own in zip(queries, kept, strict=True):
            # In one thread: it is memory that it waits for, and several threads of BLAS wait for each other.
            found = np.vecdot(block, query)
            # Those that are no worse than the last of the best, of all that was seen before and of this block.
            floor = -own[-1][0] if len(own) == k else -np.inf
            if len(block) > k:
                floor = max(floor, np.partition(found, -k)[-k])
            good = np.flatnonzero(found >= floor)
            own += zip((-found[good]).tolist(), (good + start).tolist(), strict=True)
            own.sort()
            del own[k:]
        start += len(block)
    rows = np.array([[row for _, row in own] for own in kept], dtype=np.int64)
    return rows, -np.array([[score for score, _ in own] for own in kept], dtype=np.float32)


def write(
    path: Path,
    rows: Sequence[Row],
    dimension: int,
    blocks: Iterable[np.ndarray],
    root: Path,
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Write an index atomically; ``blocks`` are the embeddings of the rows in order, float32 [rows of the block, D]."""
    with atomic_hdf5(path) as file:
        embeddings = file.create_dataset("embeddings", (len(rows), dimension), np.float32)
        start = 0
        for block in blocks:
            embeddings[start : start + len(block)] = block
            start += len(block)
        text = h5py.string_dtype()
        file.create_dataset("paths", data=[row.path for row in rows], dtype=text)
        file.create_dataset("digests", data=[row.digest for row in rows], dtype=text)
        file["sizes"] = np.array([row.size for row in rows], dtype=np.int64)
        file["changed"] = np.array([row.changed for row in rows], dtype=np.int64)
        file["seconds"] = np.array([row.seconds for row in rows], dtype=np.float64)
        file.attrs["format"] = FORMAT
        file.attrs["schema"] = SCHEMA
        file.attrs["root"] = str(root)
        file.attrs["model"] = json.dumps(model, sort_keys=True)
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
