"""``earwitness score``: the metrics on anybody's files, whatever system made them.

A kind of scores is a module with a function ``score``, which takes the parsed arguments, and has its arguments in
``arguments``. Modules are loaded when they are used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from earwitness.cli import arguments
from earwitness.errors import EarwitnessError

KINDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "captions": ("generated captions against references", arguments.captions),
    "retrieval": ("a similarity matrix, or ranked lists, of captions against clips", arguments.retrieval),
    "grounding": ("frame scores or events of phrases, or of classes, against annotated events", arguments.grounding),
}


def add_command(commands: Any) -> None:
    """Add ``score`` to the command line's subcommands (what ``ArgumentParser.add_subparsers`` returned)."""
    score = commands.add_parser("score", help="score anybody's captions, retrieval or phrase grounding")
    kinds = score.add_subparsers(required=True, metavar="KIND")
    for name, (told, add_options) in KINDS.items():
        parser = kinds.add_parser(name, help=told, description=f"Score {told}.")
        add_options(parser)
        told = "how ids of the files are compared; stem: without folder, extension, letter case and outer blanks"
        parser.add_argument("--match", choices=("exact", "stem"), default="exact", help=f"{told} (default: exact)")
        told = "leave out, and count, what the references hold and what is scored does not; refused otherwise"
        parser.add_argument("--subset", action="store_true", help=told)
        told = "write metrics.json, scores.csv and statistics.h5 there, for `earwitness compare`"
        parser.add_argument("--out", type=Path, metavar="FOLDER", help=told)
        parser.add_argument("--json", action="store_true", help="print the content of metrics.json")
        parser.set_defaults(run=run, kind=name)


def run(options: argparse.Namespace) -> int:
    """Score, write and print; 0, or EarwitnessError for files that cannot be scored or written."""
    from earwitness.cli.output import present, require_free

    if options.out is not None:
        require_free(options.out)
    scored = import_module(f"earwitness.evaluation.readers.{options.kind}").score(options)
    try:
        present(scored, options)
    except OSError as error:
        raise EarwitnessError(f"The scores cannot be written to {options.out}: {error}") from error
    return 0
