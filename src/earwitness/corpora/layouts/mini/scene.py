"""What happens in a clip, and its waveform: sounds on a timeline, one after the other or at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from earwitness.corpora.layouts.mini import MiniOptions
from earwitness.corpora.layouts.mini.sounds import SOUNDS, event

LOUDNESS = {"normal": 0.6, "soft": 0.2, "loud": 0.2}
REPEATED = 0.2  # the chance that one more event repeats the sound before it
TOGETHER = 0.45  # the chance that two sounds that could follow one another overlap instead
NOISE_FLOOR = 0.0006  # RMS, about 30 dB under a soft event
PEAK = 0.98


@dataclass(frozen=True)
class Group:
    """A sound that is heard once or several times, always at the same loudness; times in seconds."""

    sound: str
    loudness: str
    events: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Scene:
    """A clip's stages in order of time; the two groups of a stage, foreground first, are heard at the same time."""

    seconds: float
    stages: tuple[tuple[Group, ...], ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """All sounds of the clip."""
        return tuple(group for stage in self.stages for group in stage)


def plan(rng: np.random.Generator, options: MiniOptions) -> Scene:
    """Draw what is heard when."""
    seconds = round(rng.uniform(options.seconds[0], options.seconds[1]), 2)
    # The larger of two draws: were most clips of a single sound, a constant caption would score well.
    events = int(rng.integers(options.events[0], options.events[1], size=2, endpoint=True).max())
    sizes = _group_sizes(rng, events, options.classes)
    sounds = rng.choice(list(SOUNDS)[: options.classes], size=len(sizes), replace=False)
    stages = _pair(rng, list(zip(sounds.tolist(), sizes, strict=True)))
    weights = np.array([max(size for _, size in stage) + rng.uniform(0, 0.3) for stage in stages])
    bounds = 0.05 + (seconds - 0.1) * np.concatenate([[0], np.cumsum(weights) / weights.sum()])
    slots = pairwise(bounds.tolist())
    return Scene(seconds, tuple(_place(rng, stage, *slot) for stage, slot in zip(stages, slots, strict=True)))


def _group_sizes(rng: np.random.Generator, events: int, classes: int) -> list[int]:
    sizes = [1]
    for _ in range(events - 1):
        if rng.random() < REPEATED or len(sizes) == classes:
            sizes[-1] += 1
        else:
            sizes.append(1)
    return sizes


def _pair(rng: np.random.Generator, groups: list[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Put neighbouring (sound, size) groups in one stage here and there; the background of a pair is heard once."""
    stages = []
    while groups:
        stage, groups = groups[:1], groups[1:]
        if groups and min(stage[0][1], groups[0][1]) == 1 and rng.random() < TOGETHER:
            stage = sorted([stage[0], groups[0]], key=lambda group: -group[1])
            groups = groups[1:]
        stages.append(stage)
    return stages


def _place(rng: np.random.Generator, stage: list[tuple[str, int]], start: float, end: float) -> tuple[Group, ...]:
    loudness = [str(rng.choice(list(LOUDNESS), p=list(LOUDNESS.values()))) for _ in stage]
    if set(loudness) == {"soft", "loud"}:
        loudness = ["loud" if level == "loud" else "normal" for level in loudness]  # a soft sound would be masked
    count = stage[0][1]
    times = [_spread(rng, count, start, end)] if len(stage) == 1 else _overlapping(rng, count, start, end)
    return tuple(Group(name, level, time) for (name, _), level, time in zip(stage, loudness, times, strict=True))


def _spread(rng: np.random.Generator, count: int, start: float, end: float) -> tuple[tuple[float, float], ...]:
    """Events one after the other, with a fifth of each one's share of the time left silent at least."""
    share = (end - start) / count
    lengths = np.minimum(share * rng.uniform(0.55, 0.75, size=count), rng.uniform(1.0, 3.2))
    onsets = start + share * np.arange(count) + rng.uniform(0, 1, size=count) * (0.8 * share - lengths)
    return tuple(
        (round(on, 2), round(on + length, 2)) for on, length in zip(onsets.tolist(), lengths.tolist(), strict=True)
    )


def _overlapping(
    rng: np.random.Generator, count: int, start: float, end: float
) -> list[tuple[tuple[float, float], ...]]:
    """The foreground's events within the background's, or one that begins within it and outlasts it."""
    onset = start + rng.uniform(0, 0.1) * (end - start)
    offset = onset + rng.uniform(0.75, 0.85) * (end - start)
    background = ((round(onset, 2), round(offset, 2)),)
    if count == 1 and rng.random() < 0.5:
        begin = onset + rng.uniform(0.25, 0.5) * (offset - onset)
        return [((round(begin, 2), round(end - rng.uniform(0, 0.04) * (end - start), 2)),), background]
    return [_spread(rng, count, onset, offset), background]


def mix(rng: np.random.Generator, scene: Scene, rate: int) -> np.ndarray:
    """The clip's waveform, int16 [samples]; turned down as a whole only where it would clip."""
    wave = NOISE_FLOOR * rng.standard_normal(round(scene.seconds * rate))
    for group in scene.groups:
        for onset, offset in group.events:
            first, last = round(onset * rate), round(offset * rate)
            wave[first:last] += event(rng, group.sound, group.loudness, last - first, rate)
    wave *= min(1.0, PEAK / np.abs(wave).max())
    return np.round(wave * 32767).astype(np.int16)
