"""Options of the vectors of a trained retrieval experiment, a CLAP of one's own (``systems/retriever.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from earwitness.options import FeatureOptions, Name, Options, Seed, Use
from earwitness.text.options import FrozenOptions

RESULTS = Path("results")
FILES = {"weights": "model.safetensors", "description": "model.json"}


class RetrieverOptions(Options):
    """Names a seed of a trained experiment whose model embeds clips and texts apart (a ``DualEncoder``)."""

    experiment: Name
    dataset: Name | None = None  # on which it was trained; null: the one whose clips and texts are embedded
    seed: Seed = 0

    def on(self, dataset: str) -> Self:
        return self if self.dataset else self.model_copy(update={"dataset": dataset})

    def made_from(self) -> dict[str, Use]:
        """The model's files."""
        return {
            name: Use("experiments", self.experiment, f"seed-{self.seed}/{file}", self.dataset)
            for name, file in FILES.items()
        }

    @property
    def folder(self) -> Path:
        """The model's folder, from the working directory; of options that name the data set."""
        return self.below(RESULTS)

    def below(self, results: Path) -> Path:
        """The model's folder in a folder of results; of options that name the data set."""
        return results / str(self.dataset) / self.experiment / f"seed-{self.seed}"


class RetrieverFeatureOptions(RetrieverOptions, FeatureOptions):
    """One vector of length 1 for each clip, by the audio side of a trained retriever."""

    extractor: Literal["retriever"]

    @property
    def computed(self) -> bool:
        """They are made from other features."""
        return False


class RetrieverTextOptions(RetrieverOptions, FrozenOptions):
    """One vector of length 1 for each text, by the text side of a trained retriever."""

    MODEL = "earwitness.systems.retriever:RetrieverTexts"
    bytes_of_caption = 512 * 4

    kind: Literal["retriever"]
