"""Finds the captions that are queries, by id or by text, and the clips they were written for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from earwitness.corpora.csv_reader import shown, unreadable_text
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.ranked import QUERY_COLUMNS, is_mapping
from earwitness.evaluation.readers.tables import CLIP_COLUMNS, need_column, open_table, read_id, read_json, refuse
from earwitness.evaluation.readers.texts import Caption, Texts, read_references

SUBSET = "--subset ignores queries that are not scored."
NOTHING = "A row without a clip, in json an empty list, says that nothing is relevant to a query."


class Captions:
    """A table of captions by id and by text; texts that differ only in blanks are the same."""

    def __init__(self, texts: Texts):
        self.path = texts.path
        self.all = texts.captions
        self.by_id = {caption.id: caption for caption in texts.captions}
        self.by_text: dict[str, list[Caption]] = defaultdict(list)
        self._by_words: dict[str, Caption] = {}
        for caption in texts.captions:
            if caption.text:
                self.by_text[_plain(caption.text)].append(caption)
                self._by_words.setdefault(_words(caption.text), caption)

    def find(self, query: str) -> list[Caption]:
        """The caption of an id, else all captions of a text, which several clips may have."""
        if (caption := self.by_id.get(query)) is not None:
            return [caption]
        return self.by_text.get(_plain(query), [])

    def hint(self, query: str) -> str:
        """What a message says after an unknown query: a caption that differs only in letter case and punctuation."""
        caption = self._by_words.get(_words(query))
        return "" if caption is None else f" (row {caption.row} differs only in letter case and punctuation)"


def read_captions(path: Path | None) -> Captions | None:
    """The table of captions and their clips, if there is one; EarwitnessError for one that cannot be used."""
    if path is None:
        return None
    texts = read_references(path, texts_needed=False)
    refuse(texts.problems)
    return Captions(texts)


def clip_of(caption: str) -> str:
    """The clip of a caption whose id is ``{clip}#{n}``; any other id itself."""
    return re.sub(r"#\d+$", "", caption)


def read_clips(path: Path | None) -> list[str] | None:
    """Ids of clips: a .txt has one per line, a table a column of them. EarwitnessError for a file without."""
    if path is None:
        return None
    if path.suffix.lower() == ".txt":
        refuse([problem] if (problem := unreadable_text(path)) else [])
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        found = [line for line in lines if line.strip()]
        refuse([] if found else [f"{path.name}: is empty"])
        return list(dict.fromkeys(found))
    table = open_table(path)
    column = need_column(table, CLIP_COLUMNS, None, "clips")
    refuse(table.problems)
    assert column is not None  # or it is a problem
    clips = [read_id(table, row, name) for row, (name,) in table.rows([column])]
    refuse(table.problems)
    return list(dict.fromkeys(clip for clip in clips if clip is not None))


def _read_relevant(path: Path) -> list[tuple[int | str, str, list[str]]]:
    """Rows of (number, query, relevant clips); a row without a clip says that its query has none."""
    table = open_table(path)
    if not table.problems and path.suffix.lower() == ".json":
        content, problems = read_json(path)
        filled = {key: value or [""] for key, value in content.items()} if isinstance(content, dict) else None
        if not problems and is_mapping(filled):
            return [(shown(query), query, list(clips)) for query, clips in content.items()]
    query = need_column(table, QUERY_COLUMNS, None, "queries")
    clip = need_column(table, (*CLIP_COLUMNS[:-1], "clips", "clip_ids", "relevant"), None, "clips")
    refuse(table.problems)
    assert query is not None and clip is not None  # or it is a problem
    rows = []
    for row, (name, value) in table.rows([query, clip]):
        clips = value if isinstance(value, list) else [] if value is None or not str(value).strip() else [value]
        clips = [read_id(table, row, entry) for entry in clips]
        if (name := read_id(table, row, name, "query")) is not None:
            rows.append((row, name, clips))
    refuse(table.problems)
    return rows


def relevant_to(
    path: Path, names: Mapping[str, str], captions: Captions | None, clips: Iterable[str], how: str, subset: bool
) -> dict[str, list[str]]:
    """The relevant clips of each scored caption; queries of the table are ids or texts.

    Args:
        path: the table of relevant clips.
        names: the ids of the scored captions, with their text or "".
        captions: the table of captions, None where there is none.
        clips: all that could be retrieved.
        how: how ids of clips are matched.
        subset: ignore queries that are not scored.

    Raises EarwitnessError for queries that are not scored, and for scored captions that the table lacks.
    """
    rows = _read_relevant(path)
    by_text = defaultdict(list)
    for name, text in names.items():
        by_text[_plain(text)].append(name)
    matched = ids.match([clip for _, _, line in rows for clip in line], list(clips), how)
    found: dict[str, list[str]] = {}
    problems = list(matched.problems)
    for row, query, line in rows:
        those = [query] if query in names else by_text.get(_plain(query), [])
        if not those and not subset:
            hint = captions.hint(query) if captions else ""
            problems.append(f"{path.name}, row {row}: the query {shown(query)} is not among the scored ones{hint}")
        for name in those:
            found.setdefault(name, []).extend(matched.found.get(clip, clip) for clip in line)
    advice = [SUBSET] if problems and not subset else []
    for name in (lacking := [name for name in names if name not in found]):
        # An id may be in no file: {clip}#{n} is made up where a table gives none.
        if captions and (caption := captions.by_id.get(name)):
            where = f"{captions.path.name}, row {caption.row}"
            problems.append(f"{where}: the caption {shown(caption.text or name)} is not in {path.name}")
        else:
            problems.append(f"{path.name}: the caption {shown(name)} is not in it")
    refuse(problems, " ".join([*advice, *([NOTHING] if lacking else [])]))
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()
