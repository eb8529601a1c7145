"""Grounding: when a phrase sounds in its clip, in ``activations.h5``, ``pairs.csv`` and ``events.csv``.

``activations.h5`` holds ``activations`` float32 [frames of all pairs], ``offsets`` int64 [pairs + 1], ``phrase_ids``
and the attributes ``hop`` (s) and ``threshold``; ``pairs.csv`` has phrase_id, clip_id, text in the same order;
``events.csv`` has phrase_id, onset, offset (s) of the events above the threshold, short gaps closed as in scoring.
``earwitness score grounding`` reads these files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.files import atomic_hdf5, provenance


class Grounding(Kind):
    """Scores activations of phrases against their annotated events."""

    name = "grounding"
    label = "Phrase grounding"
    files = ("activations.h5", "pairs.csv", "events.csv")
    shown = ("activations.h5", "events.csv", "alignment.h5")
    tables = ("clips.csv", "captions.csv", "phrases.csv", "events.csv", "report.json")
    artifacts = ("events.csv",)
    floors = ("all active",)

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Compute the activation of every phrase of the split in its clip with a ``Grounder``."""
        import h5py
        from tqdm import tqdm

        from earwitness.corpora.tables import write_rows, write_table

        pairs = _pairs(corpus)
        made = model.activations(clips, list(zip(pairs["clip_id"], pairs["text"], strict=True)))
        references = _references(corpus, pairs)
        seconds = {phrase: references["durations"][clip] for phrase, clip in references["clips"].items()}
        events, offsets = [], [0]
        with atomic_hdf5(folder / "activations.h5") as file:
            frames = file.create_dataset("activations", (0,), "float32", maxshape=(None,), chunks=(1 << 16,))
            progress = tqdm(made, total=len(pairs), desc="Grounding", unit="phrase", mininterval=1)
            for phrase_id, activation in zip(pairs["phrase_id"], progress, strict=True):
                offsets.append(offsets[-1] + len(activation))
                frames.resize(offsets[-1], axis=0)
                frames[offsets[-2] :] = activation
                end = seconds[phrase_id]
                events += [(phrase_id, *times) for times in _events(activation, model.threshold, model.hop, end)]
            file["offsets"] = np.asarray(offsets, dtype=np.int64)
            file.create_dataset("phrase_ids", data=list(pairs["phrase_id"]), dtype=h5py.string_dtype())
            file.attrs.update(hop=model.hop, threshold=model.threshold)
            file.attrs["provenance"] = json.dumps(provenance("predict"), sort_keys=True)
        write_table(folder / "pairs.csv", pairs)
        write_rows(folder / "events.csv", ["phrase_id", "onset", "offset"], events)

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """Frame, segment and event metrics and IoU at the model's operating point, PSDS and Th-AUC.

        An experiment may have the option ``grid`` of ``earwitness.metrics.grounding.Options``.
        """
        import h5py

        from earwitness.evaluation.scores import Scored
        from earwitness.metrics.grounding import Options, evaluate

        pairs, path = _pairs(corpus), folder / "activations.h5"
        with h5py.File(path, "r") as file:
            names = list(file["phrase_ids"].asstr()[:])
            if names != list(pairs["phrase_id"]):
                raise MismatchError(f"{path} and {corpus} have different phrases. Remove {path.name} and run again.")
            offsets, hop = file["offsets"][:], float(file.attrs["hop"])
            grid = options.get("grid", "decimal")
            at = Options(threshold=float(file.attrs["threshold"]), minmax=False, grid=grid)
            activations = _Activations(names, offsets, file["activations"])
            scored = evaluate(activations, hop=hop, options=at, **_references(corpus, pairs))
        counts = {"clips_scored": len(scored.ids), "phrases_scored": len(pairs)} | scored.counts
        curves = {name: {key: list(map(float, v)) for key, v in c.items()} for name, c in scored.curves.items()}
        return Scored(
            scored,
            "score grounding",
            {"activations": path, "references": corpus / "events.csv"},
            {
                "hop": hop,
                **{name: getattr(at, name) for name in ("threshold", "minmax", "merge_gap", "min_length", "grid")},
            },
            counts,
            notes=scored.notes,
            more={"curves": curves},
        )

    def clip_ids(self, corpus: Path) -> list[str]:
        """The clips with a phrase."""
        return list(dict.fromkeys(_pairs(corpus)["clip_id"]))

    def baselines(self, corpus: Path) -> list[Baseline]:
        """Every phrase active in every frame of its clip."""
        from earwitness.metrics.grounding import Options, evaluate

        pairs = _pairs(corpus)
        references, hop = _references(corpus, pairs), 0.02
        frames = {clip: np.ones(max(1, round(seconds / hop))) for clip, seconds in references["durations"].items()}
        activations = {phrase: frames[clip] for phrase, clip in references["clips"].items()}
        metrics = evaluate(activations, hop=hop, options=Options(minmax=False), **references).metrics
        return [Baseline("all active", "All active", "every phrase active from beginning to end", metrics)]


