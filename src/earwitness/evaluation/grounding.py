"""Grounding: when a phrase sounds in its clip, in ``activations.h5``, ``pairs.csv``, ``events.csv``, ``alignment.h5``.

``activations.h5`` holds ``activations`` float32 [frames of all pairs], not smoothed, ``swapped`` of the same layout
with the activations of another phrase on the same clip (NaN where there is none), ``offsets`` int64 [pairs + 1],
``phrase_ids`` and the attributes ``hop`` (s), ``threshold`` and ``median_filter`` (frames); ``pairs.csv`` has
phrase_id, clip_id, text and ``swapped``, the other phrase's text, in the same order; ``events.csv`` has phrase_id,
onset, offset (s) of the events above the threshold, smoothed, short gaps closed as in scoring. ``earwitness score
grounding`` reads these files.

``alignment.h5`` holds for the first caption with a phrase of each of the first 20 clips the activation of every word:
``caption_ids`` [n], ``frames`` int64 [n], ``words`` of all captions one after another with ``word_offsets`` int64
[n + 1], ``values`` float16 flat, row by row [frames, words], with ``value_offsets`` int64 [n + 1], and the attribute
``hop``. It is empty for a model that does not tell words apart.

A data set without phrases in the evaluation split has empty files, and no metric has a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from earwitness.corpora.tables import phrases_of, reference_events
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.interface import SPLIT, Baseline, Kind
from earwitness.evaluation.loudness import TABLE, read_loudness
from earwitness.files import atomic_hdf5, provenance

if TYPE_CHECKING:
    from earwitness.metrics.grounding import Options

SEED = 0  # of swapped phrases and of random activations: the same for all experiments
ALIGNED = 20  # captions in alignment.h5
NO_PHRASES = f"the {SPLIT} split has no phrases"
NO_THRESHOLD = "no phrase of the validation split has an event, so no threshold can be chosen"
NO_OTHER = f"the {SPLIT} split has no other phrase for some of its clips"
NO_INTERVAL = "a control that is the same for all experiments: no interval is computed"
OF_CONTROLS = ("frame_f1", "psds", "psds_400")
ANY_THRESHOLD = ("frame_f1_best", "psds", "psds_400", "th_auc", "th_auc_02_08")  # metrics that need none
FACTS = {"random": "uniform noise in every frame", "loudness": "the clip's mean log-mel, whatever the phrase"}


class Grounding(Kind):
    """Scores activations of phrases against their annotated events, and those of controls that know no phrase."""

    name = "grounding"
    label = "Phrase grounding"
    files = ("activations.h5", "pairs.csv", "events.csv", "alignment.h5")
    shown = ("activations.h5", "events.csv", "alignment.h5")
    tables = ("clips.csv", "captions.csv", "phrases.csv", "events.csv", "report.json")
    scored_with = (TABLE,)
    artifacts = ("events.csv",)
    floors = ("all active", "random", "loudness")

    def predict(self, model: Any, clips: Any, corpus: Path, folder: Path) -> None:
        """Compute the activation of every phrase of the split in its clip with a ``Grounder``.

        Raises EarwitnessError that lists the phrases whose activations are not finite numbers [frames].
        """
        import h5py
        from tqdm import tqdm

        from earwitness.corpora.tables import write_rows, write_table

        pairs = phrases_of(corpus, SPLIT)
        pairs["swapped"] = np.array(_swapped(pairs), dtype=object)  # with None, not NaN
        seconds = reference_events(corpus, pairs)["durations"]
        # Both texts of a clip one after the other, so that a model need not embed the clip twice.
        texts = zip(pairs["clip_id"], pairs["text"], pairs["swapped"], strict=True)
        asked = [(clip, text) for clip, *both in texts for text in both if text is not None]
        made = iter(model.activations(clips, asked)) if asked else iter(())
        events, offsets, offenders = [], [0], []
        with atomic_hdf5(folder / "activations.h5") as file:
            flat = [
                file.create_dataset(name, (0,), "float32", maxshape=(None,), chunks=(1 << 16,))
                for name in ("activations", "swapped")
            ]
            for pair in tqdm(pairs.itertuples(), total=len(pairs), desc="Grounding", unit="phrase", mininterval=1):
                own = np.asarray(next(made, ()), dtype=np.float32)
                other = np.asarray(next(made, ()), dtype=np.float32) if pair.swapped else np.full_like(own, np.nan)
                problems = [_problem(own, own.size), _problem(other, own.size) if pair.swapped else ""]
                named = zip((pair.text, pair.swapped), problems, strict=True)
                offenders += [f"{pair.phrase_id}, {text!r} in clip {pair.clip_id}: {why}" for text, why in named if why]
                if offenders:
                    continue
                offsets.append(offsets[-1] + len(own))
                for values, activation in zip(flat, (own, other), strict=True):
                    values.resize(offsets[-1], axis=0)
                    values[offsets[-2] :] = activation
                events += [(pair.phrase_id, *times) for times in _events(own, model, seconds[pair.clip_id])]
            if offenders:
                name = f"{type(model).__name__}.activations"
                raise EarwitnessError(listed(f"{name} gave activations that cannot be scored:", offenders))
            file["offsets"] = np.asarray(offsets, dtype=np.int64)
            file.create_dataset("phrase_ids", data=list(pairs["phrase_id"]), dtype=h5py.string_dtype())
            file.attrs.update(hop=model.hop, threshold=model.threshold, median_filter=model.median_filter)
            if model.frame_threshold is not None:
                file.attrs["frame_threshold"] = model.frame_threshold
            file.attrs["provenance"] = json.dumps(provenance("predict"), sort_keys=True)
        write_table(folder / "pairs.csv", pairs)
        write_rows(folder / "events.csv", ["phrase_id", "onset", "offset"], events)
        _write_alignment(folder / "alignment.h5", model, clips, corpus)

    def score(self, folder: Path, corpus: Path, tools: Any, options: Mapping[str, Any]) -> Any:
        """Frame, segment and event metrics and IoU at the model's operating point, PSDS and Th-AUC; and controls.

        ``frame_f1_``, ``psds_`` and ``psds_400_`` of ``swapped`` phrases are at the same operating point; of
        ``loudness`` and of ``random`` activations at the threshold that suits the validation split best. An experiment
        may have the option ``grid`` of ``earwitness.metrics.grounding.Options``.
        """
        import h5py

        from earwitness.evaluation.scores import Scored
        from earwitness.metrics.grounding import Evaluation, Options, evaluate

        pairs, path = phrases_of(corpus, SPLIT), folder / "activations.h5"
        with h5py.File(path, "r") as file:
            names = list(file["phrase_ids"].asstr()[:])
            if names != list(pairs["phrase_id"]):
                raise MismatchError(f"{path} and {corpus} have different phrases. Remove {path.name} and run again.")
            offsets, hop = file["offsets"][:], float(file.attrs["hop"])
            at = Options(
                threshold=float(file.attrs["threshold"]),
                median_filter=int(file.attrs["median_filter"]),
                frame_threshold=None if (frames := file.attrs.get("frame_threshold")) is None else float(frames),
                minmax=frames is not None,
                grid=options.get("grid", "decimal"),
            )
            if pairs.empty:
                names = [metric.name for metric in self.metrics if not metric.name.endswith("_macro")]
                metrics: dict[str, dict] = {name: {"value": None, "reason": NO_PHRASES} for name in names}
                scored = Evaluation(metrics, super().clip_ids(corpus), {}, {}, {}, {}, {}, [])
            else:
                references, rows = reference_events(corpus, pairs), {name: row for row, name in enumerate(names)}
                scored = evaluate(_Activations(rows, offsets, file["activations"]), hop=hop, options=at, **references)
                lacking = dict.fromkeys(OF_CONTROLS, NO_OTHER) if None in _swapped(pairs) else {}
                swapped = Control("swapped", _Activations(rows, offsets, file["swapped"]), hop, at, lacking)
                for control in (swapped, *_controls(corpus, pairs, at.grid)):
                    metrics, statistics = control.scored(references)
                    scored.metrics.update(metrics)
                    scored.statistics.update(statistics)
        curves = {name: {key: list(map(float, v)) for key, v in c.items()} for name, c in scored.curves.items()}
        counts: dict[str, Any] = {"clips_scored": len(scored.ids) if len(pairs) else 0, "phrases_scored": len(pairs)}
        settings = ("threshold", "frame_threshold", "median_filter", "minmax", "merge_gap", "min_length", "grid")
        return Scored(
            scored,
            "score grounding",
            {"activations": path, "references": corpus / "events.csv", "loudness": corpus / TABLE},
            {"hop": hop, **{name: getattr(at, name) for name in settings}},
            counts | {"phrases_by_split": _phrases_by_split(corpus)} | scored.counts,
            notes=scored.notes,
            more={"curves": curves},
        )

    def clip_ids(self, corpus: Path) -> list[str]:
        """The clips with a phrase."""
        return list(dict.fromkeys(phrases_of(corpus, SPLIT)["clip_id"]))

    def baselines(self, corpus: Path) -> list[Baseline]:
        """Every phrase active in every frame of its clip, random activations, and the loudness of the clip."""
        from earwitness.metrics.grounding import Options, evaluate

        pairs = phrases_of(corpus, SPLIT)
        if pairs.empty:
            return []
        references, hop = reference_events(corpus, pairs), 0.02
        frames = {clip: np.ones(max(1, round(seconds / hop))) for clip, seconds in references["durations"].items()}
        activations = {phrase: frames[clip] for phrase, clip in references["clips"].items()}
        metrics = evaluate(activations, hop=hop, options=Options(minmax=False), **references).metrics
        del metrics["frame_f1_best"]  # scaled to 0 to 1 a constant is active nowhere
        found = [Baseline("all active", "All active", "every phrase active from beginning to end", metrics)]
        for control in _controls(corpus, pairs):
            scale = ["th_auc"] if control.name == "random" else []  # loudness has no scale of 0 to 1
            sets = ["frame", "segment", "event", "psds", "miou", *scale]
            scored = evaluate(control.activations, hop=control.hop, options=control.options, metrics=sets, **references)
            metrics = {
                name: {"value": None, "reason": NO_THRESHOLD}
                if control.lacking and name not in ANY_THRESHOLD
                else entry
                for name, entry in scored.metrics.items()
                if name not in ("frame_f1_all_active", "frame_f1_all_silent")
            }
            fact = f"{FACTS[control.name]}; threshold from validation"
            found.append(Baseline(control.name, control.name.capitalize(), fact, metrics))
        return found


class Control(NamedTuple):
    """Activations that do not depend on the phrase, or on another one, scored beside a model's."""

    name: str
    activations: Mapping[str, np.ndarray]
    hop: float
    options: Options
    lacking: Mapping[str, str]  # metrics without a value -> reason

    def scored(self, references: Mapping[str, Any]) -> tuple[dict[str, dict], dict[str, Any]]:
        """The metrics ``OF_CONTROLS`` with the control's name, and their statistics.

        PSDS of controls that all experiments share has no statistic: resampling it would take longer than all else.
        """
        from earwitness.metrics.grounding import evaluate

        metrics = {f"{name}_{self.name}": {"value": None, "reason": reason} for name, reason in self.lacking.items()}
        wanted = [name for name in OF_CONTROLS if name not in self.lacking]
        if not wanted:
            return metrics, {}
        found = evaluate(self.activations, hop=self.hop, options=self.options, metrics=wanted, **references)
        shared = [name for name in wanted if name != "frame_f1" and self.name != "swapped"]
        for name in wanted:
            without = {"ci95_reason": NO_INTERVAL} if name in shared else {}
            metrics[f"{name}_{self.name}"] = found.metrics[name] | without
        kept = {f"{name}_{self.name}": s for name, s in found.statistics.items() if name not in shared}
        return metrics, kept


