"""Tagging: one tag for each clip, in ``tags.csv`` (clip_id, tag): the kind of prediction of docs/extending.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.metrics.catalogue import Metric


class Tagging(Kind):
    """Tags against the last word of the first phrase of each clip."""

    name = "tagging"
    label = "Tagging"
    files = ("tags.csv",)
    tables = ("clips.csv", "captions.csv", "phrases.csv", "report.json")
    artifacts = files
    metrics = [
        Metric("tag_accuracy", "Accuracy", "tagging"),
        Metric("tag_heard", "Tag in a caption", "tagging"),  # the share of clips with a caption that has the tag
    ]

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Tag every clip; ``model.tags(clips)`` yields the tags in order."""
        from earwitness.corpora.tables import write_rows

        write_rows(folder / "tags.csv", ["clip_id", "tag"], zip(clips.ids, model.tags(clips), strict=True))

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """Both metrics, with what resampling the clips needs."""
        import numpy as np

        from earwitness.corpora.tables import captions_by_clip, read_table
        from earwitness.corpora.toy_tags import tags_by_clip
        from earwitness.errors import MismatchError
        from earwitness.evaluation.scores import Scored, Scores
        from earwitness.metrics.statistics import mean_of

        predicted, tags = read_table(folder / "tags.csv", ["clip_id", "tag"]), tags_by_clip(corpus)
        ids = _clips(corpus, SPLIT)
        if list(predicted["clip_id"]) != ids:
            raise MismatchError(f"{folder / 'tags.csv'} has other clips than {corpus}. Remove it and run again.")
        captions = captions_by_clip(corpus / "captions.csv", ids)
        pairs = list(zip(ids, predicted["tag"], strict=True))
        by_clip = {
            "tag_accuracy": np.array([float(tags.get(clip) == tag) for clip, tag in pairs]),
            "tag_heard": np.array([float(tag in " ".join(captions[clip]).lower().split()) for clip, tag in pairs]),
        }
        metrics = {name: {"value": float(values.mean())} for name, values in by_clip.items()}
        statistics = {name: mean_of(values) for name, values in by_clip.items()}
        return Scored(
            Scores(metrics, by_clip, statistics, ids, captions={}),
            made_by="score tagging",
            inputs={"tags": folder / "tags.csv", "references": corpus / "phrases.csv"},
            settings={},
            counts={"clips_scored": len(ids)},
            columns={"tag": list(predicted["tag"])},
        )

    def baselines(self, corpus: Path) -> list[Baseline]:
        """The most frequent tag of the training clips, for every clip."""
        from collections import Counter

        from earwitness.corpora.toy_tags import tags_by_clip

        tags = tags_by_clip(corpus)
        wanted = [tags.get(clip) for clip in _clips(corpus, SPLIT)]
        (best, _), *_ = Counter(tags[clip] for clip in _clips(corpus, "development") if clip in tags).most_common(1)
        accuracy = {"value": wanted.count(best) / len(wanted)}
        return [Baseline("one tag", "Most frequent tag", f"“{best}” for every clip", {"tag_accuracy": accuracy})]


def _clips(corpus: Path, split: str) -> list[str]:
    from earwitness.corpora.tables import clips_of

    return list(clips_of(corpus / "clips.csv", split, "tagging")["clip_id"])
