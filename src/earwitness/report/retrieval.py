"""The retrieval section of the comparison page: clips found for captions and captions for clips, and a query box.

All of it shows the first seed of experiments, whose ``similarity.h5`` is read by blocks of rows, never whole.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from earwitness.corpora.tables import CAPTIONS, clips_of, read_table
from earwitness.errors import MismatchError
from earwitness.evaluation.interface import SPLIT
from earwitness.evaluation.relevance import evaluate, read_relevant
from earwitness.evaluation.retrieval import several_relevant
from earwitness.report import clips, plots
from earwitness.report.interface import Experiment, KindPage

QUERIES = 20  # captions with the clips found for them
CLIPS = 20  # clips with the captions found for them, to see at once; the other clips to play are folded up
BEST = 5  # found clips or captions of each
SOUNDS = 40  # clips to play, at most
SECONDS = 10.0  # of a clip to play
COMPARED = 8  # experiments whose ranks are shown, at most: as many as there are colours
MAPS = 3  # experiments with a heat map, at most
CANDIDATES = 50  # captions of about the same rank, of which one is shown whose clips are largely shown already
BOX = 900_000  # bytes of captions and similarities for the query box, at most
STEPS = 65535  # between the lowest and the highest similarity in the query box
BLOCK = 1 << 22  # similarities read at a time (16 MB)
GRID = "t2a_r10"  # the metric of features x poolings


@dataclass(frozen=True)
class Corpus:
    """The captions and clips of the evaluation split, in the order of similarities."""

    captions: pd.DataFrame  # caption_id, clip_id, text
    clip_ids: list[str]
    paths: list[str]  # of the clips
    owners: np.ndarray  # int64 [captions], the index of each caption's clip
    relevant: list[list[int]]  # of each caption the indices of its relevant clips: its own, or those of a table
    table: Mapping[str, Sequence[str]] | None = None  # of relevant clips, as ``read_relevant`` gives it


@dataclass(frozen=True)
class Predicted:
    """An experiment with the similarities of its first seed."""

    experiment: Experiment
    path: Path

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Similarities of some captions with all clips, float32 [rows, clips]; ``rows`` ascend."""
        with h5py.File(self.path, "r") as file:
            return file["similarity"][rows]

    def columns(self, columns: Sequence[int]) -> np.ndarray:
        """Similarities of all captions with some clips, float32 [captions, columns]."""
        with h5py.File(self.path, "r") as file:
            data = file["similarity"]
            step = max(1, BLOCK // data.shape[1])
            return np.concatenate([data[start : start + step][:, columns] for start in range(0, len(data), step)])

    def ranks(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of the best relevant clip of each caption and the best such caption of each clip; inf without any.

        Raises MismatchError if the file is of other captions or clips.
        """
        names = list(corpus.captions["caption_id"])
        ties = self.experiment.result["provenance"].get("options", {}).get("ties", "expected")
        with h5py.File(self.path, "r") as file:
            if [list(file[name].asstr()[:]) for name in ("caption_ids", "clip_ids")] != [names, corpus.clip_ids]:
                raise MismatchError(
                    f"{self.path} has other captions or clips than the corpus. Remove {self.path.name} and run again."
                )
            owners, wanted = list(corpus.captions["clip_id"]), ("t2a_meanr", "a2t_meanr")
            found = evaluate(file["similarity"], names, owners, corpus.clip_ids, corpus.table, ties, wanted)
        by_name = [dict(zip(found.queries[m[:3]], found.items[m].tolist(), strict=True)) for m in wanted]
        captions, by_clip = (
            np.array([ranks.get(query, np.inf) for query in queries])
            for ranks, queries in zip(by_name, (names, corpus.clip_ids), strict=True)
        )
        return captions, by_clip


class RetrievalPage(KindPage):
    """Shows what was found for captions and for clips, and a table over features and poolings."""

    template = "retrieval.html"

    def facts(self, experiment: Experiment) -> list[str]:
        """Whether it was scored with a table of relevant clips."""
        said = several_relevant(experiment.result["kinds"][self.kind.name]["counts"])
        return [said] if said else []

    def examples(self, found: list[Experiment], corpus: Path, root: Path) -> Mapping[str, Any]:
        """``grid``, ``without`` (experiments that have no similarities), and where any has them: ``lists`` and
        ``box``."""
        files = {e.name: Predicted(e, e.seeds[0] / "similarity.h5") for e in found if not e.elsewhere}
        predicted = [one for one in files.values() if one.path.is_file()]
        without = [e.name for e in found if e.name not in files or not files[e.name].path.is_file()]
        content: dict[str, Any] = {"grid": grid(self, found), "without": without, "lists": None, "plots": {}}
        if predicted:
            content |= _lists(predicted, _corpus(corpus), root)
        return content if content["grid"] or content["lists"] else {}


def grid(page: KindPage, found: Iterable[Experiment]) -> dict[str, Any] | None:
    """R@10 over features (rows) and poolings (columns), None with fewer than two of both.

    Of experiments with the same features and pooling, all stand in one cell with their names.
    """
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for experiment in found:
        options = experiment.result["provenance"].get("options", {})
        features, pooling, entry = options.get("features"), options.get("pooling"), experiment.metric(GRID)
        pooling = " + ".join(map(str, pooling)) if isinstance(pooling, list) else pooling
        if isinstance(features, list) and isinstance(pooling, str) and entry["value"] is not None:
            told = {
                "experiment": experiment.name,
                "value": entry["value"],
                "interval": entry.get("ci95"),
                "best": False,
            }
            cells.setdefault((" + ".join(map(str, features)), pooling), []).append(told)
    rows, columns = (list(dict.fromkeys(key[side] for key in cells)) for side in (0, 1))
    if len(rows) < 2 and len(columns) < 2:
        return None
    every = [told for several in cells.values() for told in several]
    best = max(told["value"] for told in every)
    for told in every:
        told["best"] = told["value"] == best
    table = {row: [cells.get((row, column), []) for column in columns] for row in rows}
    metric = page.kind.metric(GRID)
    named = any(len(several) > 1 for several in cells.values())
    return {"label": metric.label, "digits": metric.digits, "columns": columns, "rows": table, "named": named}


def _corpus(folder: Path) -> Corpus:
    table = clips_of(folder / "clips.csv", SPLIT, "the comparison page")
    captions = read_table(folder / "captions.csv", CAPTIONS)
    place = {clip_id: number for number, clip_id in enumerate(table["clip_id"])}
    captions = captions[captions["clip_id"].isin(place)].reset_index(drop=True)
    owners = captions["clip_id"].map(place).to_numpy(dtype=np.int64)
    found = read_relevant(folder)
    relevant = (
        [[owner] for owner in owners.tolist()]
        if found is None
        else [[place[clip] for clip in found.get(name, ())] for name in captions["caption_id"]]
    )
    return Corpus(captions, list(table["clip_id"]), list(table["path"]), owners, relevant, found)


@dataclass(frozen=True)
class Shown:
    """The clips and captions on the page, and what is said of them."""

    corpus: Corpus
    compared: list[Predicted]  # experiments whose ranks are shown; the first one's lists are
    ranks: list[tuple[np.ndarray, np.ndarray]]  # of each, as of ``Predicted.ranks``
    number: dict[int, int]  # by clip to play, its number on the page from 0
    similarity: np.ndarray  # of the first experiment, float32 [captions, clips to play]

    def query(self, row: int, line: list[tuple[int, float]]) -> dict[str, Any]:
        """A caption with the clips found for it."""
        found = [
            {
                "number": self.number.get(column),
                "id": self.corpus.clip_ids[column],
                "similarity": f"{value:.3f}",
                "right": column in self.corpus.relevant[row],
                "place": place if place <= BEST else None,
            }
            for place, (column, value) in enumerate(line, start=1)
        ]
        return {"text": self.corpus.captions["text"][row], "ranks": self._ranks(0, row), "clips": found}

    def clip(self, column: int, root: Path) -> dict[str, Any]:
        """A clip to play with the captions found for it."""
        number = self.number[column]
        values = self.similarity[:, number]
        found = [
            {
                "text": self.corpus.captions["text"][row],
                "similarity": f"{values[row]:.3f}",
                "right": column in self.corpus.relevant[row],
            }
            for row in np.argsort(-values, kind="stable")[:BEST].tolist()
        ]
        sound = clips.excerpt(root / self.corpus.paths[column], SECONDS)
        own = {"number": number, "id": self.corpus.clip_ids[column], "sound": sound}
        return {**own, "ranks": self._ranks(1, column), "captions": found}

    def _ranks(self, way: int, query: int) -> list[dict[str, str]]:
        """The rank of what belongs to a caption (way 0) or clip (1) in each experiment; none without such."""
        return [
            {
                "experiment": one.experiment.name,
                "colour": plots.colour(one.experiment.number),
                "rank": f"{ranks[way][query]:.1f}".removesuffix(".0"),
            }
            for one, ranks in zip(self.compared, self.ranks, strict=True)
            if np.isfinite(ranks[way][query])
        ]


def _lists(predicted: list[Predicted], corpus: Corpus, root: Path) -> dict[str, Any]:
    """The shown captions and clips with their lists, heat maps, and content of the query box."""
    compared = predicted[:COMPARED]
    ranks = [one.ranks(corpus) for one in compared]
    found = queries_shown(predicted[0], ranks[0][0], corpus.relevant)
    own = [next(column for column, _ in line if column in corpus.relevant[row]) for row, line in found.items()]
    # They come first, so that they are the diagonal of the heat map.
    needed = list(dict.fromkeys([*own, *(column for line in found.values() for column, _ in line)]))[:SOUNDS]
    best_first = np.argsort(ranks[0][1], kind="stable").tolist()
    others = [column for column in _spread(best_first, CLIPS) if column not in needed]
    columns = [*needed, *others[: max(0, CLIPS - len(needed))]]
    number = {column: place for place, column in enumerate(columns)}
    ordered = [column for column in best_first if column in number]
    at_once = _spread(ordered, CLIPS)
    similarity = [one.columns(columns) for one in predicted]
    shown = Shown(corpus, compared, ranks, number, similarity[0])
    marks = [(p, number[column]) for p, row in enumerate(found) for column in corpus.relevant[row] if column in number]
    return {
        "lists": {
            "queries": [shown.query(row, line) for row, line in found.items()],
            "captions": len(corpus.owners) if corpus.table is None else len(corpus.table),
            "table": corpus.table is not None,
            "clips": [shown.clip(column, root) for column in columns],
            "of": len(corpus.clip_ids),
            "at_once": [number[column] for column in at_once],
            "folded": [number[column] for column in ordered if column not in at_once],
            "first": compared[0].experiment.name,
            "compared": len(compared),
            "mapped": min(MAPS, len(predicted)),
            "experiments": len(predicted),
        },
        "plots": {
            f"similarities-{one.experiment.name}": plots.heat_map(
                f"similarities-{one.experiment.number}",
                f"Similarities of {one.experiment.name}",
                values[list(found)],
                marks,
                ("clip", "caption"),
            )
            for one, values in zip(predicted[:MAPS], similarity, strict=False)
        },
        "box": _box(predicted, similarity, corpus, list(found), number),
    }


def _spread(ordered: list[int], number: int) -> list[int]:
    """At most ``number`` of them, evenly spaced."""
    places = np.linspace(0, len(ordered) - 1, min(number, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def queries_shown(
    predicted: Predicted, ranks: np.ndarray, relevant: Sequence[Sequence[int]]
) -> dict[int, list[tuple[int, float]]]:
    """Captions from the best rank to the worst, each with its best clips and, last, the best relevant one (its own
    without a table) where none is among them, as (clip, similarity); without captions that have no relevant clip.

    Of ``CANDIDATES`` captions with about the same rank the first is taken with which the number of clips grows evenly
    up to ``SOUNDS``, or that adds the fewest.
    """
    order = np.argsort(ranks, kind="stable")[: np.isfinite(ranks).sum()]
    number = min(QUERIES, len(order))
    edges = np.linspace(0, len(order), number + 1).round().astype(int).tolist()
    groups = []
    for centre, (start, stop) in zip(np.linspace(0, len(order) - 1, number), pairwise(edges), strict=True):
        groups.append(sorted(range(start, stop), key=lambda place: abs(place - centre))[:CANDIDATES])
    rows = np.sort(order[[place for group in groups for place in group]])
    similarity = predicted.rows(rows)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :BEST]
    where = {row: place for place, row in enumerate(rows.tolist())}
    lines = {}
    for row, place in where.items():
        right = max(relevant[row], key=similarity[place].__getitem__)
        lines[row] = best[place].tolist() + ([] if set(relevant[row]) & set(best[place].tolist()) else [right])
    shown: set[int] = set()
    chosen = {}
    for group, limit in zip(groups, np.linspace(BEST + 1, SOUNDS, number), strict=True):
        candidates = order[group].tolist()
        fitting = (row for row in candidates if len(shown.union(lines[row])) <= limit)
        row = next(fitting, None)
        if row is None:
            row = min(candidates, key=lambda row: len(shown.union(lines[row])))
        shown.update(lines[row])
        chosen[row] = [(column, float(similarity[where[row], column])) for column in lines[row]]
    return chosen


def _box(
    predicted: list[Predicted],
    similarity: list[np.ndarray],
    corpus: Corpus,
    shown: list[int],
    number: Mapping[int, int],
) -> dict[str, Any]:
    """What the query box needs: captions, and their similarities with the clips to play as whole numbers.

    All captions where they fit into ``BOX`` bytes, else those that are shown, those of the clips to play, and others
    evenly spread over the corpus.
    """
    texts = list(corpus.captions["text"])
    of_clips = np.flatnonzero(np.isin(corpus.owners, list(number))).tolist()
    first = list(dict.fromkeys([*shown, *of_clips]))
    costs = np.array([len(json.dumps(text)) + 6 for text in texts]) + len(number) * len(predicted) * 8 / 3
    others = np.setdiff1d(np.arange(len(texts)), first)
    room = int((BOX - costs[first].sum()) / costs[others].mean()) if len(others) else 0
    order = np.array([*first, *_spread(others.tolist(), max(0, room))])
    rows = order[np.cumsum(costs[order]) <= BOX] if costs[order].sum() > BOX else order
    packed = []
    for one, values in zip(predicted, similarity, strict=True):
        low, high = float(values[rows].min()), float(values[rows].max())
        whole = np.round((values[rows].astype(float) - low) / (high - low or 1) * STEPS).astype("<u2")
        packed.append(
            {
                "name": one.experiment.name,
                "low": low,
                "step": (high - low) / STEPS,
                "values": base64.b64encode(whole.tobytes()).decode("ascii"),
            }
        )
    return {
        "texts": [texts[row] for row in rows],
        "right": [[number[column] for column in corpus.relevant[row] if column in number] for row in rows],
        "clips": len(number),
        "experiments": packed,
    }
