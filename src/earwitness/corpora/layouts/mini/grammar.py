"""Captions of a scene: what is heard, in which order, how often and how loud, in varied words that are always true.

A caption is put together from pieces: a list of (word, number of the sound it names or None), so that the words that
name a sound are known by their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np

from earwitness.corpora.layouts.mini.scene import Group, Scene

CAPTIONS_PER_CLIP = 5
FEWEST_WORDS = 4
LOUDNESS_MENTIONED = 0.75  # listeners do not always mention it
ADVERB_FIRST = 0.2

T = TypeVar("T")
Piece = tuple[str, int | None]
Pieces = list[Piece]


@dataclass(frozen=True)
class Words:
    """How a sound is named: nouns, and verbs as (it does, doing), the most usual first."""

    nouns: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Phrase:
    """The words [start_word, end_word) of a caption, split on white space, that name one of the scene's groups."""

    text: str
    start_word: int
    end_word: int
    group: int


@dataclass(frozen=True)
class Caption:
    """A sentence and the phrases in it."""

    text: str
    phrases: tuple[Phrase, ...]


LEXICON = {
    "siren": Words(
        ("a siren", "an ambulance", "a police car"),
        (("wails", "wailing"), ("blares", "blaring"), ("screams", "screaming")),
    ),
    "bell": Words(
        ("a bell", "a church bell", "a gong"), (("rings", "ringing"), ("chimes", "chiming"), ("tolls", "tolling"))
    ),
    "bird": Words(
        ("a bird", "a sparrow", "a songbird", "a finch"),
        (("chirps", "chirping"), ("tweets", "tweeting"), ("sings", "singing")),
    ),
    "rain": Words(
        ("rain", "a rain shower", "drizzle"),
        (("patters", "pattering"), ("falls", "falling"), ("drips", "dripping")),
    ),
    "wind": Words(
        ("the wind", "a breeze", "a gust of wind"), (("blows", "blowing"), ("howls", "howling"), ("rushes", "rushing"))
    ),
    "engine": Words(
        ("an engine", "a motor", "a machine", "a generator"),
        (("hums", "humming"), ("runs", "running"), ("buzzes", "buzzing")),
    ),
    "alarm": Words(
        ("an alarm", "a smoke detector", "an electronic timer"),
        (("beeps", "beeping"), ("goes off", "going off"), ("bleeps", "bleeping")),
    ),
    "drum": Words(
        ("a drum", "a heart", "a bass drum"), (("thumps", "thumping"), ("beats", "beating"), ("pounds", "pounding"))
    ),
    "clock": Words(
        ("a clock", "a metronome", "a stopwatch"),
        (("ticks", "ticking"), ("clicks", "clicking"), ("clacks", "clacking")),
    ),
    "organ": Words(
        ("an organ", "an accordion", "a harmonium"),
        (("plays", "playing"), ("drones", "droning"), ("sounds", "sounding")),
    ),
    "rocket": Words(
        ("a rocket", "a firework", "a missile"),
        (("shoots up", "shooting up"), ("rises", "rising"), ("launches", "launching")),
    ),
    "whistle": Words(
        ("a whistle", "a slide whistle", "a toy flute"),
        (("slides down", "sliding down"), ("descends", "descending"), ("sinks", "sinking")),
    ),
    "saw": Words(
        ("a saw", "a carpenter", "a handsaw"),
        (("cuts wood", "cutting wood"), ("scrapes", "scraping"), ("rasps", "rasping")),
    ),
    "steam": Words(
        ("steam", "a frying pan", "hot oil"), (("hisses", "hissing"), ("sizzles", "sizzling"), ("fizzes", "fizzing"))
    ),
}
ADVERBS = {"soft": ("softly", "faintly", "quietly"), "loud": ("loudly", "noisily", "very loudly")}
TIMES = {2: ("twice", "two times"), 3: ("three times", "several times"), 4: ("four times", "several times")}
SYNONYMS = (0.65, 0.2, 0.1, 0.05)  # the chances of first, second, ... choice

# What joins one stage to the next, and whether "doing" (True) or "does" (False) follows.
JOINTS = {("followed by", True): 0.4, ("and then", False): 0.35, ("before", False): 0.12, ("then", False): 0.13}
LAST_JOINTS = {("and finally", False): 0.3, ("and then", False): 0.4, ("followed by", True): 0.3}
OPENINGS = {"": 0.86, "the sound of": 0.09, "there is": 0.05}
ORDERS = {"forward": 0.84, "after first": 0.08, "after last": 0.08}
# What joins the foreground to the background, whether "doing" follows, and whether the two may change places.
OVERLAPS = {
    ("while", False, True): 0.5,
    ("as", False, True): 0.2,
    ("over", True, False): 0.1,
    ("at the same time as", True, True): 0.1,
    ("with", True, False): 0.1,
}
# How long a sound that is all there is to hear, and that is heard once, is said to last.
LASTING = {
    False: {"for a moment": 0.45, "for a short time": 0.25, "": 0.3},
    True: {"for some time": 0.45, "for a few seconds": 0.25, "": 0.3},
}
LONG = 2.0  # seconds


