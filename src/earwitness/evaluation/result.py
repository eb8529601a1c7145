"""Scores as stages: of one kind of prediction of one seed, of an experiment over its seeds, and of baselines."""

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
from earwitness.files import provenance, read_json, sha256, write_json
from earwitness.leaks import audit as leaks
from earwitness.metrics.bootstrap import summarise
from earwitness.metrics.captions import Tools

SCHEMA = 2  # of an experiment's metrics.json


def score_prediction(kind: str, folder: Path, corpus: Path, tools: Tools | None = None) -> None:
    """Score one kind of prediction of a seed's folder; the scores go to the kind's folder in it."""
    scored = registry.kind(kind).score(folder, corpus, tools or Tools())
    content = {
        "kind": kind,
        "counts": split_counts(corpus) | dict(scored.counts),
        "notes": list(scored.notes),
        **scored.more,
        "provenance": provenance("score", dict(scored.inputs), **scored.settings),
    }
    write_scores(folder / kind, scored.evaluation, scored.columns, content)


def split_counts(corpus: Path) -> dict[str, Any]:
    """What the scored split holds; MismatchError where another version made the report."""
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
    out: Path,
) -> None:
    """Write an experiment's ``metrics.json``: means over seeds, 95 % intervals over clips, counts, leaks.

    The kinds of prediction are merged: ``metrics`` and ``counts`` hold those of all, ``kinds`` says which are whose.

    Args:
        options: the experiment's options as far as its scores depend on them.
        folders: for each seed, the folder with its predictions, their scores and its ``model.json`` if it was trained.
        kinds: the kinds of prediction, the leading one first.
        audit: the data set's ``leaks.json``.
        trained_on: the id lists of what it was trained on beside the data set's own clips.
        untrained: features that are made with weights which nobody trained.
    """
    metrics: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    of_kinds: dict[str, Any] = {}
    for kind in kinds:
        found = summarise([read_scores(folder / kind) for folder in folders])
        per_seed = [read_json(folder / kind / "metrics.json")["counts"] for folder in folders]
        merged = per_seed[0] | {
            name: sum(seed[name] for seed in per_seed) for name in per_seed[0] if name == "captions_empty"
        }
        metrics = found | metrics
        counts = merged | counts
        of_kinds[kind] = {"metrics": list(found), "counts": merged}
    models = [read_json(folder / "model.json") for folder in folders if (folder / "model.json").is_file()]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "experiment": experiment,
        "system": options["system"],
        "seeds": list(seeds),
        "kinds": of_kinds,
        "metrics": {name: metrics[name] for kind in kinds for name in of_kinds[kind]["metrics"]},
        "counts": counts,
        "leaks": leaks.marks(leaks.read_audit(audit), trained_on, SPLIT),
        "untrained": list(untrained),
        "provenance": provenance("result") | _trained(models, folders) | {"options": options},
    }
    write_json(out, content)


def _trained(models: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> dict[str, Any]:
    """Where the weights came from; of a system without training there are none."""
    if not models:
        return {"weights_sha256": [], "run_keys": [], "checkpoints": {}, "inputs": {}}
    return {
        "weights_sha256": [sha256(folder / "model.safetensors") for folder in folders],
        "run_keys": [model["run_key"] for model in models],
        "checkpoints": models[0]["checkpoints"],
        "inputs": models[0]["provenance"]["inputs"],
    }


def read_result(path: Path) -> dict[str, Any]:
    """An experiment's ``metrics.json``; EarwitnessError for any other file, and for one of an earlier version."""
    result = read_json(path)
    needed = {"dataset", "experiment", "seeds", "metrics", "counts"}
    if not isinstance(result, dict) or not needed <= result.keys():
        raise EarwitnessError(
            f"{path} is not an experiment's result; those are called results/{{dataset}}/{{experiment}}/metrics.json. "
            "If it should be one, remove it and ask for it again."
        )
    if result.get("schema") != SCHEMA:
        raise EarwitnessError(
            f"{path} is of schema {result.get('schema')}, and {SCHEMA} is needed: another version of Earwitness made "
            f"it. Remove {path.parent} and ask for the result again."
        )
    return result


def refuse_old_results(results: Path) -> None:
    """EarwitnessError where a folder of results holds scores in the form of version 0.1, which is not read any more."""
    old = sorted({path.parents[1] for path in results.glob("*/*/seed-*/metrics.json")})
    if old:
        raise EarwitnessError(
            listed(
                "These results were made by an earlier version of Earwitness, which laid them out otherwise:",
                [str(path) for path in old],
                f"Move {results} away, or remove these folders; features and corpora beside them are taken over.",
            )
        )


def kinds_of(result: Mapping[str, Any]) -> list[str]:
    """The kinds of prediction that a result has scores of, the leading one first."""
    return list(result["kinds"])


def write_baselines(kind: str, corpus: Path, out: Path) -> None:
    """Write what systems of a kind are compared with, on the evaluation split."""
    found = registry.kind(kind)
    content = {
        "schema": SCHEMA,
        "kind": kind,
        "baselines": [asdict(baseline) for baseline in found.baselines(corpus)],
        "provenance": provenance("baselines", {name: corpus / name for name in found.tables}),
    }
    write_json(out, content)


def read_baselines(path: Path) -> list[Baseline]:
    """The baselines of a kind; none where they were not computed yet."""
    return [Baseline(**entry) for entry in read_json(path)["baselines"]] if path.is_file() else []
