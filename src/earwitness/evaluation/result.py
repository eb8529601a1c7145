"""The scoring stages: one kind of prediction of one seed, an experiment over its seeds, and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.corpora.report import read_report
from earwitness.errors import EarwitnessError, listed
from earwitness.evaluation.interface import SPLIT, Baseline
from earwitness.evaluation.scores import read_scores, write_scores
from earwitness.files import commit, provenance, read_json, sha256, write_json
from earwitness.leaks import audit as leaks
from earwitness.metrics.bootstrap import summarise
from earwitness.metrics.captions import Tools
from earwitness.systems.interface import PREDICTION

SCHEMA = 2  # of an experiment's metrics.json and of baselines


def score_prediction(
    kind: str, folder: Path, corpus: Path, tools: Tools | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Score one kind of prediction of one seed and write the scores to ``folder / kind``."""
    scored = registry.kind(kind).score(folder, corpus, tools or Tools(), options or {})
    content = {
        "kind": kind,
        "counts": split_counts(corpus) | dict(scored.counts),
        "notes": list(scored.notes),
        **scored.more,
        "provenance": provenance("score", dict(scored.inputs), **scored.settings),
    }
    write_scores(folder / kind, scored.evaluation, scored.columns, content, scored.tables)


def split_counts(corpus: Path) -> dict[str, Any]:
    """Counts of clips in the scored split. Raises MismatchError if another version wrote the report."""
    report = read_report(corpus / "report.json")
    split = report["clips"][SPLIT]
    return {
        "clips_listed": split["listed"],
        "clips_found": split["found"],
        "clips_missing": split["missing"],
        "clips_refused": split["refused"],
        "clips_refused_by_split": {name: counted["refused"] for name, counted in report["clips"].items()},
        "ids_sha256": report["ids_sha256"][SPLIT],
    }


def summarise_experiment(
    dataset: str,
    experiment: str,
    options: dict[str, Any],
    seeds: Sequence[int],
    folders: Sequence[Path],
    kinds: Sequence[str],
    audit: Path,
    trained_on: Sequence[str],
    untrained: Sequence[str],
    remarks: Sequence[str],
    out: Path,
    study: str | None = None,
) -> None:
    """Write an experiment's ``metrics.json``: means over seeds, 95 % intervals over clips, counts, leaks.

    ``metrics`` and ``counts`` merge all kinds of prediction; ``kinds`` lists those of each kind, and as ``chosen`` the
    numbers by seed that prediction chose or chose by.

    Args:
        options: the experiment's options that affect the scores.
        folders: for each seed, the folder with predictions, scores and, if trained, ``model.json``.
        kinds: the kinds of prediction, the leading one first.
        audit: the data set's ``leaks.json``.
        trained_on: the id lists of training data other than the data set's clips.
        untrained: features of extractors with random weights.
        remarks: what else must be said of training data.
        study: the sweep that it is a member of; stands in the result of members alone.
    """
    metrics: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    of_kinds: dict[str, Any] = {}
    for kind in kinds:
        found = summarise([read_scores(folder / kind) for folder in folders])
        per_seed = [read_json(folder / kind / "metrics.json")["counts"] for folder in folders]
        merged = per_seed[0] | {name: sum(seed[name] for seed in per_seed) for name in registry.kind(kind).summed}
        if shared := sorted(found.keys() & metrics.keys()):
            raise EarwitnessError(
                f"{experiment}: two kinds of prediction have metrics of one name: {', '.join(shared)}."
            )
        metrics |= found
        counts = merged | counts
        of_kinds[kind] = {"metrics": list(found), "counts": merged}
        chosen = [read_json(folder / kind / PREDICTION).get("chosen", {}) for folder in folders]
        numbers = [{key: value for key, value in seed.items() if isinstance(value, int | float)} for seed in chosen]
        of_kinds[kind] |= {"chosen": numbers} if any(numbers) else {}
    models = [read_json(folder / "model.json") for folder in folders if (folder / "model.json").is_file()]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "experiment": experiment,
        "system": options["system"],
        **({"study": study} if study else {}),
        "seeds": list(seeds),
        "kinds": of_kinds,
        "metrics": metrics,
        "counts": counts,
        "leaks": leaks.marks(leaks.read_audit(audit), trained_on, SPLIT),
        "untrained": list(untrained),
        "remarks": list(remarks),
        "provenance": provenance("result")
        | {"commit": commit()}
        | _trained(models, folders, kinds[0])
        | {"options": options},
    }
    write_json(out, content)


