"""The section of the comparison page for a kind of prediction.

``registry.KINDS`` may name a subclass of ``KindPage`` for a kind. The base class shows scores with baselines and
published figures, a plot of the headline metric, and validation curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.evaluation.compare import Seeds
from earwitness.evaluation.interface import Kind


@dataclass(frozen=True)
class Experiment:
    """A row of the page: an experiment's result and its folder, or scores made elsewhere.

    Attributes:
        scores: by kind of prediction, the scores of its seeds; of scores made elsewhere there is one set.
        elsewhere: whether they are from a folder of ``earwitness score``; ``result`` has no seeds and no options then.
        number: its place on the page, from 0, which gives its colour.
    """

    name: str
    folder: Path
    result: dict[str, Any]
    scores: Mapping[str, Seeds] = field(default_factory=dict)
    elsewhere: bool = False
    number: int = 0

    @property
    def seeds(self) -> list[Path]:
        """The folders of its seeds."""
        return [self.folder / f"seed-{seed}" for seed in self.result["seeds"]]

    def metric(self, name: str) -> dict[str, Any]:
        """A metric of the result: ``value`` with ``ci95`` and ``per_seed``, or value None with a ``reason``."""
        absent = {"value": None, "reason": "The experiment was not scored with this metric."}
        return self.result["metrics"].get(name, absent)


class KindPage:
    """One kind of prediction on the page.

    Attributes:
        template: file in this folder that renders ``examples``; None: no examples.
    """

    template: str | None = None

    def __init__(self, kind: Kind):
        self.kind = kind

    def columns(self, found: list[Experiment]) -> dict[str, str]:
        """Metrics and their headings: those that always have a column, and optional ones that some experiment has.

        A metric with two sentence models has two columns.
        """
        known = [metric.name for metric in self.kind.metrics if metric.column]
        entries = [entry for experiment in found for entry in experiment.result["metrics"].items()]
        present = [name for name, entry in entries if entry["value"] is not None]
        optional = [name for name in present if self.kind.metric(name).column is False]
        of_kind = {name for experiment in found for name in experiment.result["kinds"][self.kind.name]["metrics"]}
        order = {metric.name: place for place, metric in enumerate(self.kind.metrics)}
        optional = [name for name in optional if name in of_kind]
        # Metrics of one place keep the order of the experiments.
        names = sorted(dict.fromkeys([*known, *optional]), key=lambda name: order.get(name.split(".")[0], 99))
        return {name: self.kind.metric(name).label for name in names}

    def headline(self, found: list[Experiment]) -> str:
        """The metric to plot: the first headline metric with a value in some experiment."""
        names = [name for name in self.kind.headlines if any(e.metric(name)["value"] is not None for e in found)]
        return (names or list(self.kind.headlines))[0]

    def facts(self, experiment: Experiment) -> list[str]:
        """Notes below an experiment's name."""
        return []

    def examples(self, found: list[Experiment], corpus: Path, root: Path) -> Mapping[str, Any]:
        """Content for ``template``, such as clips to play; {} for none. Files that it reads are ``Kind.shown``.

        ``plots`` in it, SVG elements by file name, are also written beside the page.

        Args:
            found: the experiments with this kind of prediction, in the order of the page.
            corpus: the folder with the corpus' tables; root: the folder that the paths of clips are relative to.
        """
        return {}
