"""The options of commands by which a trained model is found."""

from __future__ import annotations

import argparse
from pathlib import Path

from earwitness.errors import EarwitnessError


def add_model(parser: argparse.ArgumentParser, experiment: str) -> None:
    """Add ``--experiment``, with this help, ``--dataset``, ``--seed``, ``--model`` and ``--weights``."""
    parser.add_argument("--experiment", metavar="NAME", help=experiment)
    parser.add_argument("--dataset", metavar="NAME", help="on which it was trained (default: the only one)")
    parser.add_argument("--seed", type=int, metavar="N", help="of its training (default: the lowest)")
    add_folder(parser)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--weights``."""
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="folder of a trained seed, wherever it lies")
    what = "weights of an extractor, where they are not in resources/checkpoints; may be given several times"
    parser.add_argument("--weights", type=Path, action="append", default=[], metavar="FILE", help=what)


def model_folder(options: argparse.Namespace, kind: str) -> Path:
    """The folder of the model of a kind of prediction. Raises EarwitnessError where it is not found, or given twice."""
    from earwitness.serving.models import seed_folder

    asked = (options.experiment, options.dataset, options.seed)
    if options.model is not None and any(one is not None for one in asked):
        raise EarwitnessError(
            "`--model` names a folder; `--experiment`, `--dataset` and `--seed` find one: give either."
        )
    return options.model or seed_folder(options.results, *asked, kind=kind)


def positive(text: str) -> int:
    """A positive whole number, as a ``type`` of arguments."""
    if not text.isdecimal() or not (number := int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return number
