"""Moments: when what a text names is in a recording of minutes, ranked, in ``moments.jsonl``.

``moments.jsonl`` is lighthouse's form: a line for each phrase of the evaluation split with ``qid`` (the phrase's id),
``query`` (its text), ``vid`` (its clip) and ``pred_relevant_windows``, [start, end, score] in seconds, best first.
``earwitness score moments`` reads it. The moments to find are the phrases' events (``phrases.csv``, ``events.csv``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earwitness.corpora.tables import phrases_of, reference_events
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.files import atomic

NO_PHRASES = f"the {SPLIT} split has no phrases"
FILE = "moments.jsonl"


class Moments(Kind):
    """Scores ranked moments of phrases against their annotated events."""

    name = "moments"
    label = "Moments"
    files = (FILE,)
    shown = (FILE,)
    artifacts = (FILE,)
    tables = ("clips.csv", "captions.csv", "phrases.csv", "events.csv", "report.json")
    baseline_splits = ("development", SPLIT)
    floors = ("whole recording", "constant window", "random windows")

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Find every phrase of the split in its clip.

        Args:
            model: ``model.moments(clips, queries)`` gives for each (clip_id, text), in order, its moments: (start, end,
                score) in seconds, best first.
        """
        phrases = phrases_of(corpus, SPLIT)
        asked = list(zip(phrases["clip_id"], phrases["text"], strict=True))
        with atomic(folder / FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
            for phrase, (clip, text), found in zip(
                phrases["phrase_id"], asked, model.moments(clips, asked) if asked else (), strict=True
            ):
                windows = [[float(value) for value in window] for window in found]
                line = {"qid": phrase, "query": text, "vid": clip, "pred_relevant_windows": windows}
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """R1 and mAP; an experiment may have the option ``protocol`` of ``earwitness.metrics.moments.evaluate``."""
        from earwitness.evaluation.readers.moments import read_moments
        from earwitness.evaluation.readers.tables import refuse
        from earwitness.evaluation.scores import Scored
        from earwitness.metrics.moments import Evaluation, evaluate

        phrases, path = phrases_of(corpus, SPLIT), folder / FILE
        protocol = options.get("protocol", "default")
        if phrases.empty:
            none = {metric.name: {"value": None, "reason": NO_PHRASES} for metric in self.metrics}
            scored = Evaluation(none, [], super().clip_ids(corpus), {}, {}, [], protocol)
        else:
            found = read_moments(path, predicted=True)
            refuse(found.problems)
            if list(found.windows) != list(phrases["phrase_id"]):
                raise MismatchError(f"{path} and {corpus} have different phrases. Remove {FILE} and run again.")
            true = reference_events(corpus, phrases)
            places = {"predicted": found.places}

            def named(which: str, phrase: str, number: int) -> str:
                known = places.get(which)
                return known[phrase][number] if known else f"{corpus / 'events.csv'}, phrase {phrase}"

            given: dict[str, Any] = {"clips": true["clips"], "protocol": protocol, "named": named}
            scored = evaluate(found.windows, true["references"], **given)
        return Scored(
            scored,
            "score moments",
            {"predictions": path, "references": corpus / "events.csv"},
            {"protocol": protocol},
            {"clips_scored": len(scored.ids) if len(phrases) else 0, "phrases_scored": len(phrases)} | scored.counts,
            notes=scored.notes,
        )

    def clip_ids(self, corpus: Path) -> list[str]:
        """The clips with a phrase."""
        return list(dict.fromkeys(phrases_of(corpus, SPLIT)["clip_id"]))

    def baselines(self, corpus: Path) -> list[Baseline]:
        """The whole recording, the training split's best constant window and random ones; and the true windows."""
        from earwitness.metrics.baselines import constant_window, random_windows, whole_recording
        from earwitness.metrics.moments import evaluate

        phrases = phrases_of(corpus, SPLIT)
        if phrases.empty:
            return []
        true, training = (reference_events(corpus, some) for some in (phrases, phrases_of(corpus, "development")))
        seconds, trained = (
            {phrase: given["durations"][clip] for phrase, clip in given["clips"].items()} for given in (true, training)
        )
        made: list[tuple[str, str, Mapping[str, Any]]] = [
            ("whole recording", "from the beginning to the end", whole_recording(seconds)),
            ("random windows", "ten for each phrase", random_windows(seconds)),
            ("true windows", "the annotated moments, the first ten of a phrase: an upper bound", true["references"]),
        ]
        try:
            window = constant_window(training["references"], trained)
        except EarwitnessError:  # the development split has no moment
            pass
        else:
            of = "from the end" if window.from_end else "from the beginning"
            fact = f"{window.start:g} to {window.end:g} s {of}, the best one of the development split"
            made.insert(1, ("constant window", fact, window.predictions(seconds)))
        return [
            Baseline(name, name.capitalize(), fact, evaluate(windows, true["references"]).metrics)
            for name, fact, windows in made
        ]
