"""Metrics as formulas of sums over clips.

A metric that is not the mean of clip values is still a function of sums over clips: of counts, lengths, durations. Each
function takes these sums, float64 [..., columns] with the columns that its docstring names, and gives float64 [...];
NaN where the metric has no value. ``FORMULAS`` has them by the names that ``statistics.h5`` stores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

BLEU_SMALL, BLEU_TINY = 1e-9, 1e-15  # pycocoevalcap's guards against division by zero (docs/metrics.md, section 1.2)
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75  # METEOR's parameters for English (docs/metrics.md, section 1.4)
METEOR_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # of exact, stem, synonym and paraphrase matches


def mean(sums: np.ndarray) -> np.ndarray:
    """Columns: sum of the values, number of values.

    >>> mean(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [0.75, nan]
    """
    return ratio(sums[..., 0], sums[..., 1])


def geometric_mean(sums: np.ndarray) -> np.ndarray:
    """Geometric mean of several means that share their number. Columns: a sum of values for each, the number.

    >>> float(geometric_mean(np.array([1.0, 4.0, 4.0])))
    0.5
    """
    return np.prod(ratio(sums[..., :-1], sums[..., -1:]), axis=-1) ** (1 / (sums.shape[-1] - 1))


def bleu(sums: np.ndarray, order: int) -> np.ndarray:
    """BLEU of n-grams up to ``order``. Columns: matches [4], guesses [4], length, length of the closest references.

    >>> sums = np.array([6.0, 4, 2, 1, 8, 7, 6, 5, 8, 8])
    >>> round(float(bleu(sums, order=1)), 3), round(float(bleu(sums, order=4)), 3)
    (0.75, 0.411)
    """
    matches, guesses, length, closest = sums[..., :order], sums[..., 4 : 4 + order], sums[..., 8], sums[..., 9]
    precision = np.prod((matches + BLEU_TINY) / (guesses + BLEU_SMALL), axis=-1) ** (1 / order)
    brevity = (length + BLEU_TINY) / (closest + BLEU_SMALL)
    return precision * np.exp(np.minimum(0, 1 - 1 / brevity))


def meteor(sums: np.ndarray) -> np.ndarray:
    """METEOR. Columns: what the jar gives ``earwitness.metrics.captions.meteor`` for one caption.

    Lengths of candidate and reference, function words of both; for exact, stem, synonym and paraphrase matches the
    content words matched of both, then the function words matched of both; chunks; words matched of both. A caption
    that matches as a whole counts no chunk.

    >>> exact = [3, 3, 1, 1, 2, 2, 1, 1]  # three words each, one of them a function word, all matched
    >>> float(meteor(np.array([*exact, *[0] * 12, 0, 3, 3], dtype=float)))
    1.0
    """
    length, words = sums[..., 0:2], sums[..., 2:4]
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 2, 2)  # [..., stage, content or function, of which text]
    matches = METEOR_WEIGHTS @ (DELTA * stages[..., 0, :] + (1 - DELTA) * stages[..., 1, :])
    shares = ratio(matches, DELTA * (length - words) + (1 - DELTA) * words)
    precision, recall = np.nan_to_num(shares[..., 0]), np.nan_to_num(shares[..., 1])
    f = np.nan_to_num(ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall))
    chunks = np.nan_to_num(ratio(sums[..., 20], (sums[..., 21] + sums[..., 22]) / 2))
    return f * (1 - GAMMA * chunks**BETA)


def precision(sums: np.ndarray) -> np.ndarray:
    """Columns: true positives, detected, in the reference. 0 where nothing is detected.

    >>> precision(np.array([[3.0, 4.0, 6.0], [0.0, 0.0, 6.0]])).tolist()
    [0.75, 0.0]
    """
    return np.where(sums[..., 1] == 0, 0, ratio(sums[..., 0], sums[..., 1]))


def recall(sums: np.ndarray) -> np.ndarray:
    """Columns of ``precision``; NaN where the reference is empty, as F1 is.

    >>> recall(np.array([[3.0, 4.0, 6.0], [0.0, 1.0, 0.0]])).tolist()
    [0.5, nan]
    """
    return ratio(sums[..., 0], sums[..., 2])


def f1(sums: np.ndarray) -> np.ndarray:
    """Columns of ``precision``.

    >>> float(f1(np.array([3.0, 4.0, 6.0])))
    0.6
    """
    return np.where(sums[..., 2] == 0, np.nan, ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2]))


def best_f1(sums: np.ndarray) -> np.ndarray:
    """The highest F1 of several thresholds, which is chosen anew on every resample.

    Columns: in the reference, then for each threshold: true positives, detected.

    >>> float(best_f1(np.array([6.0, 3.0, 4.0, 5.0, 14.0])))  # F1 of 6/10 and of 10/20
    0.6
    """
    counts = sums[..., 1:].reshape(*sums.shape[:-1], -1, 2)
    reference = np.broadcast_to(sums[..., :1, None], (*counts.shape[:-1], 1))
    return np.fmax.reduce(f1(np.concatenate([counts, reference], axis=-1)), axis=-1, initial=np.nan)


def error_rate(sums: np.ndarray) -> np.ndarray:
    """Columns: substitutions, deletions, insertions, in the reference.

    >>> float(error_rate(np.array([1.0, 2.0, 5.0, 4.0])))
    2.0
    """
    return ratio(sums[..., :3].sum(axis=-1), sums[..., 3])


def threshold_f1(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each threshold [..., thresholds]; columns of ``th_auc``.

    >>> [values.tolist() for values in threshold_f1(np.array([1.0, 2.0, 3.0, 4.0]))]
    [[0.75], [0.5], [0.6]]
    """
    counts = sums.reshape(*sums.shape[:-1], -1, 4)
    found, detected = ratio(counts[..., 0], counts[..., 1]), counts[..., 3]
    right = np.where(detected == 0, 0, ratio(counts[..., 2], detected))
    both = right + found
    return right, found, np.where(both == 0, 0, ratio(2 * right * found, both))


def th_auc(sums: np.ndarray, compat: bool = False) -> np.ndarray:
    """Area under F1 against the threshold (docs/metrics.md, section 3.5), over the range that is covered.

    Columns, for each of several thresholds that are equally far apart: references hit, references, detections hit,
    detections. ``compat`` divides, as the published code does, by a range that is one step longer.

    >>> float(th_auc(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0])).round(3))  # F1 of 1 and of 2/3
    0.833
    """
    values = threshold_f1(sums)[2]
    steps = values.shape[-1] - 1
    area = values.sum(axis=-1) - (values[..., 0] + values[..., -1]) / 2
    return area / (steps + 1 if compat else steps)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is 0.

    >>> ratio(np.array([1.0, 1.0]), np.array([4.0, 0.0])).tolist()
    [0.25, nan]
    """
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": mean,
    "geometric_mean": geometric_mean,
    **{f"bleu_{order}": partial(bleu, order=order) for order in (1, 2, 3, 4)},
    "meteor": meteor,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "best_f1": best_f1,
    "error_rate": error_rate,
    "th_auc": th_auc,
    "th_auc_compat": partial(th_auc, compat=True),
}
