"""Pairs of a phrase and a clip, each with its reference events and a curve of scores or detected events.

``validate`` refuses what cannot be scored; ``Pairs`` goes through what can, one pair at a time.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics.events import cleaned

Curves = Mapping[Hashable, Any]  # pair -> array [frames]
Events = Mapping[Hashable, Sequence]  # pair -> (onset, offset) of each event
LONGEST_HOP = 10.0  # seconds; a longer one is taken for milliseconds, or for frames per second
UNLIKE = 1.5  # times that frames and clip may differ in length
MUCH = 3  # times a clip's length that an event ends at where its times are taken for milliseconds
BEYOND = 0.1  # seconds that an event may end after its clip where no hop says what a frame is


@dataclass(frozen=True)
class Pair:
    """One pair as it is scored; events are cut at the clip's end."""

    name: Hashable
    clip: int
    duration: float  # seconds of the clip
    scores: np.ndarray | None  # float64 [frames], None where only events were given
    references: np.ndarray  # float64 [events, 2]
    detections: np.ndarray  # float64 [events, 2]
    removed: tuple[int, int]  # reference events and detections whose offset is at or before their onset
    curve: np.ndarray | None = None  # float64 [frames] the scores, smoothed

    @property
    def silent(self) -> bool:
        return not len(self.references)


@dataclass(frozen=True)
class Pairs:
    """All pairs, in the order of ``references``; with curves their detections are still to be made."""

    activations: Curves | None
    references: Events
    events: Events | None
    hop: float | None
    clips: Mapping[Hashable, Hashable] | None
    durations: Mapping[Hashable, float]

    @property
    def ids(self) -> list:
        """The clips, in the order of their first pairs."""
        return list(dict.fromkeys(self.clip_of(pair) for pair in self.references))

    def clip_of(self, pair: Hashable) -> Hashable:
        return pair if self.clips is None else self.clips[pair]

    def __iter__(self) -> Iterator[Pair]:
        number = {clip: n for n, clip in enumerate(self.ids)}
        for pair, events in self.references.items():
            clip = self.clip_of(pair)
            duration = float(self.durations[clip])
            references, removed = cleaned(events, duration)
            detections, dropped = cleaned(() if self.events is None else self.events[pair], duration)
            scores = None if self.activations is None else np.asarray(self.activations[pair], dtype=float)
            yield Pair(pair, number[clip], duration, scores, references, detections, (removed, dropped))


def validate(
    activations: Curves | None,
    references: Events,
    *,
    hop: float | None,
    clips: Mapping[Hashable, Hashable] | None = None,
    durations: Mapping[Hashable, float] | None = None,
    events: Events | None = None,
) -> None:
    """Refuse what ``earwitness.metrics.grounding.evaluate`` cannot score, all offenders in one EarwitnessError.

    The arguments are the same; every curve is read once. Events whose offset is at or before their onset are no
    offenders: they are left out and counted.
    """
    pairs_from(activations, references, hop=hop, clips=clips, durations=durations, events=events)


def pairs_from(activations, references, *, hop, clips=None, durations=None, events=None) -> Pairs:
    """The pairs of arguments that ``validate`` accepts, with the durations that were not given."""
    offenders = _argument_offenders(activations, references, hop, events)
    if not offenders:
        offenders = _name_offenders(activations, references, clips, durations, events)
    if not offenders:
        frames, offenders = _frames(activations or {})
    if not offenders:
        known = durations is not None
        everything = Pairs(activations, references, events, hop, clips, durations or {})
        offenders = _times(references, "reference") + _times(events or {}, "detected")
        if not offenders and not known:
            everything = Pairs(activations, references, events, hop, clips, _durations(everything, frames))
        offenders = offenders or _ends(everything, frames)
    if offenders:
        raise EarwitnessError(listed("These phrases cannot be scored:", offenders))
    return everything


def _argument_offenders(activations, references, hop, events) -> list[str]:
    if (activations is None) == (events is None):
        return ["either activations or events are needed, one of them" + ("" if events is None else ", not both")]
    offenders = [] if len(references) else ["there are no pairs"]
    if hop is None and activations is not None:
        offenders.append("hop is not given: how many seconds does a frame of the activations last?")
    elif hop is not None and not (is_number(hop) and hop > 0):
        offenders.append(f"hop is {hop!r}, not a positive number of seconds per frame")
    elif hop is not None and hop > LONGEST_HOP:
        offenders.append(f"hop is {hop!r} seconds per frame; milliseconds, or frames per second, perhaps")
    return offenders


