"""Where recordings come from: tables that give a clip's name its Freesound or YouTube id.

Clotho's ``clotho_metadata_{split}.csv`` are such tables (corpora.md); any csv with the columns ``file_name`` and
``sound_id``, ``freesound_id`` or ``youtube_id`` is one. They are what a leak audit matches on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import DELIMITERS, shown
from earwitness.corpora.paths import match
from earwitness.corpora.tables import ListedClip
from earwitness.errors import nearest

NAME = "file_name"
KINDS = {"sound_id": "freesound", "freesound_id": "freesound", "youtube_id": "youtube"}
UNKNOWN = ("", "not found", "nan", "none", "null")  # what stands where an id was not to be had

Source = tuple[str, str]


def read_metadata(path: Path) -> tuple[dict[str, list[Source]], list[str]]:
    """The sources by file name, and what is wrong with the table. UTF-8 or, as Clotho's are, ISO-8859-1."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return {}, [f"{path}: cannot be read ({error.strerror or error}); it is named as `metadata` of the data set"]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("iso-8859-1")
    header = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=header.count))
    columns = [name.strip() for name in rows.fieldnames or []]
    rows.fieldnames = columns
    given = [name for name in columns if name in KINDS]
    if NAME not in columns or not given:
        needed = f"the columns {NAME} and one of {', '.join(KINDS)} are needed; the header has"
        return {}, [f"{path.name}: {needed} {', '.join(map(shown, columns))}; {nearest(NAME, columns)}"]
    sources: dict[str, list[Source]] = {}
    problems = []
    for row in rows:
        for column in given:
            value = (row[column] or "").strip()
            if value.lower() in UNKNOWN:
                continue
            if KINDS[column] == "freesound" and not (value := value.removesuffix(".0")).isdigit():
                problems.append(f"{path.name}, row {rows.line_num}: the {column} {shown(value)} is no number")
                continue
            sources.setdefault(row[NAME], []).append((KINDS[column], value))
    return sources, problems


def with_sources(clips: Sequence[ListedClip], sources: dict[str, list[Source]]) -> list[ListedClip]:
    """The clips with what is known of their origin; names are matched as names of files are."""
    if not sources or not clips:
        return list(clips)
    names = list(dict.fromkeys(clip.name for clip in clips))
    known = {name: sources[found.path] for name, found in zip(names, match(names, sources), strict=True) if found.path}
    return [_extended(clip, known.get(clip.name, ())) for clip in clips]


def _extended(clip: ListedClip, sources: Sequence[Source]) -> ListedClip:
    added: dict[Source, Any] = dict.fromkeys([*clip.sources, *sources])
    return replace(clip, sources=tuple(added)) if len(added) > len(clip.sources) else clip
