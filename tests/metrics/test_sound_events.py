"""Metrics of event lists with several classes: what sed_eval leaves open, what it would change, what is refused."""

import math
import os
import random
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics.sound_events import Toolkit, event_based, segment_based


def event(onset, offset, label="dog", filename="a.wav"):
    return {"filename": filename, "onset": onset, "offset": offset, "event_label": label}


BOTH = pytest.mark.parametrize("function", [segment_based, event_based])


@BOTH
def test_a_perfect_system(function):
    events = [event(0, 2), event(4, 5.5), event(1, 3, "rain"), event(0, 1, "dog", "b.wav")]
    result = function(events, events[::-1])
    for part in (result["overall"], result["class_wise_average"], *result["class_wise"].values()):
        assert part["f_measure"] == pytest.approx({"f_measure": 1, "precision": 1, "recall": 1}, abs=1e-12)
        assert part["error_rate"]["error_rate"] == pytest.approx(0, abs=1e-12)


@BOTH
def test_an_empty_output_scores_zero(function):
    result = function([event(0, 2)], [])
    assert result["overall"]["f_measure"] == {"f_measure": 0, "precision": 0, "recall": 0}
    assert result["overall"]["error_rate"]["error_rate"] == pytest.approx(1)


@BOTH
def test_a_class_without_reference_has_no_part_in_the_mean(function):
    result = function([event(0, 2)], [event(0, 2), event(3, 4, "rain")])
    rain = result["class_wise"]["rain"]
    assert rain["f_measure"]["precision"] == 0
    assert math.isnan(rain["f_measure"]["recall"]) and math.isnan(rain["error_rate"]["error_rate"])
    assert result["class_wise_average"]["error_rate"]["error_rate"] == pytest.approx(0, abs=1e-12)
    assert result["class_wise_average"]["f_measure"]["recall"] == pytest.approx(1)


@BOTH
def test_no_reference_at_all(function):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = function([], [event(0, 2)])
    for part in (result["overall"], result["class_wise_average"]):
        assert part["f_measure"]["precision"] == 0
        assert math.isnan(part["f_measure"]["recall"]) and math.isnan(part["error_rate"]["error_rate"])


@BOTH
def test_no_event_at_all(function):
    result = function([], [])
    assert result["class_wise"] == {}
    assert math.isnan(result["overall"]["f_measure"]["recall"])


@BOTH
def test_labels_and_file_names_count_as_they_are(function):
    """dcase_util would drop the label none, strip the others and change backslashes in names."""
    reference = [event(0, 2, "none"), event(0, 2, " rain", "a\\b.wav")]
    result = function(reference, [event(0, 2, "none"), event(0, 2, "rain", "a/b.wav")])
    assert {name: part["count"]["Nref"] for name, part in result["class_wise"].items()} == {
        "none": pytest.approx(2 if function is segment_based else 1),
        " rain": pytest.approx(2 if function is segment_based else 1),
        "rain": 0,
    }
    assert result["class_wise"]["none"]["f_measure"]["f_measure"] == pytest.approx(1)
    assert result["class_wise"]["rain"]["f_measure"]["precision"] == 0


def test_a_false_alarm_in_a_file_without_reference_counts():
    result = event_based([event(0, 2)], [event(0, 2), event(0, 2, filename="b.wav")])
    assert result["overall"]["f_measure"]["precision"] == pytest.approx(0.5)


def test_durations_give_the_segments_at_the_end():
    unknown = segment_based([event(0, 2)], [event(0, 1)])
    known = segment_based([event(0, 2)], [event(0, 1)], durations={"a.wav": 10, "b.wav": 5})
    assert unknown["overall"]["accuracy"]["accuracy"] == pytest.approx(1 / 2)
    assert known["overall"]["accuracy"]["accuracy"] == pytest.approx(14 / 15)
    assert known["overall"]["f_measure"] == unknown["overall"]["f_measure"]


@pytest.mark.parametrize(("offset", "matches"), [(8.1, True), (7.9, False)])
def test_the_offset_may_be_off_by_a_share_of_the_length(offset, matches):
    found = event_based([event(0, 10)], [event(0, offset)])["overall"]["f_measure"]["f_measure"]
    assert found == matches


def test_events_that_cannot_be_scored_are_all_named():
    bad = [event(0, math.nan), event(3, 2), {"filename": "a.wav", "onset": 1}, event(-1, 2), event(0, 1, filename="c")]
    with pytest.raises(EarwitnessError) as refused:
        segment_based([event(0, 1)], bad, durations={"a.wav": 10, "b.wav": 0})
    text = str(refused.value)
    assert len(text.splitlines()) == 7
    for part in ("event 1 lasts from 0 to nan", "event 2 ends at 2 s", "event 3 has no offset, event_label", "from -1"):
        assert f"estimated {part}" in text or part in text
    assert "'c', whose duration is not given" in text and "duration of 'b.wav' is 0" in text


