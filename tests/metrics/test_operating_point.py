"""The operating point: the best frame F1 over all thresholds and windows, ties, and what is refused."""

import tracemalloc

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics.grounding import Options, evaluate
from earwitness.metrics.operating_point import select

HOP, FRAMES = 0.5, 40
SECONDS = HOP * FRAMES


def noisy(seed, pairs=6):
    """Activations on a coarse grid, of clips with two phrases, the last of which is silent."""
    generator = np.random.default_rng(seed)
    references = {n: [] if n == pairs - 1 else [(2.0 + n / 3, 7.0), (12.0, 14.5)] for n in range(pairs)}
    middle = (np.arange(FRAMES) + 0.5) * HOP
    activations = {
        n: np.round(0.5 * sum((a < middle) & (middle < b) for a, b in events) + generator.uniform(size=FRAMES), 1)
        for n, events in references.items()
    }
    return (
        {n: np.float32(curve) for n, curve in activations.items()},
        references,
        {n: f"{n // 2}.wav" for n in activations},
    )


def frame_f1(activations, references, clips, threshold, window, **given):
    options = Options(threshold=threshold, median_filter=window, minmax=False)
    found = evaluate(activations, references, clips=clips, options=options, metrics="frame_f1", **given)
    return found.metrics["frame_f1"]["value"]


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_and_no_window_is_better(seed):
    activations, references, clips = noisy(seed)
    given = {"hop": HOP, "durations": dict.fromkeys(clips.values(), SECONDS)}
    windows = (1, 3, 5)
    threshold, window = select(activations, references, clips=clips, windows=windows, **given)
    found = {
        (w, t): frame_f1(activations, references, clips, t, w, **given)
        for w in windows
        for t in np.arange(0.05, 1.6, 0.1)
    }
    best = max(found.values())
    assert frame_f1(activations, references, clips, threshold, window, **given) == pytest.approx(best, abs=1e-12)
    ties = [key for key, value in found.items() if value == pytest.approx(best, abs=1e-12)]
    assert window == min(w for w, _ in ties)
    assert threshold == pytest.approx(max(t for w, t in ties if w == window), abs=1e-6)  # halfway between two scores


def one(curve, events, **given):
    return select({"p": curve}, {"p": events}, hop=1.0, durations={"p": float(len(curve))}, **given)


def test_the_smallest_window_and_the_highest_threshold_of_equal_ones():
    assert one([0, 0, 1, 1, 1, 0, 0], [(2, 5)]) == (0.5, 1)  # no window up to 3 changes it
    assert one([0.2, 0.2, 1, 0.4, 1, 0.2, 0.2], [(2, 5)])[1] == 1
    assert one([0, 0, 1, 1, 0, 1, 1, 0, 0], [(2, 7)]) == (0.5, 3)  # the gap is closed
    # F1 of 2/3 with the first frame alone and with the first four.
    assert one([0.9, 0.5, 0.5, 0.2], [(0, 1), (3, 4)], windows=(1,))[0] == pytest.approx(0.7)


def test_frames_at_the_threshold_are_those_above_it():
    """Where every frame is active, too."""
    for curve, events in (([0, 0, 0, 0], [(0, 3)]), ([0.5, 1, 1, 0.5], [(0, 4)])):
        threshold, _ = one(curve, events)
        assert threshold < min(curve)
    assert one([0, 1, 1, 0], [(1, 3)])[0] == 0.5


def test_what_lies_beyond_an_activation_is_missed_and_no_threshold():
    threshold, _ = select({"p": [0.1, 0.9]}, {"p": [(1, 4)]}, hop=1.0, durations={"p": 4.0}, windows=(1,))
    assert threshold == pytest.approx(0.5)


def test_nan_is_refused_with_the_pairs():
    with pytest.raises(EarwitnessError) as told:
        select(
            {"rain": [0.1, np.nan], "wind": [0.1, 0.2], "dog": [np.nan, np.inf]},
            {"rain": [(0, 1)], "wind": [(0, 1)], "dog": []},
            hop=1.0,
            durations=dict.fromkeys(("rain", "wind", "dog"), 2.0),
        )
    assert "'rain'" in str(told.value) and "'dog'" in str(told.value) and "'wind'" not in str(told.value)


def test_without_a_reference_there_is_no_threshold():
    with pytest.raises(EarwitnessError, match="no threshold"):
        one([0.1, 0.9], [])


def test_memory_grows_with_few_bytes_of_each_frame():
    frames = np.linspace(0, 1, 500, dtype=np.float32)

    class Many(dict):
        def __getitem__(self, _):
            return frames

    pairs = range(1000)
    activations, references = Many.fromkeys(pairs), {pair: [(3.0, 8.0)] for pair in pairs}
    tracemalloc.start()
    select(activations, references, hop=0.02, durations=dict.fromkeys(pairs, 10.0), windows=(1,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(pairs) * len(frames)
