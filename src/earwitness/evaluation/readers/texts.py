"""Reads captions of clips: candidates, references, and the captions that serve as retrieval queries."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import shown
from earwitness.corpora.records_reader import is_given
from earwitness.corpora.tables import caption_id
from earwitness.evaluation.readers.tables import (
    CLIP_COLUMNS,
    Table,
    enumerated,
    find_column,
    need_column,
    open_table,
    read_id,
    usual,
)

CANDIDATE_COLUMNS = (
    *("caption_predicted", "predicted_caption", "caption_pred", "prediction", "predictions", "predicted"),
    *("candidate", "generated_caption", "generated", "hypothesis", "caption", "text", "captions"),
)
REFERENCE_COLUMNS = (
    *("captions", "references", "caption_reference", "reference_caption", "reference", "caption", "text", "raw"),
)
CAPTION_IDS = ("caption_id", "audiocap_id", "query_id", "id")

_NUMBERED = re.compile(r"(?:captions?|references?|refs?|caption_references?|reference_captions?)_?(\d+)")
_LIST_AS_TEXT = re.compile(r"\[\s*['\"].*\]", re.DOTALL)


@dataclass(frozen=True)
class Caption:
    """One caption of a clip, and its row; ``id`` is ``{clip}#{n}`` where the file gives none."""

    id: str
    clip: str
    text: str
    row: int | str


@dataclass
class Texts:
    """The captions of a file. ``columns`` are those they were read from.

    ``name_column`` has the files' names where clips are images by number, as in COCO's json; None elsewhere.
    """

    path: Path
    captions: list[Caption] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    name_column: str | None = None

    def by_clip(self) -> dict[str, list[Caption]]:
        """The captions of each clip, in the order of the file."""
        clips: dict[str, list[Caption]] = defaultdict(list)
        for caption in self.captions:
            clips[caption.clip].append(caption)
        return dict(clips)


def read_candidates(path: Path, clip_column: str | None = None, caption_column: str | None = None) -> Texts:
    """Captions that a system generated, one for each clip; an empty one is a caption without words."""
    table = open_table(path)
    clip = need_column(table, CLIP_COLUMNS, clip_column, "clips", "--clip-column")
    caption = find_column(table, CANDIDATE_COLUMNS, caption_column)
    if caption is None and caption_column is None and clip is not None:
        if numbered := [name for name in table.columns if _NUMBERED.fullmatch(usual(name))]:
            what = f"has {' and '.join(map(shown, numbered[:2]))}: several captions per clip, as references have"
            table.problems.append(f"{path.name}: {what}; candidates are one per clip (are the two files swapped?)")
        else:
            need_column(table, CANDIDATE_COLUMNS, None, "captions", "--caption-column")
    columns = [name for name in (clip, caption) if name]
    texts = Texts(path, columns=columns, problems=table.problems, name_column=_name_column(table, clip))
    if table.problems or clip is None or caption is None:
        return texts
    for row, (name, value) in table.rows([clip, caption]):
        name = read_id(table, row, name)
        if value is None:
            table.blame(row, f'the caption of {shown(str(name))} is null; an empty caption is written ""')
        elif name is not None:
            found = _texts(table, row, name, value) if value != [] else [""]
            texts.captions += [Caption(name, name, text, row) for text in found]
    texts.problems += [
        f"{path.name}, {enumerated(list(dict.fromkeys(c.row for c in captions)))}: clip {shown(clip)} has "
        f"{len(captions)} candidates; one per clip is scored"
        for clip, captions in texts.by_clip().items()
        if len(captions) > 1
    ]
    return texts


