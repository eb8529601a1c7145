"""The captioning section of the comparison page: CIDEr-D, and clips to play with their captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.evaluation.interface import SPLIT
from earwitness.report import clips, plots
from earwitness.report.interface import Experiment, KindPage

CLIPS_SHOWN = 20
SCORE = "cider_d"  # shown for single clips


class CaptioningPage(KindPage):
    """Shows captions beside the references of their clips."""

    template = "captioning.html"

    def headline(self, found: list[Experiment]) -> str:
        """CIDEr-D, which is also known for baselines and validation."""
        return SCORE

    def facts(self, experiment: Experiment) -> list[str]:
        empty = experiment.result["kinds"][self.kind.name]["counts"].get("captions_empty")
        return [f"empty captions: {empty}"] if empty else []

    def examples(self, found: list[Experiment], corpus: Path, root: Path) -> list[Mapping[str, Any]]:
        """The clips to play, from the best to the worst of the first experiment."""
        if not found:
            return []
        captions = [self._captions(experiment) for experiment in found]
        chosen = clips.spread({clip_id: score or 0.0 for clip_id, (_, score) in captions[0].items()}, CLIPS_SHOWN)
        table = clips_of(corpus / "clips.csv", SPLIT, "the comparison page")
        paths = dict(zip(table["clip_id"], table["path"], strict=True))
        references = captions_by_clip(corpus / "captions.csv", chosen)
        return [
            {
                "id": clip_id,
                "sound": clips.excerpt(root / paths[clip_id]),
                "references": references[clip_id],
                "captions": [
                    {
                        "experiment": experiment.name,
                        "colour": plots.colour(number),
                        "text": text,
                        "score": "—" if score is None else f"{score:.2f}",
                    }
                    for number, experiment in enumerate(found)
                    for text, score in [captions[number].get(clip_id, ("", None))]
                ],
            }
            for clip_id in chosen
        ]

    def _captions(self, experiment: Experiment) -> dict[str, tuple[str, float | None]]:
        """Caption and CIDEr-D of each clip, from the first seed."""
        path = experiment.seeds[0] / self.kind.name / "scores.csv"
        table = pd.read_csv(path, dtype={"clip_id": str, "caption": str}, keep_default_na=False, encoding="utf-8")
        scores = table[SCORE].astype(float) if SCORE in table else [None] * len(table)
        return {row[0]: row[1:] for row in zip(table["clip_id"], table["caption"], scores, strict=True)}
