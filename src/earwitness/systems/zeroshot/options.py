"""Options of zero-shot retrieval."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from earwitness.clap.options import misfits
from earwitness.options import Changes, ExperimentOptions, FeatureOptions, Name, TextOptions, Use

TEXTS = "text vectors"  # no feature can have this name


class ZeroshotOptions(ExperimentOptions):
    """An experiment that compares clips and captions by a CLAP, without training on the data set."""

    KINDS = ("retrieval",)
    TRAINED = False

    system: Literal["zeroshot"]
    clap: Name = "clap"  # a feature and a text of this name
    ties: Annotated[Literal["expected", "benchmark"], Changes("scores")] = "expected"
    protocol: Annotated[Literal["full", "sampled30"], Changes("scores")] = "full"

    def training_inputs(self) -> dict[str, Use]:
        return {}

    def prediction_inputs(self) -> dict[str, Use]:
        """The vectors of the evaluation split's clips, and those of captions."""
        return {self.clap: Use("features", self.clap, "evaluation.h5"), TEXTS: Use("text", self.clap, "vectors.h5")}

    def misfits(self, feature: Callable[..., FeatureOptions], text: Callable[..., TextOptions]) -> Iterator[str]:
        """A feature and a text that are not of one CLAP."""
        yield from misfits(self.clap, self.uses(), feature, text)
