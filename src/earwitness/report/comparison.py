"""The comparison page of a data set: one file that opens without network.

Reads what the other stages left under ``results/{dataset}``: the experiments' ``metrics.json``, of each seed
``scores.csv`` and ``events.jsonl``, and the corpus' tables, report and trivial baselines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from earwitness.corpora.report import read_report
from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.result import SPLIT, read_result
from earwitness.files import SCHEMA, read_json, write_text
from earwitness.leaks.audit import told
from earwitness.report import clips, plots
from earwitness.report.terminal import grouped

PUBLISHED = Path(__file__).with_name("published.yaml")
METRICS = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider_d": "CIDEr-D",
    "spice": "SPICE",
    "spider": "SPIDEr",
}
# Of metrics that stand on a model, by the part of their name before the model's, in the order of their columns.
OF_MODELS = {"sbert_sim": "SBERT-sim", "fer": "FER", "spider_fl": "SPIDEr-FL", "fense": "FENSE"}
VOCABULARY = {"vocab_candidates": "Vocabulary"}
LOWER_IS_BETTER = ("fer",)
CLIPS_SHOWN = 20
OF_A_SEED = ("scores.csv", "events.jsonl")


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

    @cached_property
    def first_seed(self) -> dict[str, tuple[str, float | None]]:
        """By clip: what the first seed's model said, and its CIDEr-D."""
        kinds = {"clip_id": str, "caption": str}
        table = pd.read_csv(self.seeds[0] / "scores.csv", dtype=kinds, keep_default_na=False, encoding="utf-8")
        scores = table["cider_d"].astype(float) if "cider_d" in table else [None] * len(table)
        return {row[0]: row[1:] for row in zip(table["clip_id"], table["caption"], scores, strict=True)}


@dataclass
class Cell:
    """One value of the table; ``note`` is the number of the footnote that says why there is none."""

    text: str = ""
    interval: str = ""
    title: str = ""
    best: bool = False
    note: int | None = None


