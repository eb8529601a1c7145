"""Retrieval: similarities of all captions and clips of the split, in ``similarity.h5``, and lists in ``top10.csv``.

``similarity.h5`` holds ``similarity`` float32 [captions, clips], ``caption_ids`` and ``clip_ids``. ``top10.csv`` has
the ten best clips of each caption as in a submission to DCASE: caption, fname_1 ... fname_10 (ids of clips). Scoring
adds ``retrieval/queries.csv``: caption_id, clip_id, text, rank (of the best relevant clip), relevant (their number) and
ap10 of each caption; the rank of a clip's best caption is ``a2t_meanr`` in ``scores.csv``. ``earwitness score
retrieval`` reads all three.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, MismatchError, counted
from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.files import atomic_hdf5, provenance

CUTS = (1, 5, 10, 50)
SAMPLED = 30  # candidates of the published protocol
SAMPLED_NAMES = [f"{way}_r{cut}_sampled{SAMPLED}" for way in ("t2a", "a2t") for cut in (1, 5)]
LISTED = 10  # clips of a list in top10.csv
PAIRS = "relevant_pairs"  # the count of pairs of caption and relevant clip; of scores with a table of these alone


class Retrieval(Kind):
    """Scores both directions: a caption's clip among all clips, and a clip's captions among all captions."""

    name = "retrieval"
    label = "Retrieval"
    files = ("similarity.h5", "top10.csv")
    scored_with = ("relevant.csv",)
    artifacts = ("top10.csv",)
    score_files = ("queries.csv",)
    shown = ("similarity.h5",)
    floors = ("chance",)
    curves = {"validation_t2a_r10": "R@10, text to audio, on validation"}

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Compare all captions of the split with all clips by a ``Retriever``."""
        import h5py
        import numpy as np

        from earwitness.corpora.tables import write_rows

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
        columns = ["caption", *(f"fname_{rank}" for rank in range(1, min(LISTED, len(clips)) + 1))]
        write_rows(folder / "top10.csv", columns, _best(similarity, list(queries["text"]), clips.ids))

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """Recalls, ranks and mAP in both directions; the experiment's options ``ties`` and ``protocol`` are applied.

        With ``protocol: sampled30`` there are also R@1 and R@5 among 30 candidates (``metrics.retrieval.sampled``),
        with ``std_over_repetitions``.
        """
        import h5py

        from earwitness.corpora.tables import clips_of
        from earwitness.evaluation.relevance import TABLE, evaluate, lacking, read_relevant
        from earwitness.evaluation.scores import Scored

        queries, clip_ids = _queries(corpus), list(clips_of(corpus / "clips.csv", SPLIT, "scoring")["clip_id"])
        path, relevant = folder / "similarity.h5", read_relevant(corpus)
        names, owners = list(queries["caption_id"]), list(queries["clip_id"])
        with h5py.File(path, "r") as file:
            found = [list(file[name].asstr()[:]) for name in ("caption_ids", "clip_ids")]
            if found != [names, clip_ids]:
                raise MismatchError(
                    f"{path} and {corpus} have different captions or clips. Remove {path.name} and run again."
                )
            ties = options.get("ties", "expected")
            scored = evaluate(file["similarity"], names, owners, clip_ids, relevant, ties)
            protocol = options.get("protocol", "full")
            if protocol != "full":
                _add_sampled(scored, file["similarity"], owners, clip_ids, relevant, ties)
        left = lacking(names, relevant)
        return Scored(
            scored,
            "score retrieval",
            {"similarity": path, "references": corpus / "captions.csv"}
            | ({} if relevant is None else {"relevant": corpus / TABLE}),
            {"ties": ties} | ({} if protocol == "full" else {"protocol": protocol}),
            {"clips_scored": len(clip_ids), "captions_scored": len(queries) - left}
            | ({} if relevant is None else {PAIRS: len(scored.ranks["t2a"].above)})
            | ({"captions_not_in_relevant": left} if left else {}),
            notes=scored.notes,
            tables={"queries.csv": _ranks(queries, scored)},
        )

    def clip_ids(self, corpus: Path) -> list[str]:
        """The clips that are scored: all, or those of the captions in the table of relevant clips and relevant ones."""
        from earwitness.evaluation.relevance import read_relevant

        relevant = read_relevant(corpus)
        if relevant is None:
            return super().clip_ids(corpus)
        queries = _queries(corpus)
        owner = dict(zip(queries["caption_id"], queries["clip_id"], strict=True))
        scored = {clip for name, clips in relevant.items() if clips for clip in (owner[name], *clips)}
        return [clip for clip in super().clip_ids(corpus) if clip in scored]

    def baselines(self, corpus: Path) -> list[Baseline]:
        """The exact expectations of a random order; medr is the median of the queries' expected ranks."""
        from collections import Counter

        from earwitness.corpora.tables import clips_of
        from earwitness.evaluation.relevance import read_relevant

        queries, table = _queries(corpus), read_relevant(corpus)
        if table is None:
            clips, captions = queries["clip_id"].nunique(), len(queries)
            relevant = list(queries.groupby("clip_id").size())
            several = [1] * captions
            metrics = {f"t2a_r{cut}": {"value": min(1.0, cut / clips)} for cut in CUTS}
        else:
            clips, captions = len(clips_of(corpus / "clips.csv", SPLIT, "retrieval")), len(table)
            relevant = list(Counter(clip for line in table.values() for clip in line).values())
            several = [len(line) for line in table.values() if line]
            metrics = {f"t2a_r{cut}": {"value": _chance(several, clips, cut)} for cut in CUTS}
        metrics |= {f"a2t_r{cut}": {"value": _chance(relevant, captions, cut)} for cut in CUTS}
        cuts = (10,) if table is None else (10, 16)
        metrics |= _chance_of_ranks("t2a", several, clips, cuts) | _chance_of_ranks("a2t", relevant, captions, cuts)
        if table is None and clips > SAMPLED:
            metrics |= {name: {"value": int(name[5]) / SAMPLED} for name in SAMPLED_NAMES}
        pool = f"{counted(clips, 'clip')} and {counted(captions, 'caption')} in random order"
        return [Baseline("chance", "Chance", pool, metrics)]


