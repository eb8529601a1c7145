"""``earwitness score captions``: generated captions against references, from anybody's files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from earwitness.corpora.csv_reader import shown
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.tables import refuse
from earwitness.evaluation.readers.texts import Texts, read_candidates, read_references
from earwitness.evaluation.scores import Scored
from earwitness.metrics import captions as metrics
from earwitness.metrics import fluency, sentences, spice

AGREEING = 0.05  # of the candidates' ids, below which two files are not taken to be of the same clips
LISTED = 20  # clips of one file only, in a message
SUBSET = "References of clips that are not to be scored are left out, and counted, by --subset."
# Of this command, by what the reasons of the metrics call them.
OPTIONS = {
    "jars": "--spice-jars",
    "cache": "--spice-cache",
    "minutes": "--spice-minutes",
    sentences.KEY: "--sentence-model",
    fluency.KEY: "--fluency-model",
}


def score(options: argparse.Namespace) -> Scored:
    """Read, match and score; EarwitnessError with all offenders for what cannot be."""
    candidates = read_candidates(options.candidates, options.clip_column, options.caption_column)
    references = read_references(options.references, options.reference_clip_column, options.reference_caption_column)
    refuse([*candidates.problems, *references.problems, *_useless_tools(options)])
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


def _useless_tools(options: argparse.Namespace) -> Iterator[str]:
    """Why folders of tools cannot be used that the command line names; what ``auto`` does not find is no mistake."""
    finders = {"jars": spice.find, sentences.KEY: sentences.find, fluency.KEY: fluency.find}
    for key, find in finders.items():
        option = OPTIONS[key]
        folder = getattr(options, option.removeprefix("--").replace("-", "_"))
        if folder not in ("auto", "off"):
            try:
                find(folder)
            except EarwitnessError as error:
                yield f"{option} {folder}: {error}"


def _notes(evaluation: metrics.Evaluation, empty: int) -> Iterator[str]:
    """What has to be known of captions without a word, and of the options for what reasons name."""
    if empty:
        yield f"{empty} of {len(evaluation.ids)} captions have no word; they score 0 in the metrics of words"
    reasons = [entry["reason"] for entry in evaluation.metrics.values() if entry["value"] is None]
    named = [f"{own} for {key}" for key, own in OPTIONS.items() if any(key in reason for reason in reasons)]
    if named:
        yield f"What reasons name is an option of this command: {', '.join(named)}"


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
    lost = matched.lost
    if len(found) < AGREEING * (len(found) + len(lost)) and not matched.problems:
        _refuse_others(candidates, references, matched, left)
    offenders = _strangers(candidates, references, matched, [] if subset else left)
    advice = [ids.ADVICE] if matched.alike else []
    advice += [SUBSET] if left and not subset and not lost else []
    refuse([*matched.problems, *offenders], advice=" ".join(advice))
    by_clip = {matched.found[caption.clip]: caption.text for caption in candidates.captions}
    wanted = {clip: [caption.text for caption in theirs[clip]] for clip in theirs if clip in by_clip}
    counts = {"clips_matched_by_stem": matched.changed, "clips_left_out": len(left)}
    return {clip: by_clip[clip] for clip in wanted}, wanted, {name: n for name, n in counts.items() if n}


def _strangers(candidates: Texts, references: Texts, matched: ids.Matched, left: Sequence[str]) -> list[str]:
    """The clips that only one of the files has; ``left`` are those of the references."""
    where, other, theirs = candidates.path.name, references.path.name, references.by_clip()
    lost, meant = set(matched.lost), {there: one for one, there in matched.alike.items()}
    of_candidates = [
        f"{where}, row {caption.row}: clip {shown(caption.clip)} has no references in {other}"
        + ids.told(caption.clip, matched)
        for caption in candidates.captions
        if caption.clip in lost
    ]
    of_references = [
        f"{other}, row {theirs[clip][0].row}: clip {shown(clip)} has no candidate in {where}"
        + (f" ({shown(meant[clip])}, perhaps)" if clip in meant else "")
        for clip in left
    ]
    return [*_first(of_candidates, where), *_first(of_references, other)]


def _first(offenders: Sequence[str], where: str) -> list[str]:
    """The first of the clips of one file, and how many more there are."""
    more = len(offenders) - LISTED
    return [*offenders[:LISTED], *([f"{where}: and {more} more clips like these"] if more > 0 else [])]


def _refuse_others(candidates: Texts, references: Texts, matched: ids.Matched, left: Sequence[str]) -> None:
    """EarwitnessError for files that hardly have a clip in common, which no list of clips would explain."""
    of = [(candidates.path.name, matched.lost), (references.path.name, left)]
    told = "; ".join(f"{name} alone has {len(clips)}, such as {', '.join(map(shown, clips[:3]))}" for name, clips in of)
    alike = f" {len(matched.alike)} are alike. {ids.ADVICE}" if matched.alike else ""
    raise EarwitnessError(
        f"These files cannot be scored: clips that both have: {len(matched.found)}; {told}. "
        f"Are they of another split, or named otherwise?{alike}"
    )
