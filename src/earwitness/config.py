"""The configuration: one validated model that defines every default and ``config/schema.json``.

:class:`Config` validates the mapping that Snakemake read. It raises one ConfigError that lists all problems, each with
its place, its value and the nearest valid names. ``python -m earwitness.config > config/schema.json`` updates the
schema.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, create_model

from earwitness import registry
from earwitness.errors import ConfigError, listed, nearest
from earwitness.expand import expand, label_of, merge
from earwitness.options import (
    SPLITS,
    CheckpointsOptions,
    DatasetOptions,
    ExperimentOptions,
    FeatureOptions,
    IdListOptions,
    Name,
    Options,
    RecordingsOptions,
    SentenceModelsOptions,
    SharedEntry,
    SpiceOptions,
    TextOptions,
    TrackingOptions,
    Use,
    problem_of_name,
)

FILES = "results are called {dataset}/{experiment}/metrics.json and {dataset}/comparison.html"
STUDY_FILES = "studies are called {dataset}/studies/{sweep}.html"
FEATURE_FILES = f"features are called {{dataset}}/features/{{feature}}/{{{','.join(SPLITS)}}}.h5"
# Other folders beside those of experiments.
RESERVED = ("audio", "baselines", "corpus", "features", "others", "text", "plots", "clap", "studies")


@cache
def model() -> type[Options]:
    """The pydantic model of the whole configuration, with the options of everything in the registry."""
    return create_model(
        "Config",
        __base__=Options,
        datasets=(_entries(registry.LAYOUTS, "layout"), ...),
        features=(_entries(registry.EXTRACTORS, "extractor"), ...),
        texts=(_entries(registry.TEXTS, "kind"), ...),
        experiments=(_entries(registry.SYSTEMS, "system"), ...),
        id_lists=(dict[Name, IdListOptions], {}),
        checkpoints=(CheckpointsOptions, CheckpointsOptions()),
        sentence_models=(SentenceModelsOptions, SentenceModelsOptions()),
        spice=(SpiceOptions, SpiceOptions()),
        tracking=(TrackingOptions, TrackingOptions()),
    )


def schema() -> dict[str, Any]:
    """JSON schema of the configuration as it is written, for editors; ``config/schema.json`` holds it."""
    content = model().model_json_schema()
    some_sweep = {"not": {"additionalProperties": {"not": {"$ref": "#/$defs/WithSweep"}}}}
    content["$defs"]["WithSweep"] = {"type": "object", "anyOf": [{"required": ["sweep"]}, some_sweep]}
    written = {
        "type": "object",
        "description": "An experiment that varies another one (extends), or several of them (sweep).",
        "properties": {
            "extends": {"type": "string"},
            "sweep": {"type": ["object", "array"], "items": {"type": "object"}, "minItems": 1, "minProperties": 1},
            "baseline": {"type": ["string", "number", "boolean"]},
        },
        "anyOf": [{"required": ["extends"]}, {"$ref": "#/$defs/WithSweep"}],
    }
    experiments = content["properties"]["experiments"]
    known = experiments.pop("patternProperties", None) or {"": experiments.pop("additionalProperties")}
    experiments["patternProperties"] = {name: {"anyOf": [entry, written]} for name, entry in known.items()}
    return content


def _entries(entries: dict[str, registry.Entry], kind: str) -> Any:
    """The type of entries by name: the union of the option models of a registry, discriminated by the key ``kind``."""
    choices = registry.options_of(entries, kind)
    one: Any = choices[0] if len(choices) == 1 else Annotated[Union[choices], Field(discriminator=kind)]  # noqa: UP007
    return dict.__class_getitem__((Name, one))


class Config:
    """The validated configuration, with what the rules need from it.

    Attributes: ``datasets``, ``features``, ``texts``, ``experiments`` and ``id_lists`` (name -> options),
    ``checkpoints``, ``sentence_models``, ``spice``, ``tracking``. In ``experiments``, ``extends`` and ``sweep`` are
    resolved; ``sweeps`` has the names of the latter.

    Raises ConfigError that lists all problems.
    """

    def __init__(self, content: Mapping[str, Any]):
        self._raw = copy.deepcopy(dict(content))
        written = self._raw.get("experiments")
        self._expanded = expand(written if isinstance(written, Mapping) else {})
        if isinstance(written, Mapping):
            self._raw["experiments"] = self._expanded.entries
        for entry in (self._raw.get("texts") or {}).values():
            if isinstance(entry, dict):
                entry.setdefault("kind", "vocabulary")
        try:
            validated = _validate(model(), self._raw, "")
        except ConfigError as error:
            raise ConfigError(listed(_HEADING, [*self._expanded.problems, *self._as_written(error)])) from None
        self.datasets: dict[str, DatasetOptions] = validated.datasets
        self.features: dict[str, FeatureOptions] = validated.features
        self.texts: dict[str, TextOptions] = validated.texts
        self.experiments: dict[str, ExperimentOptions] = validated.experiments
        self.sweeps = list(self._expanded.sweeps)
        self.id_lists: dict[str, IdListOptions] = validated.id_lists
        self.checkpoints: CheckpointsOptions = validated.checkpoints
        self.sentence_models: SentenceModelsOptions = validated.sentence_models
        self.spice: SpiceOptions = validated.spice
        self.tracking: TrackingOptions = validated.tracking
        found = [*self._expanded.problems, *self._bad_names(), *self._bad_list_names(), *self._bad_sources()]
        found += self._bad_models()
        found += self._bad_overrides()
        found += [] if found else self._without_effect(written or {})
        if problems := list(dict.fromkeys(found)):
            raise ConfigError(listed(_HEADING, problems))
        # What experiments learn of other data sets; no name in a configuration has a "/".
        learnt: tuple[Literal["development", "validation"], ...] = ("development", "validation")
        self.id_lists |= {
            f"{name}/{split}": IdListOptions(dataset=name, splits=[split]) for name in self.datasets for split in learnt
        }

    def feature(self, dataset: str, name: str) -> FeatureOptions:
        """A feature's options on one data set."""
        return self._merged("features", dataset, name).on(dataset)

    def text(self, dataset: str, name: str) -> TextOptions:
        """A text's options on one data set."""
        return self._merged("texts", dataset, name).on(dataset)

    @cache  # noqa: B019 (as long as the configuration lives)
    def experiment(self, dataset: str, name: str) -> ExperimentOptions:
        """An experiment's options on one data set: the keys of its entry win over the system's overrides there."""
        entry = self._raw["experiments"][name]
        below = self.datasets[dataset].overrides.systems.get(entry["system"], {})
        place = f"datasets.{dataset}.overrides.systems.{entry['system']}"  # each entry is valid by itself
        return _validate(type(self.experiments[name]), merge(below, entry), place)

    @cache  # noqa: B019 (as long as the configuration lives)
    def misfits(self, dataset: str, experiment: str) -> list[str]:
        """What cannot work in an experiment on one data set, as far as the configuration tells."""
        entry = self.experiment(dataset, experiment)
        lines = list(
            entry.misfits(
                lambda name, other=None: self.feature(other or dataset, name),
                lambda name, other=None: self.text(other or dataset, name),
            )
        )
        if (option := entry.reads_phrases()) and not self.datasets[dataset].PHRASES:
            lines.append(f"{option}: captions of the layout {self.datasets[dataset].layout} have no phrases")
        return [f"experiments.{self._expanded.origin[experiment]}.{line}" for line in lines]

    def refuse_misfits(self, dataset: str, experiment: str) -> None:
        """Raise ConfigError for an experiment that cannot work on a data set; lists the others of its page, too."""
        if self.misfits(dataset, experiment):
            names = dict.fromkeys([experiment, *self.experiments_of(dataset)])
            problems = [line for name in names for line in self.misfits(dataset, name)]
            raise ConfigError(listed(f"This cannot work on the data set {dataset!r}:", list(dict.fromkeys(problems))))

    def refuse_features(self, dataset: str) -> None:
        """Raise ConfigError where a data set has no recordings, and so no features and no predictions."""
        if not self.datasets[dataset].RECORDINGS:
            raise ConfigError(
                f"The data set {dataset!r} has captions without recordings (layout {self.datasets[dataset].layout}), "
                "so that it has no features and nothing can be predicted on it. Ask for a result on a data set with "
                f"recordings; an experiment that learns from captions alone learns these with `corpus: {dataset}`."
            )

    def experiments_of(self, dataset: str) -> list[str]:
        """The experiments that a data set's comparison page shows, sweeps expanded."""
        chosen = self.datasets[dataset].experiments
        if chosen is None:
            return [name for name in self.experiments if not self._expanded.depth[name]]
        members = (self._expanded.sweeps.get(name, [name]) for name in chosen)
        return list(dict.fromkeys(name for names in members for name in names))

    def studies_of(self, dataset: str) -> list[str]:
        """The sweeps that a data set's comparison page shows whole, their baselines too."""
        shown = self.experiments_of(dataset)
        return [name for name in self.sweeps if {*self.study(dataset, name)["experiments"]} <= {*shown}]

    def study(self, dataset: str, sweep: str) -> dict[str, Any]:
        """A sweep on one data set, as ``evaluation.study`` reads it.

        Returns ``baseline``, the experiment that the others are compared with; the ``members`` of the sweep; ``axes``,
        the dotted keys of the options that it varies; and ``experiments``: of each, a baseline from elsewhere first, by
        key the ``label`` and ``value`` of these options on the data set, without those that its system has not.
        """
        baseline, members = self._expanded.baselines[sweep], self._expanded.sweeps[sweep]
        axes = list(dict.fromkeys(key for member in members for key in self._expanded.labels[member]))
        settings: dict[str, dict[str, dict[str, Any]]] = {}
        for name in dict.fromkeys([*([] if baseline in members else [baseline]), *members]):
            options = self.experiment(dataset, name).model_dump(mode="json")
            labels = self._expanded.labels[name] if name in members else {}
            settings[name] = {}
            for key in axes:
                with suppress(KeyError, TypeError):
                    value = reduce(getitem, key.split("."), options)
                    settings[name][key] = {"label": labels.get(key, label_of(value)), "value": value}
        return {"baseline": baseline, "members": members, "axes": axes, "experiments": settings}

    def sweep_of(self, experiment: str) -> str | None:
        """The sweep that an experiment is a member of."""
        origin = self._expanded.origin[experiment]
        return origin if origin in self._expanded.sweeps else None

    def others_of(self, dataset: str) -> dict[str, Path]:
        """The folders of scores made elsewhere that a data set's comparison page shows, by name."""
        return {name: Path(folder).expanduser() for name, folder in self.datasets[dataset].others.items()}

    @cache  # noqa: B019 (as long as the configuration lives)
    def trained_as(self, dataset: str, experiment: str) -> str:
        """The experiment that trains for all those that differ in prediction or scores alone.

        Of these it is the one that extends fewest others, then the first in the configuration: a variant that is added
        later, wherever it stands, never trains in place of the experiment that it varies.
        """
        options = self.experiment(dataset, experiment)
        if not options.TRAINED:
            return experiment
        wanted = options.settings("weights")
        alike = [name for name, entry in self.experiments.items() if entry.system == options.system]
        alike = [name for name in alike if self.experiment(dataset, name).settings("weights") == wanted]
        return min(alike, key=lambda name: self._expanded.depth[name])

    def trained_on(self, dataset: str, experiment: str) -> list[str]:
        """The id lists of what an experiment, beside its data set, and its features' extractors were trained on.

        Of another experiment whose model makes its features or texts, these are the development clips, and the
        validation clips, which chose its epoch.
        """
        options = self.experiment(dataset, experiment)
        names = list(options.trained_on)
        learnt = [use.dataset for use in options.training_inputs().values() if use.stage in ("corpus", "clap")]
        names += [f"{other}/development" for other in learnt if other]
        for use in self._used(dataset, experiment, "features"):
            names += self.feature(use.dataset or dataset, use.entry).trained_on
        for use in self._models(dataset, experiment):
            other = use.dataset or dataset
            names += [*self.trained_on(other, use.entry), f"{other}/development", f"{other}/validation"]
        own = (f"{dataset}/development", f"{dataset}/validation")
        return [name for name in dict.fromkeys(names) if name not in own]

    def untrained(self, dataset: str, experiment: str) -> list[str]:
        """The features of an experiment whose extractors have random weights."""
        used = self._used(dataset, experiment, "features")
        names = [use.entry for use in used if self.feature(use.dataset or dataset, use.entry).untrained]
        for use in self._models(dataset, experiment):
            names += self.untrained(use.dataset or dataset, use.entry)
        return list(dict.fromkeys(names))

    def remarks(self, dataset: str, experiment: str) -> list[str]:
        """What else a result must say of training data.

        That of published weights; and where training reads no features of clips, whether its features are of a model
        that was trained on clips of the same data set.
        """
        lines = []
        for use in self._used(dataset, experiment, "features"):
            if note := self.feature(use.dataset or dataset, use.entry).note:
                lines.append(f"the weights of the features {use.entry} {note}")
        inputs = self.experiment(dataset, experiment).training_inputs().values()
        unpaired = all(use.stage != "features" for use in inputs)
        for use in self._models(dataset, experiment):
            other = use.dataset or dataset
            if unpaired and other == dataset:
                lines.append(f"its vectors are of {use.entry}, which learnt from this data set's clips and captions")
            lines += self.remarks(other, use.entry)
        return list(dict.fromkeys(lines))

    def read_by_retriever(self, dataset: str, feature: str) -> dict[str, Use]:
        """The features of a data set, by name, from which a feature made by a retriever is made; of any other none.

        Their ``file`` is that of the evaluation split.
        """
        found: dict[str, Use] = {}
        for model in self.feature(dataset, feature).made_from().values():
            inputs = self.experiment(model.dataset or dataset, model.entry).prediction_inputs()
            found |= {name: use for name, use in inputs.items() if use.stage == "features" and use.dataset is None}
        return found

    def _models(self, dataset: str, experiment: str) -> Iterator[Use]:
        """The other experiments whose models an experiment reads, or its features and texts are made with."""
        yield from self._used(dataset, experiment, "experiments")
        for use in self._used(dataset, experiment, "features"):
            yield from self.feature(use.dataset or dataset, use.entry).made_from().values()
        for use in self._used(dataset, experiment, "text"):
            yield from self.text(use.dataset or dataset, use.entry).made_from().values()

    def _used(self, dataset: str, experiment: str, stage: str) -> list[Use]:
        return self.experiment(dataset, experiment).used(stage)

    def audited(self, dataset: str) -> list[str]:
        """The id lists that concern a data set: of its audit, and of what its experiments were trained on."""
        every = self.datasets[dataset].experiments is None  # variants too: their results may be asked for one by one
        trained_on = [
            name
            for experiment in (self.experiments if every else self.experiments_of(dataset))
            for name in self.trained_on(dataset, experiment)
        ]
        return list(dict.fromkeys([*self.datasets[dataset].audit, *trained_on]))

    def refuse_target(self, target: str) -> None:
        """Raise ConfigError for a target under results/ that no rule makes, with the nearest names there are."""
        dataset, below, name = [*target.strip("/").split("/")[1:], "", "", ""][:3]
        problems = []
        if dataset not in self.datasets:
            hint = "or is its --configfile missing from the command?"
            problems.append(f"data set {dataset!r}: {nearest(dataset, self.datasets)} ({hint})")
        named: dict[str, tuple[str, Collection[str]]] = {
            "features": ("feature", self.features),
            "text": ("text", self.texts),
        }
        if below == "studies" and (asked := name.rpartition(".")[0] or name) not in self.sweeps:
            problems.append(
                f"study {asked!r}: {nearest(asked, self.sweeps)} (a study is of an experiment with a `sweep`)"
            )
        elif below in named and name not in named[below][1]:
            kind, known = named[below]
            problems.append(f"{kind} {name!r}: {nearest(name, known)}")
        elif name and below in self.sweeps:
            problems.append(f"{below!r} is a sweep of {len(self._expanded.sweeps[below])} experiments; {STUDY_FILES}")
        elif below and name and below not in (*RESERVED, *self.experiments):
            problems.append(f"experiment {below!r}: {nearest(below, self.experiments)}")
        if not problems:
            files = {"features": FEATURE_FILES, "studies": STUDY_FILES}.get(below, FILES)
            problems.append(f"no rule makes this file; {files}")
        known = f"Data sets: {', '.join(self.datasets)}. Experiments: {', '.join(self.experiments)}."
        raise ConfigError(listed(f"{target} is not configured:", problems, known))

    def _merged(self, kind: Literal["features", "texts"], dataset: str, name: str) -> Any:
        over = getattr(self.datasets[dataset].overrides, kind).get(name, {})
        place = f"datasets.{dataset}.overrides.{kind}.{name}"
        return _validate(type(getattr(self, kind)[name]), merge(self._raw[kind][name] or {}, over), place)

    def _bad_names(self) -> Iterator[str]:
        for name, entry in self.experiments.items():
            if name in RESERVED:
                yield f"experiments.{name}: this name is taken by a folder under results/; choose another"
            yield from self._bad_uses(name, entry)
        asked = [*self.experiments, *self._expanded.sweeps]
        for dataset, options in self.datasets.items():
            for value in options.experiments or []:
                if value not in asked:
                    yield f"datasets.{dataset}.experiments: {value!r}; {nearest(value, asked)}"
            for value in options.others:
                if value in self.experiments:
                    yield f"datasets.{dataset}.others: {value!r} is the name of an experiment; choose another"
            overrides = options.overrides
            known_by_kind: dict[str, Collection[str]]
            known_by_kind = {
                "features": self.features,
                "texts": self.texts,
                "systems": registry.SYSTEMS,
            }
            for kind, known in known_by_kind.items():
                for value in getattr(overrides, kind):
                    if value not in known:
                        yield f"datasets.{dataset}.overrides.{kind}: {value!r}; {nearest(value, known)}"

    def _bad_uses(self, name: str, entry: ExperimentOptions) -> Iterator[str]:
        """Entries that an experiment reads but the configuration lacks."""
        known: dict[str, Collection[str]] = {
            "features": self.features,
            "text": self.texts,
            "experiments": self.experiments,
            "clap": self.features,
        }
        written, keys = self._expanded.origin[name], entry.model_dump(exclude={"system"})
        for use in entry.uses():
            place = f"experiments.{written}.{_key_of(keys, use.entry)}"
            if use.stage in known and use.entry not in known[use.stage]:
                yield f"{place}: {use.entry!r}; {nearest(use.entry, known[use.stage])}"
            elif use.stage == "text" and use.file not in self.texts[use.entry].FILES.values():
                why = f"texts of kind {self.texts[use.entry].kind!r} have no {use.file}"
                fitting = [other for other, text in self.texts.items() if use.file in text.FILES.values()]
                yield f"{place}: {use.entry!r}; {why}; {nearest(use.entry, fitting)}"
            if use.dataset is not None and use.dataset not in self.datasets:
                place = f"experiments.{written}.{_key_of(keys, use.dataset)}"
                yield f"{place}: {use.dataset!r}; {nearest(use.dataset, self.datasets)}"

    def _bad_models(self) -> Iterator[str]:
        """Experiments by which features and texts are made: unknown, not retrievers, or made of what they make."""
        fitting = [name for name, entry in self.experiments.items() if entry.TRAINED and "retrieval" in entry.KINDS]
        kinds: tuple[Literal["features", "texts"], ...] = ("features", "texts")
        for kind in kinds:
            for place, name, entry in self._with_overrides(kind):
                if not (uses := list(entry.made_from().values())):
                    continue
                experiment, dataset = uses[0].entry, uses[0].dataset
                if experiment not in self.experiments:
                    yield f"{place}.experiment: {experiment!r}; {nearest(experiment, fitting)}"
                elif experiment not in fitting:
                    yield f"{place}.experiment: {experiment!r} trains no retriever; {nearest(experiment, fitting)}"
                elif circle := self._circle((kind, name), (kind, name)):
                    yield f"{place}.experiment: {experiment!r} reads what it makes: {' <- '.join(circle)}"
                if dataset is not None and dataset not in self.datasets:
                    yield f"{place}.dataset: {dataset!r}; {nearest(dataset, self.datasets)}"

    def _with_overrides(self, kind: Literal["features", "texts"]) -> Iterator[tuple[str, str, SharedEntry]]:
        """Place, name and options of all entries, and of those that data sets override."""
        entries: Mapping[str, SharedEntry] = getattr(self, kind)
        yield from ((f"{kind}.{name}", name, entry) for name, entry in entries.items())
        for dataset, options in self.datasets.items():
            for name in getattr(options.overrides, kind):
                if name in entries:
                    with suppress(ConfigError):  # told by itself
                        yield f"datasets.{dataset}.overrides.{kind}.{name}", name, self._merged(kind, dataset, name)

    def _circle(self, entry: tuple[str, str], start: tuple[str, str], seen: tuple[str, ...] = ()) -> list[str]:
        """The entries on the way from one back to ``start`` by what each is made from; empty where none leads there."""
        kind, name = entry
        options: SharedEntry | None = (self.features if kind == "features" else self.texts).get(name)
        models = {use.entry for use in options.made_from().values()} if options else set()
        for model in sorted(models - set(seen)):
            for use in self.experiments[model].uses() if model in self.experiments else ():
                read = ("texts" if use.stage == "text" else use.stage, use.entry)
                if read == start:
                    return [f"{kind}.{name}", f"experiments.{model}", f"{read[0]}.{use.entry}"]
                if read[0] in ("features", "texts") and (rest := self._circle(read, start, (*seen, model))):
                    return [f"{kind}.{name}", f"experiments.{model}", *rest]
        return []

    def _without_effect(self, written: Mapping[str, Any]) -> Iterator[str]:
        """Options that entries state and that change nothing on any data set, there or where others extend them."""
        for name, entry in written.items():
            heirs = [heir for heir, chain in self._expanded.chains.items() if name in chain]
            options = [self.experiments[heir] for heir in heirs]
            for dataset, other in self.datasets.items():
                over = other.overrides.systems
                options += [self.experiment(dataset, heir) for heir in heirs if self.experiments[heir].system in over]
            vain = [dict(one.without_effect()) for one in options]
            for key, why in vain[0].items() if vain else ():
                stated: Any = entry
                for part in key.split("."):
                    stated = stated.get(part) if isinstance(stated, Mapping) else None
                if stated is not None and all(key in other for other in vain):
                    yield f"experiments.{name}.{key}: {stated!r} changes nothing; {why}"

    def _as_written(self, error: ConfigError) -> list[str]:
        """The lines of an error, with experiments named as in the configuration, not as expanded."""
        lines = [line.removeprefix("  - ") for line in str(error).splitlines()[1:]]
        for name, written in self._expanded.origin.items():
            lines = [line.replace(f"experiments.{name}.", f"experiments.{written}.", 1) for line in lines]
        return list(dict.fromkeys(lines))

    def _bad_list_names(self) -> Iterator[str]:
        """Unknown id lists, and unknown data sets that id lists name."""
        named = {f"datasets.{name}.audit": entry.audit for name, entry in self.datasets.items()}
        for kind, entries in (("features", self.features), ("experiments", self.experiments)):
            named |= {f"{kind}.{name}.trained_on": entry.trained_on for name, entry in entries.items()}
        for dataset, entry in self.datasets.items():
            for kind in ("features", "systems"):
                for name, over in getattr(entry.overrides, kind).items():
                    lists = over.get("trained_on")
                    if isinstance(lists, list):  # anything else is reported where the override is merged
                        named[f"datasets.{dataset}.overrides.{kind}.{name}.trained_on"] = lists
        for place, lists in named.items():
            if lists and not self.id_lists:
                yield f"{place}: {lists[0]!r}; the configuration has no `id_lists`"
                continue
            yield from (
                f"{place}: {value!r}; {nearest(value, self.id_lists)}" for value in lists if value not in self.id_lists
            )
        for name, id_list in self.id_lists.items():
            if id_list.dataset is not None and id_list.dataset not in self.datasets:
                yield f"id_lists.{name}.dataset: {id_list.dataset!r}; {nearest(id_list.dataset, self.datasets)}"

    def _bad_sources(self) -> Iterator[str]:
        """Folders into which two published records would be fetched."""
        first: dict[str, tuple[str, str]] = {}
        for name, entry in self.datasets.items():
            if isinstance(entry, RecordingsOptions) and (source := entry.source) is not None:
                other, known = first.setdefault(str(Path(entry.audio).expanduser()), (name, source))
                if source != known:
                    yield f"datasets.{name}.source: {source!r} and {known!r} of {other!r} have the same folder"
                if problem := problem_of_name(entry.audio):
                    yield f"datasets.{name}.audio: {entry.audio!r}; {problem}"

    def _bad_overrides(self) -> Iterator[str]:
        for dataset, entry in self.datasets.items():
            overrides = entry.overrides
            checks: list[tuple[Callable[[str, str], Any], str]] = [
                *((self.feature, name) for name in overrides.features if name in self.features),
                *((self.text, name) for name in overrides.texts if name in self.texts),
                *(
                    (self.experiment, name)
                    for name, used in self.experiments.items()
                    if used.system in overrides.systems
                ),
            ]
            for check, name in checks:
                try:
                    check(dataset, name)
                except ConfigError as error:
                    yield from (line.removeprefix("  - ") for line in str(error).splitlines()[1:])


