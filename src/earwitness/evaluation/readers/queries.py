"""Finds the captions that are queries, by id or by text, and the clips they were written for."""

from __future__ import annotations

import ast
import html
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.corpora.csv_reader import shown, unreadable_text
from earwitness.errors import nearest
from earwitness.evaluation.readers import ids
from earwitness.evaluation.readers.ranked import QUERY_COLUMNS, is_mapping
from earwitness.evaluation.readers.tables import (
    CLIP_COLUMNS,
    need_column,
    open_table,
    read_id,
    read_json,
    refuse,
    usual,
)
from earwitness.evaluation.readers.texts import Caption, Texts, read_references

SUBSET = "--subset ignores queries that are not scored."
NOTHING = (
    "A row without a clip, or an empty list, says that nothing is relevant to a query; --subset leaves captions out "
    "that the table lacks."
)
LISTS = ("audio_filenames", "clips", "clip_ids", "relevant")  # columns with all relevant clips of a query
LONGEST_LIST = 1 << 20  # characters
HINTS = 20  # unknown clips for which the nearest known one is looked for, which takes time

_STRING = r"(?:'[^'\\\n]*(?:\\.[^'\\\n]*)*'|\"[^\"\\\n]*(?:\\.[^\"\\\n]*)*\")"
_TEXT = re.compile(_STRING)
_LIST = re.compile(rf"\[\s*(?:{_STRING}\s*(?:,\s*{_STRING}\s*)*,?\s*)?\]")


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


@dataclass(frozen=True)
class Relevant:
    """A row of a table of relevant clips: its number, the query, its clips; none says that nothing is relevant."""

    row: int | str
    query: str
    clips: list[str]


def _read_relevant(path: Path) -> list[Relevant]:
    """The rows of a table: one for each query and clip, or one with a list for each query, as DCASE 2025 has it."""
    table = open_table(path)
    if not table.problems and path.suffix.lower() == ".json":
        content, problems = read_json(path)
        filled = {key: value or [""] for key, value in content.items()} if isinstance(content, dict) else None
        if not problems and is_mapping(filled):
            return [Relevant(shown(query), query, list(clips or [])) for query, clips in content.items()]
    query = need_column(table, QUERY_COLUMNS, None, "queries")
    clip = need_column(table, (LISTS[0], *CLIP_COLUMNS[:-1], *LISTS[1:]), None, "clips")
    refuse(table.problems)
    assert query is not None and clip is not None  # or it is a problem
    as_lists, rows = usual(clip) in LISTS, []
    for row, (name, value) in table.rows([query, clip]):
        try:
            clips = _printed_list(value) if as_lists and isinstance(value, str) else value
        except ValueError as error:
            table.blame(row, f"{clip} is {shown(str(value))}, {error}")
            continue
        clips = clips if isinstance(clips, list) else [] if clips is None or not str(clips).strip() else [clips]
        named = [read_id(table, row, entry) for entry in clips]
        if (name := read_id(table, row, name, "query")) is not None:
            rows.append(Relevant(row, name, [entry for entry in named if entry is not None]))
    refuse(table.problems)
    return rows


def _printed_list(text: str) -> list[str] | str:
    """A list of texts as Python or json prints it; a text that does not begin like a list is the name of one clip.

    Nothing but texts between brackets is read, so that no content can run or nest. ValueError for a list that is not
    whole, or is too long.
    """
    text = text.strip()
    if not text.startswith("["):
        return text
    if len(text) > LONGEST_LIST:
        raise ValueError(f"a list of more than {LONGEST_LIST} characters")
    if not _LIST.fullmatch(text):
        raise ValueError("which is no list of texts such as ['a.wav', 'b.wav']; is it cut off?")
    try:
        return [ast.literal_eval(found) for found in _TEXT.findall(text)]
    except (SyntaxError, ValueError) as error:  # such as an escape that is not whole
        raise ValueError(f"a list with a text that cannot be read ({error.args[0]})") from error


