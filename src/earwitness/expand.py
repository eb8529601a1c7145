"""Resolves ``extends`` and ``sweep`` of experiments.

An experiment that ``extends`` another one states only the differences. One with a ``sweep`` stands for several
experiments, a study of what some options change. The values of an option stand in its place or under ``sweep``, and
several such options are a grid::

    atr-grid:
      extends: atr
      pooling: { sweep: [mean, max] }                   # values serve as labels
      sweep:
        features: { cnn14: [cnn14], vggish: [vggish] }  # by label

are ``atr-grid-mean-cnn14``, ``atr-grid-mean-vggish``, ``atr-grid-max-cnn14`` and ``atr-grid-max-vggish``. Keys with
dots reach into nested options (``loss.contrastive_weight: [0, 1]``). A list under ``sweep`` has the combinations
themselves, each with a ``label`` where its values cannot serve as one. An option varies in one place alone::

    atr-some:
      extends: atr
      sweep:
        - { pooling: mean, optim.lr: 0.001 }            # atr-some-mean-0.001
        - { label: wide, pooling: max, joint: 2048 }    # atr-some-wide

A member is called by the sweep's name and its labels in the order in which they are written. ``baseline`` names the
experiment that the others are compared with, by its name or what follows the sweep's name in it; without, it is the
first member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
        labels: experiment of a sweep -> the options that the sweep varies, by dotted key, with their labels.
        baselines: entry with a sweep -> the experiment that the others are compared with.
        depth: how many experiments each one extends, one after another; a sweep's members count as extending one more.
        chains: experiment -> the entries that it is made of, its own first, then those that it extends.
        problems: one message per mistake.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    sweeps: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Point:
    """One place on an axis of a sweep: its part of a name, the labels of its options, and these options."""

    name: str
    labels: dict[str, str]
    changes: dict[str, Any]


def expand(experiments: Mapping[str, Any]) -> Expanded:
    """Resolve ``extends`` and ``sweep`` of all experiments."""
    expanded = Expanded()
    for name, entry in experiments.items():
        swept = isinstance(entry, Mapping) and is_sweep(entry)
        if not isinstance(entry, Mapping) or not (swept or "extends" in entry):
            expanded.entries[name], expanded.origin[name], expanded.depth[name] = entry, name, 0
            expanded.chains[name] = [name]
            continue
        chain = _chain(name, experiments)
        if isinstance(chain, str):
            expanded.problems.append(chain)
            continue
        axes: list[list[_Point]] = []
        try:
            options = {
                key: value for key, value in entry.items() if key != "extends" and not (swept and key == "baseline")
            }
            own = _without_axes(options, f"experiments.{name}", "", axes)
        except _Problems as problems:
            expanded.problems += problems.args
            continue
        resolved: dict[str, Any] = {}
        for ancestor in reversed(chain[1:]):
            options = {key: value for key, value in experiments[ancestor].items() if key != "extends"}
            resolved = merge(resolved, options)
        resolved = merge(resolved, own)
        for points in product(*axes):
            label = "-".join([name, *(point.name for point in points)])
            if label != name and (label in experiments or label in expanded.entries):
                expanded.problems.append(f"experiments.{name}.sweep: two experiments would be called {label!r}")
                continue
            changes: dict[str, Any] = {}
            for point in points:
                changes = merge(changes, point.changes, kinds={})
            options = merge(resolved, changes)
            same = [known for known in expanded.sweeps.get(name, []) if expanded.entries[known] == options]
            if same:
                expanded.problems.append(f"experiments.{name}.sweep: {label!r} has the same options as {same[0]!r}")
                continue
            expanded.entries[label], expanded.origin[label] = options, name
            expanded.chains[label] = chain
            expanded.depth[label] = len(chain) - 1 + swept
            if swept:
                expanded.sweeps.setdefault(name, []).append(label)
                expanded.labels[label] = {key: text for point in points for key, text in point.labels.items()}
    for name, members in expanded.sweeps.items():
        _find_baseline(name, members, experiments[name].get("baseline"), expanded)
    return expanded


def is_sweep(entry: Mapping[str, Any]) -> bool:
    """Whether an entry stands for several experiments: it has a ``sweep``, or an option with one in its place."""
    return "sweep" in entry or any(is_sweep(value) for value in entry.values() if isinstance(value, Mapping))


class _Problems(Exception):
    """The mistakes in an entry, a message each."""


def _find_baseline(name: str, members: list[str], written: Any, expanded: Expanded) -> None:
    """Note a sweep's baseline: a label comes before an experiment of that name elsewhere."""
    asked = members[0] if written is None else label_of(written)
    found = next((known for known in (f"{name}-{asked}", asked) if known in expanded.entries), None)
    if found is None:
        labels = [member.removeprefix(f"{name}-") for member in members]
        hint = nearest(asked, dict.fromkeys([*labels, *expanded.entries]))
        expanded.problems.append(f"experiments.{name}.baseline: {written!r}; {hint}")
    else:
        expanded.baselines[name] = found


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
        if is_sweep(experiments[parent]):
            return f"{place}: {parent!r} is a sweep; extend the experiment that the sweep varies"
        chain.append(parent)
    return chain


