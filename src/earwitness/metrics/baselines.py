"""Baselines and an upper bound of a captioner, in CIDEr-D, and baselines of moments.

All texts are PTB-tokenised. Baselines of moments are predictions for ``earwitness.metrics.moments.evaluate`` that have
heard nothing; its upper bound are the references themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.metrics.arguments import text_list
from earwitness.metrics.cider import CiderD
from earwitness.metrics.moments import iou
from earwitness.metrics.pairs import reference_lists


def best_constant(training_captions: Sequence[str], validation_references: Sequence[Sequence[str]]) -> str:
    """The training caption with the highest CIDEr-D on validation when given to every clip; the first of equals.

    Exact over all distinct captions, whatever their number: ``CiderD.constant`` needs no shortlist. Raises
    EarwitnessError when there is no training caption, or no reference.

    >>> best_constant(["a dog", "rain falls"], [["rain falls hard"], ["rain on leaves"], ["a bell"]])
    'rain falls'
    """
    captions = list(dict.fromkeys(text_list("The training captions", training_captions)))
    if not captions:
        raise EarwitnessError("The best constant caption is chosen from training captions, and there are none.")
    return captions[int(np.argmax(CiderD(validation_references).constant(captions)))]


def constant_score(caption: str, references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D, in 0 to 10, of one caption given to every clip.

    >>> round(constant_score("rain falls", [["rain falls"], ["a bell"]]), 3)
    2.5
    """
    return float(CiderD(references).constant([caption])[0])


def human_bound(references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D, in 0 to 10, of each clip's first reference against its others, whose document frequencies are used.

    Raises EarwitnessError when a clip has fewer than two references.

    >>> round(human_bound([["a dog barks", "a dog barks"], ["rain", "wind"]]), 3)
    3.75
    """
    references = reference_lists("The upper bound", references)
    single = sum(len(given) < 2 for given in references)
    if single or not references:
        raise EarwitnessError(
            "One reference is scored against the others of its clip, which takes at least two references a clip: "
            f"{single} of {len(references)} clips have fewer."
        )
    return float(CiderD([given[1:] for given in references]).score([given[0] for given in references]).mean())


def shuffled(candidates: Mapping[str, str], seed: int) -> dict[str, str]:
    """The captions assigned to wrong clips: each clip gets another clip's caption, each caption is used once.

    The clips are put on a random ring, and each takes its neighbour's caption. Raises EarwitnessError for fewer than
    two clips.

    >>> shuffled({"a": "a dog", "b": "rain"}, seed=0)
    {'a': 'rain', 'b': 'a dog'}
    """
    if len(candidates) < 2:
        raise EarwitnessError(
            f"Captions can only be assigned to wrong clips with two clips or more; there are {len(candidates)}."
        )
    clips = list(candidates)
    ring = np.random.default_rng(seed).permutation(len(clips))
    source = dict(zip(ring.tolist(), np.roll(ring, 1).tolist(), strict=True))
    return {clip: candidates[clips[source[place]]] for place, clip in enumerate(clips)}


BLOCK = 1 << 20  # pairs of windows compared at a time


class ConstantWindow(NamedTuple):
    """A window in seconds from the recordings' beginning; with ``from_end`` from their end, counted backwards.

    >>> ConstantWindow(0.0, 15.0, from_end=True).predictions({"a": 60.0})
    {'a': [(45.0, 60.0)]}
    """

    start: float
    end: float
    from_end: bool = False

    def predictions(self, seconds: Mapping[Any, float]) -> dict[Any, list[tuple[float, float]]]:
        """The window for each query, given the seconds of its recording."""
        if not self.from_end:
            return {query: [(self.start, self.end)] for query in seconds}
        return {query: [(length - self.end, length - self.start)] for query, length in seconds.items()}


def constant_window(
    references: Mapping[Any, Sequence], seconds: Mapping[Any, float] | None = None, step: float = 1.0
) -> ConstantWindow:
    """The window with the highest R1 at 0.5 when given to every query; of equals that with the higher R1 at 0.7.

    Those tried are the references' own windows with both ends on multiples of ``step``, as they stand from the
    beginning and, where the recordings' lengths are known, from the end.

    Args:
        references: (start, end) of the windows of each query, such as those of the training split.
        seconds: of each query's recording.

    Raises EarwitnessError where no window has a length.

    >>> constant_window({"a": [(0, 9)], "b": [(0, 11), (40, 50)], "c": [(50, 60)]})
    ConstantWindow(start=0.0, end=9.0, from_end=False)
    """
    rows = [(query, start, end) for query, windows in references.items() for start, end in windows if end > start]
    if not rows:
        raise EarwitnessError("The best constant window is chosen from training moments, and there are none.")
    found: list[tuple[list[int], ConstantWindow]] = []
    for from_end in (False, True) if seconds is not None else (False,):
        times = np.array([[start, end] for _, start, end in rows], dtype=float)
        if from_end and seconds is not None:
            times = np.array([seconds[query] for query, *_ in rows])[:, None] - times[:, ::-1]
        first = np.flatnonzero([n == 0 or rows[n][0] != rows[n - 1][0] for n in range(len(rows))])
        tried = np.unique(np.round(times / step) * step, axis=0)
        tried = tried[tried[:, 1] > tried[:, 0]]
        for some in np.array_split(tried, -(-len(tried) * len(times) // BLOCK)) if len(tried) else ():
            pairs = iou(np.repeat(some, len(times), axis=0), np.tile(times, (len(some), 1)))
            best = np.maximum.reduceat(pairs.reshape(len(some), len(times)), first, axis=1)
            hits = np.stack([(best >= at).sum(axis=1) for at in (0.5, 0.7)], axis=1)
            tried_now = (ConstantWindow(float(start), float(end), from_end) for start, end in some)
            found += zip(hits.tolist(), tried_now, strict=True)
    if not found:
        raise EarwitnessError(f"No training moment lasts {step / 2:g} s: there is no constant window to choose.")
    return max(found, key=lambda entry: entry[0])[1]


def whole_recording(seconds: Mapping[Any, float]) -> dict[Any, list[tuple[float, float]]]:
    """All of the recording for each query, given the seconds of its recording.

    >>> whole_recording({"a": 60.0})
    {'a': [(0.0, 60.0)]}
    """
    return {query: [(0.0, float(length))] for query, length in seconds.items()}


def random_windows(seconds: Mapping[Any, float], seed: int = 0, number: int = 10) -> dict[Any, list]:
    """Windows with both ends drawn evenly from each query's recording, in the order drawn.

    >>> found = random_windows({"a": 60.0})["a"]
    >>> len(found), all(0 <= start < end <= 60 for start, end in found)
    (10, True)
    """
    drawn = np.sort(np.random.default_rng(seed).random((len(seconds), number, 2)), axis=2)
    lengths = np.array(list(seconds.values()), dtype=float)
    return dict(zip(seconds, (drawn * lengths[:, None, None]).tolist(), strict=True))