def relevant_to(
    path: Path,
    names: Mapping[str, str],
    captions: Captions | None,
    clips: Iterable[str],
    how: str = "exact",
    *,
    others: bool = False,
    partial: bool = False,
    gone: bool = False,
) -> dict[str, list[str]]:
    """The relevant clips of each scored caption; queries of the table are ids or texts.

    A text that several captions have is a query of each of them. A name with html entities (``&#39;``) that is no clip
    stands for the clip with the characters they mean. Rows of one query count together.

    Args:
        path: the table of relevant clips.
        names: the ids of the scored captions, with their text or "".
        captions: the table of captions, None where there is none.
        clips: all that could be retrieved.
        how: how ids of clips are matched.
        others: ignore queries that are not scored; partial: leave out captions that the table lacks, from what is
            returned too; gone: ignore clips that could not be retrieved. All three are refused otherwise.

    Raises EarwitnessError with all offenders, and where the table has none of the captions.
    """
    rows, known = _read_relevant(path), dict.fromkeys(clips)
    asked = next((line for line in rows if " " in line.query.strip()), None)
    if asked is not None and not any(names.values()) and not any(line.query in names for line in rows):
        what = f"the query {shown(asked.query)} is a text, and of the scored captions only ids are known"
        refuse([f"{path.name}, row {asked.row}: {what}"], "Give the table CAPTIONS, which has both.")
    by_text = defaultdict(list)
    for name, text in names.items():
        by_text[_plain(text)].append(name)
    spelt = {clip: _spelt(clip, known) for line in rows for clip in line.clips}
    matched = ids.match(spelt.values(), known, how)
    found: dict[str, dict[str, None]] = {}
    problems, hints = list(matched.problems), 0
    for line in rows:
        where = f"{path.name}, row {line.row}"
        those = [line.query] if line.query in names else by_text.get(_plain(line.query), [])
        if not those:
            hint = captions.hint(line.query) if captions else ""
            what = f"the query {shown(line.query)} is not among the scored ones{hint}"
            problems += [] if others else [f"{where}: {what}"]
            continue
        for clip in [] if gone else [clip for clip in line.clips if spelt[clip] not in matched.found]:
            hints += 1
            hint = matched.hint(spelt[clip]) or (_nearest(clip, known) if hints <= HINTS else "")
            problems.append(f"{where}: clip {shown(clip)} is not among the clips{hint}")
        twice = [clip for clip, number in Counter(line.clips).items() if number > 1]
        problems += [f"{where}: clip {shown(clip)} is in the list more than once" for clip in twice]
        for name in those:
            here = (matched.found[spelt[clip]] for clip in line.clips if spelt[clip] in matched.found)
            found.setdefault(name, {}).update(dict.fromkeys(here))
    advice = [SUBSET] if problems and not others else []
    lacking = [name for name in names if name not in found] if not partial else []
    for name in lacking:
        # An id may be in no file: {clip}#{n} is made up where a table gives none.
        if captions and (caption := captions.by_id.get(name)):
            where = f"{captions.path.name}, row {caption.row}"
            problems.append(f"{where}: the caption {shown(caption.text or name)} is not in {path.name}")
        else:
            problems.append(f"{path.name}: the caption {shown(name)} is not in it")
    if not found and not problems:
        problems.append(f"{path.name}: no query in it is among the scored ones")
    refuse(problems, " ".join([*advice, *([NOTHING] if lacking else [])]))
    return {name: list(found[name]) for name in names if name in found}


def _spelt(clip: str, known: Mapping[str, None]) -> str:
    """A clip's name, with html entities undone where that makes it one of the known clips."""
    return plain if clip not in known and (plain := html.unescape(clip)) in known else clip


def _nearest(clip: str, known: Mapping[str, None]) -> str:
    hint = nearest(html.unescape(clip), known)
    return f" ({hint})" if hint.startswith("did") else ""


def _plain(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()
