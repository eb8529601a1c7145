"""The operating point: the best PSDS over windows and frame F1 over thresholds, ties, and what is refused."""

import tracemalloc

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics.events import smoothed
from earwitness.metrics.grounding import Options, evaluate
from earwitness.metrics.operating_point import NothingActive, frames_of, select

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


def value(metric, activations, references, clips, given, **options):
    found = evaluate(
        activations, references, clips=clips, options=Options(**options), metrics=[metric], **given
    ).metrics
    return found[metric]["value"]


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_and_no_window_is_better(seed):
    activations, references, clips = noisy(seed)
    given = {"hop": HOP, "durations": dict.fromkeys(clips.values(), SECONDS)}
    point = select(activations, references, clips=clips, windows=(0, 1.5, 2.5), **given)
    known = (activations, references, clips, given)
    psds = {window: value("psds", *known, median_filter=window) for window in (1, 3, 5)}
    assert point.median_filter == min(window for window in psds if psds[window] == max(psds.values()))
    for minmax, chosen in ((False, point.threshold), (True, point.frame_threshold)):
        at = {"median_filter": point.median_filter, "minmax": minmax}
        tried = np.arange(0.05, 1.6, 0.1 if not minmax else 0.005)
        found = {threshold: value("frame_f1", *known, threshold=threshold, **at) for threshold in tried}
        best = value("frame_f1", *known, frame_threshold=chosen, threshold=-7.0, **at)
        assert best == pytest.approx(max(found.values()), abs=1e-12)
        if not minmax:  # halfway between two scores, which are on a grid
            ties = [threshold for threshold in tried if found[threshold] == pytest.approx(best, abs=1e-12)]
            assert chosen == pytest.approx(max(ties), abs=1e-6)


def one(curve, events, **given):
    return select({"p": curve}, {"p": events}, hop=1.0, durations={"p": float(len(curve))}, **given)


def test_the_smallest_window_and_the_highest_threshold_of_equal_ones():
    assert one([0, 0, 1, 1, 1, 0, 0], [(2, 5)], windows=(1, 3)) == (0.5, 0.5, 1)  # a window of 3 changes nothing
    assert one([0.2, 0.2, 1, 0.4, 1, 0.2, 0.2], [(2, 5)], windows=(3, 1)).median_filter == 1
    # Without the two peaks nothing false is detected before the event.
    assert one([0, 1, 0, 0.9, 0.9, 0.9, 0, 1, 0], [(3, 6)], windows=(1, 3)).median_filter == 3
    # F1 of 2/3 with the first frame alone and with the first four.
    assert one([0.9, 0.5, 0.5, 0.2], [(0, 1), (3, 4)], windows=(1,))[0] == pytest.approx(0.7)


def test_windows_are_odd_numbers_of_frames():
    assert [frames_of(seconds, 0.02) for seconds in (0, 0.02, 0.03, 0.1, 1)] == [1, 1, 1, 5, 49]


def test_frames_at_the_threshold_are_those_above_it():
    """Where every frame is active, too."""
    for curve, events in (([0, 0, 0, 0], [(0, 3)]), ([0.5, 1, 1, 0.5], [(0, 4)])):
        assert one(curve, events).threshold < min(curve)
    assert one([0, 1, 1, 0], [(1, 3)], windows=(1,)).threshold == 0.5
    assert one([1, 1, 1, 1], [(0, 3)]).frame_threshold == 0.5  # a constant has no scale


def test_what_lies_beyond_an_activation_is_missed_and_no_threshold():
    point = select({"p": [0.1, 0.9]}, {"p": [(1, 4)]}, hop=1.0, durations={"p": 4.0}, windows=(1,))
    assert point.threshold == pytest.approx(0.5)


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


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_window_much_longer_than_an_activation(frames):
    scores = np.random.default_rng(frames).random(frames)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(scores, 75, mode="symmetric"), 151)
    np.testing.assert_array_equal(smoothed(scores, 151), np.median(windows, axis=1))


def test_events_between_two_frames_give_no_threshold():
    with pytest.raises(NothingActive):
        select({"a": [0.1, 0.9]}, {"a": [(0.3, 0.6)]}, hop=1.0, durations={"a": 2.0})


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
