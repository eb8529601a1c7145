#!/bin/sh
# sed_eval 0.2.1: an estimated event that begins where the reference ends is partly right on a grid of 0.1 s.
#
# Segments are found by floor(onset / resolution) and ceil(offset / resolution) of binary floating-point numbers. 0.6 / 0.1
# is 5.999999999999999, so an event that begins at 0.6 s gets the segment before it, too, which the reference has. The same
# two events 0.7 s later score 0. Onsets that are exactly one collar of 0.2 s apart match at 0.1, 0.3 and 1.1 s and do not
# at 0.7, 2.3 and 4.1 s.
# Resolutions of 1, 0.5 and 0.25 s are exact in binary and are not concerned.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "setuptools<81" "numpy<3" sed_eval==0.2.1 dcase_util==0.2.20
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sed_eval
from dcase_util.containers import MetaDataContainer
from importlib.metadata import version


def events(onset, offset):
    return MetaDataContainer([{"filename": "a.wav", "onset": onset, "offset": offset, "event_label": "dog"}])


def segment_f1(reference, estimate):
    metrics = sed_eval.sound_event.SegmentBasedMetrics(["dog"], time_resolution=0.1)
    metrics.evaluate(events(*reference), events(*estimate))
    return metrics.results_overall_metrics()["f_measure"]["f_measure"]


def event_f1(onset):
    metrics = sed_eval.sound_event.EventBasedMetrics(["dog"], t_collar=0.2, evaluate_offset=False)
    metrics.evaluate(events(onset, onset + 1), events(round(onset + 0.2, 1), onset + 1))
    return metrics.results_overall_metrics()["f_measure"]["f_measure"]


disjoint = {"0.3-0.6 and 0.6-0.9": ((0.3, 0.6), (0.6, 0.9)), "1.0-1.3 and 1.3-1.6": ((1.0, 1.3), (1.3, 1.6))}
segments = {name: segment_f1(*pair) for name, pair in disjoint.items()}
onsets = {onset: event_f1(onset) for onset in (0.1, 0.3, 1.1, 0.7, 2.3, 4.1)}
print("sed_eval", version("sed_eval"))
print("segment F1 at 0.1 s of events that share no moment:", segments)
print("event F1 of onsets 0.2 s apart, collar 0.2 s:", onsets)
assert segments == {"0.3-0.6 and 0.6-0.9": 0.25, "1.0-1.3 and 1.3-1.6": 0.0}, "the behaviour changed"
assert list(onsets.values()) == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], "the behaviour changed"
PYTHON
# Seen:
# sed_eval 0.2.1
# segment F1 at 0.1 s of events that share no moment: {'0.3-0.6 and 0.6-0.9': 0.25, '1.0-1.3 and 1.3-1.6': 0.0}
# event F1 of onsets 0.2 s apart, collar 0.2 s: {0.1: 1.0, 0.3: 1.0, 1.1: 1.0, 0.7: 0.0, 2.3: 0.0, 4.1: 0.0}
