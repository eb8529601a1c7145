"""What clips are called: by their names in the corpus' tables, with the split in front where a name is in several.

While tables are read, every clip is called ``{split in the tables}/{name}``. The corpus calls it by its name alone, as
other people's files do, where no other split has the name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

SPLIT_NAMES = {
    **dict.fromkeys(("development", "train", "training", "dev"), "development"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("evaluation", "eval", "test"), "evaluation"),
}


def shortened(clip_ids: Sequence[str]) -> dict[str, str]:
    """The id in the corpus of each clip of a data set, all splits together, by ``{split}/{name}``.

    Where a name is what another clip would be called with its split, as ``test/a.wav`` may be, all keep their splits.
    """
    names = [clip_id.partition("/")[2] for clip_id in clip_ids]
    times = Counter(names)
    short = {clip_id: name if times[name] == 1 else clip_id for clip_id, name in zip(clip_ids, names, strict=True)}
    return short if len(set(short.values())) == len(short) else {clip_id: clip_id for clip_id in clip_ids}


def parts(clip_id: str) -> tuple[str, str]:
    """The split that a clip's id begins with, "" where it has none, and the rest of it, the clip's name."""
    first, _, rest = clip_id.partition("/")
    return (first, rest) if rest and first.casefold() in SPLIT_NAMES else ("", clip_id)
