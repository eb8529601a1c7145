"""What the corpus stage found: ``report.json``, and the same as a text table."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from earwitness.audio.check import AudioFacts
from earwitness.audio.sound import MISSING
from earwitness.corpora.tables import ListedClip, ListedPhrase, Listing, phrase_id
from earwitness.errors import MismatchError
from earwitness.files import read_json
from earwitness.options import SPLITS

REPORT_SCHEMA = 2
UNUSUAL = 4  # times shorter or longer than a corpus' median clip
SHORT_SECONDS = 1024 / 44100  # one analysis window of the log-mel front end

_WORD = re.compile(r"[^\W_]+(?:['-]+[^\W_]+)*")


@dataclass
class Checked:
    """A listing, and what became of its clips: ``bad`` ones with the reason why they cannot be used."""

    listing: Listing
    good: list[tuple[ListedClip, AudioFacts]] = field(default_factory=list)
    bad: list[tuple[ListedClip, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # of events that were fitted to their clips

    def with_ids(self, ids: Mapping[str, str]) -> Checked:
        """The same with its clips called otherwise; those that are not in ``ids`` keep theirs."""

        def renamed(clip: ListedClip) -> ListedClip:
            return replace(clip, clip_id=ids.get(clip.clip_id, clip.clip_id))

        def moved(phrase: ListedPhrase) -> ListedPhrase:
            clip, _, number = phrase.caption_id.rpartition("#")
            return replace(phrase, caption_id=f"{ids.get(clip, clip)}#{number}")

        listing = replace(
            self.listing,
            clips=[renamed(clip) for clip in self.listing.clips],
            phrases=[moved(phrase) for phrase in self.listing.phrases],
        )
        good = [(renamed(clip), facts) for clip, facts in self.good]
        return replace(self, listing=listing, good=good, bad=[(renamed(clip), reason) for clip, reason in self.bad])

    def missing(self) -> list[ListedClip]:
        """The clips whose audio is not on disk."""
        return [clip for clip, reason in self.bad if reason == MISSING]

    def refused(self) -> list[tuple[ListedClip, str]]:
        """The clips whose audio was found, but cannot be used, and why."""
        return [(clip, reason) for clip, reason in self.bad if reason != MISSING]

    def splits(self) -> list[str]:
        """The splits that clips are listed for."""
        there = {clip.split for clip in self.listing.clips}
        return [split for split in SPLITS if split in there]

    def phrases(self) -> Iterator[tuple[str, ListedPhrase]]:
        """The phrases of the clips that are kept, with their ids, counted within their captions."""
        kept = {clip.clip_id for clip, _ in self.good}
        number: Counter[str] = Counter()
        for phrase in self.listing.phrases:
            number[phrase.caption_id] += 1
            if clip_of(phrase) in kept:
                yield phrase_id(phrase.caption_id, number[phrase.caption_id]), phrase


def clip_of(phrase: ListedPhrase) -> str:
    """The id of a phrase's clip."""
    return phrase.caption_id.rpartition("#")[0]


def report_of(checked: Checked) -> dict[str, Any]:
    """The content of report.json, provenance aside."""
    good = checked.good
    heard = [(clip, facts) for clip, facts in good if clip.path is not None]
    words = {split: _Words(checked, split) for split in checked.splits()}
    ids = {split: sorted(clip.clip_id for clip, _ in good if clip.split == split) for split in checked.splits()}
    return {
        "schema": REPORT_SCHEMA,
        "clips": _clip_counts(checked),
        "lengths": _lengths(heard),
        "captions": {split: counted.captions for split, counted in words.items()},
        "repeated_captions": {split: counted.repeated for split, counted in words.items()},
        "words": {split: counted.summary() for split, counted in words.items()},
        **_phrase_counts(checked),
        "missing": [clip.clip_id for clip in checked.missing()],
        "refused": [{"clip_id": clip.clip_id, "reason": reason} for clip, reason in checked.refused()],
        "found_by": _found_by(checked),
        "silent": [clip.clip_id for clip, facts in heard if facts.silent],
        "antiphase": [clip.clip_id for clip, facts in heard if facts.antiphase],
        "short": [clip.clip_id for clip, facts in heard if facts.seconds < SHORT_SECONDS],
        "same_audio": _same_audio(heard),
        **_unseen_words(words),
        "sample_rates": {str(rate): count for rate, count in sorted(Counter(f.sample_rate for _, f in heard).items())},
        # How many clips have an id of the public recording they come from, by kind.
        "sources": dict(Counter(kind for clip, _ in good for kind in {kind for kind, _ in clip.sources})),
        "ids_sha256": {split: hashlib.sha256("\n".join(names).encode()).hexdigest() for split, names in ids.items()},
        "notes": checked.listing.notes,
    }


