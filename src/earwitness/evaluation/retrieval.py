"""Retrieval: similarities of all captions and clips of the split, in ``similarity.h5`` and ``queries.csv``.

``similarity.h5`` holds ``similarity`` float32 [captions, clips], ``caption_ids`` and ``clip_ids``; ``queries.csv`` has
caption_id, clip_id, text in the same order. ``earwitness score retrieval`` reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, MismatchError, counted
from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.files import atomic_hdf5, provenance

CUTS = (1, 5, 10, 50)


class Retrieval(Kind):
    """Scores both directions: a caption's clip among all clips, and a clip's captions among all captions."""

    name = "retrieval"
    label = "Retrieval"
    files = ("similarity.h5", "queries.csv")
    artifacts = ("queries.csv",)
    shown = ("similarity.h5",)
    floors = ("chance",)
    curves = {"validation_t2a_r10": "R@10, text to audio, on validation"}

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Compare all captions of the split with all clips by a ``Retriever``."""
        import h5py
        import numpy as np

        from earwitness.corpora.tables import write_table

        queries = _queries(corpus)
        similarity = np.asarray(model.similarity(clips, list(queries["text"])), dtype=np.float32)
        if similarity.shape != (expected := (len(queries), len(clips))):
            name = type(model).__name__
            raise EarwitnessError(f"{name}.similarity gave {similarity.shape}; {expected} is needed: [texts, clips].")
        with atomic_hdf5(folder / "similarity.h5") as file:
            file["similarity"] = similarity
            file.create_dataset("caption_ids", data=list(queries["caption_id"]), dtype=h5py.string_dtype())
            file.create_dataset("clip_ids", data=clips.ids, dtype=h5py.string_dtype())
            file.attrs["provenance"] = json.dumps(provenance("predict"), sort_keys=True)
        write_table(folder / "queries.csv", queries)

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """Recalls, ranks and mAP in both directions; the experiment's option ``ties``, if it has one, is applied."""
        import h5py

        from earwitness.corpora.tables import clips_of
        from earwitness.evaluation.scores import Scored
        from earwitness.metrics.retrieval import evaluate

        queries, clip_ids = _queries(corpus), list(clips_of(corpus / "clips.csv", SPLIT, "scoring")["clip_id"])
        path = folder / "similarity.h5"
        with h5py.File(path, "r") as file:
            found = [list(file[name].asstr()[:]) for name in ("caption_ids", "clip_ids")]
            if found != [list(queries["caption_id"]), clip_ids]:
                raise MismatchError(
                    f"{path} and {corpus} have different captions or clips. Remove {path.name} and run again."
                )
            ties = options.get("ties", "expected")
            scored = evaluate(file["similarity"], list(queries["clip_id"]), clip_ids, captions=found[0], ties=ties)
        return Scored(
            scored,
            "score retrieval",
            {"similarity": path, "references": corpus / "captions.csv"},
            {"ties": ties},
            {"clips_scored": len(clip_ids), "captions_scored": len(queries)},
            notes=scored.notes,
        )

    def baselines(self, corpus: Path) -> list[Baseline]:
        """The exact expected recalls of a random order."""
        queries = _queries(corpus)
        clips, captions = queries["clip_id"].nunique(), len(queries)
        relevant = list(queries.groupby("clip_id").size())
        metrics = {f"t2a_r{cut}": {"value": min(1.0, cut / clips)} for cut in CUTS}
        metrics |= {f"a2t_r{cut}": {"value": _chance(relevant, captions, cut)} for cut in CUTS}
        pool = f"{counted(clips, 'clip')} and {counted(captions, 'caption')} in random order"
        return [Baseline("chance", "Chance", pool, metrics)]


def _chance(relevant: list[int], total: int, cut: int) -> float:
    """Mean probability that one of a clip's captions is among the first ``cut`` of ``total`` in random order.

    ``relevant`` has the number of captions of each clip.
    """
    from math import comb

    cut = min(cut, total)
    return sum(1 - comb(total - count, cut) / comb(total, cut) for count in relevant) / len(relevant)


def _queries(corpus: Path) -> Any:
    """The captions of the evaluation split: caption_id, clip_id, text."""
    from earwitness.corpora.tables import CAPTIONS, clips_of, read_table

    clips = clips_of(corpus / "clips.csv", SPLIT, "retrieval")
    captions = read_table(corpus / "captions.csv", CAPTIONS)
    return captions[captions["clip_id"].isin(clips["clip_id"])].reset_index(drop=True)