def _controls(corpus: Path, pairs: Any, grid: Any = "decimal") -> Iterator[Control]:
    """Random activations and the clips' loudness, at the threshold with the highest frame F1 on validation."""
    from earwitness.metrics.grounding import Options
    from earwitness.metrics.operating_point import NothingActive, select

    hop, clips, offsets, loudness = read_loudness(corpus)
    place = {clip: row for row, clip in enumerate(clips)}
    validation = phrases_of(corpus, "validation")
    references = reference_events(corpus, validation)
    for name, kind in (("random", _Noise), ("loudness", _Activations)):
        made = [
            kind(
                {
                    phrase: place[clip]
                    for phrase, clip in zip(*(some[c] for c in ("phrase_id", "clip_id")), strict=True)
                },
                offsets,
                loudness,
            )
            for some in (validation, pairs)
        ]
        at, lacking = Options(grid=grid), {"frame_f1": NO_THRESHOLD}
        with suppress(NothingActive):
            point = select(made[0], hop=hop, windows=(0.0,), **references)
            at, lacking = replace(at, threshold=point.threshold, frame_threshold=point.frame_threshold), {}
        yield Control(name, made[1], hop, at, lacking)


class _Activations(Mapping):
    """Activations by phrase: rows of flat values, such as of a file, read on access."""

    def __init__(self, rows: Mapping[str, int], offsets: np.ndarray, values: Any):
        self.rows, self.offsets, self.values_of_rows = rows, offsets, values

    def __getitem__(self, name: str) -> np.ndarray:
        row = self.rows[name]
        return self.values_of_rows[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class _Noise(_Activations):
    """Uniform noise, as many frames as the row has, the same on every access."""

    def __getitem__(self, name: str) -> np.ndarray:
        digits = list(name.encode())
        return np.random.default_rng([SEED, *digits]).random(len(super().__getitem__(name)))


def _phrases_by_split(corpus: Path) -> dict[str, int]:
    from earwitness.options import SPLITS

    return {split: len(phrases_of(corpus, split)) for split in SPLITS}


def _swapped(pairs: Any) -> list[str | None]:
    """For each pair the text of another phrase of the split, drawn at random, that its clip has no phrase of.

    None where there is no such phrase. Texts are compared without letter case and blanks.
    """
    texts = list(pairs["text"])
    _, codes = np.unique([" ".join(text.casefold().split()) for text in texts], return_inverse=True)
    known = np.array([bool(text.strip()) for text in texts], dtype=bool)
    generator, found = np.random.default_rng(SEED), dict[int, str | None]()
    for rows in pairs.groupby("clip_id", sort=False).indices.values():
        others = np.flatnonzero(known & ~np.isin(codes, codes[rows]))
        drawn = [texts[row] for row in generator.choice(others, len(rows))] if len(others) else [None] * len(rows)
        found |= dict(zip(rows.tolist(), drawn, strict=True))
    return [found[row] for row in range(len(texts))]


def _problem(activation: np.ndarray, frames: int) -> str:
    """What is wrong with an activation, which needs some number of frames; "" for nothing."""
    if activation.ndim != 1 or not activation.size or activation.size != frames:
        return f"its shape is {list(activation.shape)}, [{frames or 'frames'}] is needed"
    if number := np.count_nonzero(~np.isfinite(activation)):
        first = int(np.argmax(~np.isfinite(activation)))
        return f"{number} of {frames} frames are not finite, the first is number {first}: {activation[first]}"
    return ""


def _events(activation: np.ndarray, model: Any, duration: float) -> list[list[float]]:
    """Onset and offset in seconds of each event at the model's operating point, detected as the scores do it."""
    from earwitness.metrics.events import detect, smoothed
    from earwitness.metrics.grounding import Options

    at = Options(threshold=model.threshold, median_filter=model.median_filter)
    scores = smoothed(np.asarray(activation, dtype=float), at.median_filter)
    gaps = {"merge_gap": at.merge_gap, "min_length": at.min_length}
    return detect(scores, np.array([at.threshold]), hop=model.hop, duration=duration, **gaps).times.tolist()


def _write_alignment(path: Path, model: Any, clips: Any, corpus: Path) -> None:
    """Write ``alignment.h5``, with frames of words as the model gives them."""
    import h5py

    from earwitness.corpora.tables import CAPTIONS, PHRASES, read_table

    captions = read_table(corpus / "captions.csv", CAPTIONS)
    captions = captions[captions["caption_id"].isin(read_table(corpus / "phrases.csv", PHRASES)["caption_id"])]
    captions = captions[captions["clip_id"].isin(clips.ids)].drop_duplicates("clip_id")[:ALIGNED]
    asked = list(zip(captions["clip_id"], captions["text"], strict=True))
    made = list(model.word_activations(clips, asked) or ()) if asked else []
    names = list(captions["caption_id"])[: len(made)]
    offenders = [
        f"{name}: {list(values.shape)} for {len(words)} words" + ("" if np.isfinite(values).all() else ", not finite")
        for name, (words, values) in zip(names, made, strict=True)
        if values.ndim != 2 or values.shape[1] != len(words) or not np.isfinite(values).all()
    ]
    if offenders or len(made) not in (0, len(asked)):
        heading = f"{type(model).__name__}.word_activations gave {len(made)} of {len(asked)} captions; finite "
        raise EarwitnessError(listed(f"{heading}[frames, words] is needed for each:", offenders))
    flat = [np.asarray(values, dtype=np.float16).ravel() for _, values in made]
    with atomic_hdf5(path) as file:
        texts = {"caption_ids": names, "words": [word for words, _ in made for word in words]}
        for name, content in texts.items():
            file.create_dataset(name, data=content, dtype=h5py.string_dtype())
        file["frames"] = np.array([len(values) for _, values in made], dtype=np.int64)
        file["word_offsets"] = np.cumsum([0, *(len(words) for words, _ in made)], dtype=np.int64)
        file["values"] = np.concatenate([np.zeros(0, dtype=np.float16), *flat])
        file["value_offsets"] = np.cumsum([0, *(len(values) for values in flat)], dtype=np.int64)
        file.attrs.update(hop=model.hop, provenance=json.dumps(provenance("predict"), sort_keys=True))
