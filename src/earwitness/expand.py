"""Resolves ``extends`` and ``sweep`` of experiments.

An experiment that ``extends`` another one states only the differences. One with a ``sweep`` stands for one experiment
per combination of the values::

    atr-grid:
      extends: atr
      sweep:
        features: {cnn14: [cnn14], vggish: [vggish]}    # by label
        pooling: [mean, max]                            # values serve as labels

are ``atr-grid-cnn14-mean``, ``atr-grid-cnn14-max``, ``atr-grid-vggish-mean`` and ``atr-grid-vggish-max``. Keys with
dots reach into nested options (``loss.contrastive_weight: [0, 1]``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from earwitness.errors import nearest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass
class Expanded:
    """Experiments without ``extends`` and ``sweep``.

    Attributes:
        entries: name -> options; without those that cannot be resolved, which are in ``problems``.
        origin: experiment -> the entry of the configuration that it comes from.
        sweeps: entry with a sweep -> its experiments.
        depth: how many experiments each one extends, one after another; a sweep's members count as extending one more.
        chains: experiment -> the entries that it is made of, its own first, then those that it extends.
        problems: one message per mistake.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    sweeps: dict[str, list[str]] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def expand(experiments: Mapping[str, Any]) -> Expanded:
    """Resolve ``extends`` and ``sweep`` of all experiments."""
    expanded = Expanded()
    for name, entry in experiments.items():
        if not isinstance(entry, Mapping) or not {"extends", "sweep"} & entry.keys():
            expanded.entries[name], expanded.origin[name], expanded.depth[name] = entry, name, 0
            expanded.chains[name] = [name]
            continue
        chain = _chain(name, experiments)
        if isinstance(chain, str):
            expanded.problems.append(chain)
            continue
        resolved: dict[str, Any] = {}
        for ancestor in reversed(chain):
            options = {key: value for key, value in experiments[ancestor].items() if key not in ("extends", "sweep")}
            resolved = merge(resolved, options)
        members = _members(name, entry["sweep"]) if "sweep" in entry else iter([(name, {})])
        for member in members:
            if isinstance(member, str):
                expanded.problems.append(member)
                continue
            label, changes = member
            if label != name and (label in experiments or label in expanded.entries):
                expanded.problems.append(f"experiments.{name}.sweep: two experiments would be called {label!r}")
                continue
            expanded.entries[label], expanded.origin[label] = merge(resolved, changes), name
            expanded.chains[label] = chain
            expanded.depth[label] = len(chain) - 1 + ("sweep" in entry)
            if "sweep" in entry:
                expanded.sweeps.setdefault(name, []).append(label)
    return expanded


def _chain(name: str, experiments: Mapping[str, Any]) -> list[str] | str:
    """An experiment and those it extends, itself first; or an error message."""
    chain = [name]
    while (parent := experiments[chain[-1]].get("extends")) is not None:
        place = f"experiments.{chain[-1]}.extends"
        if not isinstance(parent, str) or parent not in experiments:
            return f"{place}: {parent!r}; {nearest(str(parent), [known for known in experiments if known != name])}"
        if parent in chain:
            return f"{place}: {parent!r} extends {chain[-1]!r} in turn: the cycle must be broken"
        if not isinstance(experiments[parent], Mapping):
            return f"{place}: {parent!r} is not a mapping of options"
        if "sweep" in experiments[parent]:
            return f"{place}: {parent!r} is a sweep; extend the experiment that the sweep varies"
        chain.append(parent)
    return chain


def _members(name: str, sweep: Any) -> Iterator[tuple[str, dict[str, Any]] | str]:
    """The names of a sweep's experiments, each with its options; or error messages."""
    place = f"experiments.{name}.sweep"
    if not isinstance(sweep, Mapping) or not sweep:
        yield f"{place}: {sweep!r}; expected lists of values by key, such as {{pooling: [mean, max]}}"
        return
    axes: list[list[tuple[str, dict[str, Any]]]] = []
    for key, values in sweep.items():
        if not isinstance(values, list | Mapping) or not values:
            yield f"{place}.{key}: {values!r}; expected a list of values, or a mapping of labels to values"
            continue
        labelled = values if isinstance(values, Mapping) else {_label(value): value for value in values}
        if not isinstance(values, Mapping) and len(labelled) < len(values):
            yield f"{place}.{key}: two values have the same label; write {{label: value, ...}}"
        elif bad := [label for label in map(str, labelled) if not _NAME.fullmatch(label)]:
            yield f"{place}.{key}: {bad[0]!r} cannot be part of a name; write {{label: value, ...}}"
        else:
            axes.append([(str(label), _nested(key, value)) for label, value in labelled.items()])
    if len(axes) < len(sweep):
        return
    for combination in product(*axes):
        changes: dict[str, Any] = {}
        for _, change in combination:
            changes = merge(changes, change)
        yield "-".join([name, *(label for label, _ in combination)]), changes


def _label(value: Any) -> str:
    return "_".join(map(_label, value)) if isinstance(value, list) else str(value).lower()


def _nested(key: str, value: Any) -> dict[str, Any]:
    """``a.b`` and a value as ``{a: {b: value}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


FIRST_KINDS = {"encoder": "cnn10"}  # what a mapping under this key is without `kind`


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings merged key by key, as Snakemake merges configuration files; ``above`` wins.

    An encoder that states another kind has other options, and replaces the one below.
    """
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        if both and key in FIRST_KINDS and "kind" in value:
            both = value["kind"] == merged[key].get("kind", FIRST_KINDS[key])
        merged[key] = merge(merged[key], value) if both else value
    return merged
