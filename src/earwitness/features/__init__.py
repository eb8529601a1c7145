"""Features of clips: extraction in processes, feature files, import and export."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earwitness.features.store import FeatureStore


def read(path: str | PathLike) -> FeatureStore:
    """The frames of each clip of a feature file, such as ``results/mini/features/logmel-mini/evaluation.h5``.

    A mapping from clip ids to float32 [frames, D], read on access; beyond the end of a clip frames have the value
    ``fill``, where the file says how many a clip has. ``close`` it, or use it in a ``with`` statement.

    Raises EarwitnessError for a file that Earwitness did not make, and for a clip that is not in it.
    """
    from earwitness.features.store import FeatureStore

    return FeatureStore(path)
