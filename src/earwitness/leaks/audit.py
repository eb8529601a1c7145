"""The leak audit: which clips of a data set are in several of its splits, or in lists of what models were trained on.

Recordings are recognised by name, by the ids of their public sources and by the digest of the audio. ``audit`` writes
the counts as ``leaks.json`` and the clips as ``leaks.csv``; ``marks`` selects from the counts what concerns an
experiment, and ``describe`` puts it in words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from earwitness.corpora import paths
from earwitness.corpora.caption_rows import is_row
from earwitness.corpora.ids import parts
from earwitness.corpora.tables import SOURCES, read_table, write_rows
from earwitness.errors import CorpusError, MismatchError
from earwitness.files import provenance, read_json, write_json
from earwitness.leaks import id_lists
from earwitness.options import SPLITS, IdListOptions

LEAKS_SCHEMA = 2
# leaks.csv. Without a list it is the data set itself: ``side`` is then the other split, ``as`` the id that both have.
# With one, ``side`` is as in the list, and ``as`` the name in the list where it differs from the clip's.
LEAKS = ["list", "split", "clip_id", "by", "side", "as"]
# What a clip is recognised by, and the words for it.
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
    def renamed(self) -> dict[str, list[str]]:
        """Clips by what is left of their names without the known renamings; made when a list of names needs it."""
        found: dict[str, list[str]] = {}
        for name, clips in self.index["name"].items():
            for stem in _stems(name):
                found.setdefault(stem, []).extend(clips)
        return found

    @property
    def there(self) -> list[str]:
        """The splits that have clips, in the usual order."""
        return [split for split in SPLITS if split in self.counts]

    def without(self, kinds: Iterable[str]) -> Counter[str]:
        """By split: how many clips have no id of any of the kinds."""
        have = {clip_id for kind in kinds for clips in self.index[kind].values() for clip_id in clips}
        return Counter(split for clip_id, split in self.splits.items() if clip_id not in have)


_Pairs = frozenset[tuple[str, str]]  # what a clip was recognised by, and on which side; equal ones are stored once


@dataclass(slots=True)
class _Found:
    """A clip that is in a list, and under which other names, each with its side."""

    pairs: _Pairs = frozenset()
    renamed: set[tuple[str, str]] | None = None

    def all_pairs(self) -> _Pairs:
        return self.pairs.union(("name", side) for _, side in self.renamed or ())


class _Hits:
    """The entries of a list that match clips of a data set, by id, which several clips may share."""

    def __init__(self, audited: _Clips):
        self._audited = audited
        self._sides: dict[str, dict[str, _Pairs]] = {kind: {} for kind in BY}  # by id
        self._renamed: dict[str, dict[tuple[str, str], None]] = {}  # by what is left of the name

    def add(self, kind: str, id_: str, side: str) -> None:
        """Note an entry, if there are clips that it may match."""
        if id_ in self._audited.index[kind]:
            ids = self._sides[kind]
            ids[id_] = _joined(ids.get(id_, frozenset()), frozenset([(kind, side)]))
        elif kind == "name":
            for stem in _stems(id_) & self._audited.renamed.keys():
                self._renamed.setdefault(stem, {})[id_, side] = None

    def clips(self) -> dict[str, _Found]:
        """The clips that match. A renamed match counts only where the clip's exact name is not in the list."""
        found: dict[str, _Found] = defaultdict(_Found)
        for kind, ids in self._sides.items():
            for id_, pairs in ids.items():
                for clip_id in self._audited.index[kind][id_]:
                    found[clip_id].pairs = _joined(found[clip_id].pairs, pairs)
        for stem, names in self._renamed.items():
            for clip_id in self._audited.renamed[stem]:
                name = _name_of(clip_id)
                others = () if name in self._sides["name"] else names
                if same := {other for other in others if _one_renamed(name, other[0])}:
                    found[clip_id].renamed = same | (found[clip_id].renamed or set())
        return found


@lru_cache(maxsize=1 << 12)
def _joined(one: _Pairs, other: _Pairs) -> _Pairs:
    return one | other


def audit(corpus: Path, lists: Mapping[str, IdListOptions], datasets: Mapping[str, Path], out: Path) -> None:
    """Write what is in several splits of a data set, and how much of it is in each list.

    Args:
        corpus: the folder with the data set's ``clips.csv`` and ``sources.csv``.
        lists: the id lists by name; one that cannot be read has ``clips`` None and a ``reason``.
        datasets: the corpus folders of the data sets that lists name, those that there are.
        out: place of ``leaks.json``, the counts; ``leaks.csv`` beside it has the clips (``LEAKS``).
    """
    audited = _read(corpus)
    entries: dict[str, dict[str, Any]] = {}
    write_rows(out.with_suffix(".csv"), LEAKS, _rows(audited, lists, datasets, entries))
    content = {
        "schema": LEAKS_SCHEMA,
        "clips": {split: audited.counts[split] for split in audited.there},
        "within": _within(audited),
        "lists": entries,
        "provenance": provenance("leaks", {"clips": corpus / "clips.csv", "sources": corpus / "sources.csv"}),
    }
    write_json(out, content)


