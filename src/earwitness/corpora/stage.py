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
from earwitness.audio.decode import AudioError
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
        """All clips that the data set lists; raises CorpusError."""


@dataclass
class _Checked:
    """The listing, and what became of its clips."""

    listing: Listing
    good: list[tuple[ListedClip, AudioFacts]]
    refused: list[tuple[ListedClip, str]]

    def splits(self) -> list[str]:
        there = {clip.split for clip in self.listing.clips}
        return [split for split in SPLITS if split in there]


def build(layout: Layout, options: DatasetOptions, root: Path, out: Path, workers: int) -> None:
    """Check every recording of a data set and write ``clips``, ``captions``, ``phrases`` and ``events.csv`` and
    ``report.json`` to ``out``.

    Raises CorpusError, with nothing written, when the listing is refused, when a recording is and
    ``options.on_bad_audio`` is "fail", or when skipping the bad ones leaves a split without any clip.
    """
    listing = layout.listing(root)
    checked = _check_audio(listing, root, workers)
    if checked.refused:
        _refuse_or_skip(checked, options.on_bad_audio, root)
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
                    kept = checked.refused if isinstance(found, str) else checked.good
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


def _refuse_or_skip(checked: _Checked, on_bad_audio: str, root: Path) -> None:
    """Raise CorpusError unless the bad recordings may be left out and every split keeps some."""
    offenders = [f"{root / clip.path}: {reason}" for clip, reason in checked.refused]
    count = f"{len(offenders)} of {len(checked.listing.clips)} recordings"
    if on_bad_audio == "fail":
        advice = "Replace them, or set on_bad_audio: skip in the data set's entry: they are then left out and counted."
        raise CorpusError(listed(f"{count} cannot be used:", offenders, advice))
    left = {clip.split for clip, _ in checked.good}
    if empty := [split for split in checked.splits() if split not in left]:
        heading = f"{count} cannot be used, and without them no clip is left in {' and '.join(empty)}:"
        raise CorpusError(listed(heading, offenders))


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
        "refused": [{"clip_id": clip.clip_id, "reason": reason} for clip, reason in checked.refused],
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
    seconds = [facts.seconds for clip, facts in checked.good if clip.split == split]
    refused = sum(clip.split == split for clip, _ in checked.refused)
    return {
        "listed": len(seconds) + refused,
        "found": len(seconds),
        "refused": refused,
        "seconds": round(sum(seconds), 3),
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
    lines = [f"{'split':<12} {'listed':>7} {'found':>7} {'refused':>7} {'captions':>9} {'minutes':>9}"]
    for split, counts in report["clips"].items():
        numbers = f"{counts['listed']:>7} {counts['found']:>7} {counts['refused']:>7}"
        lines.append(f"{split:<12} {numbers} {report['captions'][split]:>9} {counts['seconds'] / 60:>9.1f}")
    for key, meaning in (("silent", "all silent"), ("short", "shorter than one analysis window")):
        if report[key]:
            lines.append(f"clips {meaning}: {len(report[key])}")
    for split, counts in report.get("unseen_words", {}).items():
        if counts["captions"]:
            lines.append(f"{split} captions with words that development lacks: {counts['captions']}")
    return "\n".join(lines)