@dataclass
class Footnotes:
    """Reasons, each told once."""

    reasons: list[str] = field(default_factory=list)

    def number(self, reason: str) -> int:
        """The number of a reason, counted from 1."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


def write_comparison(results: Path, experiments: Sequence[str], root: Path, out: Path) -> None:
    """Write the page that sets a data set's experiments beside each other, beside trivial and published figures.

    Args:
        results: the data set's folder of results, which bears its name.
        experiments: names, in the order of the page; the first one chooses the clips to hear.
        root: what the paths in ``corpus/clips.csv`` start from.

    Raises EarwitnessError when a file is missing, and MismatchError when a result is of another data set or of other
    clips than the corpus lists.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    report = read_report(_present(results / "corpus", ["report.json", "clips.csv", "captions.csv", "trivial.json"])[0])
    found = [_experiment(results, name, report) for name in experiments]
    trivial = read_json(results / "corpus" / "trivial.json")
    metrics = _columns(found)
    content = {
        "dataset": results.name,
        "split": SPLIT,
        "report": report,
        "metrics": metrics,
        **_tables(found, metrics, trivial, results.name, report),
        **_plots(found, trivial),
        "clips": _clips(found, results / "corpus", root),
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(out, environment.get_template("comparison.html").render(content))


def _present(folder: Path, names: Sequence[str | os.PathLike]) -> list[Path]:
    paths = [folder / name for name in names]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise EarwitnessError(listed("The page needs results that are not there:", missing, "Ask for the page again."))
    return paths


def _experiment(results: Path, name: str, report: Mapping[str, Any]) -> Experiment:
    """Read an experiment; refuse a result of another data set, or of other clips than the corpus has now."""
    (path,) = _present(results / name, ["metrics.json"])
    result = read_result(path)
    expected = {"schema": SCHEMA, "dataset": results.name, "experiment": name}
    differences = [
        f"{key}: the file has {result.get(key)!r}, {value!r} is needed"
        for key, value in expected.items()
        if result.get(key) != value
    ]
    if result["counts"]["ids_sha256"] != report["ids_sha256"][SPLIT]:
        differences.append(f"it scored other {SPLIT} clips than {results / 'corpus' / 'clips.csv'} lists")
    if differences:
        raise MismatchError(f"{path} does not belong on this page: {'; '.join(differences)}. Remove it and run again.")
    experiment = Experiment(name, path.parent, result)
    for seed in experiment.seeds:
        _present(seed, OF_A_SEED)
    return experiment


def _columns(found: list[Experiment]) -> dict[str, str]:
    """The metrics of the page and their headings: all of ``METRICS``, and what else an experiment has a value of.

    Values of two models are two metrics, each with a column of its own.
    """
    entries = (entry for experiment in found for entry in experiment.result["metrics"].items())
    present = dict.fromkeys(name for name, entry in entries if entry["value"] is not None)
    columns = dict(METRICS)
    for kind, label in OF_MODELS.items():
        named = [name for name in present if name.split(".")[0] == kind]
        columns |= {name: f"{label} ({', '.join(name.split('.')[1:])})" for name in named}
    return columns | {name: label for name, label in VOCABULARY.items() if name in present}


def _tables(
    found: list[Experiment],
    metrics: Mapping[str, str],
    trivial: Mapping[str, Any],
    dataset: str,
    report: Mapping[str, Any],
) -> dict:
    footnotes = Footnotes()
    published, left_out = _published(dataset, metrics, report)
    return {
        "experiments": _rows(found, metrics, footnotes),
        "trivial": _trivial_rows(trivial, metrics, footnotes),
        "published": published,
        "published_left_out": left_out,
        "reasons": footnotes.reasons,
        "absent": _absent(found, metrics),
        "unchecked": _unchecked(found),
    }


def _absent(found: list[Experiment], metrics: Mapping[str, str]) -> list[str]:
    """Why metrics that have no column could not be computed, those with one reason in one line."""
    entries = [entry for experiment in found for entry in experiment.result["metrics"].items()]
    lacking = [(name, entry["reason"]) for name, entry in entries if entry["value"] is None and name not in metrics]
    labels = OF_MODELS | VOCABULARY
    return grouped((labels.get(name.split(".")[0], name), reason) for name, reason in lacking)


def _rows(found: list[Experiment], metrics: Mapping[str, str], footnotes: Footnotes) -> list[dict[str, Any]]:
    best = {metric: _best(found, metric) for metric in metrics}
    return [
        {
            "name": experiment.name,
            "colour": plots.colour(number),
            "facts": _facts(experiment),
            "leaks": told(experiment.result.get("leaks", []), SPLIT)[0],
            "untrained": experiment.result.get("untrained", []),
            "seeds": len(experiment.seeds),
            "cells": [_cell(experiment, metric, best[metric], footnotes) for metric in metrics],
        }
        for number, experiment in enumerate(found)
    ]


def _best(found: list[Experiment], metric: str) -> float | None:
    """The best value of several; None where there is no more than one, or none is better than another."""
    values = [value for experiment in found if (value := _entry(experiment, metric)["value"]) is not None]
    if len(values) < 2 or metric in VOCABULARY:
        return None
    return min(values) if metric.split(".")[0] in LOWER_IS_BETTER else max(values)


def _entry(experiment: Experiment, metric: str) -> dict[str, Any]:
    absent = {"value": None, "reason": "The experiment was not scored with this metric."}
    return experiment.result["metrics"].get(metric, absent)


def _cell(experiment: Experiment, metric: str, best: float | None, footnotes: Footnotes) -> Cell:
    entry = _entry(experiment, metric)
    if entry["value"] is None:
        return Cell("—", title=entry["reason"], note=footnotes.number(entry["reason"]))
    interval = entry.get("ci95")
    per_seed = zip(experiment.result["seeds"], entry["per_seed"], strict=True)
    return Cell(
        text=_number(entry["value"]) if metric not in VOCABULARY else f"{entry['value']:.0f}",
        interval=f"{_number(interval[0])}–{_number(interval[1])}" if interval else "",
        title=", ".join(f"seed {seed}: {_number(value)}" for seed, value in per_seed),
        best=entry["value"] == best,
    )


def _number(value: float) -> str:
    return f"{value:.3f}"


def _facts(experiment: Experiment) -> list[str]:
    """What else a reader must know of an experiment: where its encoder started, how often it ran, what went wrong."""
    facts = [_encoder(experiment.result["provenance"])]
    if (seeds := len(experiment.result["seeds"])) > 1:
        facts.append(f"mean of {seeds} seeds")
    if empty := experiment.result["counts"].get("captions_empty"):
        facts.append(f"empty captions: {empty}")
    return facts


def _unchecked(found: list[Experiment]) -> list[str]:
    """What of the experiments could not be checked for leaks, each line with the experiments that it concerns."""
    lines: dict[str, list[str]] = {}
    for experiment in found:
        for line in told(experiment.result.get("leaks", []), SPLIT)[1]:
            lines.setdefault(line, []).append(experiment.name)
    return [f"{', '.join(names)}: {line}" for line, names in lines.items()]


def _encoder(provenance: Mapping[str, Any]) -> str:
    digest = provenance.get("encoder_weights", "none")
    if digest == "none":
        return "encoder from scratch"
    path = provenance.get("options", {}).get("encoder", {}).get("weights", "")
    return f"encoder from {Path(path).name or 'checkpoint'} ({digest[:8]})"


def _trivial_rows(trivial: Mapping[str, Any], metrics: Mapping[str, str], footnotes: Footnotes) -> list[dict[str, Any]]:
    constant, bound = trivial["constant_caption"], trivial["one_reference_against_the_others"]
    rows = [
        ("Best constant caption", f"“{constant['caption']}” for every clip", constant["cider_d"]),
        ("One reference against the others", f"{bound['clips']} clips; about what people score", bound["cider_d"]),
    ]
    reason = "Too few clips have more than one reference."
    nothing = Cell("—", title=reason, note=footnotes.number(reason)) if bound["cider_d"] is None else Cell()
    return [
        {
            "name": name,
            "fact": fact,
            "cells": [_plain_cell(score, nothing) if metric == "cider_d" else Cell() for metric in metrics],
        }
        for name, fact, score in rows
    ]


def _plain_cell(value: float | None, nothing: Cell) -> Cell:
    return nothing if value is None else Cell(_number(value))


def _published(
    dataset: str, metrics: Mapping[str, str], report: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The published rows for this data set, and why others for it are left out."""
    kept = {split: counts["found"] - counts["refused"] for split, counts in report["clips"].items()}
    rows, left_out = [], []
    for row in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))["rows"]:
        if row["dataset"] != dataset or not row["metrics"]:
            continue
        if others := [split for split, clips in row["clips"].items() if kept.get(split, 0) != clips]:
            theirs = " and ".join(f"{row['clips'][split]} {split} clips, here {kept.get(split, 0)}" for split in others)
            left_out.append(f"{row['system']} is left out: its figures are of {theirs}.")
            continue
        values = [row["metrics"].get(metric) for metric in metrics]
        cells = [_plain_cell(value, Cell("—", title="not published")) for value in values]
        rows.append({"name": row["system"], "source": row["source"], "url": row.get("url"), "cells": cells})
    return rows, left_out


def _plots(found: list[Experiment], trivial: Mapping[str, Any]) -> dict[str, str | None]:
    seeds = [[plots.read_curves(folder / "events.jsonl") for folder in experiment.seeds] for experiment in found]
    every = [curves for runs in seeds for curves in runs]
    # The whole loss of one experiment may hold terms that another lacks; that of the captions compares.
    training = "loss_caption" if every and all("loss_caption" in curves for curves in every) else "loss"
    losses = {training: "-", "validation_loss": "--"}
    entries = {experiment.name: _entry(experiment, "cider_d") for experiment in found}
    scores = [(name, entry["value"], entry.get("ci95")) for name, entry in entries.items()]
    lines = {
        "best constant caption": trivial["constant_caption"]["cider_d"],
        "one reference against the others": trivial["one_reference_against_the_others"]["cider_d"],
    }
    return {
        "score_plot": plots.score_plot(scores, lines),
        "loss_plot": plots.curve_plot("loss", "Loss over epochs", losses, seeds),
        "validation_plot": plots.curve_plot("validation", "CIDEr-D on validation", {"validation_cider_d": "-"}, seeds),
    }


def _clips(found: list[Experiment], corpus: Path, root: Path) -> list[dict[str, Any]]:
    """The clips to hear, from the best to the worst of the first experiment."""
    if not found:
        return []
    scores = {clip_id: score or 0.0 for clip_id, (_, score) in found[0].first_seed.items()}
    chosen = clips.spread(scores, CLIPS_SHOWN)
    table = clips_of(corpus / "clips.csv", SPLIT, "the comparison page")
    paths = dict(zip(table["clip_id"], table["path"], strict=True))
    references = captions_by_clip(corpus / "captions.csv", chosen)
    return [
        {
            "id": clip_id,
            "sound": clips.excerpt(root / paths[clip_id]),
            "references": references[clip_id],
            "captions": [_caption(number, experiment, clip_id) for number, experiment in enumerate(found)],
        }
        for clip_id in chosen
    ]


def _caption(number: int, experiment: Experiment, clip_id: str) -> dict[str, Any]:
    text, score = experiment.first_seed.get(clip_id, ("", None))
    return {
        "experiment": experiment.name,
        "colour": plots.colour(number),
        "text": text,
        "score": "—" if score is None else f"{score:.2f}",
    }