def read_audit(path: Path) -> dict[str, Any]:
    """The content of a ``leaks.json``; raises MismatchError for one that another version made."""
    report = read_json(path)
    schema = report.get("schema") if isinstance(report, dict) else None
    if schema != LEAKS_SCHEMA:
        raise MismatchError(
            f"{path} was made by another version (its schema is {schema!r}, {LEAKS_SCHEMA} is needed). Remove it and "
            "make it again."
        )
    return report


def marks(report: Mapping[str, Any], trained_on: Sequence[str], split: str) -> list[dict[str, Any]]:
    """The training data of an experiment, and how many clips of a split are in it.

    Each mark has ``list``, ``kind``, ``of`` (clips of the split), ``clips`` (how many of them are in the list; None
    with ``reason`` where that is unknown), ``by`` (what they were recognised by), and ``clips_without_id`` where
    clips could not be looked up. Names that occur in two splits or in two data sets are no evidence by themselves, as
    clips are often renumbered: ``clips`` leaves them out, and for a data set ``name_only`` counts them. In lists of
    names they count as clips.

    Args:
        report: the content of ``leaks.json``.
        trained_on: names of the id lists, beside the data set's development and validation splits.
    """
    of = report["clips"].get(split, 0)
    found = []
    for pair in report["within"]:
        if split in pair["splits"]:
            (other,) = (name for name in pair["splits"] if name != split)
            by = [kind for kind in pair["by"] if kind != "name"]
            found.append({"list": other, "kind": SPLIT, "by": by, "clips": pair["clips"][split], "of": of})
    return [*found, *(_list_mark(report, name, split, of) for name in trained_on)]


def describe(found: Sequence[Mapping[str, Any]], split: str) -> tuple[list[str], list[str]]:
    """Marks in words: the leaks, and what could not be checked; both empty where there is nothing to report."""
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
        if unknown := mark.get("clips_without_id"):
            lacks = f"{unknown} of {mark['of']} {split} clips could not be looked up in {mark['list']}"
            unchecked.append(f"{lacks}, {role}: their {BY[mark['kind']]} is unknown")
        if names := mark.get("name_only"):
            shared = f"{names} of {mark['of']} {split} clips share only a name with clips of {mark['list']}, {role}"
            unchecked.append(f"{shared}; by itself that is no evidence")
    return leaked, unchecked


def summary(report: Mapping[str, Any]) -> str:
    """The audit as lines of text."""
    lines = []
    for pair in report["within"]:
        for kind, counts in pair["by"].items():
            numbers = " and ".join(f"{count} {split}" for split, count in counts.items())
            lines.append(f"{numbers} clips share {BY[kind] if kind == 'sha256' else f'a {BY[kind]}'}")
    for name, entry in report["lists"].items():
        if entry["clips"] is None:
            lines.append(f"{name}: could not be checked: {entry['reason']}")
            continue
        if unusable := entry.get("entries_without_id"):
            lines.append(f"{name}: {unusable} of its {entry['entries']} entries have no readable id")
        for split, counts in entry["splits"].items():
            names = counts.get("name_only", 0)
            more = f"; as many as {names} share only a name" if names else ""
            sides = ", ".join(f"{side} {count}" for side, count in counts["sides"].items())
            where = f" ({sides})" if sides and not names else ""
            lines.append(f"{name}: {counts['clips'] - names} of {counts['of']} {split} clips are in it{where}{more}")
            if unknown := counts.get("clips_without_id"):
                lines.append(f"{name}: {unknown} of {counts['of']} {split} clips have no {BY[entry['kind']]}")
    if not report["within"] or not any(pair["by"] for pair in report["within"]):
        lines.append("no recording is in two splits, by name, source or audio")
    return "\n".join(lines)


def _traits(corpus: Path) -> Iterator[_Trait]:
    """Everything that the clips of a corpus are recognised by: names, and digests of audio and sources if any."""
    clips = read_table(corpus / "clips.csv", ["clip_id", "split", "sha256"])
    interned = {split: split for split in SPLITS}
    splits = {id_: interned.get(split, split) for id_, split in zip(clips["clip_id"], clips["split"], strict=True)}
    for (clip_id, split), digest in zip(splits.items(), clips["sha256"], strict=True):
        yield _Trait(clip_id, split, "name", _name_of(clip_id))
        if digest:
            yield _Trait(clip_id, split, "sha256", digest)
    sources = read_table(corpus / "sources.csv", SOURCES)
    for clip_id, kind, value in zip(*(sources[column] for column in SOURCES), strict=True):
        if (id_ := id_lists.comparable(kind, value)) is not None:
            yield _Trait(clip_id, splits[clip_id], kind, id_)


