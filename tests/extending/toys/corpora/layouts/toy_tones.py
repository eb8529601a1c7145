"""Recordings with one JSON table: the worked example of a layout in docs/extending.md.

``tones.json`` is a list of clips, each with ``file``, ``split`` and ``captions``; a caption has ``text`` and
``phrases``, a phrase ``words`` ([first, last + 1] of the caption) and ``events`` ([onset, offset] in seconds).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from earwitness.corpora.tables import ListedClip, ListedPhrase, Listing, caption_id
from earwitness.errors import CorpusError, nearest
from earwitness.files import read_json
from earwitness.options import SPLITS, RecordingsOptions

TABLE = "tones.json"


class ToyTonesOptions(RecordingsOptions):
    """A folder that holds ``tones.json`` and the recordings it names."""

    layout: Literal["toy_tones"]
    source: None = None  # it is published nowhere


class ToyTones:
    """Reads a folder in the layout."""

    def __init__(self, options: ToyTonesOptions):
        self.options = options

    def tables(self, root: Path) -> list[Path]:
        """The table, where it is there."""
        return [root / TABLE] if (root / TABLE).is_file() else []

    def listing(self, root: Path) -> Listing:
        """All clips of the table; no audio is opened. What is wrong with a row stands in ``problems``."""
        if not self.tables(root):
            raise CorpusError(f"{root / TABLE} does not exist; set the entry's `audio` to the folder that holds it.")
        found = Listing([])
        for row, entry in enumerate(read_json(root / TABLE), 1):
            if entry["split"] not in SPLITS:
                problem = f"{TABLE}, row {row}: split {entry['split']!r}; {nearest(entry['split'], SPLITS)}"
                found.problems.append(problem)
                continue
            clip_id = f"{entry['split']}/{entry['file']}"
            path = entry["file"] if (root / entry["file"]).is_file() else None  # None: missing, and named as such
            texts = tuple(caption["text"] for caption in entry["captions"])
            found.clips.append(ListedClip(clip_id, entry["split"], path, texts))
            for number, caption in enumerate(entry["captions"], 1):
                found.phrases += [
                    _phrase(caption_id(clip_id, number), caption["text"], one) for one in caption["phrases"]
                ]
        return found


def _phrase(caption: str, text: str, phrase: dict[str, Any]) -> ListedPhrase:
    start, end = phrase["words"]
    events = tuple((float(onset), float(offset)) for onset, offset in phrase["events"])
    return ListedPhrase(caption, " ".join(text.split()[start:end]), start, end, events)