def _add_sampled(
    scored: Any, scores: Any, owners: list[str], clips: list[str], relevant: Mapping[str, Any] | None, ties: str
) -> None:
    """Add the metrics among 30 candidates to an evaluation, with a reason where none can be drawn."""
    import numpy as np

    from earwitness.metrics.retrieval import sampled

    if relevant is not None or len(set(owners)) <= SAMPLED:
        few = f"needs more than {SAMPLED} clips with a caption, and there are {len(set(owners))}"
        reason = few if relevant is None else "only one clip may be relevant to a caption, and there is a table of them"
        scored.metrics.update({name: {"value": None, "reason": reason} for name in SAMPLED_NAMES})
        return
    for name, values in sampled(scores, owners, clips, candidates=SAMPLED, ties=ties).items():
        means = values.mean(axis=1)
        scored.metrics[name] = {"value": float(means.mean()), "std_over_repetitions": float(means.std())}
        by_clip = dict(zip([clip for clip in clips if clip in set(owners)], values.mean(axis=0), strict=True))
        scored.more[name] = np.array([by_clip[clip] for clip in scored.ids])


def _chance(relevant: list[int], total: int, cut: int) -> float:
    """Mean probability that a query's relevant item is among the first ``cut`` of ``total`` in random order.

    ``relevant`` has the number of relevant items of each query.
    """
    from math import comb

    cut = min(cut, total)
    return sum(1 - comb(total - count, cut) / comb(total, cut) for count in relevant) / len(relevant)


def _chance_of_ranks(way: str, relevant: list[int], total: int, cuts: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Expected ranks, their geometric mean of recalls and average precisions: those of ``total`` items that all tie."""
    import numpy as np

    from earwitness.metrics import retrieval

    ranks = retrieval.Ranks(np.zeros(sum(relevant)), np.array(relevant), total)
    values = {
        "medr": retrieval.median_rank(ranks),
        "meanr": retrieval.mean_rank(ranks)[0],
        "gmean": retrieval.geometric_mean([retrieval.recall(ranks, cut)[0] for cut in (1, 5, 10)]),
        **{f"map{cut}": retrieval.mean_average_precision(ranks, cut)[0] for cut in cuts},
    }
    return {f"{way}_{name}": {"value": value} for name, value in values.items()}


def several_relevant(counts: Mapping[str, Any]) -> str | None:
    """What a reader should know of scores with a table of relevant clips, from their counts; None of other scores."""
    if not (pairs := counts.get(PAIRS)):
        return None
    return f"a table says which clips are relevant to a caption: {pairs} pairs, not each caption's own clip alone"


def _best(similarity: Any, texts: list[str], clips: list[str]) -> Iterator[list[str]]:
    """Rows of the lists: each text, then its best clips; those that score alike in the order of the clips.

    Captions with the same text are one query, as those who read a submission know them by their text.
    """
    import numpy as np

    rows = {" ".join(text.split()): row for row, text in reversed(list(enumerate(texts)))}  # the first of each text
    for row in sorted(rows.values()):
        order = np.argsort(-similarity[row], kind="stable")[:LISTED]
        yield [texts[row], *(clips[place] for place in order)]


def _ranks(queries: Any, scored: Any) -> Any:
    """The captions with the rank of the best relevant clip, the number of these, and average precision at 10.

    A caption without a relevant clip, or that a table of these lacks, has empty cells.
    """
    import pandas as pd

    ranks = scored.ranks["t2a"]
    columns = {"rank": ranks.best(scored.ties), "relevant": ranks.sizes, "ap10": scored.items.get("t2a_map10", [])}
    if not len(ranks.sizes):
        return queries.assign(**dict.fromkeys(columns, ""))
    found = pd.DataFrame(columns, index=scored.queries["t2a"]).astype({"relevant": "Int64"})
    return queries.join(found, on="caption_id")


def _queries(corpus: Path) -> Any:
    """The captions of the evaluation split: caption_id, clip_id, text."""
    from earwitness.corpora.tables import CAPTIONS, clips_of, read_table

    clips = clips_of(corpus / "clips.csv", SPLIT, "retrieval")
    captions = read_table(corpus / "captions.csv", CAPTIONS)
    return captions[captions["clip_id"].isin(clips["clip_id"])].reset_index(drop=True)
