"""Frame features of one split in one HDF5 file: ``frames`` [total, D], ``offsets`` [clips + 1], ``clip_ids`` [clips].

Clips stand one after another, unpadded and uncompressed, so that reading one is one contiguous read. The attributes
hold ``provenance`` (JSON), ``fill`` (the value beyond a clip's end) and ``frames_per_clip`` (0: clips keep their own
length).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.files import atomic, require_match

HALF = float(np.finfo(np.float16).max)


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
    """Write (clip_id, frames [n, D]) pairs to a feature file, one clip in memory at a time, atomically.

    ``total`` is the sum of all frames where it is known: the array is then contiguous, otherwise it grows by chunks.
    ``dtype`` is float32, or float16 for half the room, which raises EarwitnessError for values beyond its range.
    """
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        rows = max(1, (1 << 20) // (4 * dimension))  # chunks of about 1 MB
        growing = {"maxshape": (None, dimension), "chunks": (rows, dimension)} if total is None else {}
        frames = file.create_dataset("frames", (total or 0, dimension), dtype, **growing)
        offsets, clip_ids = [0], []
        for clip_id, values in clips:
            start, end = offsets[-1], offsets[-1] + len(values)
            if total is None:
                frames.resize(end, axis=0)
            if dtype == "float16" and np.abs(values).max(initial=0) > HALF:
                told = f"{path}: {clip_id} holds {np.abs(values).max():g}, beyond {HALF:g}, float16's largest number"
                raise EarwitnessError(f"{told}. Set `storage: float32` of the feature.")
            frames[start:end] = values
            offsets.append(end)
            clip_ids.append(clip_id)
        file["offsets"] = np.asarray(offsets, dtype=np.int64)
        file.create_dataset("clip_ids", data=clip_ids, dtype=h5py.string_dtype())
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        file.attrs["fill"] = fill
        file.attrs["frames_per_clip"] = frames_per_clip or 0


class FeatureStore:
    """Frames of single clips, read when asked for; safe to hand to worker processes.

    ``store[clip_id]`` is float32 [frames, D], filled up to ``frames_per_clip`` where the file says so. ``expected``
    names what the file's provenance must say; a difference raises MismatchError.
    """

    def __init__(self, path: str | os.PathLike, expected: dict[str, Any] | None = None):
        self.path = Path(path)
        with self._open() as file:
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

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def front_end(self) -> dict[str, Any]:
        """What made the features: maker, settings and weights. Files that go together agree in it."""
        made = {key: self.provenance[key] for key in ("made_by", "settings")}
        # Of features from elsewhere, each split has a file of its own.
        of_split = self.provenance["inputs"] if made["made_by"] == "external" else ("audio",)
        weights = {name: digest for name, digest in self.provenance["inputs"].items() if name not in of_split}
        return made | {"inputs": weights}

    @property
    def hop(self) -> float:
        """Seconds from one frame to the next; EarwitnessError of features from elsewhere, which do not say."""
        if "hop" not in self.provenance:
            raise EarwitnessError(
                f"{self.path} does not say how many seconds are between its frames, which is needed to locate sounds: "
                "it holds features from elsewhere, or an earlier version of Earwitness made it."
            )
        return self.provenance["hop"]

    @property
    def total(self) -> int:
        """Frames of all clips together."""
        return int(self._offsets[-1])

    def __getitem__(self, clip_id: str) -> np.ndarray:
        frames = self.stored(clip_id)
        missing = (self.frames_per_clip or 0) - len(frames)
        if missing <= 0:
            return frames
        return np.concatenate([frames, np.full((missing, self.dimension), self.fill, dtype=np.float32)])

    def stored(self, clip_id: str) -> np.ndarray:
        """The frames of a clip as they are stored, float32 [frames, D], without the fill."""
        if clip_id not in self._rows:
            raise MismatchError(f"{self.path} has no features of the clip {clip_id!r}. Remove the file and run again.")
        row = self._rows[clip_id]
        return self._handle()["frames"][self._offsets[row] : self._offsets[row + 1]].astype(np.float32, copy=False)

    def close(self) -> None:
        """Close the file, if this process opened it."""
        if self._file is not None and self._owner == os.getpid():
            self._file.close()
        self._file = None

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def _handle(self) -> h5py.File:
        # An HDF5 handle must not be shared with a forked process: each opens its own.
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = self._open(), os.getpid()
        return self._file

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise EarwitnessError(f"{self.path} cannot be read as HDF5: {error}. Remove it and run again.") from error
