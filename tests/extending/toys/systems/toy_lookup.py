"""A captioner without training: the caption of the training clip that sounds most alike (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from earwitness.corpora.tables import captions_by_clip
from earwitness.features.store import FeatureStore
from earwitness.options import ExperimentOptions, Name, Use
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import Captioner, System


class ToyLookupOptions(ExperimentOptions):
    """An experiment of the system."""

    KINDS = ("captioning",)
    TRAINED = False

    system: Literal["toy_lookup"]
    feature: Name

    def training_inputs(self) -> dict[str, Use]:
        """Nothing is trained."""
        return {}

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the clips to describe; features and captions of those that are looked up."""
        return {
            self.feature: Use("features", self.feature, "evaluation.h5"),
            "known": Use("features", self.feature, "development.h5"),
            "captions": Use("corpus", "", "captions.csv"),
        }


class ToyLookupSystem(System):
    """The system: there is nothing but a model to load."""

    @classmethod
    def load(cls, options: ToyLookupOptions, folder: Path, files: Mapping[str, Path]) -> ToyLookup:
        """The captioner; ``folder`` holds no model."""
        return ToyLookup(options, FeatureStore(files["known"]), files["captions"])


class ToyLookup(Captioner):
    """Compares mean frames by their cosine."""

    def __init__(self, options: ToyLookupOptions, known: FeatureStore, captions: Path):
        self.feature = options.feature
        self.made_by = {options.feature: known.front_end}  # what must have made the features of other clips
        self.captions = [texts[0] for texts in captions_by_clip(captions, known.clip_ids).values()]
        self.mean = np.mean([known[clip_id].mean(axis=0) for clip_id in known.clip_ids], axis=0)
        self.known = np.stack([self._vector(known[clip_id]) for clip_id in known.clip_ids])  # [known clips, D]

    def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:
        """A caption of each clip in order, and the cosine of the two clips."""
        for batch in clips.batches(64):
            for frames in batch.frames(self.feature):
                cosines = self.known @ self._vector(frames)
                yield self.captions[cosines.argmax()], float(cosines.max())

    def _vector(self, frames: np.ndarray) -> np.ndarray:
        """The mean frame of a clip, centred, of length 1: [D]."""
        vector = frames.mean(axis=0) - self.mean
        return vector / max(np.linalg.norm(vector), 1e-9)
