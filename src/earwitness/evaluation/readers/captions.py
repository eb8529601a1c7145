"""Generated captions against references, from files of any system (``earwitness score captions``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.corpora.csv_reader import shown
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.tables import refuse, usual
from earwitness.evaluation.readers.texts import Texts, read_candidates, read_references
from earwitness.evaluation.scores import Scored
from earwitness.metrics import captions as metrics
from earwitness.metrics import fluency, sentences, spice

AGREEING = 0.05  # of the candidates' ids, below which two files are taken to be about different clips
SUBSET = "--subset ignores references without a candidate (they are counted)."
# What the reasons of the metrics name, by the field that sets it.
KEYS = {
    "spice_jars": "jars",
    "spice_cache": "cache",
    "spice_minutes": "minutes",
    "sentence_model": sentences.KEY,
    "fluency_model": fluency.KEY,
}


@dataclass(frozen=True)
class CaptionFiles:
    """The files to score, and how to read them; each field is an option of the command line.

    Attributes:
        candidates: one generated caption per clip: csv, json or HDF5.
        references: captions that people wrote, any number per clip: csv (Clotho's too), json (COCO's too) or HDF5.
        clip_column, caption_column: columns of ``candidates``; None for the usual names.
        reference_clip_column, reference_caption_column: columns of ``references``, the latter a list. None for the
            usual names, of clips for ``clip_column`` first.
        match: how ids are compared: ``exact``, or ``stem``: without folder, extension, letter case and blanks.
        subset: ignore references without a candidate (they are counted); otherwise they are an error.
        spice_jars, sentence_model, fluency_model: as of ``metrics.captions.Tools``: ``auto``, ``off`` or a folder.
        spice_cache: where SPICE keeps captions that it parsed: ``auto`` for the user's caches, ``off``, or a folder.
        spice_minutes: the time limit of SPICE in minutes.
    """

    candidates: Path
    references: Path
    clip_column: str | None = None
    caption_column: str | None = None
    reference_clip_column: str | None = None
    reference_caption_column: Sequence[str] | None = None
    match: str = "exact"
    subset: bool = False
    spice_jars: str = "auto"
    spice_cache: str = "auto"
    spice_minutes: float = metrics.Tools.spice_minutes
    sentence_model: str = "auto"
    fluency_model: str = "auto"


def score(files: CaptionFiles) -> Scored:
    """Read, match and score.

    Raises EarwitnessError that lists all offenders where files cannot be read or do not fit each other.

    >>> scored = score(CaptionFiles(Path("captions.csv"), Path("references.csv"), match="stem"))  # doctest: +SKIP
    >>> scored.evaluation.metrics["cider_d"]["value"]  # doctest: +SKIP
    """
    candidates, references = read(files)
    refuse([*candidates.problems, *references.problems, *_unusable_tools(files)])
    texts, wanted, counts = paired(candidates, references, files.match, files.subset)
    tools = metrics.Tools(
        spice=files.spice_jars,
        spice_cache=None if files.spice_cache == "off" else files.spice_cache,
        spice_minutes=files.spice_minutes,
        similarity=files.sentence_model,
        fluency=files.fluency_model,
    )
    evaluation = metrics.evaluate(texts, wanted, tools)
    empty = sum(not tokens for tokens in evaluation.candidate_tokens)
    notes = []
    if empty:
        notes.append(f"{empty} of {len(evaluation.ids)} captions have no words; they score 0 in metrics of words")
    reasons = [entry["reason"] for entry in evaluation.metrics.values() if entry["value"] is None]
    if named := {field: key for field, key in KEYS.items() if any(key in reason for reason in reasons)}:
        options = ", ".join(f"{_option(field)} ({key})" for field, key in named.items())
        notes.append(f"Options for what these reasons name: {options}")
    return Scored(
        evaluation,
        "score captions",
        {"candidates": files.candidates, "references": files.references},
        {"match": files.match, "subset": files.subset}
        | {"candidate_columns": candidates.columns, "reference_columns": references.columns, "tools": tools.digests()},
        {"clips": len(evaluation.ids), "references": sum(map(len, wanted.values())), "captions_empty": empty, **counts},
        notes,
        {"caption": [texts[clip] for clip in evaluation.ids]},
    )


def read(files: CaptionFiles) -> tuple[Texts, Texts]:
    """Candidates and references; their ``problems`` have what is wrong with them.

    Images by number, as in COCO's json, are read by their files' names where both files have names, of which some
    agree, or where no number agrees with the other file.
    """
    columns, likely = files.reference_caption_column, files.clip_column
    found: tuple[Texts, Texts] = (
        read_candidates(files.candidates, files.clip_column, files.caption_column),
        read_references(files.references, files.reference_clip_column, columns, likely=likely),
    )
    names: list[Texts | None] = [None, None]
    if files.clip_column is None and (name := found[0].name_column):
        names[0] = read_candidates(files.candidates, name, files.caption_column)
    if files.reference_clip_column is None and (name := found[1].name_column):
        names[1] = read_references(files.references, name, columns)
    for one, other in ((names[0], names[1]), found, (names[0], found[1]), (found[0], names[1])):
        if one is None or other is None or one.problems or other.problems:
            continue
        if ids.match([caption.clip for caption in one.captions], other.by_clip(), files.match).found:
            return one, other
    return found


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _unusable_tools(files: CaptionFiles) -> list[str]:
    """Why folders of tools that were named cannot be used; what ``auto`` does not find is no mistake."""
    problems = []
    for field, find in {
        "spice_jars": spice.find,
        "sentence_model": sentences.find,
        "fluency_model": fluency.find,
    }.items():
        folder = getattr(files, field)
        if folder not in ("auto", "off"):
            try:
                find(folder)
            except EarwitnessError as error:
                problems.append(f"{_option(field)} {folder}: {error}")
    return problems


def paired(
    candidates: Texts, references: Texts, how: str, subset: bool
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, int]]:
    """Candidates and references by the references' clip ids, in their order, and counts of what matching did.

    Raises EarwitnessError for clips that are in one of the two only, with hints which ids are probably the same clip.
    """
    theirs = references.by_clip()
    of_audiocaps = bool(references.columns) and usual(references.columns[0]) == "youtube_id"
    numbers = {caption.id: caption.clip for caption in references.captions} if of_audiocaps else None
    matched = ids.match([caption.clip for caption in candidates.captions], theirs, how, numbers=numbers)
    found = set(matched.found.values())
    left = [clip for clip in theirs if clip not in found]
    if len(found) < AGREEING * (len(found) + len(matched.lost)) and not matched.problems:
        raise EarwitnessError(_other_clips(candidates, references, matched, left))
    advice = [ids.ADVICE] if matched.alike else []
    advice += [SUBSET] if left and not subset and not matched.lost else []
    strangers = _strangers(candidates, references, matched, [] if subset else left)
    refuse([*matched.problems, *strangers], " ".join(advice))
    by_clip = {matched.found[caption.clip]: caption.text for caption in candidates.captions}
    wanted = {clip: [caption.text for caption in theirs[clip]] for clip in theirs if clip in by_clip}
    counts = {"clips_matched_by_stem": matched.changed, "clips_left_out": len(left)}
    return {clip: by_clip[clip] for clip in wanted}, wanted, {name: n for name, n in counts.items() if n}


def _strangers(candidates: Texts, references: Texts, matched: ids.Matched, left: Sequence[str]) -> list[str]:
    """The clips that are in one of the files only; ``left`` are the references'."""
    where, other, theirs = candidates.path.name, references.path.name, references.by_clip()
    lost, meant = set(matched.lost), {there: one for one, there in matched.alike.items()}
    of_candidates = [
        f"{where}, row {caption.row}: clip {shown(caption.clip)} has no references in {other}"
        + matched.hint(caption.clip)
        for caption in candidates.captions
        if caption.clip in lost
    ]
    of_references = [
        f"{other}, row {theirs[clip][0].row}: clip {shown(clip)} has no candidate in {where}"
        + (f" (did you mean {shown(meant[clip])}?)" if clip in meant else "")
        for clip in left
    ]
    return [*of_candidates, *of_references]


def _other_clips(candidates: Texts, references: Texts, matched: ids.Matched, left: Sequence[str]) -> str:
    """The message for files that hardly share a clip, which no list of clips would explain."""
    of = [(candidates.path.name, matched.lost), (references.path.name, left)]
    only = "; ".join(f"{len(clips)} only in {name}, such as {', '.join(map(shown, clips[:3]))}" for name, clips in of)
    alike = f" {len(matched.alike)} are alike. {ids.ADVICE}" if matched.alike else ""
    return (
        f"These files cannot be scored: clips in both: {len(matched.found)}; {only}. "
        f"Are the files of different splits, or are clips named differently?{alike}"
    )
