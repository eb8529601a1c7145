"""What the results of a page were made with: date, version, commit, seeds, and the options in which they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from earwitness.report.interface import Experiment
from earwitness.training.events import read_events

NONE = "—"


@dataclass(frozen=True)
class Settings:
    """The settings of several experiments.

    Attributes:
        shared: settings that all have in common, by label; without the options of the experiments.
        differing: by label or dotted key, the settings of each experiment where they differ; options are compared
            among the experiments of each system, since another system has others.
    """

    shared: dict[str, str]
    differing: dict[str, list[str]]


def settings_of(found: list[Experiment]) -> Settings:
    """Compare the settings of experiments; of scores made elsewhere none are known.

    The date is that of the end of training, which ``events.jsonl`` has: unlike the time of a file it is the same for
    the same results, wherever they are copied.
    """
    known = [experiment for experiment in found if not experiment.elsewhere]
    facts = [dict(_facts(experiment)) for experiment in known]
    options = [dict(_flat(experiment.result["provenance"].get("options", {}))) for experiment in known]
    shared, differing = _divided(facts)
    _, different = _divided(options)
    systems = [each.get("system", NONE) for each in options]
    different = {name: values for name, values in different.items() if name == "system" or _differ(values, systems)}
    shared = {label: value for label, value in shared.items() if value != NONE}
    if days := sorted({value[:10] for value in differing.get("Trained", []) if value != NONE}):
        shared = {"Trained": " to ".join(dict.fromkeys([days[0], days[-1]]))} | shared
    return Settings(shared, differing | different)


def _facts(experiment: Experiment) -> Iterator[tuple[str, str]]:
    provenance = experiment.result["provenance"]
    events = (event for seed in experiment.seeds for event in read_events(seed / "events.jsonl"))
    ends = [event["time"] for event in events if "time" in event]
    yield "Trained", f"{datetime.fromtimestamp(max(ends), UTC):%Y-%m-%d %H:%M} UTC" if ends else NONE
    yield "Seeds", ", ".join(map(str, experiment.result["seeds"]))
    yield "Earwitness", provenance.get("code") or NONE
    yield "Commit", provenance.get("commit") or NONE


def _divided(settings: list[dict[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The settings that all have in common, and the others with each one's value."""
    names = dict.fromkeys(name for each in settings for name in each)
    values = {name: [each.get(name, NONE) for each in settings] for name in names}
    shared = {name: of_each[0] for name, of_each in values.items() if len(set(of_each)) == 1}
    return shared, {name: of_each for name, of_each in values.items() if name not in shared}


def _differ(values: list[str], systems: list[str]) -> bool:
    """Whether two experiments of one system have different values."""
    return len(set(zip(systems, values, strict=True))) > len(set(systems))


def _flat(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested options as dotted keys and text."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
