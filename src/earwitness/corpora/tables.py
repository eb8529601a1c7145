"""The tidy tables that every layout gives, whatever the corpus on disk looks like.

``clips.csv``: clip_id, split, path (from the data set's root), seconds, sample_rate, channels, sha256.
``captions.csv``: caption_id, clip_id, text. ``phrases.csv``: phrase_id, caption_id, text, start_word, end_word
(word indices in the caption split on white space; the end is exclusive). ``events.csv``: phrase_id, onset, offset in
seconds. All are UTF-8, comma separated, RFC 4180. (corpora.md, "Names used throughout".)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from earwitness.errors import CorpusError
from earwitness.files import atomic, digest

CLIPS = ["clip_id", "split", "path", "seconds", "sample_rate", "channels", "sha256"]
CAPTIONS = ["caption_id", "clip_id", "text"]
PHRASES = ["phrase_id", "caption_id", "text", "start_word", "end_word"]
EVENTS = ["phrase_id", "onset", "offset"]


@dataclass(frozen=True)
class ListedClip:
    """A clip as its corpus' own table lists it, before its audio was looked at."""

    clip_id: str
    split: str
    path: str  # from the data set's root
    captions: tuple[str, ...]


@dataclass
class Listing:
    """What a layout finds in a data set: the clips with their captions, and phrases and events where there are any.

    ``problems`` says what is wrong with the tables, one line for each offender. A listing with problems is refused in
    the end; its ``clips`` are then all those whose audio is there to be checked, for one message to name all offenders.
    """

    clips: list[ListedClip]
    phrases: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PHRASES))
    events: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EVENTS))
    notes: dict[str, Any] = field(default_factory=dict)  # what the report should tell beside the counts
    problems: list[str] = field(default_factory=list)


def caption_id(clip_id: str, number: int) -> str:
    """The name of a clip's caption, counted from 1 as the Clotho tables do."""
    return f"{clip_id}#{number}"


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as tidy CSV, atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def read_table(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """Read a tidy CSV; text stays text (a caption "NA" is no missing value), and absent columns are named."""
    numbers = {"seconds": float, "sample_rate": int, "channels": int, "onset": float, "offset": float}
    numbers |= {"start_word": int, "end_word": int}
    kinds = {column: numbers.get(column, str) for column in columns}
    table = pd.read_csv(path, dtype=kinds, keep_default_na=False, encoding="utf-8")
    if missing := [column for column in columns if column not in table.columns]:
        raise CorpusError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}.")
    return table[columns]


def clips_of(path: str | Path, split: str, needed_for: str) -> pd.DataFrame:
    """The clips of one split, in table order; an absent split is refused with what it was needed for."""
    clips = read_table(path, CLIPS)
    chosen = clips[clips["split"] == split].reset_index(drop=True)
    if chosen.empty:
        have = (
            ", ".join(f"{name} ({count} clips)" for name, count in clips["split"].value_counts().items()) or "no clips"
        )
        raise CorpusError(
            f"{needed_for} needs the {split} split, and this data set has none. It has {have}. "
            f"Add {split} clips with captions to the data set, or ask for a result that does not need them."
        )
    return chosen


def captions_by_clip(path: str | Path, clip_ids: list[str]) -> dict[str, list[str]]:
    """The captions of the given clips, in the clips' order."""
    captions = read_table(path, CAPTIONS)
    grouped = captions.groupby("clip_id", sort=False)["text"].agg(list)
    return {clip_id: grouped[clip_id] for clip_id in clip_ids}


def audio_digest(clips: pd.DataFrame) -> str:
    """Digest of the ids and the audio of clips, in order: what a feature file says it was made from."""
    return digest(clips[["clip_id", "sha256"]].values.tolist())
