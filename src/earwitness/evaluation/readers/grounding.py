"""``earwitness score grounding``: frame scores or events of phrases, or of classes, from anybody's files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import shown, some
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import classes, ids
from earwitness.evaluation.readers.events import (
    Curves,
    Events,
    Frames,
    open_predictions,
    pair_columns,
    pair_of,
    read_durations,
    read_events,
    refuse_milliseconds,
)
from earwitness.evaluation.readers.queries import owner_by_rule, read_captions
from earwitness.evaluation.readers.tables import CLIP_COLUMNS, find_column, open_table, read_id, refuse
from earwitness.evaluation.scores import Scored
from earwitness.metrics import grounding as metrics

SETTINGS = {  # of the command line, by what ``metrics.Options`` calls them
    "threshold": "threshold",
    "silent": "silent",
    "t_collar": "collar",
    "percentage_of_length": "offset_share",
    "time_resolution": "segment",
}

_PHRASE = re.compile(r"#\d+\.\d+$")


@dataclass(frozen=True)
class Phrases:
    """All pairs: their rows, and the clips that the table tells; ``text`` and ``parts`` as of ``Events``."""

    path: Path
    rows: dict[str, int | str]
    clips: dict[str, str]
    text: str | None = None
    parts: dict[str, tuple[str, str]] = field(default_factory=dict)


def score(options: argparse.Namespace) -> Scored:
    """Read, match and score; EarwitnessError with all offenders for what cannot be."""
    references = read_events(options.references, by_file=options.classes)
    durations, problems = read_durations(options.durations) if options.durations else (None, [])
    given = {name: getattr(options, own) for name, own in SETTINGS.items() if getattr(options, own) is not None}
    with open_predictions(options.predictions, by_file=options.classes) as found:
        refuse([*found.problems, *references.problems, *problems])
        if options.classes:
            return classes.score(found, references, durations, given, options)
        _refuse_classes([references, found])
        phrases = _read_phrases(options.phrases, options.captions) if options.phrases else None
        return _score(found, references, phrases, durations, metrics.Options(**given), options)


def _score(
    found: Frames | Events,
    references: Events,
    phrases: Phrases | None,
    durations: dict[str, float] | None,
    settings: metrics.Options,
    options: argparse.Namespace,
) -> Scored:
    _refuse_mixed([found, references, *([phrases] if phrases else [])])
    known = phrases.rows if phrases else references.rows()
    true, names, counts = _paired(found, references, known, phrases, options)
    clips = _clips(true, names, found, references, phrases)
    if durations is not None:
        durations = _durations(clips, durations, options)
    hop = _hop(found, options)
    if isinstance(found, Frames):
        curves = Curves(names, found.read)
        _refuse_percent(found.path, curves)
        scored = {"activations": curves}
    else:
        events = found.by_pair()
        if durations is not None:
            times = [(pair, times) for pair in true for times in (*true[pair], *events.get(names.get(pair), []))]
            refuse_milliseconds(options.durations, durations, ((clips[pair], end) for pair, (_, end) in times))
        scored = {"activations": None, "events": {pair: events.get(names.get(pair), []) for pair in true}}
        counts["pairs_without_detection_rows"] = len(true) - len(names)
    evaluation = metrics.evaluate(
        references=true, hop=hop, clips=clips, durations=durations, options=settings, **scored
    )
    files = {"predictions": options.predictions, "references": options.references, "phrases": options.phrases}
    files |= {"captions": options.captions, "durations": options.durations}
    curves = {name: {key: list(map(float, v)) for key, v in c.items()} for name, c in evaluation.curves.items()}
    return Scored(
        evaluation,
        "score grounding",
        {name: path for name, path in files.items() if path is not None},
        {"match": options.match, "subset": options.subset, "hop": hop, **asdict(settings)},
        {**evaluation.counts, **{name: n for name, n in counts.items() if n}},
        [*evaluation.notes, *_beyond(evaluation.counts, settings), *_baselines(evaluation.baselines)],
        more={"baselines": evaluation.baselines, "curves": curves},
    )


def _paired(
    found: Frames | Events,
    references: Events,
    known: Mapping[str, int | str],
    phrases: Phrases | None,
    options: argparse.Namespace,
) -> tuple[dict[str, list], dict[str, str], dict[str, int]]:
    """The reference events of each scored pair, the pairs' names in the predictions, and counts.

    An event list says of a pair it does not name that nothing was detected; frame scores need every pair.
    """
    predicted = found.pairs if isinstance(found, Frames) else list(found.rows())
    where, other = found.path.name, (phrases or references).path.name
    if isinstance(found, Events) and options.subset:
        raise EarwitnessError(
            f"{where} is an event list: a pair that it does not name has no detection, so --subset is not for it."
        )
    parts = {**found.parts, **references.parts, **(phrases.parts if phrases else {})}

    def plain(pair: str) -> str:
        return pair_of(*map(ids.stem, parts[pair])) if pair in parts else ids.stem(pair)

    true, own = references.by_pair(), ids.match(references.rows(), known, options.match, plain)
    matched = ids.match(predicted, known, options.match, plain)
    hint = "" if phrases else "; --phrases names a table of all pairs, also those where nothing sounds"
    problems = [*matched.problems, *own.problems]
    problems += [
        f"{references.path.name}, row {references.rows()[pair]}: {shown(pair)} is not in {other}{ids.told(pair, own)}"
        for pair in own.lost
    ]
    problems += [f"{where}: {shown(pair)} is not in {other}{ids.told(pair, matched)}{hint}" for pair in matched.lost]
    names = {there: pair for pair, there in matched.found.items()}
    left = [pair for pair in known if pair not in names] if isinstance(found, Frames) else []
    if not options.subset:
        problems += [f"{other}, row {known[pair]}: {shown(pair)} has no scores in {where}" for pair in left]
    advice = [ids.ADVICE] if matched.alike or own.alike else []
    advice += (
        ["Pairs that are not to be scored are left out, and counted, by --subset."]
        if left and not options.subset
        else []
    )
    refuse(problems, advice=" ".join(advice))
    theirs, out = {there: true[pair] for pair, there in own.found.items()}, set(left)
    pairs = {pair: theirs.get(pair, []) for pair in known if pair not in out}
    return pairs, {pair: names[pair] for pair in pairs if pair in names}, {"pairs_left_out": len(left)}


def _clips(
    pairs: Mapping[str, Any],
    names: Mapping[str, str],
    found: Frames | Events,
    references: Events,
    phrases: Phrases | None,
) -> dict[str, str]:
    """The clip of each pair: what the table of phrases, the references or the predictions tell, else by its name."""
    of_predictions = found.clips if isinstance(found, Frames) else found.clips()
    of_references = references.clips()
    return {
        pair: (phrases.clips.get(pair) if phrases else None)
        or of_references.get(pair)
        or of_predictions.get(names.get(pair, ""))
        or _PHRASE.sub("", pair)
        for pair in pairs
    }


def _durations(clips: Mapping[str, str], durations: dict[str, float], options: argparse.Namespace) -> dict[str, float]:
    """The seconds of each scored clip."""
    matched = ids.match(clips.values(), durations, options.match)
    where = options.durations.name
    lost = [f"{where}: clip {shown(clip)} is not in it{ids.told(clip, matched)}" for clip in matched.lost]
    refuse([*matched.problems, *lost], advice=ids.ADVICE if matched.alike else "")
    return {clip: durations[there] for clip, there in matched.found.items()}


def _hop(found: Frames | Events, options: argparse.Namespace) -> float | None:
    told = found.hop if isinstance(found, Frames) else None
    if told is not None and options.hop is not None and abs(told - options.hop) > 1e-9:
        raise EarwitnessError(f"--hop is {options.hop:g} s, but {found.path.name} says {told:g} s; which is right?")
    if told is None and options.hop is None and isinstance(found, Frames):
        raise EarwitnessError(f"{found.path.name} does not tell how many seconds a frame lasts: say it with --hop.")
    return options.hop if told is None else told


def _read_phrases(path: Path, captions: Path | None) -> Phrases:
    """The table of all pairs; EarwitnessError for one that cannot be used, or where captions are not known."""
    table, known = open_table(path), read_captions(captions)
    pair, phrase = pair_columns(table, "pairs")
    clip, caption = find_column(table, CLIP_COLUMNS[:-1]), find_column(table, ("caption_id",))
    refuse(table.problems)
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
            table.blame(row, f"the pair {shown(name)} stands in row {phrases.rows[name]} too")
        phrases.rows[name] = row
        if phrase is not None:
            continue
        if clip is not None and clip != pair:
            phrases.clips[name] = read_id(table, row, owner) or ""
        elif caption is not None and known is not None and text not in known.by_id:
            table.blame(row, f"the caption {shown(str(text))} is not in {captions.name}")
        elif caption is not None and text is not None:
            phrases.clips[name] = known.by_id[text].clip if known else owner_by_rule(str(text))
    refuse(table.problems)
    return phrases


def _refuse_mixed(files: Iterable[Frames | Events | Phrases]) -> None:
    """EarwitnessError for files of which some call pairs by a file and a text, and others by one column or key."""
    by_text = [file for file in files if file.text is not None]
    others = [file.path.name for file in files if file.text is None]
    if by_text and others:
        told = " and ".join(f"{file.path.name} (column {shown(file.text)})" for file in by_text)
        raise EarwitnessError(
            f"Pairs are a file and a text in {told}, but not in {' and '.join(others)}: which phrase is meant there is "
            "not known. Give all files a column phrase_id (in HDF5 and json the pairs are called so), or all event "
            "lists the file and the text."
        )


def _refuse_percent(path: Path, curves: Curves) -> None:
    """Scores of which each pair has some above 1, where thresholds are meant for 0 to 1."""
    if curves and all(curve.size and curve.max() > 1 for curve in curves.values()):
        first = next(iter(curves.values())).max()
        raise EarwitnessError(
            f"{path.name}: the scores of every pair go above 1 (those of the first to {first:g}); are they percent? "
            "Scores from 0 to 1 are needed: divide percent by 100, and take the logistic function of logits."
        )


def _beyond(counts: Mapping[str, int], settings: metrics.Options) -> list[str]:
    """What scores below 0 or above 1 mean for the metrics that do not scale them."""
    if not counts.get("pairs_beyond_0_to_1"):
        return []
    return [
        "Scores below 0 or above 1 are scaled to 0 to 1 for the frame metrics alone: those of segments and events and "
        f"mIoU compare them as they are with the threshold {settings.threshold:g} (are they percent, perhaps?)."
    ]


def _refuse_classes(files: list[Frames | Events]) -> None:
    """Events of several classes in files are no pairs of phrase and clip."""
    for events in files:
        if isinstance(events, Events) and not events.by_phrase and len(events.labels) > 1:
            raise EarwitnessError(
                f"{events.path.name} has events of {len(events.labels)} classes ({some(events.labels)}): --classes "
                "scores them by class and file. For phrases a column phrase_id has to name pairs of phrase and clip."
            )


def _baselines(baselines: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """What any frame F1 has to be compared with."""
    told = []
    for name, values in baselines.items():
        known = ", ".join(f"{key} {value:.3f}" for key, value in values.items() if value is not None)
        told.append(f"Frames {name.replace('_', ' ')}: {known}")
    return told