def _name_of(clip_id: str) -> str:
    return parts(clip_id)[1]


def _stems(name: str) -> set[str]:
    """What is left of a name without the known renamings."""
    return {key.stem for key in paths.keys(name)}


def _read(corpus: Path) -> _Clips:
    audited = _Clips()
    for trait in _traits(corpus):
        audited.splits[trait.clip_id] = trait.split
        clips = audited.index[trait.kind].get(trait.id)
        if clips is None:
            audited.index[trait.kind][trait.id] = [trait.clip_id]  # a list of one element takes least memory
        elif clips[-1] != trait.clip_id:  # the sources of a clip are in adjacent rows
            clips.append(trait.clip_id)
    audited.counts.update(audited.splits.values())
    return audited


def _shared(audited: _Clips) -> Iterator[tuple[str, str, list[str], set[str]]]:
    """What clips of several splits have in common: kind, id, the clips, their splits."""
    for kind, ids in audited.index.items():
        for id_, clips in ids.items():
            if len(clips) > 1 and len(splits := {audited.splits[clip_id] for clip_id in clips}) > 1:
                yield kind, id_, clips, splits


def _within(audited: _Clips) -> list[dict[str, Any]]:
    """For each pair of splits what they share: by kind how many clips of either, and ``clips`` by more than a name."""
    pairs = list(combinations(audited.there, 2))
    found: dict[tuple, dict[str, dict[str, set[str]]]] = {pair: {} for pair in pairs}
    for kind, _, clips, splits in _shared(audited):
        for pair in pairs:
            if splits.issuperset(pair):
                sides = found[pair].setdefault(kind, {split: set() for split in pair})
                for clip_id in clips:
                    if (split := audited.splits[clip_id]) in sides:
                        sides[split].add(clip_id)
    content = []
    for pair in pairs:
        by = {kind: {split: len(ids) for split, ids in found[pair][kind].items()} for kind in BY if kind in found[pair]}
        evidence = [sides for kind, sides in found[pair].items() if kind != "name"]
        shared = {split: len(set().union(*(sides[split] for sides in evidence))) for split in pair}
        content.append({"splits": list(pair), "by": by, "clips": shared})
    return content


def _rows(
    audited: _Clips,
    lists: Mapping[str, IdListOptions],
    datasets: Mapping[str, Path],
    entries: dict[str, dict[str, Any]],
) -> Iterator[tuple[str, ...]]:
    """The rows of ``leaks.csv``; ``entries`` gets the counts of a list before its rows, so that one list is held."""
    kinds = list(BY)
    for kind, id_, clips, splits in _shared(audited):
        for clip_id in clips:
            split = audited.splits[clip_id]
            yield from (("", split, clip_id, kind, other, id_) for other in audited.there if other in splits - {split})
    for name, options in lists.items():
        entries[name], found = _compared(audited, options, datasets)
        for clip_id, split in audited.splits.items():
            if one := found.get(clip_id):
                pairs = sorted(one.pairs, key=lambda pair: (kinds.index(pair[0]), pair[1]))
                yield from ((name, split, clip_id, by, side, "") for by, side in pairs)
                yield from ((name, split, clip_id, "name", side, other) for other, side in sorted(one.renamed or ()))


def _compared(
    audited: _Clips, options: IdListOptions, datasets: Mapping[str, Path]
) -> tuple[dict[str, Any], dict[str, _Found]]:
    """The counts of one list for ``leaks.json``, and the clips that are in it."""
    if options.dataset is None:
        head: dict[str, Any] = {"kind": options.kind, "files": options.files}
    else:
        head = {"kind": DATASET, "dataset": options.dataset}
    try:
        if options.dataset is None:
            counts, found = _in_files(audited, options)
        else:
            counts, found = _in_dataset(audited, options.dataset, datasets, options.splits or SPLITS)
    except CorpusError as error:
        return head | {"clips": None, "reason": str(error)}, {}
    return head | counts, found


