"""``earwitness doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DEMO = "results/mini/comparison.html"


def add_commands(commands: Any) -> None:
    """Add ``doctor`` to what ``ArgumentParser.add_subparsers`` returned."""
    doctor = commands.add_parser("doctor", help="check whether this machine can run the targets")
    what = f"as for snakemake, or the name of a data set (default: {DEMO})"
    doctor.add_argument("targets", nargs="*", metavar="TARGET", help=what)
    what = "merged over config/config.yaml as snakemake does; goes after the targets"
    doctor.add_argument("--configfile", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help=what)
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from earwitness.doctor import run

    return run(options)
