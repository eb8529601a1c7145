"""The check of splits and captions: whether a data set has those that the targets need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.corpora.dataset import YOUTUBE, Dataset
from earwitness.doctor.asked import RESULTS, SPLITS_OF, Asked, Need
from earwitness.doctor.findings import FAIL, OK, Finding
from earwitness.errors import CorpusError, EarwitnessError, counted
from earwitness.files import read_json
from earwitness.options import SPLITS

if TYPE_CHECKING:
    from earwitness.corpora.tables import Listing

SHOWN = 3  # offenders; the corpus stage names all of them


@dataclass
class Holds:
    """A data set's clips by split, the ids of those without a caption, and why its corpus will be refused."""

    clips: Counter[str]
    uncaptioned: Sequence[str] = ()
    refused: Sequence[Finding] = ()

    def __str__(self) -> str:
        return ", ".join(f"{split} {self.clips[split]}" for split in SPLITS if self.clips[split]) or "no clips"


def check_splits(asked: Asked) -> Iterator[Finding]:
    """The splits that the targets need, and captions: the vocabulary and the constant caption read all of them."""
    for dataset in asked.datasets():
        need = asked.needs[dataset.name]
        try:
            holds = _holds(dataset) if need.splits else None
        except EarwitnessError as error:
            yield Finding(FAIL, f"{dataset.name}: {error}")
            continue
        if holds is None:
            continue
        findings = [*holds.refused, *_absent(dataset, need, holds), *_without_captions(dataset, need, holds)]
        yield from findings or [Finding(OK, f"{dataset.name}: the splits and captions are there: {holds}")]


def _absent(dataset: Dataset, need: Need, holds: Holds) -> Iterator[Finding]:
    absent = [split for split in SPLITS if split in need.splits and not holds.clips[split]]
    if not absent or (holds.refused and not holds.clips):  # unreadable tables are reported already
        return
    parts = [f"no {split} clips (needed for {', '.join(need.splits[split])})" for split in absent]
    entry = f"datasets.{dataset.name}"
    if dataset.synthesised:
        advice = f"Set {' and '.join(f'{entry}.clips.{split}' for split in absent)} to more than 0"
    elif not dataset.options.RECORDINGS:
        advice = f"Add a table of them to {entry}.tables"
    else:
        advice = f"Add such clips to the data set, or set {entry}.split_scheme to lists that move clips"
    yield Finding(FAIL, f"{dataset.name}: {', '.join(parts)}; it has {holds}", advice)


def _without_captions(dataset: Dataset, need: Need, holds: Holds) -> Iterator[Finding]:
    readers = [what for stage, (what, _) in SPLITS_OF.items() if stage in need.stages and stage != "predict"]
    if not readers or not holds.uncaptioned:
        return
    advice = "Add them to its tables"
    if _has_no_table(dataset):
        advice = f"Set datasets.{dataset.name}.table to the table that has them"
    what, whole = _some(holds.uncaptioned, "clip", "without a caption"), holds.clips.total()
    what = f"none of its {whole} clips has a caption" if len(holds.uncaptioned) == whole else what
    yield Finding(FAIL, f"{dataset.name}: {what}; captions are needed for {', '.join(readers)}", advice)


def _holds(dataset: Dataset) -> Holds | None:
    """None where it is unknown yet, or where the check of data sets reports what cannot be read."""
    options, corpus = dataset.options, RESULTS / dataset.name / "corpus"
    if dataset.synthesised:
        return Holds(Counter({split: count for split in SPLITS if (count := getattr(options.clips, split))}))
    try:
        inputs = dataset.inputs()
    except CorpusError:  # a list of the split scheme is not there
        return None
    if _is_made(dataset, corpus, inputs):
        from earwitness.corpora.tables import read_table

        clips = read_table(corpus / "clips.csv", ["clip_id", "split"])
        captioned = set(read_table(corpus / "captions.csv", ["clip_id"])["clip_id"])
        return Holds(Counter(clips["split"]), [clip_id for clip_id in clips["clip_id"] if clip_id not in captioned])
    readable = options.source == YOUTUBE if dataset.to_be_fetched else dataset.root.is_dir()
    return _of_tables(dataset) if readable and (dataset.tables or _has_no_table(dataset)) else None


def _has_no_table(dataset: Dataset) -> bool:
    """Whether it is a folder of recordings for which no table is configured."""
    return getattr(dataset.options, "table", "") is None


def _is_made(dataset: Dataset, corpus: Path, inputs: Sequence[Path]) -> bool:
    """Whether the corpus is there, made as the entry says, and no older than tables and folders of audio."""
    tables, report = [corpus / "clips.csv", corpus / "captions.csv"], corpus / "report.json"
    if not all(path.is_file() for path in (*tables, report)):
        return False
    made = min(path.stat().st_mtime for path in tables)
    settings = dataset.options.settings("corpus", mode="json")
    if read_json(report).get("provenance", {}).get("settings") != settings:
        return False
    folders = [dataset.root, *(path for path in dataset.root.glob("*") if path.is_dir())]
    made_from = (path for path in (*inputs, *dataset.tables, *folders) if path.exists())
    return all(path.stat().st_mtime <= made for path in made_from)


def _of_tables(dataset: Dataset) -> Holds:
    """What the data set's tables list, in the splits of its scheme; of recordings only the names are read."""
    from earwitness.corpora.schemes import apply_scheme
    from earwitness.corpora.tables import Listing

    fetching, options = dataset.to_be_fetched, dataset.options
    listing = Listing(list(dataset.clips)) if fetching else dataset.layout.listing(dataset.root)
    if options.split_scheme:
        apply_scheme(listing, options.layout, options.split_scheme)
    refused = [] if fetching else list(_refused(dataset, listing))
    skips = options.on_bad_audio == "skip" and not fetching and listing.recordings
    clips = [clip for clip in listing.clips if clip.path is not None or not skips]
    uncaptioned = [clip.clip_id for clip in clips if not clip.captions]
    return Holds(Counter(clip.split for clip in clips), uncaptioned, refused)


def _refused(dataset: Dataset, listing: Listing) -> Iterator[Finding]:
    """Why the corpus stage will refuse what is listed."""
    if listing.problems:
        advice = f"Correct them; results/{dataset.name}/corpus/report.json, when made, lists all"
        yield Finding(FAIL, f"{dataset.name}: {_some(listing.problems, 'problem', 'of its tables')}", advice)
    missing = [clip.clip_id for clip in listing.clips if clip.path is None and listing.recordings]
    if missing and dataset.options.on_bad_audio == "fail":
        advice = f"Put them there, or set datasets.{dataset.name}.on_bad_audio to skip"
        yield Finding(FAIL, f"{dataset.name}: {_some(missing, 'clip', 'without a recording')}", advice)


def _some(offenders: Sequence[str], one: str, what: str) -> str:
    more = f"; and {len(offenders) - SHOWN} more" if len(offenders) > SHOWN else ""
    return f"{counted(len(offenders), one)} {what}: {'; '.join(offenders[:SHOWN])}{more}"
