"""``earwitness score``: the metrics on files of any system.

The arguments of a kind are named as the fields of the dataclass that ``score`` of its module in
``earwitness.evaluation.readers`` takes. The dataclass has the defaults: an argument that is not given is not passed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError

TABLES = "csv, tsv, txt, json, jsonl or HDF5"
FORMATS = "Formats by the end of a file's name. Tables: .csv .tsv .txt .json .jsonl .ndjson .h5 .hdf5 .hdf; "
FORMATS += "matrices: these, .npz and .npy."


def add_commands(commands: Any) -> None:
    """Add ``score`` to what ``ArgumentParser.add_subparsers`` returned."""
    score = commands.add_parser("score", help="score captions, retrieval, phrase grounding or moments of any system")
    kinds = score.add_subparsers(required=True, metavar="KIND")
    for name, (what, files, add_arguments) in KINDS.items():
        texts = {"help": what, "description": f"Score {what}.", "epilog": FORMATS}
        parser = kinds.add_parser(name, **texts, argument_default=argparse.SUPPRESS)
        subset = add_arguments(parser)
        how = "how ids in the files are compared; stem: without folder, extension, letter case and blanks"
        parser.add_argument("--match", choices=("exact", "stem"), help=f"{how} (default: exact)")
        parser.add_argument("--subset", action="store_true", help=f"{subset} (they are counted); an error without this")
        where = "write metrics.json, scores.csv and statistics.h5 there, for `earwitness compare`"
        parser.add_argument("--out", type=Path, metavar="FOLDER", default=None, help=where)
        parser.add_argument("--json", action="store_true", default=False, help="print the content of metrics.json")
        parser.set_defaults(run=_score, kind=name, files=files)


def _score(options: argparse.Namespace) -> int:
    """Score, print and write; EarwitnessError for files that cannot be scored or written."""
    from earwitness.cli.output import present, require_free

    if options.out is not None:
        require_free(options.out)
    reader = import_module(f"earwitness.evaluation.readers.{options.kind}")
    files = getattr(reader, options.files)
    given = {field.name: getattr(options, field.name) for field in fields(files) if hasattr(options, field.name)}
    scored = reader.score(files(**given))
    try:
        present(scored, options.out, options.json)
    except OSError as error:
        raise EarwitnessError(f"The scores cannot be written to {options.out}: {error}") from error
    return 0


def _captions(parser: argparse.ArgumentParser) -> str:
    """Add the arguments of ``CaptionFiles``; what ``--subset`` does."""
    parser.add_argument("candidates", type=Path, metavar="CANDIDATES", help=f"one caption per clip: {TABLES}")
    what = f"captions that people wrote, any number per clip: {TABLES}; Clotho's and COCO's too"
    parser.add_argument("references", type=Path, metavar="REFERENCES", help=what)
    parser.add_argument("--clip-column", metavar="NAME", help="the column of CANDIDATES with the clip")
    parser.add_argument("--caption-column", metavar="NAME", help="the column of CANDIDATES with the caption")
    what = "the column of REFERENCES with the clip, where it is not called as in CANDIDATES"
    parser.add_argument("--reference-clip-column", metavar="NAME", help=what)
    what = "a column of REFERENCES with captions; may be given several times"
    parser.add_argument("--reference-caption-column", metavar="NAME", action="append", help=what)
    what = "the folder of SPICE's jars (default: auto, $EARWITNESS_SPICE_JARS or resources/spice)"
    parser.add_argument("--spice-jars", metavar="auto|FOLDER|off", help=what)
    what = "where SPICE keeps captions that it parsed, for the next time (default: auto, ~/.cache/earwitness/spice)"
    parser.add_argument("--spice-cache", metavar="auto|FOLDER|off", help=what)
    what = "time limit of SPICE in minutes (default: 60)"
    parser.add_argument("--spice-minutes", type=_positive, metavar="N", help=what)
    for name, purpose in (("sentence", "sentence embeddings"), ("fluency", "detecting fluency errors")):
        what = f"the folder of the model for {purpose} (default: auto, the one that is found)"
        parser.add_argument(f"--{name}-model", metavar="auto|FOLDER|off", help=what)
    return "ignore references without a candidate"


def _retrieval(parser: argparse.ArgumentParser) -> str:
    """Add the arguments of ``RetrievalFiles``; what ``--subset`` does."""
    what = "similarities [captions, clips] (HDF5, npz, npy, csv, tsv, txt, json, jsonl), or the best clips of each "
    what += "caption (csv, tsv, txt, json, jsonl)"
    parser.add_argument("scores", type=Path, metavar="SCORES", help=what)
    what = f"which clip each caption was written for: {TABLES}; Clotho's too; needed unless ids contain it"
    parser.add_argument("captions", type=Path, metavar="CAPTIONS", nargs="?", default=None, help=what)
    what = "all clips that are relevant to a query: a row for each query and clip, or for each query with a list, as "
    what += "DCASE 2025 has it (query, audio_filenames); a row without a clip: none is"
    parser.add_argument("--relevant", type=Path, metavar="TABLE", help=what)
    what = "how items that score alike count: over all their orders, or as in the audio-retrieval benchmark "
    parser.add_argument("--ties", choices=("expected", "benchmark"), help=what + "(default: expected)")
    what = "all clips that could be retrieved: a table, or a .txt with one per line; names the columns of a matrix"
    parser.add_argument("--clips", type=Path, metavar="TABLE", help=what)
    return "ignore captions that are not scored, or that the table of relevant clips lacks"


def _grounding(parser: argparse.ArgumentParser) -> str:
    """Add the arguments of ``GroundingFiles``; what ``--subset`` does."""
    what = f"frame scores of pairs of clip and phrase (HDF5, json), or events ({TABLES})"
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help=what)
    what = "annotated events: phrase_id, or filename and phrase, or filename; onset, offset in seconds [, event_label]"
    what += f"; {TABLES}"
    parser.add_argument("references", type=Path, metavar="REFERENCES", help=what)
    what = "all pairs, also those without an event: phrase_id [, caption_id] [, clip_id], or filename and phrase"
    parser.add_argument("--phrases", type=Path, metavar="TABLE", help=what)
    what = "the clips of the captions that PHRASES names: caption_id, clip_id"
    parser.add_argument("--captions", type=Path, metavar="TABLE", help=what)
    parser.add_argument("--durations", type=Path, metavar="TABLE", help="seconds of each clip: clip_id, seconds")
    what = "seconds between frames (default: as in PREDICTIONS)"
    parser.add_argument("--hop", type=_positive, metavar="SECONDS", help=what)
    what = "score events by class (event_label) and file through sed_eval, instead of phrases"
    parser.add_argument("--classes", action="store_true", help=what)
    what = "frame metrics count frames at or above it as active, after scaling each pair's scores to 0 to 1; "
    what += "events are made of frames above it, without scaling (default: 0.5)"
    parser.add_argument("--threshold", type=float, metavar="SCORE", help=what)
    what = "whether event metrics include pairs without a reference event (default: drop)"
    parser.add_argument("--silent", choices=("drop", "keep"), help=what)
    what = "tolerance of onsets, and of offsets of short events (default: 0.2)"
    parser.add_argument("--collar", type=_positive, metavar="SECONDS", help=what)
    what = "tolerance of offsets as a share of the reference's length (default: 0.2)"
    parser.add_argument("--offset-share", type=_share, metavar="SHARE", help=what)
    parser.add_argument("--segment", type=_positive, metavar="SECONDS", help="length of segments (default: 1.0)")
    what = "0.3 s is three segments of 0.1 s (decimal), or a little more, as in sed_eval: for published figures"
    parser.add_argument("--grid", choices=("decimal", "sed_eval"), help=f"{what} (default: decimal)")
    return "ignore pairs without frame scores"


def _moments(parser: argparse.ArgumentParser) -> str:
    """Add the arguments of ``MomentFiles``; what ``--subset`` does."""
    what = "predicted windows: lighthouse's jsonl, with scores or as the DCASE challenge has it without (best first), "
    what += "json {id: [[start, end, score], ...]}, or a table: query id, start, end in seconds [, score]"
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help=what)
    what = "true windows: lighthouse's jsonl, CASTELLA's json, or a table: query id, start, end [, vid, duration]"
    parser.add_argument("references", type=Path, metavar="REFERENCES", help=what)
    what = "true windows of the training split, to choose the best constant window, a baseline"
    parser.add_argument("--training", type=Path, metavar="TABLE", help=what)
    what = "predictions by score, none counts 0, windows without length are refused; or lighthouse's evaluator, as in "
    what += "published figures"
    parser.add_argument("--protocol", choices=("default", "lighthouse"), help=f"{what} (default: default)")
    return "ignore queries without predictions"


KINDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], str]]] = {
    "captions": ("generated captions against references", "CaptionFiles", _captions),
    "retrieval": ("a similarity matrix, or ranked lists, of captions and clips", "RetrievalFiles", _retrieval),
    "grounding": ("frame scores or events of phrases or classes, against annotations", "GroundingFiles", _grounding),
    "moments": ("ranked moments that texts name in recordings, against annotations", "MomentFiles", _moments),
}


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
        raise argparse.ArgumentTypeError(f"{text!r} is not a {what}")
    return value
