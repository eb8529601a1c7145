"""The corpus stage: whatever a layout lists, checked sound by sound and written as the tidy tables of ``tables``."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from tqdm import tqdm

from earwitness.audio.check import AudioFacts, inspect
from earwitness.audio.decode import MISSING, AudioError
from earwitness.corpora.tables import CAPTIONS, CLIPS, ListedClip, Listing, caption_id, write_table
from earwitness.errors import CorpusError, listed
from earwitness.files import provenance, write_json
from earwitness.options import SPLITS, DatasetOptions

REPORT_SCHEMA = 1
SHORT_SECONDS = 1024 / 44100  # one analysis window of the log-mel front end
CHUNK = 32  # recordings a worker checks before it reports

_WORD = re.compile(r"[^\W_]+(?:['-]+[^\W_]+)*")


class Layout(Protocol):
    """What the stage needs of a layout."""

    def listing(self, root: Path) -> Listing:
        """All clips that the data set lists, and every problem of its tables.

        Raises CorpusError only where nothing can be listed.
        """

    def tables(self, root: Path) -> list[Path]:
        """The files, audio aside, that the data set is read from, those that exist; a change of one is a new corpus."""


@dataclass
class _Checked:
    """The listing, and what became of its clips."""

    listing: Listing
    good: list[tuple[ListedClip, AudioFacts]]
    bad: list[tuple[ListedClip, str]]

    def missing(self) -> list[ListedClip]:
        """The clips whose audio is not on disk."""
        return [clip for clip, reason in self.bad if reason == MISSING]

    def refused(self) -> list[tuple[ListedClip, str]]:
        """The clips whose audio was found, but cannot be used, and why."""
        return [(clip, reason) for clip, reason in self.bad if reason != MISSING]

    def splits(self) -> list[str]:
        there = {clip.split for clip in self.listing.clips}
        return [split for split in SPLITS if split in there]


def build(layout: Layout, options: DatasetOptions, root: Path, out: Path, workers: int) -> None:
    """Check every recording of a data set and write ``clips``, ``captions``, ``phrases`` and ``events.csv`` and
    ``report.json`` to ``out``.

    Raises one CorpusError that names all offenders, with nothing written, when the tables have problems, when a
    recording is bad and ``options.on_bad_audio`` is "fail", or when skipping the bad ones leaves a split without clips.
    """
    listing = layout.listing(root)
    checked = _check_audio(listing, root, workers)
    if refusal := "\n".join(_refusals(checked, options.on_bad_audio, root)):
        raise CorpusError(refusal)
    clips, captions = _clip_table(checked), _caption_table(checked)
    phrases = listing.phrases[listing.phrases["caption_id"].isin(captions["caption_id"])]
    events = listing.events[listing.events["phrase_id"].isin(phrases["phrase_id"])]
    report = _report(checked, options)
    tables = {"clips": clips, "captions": captions, "phrases": phrases, "events": events}
    _write_all(out, {f"{name}.csv": table for name, table in tables.items()}, report)
    print(_summary(report), file=sys.stderr)


def _check_audio(listing: Listing, root: Path, workers: int) -> _Checked:
    """Inspect every recording; threads are enough, as decoding, hashing and NumPy all let go of the interpreter."""
    checked = _Checked(listing, [], [])
    total = len(listing.clips)
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        tqdm(total=total, desc="Checking audio", unit="clip", file=sys.stderr) as bar,
    ):
        try:
            for chunk in pool.map(lambda clips: [_inspect(clip, root) for clip in clips], _chunks(listing.clips)):
                for clip, found in chunk:
                    kept = checked.bad if isinstance(found, str) else checked.good
                    kept.append((clip, found))
                bar.update(len(chunk))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, no chunk is begun any more
    return checked


def _inspect(clip: ListedClip, root: Path) -> tuple[ListedClip, AudioFacts | str]:
    """The clip with its facts, or with the reason why it is refused."""
    try:
        return clip, inspect(root / clip.path)
    except AudioError as error:
        return clip, error.reason


def _chunks(clips: list[ListedClip]) -> Iterator[list[ListedClip]]:
    source = iter(clips)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _refusals(checked: _Checked, on_bad_audio: str, root: Path) -> Iterator[str]:
    """What forbids to go on, with its own heading each: the tables, and bad audio unless it may be left out."""
    if checked.listing.problems:
        yield listed(f"The data set in {root} cannot be used:", checked.listing.problems)
    if not checked.bad:
        return
    offenders = [f"{root / clip.path}: {reason}" for clip, reason in checked.bad]
    count = f"{len(offenders)} of {len(checked.listing.clips)} recordings"
    if on_bad_audio == "fail":
        advice = "Replace them, or set on_bad_audio: skip in the data set's entry: they are then left out and counted."
        yield listed(f"{count} cannot be used:", offenders, advice)
        return
    left = {clip.split for clip, _ in checked.good}
    if empty := [split for split in checked.splits() if split not in left]:
        heading = f"{count} cannot be used, and without them no clip is left in {' and '.join(empty)}:"
        yield listed(heading, offenders)


def _clip_table(checked: _Checked) -> pd.DataFrame:
    rows = (
        (clip.clip_id, clip.split, clip.path, facts.seconds, facts.sample_rate, facts.channels, facts.sha256)
        for clip, facts in checked.good
    )
    return pd.DataFrame(rows, columns=CLIPS)


def _caption_table(checked: _Checked) -> pd.DataFrame:
    rows = (
        (caption_id(clip.clip_id, number), clip.clip_id, text)
        for clip, _ in checked.good
        for number, text in enumerate(clip.captions, 1)
    )
    return pd.DataFrame(rows, columns=CAPTIONS)


def _report(checked: _Checked, options: DatasetOptions) -> dict[str, Any]:
    """The content of report.json."""
    captions: Counter[str] = Counter()
    for clip, _ in checked.good:
        captions[clip.split] += len(clip.captions)
    rates = Counter(facts.sample_rate for _, facts in checked.good)
    settings = options.model_dump(mode="json", exclude={"experiments", "overrides"})
    return {
        "schema": REPORT_SCHEMA,
        "clips": {split: _counts(checked, split) for split in checked.splits()},
        "missing": [clip.clip_id for clip in checked.missing()],
        "refused": [{"clip_id": clip.clip_id, "reason": reason} for clip, reason in checked.refused()],
        "captions": dict(captions),
        "silent": [clip.clip_id for clip, facts in checked.good if facts.silent],
        "short": [clip.clip_id for clip, facts in checked.good if facts.seconds < SHORT_SECONDS],
        **_unseen_words(checked),
        "sample_rates": {str(rate): count for rate, count in sorted(rates.items())},
        "ids_sha256": {split: _ids_digest(checked, split) for split in checked.splits()},
        "notes": checked.listing.notes,
        "provenance": provenance("corpus", **settings),
    }


def _counts(checked: _Checked, split: str) -> dict[str, int | float]:
    """Clips of a split: listed in the table, their audio found on disk or missing, found but refused.

    What is kept, and what ``seconds`` sums up, is found less refused.
    """
    listed_there = sum(clip.split == split for clip in checked.listing.clips)
    missing = sum(clip.split == split for clip in checked.missing())
    return {
        "listed": listed_there,
        "found": listed_there - missing,
        "missing": missing,
        "refused": sum(clip.split == split for clip, _ in checked.refused()),
        "seconds": round(sum(facts.seconds for clip, facts in checked.good if clip.split == split), 3),
    }


def _ids_digest(checked: _Checked, split: str) -> str:
    ids = sorted(clip.clip_id for clip, _ in checked.good if clip.split == split)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _unseen_words(checked: _Checked) -> dict[str, dict[str, dict[str, int]]]:
    """How many captions of the other splits hold a word that no development caption has, and how many such words."""
    splits = checked.splits()
    if "development" not in splits:
        return {}
    seen = {word for words in _words(checked, "development") for word in words}
    unseen: dict[str, dict[str, int]] = {}
    for split in splits:
        if split != "development":
            new = [found for words in _words(checked, split) if (found := words - seen)]
            unseen[split] = {"captions": len(new), "words": len(set().union(*new))}
    return {"unseen_words": unseen}


def _words(checked: _Checked, split: str) -> Iterator[set[str]]:
    """The distinct lower-case words of each caption of a split."""
    for clip, _ in checked.good:
        if clip.split == split:
            yield from (set(_WORD.findall(caption.lower())) for caption in clip.captions)


def _write_all(out: Path, tables: dict[str, pd.DataFrame], report: dict[str, Any]) -> None:
    """Write the tables and last the report; a failure takes back what was written before it."""
    written = []
    try:
        for name, table in tables.items():
            write_table(out / name, table)
            written.append(out / name)
        write_json(out / "report.json", report)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _summary(report: dict[str, Any]) -> str:
    """The report as a short table for people."""
    columns = ("listed", "found", "missing", "refused")
    lines = [f"{'split':<12} {' '.join(f'{name:>7}' for name in columns)} {'captions':>9} {'minutes':>9}"]
    for split, counts in report["clips"].items():
        numbers = " ".join(f"{counts[name]:>7}" for name in columns)
        lines.append(f"{split:<12} {numbers} {report['captions'][split]:>9} {counts['seconds'] / 60:>9.1f}")
    for key, meaning in (("silent", "all silent"), ("short", "shorter than one analysis window")):
        if report[key]:
            lines.append(f"clips {meaning}: {len(report[key])}")
    for split, counts in report.get("unseen_words", {}).items():
        if counts["captions"]:
            lines.append(f"{split} captions with words that development lacks: {counts['captions']}")
    return "\n".join(lines)
