"""What is asked for: targets as for Snakemake, and what they need of each data set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.config import FILES, Config, merge
from earwitness.corpora.dataset import Dataset
from earwitness.doctor.findings import one_line
from earwitness.errors import ConfigError, EarwitnessError, listed
from earwitness.fetch.records import FETCHED
from earwitness.options import SPLITS, ExperimentOptions, SharedEntry, Use

CONFIG = Path("config/config.yaml")
RESULTS, RESOURCES = Path("results"), Path("resources")
DEMO = "results/mini/comparison.html"
STORE = "results/mlflow-store.json"
JARS = "resources/spice/jars.json"
RULES = {"all": DEMO, "tracking_store": STORE, "spice_jars": JARS}  # targets by the name of a rule

# The stages of files beside the corpus, by file name; no rule makes any other file.
NOTHING: frozenset[str] = frozenset()
CORPUS_FILES = {
    **dict.fromkeys(("clips.csv", "captions.csv", "phrases.csv", "events.csv", "sources.csv", "report.json"), NOTHING),
    "relevant.csv": NOTHING,
    "loudness.h5": NOTHING,
    "leaks.json": {"leaks"},
    "leaks.csv": {"leaks"},
}
SPLIT_FILES = {f"{split}.h5": split for split in SPLITS}
MODEL_FILES = ("model.safetensors", "model.json", "events.jsonl")
SCORE_FILES = ("scores.csv", "statistics.h5", "metrics.json")

# What a stage is called in messages, and the splits that must have clips for it.
SPLITS_OF = {
    "text": ("the vocabulary", ("development",)),
    "train": ("training", ("development", "validation")),
    "predict": ("prediction", ("evaluation",)),
    "score": ("scoring", ("evaluation",)),
}


@dataclass
class Need:
    """What the targets need of one data set: the stages they go through, with which features and experiments.

    ``splits`` are those that must have clips, each with what it is needed for.
    """

    stages: set[str] = field(default_factory=set)
    features: dict[str, None] = field(default_factory=dict)  # in the order asked for
    experiments: dict[str, None] = field(default_factory=dict)
    splits: dict[str, dict[str, None]] = field(default_factory=dict)


@dataclass
class Asked:
    """The configuration, and what the targets need of each data set."""

    config: Config
    needs: dict[str, Need]

    def stages(self) -> set[str]:
        """The stages that any target goes through."""
        return set().union(*(need.stages for need in self.needs.values()))

    def experiments(self) -> Iterator[tuple[str, str, ExperimentOptions]]:
        """Data set, name and options of each experiment that the targets need."""
        for dataset, need in self.needs.items():
            for name in need.experiments:
                yield dataset, name, self.config.experiment(dataset, name)

    def trained(self) -> Iterator[tuple[str, str, ExperimentOptions]]:
        """Those of the experiments whose systems are trained."""
        return (found for found in self.experiments() if found[2].TRAINED)

    def texts(self) -> list[tuple[str, str]]:
        """Data set and name of each text that the experiments read."""
        used = ((dataset, use) for dataset, _, options in self.experiments() for use in options.used("text"))
        return sorted({(use.dataset or dataset, use.entry) for dataset, use in used})

    def scores_no_captions(self) -> bool:
        """Whether experiments are asked for, none of which makes captions to score."""
        return any(need.experiments for need in self.needs.values()) and "score" not in self.stages()

    def datasets(self) -> Iterator[Dataset]:
        """The data sets that the targets need."""
        return (self.configured[name] for name in self.needs)

    @cached_property
    def configured(self) -> dict[str, Dataset]:
        """All data sets by name; what one check reads of them is kept for the others."""
        return {name: Dataset(name, options) for name, options in self.config.datasets.items()}


def read_config(files: Iterable[Path] = ()) -> Config:
    """The configuration of the repository that this is called in, with ``files`` merged over it as Snakemake does.

    Raises EarwitnessError for a file that cannot be read, and ConfigError for an invalid configuration.
    """
    if not CONFIG.is_file():
        raise EarwitnessError(f"{CONFIG} is not here. Call `earwitness doctor` in the folder that holds the Snakefile.")
    content: dict[str, Any] = {}
    for path in (CONFIG, *files):
        content = merge(content, _read_yaml(path))
    return Config(content)


def ask(config: Config, targets: Iterable[str]) -> Asked:
    """What the targets need; ConfigError, with the nearest names, for one that no rule makes.

    Paths and names of rules are as for Snakemake. A data set's name stands for its ``comparison.html``.
    """
    asked = Asked(config, {})
    for target in targets:
        if target in config.datasets:
            _add(asked, f"results/{target}/comparison.html")
        else:
            path = RULES.get(target, target)
            _add(asked, path if Path(path).is_absolute() else os.path.relpath(path))
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
    """Add what a target needs of its data set, and the data sets that its leak audit reads."""
    if Path(target).name == FETCHED:
        for name, one in asked.configured.items():
            if one.root == Path(target).parent and one.fetched:
                asked.needs.setdefault(name, Need()).stages.add("fetch")
                return
    config = asked.config
    features: list[str] = []
    texts: list[str] = []
    experiments: list[str] = []
    splits: dict[str, str] = {}
    stages: AbstractSet[str]
    match target.split("/"):
        case _ if target in (STORE, JARS):
            return  # of no data set
        case ["results", dataset, *_] if dataset not in config.datasets:
            config.refuse_target(target)
        case ["results", dataset, "comparison.html" | "comparison.csv" | "plots"]:
            experiments = config.experiments_of(dataset)
            of_all = [_stages(config.experiment(dataset, name)) for name in experiments]
            kinds = dict.fromkeys(kind for name in experiments for kind in config.experiment(dataset, name).KINDS)
            stages = {"page", *_add_baselines(splits, kinds)}.union(*of_all, *([{"leaks"}] if experiments else []))
        case ["results", dataset, "audio"] if asked.configured[dataset].synthesised:
            stages = set()
        case ["results", dataset, "corpus", name] if name in CORPUS_FILES:
            stages = CORPUS_FILES[name]
        case ["results", dataset, "features", feature, name] if feature in config.features and name in SPLIT_FILES:
            features, stages, splits = [feature], {"features"}, {SPLIT_FILES[name]: f"features/{feature}/{name}"}
        case ["results", dataset, "baselines", name] if (kind := name.removesuffix(".json")) in registry.KINDS:
            stages = _add_baselines(splits, [kind])
        case ["results", dataset, "others", name] if name.removesuffix(".json") in config.datasets[dataset].others:
            stages = {"others"}
        case ["results", dataset, "text", text, name] if (
            text in config.texts and name in config.text(dataset, text).FILES.values()
        ):
            texts, stages = [text], {"text"}
        case ["results", dataset, "clap", clap, "gap.h5" | "gap.json"] if (
            clap in config.features and clap in config.texts
        ):
            features, texts, stages = [clap], [clap], {"features", "text"}
            splits = {"development": f"clap/{clap}/gap.h5"}
        case ["results", dataset, "studies", name] if sweeps := [
            sweep for sweep in config.sweeps if name.removeprefix(sweep) in ("", ".html", ".csv", ".json")
        ]:
            experiments = list(config.study(dataset, sweeps[0])["experiments"])
            stages = {"leaks"}.union(*(_stages(config.experiment(dataset, one)) for one in experiments))
        case ["results", dataset, experiment, "metrics.json" | "tracking.json"] if experiment in config.experiments:
            experiments, stages = [experiment], _stages(config.experiment(dataset, experiment)) | {"leaks"}
        case ["results", dataset, experiment, seed, *below] if (
            experiment in config.experiments
            and re.fullmatch(r"seed-\d+", seed)
            and (found := _of_seed(config.experiment(dataset, experiment), "/".join(below))) is not None
        ):
            experiments, stages = [experiment], found
        case _ if "/" in target and not target.startswith("results/"):  # there are no names that it might mean
            raise ConfigError(listed(f"{target} is not configured:", [f"no rule makes this file; {FILES}"]))
        case _:
            config.refuse_target(target if "/" in target else f"results/{target}")
    need = asked.needs.setdefault(dataset, Need())
    need.stages |= {"corpus"} | stages
    need.experiments |= dict.fromkeys(experiments)
    used = [use.entry for name in experiments for use in config.experiment(dataset, name).used("features")]
    read = [use.entry for name in dict.fromkeys([*features, *used]) for use in _read(config, dataset, name)]
    need.features |= dict.fromkeys([*features, *used, *read])
    needed_for = [(split, what) for stage, (what, used) in SPLITS_OF.items() if stage in need.stages for split in used]
    for split, what in [*needed_for, *splits.items()]:
        need.splits.setdefault(split, {})[what] = None
    for model in _models(config, dataset, features, texts, experiments):
        _add(asked, f"results/{model.path(dataset)}")
    for use in dict.fromkeys(use for name in experiments for use in config.experiment(dataset, name).uses()):
        if use.stage != "experiments" and use.dataset not in (None, dataset):
            _add(asked, f"results/{use.path(dataset)}")
    if "leaks" in stages:  # what the audit compares with is not fetched for it
        for name in filter(None, (config.id_lists[entry].dataset for entry in config.audited(dataset))):
            if asked.configured[name].obtainable:
                asked.needs.setdefault(name, Need()).stages.add("corpus")


def _read(config: Config, dataset: str, feature: str) -> Iterator[Use]:
    """The features, of features made by retrievers too, that a retriever reads to make a feature; of any other none."""
    for use in config.read_by_retriever(dataset, feature).values():
        yield use
        yield from _read(config, dataset, use.entry)


def _models(
    config: Config, dataset: str, features: Iterable[str], texts: Iterable[str], experiments: Iterable[str]
) -> list[Use]:
    """The models with which features and texts are made that are asked for, or that experiments read."""
    options = [config.experiment(dataset, name) for name in experiments]
    entries: list[SharedEntry] = [config.feature(dataset, name) for name in features]
    entries += [config.text(dataset, name) for name in texts]
    entries += [config.feature(use.dataset or dataset, use.entry) for one in options for use in one.used("features")]
    entries += [config.text(use.dataset or dataset, use.entry) for one in options for use in one.used("text")]
    return list(dict.fromkeys(model for entry in entries for model in entry.made_from().values()))


def _stages(options: ExperimentOptions) -> set[str]:
    """The stages of an experiment up to its scores."""
    made = {use.stage for use in options.uses() if use.stage in ("features", "text")}
    scored = {"score"} if any(registry.kind(kind).uses_tools for kind in options.KINDS) else set()
    return made | scored | {"predict"} | ({"train"} if options.TRAINED else set())


def _of_seed(options: ExperimentOptions, file: str) -> set[str] | None:
    """The stages that a file below a seed's folder takes; None for one that no rule makes."""
    stages = _stages(options)
    if file in MODEL_FILES and options.TRAINED:
        return stages - {"predict", "score"}
    for kind in options.KINDS:
        if file in (*registry.kind(kind).files, f"{kind}/prediction.json"):
            return stages - {"score"}
        if file in [f"{kind}/{name}" for name in (*SCORE_FILES, *registry.kind(kind).score_files)]:
            return stages
    return None


def _add_baselines(splits: dict[str, str], kinds: Iterable[str]) -> set[str]:
    """Add the splits that the baselines of kinds need; their stages."""
    stages = set()
    for kind in map(registry.kind, kinds):
        stages |= {"baselines", *(["score"] if kind.uses_tools else [])}
        splits |= dict.fromkeys(kind.baseline_splits, "the baselines")
    return stages
