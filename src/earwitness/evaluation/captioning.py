"""Captioning: one caption per clip, in ``captions.csv`` (clip_id, caption, score)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, counted, listed
from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.options import SPLITS

PREDICTIONS = ["clip_id", "caption", "score"]
CAPTION = "caption"  # the column of scores.csv


class Captioning(Kind):
    """Scores captions against the reference captions of their clips."""

    name = "captioning"
    label = "Captioning"
    files = ("captions.csv",)
    artifacts = files
    baseline_splits = SPLITS
    uses_tools = True
    summed = ("captions_empty",)
    floors = ("constant caption",)
    curves = {"validation_cider_d": "CIDEr-D on validation"}

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Caption every clip with a ``Captioner``.

        Raises EarwitnessError where a score is not finite, as of features that are damaged.
        """
        import math

        import pandas as pd
        from tqdm import tqdm

        from earwitness.corpora.tables import write_table

        captions = tqdm(model.caption(clips), total=len(clips), desc="Captioning", unit="clip", mininterval=1)
        rows = [(clip_id, *caption) for clip_id, caption in zip(clips.ids, captions, strict=True)]
        if bad := [f"{clip}: {score}" for clip, _, score in rows if not math.isfinite(score)]:
            raise EarwitnessError(listed("Captions have scores that are not finite; are features damaged?", bad))
        write_table(folder / "captions.csv", pd.DataFrame(rows, columns=PREDICTIONS))

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """All caption metrics of a seed's captions."""
        from earwitness.corpora.tables import captions_by_clip, clips_of, read_table
        from earwitness.evaluation.scores import Scored
        from earwitness.metrics.captions import evaluate

        predicted = read_table(folder / "captions.csv", ["clip_id", "caption"])
        clips = clips_of(corpus / "clips.csv", SPLIT, "scoring")
        references = captions_by_clip(corpus / "captions.csv", list(clips["clip_id"]))
        candidates = dict(zip(predicted["clip_id"], predicted["caption"], strict=True))
        scored = evaluate(candidates, references, tools)
        return Scored(
            scored,
            "score captions",
            {"captions": folder / "captions.csv", "references": corpus / "captions.csv"},
            {"tools": tools.digests()},
            {"clips_scored": len(scored.ids), "captions_empty": sum(not text for text in scored.candidate_tokens)},
            columns={CAPTION: [candidates[clip_id] for clip_id in scored.ids]},
        )

    def baselines(self, corpus: Path) -> list[Baseline]:
        """CIDEr-D of the best constant caption, and of one reference scored against the others (upper bound).

        The constant caption is the training caption with the highest CIDEr-D on the validation split.
        """
        from earwitness.corpora.tables import captions_by_clip, clips_of
        from earwitness.metrics.baselines import best_constant, constant_score, human_bound
        from earwitness.metrics.captions import tokenize

        captions = {}
        for split in ("development", "validation", SPLIT):
            clips = clips_of(corpus / "clips.csv", split, "the constant caption")
            captions[split] = captions_by_clip(corpus / "captions.csv", list(clips["clip_id"]))
        training = [text for texts in captions["development"].values() for text in texts]
        training, validation = tokenize(training, list(captions["validation"].values()))
        _, references = tokenize([], list(captions[SPLIT].values()))
        caption = best_constant(training, validation)
        several = [texts for texts in references if len(texts) > 1]
        bound: dict[str, Any] = {"value": None, "reason": "Fewer than two clips have several references."}
        if len(several) > 1:
            bound = {"value": human_bound(several)}
        return [
            Baseline(
                "constant caption",
                "Best constant caption",
                f"“{caption}” for every clip",
                {"cider_d": {"value": constant_score(caption, references)}},
            ),
            Baseline(
                "one reference",
                "One reference against the others",
                f"{counted(len(several), 'clip')}; approximate human score",
                {"cider_d": bound},
            ),
        ]
