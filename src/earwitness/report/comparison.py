"""The comparison page of a data set: one self-contained file.

Reads the output of other stages in ``results/{dataset}``: the experiments' ``metrics.json``, scores and
``events.jsonl`` of each seed, baselines, and the corpus' tables and report; and folders of ``earwitness score``. Each
kind of prediction has a section. The same files give the same page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from earwitness import registry
from earwitness.corpora.report import read_report
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.compare import differing_settings, read_run
from earwitness.evaluation.interface import SPLIT, Baseline
from earwitness.evaluation.others import Other, kinds_of_others, read_other
from earwitness.evaluation.result import SCHEMA, kinds_of, read_baselines, read_result
from earwitness.files import sha256, write_text
from earwitness.leaks.audit import describe
from earwitness.metrics.catalogue import Metric
from earwitness.report import plots
from earwitness.report.differences import CLEAR, Differences
from earwitness.report.files import rendered, write_metrics, write_plots
from earwitness.report.interface import Experiment, KindPage
from earwitness.report.notes import Notes
from earwitness.report.settings import settings_of

PUBLISHED = Path(__file__).with_name("published.yaml")
SEED_FILES = ("scores.csv", "metrics.json")  # for each kind of prediction


@dataclass
class Cell:
    """One value of the table; ``note`` is the number of the note with the reason for a missing value."""

    text: str = ""
    interval: str = ""
    difference: str = ""  # to the first row
    p_value: str = ""
    title: str = ""
    best: bool = False
    note: int | None = None


def write_comparison(
    results: Path,
    experiments: Sequence[str],
    root: Path,
    out: Path,
    others: Mapping[str, Path] | None = None,
    studies: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write the page that compares a data set's experiments with each other, with baselines and published figures.

    Beside it are the metrics as a csv with its name, and the plots in the folder ``plots`` (``report.files``).

    Args:
        results: the folder ``results/{dataset}``.
        experiments: names, in the order of the page; the first one is what the others are compared with, and its scores
            select the clips to play.
        root: the folder that the paths in ``corpus/clips.csv`` are relative to.
        others: folders of ``earwitness score`` by name, shown below the experiments as made elsewhere.
        studies: members of sweeps by name, which link to the pages of their studies.

    Raises EarwitnessError if a file is missing, and MismatchError if a result is of another data set or other clips.
    """
    kinds_of_others(others or {})  # names all folders that cannot be read
    report = read_report(_present(results / "corpus", ["report.json", "clips.csv", "captions.csv"])[0])
    found = [_experiment(results, name, report) for name in experiments]
    added = [read_other(name, folder, results / "corpus") for name, folder in (others or {}).items()]
    found += [_elsewhere(other, results / "corpus" / "captions.csv") for other in added]
    found = [replace(experiment, number=number) for number, experiment in enumerate(found)]
    kinds = [kind for kind in registry.KINDS if any(kind in experiment.result["kinds"] for experiment in found)]
    curves = {e.name: [plots.read_curves(seed / "events.jsonl") for seed in e.seeds] for e in found}
    seeds = list(curves.values())
    every = [curve for runs in seeds for curve in runs if curve]  # a system without training has none
    # The total loss of one experiment may have terms that another lacks; the caption loss is comparable.
    loss = "loss_caption" if every and all("loss_caption" in curve for curve in every) else "loss"
    content: dict[str, Any] = {
        "dataset": results.name,
        "split": SPLIT,
        "report": report,
        "experiments": [{"name": e.name, "colour": plots.colour(e.number)} for e in found if not e.elsewhere],
        "settings": settings_of(found),
        "sections": [_section(kind, found, results, root, report, curves) for kind in kinds],
        "loss_plot": plots.curve_plot("loss", "Loss over epochs", {loss: "-", "validation_loss": "--"}, seeds),
        "studies": {member: name for name, members in (studies or {}).items() for member in members},
        "unchecked": _unchecked(found),
        "clear": CLEAR,
    }
    write_text(out, rendered("comparison.html", content))
    baselines = {kind: read_baselines(results / "baselines" / f"{kind}.json") for kind in kinds}
    write_metrics(out.with_suffix(".csv"), found, baselines)
    drawn = {"loss": content["loss_plot"]}
    for section in content["sections"]:
        drawn[f"scores-{section['kind']}"] = section["score_plot"]
        drawn |= {plot["metric"]: plot["plot"] for plot in section["validation_plots"]}
        drawn |= section["examples"].get("plots", {})
    write_plots(out.with_name("plots"), drawn, [experiment.name for experiment in found])


