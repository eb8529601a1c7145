"""The captioning section of the comparison page: CIDEr-D, and clips to play with their captions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.evaluation.interface import SPLIT
from earwitness.evaluation.result import validation_of
from earwitness.report import clips, plots
from earwitness.report.interface import Experiment, KindPage

CLIPS_SHOWN = 20
CLIPS_LISTED = 1500  # at most, with the captions of all experiments but without sound
SCORE = "cider_d"  # shown for single clips


class CaptioningPage(KindPage):
    """Shows captions beside the references of their clips."""

    template = "captioning.html"

    def headline(self, found: list[Experiment]) -> str:
        """CIDEr-D, which is also known for baselines and validation."""
        return SCORE

    def facts(self, experiment: Experiment) -> list[str]:
        """Empty captions, and CIDEr-D on the validation clips where prediction recorded it."""
        empty = experiment.result["kinds"][self.kind.name]["counts"].get("captions_empty")
        facts = [f"empty captions: {empty}"] if empty else []
        for name, value in validation_of(experiment.result, self.kind.name).items():
            metric = self.kind.metric(name.removeprefix("validation_"))
            facts.append(f"validation {metric.label}: {value:.{metric.digits}f}")
        return facts

    def examples(self, found: list[Experiment], corpus: Path, root: Path) -> Mapping[str, Any]:
        """The clips from the best to the worst of the first experiment: some to play, then others to read."""
        if not found:
            return {}
        captions = [self._captions(experiment) for experiment in found]
        scores = {clip_id: score or 0.0 for clip_id, (_, score) in captions[0].items()}
        played = clips.spread(scores, CLIPS_SHOWN)
        others = {clip_id: score for clip_id, score in scores.items() if clip_id not in set(played)}
        chosen = [*played, *clips.spread(others, CLIPS_LISTED - len(played))]
        table = clips_of(corpus / "clips.csv", SPLIT, "the comparison page")
        paths = dict(zip(table["clip_id"], table["path"], strict=True))
        references = captions_by_clip(corpus / "captions.csv", chosen)
        shown = [
            {
                "id": clip_id,
                "sound": clips.excerpt(root / paths[clip_id]) if place < len(played) else None,
                "references": references[clip_id],
                "captions": [
                    {
                        "experiment": experiment.name,
                        "colour": plots.colour(experiment.number),
                        "text": text,
                        "score": "—" if score is None else f"{score:.2f}",
                        "value": score,
                    }
                    for experiment, said in zip(found, captions, strict=True)
                    for text, score in [said.get(clip_id, ("", None))]
                ],
            }
            for place, clip_id in enumerate(chosen)
        ]
        return {"clips": shown}

    def _captions(self, experiment: Experiment) -> dict[str, tuple[str, float | None]]:
        """Caption and CIDEr-D of each clip, from the first seed."""
        scores = experiment.scores[self.kind.name].seeds[0]
        values = scores.by_clip.get(SCORE, np.full(len(scores.ids), np.nan)).tolist()
        return {
            clip: (scores.captions.get(clip, ""), None if math.isnan(value) else value)
            for clip, value in zip(scores.ids, values, strict=True)
        }
