"""Makes an index of a folder's recordings, and brings it up to date.

Embeddings depend on a file's content alone: what is known by its digest, under whatever name, is not computed again.
New embeddings are first written to parts beside the index, so that an indexing that was killed goes on with the rest.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from earwitness.audio.sound import AudioError
from earwitness.corpora.paths import recordings_below
from earwitness.errors import EarwitnessError, counted, listed
from earwitness.files import SCHEMA, code_version
from earwitness.lock import hold
from earwitness.prediction.clips import Clips
from earwitness.serving.models import identity, load_dual_encoder, require_same
from earwitness.serving.recordings import Features, Recording
from earwitness.serving.store import ROWS, Index, Row, write
from earwitness.systems.interface import DualEncoder

Place = tuple[Index, int]  # of an embedding: the file and the row
PART = 256  # recordings whose embeddings are kept at once: what a killed indexing may lose


@dataclass
class Indexed:
    """What an indexing did.

    Attributes:
        counts: ``recordings`` in the index; of these ``new``, ``changed``, ``renamed`` (or copies: their content was
            known) and ``unchanged``; ``gone`` from it; ``unreadable``, which are left out.
        unreadable: which, and why.
        remarks: on the recordings that were embedded, such as how many were cut.
    """

    counts: dict[str, int]
    unreadable: list[AudioError] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def update(folder: Path, model: Path, out: Path, weights: Sequence[Path] = (), cores: int = 1) -> Indexed:
    """Make the index ``out`` of all recordings below ``folder``, or bring it up to date.

    Args:
        model: a seed's folder, of a system whose model is a ``DualEncoder``.
        weights: files of extractors' weights, where they are not in resources/checkpoints.

    Raises:
        EarwitnessError: a folder without recordings, or without any that can be read; an index of another model or
            folder; another process at work on it.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise EarwitnessError(f"{folder} is no folder; give the one with the recordings.")
    if out.is_dir():
        raise EarwitnessError(f"{out} is a folder; give the name of a file for the index.")
    known = {"folder": str(model.resolve()), **identity(model)}
    old = _old(out, root, model)
    unreadable: list[AudioError] = []
    found = _states(root, unreadable)
    if not found and unreadable:
        raise EarwitnessError(listed(f"{folder} holds no recording that can be read:", list(map(str, unreadable))))
    if not found:
        raise EarwitnessError(f"{folder} holds no recording, nor does a folder below it.")
    parts = out.absolute().with_name(f".{out.name}.parts")
    try:
        with hold(parts / "lock", f"Another process is at work on {out}; wait for it."):
            done = _update(root, found, unreadable, known, model, out, old, parts, weights, cores)
            shutil.rmtree(parts, ignore_errors=True)  # on NFS the folder stays, whose lock is still open
            return done
    except PermissionError as error:
        raise EarwitnessError(f"{out} cannot be written: {error.strerror}. Give another place.") from error
    finally:
        with suppress(OSError):
            parts.rmdir()  # when nothing was begun, or nothing is left


def _old(out: Path, root: Path, model: Path) -> Index | None:
    """The index as it is, of this model and folder; None where there is none yet."""
    if not out.exists():
        return None
    old = Index(out)
    require_same(out, old.model, model, "Index with that model, or give another file for the index of this one.")
    if old.root != root and old.root.is_dir():
        raise EarwitnessError(f"{out} is the index of {old.root}, not of {root}. Give another file for this folder's.")
    return old


def _states(root: Path, unreadable: list[AudioError]) -> dict[str, tuple[int, int]]:
    """Size and time of change (ns) of all recordings; a link that leads nowhere is none.

    Folders that cannot be read are added to ``unreadable``.
    """
    found = {}
    for path in sorted(recordings_below(root, unreadable)):
        with suppress(OSError):
            now = (root / path).stat()
            found[path] = (now.st_size, now.st_mtime_ns)
    return found


def _update(
    root: Path,
    found: Mapping[str, tuple[int, int]],
    unreadable: list[AudioError],
    known: Mapping[str, Any],
    model: Path,
    out: Path,
    old: Index | None,
    parts: Path,
    weights: Sequence[Path],
    cores: int,
) -> Indexed:
    features = parts / "features"
    shutil.rmtree(features, ignore_errors=True)
    before = {row.path: row for row in old.rows()} if old else {}
    rows, places = _known([*([old] if old else []), *_left(parts, known)], root, found)
    work = Work(root, features, model, weights, cores)
    new = [path for path in found if path not in rows]
    for recording in work.checked(new):
        if isinstance(recording, AudioError):
            unreadable.append(recording)
        else:
            rows[recording.path] = Row(recording.path, *found[recording.path], recording.sha256, recording.seconds)
    if not rows:
        heading = f"None of the {counted(len(found), 'recording')} below {root} can be used:"
        raise EarwitnessError(listed(heading, [str(error) for error in unreadable]))
    unknown = {rows[path].digest: rows[path] for path in new if path in rows and rows[path].digest not in places}
    places |= _embedded(work, unknown, parts, known)
    kinds = Counter(_kind(rows.get(path), before.get(path), path in new, unknown) for path in found)
    counts = {"recordings": len(rows)} | {name: kinds[name] for name in ("new", "changed", "renamed", "unchanged")}
    counts |= {"gone": len(before.keys() - found.keys()), "unreadable": len(unreadable)}
    order = [rows[path] for path in sorted(rows)]
    if old is None or order != list(before.values()) or old.root != root or old.model != known:
        dimension = places[order[0].digest][0].embeddings.shape[1]
        write(out, order, dimension, _gathered(order, places, dimension), root, known, _made())
    return Indexed(counts, unreadable, [*work.features.remarks(), *work.model.remarks()] if unknown else [])