def _in_files(audited: _Clips, options: IdListOptions) -> tuple[dict[str, Any], dict[str, _Found]]:
    hits = _Hits(audited)
    entries = unusable = 0
    unread = []
    for path in (Path(file).expanduser() for file in options.files):
        try:
            for id_, side in id_lists.read(path, options):
                entries += 1
                if id_ is None:
                    unusable += 1
                else:
                    hits.add(options.kind, id_, side)
        except CorpusError as error:
            unread.append(str(error))
    if unread:
        raise CorpusError("; ".join(unread))
    head = {"entries": entries, "entries_without_id": unusable}
    unknown = audited.without([options.kind]) if options.kind in FROM_SOURCES else Counter()
    found = hits.clips()
    return head | {"clips": len(found), "splits": _counted(audited, found, {"clips_without_id": unknown})}, found


def _in_dataset(
    audited: _Clips, name: str, datasets: Mapping[str, Path], splits: Sequence[str]
) -> tuple[dict[str, Any], dict[str, _Found]]:
    corpus = datasets.get(name)
    if corpus is None or not all((corpus / table).is_file() for table in ("clips.csv", "sources.csv")):
        raise CorpusError(f"the corpus of {name!r} is not made yet; make results/{name}/corpus/clips.csv first")
    hits = _Hits(audited)
    clips, nameless, kinds = 0, 0, set()
    for trait in _traits(corpus):
        if trait.split in splits:
            clips += trait.kind == "name"  # each clip has one
            nameless += trait.kind == "name" and is_row(trait.id)
            kinds.add(trait.kind)
            hits.add(trait.kind, trait.id, trait.split)
    if not clips:
        there = ", ".join(dict.fromkeys(read_table(corpus / "clips.csv", ["split"])["split"])) or "no clips"
        raise CorpusError(f"the data set has no clips in {', '.join(splits)}; it has {there}")
    if nameless == clips and kinds == {"name"}:
        raise CorpusError("its captions do not say of which recordings they are; a column of names would")
    found = hits.clips()
    by_name = [clip_id for clip_id, one in found.items() if {kind for kind, _ in one.all_pairs()} == {"name"}]
    names = Counter(audited.splits[clip_id] for clip_id in by_name)
    more = {"clips_without_source": audited.without(kinds.intersection(FROM_SOURCES)), "name_only": names}
    head = {"entries": clips, **({"entries_without_id": nameless} if nameless else {})}
    return head | {"clips": len(found), "splits": _counted(audited, found, more)}, found


def _one_renamed(name: str, other: str) -> bool:
    """Whether odd characters of one name were replaced in the other, rather than both having odd ones."""
    kept = [renaming for renaming in paths.RENAMINGS if renaming != "odd character"]
    literally = [renaming for renaming in kept if renaming != "html entity"]
    stems = [{paths.undone(one, chosen).stem for chosen in (kept, literally)} for one in (name, other)]
    return any(
        len(first) == len(second) and all(a == b or "_" in (a, b) for a, b in zip(first, second, strict=True))
        for first, second in product(*stems)
    )


def _counted(audited: _Clips, found: Mapping[str, _Found], more: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The counts of each split, ``more`` among them."""
    clips: Counter[str] = Counter()
    by: dict[str, Counter[str]] = defaultdict(Counter)
    sides: dict[str, Counter[str]] = defaultdict(Counter)
    for clip_id, one in found.items():
        split, pairs = audited.splits[clip_id], one.all_pairs()
        clips[split] += 1
        by[split].update({kind for kind, _ in pairs})
        sides[split].update({side for _, side in pairs if side})
    return {
        split: {
            "clips": clips[split],
            "of": audited.counts[split],
            **{key: counts.get(split, 0) for key, counts in more.items()},
            "by": {kind: by[split][kind] for kind in BY if by[split][kind]},
            "sides": dict(sorted(sides[split].items())),
        }
        for split in audited.there
    }


def _list_mark(report: Mapping[str, Any], name: str, split: str, of: int) -> dict[str, Any]:
    entry = report["lists"].get(name)
    if entry is None:
        reason = "the data set's audit was made without it; name it in the data set's `audit`"
        return {"list": name, "kind": "name", "by": [], "clips": None, "of": of, "reason": reason}
    mark = {"list": name, "kind": entry["kind"], "by": [], "clips": None, "of": of}
    if entry["clips"] is None:
        return mark | {"reason": entry["reason"]}
    counts = entry["splits"].get(split, {"clips": 0, "by": {}})
    unknown = counts.get("clips_without_id", 0)
    if of and unknown == of:
        return mark | {"reason": f"no {BY[entry['kind']]} of any of the {of} {split} clips is known"}
    names = counts.get("name_only", 0)
    by = [kind for kind in counts["by"] if kind != "name" or entry["kind"] != DATASET]
    more = {"clips_without_id": unknown, "name_only": names}
    return mark | {"by": by, "clips": counts["clips"] - names} | {key: value for key, value in more.items() if value}
