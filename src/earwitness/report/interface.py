"""What the comparison page shows of one kind of prediction; a kind may add to it with a class of its own.

``registry.KINDS`` names the class; a kind without one is shown by ``KindPage``: scores with baselines and published
figures, its headline metric at a glance, and its validation curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.evaluation.interface import Baseline, Kind


@dataclass(frozen=True)
class Experiment:
    """An experiment's result, and where its seeds lie."""

    name: str
    folder: Path
    result: dict[str, Any]

    @property
    def seeds(self) -> list[Path]:
        """The folders of its seeds."""
        return [self.folder / f"seed-{seed}" for seed in self.result["seeds"]]

    def metric(self, name: str) -> dict[str, Any]:
        """A metric's entry of the result: ``value``, with ``ci95`` and ``per_seed``, or None with a ``reason``."""
        absent = {"value": None, "reason": "The experiment was not scored with this metric."}
        return self.result["metrics"].get(name, absent)


class KindPage:
    """One kind of prediction on the page.

    Attributes:
        template: in this folder, what shows ``examples``; None: there are none.
    """

    template: str | None = None

    def __init__(self, kind: Kind):
        self.kind = kind

    def columns(self, found: list[Experiment], baselines: list[Baseline]) -> dict[str, str]:
        """Metrics and their headings: those that always have a column, and others that some experiment has a value of.

        Values of two models are two metrics, each with a column of its own.
        """
        known = [metric.name for metric in self.kind.metrics if metric.column]
        entries = [entry for experiment in found for entry in experiment.result["metrics"].items()]
        present = [name for name, entry in entries if entry["value"] is not None]
        optional = [name for name in present if self.kind.metric(name).column is False]
        own = {name for experiment in found for name in experiment.result["kinds"][self.kind.name]["metrics"]}
        order = {metric.name: place for place, metric in enumerate(self.kind.metrics)}
        optional = sorted(
            {name for name in optional if name in own}, key=lambda name: order.get(name.split(".")[0], 99)
        )
        names = dict.fromkeys([*known, *optional])
        return {name: self.kind.metric(name).label for name in names}

    def headline(self, found: list[Experiment]) -> str:
        """The metric that is plotted: the first headline that an experiment has a value of."""
        names = [name for name in self.kind.headlines if any(e.metric(name)["value"] is not None for e in found)]
        return (names or list(self.kind.headlines))[0]

    def facts(self, experiment: Experiment) -> list[str]:
        """What else a reader must know of an experiment's predictions."""
        return []

    def examples(self, found: list[Experiment], corpus: Path, root: Path) -> list[Mapping[str, Any]]:
        """What ``template`` shows, such as clips to hear.

        Args:
            root: what the paths of the corpus' clips start from.
        """
        return []
