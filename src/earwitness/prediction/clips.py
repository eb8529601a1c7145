"""The clips to predict, with the frames of their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earwitness.corpora.tables import audio_digest
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore
from earwitness.files import SCHEMA


class Clips:
    """An ordered list of clips with their features.

    Attributes:
        ids: ids of the clips.
        stores: open feature files by name of the feature.
    """

    def __init__(self, ids: Sequence[str], stores: Mapping[str, FeatureStore] | None = None):
        self.ids = list(ids)
        self.stores = dict(stores or {})

    @classmethod
    def of(cls, table: pd.DataFrame, features: Mapping[str, Path], made_by: Mapping[str, Any] | None = None) -> Clips:
        """The clips of a table (``clips_of``) with their features.

        Args:
            features: feature files by name.
            made_by: the required front end (``FeatureStore.front_end``) by name, where it is known.

        Raises MismatchError for features of other recordings or with another front end.
        """
        stores = {name: open_features(path, table, (made_by or {}).get(name)) for name, path in features.items()}
        return cls(list(table["clip_id"]), stores)

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int, frames: int | None = None) -> Iterator[Clips]:
        """The clips in order, in batches of at most ``size``.

        With ``frames`` a batch that is padded to its longest clip also has no more of them, but for a clip that alone
        has more.
        """
        batch: list[str] = []
        longest = 0
        for clip_id in self.ids:
            own = 0 if frames is None else max((store.length(clip_id) for store in self.stores.values()), default=0)
            full = len(batch) == size or (frames is not None and (len(batch) + 1) * max(longest, own) > frames)
            if batch and full:
                yield Clips(batch, self.stores)
                batch, longest = [], 0
            batch.append(clip_id)
            longest = max(longest, own)
        if batch:
            yield Clips(batch, self.stores)

    def frames(self, feature: str | None = None) -> list[np.ndarray]:
        """The frames of each clip, float32 [frames, D]; the feature may be omitted if there is only one."""
        store = self.store(feature)
        return [store[clip_id] for clip_id in self.ids]

    def store(self, feature: str | None = None) -> FeatureStore:
        """The open file of a feature. Raises EarwitnessError for an unknown feature."""
        if feature is None and len(self.stores) == 1:
            return next(iter(self.stores.values()))
        if feature not in self.stores:
            raise EarwitnessError(
                f"The clips lack the feature {feature!r}; available: {', '.join(self.stores) or 'none'}."
            )
        return self.stores[feature]


def open_features(path: Path, clips: pd.DataFrame, made_by: Mapping[str, Any] | None = None) -> FeatureStore:
    """Open features of these clips. Raises MismatchError for other recordings or another front end (``made_by``)."""
    expected = dict(made_by or {})
    inputs = expected.pop("inputs", {}) | {"audio": audio_digest(clips)}
    return FeatureStore(path, {"schema": SCHEMA, "inputs": inputs, **expected})


def require_dimension(store: FeatureStore, name: str, dimension: int) -> None:
    """Raise MismatchError for a feature whose frames have another dimension than in training."""
    if store.dimension != dimension:
        raise MismatchError(
            f"{store.path} has frames of {store.dimension} values, and the training clips' {name} has {dimension}. "
            "The files of its splits were made by different models."
        )
