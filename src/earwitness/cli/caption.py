"""``earwitness caption``: captions of anybody's recordings."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earwitness.cli.models import add_model, model_folder, positive
from earwitness.errors import EarwitnessError, counted, listed

COLUMNS = ("file", "seconds", "caption", "score")
ENDINGS = (".csv", ".jsonl")


def add_commands(commands: Any) -> None:
    """Add ``caption`` to what ``ArgumentParser.add_subparsers`` returned."""
    caption = commands.add_parser("caption", help="caption recordings")
    what = "recordings, folders with recordings at any depth, and patterns, such as yard.wav sounds 'more/*.mp3'"
    caption.add_argument("files", nargs="+", metavar="FILE", help=what)
    add_model(caption, "a trained captioning experiment (default: the only one)")
    what = "caption the beginning of recordings that are longer than the model reads, which fail otherwise"
    caption.add_argument("--cut", action="store_true", help=what)
    what = "write file, seconds, caption and score there once all are done, and do not print them; .csv or .jsonl"
    form = caption.add_mutually_exclusive_group()
    form.add_argument("--out", type=Path, metavar="TABLE", help=what)
    form.add_argument("--json", action="store_true", help="print a JSON object for each recording as it is done")
    what = "processes that compute features (default: one for each core)"
    caption.add_argument("--cores", type=positive, metavar="N", default=0, help=what)
    caption.set_defaults(run=_caption)


def _caption(options: argparse.Namespace) -> int:
    from earwitness.audio.sound import AudioError
    from earwitness.files import refuse_unwritable
    from earwitness.serving.captioning import FileCaptioner, expanded
    from earwitness.serving.recordings import TooLong

    if options.out is not None:
        if options.out.suffix.lower() not in ENDINGS:
            raise EarwitnessError(f"--out {options.out} must end in {' or '.join(ENDINGS)}.")
        if options.out.is_dir():
            raise EarwitnessError(f"--out {options.out} is a folder; give the name of a file.")
        refuse_unwritable([options.out])
    paths, failed = expanded(options.files)
    if not paths:
        raise EarwitnessError(listed("There is no recording to caption:", list(map(str, failed))))
    model = model_folder(options, "captioning")
    cores = options.cores or len(os.sched_getaffinity(0))
    captioner = FileCaptioner(model, options.weights, options.cut, cores)
    counts = Counter[str]()

    def rows() -> Iterator[tuple]:
        for found in captioner.caption(paths):
            if isinstance(found, AudioError):
                failed.append(found)
                continue
            counts["captions"] += 1
            counts["cut"] += found.cut
            yield str(found.path), round(found.seconds, 6), found.caption, round(found.score, 6)

    _present(rows(), options.out, options.json)
    number, cut = counts["captions"], counts["cut"]
    if options.out is not None:
        print(f"{counted(number, 'caption')} in {options.out} by {model}")
    if cut:
        limit = f"{captioner.features.seconds:g} s"
        print(f"{counted(cut, 'caption')} of a recording's first {limit}: the model reads no more", file=sys.stderr)
    for remark in captioner.remarks():
        print(remark, file=sys.stderr)
    if failed:
        advice = "`--cut` captions the beginning of those that are too long."
        advice = advice if any(isinstance(error, TooLong) for error in failed) else ""
        heading = f"{len(failed)} of {number + len(failed)} cannot be captioned:"
        print(listed(heading, list(map(str, failed)), advice), file=sys.stderr)
    return 1 if failed else 0


def _present(rows: Iterator[tuple], out: Path | None, as_json: bool) -> None:
    """Write rows to a table, or print them, as they come."""
    from tqdm import tqdm

    from earwitness.corpora.tables import write_rows
    from earwitness.files import atomic

    def line(row: tuple) -> str:
        return json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False)

    if out is None:
        show: Any = tqdm.write if sys.stdout.isatty() and sys.stderr.isatty() else print  # above the progress bar
        for row in rows:
            path, _, caption, score = row
            show(line(row) if as_json else f"{path}\t{score:.3f}\t{caption}")
    elif out.suffix.lower() == ".csv":
        write_rows(out, COLUMNS, rows)
    else:
        with atomic(out) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(f"{line(row)}\n" for row in rows)