def _clip_counts(checked: Checked) -> dict[str, dict[str, int | float]]:
    """By split: listed in the table, their audio found on disk or missing, found but refused.

    What is kept, and what ``seconds`` sums up, is found less refused.
    """
    all_listed = Counter(clip.split for clip in checked.listing.clips)
    missing = Counter(clip.split for clip in checked.missing())
    refused = Counter(clip.split for clip, _ in checked.refused())
    seconds: dict[str, float] = defaultdict(float)
    for clip, facts in checked.good:
        seconds[clip.split] += facts.seconds
    return {
        split: {
            "listed": all_listed[split],
            "found": all_listed[split] - missing[split],
            "missing": missing[split],
            "refused": refused[split],
            "seconds": round(seconds[split], 3),
        }
        for split in checked.splits()
    }


def _lengths(heard: Sequence[tuple[ListedClip, AudioFacts]]) -> dict[str, Any]:
    """By split the shortest, the median and the longest clip in seconds, and the clips of unusual length.

    These are ``UNUSUAL`` times shorter or longer than the median of all clips, as recordings are that were cut off, or
    never cut out of theirs; the longest come first.
    """
    by_split = {split: sorted(f.seconds for clip, f in heard if clip.split == split) for split in SPLITS}
    usual = median([seconds for one in by_split.values() for seconds in one] or [0.0])
    far = [
        {"clip_id": clip.clip_id, "seconds": round(facts.seconds, 3)}
        for clip, facts in sorted(heard, key=lambda one: -one[1].seconds)
        if not usual / UNUSUAL <= facts.seconds <= usual * UNUSUAL
    ]
    return {
        "seconds": {
            split: {"shortest": round(one[0], 3), "median": round(median(one), 3), "longest": round(one[-1], 3)}
            for split, one in by_split.items()
            if one
        },
        "usual": round(usual, 3),
        "unusual": far,
    }


class _Words:
    """The captions of a split's kept clips, counted; ``repeated`` are those equal to another of their clip."""

    def __init__(self, checked: Checked, split: str):
        self.captions, self.tokens = 0, 0
        self.seen: set[str] = set()
        self._texts = [clip.captions for clip, _ in checked.good if clip.split == split]
        self.repeated = sum(len(texts) - len(set(texts)) for texts in self._texts)
        for text in self.texts():
            found = words_of(text)
            self.captions += 1
            self.tokens += len(found)
            self.seen.update(found)

    def texts(self) -> Iterator[str]:
        return (text for captions in self._texts for text in captions)

    def summary(self) -> dict[str, int | float]:
        mean = round(self.tokens / self.captions, 2) if self.captions else 0.0
        return {"words": self.tokens, "distinct": len(self.seen), "mean_per_caption": mean}


def words_of(text: str) -> list[str]:
    """The lower-case words of a caption."""
    return _WORD.findall(text.lower())


def _unseen_words(words: dict[str, _Words]) -> dict[str, dict[str, dict[str, int]]]:
    """How many captions of the other splits hold a word that no development caption has, and how many such words."""
    if "development" not in words:
        return {}
    seen = words["development"].seen
    unseen = {}
    for split, counted in words.items():
        if split != "development":
            captions = sum(not seen.issuperset(words_of(text)) for text in counted.texts())
            unseen[split] = {"captions": captions, "words": len(counted.seen - seen)}
    return {"unseen_words": unseen}


def _phrase_counts(checked: Checked) -> dict[str, Any]:
    """By split, for a data set with phrases: phrases, those without an event, events; and events that were cut."""
    if not checked.listing.phrases:
        return {}
    split_of = {clip.clip_id: clip.split for clip, _ in checked.good}
    counts: dict[str, Counter[str]] = {split: Counter() for split in checked.splits()}
    for _, phrase in checked.phrases():
        counted = counts[split_of[clip_of(phrase)]]
        counted.update({"phrases": 1, "without_event": int(not phrase.events), "events": len(phrase.events)})
    names = ("phrases", "without_event", "events")
    return {
        "phrases": {split: {name: counted[name] for name in names} for split, counted in counts.items()},
        "events_fitted": {name: checked.counts[name] for name in ("cut", "beyond_the_end")},
    }


def _found_by(checked: Checked) -> dict[str, dict[str, int]]:
    """By split, how the path map found the files; clips.csv has it for each clip."""
    counts: dict[str, Counter[str]] = {split: Counter() for split in checked.splits()}
    for clip in checked.listing.clips:
        if clip.path is not None:
            counts[clip.split][clip.found_by] += 1
    return {split: dict(counted.most_common()) for split, counted in counts.items()}


