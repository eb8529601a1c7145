"""Several relevant clips per caption, where a data set has a table of them (its option ``relevant``).

``corpus/relevant.csv`` has a row (caption_id, clip_id) for each pair in the evaluation split, and one without a clip
for a caption to which nothing is relevant. It is empty for a data set without such a table: what is relevant to a
caption is then the clip that it was written for. Captions that the table lacks are not scored, neither as queries nor
as captions that a clip may find, since what is relevant to them is not known.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, counted
from earwitness.evaluation.interface import SPLIT

TABLE = "relevant.csv"
COLUMNS = ["caption_id", "clip_id"]


def write_relevant(corpus: Path, table: Path | None, out: Path) -> None:
    """Write ``relevant.csv`` from a data set's table of relevant clips; without rows where it has none.

    Names of queries and clips that are not in the evaluation split are refused, all of them in one EarwitnessError. If
    the corpus lacks clips (``on_bad_audio: skip``) they are ignored, as they may be of these.

    Args:
        corpus: the folder with the corpus' tables.
        table: as for ``earwitness score retrieval --relevant``.
    """
    from earwitness.corpora.report import read_report
    from earwitness.corpora.tables import CAPTIONS, clips_of, read_table, write_rows
    from earwitness.evaluation.readers.queries import read_captions, relevant_to

    rows: list[tuple[str, str]] = []
    if table is not None:
        clips = list(clips_of(corpus / "clips.csv", SPLIT, "the table of relevant clips")["clip_id"])
        captions = read_table(corpus / "captions.csv", CAPTIONS)
        captions = captions[captions["clip_id"].isin(clips)]
        names = dict(zip(captions["caption_id"], captions["text"], strict=True))
        split = read_report(corpus / "report.json")["clips"][SPLIT]
        holes = split["found"] < split["listed"] or split["refused"] > 0
        known = read_captions(corpus / "captions.csv")
        found = relevant_to(table, names, known, clips, others=holes, partial=True, gone=holes)
        if not any(found.values()):
            raise EarwitnessError(f"{table}: no clip is relevant to any caption of the {SPLIT} split.")
        rows = [(name, clip) for name, line in found.items() for clip in line or [""]]
        left = f"; {counted(left, 'caption')} not in it" if (left := lacking(names, found)) else ""
        print(f"{table}: {counted(len(found), 'query', 'queries')}, {len(rows)} rows{left}", file=sys.stderr)
    write_rows(out, COLUMNS, rows)


def read_relevant(corpus: Path) -> dict[str, list[str]] | None:
    """The relevant clips by caption; None where the data set has no table of them."""
    from earwitness.corpora.tables import read_table

    path, found = corpus / TABLE, dict[str, list[str]]()
    if path.is_file():
        table = read_table(path, COLUMNS)
        for caption, clip in zip(table["caption_id"], table["clip_id"], strict=True):
            found.setdefault(caption, []).extend([clip] if clip else [])
    return found or None


def lacking(names: Collection[str], relevant: Mapping[str, Any] | None) -> int:
    """How many captions a table of relevant clips lacks."""
    return 0 if relevant is None else sum(name not in relevant for name in names)


def evaluate(
    scores: Any,
    names: Sequence[str],
    owners: Sequence[str],
    clips: Sequence[str],
    relevant: Mapping[str, Sequence[str]] | None,
    ties: str,
    metrics: Sequence[str] | None = None,
) -> Any:
    """``metrics.retrieval.evaluate`` on the captions that are in ``relevant``, all without it.

    Args:
        scores: array or h5py data set [captions, clips].
        names, owners: the captions' ids and clips.
        metrics: names of metrics; None: all.
    """
    import numpy as np

    from earwitness.metrics import retrieval

    if not lacking(names, relevant):
        return retrieval.evaluate(
            scores, list(owners), list(clips), captions=list(names), relevant=relevant, ties=ties, metrics=metrics
        )
    assert relevant is not None  # or none is lacking
    kept = [row for row, name in enumerate(names) if name in relevant]

    def some(start: int, stop: int) -> Any:
        rows, parts = np.array(kept[start:stop]), []
        while len(rows):  # in blocks, since lists of rows are slow in HDF5, and no larger than what is asked for
            near = rows[rows < rows[0] + stop - start]
            parts.append(scores[near[0] : near[-1] + 1][near - near[0]])
            rows = rows[len(near) :]
        return np.concatenate(parts)

    return retrieval.evaluate(
        some,
        [owners[row] for row in kept],
        list(clips),
        captions=[names[row] for row in kept],
        relevant=relevant,
        ties=ties,
        metrics=metrics,
    )