def _section(
    kind: str,
    found: list[Experiment],
    results: Path,
    root: Path,
    report: Mapping[str, Any],
    curves: Mapping[str, list],
) -> dict[str, Any]:
    """The section of one kind of prediction: table of scores, plots, examples."""
    page = registry.load(registry.KINDS[kind].page)(registry.kind(kind))
    members = [experiment for experiment in found if kind in experiment.result["kinds"]]
    baselines = read_baselines(results / "baselines" / f"{kind}.json")
    headline = page.headline(members)
    metrics = dict(sorted(page.columns(members).items(), key=lambda column: column[0] != headline))
    differences = Differences(page.kind, members, baselines)
    notes = Notes()
    published, left_out = _published(results.name, metrics, report)
    entries = [(experiment, experiment.metric(headline)) for experiment in members]
    scores = [(e.number, e.name, entry["value"], entry.get("ci95")) for e, entry in entries]
    lines = {b.label[:1].lower() + b.label[1:]: b.metrics.get(headline, {}).get("value") for b in baselines}
    seeds = [curves[experiment.name] for experiment in found]
    rows = _rows(members, page, metrics, differences, notes)
    return {
        "kind": kind,
        "label": page.kind.label,
        "metrics": metrics,
        "experiments": [row for row in rows if not row["elsewhere"]],
        "others": [row for row in rows if row["elsewhere"]],
        "baselines": [
            {
                "name": b.label,
                "fact": b.fact,
                "cells": [_baseline_cell(b, metric, page, notes) for metric in metrics],
            }
            for b in baselines
        ],
        "published": published,
        "published_left_out": left_out,
        "reasons": _reasons(notes, members, page, metrics),
        "floors": [b.label for b in baselines if b.name in page.kind.floors],
        "headline": page.kind.metric(headline).label,
        "score_plot": plots.score_plot(scores, lines, page.kind.metric(headline).label, f"scores-{kind}"),
        "validation_plots": [
            {"metric": metric, "title": title, "plot": plot}
            for metric, title in page.kind.curves.items()
            if (plot := plots.curve_plot(metric, title, {metric: "-"}, seeds))
        ],
        "template": page.template,
        "examples": page.examples(members, results / "corpus", root),
    }


def _present(folder: Path, names: Sequence[str | os.PathLike]) -> list[Path]:
    paths = [folder / name for name in names]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise EarwitnessError(listed("The page needs files that do not exist:", missing, "Make the page again."))
    return paths


def _experiment(results: Path, name: str, report: Mapping[str, Any]) -> Experiment:
    """Read an experiment; raises MismatchError for a result of another data set or other clips."""
    (path,) = _present(results / name, ["metrics.json"])
    result = read_result(path)
    expected = {"schema": SCHEMA, "dataset": results.name, "experiment": name}
    differences = [
        f"{key}: the file has {result.get(key)!r}, {value!r} is needed"
        for key, value in expected.items()
        if result.get(key) != value
    ]
    if result["counts"]["ids_sha256"] != report["ids_sha256"][SPLIT]:
        differences.append(f"its {SPLIT} clips differ from those in {results / 'corpus' / 'clips.csv'}")
    if differences:
        raise MismatchError(f"{path} does not belong on this page: {'; '.join(differences)}. Remove it and run again.")
    experiment = Experiment(name, path.parent, result)
    for seed in experiment.seeds:
        for kind in kinds_of(result):
            _present(seed / kind, SEED_FILES)
    return replace(experiment, scores=read_run(path).kinds)


def _elsewhere(other: Other, references: Path) -> Experiment:
    """Scores made elsewhere as a row of the page."""
    result = {
        "seeds": [],
        "metrics": other.content["metrics"],
        "kinds": {other.kind: {"metrics": list(other.content["metrics"]), "counts": other.content.get("counts", {})}},
        "provenance": {"references_differ": other.scores.seeds[0].references != sha256(references)},
    }
    return Experiment(other.name, other.folder, result, {other.kind: other.scores}, elsewhere=True)


def _reasons(notes: Notes, found: list[Experiment], page: KindPage, metrics: Mapping[str, str]) -> list[Markup]:
    """The notes, after adding why metrics without a column could not be computed."""
    for experiment in found:
        for name in experiment.result["kinds"][page.kind.name]["metrics"]:
            entry = experiment.metric(name)
            if entry["value"] is None and name not in metrics:
                notes.number(entry["reason"], page.kind.metric(name.split(".")[0]).label)
    return notes.lines(page.kind.name)


def _rows(
    found: list[Experiment],
    page: KindPage,
    metrics: Mapping[str, str],
    differences: Differences,
    notes: Notes,
) -> list[dict[str, Any]]:
    best = {metric: differences.clear_best(page.kind.metric(metric)) for metric in metrics}
    rows = []
    for row, experiment in enumerate(found):
        cells = []
        for name in metrics:
            cell = _cell(experiment, page.kind.metric(name), notes)
            cell.best = best[name] == row
            cell.difference, cell.p_value = _difference(differences.to_first(name, row), page.kind.metric(name))
            cells.append(cell)
        facts = _facts_elsewhere(experiment, found[0], page) if experiment.elsewhere else _facts(experiment)
        rows.append(
            {
                "name": experiment.name,
                "elsewhere": experiment.elsewhere,
                "colour": plots.colour(experiment.number),
                "facts": [*facts, *page.facts(experiment)],
                "leaks": describe(experiment.result.get("leaks", []), SPLIT)[0],
                "untrained": experiment.result.get("untrained", []),
                "remarks": experiment.result.get("remarks", []),
                "seeds": len(experiment.seeds),
                "cells": cells,
            }
        )
    return rows


