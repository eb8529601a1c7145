"""The grounding section of the comparison page, and pictures of grounding from the DAG's files.

All of it shows the first seed of experiments; of their files the rows of the shown clips alone are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h5py
import numpy as np

from earwitness.corpora.tables import CAPTIONS, EVENTS, PHRASES, clips_of, read_table
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.interface import SPLIT
from earwitness.files import digest, read_json
from earwitness.metrics.events import iou, smoothed
from earwitness.report import clips, pictures, plots
from earwitness.report.interface import Experiment, KindPage

SHOWN = 20  # clips on the page: those of `alignment.h5`
SECONDS = 20.0  # of a clip to play
POINTS = 200  # of an activation on the page
COMPARED = 8  # experiments that can be chosen, at most: as many as there are colours
SCORE = "miou"  # by which clips are sorted
LONGEST_NAME = 120  # characters of a picture's name

Spans = list[tuple[float, float]]


@dataclass(frozen=True)
class Caption:
    """A caption of the evaluation split with its phrases as (phrase_id, text), and its clip."""

    caption_id: str
    clip_id: str
    text: str
    phrases: list[tuple[str, str]]


class Corpus:
    """The captions with phrases of the evaluation split, in the order of the corpus, and the true segments."""

    def __init__(self, folder: Path):
        table = clips_of(folder / "clips.csv", SPLIT, "grounding")
        self.paths: dict[str, str] = dict(zip(table["clip_id"], table["path"], strict=True))
        self.seconds: dict[str, float] = dict(zip(table["clip_id"], table["seconds"], strict=True))
        phrases = read_table(folder / "phrases.csv", PHRASES)
        by_caption: dict[str, list[tuple[str, str]]] = {}
        for phrase_id, caption_id, text in zip(*(phrases[name] for name in PHRASES[:3]), strict=True):
            by_caption.setdefault(caption_id, []).append((phrase_id, text))
        captions = read_table(folder / "captions.csv", CAPTIONS)
        found = zip(*(captions[name] for name in CAPTIONS), strict=True)
        place = {clip_id: number for number, clip_id in enumerate(self.paths)}
        self.captions = [
            Caption(caption_id, clip_id, text, by_caption[caption_id])
            for caption_id, clip_id, text in found
            if caption_id in by_caption and clip_id in place
        ]
        self.captions.sort(key=lambda caption: place[caption.clip_id])
        self.true = _spans(folder / "events.csv")

    def of_clips(self) -> dict[str, list[Caption]]:
        """The captions with phrases by clip."""
        found: dict[str, list[Caption]] = {}
        for caption in self.captions:
            found.setdefault(caption.clip_id, []).append(caption)
        return found


class Predicted:
    """The grounding of one seed, read phrase by phrase.

    Raises EarwitnessError where its files are missing or damaged.
    """

    def __init__(self, folder: Path):
        self.path = folder / "activations.h5"
        if missing := [str(path) for path in (self.path, folder / "events.csv") if not path.is_file()]:
            raise EarwitnessError(listed("Files of phrase grounding do not exist:", missing))
        with h5py.File(self.path, "r") as file:
            self.hop, self.threshold = float(file.attrs["hop"]), float(file.attrs["threshold"])
            self.frame_threshold = float(file.attrs.get("frame_threshold", self.threshold))  # of the frame metrics
            self.median_filter = int(file.attrs.get("median_filter", 1))
            self._offsets = file["offsets"][:]
            self._rows = {name: row for row, name in enumerate(file["phrase_ids"].asstr()[:])}
        self.found = _spans(folder / "events.csv")
        self._alignment = folder / "alignment.h5"

    def activations(self, phrases: Iterable[str]) -> dict[str, np.ndarray]:
        """The smoothed activation of each phrase, float64 [frames]; MismatchError for phrases of another corpus."""
        phrases = list(phrases)
        if unknown := [phrase for phrase in phrases if phrase not in self._rows]:
            heading = f"{self.path} has no activation of phrases of the corpus:"
            raise MismatchError(listed(heading, unknown, f"Remove {self.path.name} and run again."))
        with h5py.File(self.path, "r") as file:
            data = file["activations"]
            rows = {phrase: self._rows[phrase] for phrase in phrases}
            return {
                phrase: smoothed(data[self._offsets[row] : self._offsets[row + 1]].astype(float), self.median_filter)
                for phrase, row in rows.items()
            }

    @cached_property
    def alignments(self) -> dict[str, tuple[list[str], np.ndarray]]:
        """By caption its words and their activations, float32 [frames, words]; {} where the model has none."""
        if not self._alignment.is_file():
            return {}
        with h5py.File(self._alignment, "r") as file:
            words = file["words"].asstr()[:] if len(file["words"]) else []
            at, ends, values = file["word_offsets"][:], file["value_offsets"][:], file["values"]
            return {
                caption: (
                    list(words[at[n] : at[n + 1]]),
                    values[ends[n] : ends[n + 1]].astype(np.float32).reshape(frames, -1),
                )
                for n, (caption, frames) in enumerate(
                    zip(file["caption_ids"].asstr()[:] if len(at) > 1 else [], file["frames"][:], strict=True)
                )
            }


class GroundingPage(KindPage):
    """Shows where phrases were found in clips to play, and how the frame metrics depend on the threshold."""

    template = "grounding.html"

    def examples(self, found: list[Experiment], corpus: Path, root: Path) -> Mapping[str, Any]:
        """``plots`` over thresholds; ``clips`` and the ``experiments`` that are shown, where any has activations."""
        members = [e for e in found if not e.elsewhere and (e.seeds[0] / "activations.h5").is_file()][:COMPARED]
        predicted = [(member, Predicted(member.seeds[0])) for member in members]
        there = Corpus(corpus) if members else None
        of_clips = there.of_clips() if there is not None else {}
        shown = []
        if there is not None and of_clips:
            ordered = list(of_clips)[:SHOWN]
            if (values := members[0].scores[self.kind.name].by_clip(SCORE, ordered)) is not None:
                scores = {clip: -1.0 if np.isnan(value) else value for clip, value in zip(ordered, values, strict=True)}
                ordered = clips.spread(scores, SHOWN)
            shown = [_clip(clip, of_clips[clip], predicted, there, root) for clip in ordered]
        content = {
            "plots": _threshold_plots(self.kind.name, found, {e.name: made.frame_threshold for e, made in predicted}),
            "clips": shown,
            "of": len(of_clips),
            "experiments": [
                {
                    "number": member.number,
                    "name": member.name,
                    "colour": plots.colour(member.number),
                    "threshold": f"{made.threshold:.2g}",
                    "median_filter": made.median_filter,
                }
                for member, made in predicted
            ],
            "without": [e.name for e in found if e not in members],
        }
        return content if content["plots"] or shown else {}


def _clip(
    clip_id: str,
    captions: list[Caption],
    predicted: Sequence[tuple[Experiment, Predicted]],
    corpus: Corpus,
    root: Path,
) -> dict[str, Any]:
    """A clip to play: its first caption with activations and the words' heat maps, other captions with segments."""
    sound = clips.excerpt(root / corpus.paths[clip_id], SECONDS)
    of_words = {caption for _, made in predicted for caption in made.alignments}
    captions = sorted(captions, key=lambda caption: caption.caption_id not in of_words)  # stable: else the first
    first = captions[0]
    activations = [made.activations(phrase for phrase, _ in first.phrases) for _, made in predicted]

    def phrase(phrase_id: str, text: str, curves: bool) -> dict[str, Any]:
        true = corpus.true.get(phrase_id, [])
        rows = []
        for (experiment, made), of_first in zip(predicted, activations, strict=True):
            found = made.found.get(phrase_id, [])
            row: dict[str, Any] = {"number": experiment.number, "name": experiment.name}
            row |= {"colour": plots.colour(experiment.number), "bars": _bars(found, sound.seconds), "curve": None}
            row["iou"] = f"{iou(np.array(true), np.reshape(found, (-1, 2))):.2f}" if true else ""
            if curves:
                row |= _curve(of_first[phrase_id], made, sound.seconds)
            rows.append(row)
        return {"text": text, "true": _bars(true, sound.seconds), "silent": not true, "rows": rows}

    maps = []
    for experiment, made in predicted:
        if (alignment := made.alignments.get(first.caption_id)) is not None:
            of_map = {"number": experiment.number, "name": experiment.name, "colour": plots.colour(experiment.number)}
            maps.append(of_map | _heat_map(*alignment, made.hop, sound.seconds))
    return {
        "id": clip_id,
        "sound": sound,
        "caption": first.text,
        "phrases": [phrase(*one, curves=True) for one in first.phrases],
        "maps": maps,
        "others": [
            {"text": caption.text, "phrases": [phrase(*one, curves=False) for one in caption.phrases]}
            for caption in captions[1:]
        ],
    }


