"""What may be set of the toy grounder."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from earwitness.options import ExperimentOptions, Name, TrainingOptions, Use


class ToyGrounderOptions(ExperimentOptions):
    """An experiment of the system, which makes two kinds of prediction; the first leads."""

    KINDS = ("grounding", "retrieval")

    system: Literal["toy_grounder"]
    feature: Name
    text: Name
    width: PositiveInt = 32
    lr: PositiveFloat = 1e-2
    train: TrainingOptions = TrainingOptions()

    def training_inputs(self) -> dict[str, Use]:
        """Tables of the corpus, features of two splits, and the text."""
        tables = {name: Use("corpus", "", f"{name}.csv") for name in ("clips", "captions", "phrases", "events")}
        splits = {split: Use("features", self.feature, f"{split}.h5") for split in ("development", "validation")}
        return tables | splits | {"text": Use("text", self.text, "weights.json")}

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the evaluation split."""
        return {self.feature: Use("features", self.feature, "evaluation.h5")}