def read_references(
    path: Path,
    clip_column: str | None = None,
    caption_columns: Sequence[str] | None = None,
    texts_needed: bool = True,
    likely: str | None = None,
) -> Texts:
    """Captions that people wrote, any number per clip: one per row, or several in numbered columns or in a list.

    Empty cells of numbered columns are ignored. Without ``texts_needed`` a table of ids alone is accepted too, and
    messages name no options of columns. Without ``clip_column`` the column ``likely`` has the clips, if there is one.
    """
    table = open_table(path)
    if clip_column is None and likely in table.columns:
        clip_column = likely
    option = "--reference-clip-column" if texts_needed else ""
    clip = need_column(table, CLIP_COLUMNS, clip_column, "clips", option)
    captions = _caption_columns(table, caption_columns)
    if not captions and caption_columns is None and clip is not None and texts_needed:
        need_column(table, REFERENCE_COLUMNS, None, "captions", "--reference-caption-column")
    columns = [name for name in (clip, *captions) if name]
    texts = Texts(path, columns=columns, problems=table.problems, name_column=_name_column(table, clip))
    if table.problems or clip is None:
        return texts
    ids = find_column(table, CAPTION_IDS) if len(captions) < 2 else None
    ids = None if ids in texts.columns else ids
    counted: Counter = Counter()
    for row, (name, id_, *values) in table.rows([clip, ids or clip, *captions]):
        if (name := read_id(table, row, name)) is None:
            continue
        for number, text in _numbered(table, row, name, captions, values):
            counted[name] += 1
            given = read_id(table, row, id_, "caption's id") if ids else None
            texts.captions.append(Caption(given or caption_id(name, number or counted[name]), name, text, row))
    rows = defaultdict(list)
    for caption in texts.captions:
        rows[caption.id].append(caption.row)
    texts.problems += [
        f"{path.name}, {enumerated(several)}: the caption id {shown(name)} appears {len(several)} times"
        for name, several in rows.items()
        if len(several) > 1
    ]
    return texts


def _name_column(table: Table, clip: str | None) -> str | None:
    """The column of files' names beside a column ``clip`` of numbers of images."""
    return find_column(table, ("file_name",)) if clip is not None and usual(clip) == "image_id" else None


def _caption_columns(table: Table, given: Sequence[str] | None) -> list[str]:
    """The columns ``given``, else the numbered ones in order, else the first usual one."""
    if given is not None:
        return [name for name in (find_column(table, (), name) for name in given) if name]
    numbered = sorted((int(found[1]), name) for name in table.columns if (found := _NUMBERED.fullmatch(usual(name))))
    column = find_column(table, REFERENCE_COLUMNS)
    return [name for _, name in numbered] or ([column] if column else [])


def _numbered(
    table: Table, row: int | str, clip: str, columns: Sequence[str], values: Sequence[Any]
) -> Iterator[tuple[int, str]]:
    """The captions of a row with the number in their column's name, 0 where it has none."""
    if not columns:
        yield 0, ""
    for column, value in zip(columns, values, strict=True):
        found = _NUMBERED.fullmatch(usual(column))
        number = int(found[1]) if found else 0
        if len(columns) > 1 and (value is None or (isinstance(value, str) and not value.strip())):
            continue
        known = len(table.problems)
        texts = [] if value is None else _texts(table, row, clip, value)
        if len(table.problems) == known and not (texts and all(text.strip() for text in texts)):
            table.blame(row, f"a reference of {shown(clip)} is blank; it would count as the closest in length")
        yield from ((number if len(texts) == 1 else 0, text) for text in texts if text.strip())


def _texts(table: Table, row: int | str, clip: str, value: Any) -> list[str]:
    """A caption, or those of a list; a problem for what is not text."""
    if isinstance(value, str) and _LIST_AS_TEXT.fullmatch(value):
        try:
            value = json.loads(value)
        except ValueError:
            what = "is a list printed as text; write json, or one caption per row"
            table.blame(row, f"the caption {shown(value)} of {shown(clip)} {what}")
            return []
    texts = []
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, dict):
            entry = entry.get("caption")
        if isinstance(entry, str):
            texts.append(entry)
        elif is_given(entry) or isinstance(value, list):
            table.blame(row, f"the caption {shown(str(entry))} of {shown(clip)} is not text")
    return texts
