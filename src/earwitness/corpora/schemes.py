"""Split schemes: lists of names that move clips to other splits than those of their corpus.

A scheme is known by the files ``{layout}_{scheme}_{split}.txt``, one name a line: the clips they name belong to that
split. Lists that may be shipped lie in ``splits/`` beside this module, all others in ``resources/splits``. Where clips
go that no list names is in ``KNOWN``; in a user's scheme they stay where they are. A scheme
changes a clip's split, never its id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from earwitness.corpora.csv_reader import shown
from earwitness.corpora.tables import Listing
from earwitness.errors import CorpusError, listed
from earwitness.files import sha256
from earwitness.options import SPLITS

SHIPPED = Path(__file__).with_name("splits")
RESOURCES = Path("resources/splits")
LEFT_OUT = ""


@dataclass(frozen=True)
class Rules:
    """Which lists a scheme needs, from which original split each may name clips, and where the rest goes."""

    lists: dict[str, str]  # split -> original split
    rest: dict[str, str] = field(default_factory=dict)  # original split -> split; others stay where they are


KNOWN = {
    # CL4AC's code (liuxubo717/cl4ac): 100 development clips are validation, all official validation clips are training.
    ("clotho", "cl4ac"): Rules({"validation": "development"}, {"validation": "development"}),
    # The audio-retrieval benchmark (arXiv 2112.09418): Clotho 1's development clips in two, its evaluation as it is.
    ("clotho", "v1-benchmark"): Rules(
        {"development": "development", "validation": "development"},
        {"development": LEFT_OUT, "validation": LEFT_OUT},
    ),
    # The same benchmark: AudioCaps without the clips that VGGSound was trained on.
    ("audiocaps", "filtered"): Rules({"validation": "val", "evaluation": "test"}, {"val": LEFT_OUT, "test": LEFT_OUT}),
}


def scheme_files(layout: str, scheme: str, resources: Path = RESOURCES) -> dict[str, Path]:
    """The lists of a scheme by split.

    Raises CorpusError that says which file to put where, when one that the scheme needs is absent, or all of them are.
    """
    needed = KNOWN[layout, scheme].lists if (layout, scheme) in KNOWN else {}
    found = {}
    for split in SPLITS:
        name = f"{layout}_{scheme}_{split}.txt"
        if places := [folder / name for folder in (SHIPPED, resources) if (folder / name).is_file()]:
            found[split] = places[0]
        if len(places) > 1 and places[0].read_bytes() != places[1].read_bytes():
            raise CorpusError(
                f"{places[1]} is not the list of this name that comes with Earwitness. Rename it, and your split "
                "scheme accordingly."
            )
    absent = [split for split in needed if split not in found] or ([] if found else list(SPLITS))
    if absent:
        files = [str(resources / f"{layout}_{scheme}_{split}.txt") for split in absent]
        one_of = "" if needed else " (one of them is enough; clips that no list names stay in their split)"
        advice = f"Put the names as in the data set's tables there, one a line{one_of}."
        raise CorpusError(
            listed(f"The split scheme {scheme!r} of {layout} needs lists that are missing:", files, advice)
        )
    return {split: path for split, path in found.items() if not needed or split in needed}


def apply_scheme(listing: Listing, layout: str, scheme: str, resources: Path = RESOURCES) -> None:
    """Give the clips of a listing the splits of a scheme; what is wrong with its lists is added to the problems."""
    rules = KNOWN.get((layout, scheme), Rules({}))
    files = scheme_files(layout, scheme, resources)
    moved: dict[str, str] = {}
    for split, path in files.items():
        for clip_id in _named(listing, path, rules.lists.get(split)):
            if (other := moved.setdefault(clip_id, split)) != split:
                listing.problems.append(f"{path.name}: {shown(clip_id)} is in the list of {other} too")
    before = listing.clips
    splits = [moved.get(clip.clip_id, rules.rest.get(clip.listed_split, clip.split)) for clip in before]
    changed = Counter(
        f"{clip.listed_split} to {split}" for clip, split in zip(before, splits, strict=True) if clip.split != split
    )
    listing.clips = [
        replace(clip, split=split) for clip, split in zip(before, splits, strict=True) if split != LEFT_OUT
    ]
    listing.notes["split_scheme"] = {
        "name": scheme,
        "lists": {path.name: sha256(path) for path in files.values()},
        "moved": {move: count for move, count in sorted(changed.items()) if not move.endswith(" to ")},
        "left_out": sum(split == LEFT_OUT for split in splits),
    }


def _named(listing: Listing, path: Path, listed_split: str | None) -> Iterator[str]:
    """The ids of the clips that a list names, by name or by whole id; names of none, or of several, are problems."""
    by_name = defaultdict(list)
    for clip in listing.clips:
        if listed_split in (None, clip.listed_split):
            by_name[clip.name].append(clip.clip_id)
            by_name[clip.clip_id].append(clip.clip_id)
    where = f"the {listed_split} split" if listed_split else "the data set"
    seen: dict[str, int] = {}
    lines = _lines(path)
    if not any(map(str.strip, lines)):
        listing.problems.append(f"{path.name}: names no clip")
    for number, name in enumerate(lines, 1):
        if not name.strip():
            continue
        ids = by_name.get(name, [])
        if not ids:
            listing.problems.append(
                f"{path.name}, row {number}: {shown(name)} is not in {where}; names are compared byte for byte"
            )
        elif len(ids) > 1:
            choice = " or ".join(map(shown, ids))
            listing.problems.append(f"{path.name}, row {number}: {shown(name)} is in several splits; write {choice}")
        elif first := seen.get(ids[0]):
            listing.problems.append(f"{path.name}, row {number}: {shown(name)} is in row {first} already")
        else:
            seen[ids[0]] = number
            yield ids[0]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8.") from error
    return text.replace("\r\n", "\n").split("\n")
