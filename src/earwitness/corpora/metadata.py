"""Where recordings come from: tables that give a clip's name its Freesound or YouTube id.

Clotho's ``clotho_metadata_{split}.csv`` are such tables; any csv with the columns ``file_name`` and ``sound_id``,
``freesound_id`` or ``youtube_id`` is one. They are what a leak audit matches on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from earwitness.corpora.csv_reader import open_sheet, shown
from earwitness.corpora.paths import BY_NAME, match
from earwitness.corpora.tables import Listing
from earwitness.files import sha256

NAME = "file_name"
KINDS = {"sound_id": "freesound", "freesound_id": "freesound", "youtube_id": "youtube"}
UNKNOWN = ("", "not found", "nan", "none", "null")  # placeholders for an unknown id

Source = tuple[str, str]


@dataclass
class Metadata:
    """A metadata table: the sources by file name, and what is wrong with it, one line for each offender."""

    path: Path
    sources: dict[str, list[Source]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_metadata(path: Path) -> Metadata:
    """Read a metadata table, in UTF-8 or, as Clotho's are, in ISO-8859-1."""
    sheet, rows = open_sheet(path, needed=(NAME,), otherwise="iso-8859-1")
    table = Metadata(path, problems=sheet.problems)
    given = [name for name in sheet.columns if name in KINDS]
    if sheet.columns and not given:
        has = ", ".join(map(shown, sheet.columns))
        table.problems.append(f"{path.name}: one of the columns {', '.join(KINDS)} is needed; the header has {has}")
        return table
    for row in rows:
        cells = dict(zip(sheet.columns, row.cells, strict=True))
        known = table.sources.setdefault(cells[NAME], [])
        for column in given:
            value = cells[column].strip()
            if value.lower() in UNKNOWN:
                continue
            if KINDS[column] == "freesound" and not (value := value.removesuffix(".0")).isdigit():
                sheet.blame(row.number, f"the {column} {shown(value)} is no number")
            else:
                known.append((KINDS[column], value))
    return table


def add_sources(listing: Listing, table: Metadata, listed_split: str | None = None) -> None:
    """Note in a listing where its clips come from; names are matched as names of files are.

    A table that no clip is in, and names that may be several, are problems. ``listed_split`` is that of a table of one
    split alone.
    """
    listing.problems.extend(table.problems)
    names = list(dict.fromkeys(c.name for c in listing.clips if listed_split in (None, c.listed_split)))
    if table.problems or not names:
        return
    found = dict(zip(names, match(names, table.sources), strict=True))
    listing.problems.extend(
        f"{table.path.name}: {shown(name)} {one.problem}" for name, one in found.items() if one.problem
    )
    matched = {name: table.sources[one.path] for name, one in found.items() if one.path is not None}
    if not matched:
        shapes = f"names are like {shown(next(iter(table.sources), ''))} there and {shown(names[0])} here"
        listing.problems.append(f"{table.path.name}: has no clip of the data set; {shapes}")
    for place, clip in enumerate(listing.clips):
        if listed_split in (None, clip.listed_split) and clip.name in matched:
            sources = tuple(dict.fromkeys([*clip.sources, *matched[clip.name]]))
            listing.clips[place] = replace(clip, sources=sources)
    listing.notes.setdefault("metadata", {})[table.path.name] = {
        "sha256": sha256(table.path),
        "clips": len(matched),
        "clips_without_row": len(names) - len(matched),
        "renamed": sum(one.path is not None and one.found_by != BY_NAME for one in found.values()),
    }
