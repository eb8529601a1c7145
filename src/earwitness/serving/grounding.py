"""Phrases located in any recordings by a trained model.

A recording is read in pieces with some context on both sides, so that the memory it takes does not grow with its length
but for the activations themselves.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from earwitness.audio.check import inspect
from earwitness.audio.decode import open_recording
from earwitness.audio.sound import AudioError, mix
from earwitness.corpora.caption_rows import problem_of_name
from earwitness.errors import EarwitnessError, listed
from earwitness.metrics.events import detect, smoothed
from earwitness.metrics.grounding import Options
from earwitness.serving.models import load_grounder
from earwitness.serving.recordings import Features

PIECE = 60.0  # seconds that are read at once, context included
CONTEXT = 10.0  # seconds on each side of a piece that are computed with it and left out
EVEN = 8  # pieces begin at multiples of so many frames, as networks may join some of them


@dataclass(frozen=True, slots=True)
class Event:
    """Where a phrase was found: onset and offset in seconds, and the mean of its activation in between."""

    onset: float
    offset: float
    activation: float


@dataclass(frozen=True)
class Grounded:
    """The phrases in a recording.

    Attributes:
        seconds: its length.
        hop: seconds from one frame to the next; threshold: frames with a higher activation are active.
        activations: by phrase, smoothed as the model says, float32 [frames]; without phrases of which the model knows
            no word.
        events: by phrase as in ``activations``, in the order of time.
        unknown: by phrase, for all phrases, the words that the model does not know.
    """

    path: Path
    seconds: float
    hop: float
    threshold: float
    activations: dict[str, np.ndarray]
    events: dict[str, list[Event]]
    unknown: dict[str, list[str]]


class Locator:
    """A trained grounding model, for any number of recordings.

    Args:
        model: a seed's folder.
        weights: files of extractors' weights, where they are not in resources/checkpoints.
        threshold: in place of the model's.
        progress: show a progress bar.
    """

    def __init__(
        self, model: Path, weights: Sequence[Path] = (), threshold: float | None = None, progress: bool = True
    ):
        self.model = load_grounder(model)
        self.features = Features(self.model.made_by, weights, model=model)
        self.threshold = self.model.threshold if threshold is None else threshold
        self.median_filter, self.progress = getattr(self.model, "median_filter", 1), progress

    def unknown(self, phrases: Sequence[str]) -> dict[str, list[str] | None]:
        """By phrase, the words that the model does not know; None where it knows none.

        Raises EarwitnessError that names all phrases that are empty, or all phrases if the model knows no word of any.
        """
        unknown: Any = getattr(self.model, "unknown", lambda _: [])
        words = {phrase: unknown(phrase) if phrase.strip() else None for phrase in phrases}
        bare = all(found is None for found in words.values())
        if bad := [
            repr(phrase) if phrase.strip() else f"{phrase!r}, which is empty"
            for phrase in words
            if bare or not phrase.strip()
        ]:
            raise EarwitnessError(listed("The model knows no word of these phrases:", bad))
        return words

    def locate(self, paths: Sequence[Path], phrases: Sequence[str]) -> Iterator[Grounded]:
        """The phrases in each of the recordings, one at a time; those of which the model knows no word are left out.

        Raises EarwitnessError, before anything is computed, that names all recordings and phrases that cannot be used.
        """
        if isinstance(phrases, str) or not phrases:
            raise EarwitnessError("Give a list of phrases to locate.")
        if not paths:
            raise EarwitnessError("There is no recording to locate phrases in.")
        problems, lengths, unknown = [], dict[Path, float](), dict[str, list[str] | None]()
        try:
            unknown = self.unknown(phrases)
        except EarwitnessError as error:
            problems.append(str(error))
        bad: list[str] = []
        for path in dict.fromkeys(paths):
            if problem := problem_of_name(os.path.relpath(path, os.sep)):
                bad.append(str(AudioError(path, problem)))
                continue
            try:
                lengths[path] = inspect(path).seconds
            except AudioError as error:
                bad.append(str(error))
                continue
            if lengths[path] < self.model.hop:
                bad.append(
                    f"{path}: is {lengths[path]:g} s long, shorter than a frame of the model ({self.model.hop:g} s)"
                )
        if bad:
            problems.append(listed("Recordings that phrases cannot be located in:", bad))
        if problems:
            raise EarwitnessError("\n".join(problems))
        return self._located(lengths, unknown)

    def _located(self, lengths: dict[Path, float], unknown: dict[str, list[str] | None]) -> Iterator[Grounded]:
        shown: Any = {"mininterval": 0.5, "file": sys.stderr, "disable": not self.progress}
        bar = tqdm(desc="Locating", total=round(sum(lengths.values())), unit="s", **shown)
        options, hop = Options(), self.model.hop
        phrases = [phrase for phrase, words in unknown.items() if words is not None]
        words = {phrase: phrase.split() if found is None else found for phrase, found in unknown.items()}
        with bar:
            for path, seconds in lengths.items():
                raw = self._activations(path, seconds, phrases, bar)
                activations = {
                    phrase: smoothed(values, self.median_filter) for phrase, values in zip(phrases, raw, strict=True)
                }
                events = {}
                for phrase, values in activations.items():
                    found = detect(
                        values.astype(float),
                        np.array([self.threshold]),
                        hop=hop,
                        duration=seconds,
                        merge_gap=options.merge_gap,
                        min_length=options.min_length,
                    )
                    places = [(times, round(times[0] / hop), round(times[1] / hop)) for times in found.times.tolist()]
                    # An event may end within the first half of its last frame, with the recording.
                    events[phrase] = [
                        Event(onset, offset, float(values[first : max(first + 1, last)].mean()))
                        for (onset, offset), first, last in places
                    ]
                yield Grounded(path, seconds, hop, self.threshold, activations, events, words)

    def _activations(self, path: Path, seconds: float, phrases: list[str], bar: tqdm) -> list[np.ndarray]:
        """The activation of each phrase in a recording, float32 [frames], joined from its pieces."""
        hop = self.model.hop
        frames = max(1, int(np.ceil(round(seconds / hop, 6))))
        plan = self._plan(frames)
        spans = [(begin * hop, min(end * hop, seconds)) for begin, end, _, _ in plan]
        joined, length = np.zeros((len(phrases), frames), dtype=np.float32), frames
        with tempfile.TemporaryDirectory(prefix="earwitness-") as name:
            folder = Path(name)
            pieces = zip(plan, _shares(plan), _pieces(path, spans), strict=True)
            for (begin, end, first, last), shares, (samples, rate) in pieces:
                soundfile.write(folder / "piece.wav", samples, rate, subtype="FLOAT")
                values = self._of_piece(folder, phrases, path)
                # A model may have fewer frames than the hop says; the last one stands for those at a piece's end.
                for whole, activation in zip(joined, values, strict=True):
                    whole[begin:end] += shares * _to_length(activation, end - begin)
                length = min(frames, begin + len(values[0]))
                bar.update(round(min(last * hop, seconds)) - round(first * hop))
        return list(joined[:, :length])

    def _plan(self, frames: int) -> list[tuple[int, int, int, int]]:
        """Pieces as frames: where they begin and end, and the first and last of the part that is kept."""
        limits = [getattr(options, "seconds", None) or PIECE for options in self.features.options.values()]
        seconds = min(PIECE, *limits)
        most = max(1, int(seconds / self.model.hop + 1e-6))
        if frames <= most:
            return [(0, frames, 0, frames)]
        context = int(min(CONTEXT, seconds / 4) / self.model.hop)
        even = EVEN if context >= 2 * EVEN else 1
        context -= context % even
        step = max(1, most - 2 * context)
        step = max(even, step - step % even)
        starts = range(0, frames, step)
        return [
            (max(0, start - context), min(frames, start + step + context), start, min(frames, start + step))
            for start in starts
        ]

    def _of_piece(self, folder: Path, phrases: list[str], path: Path) -> list[np.ndarray]:
        """The activations in the piece that lies in a folder, each float32 [frames]."""
        (recording,) = self.features.checked(folder, ["piece.wav"], 1)
        if isinstance(recording, AudioError):
            raise AudioError(path, recording.reason)
        for _, clips in self.features.blocks(folder, [recording], folder, 1):
            made = self.model.activations(clips, [(recording.path, phrase) for phrase in phrases])
            values = [np.asarray(activation, dtype=np.float32) for activation in made]
        name = type(self.model).__name__
        shapes = [list(activation.shape) for activation in values]
        if len(values) != len(phrases) or any(len(shape) != 1 or not shape[0] for shape in shapes):
            raise EarwitnessError(f"{name}.activations gave {shapes}; [frames] for each of {len(phrases)} is needed.")
        if bad := [repr(p) for p, own in zip(phrases, values, strict=True) if not np.isfinite(own).all()]:
            raise EarwitnessError(listed(f"The model's activations of these phrases in {path} are not finite:", bad))
        return values


def _shares(plan: Sequence[tuple[int, int, int, int]]) -> list[np.ndarray]:
    """How much each frame of a piece counts; around a joint one piece passes into the other, so that it is not seen."""
    shares = [np.zeros(end - begin, dtype=np.float32) for begin, end, _, _ in plan]
    for own, (begin, _, first, last) in zip(shares, plan, strict=True):
        own[first - begin : last - begin] = 1
    for (own, other), ((begin, end, *_), (after, _, joint, _)) in zip(pairwise(shares), pairwise(plan), strict=True):
        half = min(end - joint, joint - after) // 2
        rise = (np.arange(2 * half, dtype=np.float32) + 0.5) / (2 * half)
        own[joint - half - begin : joint + half - begin] = 1 - rise
        other[joint - half - after : joint + half - after] = rise
    return shares


def _to_length(values: np.ndarray, length: int) -> np.ndarray:
    """The first values, the last one repeated where there are fewer."""
    values = values[:length]
    return np.pad(values, (0, length - len(values)), mode="edge")


def _pieces(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[np.ndarray, int]]:
    """The given spans of a recording (s), which ascend and may overlap: float32 [samples], mono, and the rate in Hz."""
    with open_recording(path) as sound:
        rate, held, at = sound.sample_rate, np.zeros(0, dtype=np.float32), 0
        for begin, end in spans:
            first, last = round(begin * rate), round(end * rate)
            held, at = held[first - at :], first
            if (missing := last - first - len(held)) > 0:
                held = np.concatenate([held, mix(sound.read(missing))])
            yield held[: last - first], rate
