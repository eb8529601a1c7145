"""``earwitness score captions``: generated captions against references, from anybody's files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from earwitness.corpora.csv_reader import shown
from earwitness.metrics import captions as metrics
from earwitness.metrics import fluency, sentences
from earwitness.scoring import ids
from earwitness.scoring.output import Scored
from earwitness.scoring.tables import refuse
from earwitness.scoring.texts import Texts, read_candidates, read_references

SUBSET = "References of clips that are not to be scored are left out, and counted, by --subset."
# Of this command, by the keys of a configuration that the reasons of the metrics name.
OPTIONS = {
    "spice.jars": "--spice-jars",
    "spice.cache": "--spice-cache",
    "spice.minutes": "--spice-minutes",
    sentences.KEY: "--sentence-model",
    fluency.KEY: "--fluency-model",
}


def score(options: argparse.Namespace) -> Scored:
    """Read, match and score; EarwitnessError with all offenders for what cannot be."""
    candidates = read_candidates(options.candidates, options.clip_column, options.caption_column)
    references = read_references(options.references, options.reference_clip_column, options.reference_caption_column)
    refuse([*candidates.problems, *references.problems])
    texts, wanted, counts = paired(candidates, references, options.match, options.subset)
    tools = metrics.Tools(
        spice=options.spice_jars,
        spice_cache=options.spice_cache,
        spice_minutes=options.spice_minutes,
        similarity=options.sentence_model,
        fluency=options.fluency_model,
    )
    evaluation = metrics.evaluate(texts, wanted, tools)
    empty = sum(not tokens for tokens in evaluation.candidate_tokens)
    counts = {
        "clips": len(evaluation.ids),
        "references": sum(map(len, wanted.values())),
        "captions_empty": empty,
        **counts,
    }
    return Scored(
        evaluation,
        "score captions",
        {"candidates": options.candidates, "references": options.references},
        {"match": options.match, "subset": options.subset}
        | {"candidate_columns": candidates.columns, "reference_columns": references.columns, "tools": tools.digests()},
        counts,
        list(_notes(evaluation, empty)),
        {"caption": [texts[clip] for clip in evaluation.ids]},
    )


def _notes(evaluation: metrics.Evaluation, empty: int) -> Iterator[str]:
    """What has to be known of captions without a word, and of reasons that name keys of a configuration."""
    if empty:
        yield f"{empty} of {len(evaluation.ids)} captions have no word; they score 0 in the metrics of words"
    reasons = [entry["reason"] for entry in evaluation.metrics.values() if entry["value"] is None]
    named = [f"{own} for {key}" for key, own in OPTIONS.items() if any(key in reason for reason in reasons)]
    if named:
        yield f"Keys of the configuration that reasons name are options of this command: {', '.join(named)}"


def paired(
    candidates: Texts, references: Texts, how: str, subset: bool
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, int]]:
    """Candidates and references by the clip's id in the references, in their order; and counts of what was done to it.

    Raises EarwitnessError for clips that only one of the two has, and says which ids probably are of one clip.
    """
    theirs = references.by_clip()
    matched = ids.match([caption.clip for caption in candidates.captions], theirs, how)
    found = set(matched.found.values())
    left = [clip for clip in theirs if clip not in found]
    lost = set(matched.lost)
    where, other = candidates.path.name, references.path.name
    offenders = [
        f"{where}, row {caption.row}: clip {shown(caption.clip)} has no references in {other}"
        + ids.told(caption.clip, matched)
        for caption in candidates.captions
        if caption.clip in lost
    ]
    if not subset:
        meant = {there: one for one, there in matched.alike.items()}
        offenders += [
            f"{other}, row {theirs[clip][0].row}: clip {shown(clip)} has no candidate in {where}"
            + (f" ({shown(meant[clip])}, perhaps)" if clip in meant else "")
            for clip in left
        ]
    advice = [ids.ADVICE] if matched.alike else []
    advice += [SUBSET] if left and not subset and not lost else []
    refuse([*matched.problems, *offenders], advice=" ".join(advice))
    by_clip = {matched.found[caption.clip]: caption.text for caption in candidates.captions}
    wanted = {clip: [caption.text for caption in theirs[clip]] for clip in theirs if clip in by_clip}
    counts = {"clips_matched_by_stem": matched.changed, "clips_left_out": len(left)}
    return {clip: by_clip[clip] for clip in wanted}, wanted, {name: n for name, n in counts.items() if n}
