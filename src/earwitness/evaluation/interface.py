"""What a kind of prediction is: its files, how a model makes them, how they are scored, what they are compared with.

A system names the kinds that it predicts (``ExperimentOptions.KINDS``); rules, result, page and tracking follow from
this class. A further kind is one module with a class of this kind and one line in ``registry.KINDS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.metrics import catalogue
from earwitness.metrics.catalogue import Metric

if TYPE_CHECKING:
    from earwitness.evaluation.scores import Scored
    from earwitness.metrics.captions import Tools
    from earwitness.prediction.clips import Clips

SPLIT = "evaluation"  # that is predicted and scored


@dataclass(frozen=True)
class Baseline:
    """What a system is compared with that needs no training.

    Attributes:
        name: heading of its column in the terminal; label, fact: what the page calls it and says of it.
        metrics: values by metric, None with a ``reason`` where they cannot be computed.
    """

    name: str
    label: str
    fact: str
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Kind(ABC):
    """One kind of prediction.

    Attributes:
        name: of its folder below a seed's; label: for headings; unit: what a progress bar counts.
        files: the predictions, beside the model.
        tables: of the corpus that prediction, scoring and baselines read.
        artifacts: those of ``files`` that are small enough to be logged to MLflow.
        baseline_splits: the splits that baselines are made of.
        uses_tools: whether its metrics need jars or models on this machine.
        curves: validation metrics whose curves the page shows, with a title.
    """

    name: str
    label: str
    files: tuple[str, ...]
    tables: tuple[str, ...] = ("clips.csv", "captions.csv", "report.json")
    artifacts: tuple[str, ...] = ()
    baseline_splits: tuple[str, ...] = (SPLIT,)
    uses_tools: bool = False
    curves: Mapping[str, str] = {}

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics in the order of tables; a kind that the catalogue does not know gives its own."""
        return catalogue.of_kind(self.name)

    @property
    def headlines(self) -> Sequence[str]:
        """The metrics that stand for the whole, the first that is there: plotted, and shown clip by clip."""
        return catalogue.HEADLINES.get(self.name) or [metric.name for metric in self.metrics]

    def metric(self, name: str) -> Metric:
        """What is known of a metric."""
        return next((metric for metric in self.metrics if metric.name == name), None) or catalogue.find(name)

    @abstractmethod
    def predict(self, model: Any, clips: Clips, corpus: Path, folder: Path) -> None:
        """Let a model predict the clips of the evaluation split, and write ``files`` to the seed's folder.

        Args:
            model: what ``System.load`` gave.
            corpus: the folder of the corpus' tables.
        """

    @abstractmethod
    def score(self, folder: Path, corpus: Path, tools: Tools) -> Scored:
        """Score the predictions in a seed's folder against the evaluation split.

        Raises MismatchError for predictions of other clips than the corpus has.
        """

    def baselines(self, corpus: Path) -> list[Baseline]:
        """What systems of this kind are compared with, on the evaluation split."""
        return []
