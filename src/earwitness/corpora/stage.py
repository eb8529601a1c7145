"""The corpus stage: whatever a layout lists, checked sound by sound and written as the tidy tables of ``tables``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from earwitness.audio.check import AudioFacts, inspect
from earwitness.audio.sound import MISSING, AudioError
from earwitness.corpora.events import fit_events
from earwitness.corpora.ids import shortened
from earwitness.corpora.metadata import add_sources, read_metadata
from earwitness.corpora.report import Checked, report_of, table
from earwitness.corpora.schemes import apply_scheme
from earwitness.corpora.tables import (
    CAPTIONS,
    CLIPS,
    EVENTS,
    PHRASES,
    SOURCES,
    ListedClip,
    Listing,
    caption_id,
    write_rows,
)
from earwitness.errors import CorpusError, listed
from earwitness.files import provenance, write_json
from earwitness.options import DatasetOptions

CHUNK = 32  # recordings a worker checks before it reports
NO_AUDIO = AudioFacts(seconds=0.0, sample_rate=0, channels=0, frames=0, sha256="", silent=False)


class Layout(Protocol):
    """What the stage needs of a layout."""

    def listing(self, root: Path) -> Listing:
        """All clips that the data set lists, and every problem of its tables.

        Raises CorpusError only where nothing can be listed.
        """

    def tables(self, root: Path) -> list[Path]:
        """The files, audio aside, that the data set is read from, those that exist; a change of one is a new corpus."""


def build(layout: Layout, options: DatasetOptions, root: Path, out: Path, workers: int) -> None:
    """Check every recording of a data set and write the tables of ``tables`` and ``report.json`` to ``out``.

    Raises one CorpusError that names all offenders, with nothing written, when the tables have problems, when a
    recording is bad and ``options.on_bad_audio`` is "fail", or when skipping the bad ones leaves a split without clips.
    """
    listing = layout.listing(root)
    ids = {} if listing.whole_ids else shortened([clip.clip_id for clip in listing.clips])
    for path in getattr(options, "metadata", ()):  # where recordings come from
        add_sources(listing, read_metadata(Path(path).expanduser()))
    if scheme := getattr(options, "split_scheme", None):
        apply_scheme(listing, options.layout, scheme)
    checked = _check_audio(listing, root, workers)
    fit_events(checked)
    if refusal := "\n".join(_refusals(checked, options.on_bad_audio, root)):
        raise CorpusError(refusal)
    checked = checked.with_ids(ids)
    report = report_of(checked)
    report["provenance"] = provenance("corpus", **options.settings("corpus", mode="json"))
    _write_all(out, checked, report)
    print(table(report), file=sys.stderr)


def _check_audio(listing: Listing, root: Path, workers: int) -> Checked:
    """Inspect every recording; threads are enough, as decoding, hashing and NumPy all let go of the interpreter."""
    checked = Checked(listing)
    if not listing.recordings:
        checked.good = [(clip, NO_AUDIO) for clip in listing.clips]
        return checked
    there = [clip for clip in listing.clips if clip.path is not None]
    checked.bad = [(clip, clip.problem or MISSING) for clip in listing.clips if clip.path is None]
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        tqdm(total=len(there), desc="Checking audio", unit="clip", file=sys.stderr, disable=not there) as bar,
    ):
        try:
            chunks = (there[start : start + CHUNK] for start in range(0, len(there), CHUNK))
            for chunk in pool.map(lambda clips: [_inspect(clip, root) for clip in clips], chunks):
                for clip, found in chunk:
                    if isinstance(found, str):
                        checked.bad.append((clip, found))
                    else:
                        checked.good.append((clip, found))
                bar.update(len(chunk))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, no chunk is begun any more
    return checked


def _inspect(clip: ListedClip, root: Path) -> tuple[ListedClip, AudioFacts | str]:
    """The clip with its facts, or with the reason why it is refused."""
    try:
        return clip, inspect(root / str(clip.path))
    except AudioError as error:
        return clip, error.reason


def _refusals(checked: Checked, on_bad_audio: str, root: Path) -> Iterator[str]:
    """What prevents going on, each with a heading: the tables, and bad audio unless it may be skipped."""
    if checked.listing.problems:
        yield listed(f"The data set in {root} cannot be used:", checked.listing.problems)
    if not checked.bad:
        return
    offenders = list(_offenders(checked, root))
    count = f"{len(checked.bad)} of {len(checked.listing.clips)} recordings"
    if on_bad_audio == "fail":
        advice = "Replace them, or set on_bad_audio: skip in the data set's entry: they are then left out and counted."
        yield listed(f"{count} cannot be used:", offenders, advice)
        return
    left = {clip.split for clip, _ in checked.good}
    if empty := [split for split in checked.splits() if split not in left]:
        heading = f"{count} cannot be used, and without them no clip is left in {' and '.join(empty)}:"
        yield listed(heading, offenders)


def _offenders(checked: Checked, root: Path) -> Iterator[str]:
    """A line for each bad recording, and one for all of a split of which none is there."""
    of_split = Counter(clip.listed_split for clip in checked.listing.clips)
    absent = Counter(clip.listed_split for clip in checked.missing() if clip.path is None)
    whole = {split for split, count in absent.items() if 1 < count == of_split[split]}
    yield from (
        f"all {absent[split]} clips of {split} (below {root}) are missing" for split in absent if split in whole
    )
    for clip, reason in checked.bad:
        if clip.listed_split not in whole:
            yield f"{_place(clip, root)}: {reason}"


def _place(clip: ListedClip, root: Path) -> str:
    """The file, or for a row without one the clip's id, quoted so that its blanks show."""
    return str(root / clip.path) if clip.path is not None else f"{clip.clip_id!r} (below {root})"


def _write_all(out: Path, checked: Checked, report: dict[str, Any]) -> None:
    """Write the tables and last the report; a failure takes back what was written before it."""
    written = []
    try:
        for name, columns, rows in _tables(checked):
            write_rows(out / name, columns, rows)
            written.append(out / name)
        write_json(out / "report.json", report)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _tables(checked: Checked) -> Iterator[tuple[str, list[str], Iterable[tuple]]]:
    """Name, columns and rows of each table; rows are made as they are written."""
    yield (
        "clips.csv",
        CLIPS,
        (
            (c.clip_id, c.split, c.path, c.found_by, facts.seconds, facts.sample_rate, facts.channels, facts.sha256)
            for c, facts in checked.good
        ),
    )
    yield (
        "captions.csv",
        CAPTIONS,
        (
            (caption_id(clip.clip_id, number), clip.clip_id, text)
            for clip, _ in checked.good
            for number, text in enumerate(clip.captions, 1)
        ),
    )
    phrases = list(checked.phrases())
    yield "phrases.csv", PHRASES, ((name, p.caption_id, p.text, p.start_word, p.end_word) for name, p in phrases)
    yield "events.csv", EVENTS, ((name, *times) for name, phrase in phrases for times in phrase.events)
    yield "sources.csv", SOURCES, ((clip.clip_id, *source) for clip, _ in checked.good for source in clip.sources)
