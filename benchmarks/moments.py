"""R1 and mAP of moments, all queries at once, against one query after another.

full     R1 and mAP over all lengths at ten thresholds, as the public evaluators of moments print them
lengths  the same over all lengths and over three ranges of lengths

The other side is lighthouse's evaluator in one process where it can be imported (``standalone_eval``, in lighthouse's
folder ``training``: put that on PYTHONPATH), else a loop written as it is: for each query its predictions are sorted,
for each prediction the IoU with all windows of the query is computed by NumPy and its windows are tried one by one at
each threshold. The table says which. Both sides start from lists as json gives them, and the benchmark stops if a
figure differs. Sides take turns; a figure is the median of the repetitions.

The data are those of the golden file (tests/golden/data/metrics_moments.json), repeated to 1,347 queries, as CASTELLA's
test split has: one to twelve predictions a query, as written there, not all of them by falling score.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, from_command_line, machine, side_by_side, table

from earwitness.metrics import moments

try:
    from standalone_eval import eval as evaluator
except ImportError:
    evaluator = None

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "data" / "metrics_moments.json"
QUERIES, PREDICTIONS = 1347, 10
LABELS = {"full": "R1 and mAP, all lengths", "lengths": "and in three ranges of lengths"}
EXPECTED = {"full": 20.0, "lengths": 20.0}

Windows = dict[str, list[list[float]]]
Figures = dict[str, dict[str, float]]


def repeated(queries: int) -> tuple[Windows, Windows]:
    """Predictions and references of the golden file, again and again under other names."""
    sets = json.loads(GOLDEN.read_text(encoding="utf-8"))["sets"].values()
    predictions = {entry["qid"]: entry["pred_relevant_windows"] for given in sets for entry in given["predictions"]}
    references = {entry["qid"]: entry["relevant_windows"] for given in sets for entry in given["ground_truth"]}
    chosen = [
        (f"{query}-{number // len(references)}", query) for number, query in zip(range(queries), cycle(references))
    ]
    return {name: predictions[query] for name, query in chosen}, {name: references[query] for name, query in chosen}


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


def by_evaluator(submission: list[dict], truth: list[dict], lengths: list[str]) -> dict[str, Figures]:
    """R1 and mAP in per cent with two decimals, by lighthouse's evaluator."""
    figures = {}
    for length in lengths:
        some = evaluator.get_data_by_range(submission, truth, list(moments.RANGES[length]))
        precision = evaluator.compute_mr_ap(*some, num_workers=1)
        figures[length] = {"R1": evaluator.compute_mr_r1(*some), "mAP": precision}
    return figures


def at_once(predictions: Windows, references: Windows, lengths: list[str]) -> dict[str, Figures]:
    """The same by the library."""
    found = moments.evaluate(predictions, references, protocol="lighthouse", metrics=lengths)
    return {length: moments.lighthouse(found, length, digits=None) for length in lengths}


def measured(part: str, queries: int, repetitions: int) -> Row:
    """Time one part; AssertionError where a figure differs."""
    predictions, references = repeated(queries)
    lengths = ["full"] if part == "full" else list(moments.RANGES)
    other, note, within = partial(by_loop, predictions, references), "against the loop", 1e-9
    if evaluator is not None:
        submission = [{"qid": query, "pred_relevant_windows": windows} for query, windows in predictions.items()]
        truth = [{"qid": query, "relevant_windows": windows} for query, windows in references.items()]
        other, note, within = partial(by_evaluator, submission, truth), "against lighthouse's evaluator", 0.00501
    sides = partial(at_once, predictions, references, lengths), partial(other, lengths)
    row, ours, theirs = side_by_side(part, *sides, repetitions, note=note)
    for length in lengths:
        for what in ("R1", "mAP"):
            one, two = (np.array(list(figures[length][what].values())) for figures in (ours, theirs))
            assert np.allclose(one, two, rtol=0, atol=within), f"{part}: {what} of {length} moments differs"
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
