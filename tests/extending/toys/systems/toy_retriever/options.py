"""What may be set of the toy retriever; apart from the system, since the configuration is checked without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import PositiveFloat, PositiveInt

from earwitness.options import Changes, ExperimentOptions, Name, TrainingOptions, Use


class ToyRetrieverOptions(ExperimentOptions):
    """An experiment of the system."""

    KINDS = ("retrieval",)

    system: Literal["toy_retriever"]
    feature: Name
    text: Name
    text_of: Name | None = None  # the data set whose captions made the text; null: the one that it runs on
    width: PositiveInt = 64
    lr: PositiveFloat = 1e-2
    train: TrainingOptions = TrainingOptions()
    # How embeddings are compared in the end: experiments that differ in this alone share one training.
    similarity: Annotated[Literal["cosine", "dot"], Changes("prediction")] = "cosine"

    def training_inputs(self) -> dict[str, Use]:
        """Tables of the corpus, features of two splits, and the text."""
        return {
            "clips": Use("corpus", "", "clips.csv"),
            "captions": Use("corpus", "", "captions.csv"),
            "development": Use("features", self.feature, "development.h5"),
            "validation": Use("features", self.feature, "validation.h5"),
            "text": Use("text", self.text, "weights.json", dataset=self.text_of),
        }

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the evaluation split."""
        return {self.feature: Use("features", self.feature, "evaluation.h5")}