def _cell(experiment: Experiment, metric: Metric, notes: Notes) -> Cell:
    entry = experiment.metric(metric.name)
    if entry["value"] is None:
        return Cell("—", title=entry["reason"], note=notes.number(entry["reason"], metric.label))
    interval = entry.get("ci95")
    per_seed = zip(experiment.result["seeds"], entry.get("per_seed", ()), strict=False)
    return Cell(
        text=_number(entry["value"], metric),
        interval=f"{_number(interval[0], metric)}–{_number(interval[1], metric)}" if interval else "",
        title=", ".join(f"seed {seed}: {_number(value, metric)}" for seed, value in per_seed),
    )


def _difference(found: Mapping[str, Any] | None, metric: Metric) -> tuple[str, str]:
    """A difference and its p-value; "" where it was not tested."""
    if found is None or found["p_value"] is None:
        return "", ""
    difference = f"{found['difference']:+.{metric.digits}f}".replace("-", "\N{MINUS SIGN}")
    return difference, f"p = {found['p_value']:.3f}" if found["p_value"] >= 0.001 else "p < 0.001"


def _number(value: float, metric: Metric) -> str:
    return f"{value:.{metric.digits}f}"


def _facts(experiment: Experiment) -> list[str]:
    """Notes below an experiment's name: initial weights, what it learnt from, its CLAP and number of seeds."""
    provenance = experiment.result["provenance"]
    options = provenance["options"]
    clap = f"by the CLAP {options['clap']}" if "clap" in options else ""
    if not provenance["weights_sha256"]:
        return [f"{clap}, without further training" if clap else "without training"]
    started = [
        f"{key.partition('.')[0]} from {Path(_option(options, key)).name or 'checkpoint'} ({digest[:8]})"
        for key, digest in provenance["checkpoints"].items()
    ]
    system = registry.SYSTEMS.get(options.get("system", ""))
    learnt = registry.load(system.options).LEARNS_FROM if system else ""
    facts = started or [f"trained on {learnt}" if learnt else "trained from scratch"]
    facts[-1] += f", {clap}" if clap else ""
    if (seeds := len(experiment.result["seeds"])) > 1:
        facts.append(f"mean of {seeds} seeds")
    return facts


def _facts_elsewhere(experiment: Experiment, first: Experiment, page: KindPage) -> list[str]:
    """Notes below the name of scores made elsewhere: how they were scored otherwise than the first row."""
    facts = ["made elsewhere"]
    if experiment.result["provenance"]["references_differ"]:
        facts.append("references from another file")
    if experiment is not first:
        differing = differing_settings(first.scores[page.kind.name], experiment.scores[page.kind.name])
        facts += [
            f"other {name}" if isinstance(theirs, Mapping) else f"{name}: {theirs}, not {ours}"
            for name, (ours, theirs) in differing.items()
        ]
    return facts


def _option(options: Mapping[str, Any], key: str) -> str:
    """The value of a dotted key; "" if there is none."""
    value: Any = options
    for part in key.split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return str(value)


def _baseline_cell(baseline: Baseline, metric: str, page: KindPage, notes: Notes) -> Cell:
    entry = baseline.metrics.get(metric)
    if entry is None:
        return Cell()
    if entry["value"] is None:
        return Cell("—", title=entry["reason"], note=notes.number(entry["reason"], page.kind.metric(metric).label))
    return Cell(_number(entry["value"], page.kind.metric(metric)))


def _unchecked(found: list[Experiment]) -> list[str]:
    """Leak checks that were not possible, one line each with the experiments concerned."""
    lines: dict[str, list[str]] = {}
    for experiment in found:
        for line in describe(experiment.result.get("leaks", []), SPLIT)[1]:
            lines.setdefault(line, []).append(experiment.name)
    return [f"{', '.join(names)}: {line}" for line, names in lines.items()]


def _published(
    dataset: str, metrics: Mapping[str, str], report: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The published rows for this data set, and why others are left out."""
    kept = {split: counts["found"] - counts["refused"] for split, counts in report["clips"].items()}
    rows, left_out = [], []
    for row in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))["rows"]:
        if row["dataset"] != dataset or not set(row["metrics"]) & set(metrics):
            continue
        if others := [split for split, clips in row["clips"].items() if kept.get(split, 0) != clips]:
            theirs = " and ".join(f"{row['clips'][split]} {split} clips, here {kept.get(split, 0)}" for split in others)
            left_out.append(f"{row['system']} is left out: its figures are for {theirs}.")
            continue
        values = [row["metrics"].get(metric) for metric in metrics]
        cells = [Cell("—", title="not published") if v is None else Cell(f"{v:.3f}") for v in values]
        rows.append({"name": row["system"], "source": row["source"], "url": row.get("url"), "cells": cells})
    return rows, left_out