def _without_axes(entry: Mapping[str, Any], place: str, inside: str, axes: list[list[_Point]]) -> dict[str, Any]:
    """The options of an entry that all its experiments have; appends the axes of its sweeps in the order of the entry.

    Args:
        inside: dotted key of the options, with a dot at its end; "" for the entry itself.

    Raises _Problems.
    """
    fixed: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in entry.items():
        try:
            if not inside and key == "sweep":
                _add_axes(value, f"{place}.sweep", axes)
            elif not isinstance(value, Mapping) or not is_sweep(value):
                fixed[key] = value
            elif value.keys() == {"sweep"}:
                _add_axis(f"{inside}{key}", value["sweep"], f"{place}.{key}.sweep", axes)
            elif "sweep" in value:
                others = ", ".join(repr(other) for other in value if other != "sweep")
                problems.append(f"{place}.{key}.sweep: {others} beside it; the values of {key!r} stand alone")
            else:
                fixed[key] = _without_axes(value, f"{place}.{key}", f"{inside}{key}.", axes)
        except _Problems as more:
            problems += more.args
    if problems:
        raise _Problems(*problems)
    return fixed


def _add_axes(sweep: Any, place: str, axes: list[list[_Point]]) -> None:
    """Append what stands under ``sweep``: an axis for each key of a mapping, or one of the combinations in a list."""
    if isinstance(sweep, list) and sweep:
        _append(_combinations(sweep, place), place, axes)
        return
    if not isinstance(sweep, Mapping) or not sweep:
        forms = "lists of values by key, such as {pooling: [mean, max]}, or a list of options, such as [{pooling: max}]"
        raise _Problems(f"{place}: {sweep!r}; expected {forms}")
    problems: list[str] = []
    for key, values in sweep.items():
        try:
            _add_axis(str(key), values, f"{place}.{key}", axes)
        except _Problems as more:
            problems += more.args
    if problems:
        raise _Problems(*problems)


def _add_axis(key: str, values: Any, place: str, axes: list[list[_Point]]) -> None:
    """Append the axis of one option."""
    if not isinstance(values, list | Mapping) or not values:
        raise _Problems(f"{place}: {values!r}; expected a list of values, or a mapping of labels to values")
    labelled = values if isinstance(values, Mapping) else {label_of(value): value for value in values}
    if len(labelled) < len(values):
        raise _Problems(f"{place}: two values have the same label; write {{label: value, ...}}")
    if bad := [label for label in map(str, labelled) if not _NAME.fullmatch(label) or label == "sweep"]:
        raise _Problems(f"{place}: {bad[0]!r} cannot be part of a name; write {{label: value, ...}}")
    points = [_Point(str(label), {key: str(label)}, _nested(key, value)) for label, value in labelled.items()]
    _append(points, place, axes)


def _append(points: list[_Point], place: str, axes: list[list[_Point]]) -> None:
    """Append an axis that varies no option of another one: not the same, nor one inside the other."""
    others = {key for axis in axes for point in axis for key in flat(point.changes)}
    twice = {
        key: None
        for point in points
        for key in flat(point.changes)
        if any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others)
    }
    if twice:
        named = ", ".join(map(repr, twice))
        raise _Problems(f"{place}: {named} varied twice; write all values of an option in one place")
    axes.append(points)


def _combinations(written: Sequence[Any], place: str) -> list[_Point]:
    """The places of an axis whose options vary together."""
    points: list[_Point] = []
    problems: list[str] = []
    for number, options in enumerate(written, start=1):
        if not isinstance(options, Mapping) or not options.keys() - {"label"}:
            problems.append(f"{place}, number {number}: {options!r}; expected options, such as {{pooling: max}}")
            continue
        changes: dict[str, Any] = {}
        for key, value in options.items():
            changes = changes if key == "label" else merge(changes, _nested(str(key), value), kinds={})
        labels = {key: label_of(value) for key, value in flat(changes).items()}
        name = label_of(options["label"]) if "label" in options else "-".join(labels.values())
        if not _NAME.fullmatch(name):
            problems.append(f"{place}, number {number}: {name!r} cannot be part of a name; write {{label: NAME, ...}}")
        elif any(point.name == name for point in points):
            problems.append(f"{place}, number {number}: {name!r} stands twice; write {{label: NAME, ...}}")
        else:
            points.append(_Point(name, labels, changes))
    if problems:
        raise _Problems(*problems)
    return points


def label_of(value: Any) -> str:
    """What a value is called in a name.

    >>> label_of(["cnn14", "VGGish"]), label_of(True), label_of(0.0001)
    ('cnn14_vggish', 'true', '0.0001')
    """
    return "_".join(map(label_of, value)) if isinstance(value, list) else str(value).lower()


def _nested(key: str, value: Any) -> dict[str, Any]:
    """``a.b`` and a value as ``{a: {b: value}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted key; an empty mapping is a value.

    >>> flat({"pooling": "max", "optim": {"lr": 0.1, "shift": {}}})
    {'pooling': 'max', 'optim.lr': 0.1, 'optim.shift': {}}
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


FIRST_KINDS = {"encoder": "cnn10"}  # what a mapping under this key is without `kind`


def merge(below: Mapping[str, Any], above: Mapping[str, Any], kinds: Mapping[str, str] = FIRST_KINDS) -> dict[str, Any]:
    """Nested mappings merged key by key, as Snakemake merges configuration files; ``above`` wins.

    An encoder that states another kind has other options, and replaces the one below; without ``kinds`` none does.
    """
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        if both and key in kinds and "kind" in value:
            both = value["kind"] == merged[key].get("kind", kinds[key])
        merged[key] = merge(merged[key], value, kinds) if both else value
    return merged
