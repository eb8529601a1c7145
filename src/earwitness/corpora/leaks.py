"""The leak audit: which clips of a data set are in several of its splits, or in lists of what models were trained on.

Recordings are told apart by name, by the ids of their public sources and by the digest of the audio. ``audit`` writes
``leaks.json``; ``marks`` takes from it what concerns an experiment, and ``told`` puts that into words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from earwitness.corpora import id_lists, paths
from earwitness.corpora.tables import SOURCES, read_table
from earwitness.errors import CorpusError
from earwitness.files import SCHEMA, provenance, write_json
from earwitness.options import SPLITS, IdListOptions

# What a clip is recognised by, and how that is told.
BY = {"name": "name", "youtube": "YouTube id", "freesound": "Freesound id", "sha256": "the same audio"}
FROM_SOURCES = ("youtube", "freesound")  # a clip may have no id of these
SPLIT, DATASET = "split", "dataset"  # kinds of marks beside those of id lists
ROLES = {"development": "which it was trained on", "validation": "by which its weights were chosen"}


class _Trait(NamedTuple):
    """Something that a clip is recognised by."""

    clip_id: str
    split: str
    kind: str
    id: str


@dataclass
class _Clips:
    """The clips of a data set, and for each kind of id the clips that have it."""

    splits: dict[str, str] = field(default_factory=dict)  # of each clip
    index: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {kind: {} for kind in BY})
    counts: Counter[str] = field(default_factory=Counter)  # by split

    @cached_property
    def renamed(self) -> dict[tuple, list[str]]:
        """Clips by what is left of their names without the known renamings; made when a list of names needs it."""
        found = defaultdict(list)
        for name, clips in self.index["name"].items():
            for key in paths.keys(name):
                found[key].extend(clips)
        return found

    @property
    def there(self) -> list[str]:
        """The splits that there are, in their usual order."""
        return [split for split in SPLITS if split in self.counts]

    def without(self, kinds: Iterable[str]) -> Counter[str]:
        """By split: how many clips have no id of any of the kinds."""
        have = {clip_id for kind in kinds for clips in self.index[kind].values() for clip_id in clips}
        return Counter(split for clip_id, split in self.splits.items() if clip_id not in have)


@dataclass
class _Found:
    """A clip that is in a list: by what, on which sides, and under which other name."""

    by: set[str] = field(default_factory=set)
    sides: set[str] = field(default_factory=set)
    renamed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # name in the list -> its sides


def audit(corpus: Path, lists: Mapping[str, IdListOptions], datasets: Mapping[str, Path], out: Path) -> None:
    """Write what is in several splits of a data set, and how much of it is in each list.

    Args:
        corpus: the folder with the data set's ``clips.csv`` and ``sources.csv``.
        lists: the id lists by name; one that cannot be read has ``clips`` None and a ``reason``.
        datasets: the corpus folders of the data sets that lists name, those that there are.
        out: place of ``leaks.json``.
    """
    own = _read(corpus)
    content = {
        "schema": SCHEMA,
        "clips": {split: own.counts[split] for split in own.there},
        "within": _within(own),
        "lists": {name: _audited(own, options, datasets) for name, options in lists.items()},
        "provenance": provenance("leaks", {"clips": corpus / "clips.csv", "sources": corpus / "sources.csv"}),
    }
    write_json(out, content)


def marks(report: Mapping[str, Any], trained_on: Sequence[str], split: str) -> list[dict[str, Any]]:
    """What an experiment was trained on and how many clips of a split are in it.

    Each mark has ``list``, ``kind``, ``of`` (clips of the split), ``clips`` (how many of them are in the list; None
    with ``reason`` where that cannot be told), ``by`` (what they were recognised by), and ``clips_without_id`` where
    clips could not be looked up. Names that occur in two splits of one data set are no evidence by themselves, as clips
    are often numbered anew in each split: they stand in the report, not here.

    Args:
        report: the content of ``leaks.json``.
        trained_on: names of the id lists, beside the data set's own development and validation splits.
    """
    of = report["clips"].get(split, 0)
    own = [_split_mark(pair, split, of) for pair in report["within"] if split in pair["splits"]]
    return [*own, *(_list_mark(report, name, split, of) for name in trained_on)]


def told(found: Sequence[Mapping[str, Any]], split: str) -> tuple[list[str], list[str]]:
    """Marks in words: the leaks, and what could not be checked. Both are empty where there is nothing to tell."""
    leaked, unchecked = [], []
    for mark in found:
        role = ROLES[mark["list"]] if mark["kind"] == SPLIT else "which it was trained on"
        if mark["clips"] is None:
            reason = mark["reason"]
            unchecked.append(f"whether {split} clips are in {mark['list']}, {role}, could not be checked: {reason}")
            continue
        if mark["clips"]:
            by = ", ".join(BY[kind] for kind in mark["by"])
            verb = "is" if mark["clips"] == 1 else "are"
            leaked.append(f"{mark['clips']} of {mark['of']} {split} clips {verb} in {mark['list']}, {role} ({by})")
        if bare := mark.get("clips_without_id"):
            lacks = f"{bare} of {mark['of']} {split} clips could not be looked up in {mark['list']}"
            unchecked.append(f"{lacks}, {role}: no {BY[mark['kind']]} of theirs is known")
    return leaked, unchecked


def summary(report: Mapping[str, Any]) -> str:
    """The audit as lines for people, only what there is to tell."""
    lines = []
    for pair in report["within"]:
        for kind, counts in pair["by"].items():
            numbers = " and ".join(f"{count} {split}" for split, count in counts.items())
            lines.append(f"{numbers} clips share {BY[kind] if kind == 'sha256' else f'a {BY[kind]}'}")
    for name, entry in report["lists"].items():
        if entry["clips"] is None:
            lines.append(f"{name}: could not be checked: {entry['reason']}")
            continue
        for split, counts in entry["splits"].items():
            lines.append(f"{name}: {counts['clips']} of {counts['of']} {split} clips are in it")
            if bare := counts.get("clips_without_id"):
                lines.append(f"{name}: {bare} of {counts['of']} {split} clips have no {BY[entry['kind']]}")
    return "\n".join(lines)


def _traits(corpus: Path) -> Iterator[_Trait]:
    """Everything that the clips of a corpus are recognised by; each has a name and a digest, some have sources."""
    clips = read_table(corpus / "clips.csv", ["clip_id", "split", "sha256"])
    splits = dict(zip(clips["clip_id"], clips["split"], strict=True))
    for (clip_id, split), digest in zip(splits.items(), clips["sha256"], strict=True):
        yield _Trait(clip_id, split, "name", clip_id.partition("/")[2])
        yield _Trait(clip_id, split, "sha256", digest)
    sources = read_table(corpus / "sources.csv", SOURCES)
    for clip_id, kind, value in zip(*(sources[column] for column in SOURCES), strict=True):
        if (id_ := id_lists.comparable(kind, value)) is not None:
            yield _Trait(clip_id, splits[clip_id], kind, id_)


def _read(corpus: Path) -> _Clips:
    own = _Clips()
    for trait in _traits(corpus):
        own.splits[trait.clip_id] = trait.split
        clips = own.index[trait.kind].setdefault(trait.id, [])
        if trait.clip_id not in clips:
            clips.append(trait.clip_id)
    own.counts.update(own.splits.values())
    return own


def _within(own: _Clips) -> list[dict[str, Any]]:
    """For each pair of splits what they share."""
    shared = [
        (kind, id_, clips)
        for kind, ids in own.index.items()
        for id_, clips in ids.items()
        if len({own.splits[clip_id] for clip_id in clips}) > 1
    ]
    return [_pair(own, pair, shared) for pair in combinations(own.there, 2)]


def _pair(own: _Clips, pair: tuple[str, str], shared: list[tuple[str, str, list[str]]]) -> dict[str, Any]:
    found = []
    clips_by: dict[str, dict[str, set[str]]] = {}
    for kind, id_, clips in shared:
        sides = {split: [clip_id for clip_id in clips if own.splits[clip_id] == split] for split in pair}
        if all(sides.values()):
            found.append({"by": kind, "id": id_, "clips": sides})
            for split, ids in sides.items():
                clips_by.setdefault(kind, {split: set() for split in pair})[split].update(ids)
    counts = {kind: {split: len(ids) for split, ids in sides.items()} for kind, sides in clips_by.items()}
    return {"splits": list(pair), "by": counts, "found": found}


def _audited(own: _Clips, options: IdListOptions, datasets: Mapping[str, Path]) -> dict[str, Any]:
    """How much of the data set is in one list."""
    if options.dataset is None:
        head = {"kind": options.kind, "files": options.files}
        try:
            return head | _in_files(own, options)
        except CorpusError as error:
            return head | {"clips": None, "reason": str(error)}
    head = {"kind": DATASET, "dataset": options.dataset}
    if options.dataset not in datasets:
        reason = f"the data set {options.dataset!r} is not there; put it at the folder that its `audio` names"
        return head | {"clips": None, "reason": reason}
    return head | _in_dataset(own, datasets[options.dataset], options.splits or SPLITS)


def _in_files(own: _Clips, options: IdListOptions) -> dict[str, Any]:
    found: dict[str, _Found] = defaultdict(_Found)
    entries = unusable = 0
    unread = []
    for path in (Path(file).expanduser() for file in options.files):
        try:
            for id_, side in id_lists.read(path, options):
                entries += 1
                if id_ is None:
                    unusable += 1
                else:
                    _look_up(own, options.kind, id_, side, found)
        except CorpusError as error:
            unread.append(str(error))
    if unread:
        raise CorpusError("; ".join(unread))
    head = {"entries": entries, "entries_without_id": unusable}
    bare = own.without([options.kind]) if options.kind in FROM_SOURCES else Counter()
    return head | _counted(own, found, "clips_without_id", bare)


def _in_dataset(own: _Clips, corpus: Path, splits: Sequence[str]) -> dict[str, Any]:
    found: dict[str, _Found] = defaultdict(_Found)
    clips, kinds = set(), set()
    for trait in _traits(corpus):
        if trait.split in splits:
            clips.add(trait.clip_id)
            kinds.add(trait.kind)
            _look_up(own, trait.kind, trait.id, trait.split, found)
    if not clips:
        there = ", ".join(dict.fromkeys(read_table(corpus / "clips.csv", ["split"])["split"])) or "no clips"
        return {"clips": None, "reason": f"the data set has no clips in {', '.join(splits)}; it has {there}"}
    bare = own.without(kinds.intersection(FROM_SOURCES))
    return {"entries": len(clips)} | _counted(own, found, "clips_without_source", bare)


def _look_up(own: _Clips, kind: str, id_: str, side: str, found: dict[str, _Found]) -> None:
    """Note the clips that an entry of a list means."""
    if (clips := own.index[kind].get(id_)) is not None:
        for clip_id in clips:
            found[clip_id].by.add(kind)
            found[clip_id].sides.add(side)
    elif kind == "name":
        for clip_id in {clip_id for key in paths.keys(id_) for clip_id in own.renamed.get(key, ())}:
            if _one_renamed(clip_id.partition("/")[2], id_):
                found[clip_id].renamed[id_].add(side)


def _one_renamed(name: str, other: str) -> bool:
    """Whether odd characters of one name were replaced in the other, rather than both having odd ones of their own."""
    kept = [renaming for renaming in paths.RENAMINGS if renaming != "odd character"]
    as_it_stands = [renaming for renaming in kept if renaming != "html entity"]
    stems = [{paths.undone(one, chosen).stem for chosen in (kept, as_it_stands)} for one in (name, other)]
    return any(
        len(first) == len(second) and all(a == b or "_" in (a, b) for a, b in zip(first, second, strict=True))
        for first, second in product(*stems)
    )


def _counted(own: _Clips, found: Mapping[str, _Found], bare_key: str, bare: Mapping[str, int]) -> dict[str, Any]:
    """Counts and clips by split."""
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in own.there}
    for clip_id, split in own.splits.items():
        if clip_id in found:
            rows[split].append(_row(clip_id, found[clip_id]))
    splits = {
        split: {
            "clips": len(rows[split]),
            "of": own.counts[split],
            bare_key: bare.get(split, 0),
            "by": _tally(rows[split], "by", BY),
            "sides": _tally(rows[split], "sides", sorted({side for row in rows[split] for side in row["sides"]})),
            "found": rows[split],
        }
        for split in own.there
    }
    return {"clips": len(found), "splits": splits}


def _row(clip_id: str, one: _Found) -> dict[str, Any]:
    """A clip that is in a list. Another name for it is believed only where its own name is not in the list."""
    row: dict[str, Any] = {"clip_id": clip_id}
    by, sides = set(one.by), set(one.sides)
    if one.renamed and "name" not in by:
        by.add("name")
        sides.update(*one.renamed.values())
        row["as"] = sorted(one.renamed)
    return row | {"by": [kind for kind in BY if kind in by], "sides": sorted(side for side in sides if side)}


def _tally(rows: Sequence[Mapping[str, Any]], key: str, order: Iterable[str]) -> dict[str, int]:
    counts = Counter(value for row in rows for value in row[key])
    return {value: counts[value] for value in order if counts[value]}


def _split_mark(pair: Mapping[str, Any], split: str, of: int) -> dict[str, Any]:
    (other,) = (name for name in pair["splits"] if name != split)
    rows = [row for row in pair["found"] if row["by"] != "name"]
    clips = {clip_id for row in rows for clip_id in row["clips"][split]}
    by = [kind for kind in BY if any(row["by"] == kind for row in rows)]
    return {"list": other, "kind": SPLIT, "by": by, "clips": len(clips), "of": of}


def _list_mark(report: Mapping[str, Any], name: str, split: str, of: int) -> dict[str, Any]:
    entry = report["lists"].get(name)
    if entry is None:
        reason = "the data set's audit was made without it; name it in the data set's `audit`"
        return {"list": name, "kind": "name", "by": [], "clips": None, "of": of, "reason": reason}
    mark = {"list": name, "kind": entry["kind"], "by": [], "clips": None, "of": of}
    if entry["clips"] is None:
        return mark | {"reason": entry["reason"]}
    counts = entry["splits"].get(split, {"clips": 0, "by": {}})
    bare = counts.get("clips_without_id", 0)
    if of and bare == of:
        return mark | {"reason": f"no {BY[entry['kind']]} of any of the {of} {split} clips is known"}
    without = {"clips_without_id": bare} if bare else {}
    return mark | {"by": list(counts["by"]), "clips": counts["clips"]} | without
