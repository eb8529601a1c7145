"""The tidy tables that every layout gives, whatever the corpus on disk looks like.

``clips.csv``: clip_id, split, path (from the data set's root), found_by (how the path map knew the file), seconds,
sample_rate, channels, sha256. ``captions.csv``: caption_id, clip_id, text. ``phrases.csv``: phrase_id, caption_id,
text, start_word, end_word (word indices in the caption split on white space; the end is exclusive). ``events.csv``:
phrase_id, onset, offset in seconds. ``sources.csv``: clip_id, kind (youtube or freesound), id: the public recordings
that clips were cut from. Clips without recordings have neither path nor sha256, and all numbers 0. All are UTF-8,
comma separated, RFC 4180.

Tables are written row by row and read in batches, so that a list of 400,000 clips is never held twice.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import CorpusError, counted, listed
from earwitness.files import atomic

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BLOCK = 1 << 18  # bytes of a table that are read at a time; a row must fit
LONGEST = BLOCK // 8  # characters of a caption, each of four bytes at most, and half of them doubled quotation marks

CLIPS = ["clip_id", "split", "path", "found_by", "seconds", "sample_rate", "channels", "sha256"]
CAPTIONS = ["caption_id", "clip_id", "text"]
PHRASES = ["phrase_id", "caption_id", "text", "start_word", "end_word"]
EVENTS = ["phrase_id", "onset", "offset"]
SOURCES = ["clip_id", "kind", "id"]


@dataclass(frozen=True, slots=True)
class ListedClip:
    """A clip as its corpus' table lists it, before its audio was read.

    ``clip_id`` is ``{original split}/{name}``; the corpus leaves the split out where it can (``ids``). A clip without a
    path is missing, unless ``problem`` says why its file is unknown (two candidates).
    """

    clip_id: str
    split: str
    path: str | None  # from the data set's root
    captions: tuple[str, ...]
    found_by: str = "name"
    problem: str = ""
    sources: tuple[tuple[str, str], ...] = ()  # (kind, id) of the recordings it was cut from

    @property
    def listed_split(self) -> str:
        """The split it has in its corpus' tables, whatever the split scheme."""
        return self.clip_id.partition("/")[0]

    @property
    def name(self) -> str:
        """Its name in its corpus' tables."""
        return self.clip_id.partition("/")[2]


@dataclass(frozen=True, slots=True)
class ListedPhrase:
    """A phrase of a caption, and when it sounds.

    ``start_word`` and ``end_word`` count the words of the caption split on white space, the end exclusive; ``events``
    are (onset, offset) in seconds, none for a phrase that has no located sound.
    """

    caption_id: str
    text: str
    start_word: int
    end_word: int
    events: tuple[tuple[float, float], ...]


@dataclass
class Listing:
    """What a layout finds in a data set: the clips with their captions, and phrases and events where there are any.

    ``problems`` says what is wrong with the tables, one line for each offender. A listing with problems is refused in
    the end; its ``clips`` are then all those whose audio can be checked, for one message to name all offenders.
    """

    clips: list[ListedClip]
    phrases: list[ListedPhrase] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)  # what the report should have beside the counts
    problems: list[str] = field(default_factory=list)
    recordings: bool = True  # False: the clips have none, and none is missing
    whole_ids: bool = False  # the tables themselves call clips {split}/{name}, so that the corpus does


def caption_id(clip_id: str, number: int) -> str:
    """The name of a clip's caption, counted from 1 as the Clotho tables do."""
    return f"{clip_id}#{number}"


def phrase_id(caption: str, number: int) -> str:
    """The name of a caption's phrase, counted from 1."""
    return f"{caption}.{number}"


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as tidy CSV, atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as they come as tidy CSV, atomically; returns how many there were."""
    count = 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def read_table(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """Read a tidy CSV; text stays text (a caption "NA" is no missing value), and absent columns are named."""
    import pyarrow as pa

    return _frame(pa.Table.from_batches(list(_batches(path, columns)), _schema(columns)))


def clips_of(path: str | Path, split: str, needed_for: str) -> pd.DataFrame:
    """The clips of one split, in table order; an absent split is refused with what it was needed for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen, have = [], dict[str, int]()
    for batch in _batches(path, CLIPS):
        for entry in batch["split"].value_counts().to_pylist():
            have[entry["values"]] = have.get(entry["values"], 0) + entry["counts"]
        chosen.append(batch.filter(pc.equal(batch["split"], split)))
    if split not in have:
        there = ", ".join(f"{name} ({counted(count, 'clip')})" for name, count in have.items()) or "no clips"
        raise CorpusError(
            f"{needed_for} needs the {split} split, and this data set has none. It has {there}. "
            f"Add {split} clips with captions to the data set, or ask for a result that does not need them."
        )
    return _frame(pa.Table.from_batches(chosen, _schema(CLIPS)))