def _key_of(content: Mapping[str, Any], value: str) -> str:
    """The key that has a value, or a list with it; dotted where it is nested."""
    for key, found in content.items():
        if found == value or (isinstance(found, list) and value in found):
            return key
        if isinstance(found, Mapping) and (nested := _key_of(found, value)):
            return f"{key}.{nested}"
    return ""


def validated(kind: Literal["datasets", "features", "texts", "experiments"], content: Mapping[str, Any]) -> Any:
    """Options of one entry from plain content, as a rule hands it to its script."""
    registries = {
        "datasets": (registry.LAYOUTS, "layout"),
        "features": (registry.EXTRACTORS, "extractor"),
        "texts": (registry.TEXTS, "kind"),
        "experiments": (registry.SYSTEMS, "system"),
    }
    entries, key = registries[kind]
    return _validate(registry.load(entries[content[key]].options), content, kind)


_TYPE_TAG = re.compile(r"(list|dict|literal)\[|constrained-|function-")
_HEADING = "The configuration is not valid:"


def _validate(kind: type[BaseModel], content: Mapping[str, Any], place: str) -> Any:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [_explain(problem, kind, place) for problem in _told(error.errors(include_url=False), kind)]
        raise ConfigError(listed(_HEADING, problems)) from None


def _told(problems: Sequence[Any], kind: type[BaseModel]) -> Iterator[Any]:
    """The problems, but of a key that takes one value or a list of them, that of the form which was not written."""
    places = [_without_tags(problem["loc"], kind) for problem in problems]
    for problem, place in zip(problems, places, strict=True):
        others = [other for other in places if other is not place and other[: len(place)] == place]
        as_list = isinstance(problem["input"], list)
        if not (others and problem["type"] == ("literal_error" if as_list else "list_type")):
            yield problem


