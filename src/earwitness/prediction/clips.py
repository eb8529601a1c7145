"""The clips that a model predicts for, with the frames of their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earwitness.corpora.tables import audio_digest
from earwitness.errors import EarwitnessError
from earwitness.features.store import FeatureStore
from earwitness.files import SCHEMA


class Clips:
    """Clips in order.

    Attributes:
        ids: the clips' ids.
        stores: by name the open features that the model reads.
    """

    def __init__(self, ids: Sequence[str], stores: Mapping[str, FeatureStore] | None = None):
        self.ids = list(ids)
        self.stores = dict(stores or {})

    @classmethod
    def of(cls, table: pd.DataFrame, features: Mapping[str, Path], made_by: Mapping[str, Any] | None = None) -> Clips:
        """The clips of a table (``clips_of``), with features that were made of exactly these recordings.

        Args:
            features: feature files by name.
            made_by: for each name what must have made its features (``FeatureStore.front_end``), where that is known.

        Raises MismatchError for features of other recordings, or made otherwise.
        """
        stores = {name: open_features(path, table, (made_by or {}).get(name)) for name, path in features.items()}
        return cls(list(table["clip_id"]), stores)

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int) -> Iterator[Clips]:
        """The same clips in parts of at most ``size``."""
        for start in range(0, len(self.ids), size):
            yield Clips(self.ids[start : start + size], self.stores)

    def frames(self, feature: str | None = None) -> list[np.ndarray]:
        """The frames of each clip, float32 [frames, D]; the feature may be left out where there is one only."""
        store = self.store(feature)
        return [store[clip_id] for clip_id in self.ids]

    def store(self, feature: str | None = None) -> FeatureStore:
        """The open features of a name; EarwitnessError for a name that is not there."""
        if feature is None and len(self.stores) == 1:
            return next(iter(self.stores.values()))
        if feature not in self.stores:
            raise EarwitnessError(
                f"The clips have no features {feature!r}; they have {', '.join(self.stores) or 'none'}."
            )
        return self.stores[feature]


def open_features(path: Path, clips: pd.DataFrame, made_by: Mapping[str, Any] | None = None) -> FeatureStore:
    """Features of exactly these clips; MismatchError where they are of other recordings or another front end."""
    own = dict(made_by or {})
    inputs = own.pop("inputs", {}) | {"audio": audio_digest(clips)}
    return FeatureStore(path, {"schema": SCHEMA, "inputs": inputs, **own})