def captions_by_clip(path: str | Path, clip_ids: Iterable[str]) -> dict[str, list[str]]:
    """The captions of the given clips, in the clips' order; clips without any are named."""
    found: dict[str, list[str]] = {clip_id: [] for clip_id in clip_ids}
    for batch in _batches(path, ["clip_id", "text"]):
        for clip_id, text in zip(batch["clip_id"].to_pylist(), batch["text"].to_pylist(), strict=True):
            if (texts := found.get(clip_id)) is not None:
                texts.append(text)
    if bare := [clip_id for clip_id, texts in found.items() if not texts]:
        raise CorpusError(listed(f"Clips without a caption in {path}:", bare, "What was asked for needs captions."))
    return found


def phrases_of(corpus: Path, split: str) -> pd.DataFrame:
    """The phrases of a split: phrase_id, clip_id, text; none where the captions have no phrases.

    ``corpus`` is the folder with the corpus' tables.
    """
    clips, captions = read_table(corpus / "clips.csv", CLIPS), read_table(corpus / "captions.csv", CAPTIONS)
    clip_of = dict(zip(captions["caption_id"], captions["clip_id"], strict=True))
    phrases = read_table(corpus / "phrases.csv", PHRASES)
    phrases["clip_id"] = [clip_of[caption] for caption in phrases["caption_id"]]
    phrases = phrases[phrases["clip_id"].isin(clips["clip_id"][clips["split"] == split])]
    return phrases[["phrase_id", "clip_id", "text"]].reset_index(drop=True)


def reference_events(corpus: Path, phrases: pd.DataFrame) -> dict[str, Any]:
    """When phrases (``phrases_of``) sound, as arguments of ``earwitness.metrics.grounding.evaluate``.

    Returns:
        ``references``: (onset, offset) in seconds of the events of each phrase; ``clips``: the clip of each phrase;
        ``durations``: seconds of each clip.
    """
    events = read_table(corpus / "events.csv", EVENTS)
    references: dict[str, list[tuple[float, float]]] = {phrase: [] for phrase in phrases["phrase_id"]}
    for phrase, onset, offset in zip(events["phrase_id"], events["onset"], events["offset"], strict=True):
        if phrase in references:
            references[phrase].append((onset, offset))
    clips = read_table(corpus / "clips.csv", CLIPS)
    seconds = dict(zip(clips["clip_id"], clips["seconds"], strict=True))
    clip_of = dict(zip(phrases["phrase_id"], phrases["clip_id"], strict=True))
    durations = {clip: float(seconds[clip]) for clip in dict.fromkeys(clip_of.values())}
    return {"references": references, "clips": clip_of, "durations": durations}


def audio_digest(clips: pd.DataFrame) -> str:
    """Digest of the ids and the audio of clips, in order: what a feature file was made from."""
    state = hashlib.sha256()
    for clip_id, audio in zip(clips["clip_id"], clips["sha256"], strict=True):
        state.update(json.dumps([clip_id, audio], ensure_ascii=False).encode())
    return state.hexdigest()


def _schema(columns: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    whole = {name: pa.int64() for name in ("sample_rate", "channels", "start_word", "end_word")}
    real = {name: pa.float64() for name in ("seconds", "onset", "offset")}
    return pa.schema([(name, {**whole, **real}.get(name, pa.string())) for name in columns])


def _batches(path: str | Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The named columns of a tidy CSV, some thousand rows at a time."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with open(path, encoding="utf-8", newline="") as file:
        there = next(csv.reader(file), [])
    if missing := [column for column in columns if column not in there]:
        raise CorpusError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(there)}.")
    schema = _schema(columns)
    convert = arrow_csv.ConvertOptions(
        column_types=schema, include_columns=list(columns), strings_can_be_null=False, null_values=[]
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    read = arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK)
    try:
        with arrow_csv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        raise CorpusError(f"{path} cannot be read: {error}. Remove it and run again to have it remade.") from error


def _frame(table: pa.Table) -> pd.DataFrame:
    """With text kept in Arrow's compact form: a tenth of the memory of Python strings."""
    import pandas as pd
    import pyarrow as pa

    return table.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