def _known(
    sources: Sequence[Index], root: Path, found: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Row], dict[str, Place]]:
    """What need not be read again: the rows of files that did not change, by path; and embeddings, by digest."""
    rows, places = dict[str, Row](), dict[str, Place]()
    for source in sources:
        for number, row in enumerate(source.rows()):
            places[row.digest] = (source, number)
            if source.root == root and found.get(row.path) == (row.size, row.changed):
                rows[row.path] = row
    return rows, places


def _embedded(work: Work, unknown: Mapping[str, Row], parts: Path, known: Mapping[str, Any]) -> dict[str, Place]:
    """Embed recordings, which are given and found by their digests; written to parts as they are done."""
    places: dict[str, Place] = {}
    asked = [Recording(row.path, row.seconds, row.digest) for row in unknown.values()]
    with closing(work.embeddings(asked)) as fresh:
        for recordings, values in _in_parts(fresh):
            own = [unknown[recording.sha256] for recording in recordings]
            part = parts / f"{own[0].digest}.h5"
            write(part, own, values.shape[1], [values], work.root, known, _made())
            source = Index(part)
            places |= {row.digest: (source, place) for place, row in enumerate(own)}
    return places


def _made() -> dict[str, Any]:
    """The provenance of an index."""
    return {"schema": SCHEMA, "made_by": "index", "settings": {}, "inputs": {}, "code": code_version()}


def _left(parts: Path, known: Mapping[str, Any]) -> Iterator[Index]:
    """The parts that an indexing by the same model left when it was killed; those of others are removed."""
    for path in sorted(parts.glob("*.h5")):
        try:
            part = Index(path)
        except EarwitnessError:
            part = None
        if part is not None and part.model == known:
            yield part
        else:
            path.unlink()


def _kind(row: Row | None, before: Row | None, read: bool, unknown: Mapping[str, Row]) -> str:
    """What became of a recording (``Indexed.counts``)."""
    if row is None:
        return "unreadable"
    if before is not None:
        return "unchanged" if before.digest == row.digest else "changed"
    return "renamed" if read and row.digest not in unknown else "new"


def _in_parts(
    fresh: Iterator[tuple[Sequence[Recording], np.ndarray]],
) -> Iterator[tuple[list[Recording], np.ndarray]]:
    """Recordings and their embeddings, at least ``PART`` together but for the last."""
    recordings: list[Recording] = []
    values: list[np.ndarray] = []
    for some, embeddings in fresh:
        recordings += some
        values.append(embeddings)
        if len(recordings) >= PART:
            yield recordings, np.concatenate(values)
            recordings, values = [], []
    if recordings:
        yield recordings, np.concatenate(values)


def _gathered(rows: Sequence[Row], places: Mapping[str, Place], dimension: int) -> Iterator[np.ndarray]:
    """The embeddings of rows, float32 [rows, D], in blocks."""
    for start in range(0, len(rows), ROWS):
        block = np.empty((len(rows[start : start + ROWS]), dimension), dtype=np.float32)
        for number, row in enumerate(rows[start : start + ROWS]):
            source, place = places[row.digest]
            block[number] = source.embeddings[place]
        yield block


class Work:
    """The model and what makes its features; loaded when there is something to compute."""

    def __init__(self, root: Path, folder: Path, model: Path, weights: Sequence[Path], cores: int):
        self.root, self.folder, self.path, self.weights, self.cores = root, folder, model, weights, cores

    def checked(self, paths: Sequence[str]) -> Iterator[Recording | AudioError]:
        """Each recording, or why it cannot be used."""
        if not paths:
            return
        self.model = load_dual_encoder(self.path)
        self.features = Features(self.model.made_by, self.weights, model=self.path)
        bar: Any = tqdm(desc="Checking audio", total=len(paths), unit="clip", mininterval=0.5, file=sys.stderr)
        with bar:
            for found in self.features.checked(self.root, paths, self.cores):
                yield found
                bar.update()

    def embeddings(
        self, recordings: Sequence[Recording]
    ) -> Generator[tuple[Sequence[Recording], np.ndarray], None, None]:
        """Blocks of recordings with their embeddings, float32 [recordings, D]."""
        if not recordings:
            return
        made = self.features.blocks(self.root, recordings, self.folder, self.cores)
        bar = tqdm(desc="Embedding", total=len(recordings), unit="clip", mininterval=0.5, file=sys.stderr)
        with bar, closing(made) as blocks:
            for part, clips in blocks:
                yield part, embedded(self.model, clips)
                bar.update(len(part))


def embedded(model: DualEncoder, clips: Clips) -> np.ndarray:
    """The embeddings of clips, float32 [clips, D]; EarwitnessError where the model gives others."""
    values = np.asarray(model.embed_clips(clips), dtype=np.float32)
    if values.ndim != 2 or len(values) != len(clips):
        shape = list(values.shape)
        raise EarwitnessError(f"{type(model).__name__}.embed_clips gave {shape}; [{len(clips)} clips, D] is needed.")
    if bad := [clip for clip, row in zip(clips.ids, values, strict=True) if not np.isfinite(row).all()]:
        raise EarwitnessError(listed("The model's embeddings of these recordings are not finite:", bad))
    return values
