"""Scores as stages: of one seed, and of an experiment over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.corpora.report import read_report
from earwitness.corpora.tables import captions_by_clip, clips_of, read_table
from earwitness.errors import EarwitnessError
from earwitness.evaluation.scores import CAPTION, read_scores, write_scores
from earwitness.files import SCHEMA, provenance, read_json, sha256, write_json
from earwitness.leaks import audit as leaks
from earwitness.metrics.baselines import best_constant, constant_score, human_bound
from earwitness.metrics.bootstrap import summarise
from earwitness.metrics.captions import Tools, evaluate, tokenize

SPLIT = "evaluation"


def score_captions(captions: Path, corpus: Path, folder: Path, tools: Tools | None = None) -> None:
    """Score one seed's captions against the references of the evaluation split.

    Args:
        captions: ``captions.csv`` of the seed.
        corpus: the folder of the corpus' tables.
        folder: where the files of the scores go.
        tools: the jars and models that some metrics need; None looks for them where they are by default.
    """
    tools = tools or Tools()
    predicted = read_table(captions, ["clip_id", "caption"])
    clips = clips_of(corpus / "clips.csv", SPLIT, "scoring")
    references = captions_by_clip(corpus / "captions.csv", list(clips["clip_id"]))
    candidates = dict(zip(predicted["clip_id"], predicted["caption"], strict=True))
    scored = evaluate(candidates, references, tools)
    content = {
        "counts": counts(corpus, len(scored.ids), sum(not text for text in scored.candidate_tokens)),
        "provenance": provenance(
            "score", {"captions": captions, "references": corpus / "captions.csv"}, tools=tools.digests()
        ),
    }
    write_scores(folder, scored, {CAPTION: [candidates[clip_id] for clip_id in scored.ids]}, content)


def counts(corpus: Path, scored: int, empty: int) -> dict[str, Any]:
    """What the scored split held and what of it was scored; MismatchError where another version made the report."""
    report = read_report(corpus / "report.json")
    split = report["clips"][SPLIT]
    return {
        "clips_listed": split["listed"],
        "clips_found": split["found"],
        "clips_missing": split["missing"],
        "clips_refused": split["refused"],
        "clips_scored": scored,
        "clips_refused_by_split": {name: counted["refused"] for name, counted in report["clips"].items()},
        "captions_empty": empty,
        "ids_sha256": report["ids_sha256"][SPLIT],
    }


def summarise_experiment(
    dataset: str,
    experiment: str,
    options: dict[str, Any],
    seeds: Sequence[int],
    folders: Sequence[Path],
    audit: Path,
    trained_on: Sequence[str],
    untrained: Sequence[str],
    out: Path,
) -> None:
    """Write an experiment's ``metrics.json``: means over seeds, 95 % intervals over clips, counts, leaks.

    Args:
        options: the experiment's resolved options, without its seeds and ``trained_on``.
        folders: for each seed, the folder with the files of its scores and its ``model.json``.
        audit: the data set's ``leaks.json``.
        trained_on: the id lists of what it was trained on beside the data set's own clips.
        untrained: features that are made with weights which nobody trained.
    """
    per_seed = [read_scores(folder) for folder in folders]
    per_seed_counts = [read_json(folder / "metrics.json")["counts"] for folder in folders]
    models = [read_json(folder / "model.json") for folder in folders]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "experiment": experiment,
        "system": options["system"],
        "seeds": list(seeds),
        "metrics": summarise(per_seed),
        "counts": per_seed_counts[0] | {"captions_empty": sum(counts["captions_empty"] for counts in per_seed_counts)},
        "leaks": leaks.marks(leaks.read_audit(audit), trained_on, SPLIT),
        "untrained": list(untrained),
        "provenance": {
            **provenance("result"),
            "weights_sha256": [sha256(folder / "model.safetensors") for folder in folders],
            "run_keys": [model["run_key"] for model in models],
            "checkpoints": models[0]["checkpoints"],
            "encoder_weights": models[0]["checkpoints"].get("encoder.weights", "none"),
            "inputs": models[0]["provenance"]["inputs"],
            "options": options,
        },
    }
    write_json(out, content)


def read_result(path: Path) -> dict[str, Any]:
    """An experiment's ``metrics.json``; EarwitnessError for any other file, such as a seed's."""
    result = read_json(path)
    if not isinstance(result, dict) or not {"dataset", "experiment", "seeds", "metrics", "counts"} <= result.keys():
        raise EarwitnessError(
            f"{path} is not an experiment's result; those are called results/{{dataset}}/{{experiment}}/metrics.json. "
            "If it should be one, remove it and ask for it again."
        )
    return result


def trivial_baselines(corpus: Path, out: Path) -> None:
    """Write what any captioner must beat, and a human-like bound, in CIDEr-D on the evaluation split.

    The constant caption is the training caption with the highest CIDEr-D on validation, given to every clip. The bound
    scores each clip's first reference against its other ones.
    """
    captions = {}
    for split in ("development", "validation", SPLIT):
        clips = clips_of(corpus / "clips.csv", split, "the constant caption")
        captions[split] = captions_by_clip(corpus / "captions.csv", list(clips["clip_id"]))
    training = [text for texts in captions["development"].values() for text in texts]
    training, validation = tokenize(training, list(captions["validation"].values()))
    _, references = tokenize([], list(captions[SPLIT].values()))
    caption = best_constant(training, validation)
    several = [texts for texts in references if len(texts) > 1]
    if len(several) > 1:
        bound = {"clips": len(several), "cider_d": human_bound(several)}
    else:
        bound = {"clips": len(several), "cider_d": None, "reason": "fewer than two clips have several references"}
    content = {
        "schema": SCHEMA,
        "constant_caption": {"caption": caption, "cider_d": constant_score(caption, references)},
        "one_reference_against_the_others": bound,
        "provenance": provenance("trivial", {"captions": corpus / "captions.csv"}),
    }
    write_json(out, content)