def _same_audio(good: Iterable[tuple[ListedClip, AudioFacts]]) -> dict[str, list[list[str]]]:
    """Groups of clips whose files are the same byte for byte: those with members in two splits, and the others."""
    groups = defaultdict(list)
    for clip, facts in good:
        groups[facts.sha256].append(clip)
    same = [group for group in groups.values() if len(group) > 1]
    across = [group for group in same if len({clip.split for clip in group}) > 1]
    within = [group for group in same if len({clip.split for clip in group}) == 1]
    ids = {"across_splits": across, "within_a_split": within}
    return {kind: [[clip.clip_id for clip in group] for group in found] for kind, found in ids.items()}


def read_report(path: Path) -> dict[str, Any]:
    """The content of a ``report.json``; raises MismatchError for one that another version made."""
    report = read_json(path)
    schema = report.get("schema") if isinstance(report, dict) else None
    if schema != REPORT_SCHEMA:
        raise MismatchError(
            f"{path} was made by another version (its schema is {schema!r}, {REPORT_SCHEMA} is needed). Remove it and "
            f"make it again: snakemake --cores 8 {path}"
        )
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a short text table."""
    columns = ("listed", "found", "missing", "refused")
    names = " ".join(f"{name:>8}" for name in (*columns, "used"))
    lines = [f"{'split':<12} {names} {'hours':>8} {'captions':>9} {'words':>9}"]
    for split, counts in report["clips"].items():
        used = counts["found"] - counts["refused"]
        numbers = " ".join(f"{count:>8}" for count in (*(counts[name] for name in columns), used))
        words = report["words"][split]["words"]
        lines.append(
            f"{split:<12} {numbers} {counts['seconds'] / 3600:>8.2f} {report['captions'][split]:>9} {words:>9}"
        )
    return "\n".join([*lines, *_remarks(report)])


def _remarks(report: dict[str, Any]) -> Iterator[str]:
    """What else is worth a line, where there is anything of it."""
    notes = report["notes"]
    if split := notes.get("split_by_default"):
        yield f"no column and no folder gives the split, so all clips are {split}"
    if unread := notes.get("tables_not_read"):
        yield f"tables that are there and not read, as the entry names no `table`: {', '.join(unread)}"
    for name, columns in notes.get("ignored_columns", {}).items():
        yield f"columns of {name} that are not read: {', '.join(columns)}"
    rates = ", ".join(f"{count} at {rate} Hz" for rate, count in report["sample_rates"].items())
    if rates:
        yield f"clips by sample rate: {rates}"
    lengths = report.get("lengths", {"seconds": {}, "unusual": []})  # a report may be older than they are
    for split, one in lengths["seconds"].items():
        span = f"{one['shortest']:.2f} to {one['longest']:.2f} s"
        yield f"{split} clips last {span}, half of them up to {one['median']:.2f} s"
    if far := lengths["unusual"]:
        some = ", ".join(f"{one['clip_id']!r} ({one['seconds']:.2f} s)" for one in (far[0], far[-1])[: len(far)])
        usual = f"the usual {lengths['usual']:.2f} s"
        yield f"clips more than {UNUSUAL} times shorter or longer than {usual}: {len(far)}, such as {some}"
    for split, counted in report["found_by"].items():
        if renamed := {how: count for how, count in counted.items() if how != "name"}:
            counts = ", ".join(f"{how} ({count})" for how, count in renamed.items())
            yield f"{split} files found under another name or place than in their table: {counts}"
    for split, counted in report.get("phrases", {}).items():
        bare = f"{counted['without_event']} without an event"
        yield f"{split}: {counted['phrases']} phrases ({bare}), {counted['events']} events"
    across, unlisted = report["same_audio"]["across_splits"], notes.get("unlisted_audio", 0)
    totals = {
        "captions repeated for the same clip": sum(report["repeated_captions"].values()),
        "repeated rows that were skipped": sum(report["notes"].get("repeated_rows", {}).values()),
        "rows joined to the caption before, as a line break had cut it": sum(notes.get("rejoined_rows", {}).values()),
        "clips all silent": len(report["silent"]),
        "clips silent to systems, as their channels cancel each other out": len(report.get("antiphase", ())),
        "clips shorter than one analysis window": len(report["short"]),
        "events cut at their clip's end": sum(report.get("events_fitted", {}).values()),
        "recordings in two splits, the same byte for byte": len(across),
        "recordings twice in a split": len(report["same_audio"]["within_a_split"]),
        "clips left out by the split scheme": report["notes"].get("split_scheme", {}).get("left_out", 0),
        "tables that differ from the published ones": len(report["notes"].get("differs_from_published", {})),
        # A number, or numbers by split or by table: that depends on the layout.
        "recordings that no row names": sum(unlisted.values()) if isinstance(unlisted, dict) else unlisted,
        **{
            f"{split} captions with words that development lacks": counts["captions"]
            for split, counts in report.get("unseen_words", {}).items()
        },
    }
    yield from (f"{meaning}: {count}" for meaning, count in totals.items() if count)
