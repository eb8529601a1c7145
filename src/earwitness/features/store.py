"""Frame features of one split in one HDF5 file: ``frames`` [total, D], ``offsets`` [clips + 1], ``clip_ids`` [clips].

Clips are stored one after another, unpadded and uncompressed, so that reading one is one contiguous read. Attributes
hold ``provenance`` (JSON), ``fill`` (the value beyond a clip's end) and ``frames_per_clip`` (0: clips keep their own
length).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.files import atomic_hdf5, require_match

HALF = float(np.finfo(np.float16).max)
NOT_FINITE = "NaN or infinite"
HINT = "The mistake is in what made the features, or in these recordings; without their files they are left out."


def write(
    path: str | os.PathLike,
    clips: Iterable[tuple[str, np.ndarray]],
    dimension: int,
    provenance: dict[str, Any],
    fill: float = 0.0,
    frames_per_clip: int | None = None,
    total: int | None = None,
    dtype: str = "float32",
) -> None:
    """Write (clip_id, frames [n, D]) pairs to a feature file atomically, with one clip in memory at a time.

    ``total`` is the number of frames of all clips, where it is known: the array is then contiguous, otherwise it grows
    by chunks. ``dtype`` is float32, or float16 for half the space. Raises EarwitnessError for clips with values that
    are not finite, or beyond the range of float16.
    """
    problems = []
    with atomic_hdf5(path) as file:
        rows = max(1, (1 << 20) // (4 * dimension))  # chunks of about 1 MB
        growing = {"maxshape": (None, dimension), "chunks": (rows, dimension)} if total is None else {}
        frames = file.create_dataset("frames", (total or 0, dimension), dtype, **growing)
        offsets, clip_ids = [0], []
        for clip_id, values in clips:
            start, end = offsets[-1], offsets[-1] + len(values)
            if total is None:
                frames.resize(end, axis=0)
            if not np.isfinite(values).all():
                problems.append(f"{clip_id} holds values that are {NOT_FINITE}")
            elif dtype == "float16" and np.abs(values).max(initial=0) > HALF:
                largest = f"{clip_id} holds {np.abs(values).max():g}, float16's largest number is {HALF:g}"
                problems.append(f"{largest}: set `storage: float32` of the feature")
            frames[start:end] = values
            offsets.append(end)
            clip_ids.append(clip_id)
        file["offsets"] = np.asarray(offsets, dtype=np.int64)
        file.create_dataset("clip_ids", data=clip_ids, dtype=h5py.string_dtype())
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        file.attrs["fill"] = fill
        file.attrs["frames_per_clip"] = frames_per_clip or 0
        if problems:
            heading = f"{path} cannot be written with features of {len(problems)} of {len(clip_ids)} clips:"
            raise EarwitnessError(listed(heading, problems, HINT))


class FeatureStore(Mapping[str, np.ndarray]):
    """Frames of single clips or batches, read on demand; safe to pass to worker processes.

    ``store[clip_id]`` is float32 [frames, D], padded to ``frames_per_clip`` where the file says so. ``expected`` is
    what the file's provenance must contain; a difference raises MismatchError.
    """

    def __init__(self, path: str | os.PathLike, expected: dict[str, Any] | None = None):
        self.path = Path(path)
        with self._open() as file:
            if lacking := [name for name in ("frames", "offsets", "clip_ids") if name not in file]:
                hint = "`earwitness.features.read` reads files that Earwitness made; h5py reads any"
                raise EarwitnessError(f"{self.path} is no feature file: it has no {' and no '.join(lacking)}; {hint}.")
            self.provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
            self.fill = float(file.attrs["fill"])
            self.frames_per_clip = int(file.attrs["frames_per_clip"]) or None
            self.dimension = file["frames"].shape[1]
            self._offsets = file["offsets"][:]
            self.clip_ids: list[str] = list(file["clip_ids"].asstr()[:])
        self._rows = {clip_id: row for row, clip_id in enumerate(self.clip_ids)}
        self._file: h5py.File | None = None
        self._owner = 0
        require_match(self.path, self.provenance, expected or {})

    __eq__, __hash__ = object.__eq__, object.__hash__  # as other open files: not by content

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.clip_ids)

    def get(self, clip_id: str, default: Any = None) -> Any:
        """The frames of a clip, or ``default`` where the file has none of it."""
        known = clip_id in self._rows
        return self[clip_id] if known else default

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._rows

    @property
    def front_end(self) -> dict[str, Any]:
        """What computed the features: extractor, settings and weights; files that are used together must agree."""
        made = {key: self.provenance[key] for key in ("made_by", "settings")}
        # Each split of external features has an input file to itself.
        of_split = self.provenance["inputs"] if made["made_by"] == "external" else ("audio",)
        weights = {name: digest for name, digest in self.provenance["inputs"].items() if name not in of_split}
        return made | {"inputs": weights}

    @property
    def hop(self) -> float:
        """Seconds from one frame to the next; EarwitnessError of features from elsewhere, which do not say."""
        if "hop" not in self.provenance:
            raise EarwitnessError(
                f"{self.path} does not say how many seconds are between its frames, which is needed to locate sounds: "
                "it holds features from elsewhere, whose entry needs `hop`, or an earlier Earwitness made it."
            )
        return self.provenance["hop"]

    @property
    def window(self) -> float:
        """Seconds of sound that a frame was made from; where the file does not say, those from one to the next."""
        return self.provenance.get("window", self.hop)

    @property
    def total(self) -> int:
        """Frames of all clips together."""
        return int(self._offsets[-1])

    @property
    def longest(self) -> int:
        """Frames of the longest clip, at least ``frames_per_clip``; 0 where there is no clip."""
        return int(np.diff(self._offsets).max(initial=self.frames_per_clip or 0))

    def length(self, clip_id: str) -> int:
        """Frames of ``store[clip_id]``. Raises MismatchError for a clip that the file lacks."""
        row = self._row(clip_id)
        return max(int(self._offsets[row + 1] - self._offsets[row]), self.frames_per_clip or 0)

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip as by ``length``, int64 [clips]."""
        return np.maximum(np.diff(self._offsets), self.frames_per_clip or 0)

    def __getitem__(self, clip_id: str) -> np.ndarray:
        frames = self.stored(clip_id)
        missing = (self.frames_per_clip or 0) - len(frames)
        if missing <= 0:
            return frames
        return np.concatenate([frames, np.full((missing, self.dimension), self.fill, dtype=np.float32)])

    def batch(self, clip_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The frames of several clips, padded with ``fill`` to the longest of them.

        Returns:
            Frames, float32 [clips, longest, D], and the length of each clip, int64 [clips]: that of ``store[clip_id]``,
            which is ``frames_per_clip`` where the file says so.

        Raises:
            MismatchError: the file has no features of a clip.
        """
        clips = [self.stored(clip_id) for clip_id in clip_ids]
        lengths = np.array([max(len(clip), self.frames_per_clip or 0) for clip in clips], dtype=np.int64)
        frames = np.full((len(clips), lengths.max(initial=0), self.dimension), self.fill, dtype=np.float32)
        for row, clip in zip(frames, clips, strict=True):
            row[: len(clip)] = clip
        return frames, lengths

    def stored(self, clip_id: str) -> np.ndarray:
        """The frames of a clip as they are stored, float32 [frames, D], without padding.

        Raises MismatchError for a clip that the file lacks, and EarwitnessError where values are not finite.
        """
        frames = self._frames(self._row(clip_id))
        if not np.isfinite(frames).all():
            bad = [other for other, row in self._rows.items() if not np.isfinite(self._frames(row)).all()]
            heading = f"{self.path} holds features that are {NOT_FINITE}, of {len(bad)} of {len(self)} clips:"
            raise EarwitnessError(listed(heading, bad, f"Remove the file and make it again. {HINT}"))
        return frames

    def _row(self, clip_id: str) -> int:
        if (row := self._rows.get(clip_id)) is None:
            alike = get_close_matches(str(clip_id), self.clip_ids, n=1, cutoff=0.7)
            hint = f"; {alike[0]!r} is in it" if alike else ""
            message = f"{self.path} has no features of the clip {clip_id!r}{hint}. If it should have, remove the file "
            raise MismatchError(f"{message}and run again.")
        return row

    def _frames(self, row: int) -> np.ndarray:
        # An HDF5 handle must not be shared with a forked process: each opens its own.
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = self._open(), os.getpid()
        return self._file["frames"][self._offsets[row] : self._offsets[row + 1]].astype(np.float32, copy=False)

    def close(self) -> None:
        """Close the file, if this process opened it."""
        if self._file is not None and self._owner == os.getpid():
            self._file.close()
        self._file = None

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def _open(self) -> h5py.File:
        if not self.path.is_file():
            made = sorted(path.name for path in self.path.glob("*.h5"))
            hint = f" is a folder; give one of its files: {', '.join(made)}" if made else " is not there"
            raise EarwitnessError(f"{self.path}{hint}.")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise EarwitnessError(f"{self.path} cannot be read as HDF5: {error}. Remove it and run again.") from error