class _Activations(Mapping):
    """The activations of a file by phrase, read on access."""

    def __init__(self, names: list[str], offsets: np.ndarray, values: Any):
        self.rows = {name: row for row, name in enumerate(names)}
        self.offsets, self.frames = offsets, values

    def __getitem__(self, name: str) -> np.ndarray:
        row = self.rows[name]
        return self.frames[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _pairs(corpus: Path) -> Any:
    """The phrases of the evaluation split: phrase_id, clip_id, text. Raises EarwitnessError if there are none."""
    from earwitness.corpora.tables import CAPTIONS, PHRASES, clips_of, read_table

    clips = clips_of(corpus / "clips.csv", SPLIT, "grounding")
    captions = read_table(corpus / "captions.csv", CAPTIONS)
    clip_of = dict(zip(captions["caption_id"], captions["clip_id"], strict=True))
    phrases = read_table(corpus / "phrases.csv", PHRASES)
    phrases["clip_id"] = [clip_of[caption] for caption in phrases["caption_id"]]
    phrases = phrases[phrases["clip_id"].isin(clips["clip_id"])]
    if phrases.empty:
        raise EarwitnessError(
            f"{corpus / 'phrases.csv'} has no phrase of the {SPLIT} split, so there is nothing to ground."
        )
    return phrases[["phrase_id", "clip_id", "text"]].reset_index(drop=True)


def _references(corpus: Path, pairs: Any) -> dict[str, Any]:
    """The reference arguments of ``evaluate``: events and clip of each phrase, and durations of clips (s)."""
    from earwitness.corpora.tables import CLIPS, EVENTS, read_table

    events = read_table(corpus / "events.csv", EVENTS)
    references: dict[str, list[tuple[float, float]]] = {phrase: [] for phrase in pairs["phrase_id"]}
    for phrase, onset, offset in zip(events["phrase_id"], events["onset"], events["offset"], strict=True):
        if phrase in references:
            references[phrase].append((onset, offset))
    clips = read_table(corpus / "clips.csv", CLIPS)
    seconds = dict(zip(clips["clip_id"], clips["seconds"], strict=True))
    clip_of = dict(zip(pairs["phrase_id"], pairs["clip_id"], strict=True))
    durations = {clip: float(seconds[clip]) for clip in dict.fromkeys(clip_of.values())}
    return {"references": references, "clips": clip_of, "durations": durations}


def _events(activation: np.ndarray, threshold: float, hop: float, duration: float) -> list[list[float]]:
    """Onset and offset in seconds of each event, detected as the scores do it."""
    from earwitness.metrics.events import detect
    from earwitness.metrics.grounding import Options

    scores, at = np.asarray(activation, dtype=float), Options(threshold=threshold)
    found = detect(
        scores, np.array([threshold]), hop=hop, duration=duration, merge_gap=at.merge_gap, min_length=at.min_length
    )
    return found.times.tolist()
