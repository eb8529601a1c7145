"""The arguments of ``earwitness score``, apart from what they start, so that the command line loads quickly."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from earwitness.metrics.captions import Tools


def captions(parser: argparse.ArgumentParser) -> None:
    """Of ``earwitness score captions``."""
    parser.add_argument("candidates", type=Path, metavar="CANDIDATES", help="one caption a clip: csv, json or HDF5")
    told = "captions that people wrote, any number a clip: csv (Clotho's too), json (COCO's too) or HDF5"
    parser.add_argument("references", type=Path, metavar="REFERENCES", help=told)
    parser.add_argument("--clip-column", metavar="NAME", help="the column of CANDIDATES that names the clip")
    parser.add_argument("--caption-column", metavar="NAME", help="the column of CANDIDATES that holds the caption")
    parser.add_argument("--reference-clip-column", metavar="NAME", help="the column of REFERENCES that names the clip")
    told = "a column of REFERENCES that holds captions; may be given several times"
    parser.add_argument("--reference-caption-column", metavar="NAME", action="append", help=told)
    told = "the folder of the jars that SPICE needs (default: auto, $EARWITNESS_SPICE_JARS or resources/spice)"
    parser.add_argument("--spice-jars", metavar="auto|FOLDER|off", default="auto", help=told)
    told = "the folder where SPICE keeps captions that it parsed, for the next time (default: none is kept)"
    parser.add_argument("--spice-cache", type=Path, metavar="FOLDER", help=told)
    told = f"minutes that SPICE may take (default: {Tools.spice_minutes:g})"
    parser.add_argument("--spice-minutes", type=_positive, metavar="N", default=Tools.spice_minutes, help=told)
    for name, what in (("sentence", "of sentence embeddings"), ("fluency", "that detects errors of fluency")):
        told = f"the folder of the model {what} (default: auto, the one that is found)"
        parser.add_argument(f"--{name}-model", metavar="auto|FOLDER|off", default="auto", help=told)


def retrieval(parser: argparse.ArgumentParser) -> None:
    """Of ``earwitness score retrieval``."""
    told = "similarities [captions, clips] (HDF5, npz, npy, csv, json), or the best clips of each caption (csv, json)"
    parser.add_argument("scores", type=Path, metavar="SCORES", help=told)
    told = "which clip each caption was written for: csv (Clotho's too), json or HDF5; needed where ids do not tell"
    parser.add_argument("captions", type=Path, metavar="CAPTIONS", nargs="?", help=told)
    told = "all clips that are relevant to a query: a row for each query and clip; no clip: it has none"
    parser.add_argument("--relevant", type=Path, metavar="TABLE", help=told)
    told = "how a rank within ties counts for R@k; benchmark: as in the audio-retrieval benchmark (default: average)"
    parser.add_argument("--ties", choices=("average", "benchmark"), default="average", help=told)
    told = "all clips that could be retrieved: a table, or a .txt with one a line; orders the columns of a matrix"
    parser.add_argument("--clips", type=Path, metavar="TABLE", help=told)


def grounding(parser: argparse.ArgumentParser) -> None:
    """Of ``earwitness score grounding``."""
    told = "frame scores of pairs of clip and phrase (HDF5, json), or events (csv, json)"
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help=told)
    told = "annotated events: phrase_id, or filename and phrase, or filename; onset, offset in seconds [, event_label]"
    parser.add_argument("references", type=Path, metavar="REFERENCES", help=told)
    told = "all pairs, also those without an event: phrase_id [, caption_id] [, clip_id], or filename and phrase"
    parser.add_argument("--phrases", type=Path, metavar="TABLE", help=told)
    told = "the clips of the captions that PHRASES names: caption_id, clip_id"
    parser.add_argument("--captions", type=Path, metavar="TABLE", help=told)
    parser.add_argument("--durations", type=Path, metavar="TABLE", help="seconds of each clip: clip_id, seconds")
    told = "seconds from frame to frame (default: what PREDICTIONS say)"
    parser.add_argument("--hop", type=_positive, metavar="SECONDS", help=told)
    told = "score events by class (event_label) and file through sed_eval, instead of phrases"
    parser.add_argument("--classes", action="store_true", help=told)
    told = "in the frame metrics frames are active at or above it, once the scores of each pair are scaled to 0 to 1; "
    told += "events are made of frames above it by the scores as they are (default: 0.5)"
    parser.add_argument("--threshold", type=float, metavar="SCORE", help=told)
    told = "pairs without a reference event count in event metrics too (keep), or not (default: drop)"
    parser.add_argument("--silent", choices=("drop", "keep"), help=told)
    told = "by how much onsets, and offsets of short events, may differ (default: 0.2)"
    parser.add_argument("--collar", type=_positive, metavar="SECONDS", help=told)
    told = "by which share of a reference's length offsets may differ (default: 0.2)"
    parser.add_argument("--offset-share", type=_share, metavar="SHARE", help=told)
    parser.add_argument("--segment", type=_positive, metavar="SECONDS", help="length of segments (default: 1.0)")


def _positive(text: str) -> float:
    return _number(text, lambda value: 0 < value < math.inf, "positive number")


def _share(text: str) -> float:
    return _number(text, lambda value: 0 <= value <= 1, "number from 0 to 1")


def _number(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return value
