"""Frame scores or events of phrases, or of classes, from files of any system (``earwitness score grounding``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import shown, some
from earwitness.corpora.paths import stem
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import classes, ids
from earwitness.evaluation.readers.events import (
    Activations,
    Events,
    Frames,
    Placed,
    open_predictions,
    pair_columns,
    pair_of,
    read_durations,
    read_events,
    refuse_milliseconds,
    refuse_other_unit,
)
from earwitness.evaluation.readers.queries import clip_of, read_captions
from earwitness.evaluation.readers.tables import CLIP_COLUMNS, find_column, open_table, read_id, refuse
from earwitness.evaluation.scores import Scored
from earwitness.metrics import grounding as metrics

SUBSET = "--subset ignores pairs that are not scored (they are counted)."


@dataclass(frozen=True)
class GroundingFiles:
    """The files to score, and how to read them; each field is an argument or option of the command line.

    None as a setting stands for the default of ``earwitness.metrics.grounding.Options``.

    Attributes:
        predictions: frame scores of pairs of clip and phrase (HDF5, json), or events (csv, json).
        references: annotated events: phrase_id, or filename and phrase, or filename; onset, offset in seconds.
        phrases: all pairs, also those without an event: phrase_id [, caption_id] [, clip_id], or filename and phrase.
        captions: the clips of the captions that ``phrases`` names: caption_id, clip_id.
        durations: the seconds of each clip: clip_id, seconds.
        hop: seconds between frames; None for what ``predictions`` gives.
        classes: score events by class (``event_label``) and file through sed_eval, instead of phrases.
        threshold, silent: ``threshold`` and ``silent`` of the metrics' options.
        collar, offset_share, segment: ``t_collar``, ``percentage_of_length`` and ``time_resolution`` of the same.
        grid: ``grid`` of the same: ``decimal``, or ``sed_eval`` for the toolkit's own figures.
        match: how ids are compared: ``exact``, or ``stem``: without folder, extension, letter case and blanks.
        subset: ignore pairs without frame scores (they are counted); otherwise they are an error.
    """

    predictions: Path
    references: Path
    phrases: Path | None = None
    captions: Path | None = None
    durations: Path | None = None
    hop: float | None = None
    classes: bool = False
    threshold: float | None = None
    silent: str | None = None
    collar: float | None = None
    offset_share: float | None = None
    segment: float | None = None
    grid: str | None = None
    match: str = "exact"
    subset: bool = False

    def settings(self) -> metrics.Options:
        """The options of the metrics."""
        given: dict[str, Any] = {"threshold": self.threshold, "silent": self.silent, "t_collar": self.collar}
        given |= {"percentage_of_length": self.offset_share, "time_resolution": self.segment}
        given |= {"grid": self.grid}
        return metrics.Options(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Phrases:
    """All pairs: their rows, and the clips that the table names; ``text`` and ``parts`` as for ``Events``."""

    path: Path
    rows: dict[str, int | str]
    clips: dict[str, str]
    text: str | None = None
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)


def score(files: GroundingFiles) -> Scored:
    """Read, match and score.

    Raises EarwitnessError that lists all offenders where files cannot be read or do not fit each other.

    >>> scored = score(GroundingFiles(Path("frames.h5"), Path("events.csv"), Path("phrases.csv")))  # doctest: +SKIP
    >>> scored.evaluation.metrics["psds"]["value"]  # doctest: +SKIP
    """
    references = read_events(files.references, by_file=files.classes)
    durations, problems = read_durations(files.durations) if files.durations else (None, [])
    with open_predictions(files.predictions, by_file=files.classes) as found:
        refuse([*found.problems, *references.problems, *problems])
        if files.classes:
            return classes.score(found, references, durations, files)
        for events in (references, found):
            if isinstance(events, Events) and not events.by_phrase and len(events.labels) > 1:
                raise EarwitnessError(
                    f"{events.path.name} has events of {len(events.labels)} classes ({some(events.labels)}): --classes "
                    "scores them by class and file. For phrases a column phrase_id must name pairs of phrase and clip."
                )
        phrases = _read_phrases(files.phrases, files.captions) if files.phrases else None
        return _score(found, references, phrases, durations, files)


def _score(
    found: Frames | Events,
    references: Events,
    phrases: Phrases | None,
    durations: dict[str, float] | None,
    files: GroundingFiles,
) -> Scored:
    _refuse_mixed([found, references, *([phrases] if phrases else [])])
    true, names, theirs, counts = _paired(found, references, phrases, files)
    clips = _clips(list(true), names, found, references, phrases)
    if durations is not None:
        matched = ids.match(clips.values(), durations, files.match)
        where = files.durations.name if files.durations else ""
        lost = [f"{where}: clip {shown(clip)} is not in it{matched.hint(clip)}" for clip in matched.lost]
        refuse([*matched.problems, *lost], ids.ADVICE if matched.alike else "")
        durations = {clip: durations[there] for clip, there in matched.found.items()}
    hop = _hop(found, files)
    if isinstance(found, Frames):
        activations, events = Activations(names, found.read), None
        if activations and all(scores.size and scores.max() > 1 for scores in activations.values()):
            first = next(iter(activations.values())).max()
            raise EarwitnessError(
                f"{found.path.name}: the scores of every pair go above 1 (those of the first to {first:g}); are they "
                "percent? Scores from 0 to 1 are needed: divide percent by 100, apply the logistic function to logits."
            )
    else:
        by_pair = found.by_pair()
        activations, events = None, {pair: by_pair.get(names[pair], []) if pair in names else [] for pair in true}
        if durations is not None and files.durations is not None:
            ends = ((clips[pair], end) for pair in true for _, end in (*true[pair], *events[pair]))
            refuse_milliseconds(files.durations, durations, ends)
        counts["pairs_without_detection_rows"] = len(true) - len(names)
    places = {"reference": (references.placed(), theirs)}
    places |= {"detected": (found.placed(), names)} if isinstance(found, Events) else {}

    def named(which: str, pair: str, number: int) -> str:
        placed, spelt = places[which]
        return placed[spelt[pair]][number]

    settings = files.settings()
    of_pairs: dict[str, Any] = {"events": events, "clips": clips, "durations": durations}
    evaluation = metrics.evaluate(activations, true, hop=hop, options=settings, named=named, **of_pairs)
    if events is not None and durations is None:
        detected, annotated = (
            [Placed(pair, end, named(which, pair, n)) for pair in true for n, (_, end) in enumerate(times[pair])]
            for which, times in (("detected", events), ("reference", true))
        )
        refuse_other_unit(found.path, references.path, detected, annotated)
    inputs = {name: getattr(files, name) for name in ("predictions", "references", "phrases", "captions", "durations")}
    curves = {name: {key: list(map(float, v)) for key, v in c.items()} for name, c in evaluation.curves.items()}
    return Scored(
        evaluation,
        "score grounding",
        {name: path for name, path in inputs.items() if path is not None},
        {"match": files.match, "subset": files.subset, "hop": hop, **asdict(settings)},
        {**evaluation.counts, **{name: n for name, n in counts.items() if n}},
        [*evaluation.notes, *_notes(evaluation, settings)],
        more={"baselines": evaluation.baselines, "curves": curves},
    )


def _paired(
    found: Frames | Events, references: Events, phrases: Phrases | None, files: GroundingFiles
) -> tuple[dict[str, list], dict[str, str], dict[str, str], dict[str, int]]:
    """The reference events of each scored pair, the pairs' names in predictions and references, and counts.

    A pair that an event list does not name has no detection; frame scores need every pair.
    """
    known = phrases.rows if phrases else references.rows()
    predicted = found.pairs if isinstance(found, Frames) else list(found.rows())
    where, other = found.path.name, (phrases or references).path.name
    if isinstance(found, Events) and files.subset:
        raise EarwitnessError(
            f"{where} is an event list: a pair that it does not name has no detection, so --subset does not apply."
        )
    parts = {**found.parts, **references.parts, **(phrases.parts if phrases else {})}

    def key(pair: str) -> str:
        return pair_of(*map(stem, parts[pair])) if pair in parts else stem(pair)

    rows, true = references.rows(), references.by_pair()
    annotated = ids.match(rows, known, files.match, key)
    matched = ids.match(predicted, known, files.match, key)
    names = {there: pair for pair, there in matched.found.items()}
    left = [pair for pair in known if pair not in names] if isinstance(found, Frames) else []
    hint = "" if phrases else "; --phrases gives a table of all pairs, also the silent ones"
    problems = [
        *matched.problems,
        *annotated.problems,
        *(
            f"{references.path.name}, row {rows[pair]}: {shown(pair)} is not in {other}{annotated.hint(pair)}"
            for pair in annotated.lost
        ),
        *(f"{where}: {shown(pair)} is not in {other}{matched.hint(pair)}{hint}" for pair in matched.lost),
    ]
    advice = [ids.ADVICE] if matched.alike or annotated.alike else []
    if left and not files.subset:
        problems += [f"{other}, row {known[pair]}: {shown(pair)} has no scores in {where}" for pair in left]
        advice.append(SUBSET)
    refuse(problems, " ".join(advice))
    theirs, out = {there: pair for pair, there in annotated.found.items()}, set(left)
    pairs = {pair: true[theirs[pair]] if pair in theirs else [] for pair in known if pair not in out}
    return pairs, {pair: names[pair] for pair in pairs if pair in names}, theirs, {"pairs_left_out": len(left)}


def _clips(
    pairs: list[str], names: Mapping[str, str], found: Frames | Events, references: Events, phrases: Phrases | None
) -> dict[str, str]:
    """The clip of each pair, from the table of phrases, the references or the predictions, else from its name."""
    of_predictions = found.clips if isinstance(found, Frames) else found.clips()
    of_references = references.clips()
    return {
        pair: (phrases.clips.get(pair) if phrases else None)
        or of_references.get(pair)
        or of_predictions.get(names.get(pair, ""))
        or re.sub(r"#\d+\.\d+$", "", pair)
        for pair in pairs
    }


def _hop(found: Frames | Events, files: GroundingFiles) -> float | None:
    """The seconds between frames, from the file or else from the arguments."""
    hop = found.hop if isinstance(found, Frames) else None
    if hop is not None and files.hop is not None and abs(hop - files.hop) > 1e-9:
        raise EarwitnessError(f"--hop is {files.hop:g} s, but {found.path.name} says {hop:g} s; which is right?")
    if hop is None and files.hop is None and isinstance(found, Frames):
        raise EarwitnessError(f"{found.path.name} does not say how many seconds a frame lasts; give them with --hop.")
    return files.hop if hop is None else hop


def _read_phrases(path: Path, captions: Path | None) -> Phrases:
    """The table of all pairs; EarwitnessError for one that cannot be used, or where captions are not known."""
    table, known = open_table(path), read_captions(captions)
    pair, phrase = pair_columns(table, "pairs")
    clip, caption = find_column(table, CLIP_COLUMNS[:-1]), find_column(table, ("caption_id",))
    refuse(table.problems)
    assert pair is not None  # or it is a problem
    phrases = Phrases(path, {}, {}, phrase)
    for row, (name, owner, text, words) in table.rows([pair, clip or pair, caption or pair, phrase or pair]):
        if (name := read_id(table, row, name, "pair")) is None:
            continue
        if phrase is not None:
            if (words := read_id(table, row, words, phrase)) is None:
                continue
            file, name = name, pair_of(name, words)
            phrases.parts[name] = file, words
            phrases.clips[name] = file
        if name in phrases.rows:
            table.blame(row, f"the pair {shown(name)} is in row {phrases.rows[name]} too")
        phrases.rows[name] = row
        if phrase is not None:
            continue
        if clip is not None and clip != pair:
            phrases.clips[name] = read_id(table, row, owner) or ""
        elif caption is not None and known is not None and captions is not None and text not in known.by_id:
            table.blame(row, f"the caption {shown(str(text))} is not in {captions.name}")
        elif caption is not None and text is not None:
            phrases.clips[name] = known.by_id[text].clip if known else clip_of(str(text))
    refuse(table.problems)
    return phrases


def _refuse_mixed(files: list[Frames | Events | Phrases]) -> None:
    """EarwitnessError where some files name pairs by a file and a text, and others by one column or key."""
    files = [file for file in files if not isinstance(file, Events) or file.events]
    by_text = [file for file in files if file.text is not None]
    others = [file.path.name for file in files if file.text is None]
    if by_text and others:
        columns = " and ".join(f"{file.path.name} (column {shown(str(file.text))})" for file in by_text)
        raise EarwitnessError(
            f"Pairs are a file and a text in {columns}, but not in {' and '.join(others)}, so it is not known which "
            "phrases those mean. Give all files a column phrase_id (the name of pairs in HDF5 and json), or all event "
            "lists the file and the text."
        )


def _notes(evaluation: metrics.Evaluation, settings: metrics.Options) -> list[str]:
    """What scores outside 0 to 1 mean for metrics that do not scale them, and the baselines of the frame metrics."""
    notes = []
    if evaluation.counts.get("pairs_beyond_0_to_1"):
        notes.append(
            "Scores below 0 or above 1 are scaled to 0 to 1 for the frame metrics only; the metrics of segments and "
            f"events and mIoU compare them unscaled with the threshold {settings.threshold:g} (are they percent?)."
        )
    for name, values in evaluation.baselines.items():
        known = ", ".join(f"{key} {value:.3f}" for key, value in values.items() if value is not None)
        notes.append(f"Frames {name.replace('_', ' ')}: {known}")
    return notes