def describe(rng: np.random.Generator, scene: Scene) -> list[Caption]:
    """Five captions of a scene, no two the same."""
    captions: dict[str, Caption] = {}
    while len(captions) < CAPTIONS_PER_CLIP:
        caption = _finish(rng, _sentence(rng, scene))
        if len(caption.text.split()) < FEWEST_WORDS:
            continue
        captions.setdefault(caption.text.rstrip(".").replace(",", ""), caption)
    return list(captions.values())


def _draw(rng: np.random.Generator, chances: dict[T, float]) -> T:
    return list(chances)[
        int(np.searchsorted(np.cumsum(list(chances.values())), rng.random()).clip(max=len(chances) - 1))
    ]


def _choose(rng: np.random.Generator, synonyms: Sequence[T]) -> T:
    """One of a few synonyms, the first most of all."""
    chances = np.array(SYNONYMS[: len(synonyms)])
    return synonyms[int(rng.choice(len(synonyms), p=chances / chances.sum()))]


def _plain(text: str) -> Pieces:
    return [(word, None) for word in text.split()]


def _comma(pieces: Pieces) -> Pieces:
    (word, group) = pieces[-1]
    return [*pieces[:-1], (f"{word},", group)]


def _sentence(rng: np.random.Generator, scene: Scene) -> Pieces:
    first = 0
    stages = []
    for stage in scene.stages:
        stages.append(list(enumerate(stage, start=first)))
        first += len(stage)
    if len(scene.groups) == 1:
        return _alone(rng, stages[0])
    order = _draw(rng, ORDERS) if len(stages) > 1 else "forward"
    if order == "after first":
        start = [*_plain("after"), *_comma(_stage(rng, stages[0], doing=True)), *_stage(rng, stages[1], doing=False)]
        return _chain(rng, start, stages[2:])
    if order == "after last" and len(stages) == 2:
        return [*_stage(rng, stages[1], doing=False), *_plain("after"), *_stage(rng, stages[0], doing=True)]
    opening = _draw(rng, OPENINGS)
    return _chain(rng, [*_plain(opening), *_stage(rng, stages[0], doing=bool(opening))], stages[1:])


def _alone(rng: np.random.Generator, stage: list[tuple[int, Group]]) -> Pieces:
    """A sound that is all there is to hear: longer sentences about less."""
    opening = _draw(rng, OPENINGS)
    pieces = [*_plain(opening), *_stage(rng, stage, doing=bool(opening))]
    events = stage[0][1].events
    if len(events) > 1:
        return pieces
    (onset, offset) = events[0]
    return [*pieces, *_plain(_draw(rng, LASTING[offset - onset >= LONG]))]


def _chain(rng: np.random.Generator, pieces: Pieces, stages: list[list[tuple[int, Group]]]) -> Pieces:
    """Append the stages that follow, each with its joint."""
    for number, stage in enumerate(stages, start=1):
        joint, doing = _draw(rng, LAST_JOINTS if number == len(stages) > 1 else JOINTS)
        if joint == "then" or rng.random() < 0.15:
            pieces = _comma(pieces)
        pieces = [*pieces, *_plain(joint), *_stage(rng, stage, doing)]
    return pieces


def _stage(rng: np.random.Generator, stage: list[tuple[int, Group]], doing: bool) -> Pieces:
    if len(stage) == 1:
        return _clause(rng, *stage[0], doing)
    foreground, background = stage
    joint, background_doing, symmetric = _draw(rng, OVERLAPS)
    if symmetric and rng.random() < 0.3:
        foreground, background = background, foreground
    tail = _plain("in the background") if joint == "with" else []
    second = _clause(rng, *background, background_doing)
    return [*_clause(rng, *foreground, doing), *_plain(joint), *second, *tail]


def _clause(rng: np.random.Generator, number: int, group: Group, doing: bool) -> Pieces:
    """Noun and verb, how often, how loud: "a bell rings twice softly"."""
    words = LEXICON[group.sound]
    noun, verb = _choose(rng, words.nouns), _choose(rng, words.verbs)[doing]
    mentioned = group.loudness in ADVERBS and rng.random() < LOUDNESS_MENTIONED
    adverb = _choose(rng, ADVERBS[group.loudness]) if mentioned else ""
    times = _choose(rng, TIMES[len(group.events)]) if len(group.events) > 1 else ""
    if rng.random() < ADVERB_FIRST:
        named, rest = f"{noun} {adverb} {verb}", times
    else:
        named, rest = f"{noun} {verb}", f"{adverb} {times}"
    return [*((word, number) for word in named.split()), *_plain(rest)]


def _finish(rng: np.random.Generator, pieces: Pieces) -> Caption:
    words = [word for word, _ in pieces]
    phrases, start = [], 0
    for group, run in groupby(pieces, key=lambda piece: piece[1]):
        end = start + len(list(run))
        if group is not None:
            text = " ".join(word.strip(",") for word in words[start:end])
            phrases.append(Phrase(text, start, end, group))
        start = end
    text = " ".join(words)
    stop = "." if rng.random() < 0.9 else ""
    return Caption(text[0].upper() + text[1:] + stop, tuple(phrases))