def _bars(spans: Spans, seconds: float) -> list[dict[str, str]]:
    """Segments as places on the time axis in per cent, cut at the end of what is played."""
    return [
        {
            "left": f"{100 * onset / seconds:.2f}",
            "width": f"{100 * (min(offset, seconds) - onset) / seconds:.2f}",
            "times": f"{onset:.2f} to {offset:.2f} s",
        }
        for onset, offset in spans
        if onset < seconds
    ]


def _curve(activation: np.ndarray, made: Predicted, seconds: float) -> dict[str, Any]:
    """An activation and its threshold as a path in 1000 x 100, the highest of both at the top."""
    values = activation[: max(1, round(seconds / made.hop))]
    edges = np.linspace(0, len(values), min(len(values), POINTS), endpoint=False).astype(int)
    top = max(float(activation.max(initial=0)), made.threshold, 1e-6)
    heights = np.round(100 - 98 * np.maximum.reduceat(values, edges) / top).astype(int).tolist()
    ends = np.append(edges[1:], len(values)) * made.hop / seconds * 1000
    path = "M0 100" + "".join(f"V{y}H{x}" for y, x in zip(heights, np.round(ends).astype(int).tolist(), strict=True))
    return {"curve": f"{path}V100Z", "threshold": round(100 - 98 * made.threshold / top), "top": f"{top:.2g}"}


