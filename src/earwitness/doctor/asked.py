"""What is asked for: targets as for Snakemake, and what they take of each data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.config import Config, merge
from earwitness.corpora.dataset import Dataset
from earwitness.doctor.findings import one_line
from earwitness.errors import EarwitnessError
from earwitness.options import ExperimentOptions

CONFIG = Path("config/config.yaml")
RESULTS, RESOURCES = Path("results"), Path("resources")
EXPERIMENT = {"features", "text", "train", "score", "leaks"}  # the stages of an experiment


@dataclass
class Need:
    """What the targets take of one data set: the stages they go through, with which features and experiments."""

    stages: set[str] = field(default_factory=lambda: {"corpus"})
    features: dict[str, None] = field(default_factory=dict)  # in the order in which they were asked for
    experiments: dict[str, None] = field(default_factory=dict)


@dataclass
class Asked:
    """The configuration, and what the targets take of each data set."""

    config: Config
    needs: dict[str, Need]

    def stages(self) -> set[str]:
        """The stages that any target goes through."""
        return set().union(*(need.stages for need in self.needs.values()))

    def experiments(self) -> Iterator[tuple[str, str, ExperimentOptions]]:
        """Data set, name and options of each experiment that the targets are made of."""
        for dataset, need in self.needs.items():
            for name in need.experiments:
                yield dataset, name, self.config.experiment(dataset, name)

    def datasets(self) -> Iterator[Dataset]:
        """The data sets that the targets are made of."""
        return (Dataset(name, self.config.datasets[name]) for name in self.needs)


def read_config(files: Iterable[Path] = ()) -> Config:
    """The configuration of the repository that this is called in, with ``files`` merged over it as Snakemake does.

    Raises EarwitnessError for a file that cannot be read, and ConfigError for what is not valid.
    """
    if not CONFIG.is_file():
        raise EarwitnessError(f"{CONFIG} is not here. Call `earwitness doctor` in the folder that holds the Snakefile.")
    content: dict[str, Any] = {}
    for path in (CONFIG, *files):
        content = merge(content, _read_yaml(path))
    return Config(content)


def ask(config: Config, targets: Iterable[str]) -> Asked:
    """What the targets need; ConfigError, with the nearest names, for one that nothing makes.

    A data set's name stands for its ``comparison.html``.
    """
    asked = Asked(config, {})
    for target in targets:
        _add(asked, f"results/{target}/comparison.html" if target in config.datasets else target)
    return asked


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or one_line(str(error))
        raise EarwitnessError(f"{path} cannot be read as a configuration: {reason}.") from error
    if not isinstance(content, dict):
        raise EarwitnessError(f"{path} is no configuration: it needs keys at its top level, such as `datasets:`.")
    return content


def _add(asked: Asked, target: str) -> None:
    """Add what a target takes of its data set, and the data sets that its leak audit reads."""
    config, features, experiments, stages = asked.config, [], [], set()
    match target.split("/"):
        case ["results", dataset, *_] if dataset not in config.datasets:
            config.refuse_target(target)
        case ["results", dataset, "comparison.html"]:
            experiments, stages = config.experiments_of(dataset), {"page", "score"}
        case ["results", dataset, "audio"] if Dataset(dataset, config.datasets[dataset]).synthesised:
            pass
        case ["results", dataset, "corpus", *name]:
            stages = {("trivial.json",): {"score"}, ("leaks.json",): {"leaks"}}.get(tuple(name), set())
        case ["results", dataset, "features", feature, *_] if feature in config.features:
            features, stages = [feature], {"features"}
        case ["results", dataset, "text", text, *_] if text in config.texts:
            stages = {"text"}
        case ["results", dataset, experiment, "metrics.json" | "tracking.json"] if experiment in config.experiments:
            experiments = [experiment]
        case ["results", dataset, experiment, seed, _] if experiment in config.experiments and seed[:5] == "seed-":
            experiments = [experiment]
        case _:
            config.refuse_target(target if "/" in target else f"results/{target}")
    need = asked.needs.setdefault(dataset, Need())
    need.stages |= stages | (EXPERIMENT if experiments else set())
    need.experiments |= dict.fromkeys(experiments)
    need.features |= dict.fromkeys([*features, *(config.experiment(dataset, name).feature for name in experiments)])
    if "leaks" in need.stages:
        for name in filter(None, (config.id_lists[entry].dataset for entry in config.audited(dataset))):
            if Dataset(name, config.datasets[name]).obtainable:
                asked.needs.setdefault(name, Need())