def _name_offenders(activations, references, clips, durations, events) -> list[str]:
    given, what = (activations, "activations") if events is None else (events, "detected events")
    offenders = [f"pair {pair!r} has {what} but no references" for pair in given if pair not in references]
    offenders += [f"pair {pair!r} has references but no {what}" for pair in references if pair not in given]
    if offenders:
        advice = "a pair in which nothing sounds, or nothing was detected, has an empty list of events"
        return [*offenders, f"({advice})"]
    if clips is not None:
        offenders += [f"pair {pair!r} has no clip" for pair in references if pair not in clips]
        offenders += [f"pair {pair!r} has a clip but no references" for pair in clips if pair not in references]
    if durations is None or offenders:
        return offenders
    for clip in dict.fromkeys(references if clips is None else (clips[pair] for pair in references)):
        if clip not in durations:
            offenders.append(f"the duration of clip {clip!r} is not given")
        elif not (is_number(durations[clip]) and durations[clip] > 0):
            offenders.append(f"the duration of clip {clip!r} is {durations[clip]!r}, not a positive number of seconds")
    return offenders


def _frames(activations: Curves) -> tuple[dict[Hashable, int], list[str]]:
    """The number of frames of each pair, and what is no curve of finite scores."""
    frames, offenders = {}, []
    for pair in activations:
        try:
            scores = np.asarray(activations[pair], dtype=float)
        except (TypeError, ValueError):
            offenders.append(f"the activations of pair {pair!r} are not numbers, or their rows differ in length")
            continue
        if scores.ndim != 1:
            offenders.append(f"the activations of pair {pair!r} have the shape {list(scores.shape)}, not [frames]")
        elif not len(scores):
            offenders.append(f"the activations of pair {pair!r} are empty")
        elif number := np.count_nonzero(~np.isfinite(scores)):
            first = int(np.argmax(~np.isfinite(scores)))
            offenders.append(
                f"{number} activations of pair {pair!r} are not finite, the first in frame {first}: {scores[first]}"
            )
        frames[pair] = scores.size
    return frames, offenders


def _times(events: Events, which: str) -> list[str]:
    offenders = []
    for pair, given in events.items():
        try:
            times = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            times = None
        if times is None or (times.size and (times.ndim != 2 or times.shape[1] != 2)):
            offenders.append(f"the {which} events of pair {pair!r} are not a list of (onset, offset)")
            continue
        for onset, offset in times.reshape(-1, 2).tolist():
            if not (math.isfinite(onset) and math.isfinite(offset)):
                offenders.append(f"a {which} event of pair {pair!r} lasts from {onset} to {offset}: not finite")
            elif min(onset, offset) < 0:
                offenders.append(f"a {which} event of pair {pair!r} lasts from {onset:g} to {offset:g} s: negative")
    return offenders


def _durations(pairs: Pairs, frames: Mapping[Hashable, int]) -> dict[Hashable, float]:
    """The longest curve of each clip in seconds, or where there are only events the last offset."""
    durations = dict.fromkeys(pairs.ids, 0.0)
    for pair in pairs.references:
        clip = pairs.clip_of(pair)
        if pairs.activations is not None:
            ends = [frames[pair] * pairs.hop]
        else:
            both = (pairs.references[pair], pairs.events[pair])
            ends = [np.asarray(events, dtype=float).max(initial=0) for events in both]
        durations[clip] = max(durations[clip], *map(float, ends))
    return durations


def _ends(pairs: Pairs, frames: Mapping[Hashable, int]) -> list[str]:
    """Events that end after their clip, and curves that are much longer or shorter than it."""
    offenders = []
    slack = BEYOND if pairs.hop is None else pairs.hop
    for pair in pairs.references:
        duration = float(pairs.durations[pairs.clip_of(pair)])
        for which, events in (("reference", pairs.references), ("detected", pairs.events)):
            last = 0.0 if events is None else float(np.asarray(events[pair], dtype=float).max(initial=0))
            if last > duration + slack + 1e-6:
                hint = "; milliseconds, perhaps" if MUCH * duration < last <= 1000 * (duration + slack) else ""
                offenders.append(
                    f"a {which} event of pair {pair!r} lasts to {last:g} s, its clip only to {duration:g} s{hint}"
                )
        if pair in frames:
            length = frames[pair] * pairs.hop
            if length - slack > UNLIKE * duration or UNLIKE * (length + slack) < duration:
                offenders.append(
                    f"the {frames[pair]} frames of pair {pair!r} make {length:g} s with a hop of {pairs.hop:g} s, "
                    f"its clip lasts {duration:g} s: is the hop right?"
                )
    return offenders


def is_number(value) -> bool:
    """Whether ``value`` is a number, and neither NaN nor infinite."""
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
