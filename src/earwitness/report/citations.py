"""What to cite for a result: the references of its system, data sets, features, texts and metrics, as BibTeX.

The registry and the catalogue of metrics name references by their keys in ``references.bib``.
``python -m earwitness.report.citations`` writes docs/citing.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from earwitness import __version__, registry
from earwitness.errors import EarwitnessError
from earwitness.evaluation.result import read_result
from earwitness.features.external_options import provenance_of
from earwitness.files import read_json
from earwitness.metrics import catalogue
from earwitness.metrics.catalogue import Metric

BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
UNKNOWN = "not known here; cite its source, if it is published"


class Part(NamedTuple):
    """A part of a result, and its references: none where there is nothing to cite, None where they are not known."""

    what: str
    references: tuple[str, ...] | None


@cache
def bibliography() -> dict[str, str]:
    """The BibTeX entries of all references, by key."""
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    return {entry[1]: entry[0] for entry in re.finditer(r"^@\w+{(\w+),$.*?^}$", text, re.MULTILINE | re.DOTALL)}


def parts_of(path: Path) -> list[Part]:
    """The parts of an experiment's result, each once.

    Args:
        path: ``results/{dataset}/{experiment}/metrics.json``. The data set's corpus, features and texts are looked up
            beside it; of what is missing the references are not known.

    Raises EarwitnessError for another file, or one of another version.
    """
    return list(dict.fromkeys(_parts(path.resolve())))


def _parts(path: Path) -> Iterator[Part]:
    result, results = read_result(path), path.parents[2]
    system = result["system"]
    if system not in registry.SYSTEMS:
        raise EarwitnessError(f"{path}: the system {system!r} is not registered here.")
    entry = registry.SYSTEMS[system]
    try:
        options = registry.load(entry.options).model_validate(result["provenance"]["options"])
    except ValidationError as error:
        raise EarwitnessError(f"{path} was made by another version of Earwitness: {error}") from error
    yield Part(f"system {system}", entry.references)
    for dataset in dict.fromkeys([result["dataset"], *(use.dataset or result["dataset"] for use in options.uses())]):
        yield _registered(f"data set {dataset}", "layout", registry.LAYOUTS, _corpus(results / dataset))
    for use in options.used("features"):
        folder = (results / use.path(result["dataset"])).parent
        settings = _features(folder)
        yield _registered(f"features {use.entry}", "extractor", registry.EXTRACTORS, settings)
        if settings.get("extractor") == "retriever":
            model = results / settings["dataset"] / settings["experiment"] / f"seed-{settings['seed']}" / "model.json"
            content = read_json(model) if model.is_file() else {}
            yield _registered(f"retriever {settings['experiment']}", "system", registry.SYSTEMS, content)
    for use in options.used("text"):
        folder = (results / use.path(result["dataset"])).parent
        yield _registered(f"text {use.entry}", "kind", registry.TEXTS, _text(folder))
    for use in options.used("experiments"):
        yield from _parts(results / (use.dataset or result["dataset"]) / use.entry / "metrics.json")
    for kind, content in result["kinds"].items():
        found = registry.kind(kind)
        valued = [found.metric(name) for name in content["metrics"] if result["metrics"][name]["value"] is not None]
        yield from _of_metrics(valued)


def _registered(what: str, key: str, entries: Mapping[str, registry.Entry], settings: Mapping[str, Any]) -> Part:
    """The part that an entry of a registry made; not known where there are no settings."""
    name = settings.get(key)
    if not isinstance(name, str) or name not in entries:
        return Part(what, None)
    return Part(f"{what} ({key} {name})", entries[name].references)


def _of_metrics(metrics: list[Metric]) -> Iterator[Part]:
    """One part for all metrics of the same references, by name: BibTeX takes the @ of a label for an entry."""
    named: dict[tuple[str, ...], list[str]] = {}
    for metric in metrics:
        if metric.references:
            named.setdefault(metric.references, []).append(metric.name)
    yield from (Part(", ".join(names), references) for references, names in named.items())


def _corpus(folder: Path) -> dict[str, Any]:
    path = folder / "corpus" / "report.json"
    return read_json(path).get("provenance", {}).get("settings", {}) if path.is_file() else {}


def _features(folder: Path) -> dict[str, Any]:
    path = next(iter(sorted(folder.glob("*.h5"))), None)
    return provenance_of(path).get("settings", {}) if path else {}


def _text(folder: Path) -> dict[str, Any]:
    """The settings in one of a text's files."""
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        if isinstance(content, dict) and "provenance" in content:
            return content["provenance"].get("settings", {})
    return _features(folder)


def cite(path: Path) -> str:
    """What to cite for an experiment's ``metrics.json``, as BibTeX; errors are those of ``parts_of``."""
    return bibtex(parts_of(path), read_result(path)["provenance"].get("code", __version__).partition("+")[0])


def bibtex(parts: list[Part], version: str = __version__) -> str:
    """BibTeX with Earwitness first and each entry once, below a comment with the part that asks for it."""
    blocks, given = [_earwitness(version)], set[str]()
    for part in parts:
        keys = part.references or ()
        said = ", ".join(keys) or ("nothing to cite" if part.references == () else UNKNOWN)
        blocks.append("\n".join([f"% {part.what}: {said}", *(bibliography()[k] for k in keys if k not in given)]))
        given.update(keys)
    return "\n\n".join(blocks)


def _earwitness(version: str) -> str:
    fields = {"author": "{The Earwitness authors}", "title": "Earwitness", "version": version, "year": "2026"}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@software{earwitness,", *lines, "}"])


def page() -> str:
    """The content of docs/citing.md."""
    registries = {
        "Systems": registry.SYSTEMS,
        "Data sets, by layout": registry.LAYOUTS,
        "Features, by extractor": registry.EXTRACTORS,
        "Texts": registry.TEXTS,
    }
    lines = [
        "# Citing",
        "",
        "`earwitness cite results/clotho/cl4ac/metrics.json` prints as BibTeX what that result was made with:",
        "Earwitness, the system, data sets, features, texts, and the metrics that have a value. A layout's reference",
        "is that of the published corpus: leave it out for your own recordings in the same layout.",
        "",
        "A new system, layout, extractor or text names its references in `registry.py`, a metric in",
        "`metrics/catalogue.py`, both by keys of `report/references.bib`. This page is written by",
        "`python -m earwitness.report.citations > docs/citing.md`.",
    ]
    for title, registered in registries.items():
        lines += ["", f"## {title}", "", "| name | reference |", "| --- | --- |"]
        for name, entry in registered.items():
            keys = ", ".join(f"`{key}`" for key in entry.references or ())
            lines.append(f"| `{name}` | {keys or ('none' if entry.references == () else UNKNOWN)} |")
    lines += ["", "## Metrics", "", "| metrics | reference |", "| --- | --- |"]
    for part in _of_metrics(list(catalogue.METRICS.values())):
        lines.append(f"| {part.what} | {', '.join(f'`{key}`' for key in part.references or ())} |")
    entries = "\n\n".join([_earwitness(__version__), *bibliography().values()])
    return "\n".join([*lines, "", "## BibTeX", "", "```bibtex", entries, "```", ""])


if __name__ == "__main__":
    print(page(), end="")
