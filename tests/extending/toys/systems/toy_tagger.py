"""A tagger without training, by the mean frame of each tag: a system of the kind ``tagging`` (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from earwitness.features.store import FeatureStore
from earwitness.options import ExperimentOptions, Name, Use
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import System


class ToyTaggerOptions(ExperimentOptions):
    """An experiment of the system."""

    KINDS = ("tagging",)
    TRAINED = False

    system: Literal["toy_tagger"]
    feature: Name

    def training_inputs(self) -> dict[str, Use]:
        """Nothing is trained."""
        return {}

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the clips to tag, and features and phrases of the training clips."""
        return {
            self.feature: Use("features", self.feature, "evaluation.h5"),
            "known": Use("features", self.feature, "development.h5"),
            "phrases": Use("corpus", "", "phrases.csv"),
            "captions": Use("corpus", "", "captions.csv"),
        }


class ToyTaggerSystem(System):
    """The system: there is nothing but a model to load."""

    @classmethod
    def load(cls, options: ToyTaggerOptions, folder: Path, files: Mapping[str, Path]) -> ToyTagger:
        """The tagger; ``folder`` holds no model."""
        from earwitness.corpora.toy_tags import tags_by_clip

        tags = tags_by_clip(files["phrases"].parent)
        known = FeatureStore(files["known"])
        means: dict[str, list[np.ndarray]] = {}
        for clip_id in known.clip_ids:
            means.setdefault(tags[clip_id], []).append(known[clip_id].mean(axis=0))
        return ToyTagger(options, known, {tag: np.mean(found, axis=0) for tag, found in means.items()})


class ToyTagger:
    """The tag whose mean frame is nearest; all that ``Tagging.predict`` asks of a model is ``tags``."""

    def __init__(self, options: ToyTaggerOptions, known: FeatureStore, means: Mapping[str, np.ndarray]):
        self.feature, self.means = options.feature, means
        self.made_by = {options.feature: known.front_end}

    def tags(self, clips: Clips) -> Iterator[str]:
        """The tag of each clip in order."""
        for batch in clips.batches(64):
            for frames in batch.frames(self.feature):
                mean = frames.mean(axis=0)
                yield min(self.means, key=lambda tag: np.linalg.norm(self.means[tag] - mean))