def _heat_map(words: list[str], values: np.ndarray, hop: float, seconds: float) -> dict[str, Any]:
    """Activations of words [frames, words] as a picture with one row for each word."""
    values = values[: max(1, round(seconds / hop))]
    edges = np.linspace(0, len(values), min(len(values), POINTS), endpoint=False).astype(int)
    reduced, top = np.maximum.reduceat(values, edges, axis=0), max(float(values.max(initial=0)), 1e-6)
    picture = clips.data_uri("image/png", clips.png(np.clip(reduced.T / top, 0, 1)))
    width = min(100.0, 100 * len(values) * hop / seconds)
    return {"words": words, "picture": picture, "top": f"{top:.2g}", "width": f"{width:.2f}"}


def _threshold_plots(kind: str, found: list[Experiment], chosen: Mapping[str, float]) -> dict[str, str]:
    """Precision, recall and F1 of frames over thresholds, of the experiments whose scores have them."""
    curves = []
    for experiment in found:
        folder = experiment.folder if experiment.elsewhere else experiment.seeds[0] / kind
        curve = read_json(folder / "metrics.json").get("curves", {}).get("frame")
        if curve and len(curve["thresholds"]) > 1:
            curves.append((experiment, curve))
    titles = {"f1": "Frame F1", "precision": "Frame precision", "recall": "Frame recall"} if curves else {}
    return {
        f"frame-{name}": plots.threshold_plot(
            f"frame-{name}",
            title,
            [(e.number, curve["thresholds"], curve[name], chosen.get(e.name, np.nan)) for e, curve in curves],
        )
        for name, title in titles.items()
    }


def write_pictures(
    seed: Path, out: Path, root: Path | None = None, most: int = 10, form: str = "png"
) -> Iterator[Path]:
    """Draw each caption of the evaluation split that has phrases, at most ``most``, from the DAG's files.

    Args:
        seed: the folder of a seed, below ``results/{dataset}/{experiment}``.
        root: the folder that the clips' paths are relative to; None: ``results/{dataset}/audio``, as of mini.

    Yields the path of each picture when it is there. Raises EarwitnessError for missing files, all at once.
    """
    results = seed.resolve().parents[1]
    tables = [results / "corpus" / f"{name}.csv" for name in ("clips", "captions", "phrases", "events")]
    if missing := [str(path) for path in tables if not path.is_file()]:
        heading = f"{seed} is not a seed's folder below results/DATASET/EXPERIMENT; these tables do not exist:"
        raise EarwitnessError(listed(heading, missing))
    made, corpus = Predicted(seed), Corpus(results / "corpus")
    root = root or results / "audio"
    chosen = [caption for caption in corpus.captions if len(caption.phrases) <= most]
    if not chosen:
        raise EarwitnessError(f"No caption of the {SPLIT} split of {results.name} has 1 to {most} phrases to draw.")
    paths = {caption.clip_id: root / corpus.paths[caption.clip_id] for caption in chosen}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        heading = f"{len(missing)} of {len(paths)} recordings are not below {root}:"
        raise EarwitnessError(
            listed(heading, missing, "`--audio FOLDER` says where the recordings of the data set are.")
        )
    sound = None
    for caption in chosen:
        clip_id = caption.clip_id
        if sound is None or sound[0] != clip_id:  # captions of a clip stand together
            sound = clip_id, pictures.spectrogram(paths[clip_id], corpus.seconds[clip_id])
        activations = made.activations(phrase for phrase, _ in caption.phrases)
        rows = [
            pictures.Row(text, activations[phrase], made.found.get(phrase, []), corpus.true.get(phrase, []))
            for phrase, text in caption.phrases
        ]
        path = out / f"{file_name(caption.caption_id)}.{form}"
        pictures.draw(path, sound[1], rows, hop=made.hop, threshold=made.threshold, title=caption.text)
        yield path


def file_name(text: str) -> str:
    """A text as a name of a file, different for different texts.

    >>> file_name("a/rain in May.wav#1")
    'a%2Frain in May.wav#1'
    """
    name = re.sub(r"[^\w.#()&,' +=@!~-]", lambda found: quote(found[0], safe=""), text)
    return name if len(name.encode()) <= LONGEST_NAME else f"{name[:20]}-{digest(text)[:16]}"


def _spans(path: Path) -> dict[str, Spans]:
    """The segments of each phrase in a table of events."""
    table = read_table(path, EVENTS)
    found: dict[str, Spans] = {}
    for phrase, onset, offset in zip(*(table[name] for name in EVENTS), strict=True):
        if offset > onset:
            found.setdefault(phrase, []).append((float(onset), float(offset)))
    return found