@BOTH
def test_an_unknown_grid_is_refused(function):
    with pytest.raises(EarwitnessError, match=r"grid is 'binary'.*sed_eval"):
        function([event(0, 1)], [], grid="binary")


def test_times_of_another_unit_are_named():
    late = [event(0, 1), event(44100, 88200), event(0, 2) | {"where": "p.csv, row 9"}]
    with pytest.raises(EarwitnessError, match=r"estimated event 2 lasts to 88200 s.*samples"):
        event_based([event(0, 1)], late)
    durations = {"a.wav": 0.5}
    with pytest.raises(EarwitnessError, match=r"p\.csv, row 9 lasts to 2 s, its file only to 0\.5 s"):
        segment_based([event(0, 1)], late, durations=durations)


@pytest.mark.parametrize("seconds", [None, 4.37, 9.0])
def test_the_grid_sed_eval_gives_the_packages_own_counts(seconds):
    toolkits = pytest.importorskip("sed_eval.sound_event")
    generator = random.Random(3)
    for _ in range(20):
        sides = [
            [event(*sorted((generator.randrange(500) / 100, 5)), str(generator.randrange(3))) for _ in range(n)]
            for n in (4, 6)
        ]
        sides = [[{key: e[key] for key in ("onset", "offset", "event_label")} for e in side] for side in sides]
        for kind, theirs, settings in (
            ("segment", toolkits.SegmentBasedMetrics, {"time_resolution": 0.1}),
            ("event", toolkits.EventBasedMetrics, {"t_collar": 0.2, "percentage_of_length": 0.2}),
        ):
            whole, ours = theirs(["0", "1", "2"], **settings), Toolkit(kind, ["0", "1", "2"], "sed_eval", **settings)
            whole.evaluate(*sides, *([seconds] if kind == "segment" else []))
            ours.add(*sides, seconds)
            assert ours.metrics.overall == whole.overall and ours.metrics.class_wise == whole.class_wise


def test_decimal_times_fall_on_decimal_segments():
    """So do all of 999; sed_eval gives 348 of them a segment more."""
    toolkit, theirs = (Toolkit("segment", ["0"], grid, time_resolution=0.1) for grid in ("decimal", "sed_eval"))
    more = 0
    for tenths in range(1, 1000):
        one = [{"onset": tenths / 10, "offset": tenths / 10 + 0.25, "event_label": "0"}]
        assert toolkit.add(one, [], 200)[2] == 3
        more += theirs.add(one, [], 200)[2] - 3
    assert more > 300


def test_onsets_one_collar_apart_match():
    events = [[event(n / 10, 10, filename=str(n)), event(n / 10 + 0.2, 10, filename=str(n))] for n in range(1, 50)]
    result = event_based(*zip(*events, strict=True))
    assert result["overall"]["f_measure"]["f_measure"] == pytest.approx(1)
    assert event_based([event(1, 9)], [event(1.2001, 9)])["overall"]["f_measure"]["f_measure"] == 0
    # A fifth of 1.1 - 0.6 s is 0.1 s: the offset's tolerance too.
    found = event_based([event(0.6, 1.1)], [event(0.6, 1.2)], t_collar=0.01)
    assert found["overall"]["f_measure"]["f_measure"] == pytest.approx(1)


def test_memory_does_not_grow_with_time():
    events = [event(80_000, 80_001)]
    tracemalloc.start()
    result = segment_based([event(0, 1), *events], events, time_resolution=0.001)  # 80 million segments
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6 and result["overall"]["f_measure"]["recall"] == pytest.approx(1 / 2)


def test_settings_that_sed_eval_refuses_are_told():
    with pytest.raises(EarwitnessError, match=r"sed_eval refuses .*'t_collar': 0"):
        event_based([], [], t_collar=0)


def test_nothing_is_warned_of_and_nothing_written(tmp_path):
    code = (
        "from earwitness.metrics.sound_events import *; e = [dict(filename='a', onset=0, offset=1, event_label='b')];"
        "segment_based(e, e); event_based(e, e); import logging; print(logging.getLogger().handlers)"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")
    assert not list(tmp_path.iterdir())


def test_lengths_are_any_finite_number():
    events = {"a": [(0.0, 1.0, "x")]}
    exact = segment_based(events, events, time_resolution=0.5)
    assert segment_based(events, events, time_resolution=np.float32(0.5)) == exact
    for function, options in ((event_based, {"t_collar": math.nan}), (segment_based, {"time_resolution": math.inf})):
        (name,) = options
        with pytest.raises(EarwitnessError, match=f"{name} is {options[name]}"):
            function(events, events, **options)


def test_a_detection_longer_than_a_short_file_is_cut():
    """Windows that are padded to ten seconds, as systems give them."""
    found = segment_based({"a": [(0, 1, "x")]}, {"a": [(0, 10, "x")]}, durations={"a": 1.0})
    assert found["overall"]["f_measure"]["f_measure"] == 1