def _trained(models: Sequence[Mapping[str, Any]], folders: Sequence[Path], kind: str) -> dict[str, Any]:
    """Provenance of the weights; of a system without training, what its predictions were made from."""
    if not models:
        inputs = read_json(folders[0] / kind / PREDICTION)["provenance"]["inputs"]
        return {"weights_sha256": [], "run_keys": [], "checkpoints": {}, "inputs": inputs}
    return {
        "weights_sha256": [sha256(folder / "model.safetensors") for folder in folders],
        "run_keys": [model["run_key"] for model in models],
        "checkpoints": models[0]["checkpoints"],
        "inputs": models[0]["provenance"]["inputs"],
    }


def validation_of(result: Mapping[str, Any], kind: str | None = None) -> dict[str, float]:
    """Means over seeds of metrics on validation clips that predictions recorded (``validation_*``); of all kinds."""
    entries = [entry for name, entry in result.get("kinds", {}).items() if kind in (None, name)]
    found: dict[str, list[float]] = {}
    for seed in (seed for entry in entries for seed in entry.get("chosen", [])):
        for name, value in seed.items():
            if name.startswith("validation_"):
                found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def read_result(path: Path) -> dict[str, Any]:
    """Read an experiment's ``metrics.json``. Raises EarwitnessError for other files and other schemas."""
    result = read_json(path)
    needed = {"dataset", "experiment", "seeds", "metrics", "counts"}
    if not isinstance(result, dict) or not needed <= result.keys():
        raise EarwitnessError(
            f"{path} is not the result of an experiment (results/{{dataset}}/{{experiment}}/metrics.json). If it "
            "should be one, remove it and make it again."
        )
    if result.get("schema") != SCHEMA:
        raise EarwitnessError(
            f"{path} has schema {result.get('schema')}, {SCHEMA} is needed: it was made by another version of "
            f"Earwitness. Remove {path.parent} and make the result again."
        )
    return result


def refuse_old_results(results: Path) -> None:
    """Raise EarwitnessError if a folder of results has scores in the layout of version 0.1, which is not supported."""
    old = sorted({path.parents[1] for path in results.glob("*/*/seed-*/metrics.json")})
    if old:
        raise EarwitnessError(
            listed(
                "These results were made by an earlier version of Earwitness and have another layout:",
                [str(path) for path in old],
                f"Move {results} away, or remove these folders; features and corpora can be kept.",
            )
        )


def kinds_of(result: Mapping[str, Any]) -> list[str]:
    """The kinds of prediction in a result, the leading one first."""
    return list(result["kinds"])


def write_baselines(kind: str, corpus: Path, out: Path) -> None:
    """Write the baselines of a kind of prediction on the evaluation split."""
    found = registry.kind(kind)
    content = {
        "schema": SCHEMA,
        "kind": kind,
        "baselines": [asdict(baseline) for baseline in found.baselines(corpus)],
        "provenance": provenance("baselines", {name: corpus / name for name in (*found.tables, *found.scored_with)}),
    }
    write_json(out, content)


def read_baselines(path: Path) -> list[Baseline]:
    """Read the baselines of a kind; empty if the file does not exist."""
    return [Baseline(**entry) for entry in read_json(path)["baselines"]] if path.is_file() else []
