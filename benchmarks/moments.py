"""R1 and mAP of moments, all queries at once, against a loop over queries, predictions and thresholds.

full     R1 and mAP over all lengths at ten thresholds, as the public evaluators of moments print them
lengths  the same over all lengths and over three ranges of lengths

The loop is written as the public evaluators are: for each query its predictions are sorted, for each prediction the IoU
with all windows of the query is computed by NumPy and its windows are tried one by one at each threshold. Both sides
start from lists as json gives them, and the benchmark stops if a figure differs. Sides take turns; a figure is the
median of the repetitions. The data are drawn: 1,347 queries, as CASTELLA's test split has, with one to ten windows and
ten predictions each, half of which are near a window.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, from_command_line, machine, side_by_side, table

from earwitness.metrics import moments

QUERIES, WINDOWS, PREDICTIONS = 1347, 10, 10
LABELS = {"full": "R1 and mAP, all lengths", "lengths": "and in three ranges of lengths"}
EXPECTED = {"full": 20.0, "lengths": 20.0}

Windows = dict[str, list[list[float]]]
Figures = dict[str, dict[str, float]]


def drawn(queries: int, seed: int = 0) -> tuple[Windows, Windows]:
    """Predictions with scores, in any order, and references."""
    generator = np.random.default_rng(seed)
    references, predictions = {}, {}
    for number in range(queries):
        start = generator.integers(0, 280, generator.integers(1, 1 + WINDOWS))
        windows = np.stack([start, start + np.ceil(generator.lognormal(1.5, 1.2, len(start)))], axis=1)
        near = windows[generator.integers(0, len(windows), PREDICTIONS)] + generator.normal(0, 1, (PREDICTIONS, 2))
        anywhere = np.sort(generator.uniform(0, 300, (PREDICTIONS, 2)), axis=1)
        chosen = np.where(generator.random((PREDICTIONS, 1)) < 0.5, near, anywhere)
        chosen[:, 1] = np.maximum(chosen[:, 1], chosen[:, 0] + 0.1)
        scored = np.concatenate([chosen, generator.random((PREDICTIONS, 1))], axis=1)
        references[str(number)], predictions[str(number)] = windows.tolist(), scored.tolist()
    return predictions, references


def overlaps(window: list[float], others: np.ndarray) -> np.ndarray:
    """The IoU of one window with each of the others."""
    both = np.maximum(np.minimum(window[1], others[:, 1]) - np.maximum(window[0], others[:, 0]), 0)
    return both / (window[1] - window[0] + others[:, 1] - others[:, 0] - both)


def precision_of_query(predictions: list[list[float]], windows: np.ndarray) -> list[float]:
    """Average precision at each threshold."""
    ordered = sorted(predictions[:PREDICTIONS], key=lambda window: -window[2])
    right = np.zeros((len(moments.THRESHOLDS), len(ordered)))
    taken = np.zeros((len(moments.THRESHOLDS), len(windows)), dtype=bool)
    for place, window in enumerate(ordered):
        shares = overlaps(window, windows)
        order = np.argsort(shares, kind="stable")[::-1]
        for row, threshold in enumerate(moments.THRESHOLDS):
            for other in order:
                if shares[other] < threshold:
                    break
                if not taken[row, other]:
                    right[row, place], taken[row, other] = 1, True
                    break
    found, wrong = np.cumsum(right, axis=1), np.cumsum(1 - right, axis=1)
    values = []
    for recall, precision in zip(found / len(windows), found / (found + wrong), strict=True):
        highest = np.hstack([[0], precision, [0]])
        steps = np.hstack([[0], recall, [1]])
        for place in range(len(highest) - 1)[::-1]:
            highest[place] = max(highest[place], highest[place + 1])
        rises = np.where(steps[1:] != steps[:-1])[0] + 1
        values.append(float(np.sum((steps[rises] - steps[rises - 1]) * highest[rises])))
    return values


def by_loop(predictions: Windows, references: Windows, lengths: list[str]) -> dict[str, Figures]:
    """R1 and mAP in per cent, one query after another."""
    figures = {}
    for length in lengths:
        low, high = moments.RANGES[length]
        inside = {query: [w for w in given if low < w[1] - w[0] <= high] for query, given in references.items()}
        first, precision = [], []
        for query, windows in inside.items():
            if windows:
                first.append(float(overlaps(predictions[query][0], np.array(windows)).max()))
                precision.append(precision_of_query(predictions[query], np.array(windows)))
        names = [f"{at:g}" for at in moments.THRESHOLDS]
        hits = {at: 100 * float(np.mean([share >= float(at) for share in first])) for at in names}
        means = dict(zip(names, (100 * np.mean(precision, axis=0)).tolist(), strict=True))
        figures[length] = {"R1": hits, "mAP": means | {"average": float(np.mean(list(means.values())))}}
    return figures


def at_once(predictions: Windows, references: Windows, lengths: list[str]) -> dict[str, Figures]:
    """The same by the library."""
    found = moments.evaluate(predictions, references, protocol="lighthouse", metrics=lengths)
    return {length: moments.lighthouse(found, length, digits=None) for length in lengths}


def measured(part: str, queries: int, repetitions: int) -> Row:
    """Time one part; AssertionError where a figure differs."""
    predictions, references = drawn(queries)
    # By falling score, as systems write them: the notes on the other order would be no part of the comparison.
    predictions = {query: sorted(windows, key=lambda window: -window[2]) for query, windows in predictions.items()}
    lengths = ["full"] if part == "full" else list(moments.RANGES)
    sides = [lambda how=how: how(predictions, references, lengths) for how in (at_once, by_loop)]
    row, ours, theirs = side_by_side(part, *sides, repetitions)
    for length in lengths:
        for what in ("R1", "mAP"):
            one, other = (np.array(list(figures[length][what].values())) for figures in (ours, theirs))
            assert np.allclose(one, other, rtol=0, atol=1e-9), f"{part}: {what} of {length} moments differs"
    return row


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=tuple(LABELS), default=list(LABELS))
    parser.add_argument("--queries", type=int, default=QUERIES, metavar="N", help=f"queries (default: {QUERIES})")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="of both sides (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args(given)


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and print the table; what ``--json`` writes."""
    rows = [measured(part, chosen.queries, chosen.repetitions) for part in chosen.parts]
    print(table(rows, LABELS, EXPECTED))
    figures = {row.part: {"wall": row.ratio.wall, "cpu": row.ratio.cpu, "seconds": row.ours.wall} for row in rows}
    return {"queries": chosen.queries, "machine": machine(1), "ratios": figures}


if __name__ == "__main__":
    from_command_line(arguments, measure)