def _explain(problem: Mapping[str, Any], kind: type[BaseModel], place: str) -> str:
    """One line of a validation error: place, value, what is wrong, the nearest valid names."""
    location = ".".join(str(part) for part in _without_tags(problem["loc"], kind))
    where = ".".join(part for part in (place, location) if part)
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            siblings = _fields_at(kind, problem["loc"][:-1])
            if where.endswith((".overrides.experiments", ".overrides.experiment")):
                meant = "`systems` overrides the options of all experiments of a system (`systems: {cl4ac: {...}}`)"
                return f"{where}: no such key; {meant}"
            return f"{where}: no such key; {nearest(str(problem['loc'][-1]), siblings)}"
        case "missing":
            return f"{where}: this required key is missing"
        case "union_tag_not_found":
            key = context["discriminator"].strip("'")
            return f"{where}.{key}: this required key is missing; the entry has {', '.join(map(str, problem['input']))}"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            key = context["discriminator"].strip("'")
            return f"{where}.{key}: {context['tag']!r}; {nearest(context['tag'], tags)}"
        case "literal_error":
            hint = nearest(problem["input"], re.findall("'([^']*)'", context["expected"]))
            close = f"; {hint}" if hint.startswith("did") else ""
            return f"{where}: {problem['input']!r}; expected {context['expected']}{close}"
        case "list_type" if isinstance(problem["input"], str):
            return f"{where}: {problem['input']!r}; input should be a valid list: [{problem['input']}]"
        case "value_error":
            return f"{where}: {context['error']}"
        case "float_type" if _is_number(problem["input"]):
            return f"{where}: {problem['input']!r} is text to YAML; write {float(problem['input'])!r}"
        case _:
            return f"{where}: {problem['input']!r}; {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _is_number(text: Any) -> bool:
    try:
        return math.isfinite(float(text))
    except (TypeError, ValueError):
        return False


def _without_tags(location: tuple, kind: Any) -> list:
    """A location in a model without the tags that pydantic inserts for unions (``datasets.mini.mini.clips``)."""
    place = []
    for part in location:
        if isinstance(part, str) and _TYPE_TAG.match(part):
            continue
        tagged, kind = get_origin(kind) is Annotated, _step(kind, part)
        if not (tagged and kind):
            place.append(part)
    return place


def _fields_at(kind: Any, location: tuple) -> list[str]:
    """The valid keys at a location inside a model."""
    for part in location:
        kind = _step(kind, part)
        if kind is None:
            return []
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _step(kind: Any, part: str | int) -> Any:
    """The type at ``part`` of ``kind``: a field, value of a mapping, or member of a union; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        if field is None:
            return None
        return Annotated[field.annotation, field] if field.discriminator else field.annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    for member in get_args(kind):
        for field in getattr(member, "model_fields", {}).values():
            if part in get_args(field.annotation):
                return member
    return None


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
