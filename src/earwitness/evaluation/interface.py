"""The interface of a kind of prediction: its files, how models make them, how they are scored, and baselines.

A system names the kinds that it predicts (``ExperimentOptions.KINDS``); rules, result, page and tracking follow from
this class. A new kind is one module with a subclass and one line in ``registry.KINDS``.
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

SPLIT = "evaluation"  # the predicted and scored split


@dataclass(frozen=True)
class Baseline:
    """Scores for comparison that need no trained model.

    Attributes:
        name: column heading in the terminal; label, fact: name and explanation on the page.
        metrics: values by metric, None with a ``reason`` where they cannot be computed.
    """

    name: str
    label: str
    fact: str
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Kind(ABC):
    """One kind of prediction.

    Attributes:
        name: of the kind's folder in a seed's folder; label: for headings.
        files: the predictions, in the seed's folder beside the model.
        tables: the tables of the corpus that prediction, scoring and baselines read.
        scored_with: further tables of the corpus, which scoring and baselines read and prediction does not.
        artifacts: those of ``files`` that are logged to MLflow.
        score_files: what scoring writes to the kind's folder beside the scores (``Scored.tables``); logged to MLflow.
        shown: those of ``files`` that the comparison page reads, of an experiment's first seed.
        baseline_splits: the splits that baselines read.
        uses_tools: whether the metrics use the jars or models of ``Tools``.
        curves: validation metrics that the page plots -> title.
        summed: counts of which a result has the sum over seeds; of others it has those of the first seed.
        floors: names of the baselines that ignore the audio; the page marks no score that is not above them.
    """

    name: str
    label: str
    files: tuple[str, ...]
    tables: tuple[str, ...] = ("clips.csv", "captions.csv", "report.json")
    scored_with: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    score_files: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    baseline_splits: tuple[str, ...] = (SPLIT,)
    uses_tools: bool = False
    curves: Mapping[str, str] = {}
    summed: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics in the order of tables; a kind outside the catalogue defines them itself."""
        return catalogue.of_kind(self.name)

    @property
    def headlines(self) -> Sequence[str]:
        """The main metrics in order of preference; the first available one is plotted and compared clip by clip."""
        return catalogue.HEADLINES.get(self.name) or [metric.name for metric in self.metrics]

    def metric(self, name: str) -> Metric:
        """Label, direction and digits of a metric."""
        return next((metric for metric in self.metrics if metric.name == name), None) or catalogue.find(name)

    @abstractmethod
    def predict(self, model: Any, clips: Clips, corpus: Path, folder: Path) -> None:
        """Predict the clips of the evaluation split with a model, and write ``files`` to the seed's folder.

        Args:
            model: returned by ``System.load``.
            corpus: the folder with the corpus' tables.
        """

    @abstractmethod
    def score(self, folder: Path, corpus: Path, tools: Tools, options: Mapping[str, Any]) -> Scored:
        """Score the predictions in a seed's folder against the evaluation split.

        Args:
            options: those of the experiment, as far as scores depend on them.

        Raises MismatchError if the predictions and the corpus have different clips.
        """

    def clip_ids(self, corpus: Path) -> list[str]:
        """The clips that are scored: by default, all of the evaluation split."""
        from earwitness.corpora.tables import clips_of

        return list(clips_of(corpus / "clips.csv", SPLIT, "scoring")["clip_id"])

    def baselines(self, corpus: Path) -> list[Baseline]:
        """Baselines on the evaluation split; none by default."""
        return []
