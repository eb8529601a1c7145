"""``earwitness doctor``: whether this machine can make the targets, reported before hours are spent on them.

A check takes what is ``Asked`` and yields findings; all are listed in ``CHECKS``. What the targets cannot do without is
a FAIL where it is missing, everything else a note. Heavy packages are imported in the checks that need them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from earwitness.doctor import data, machine, room, splits, weights
from earwitness.doctor.asked import DEMO, Asked, ask, read_config
from earwitness.doctor.findings import FAIL, Finding, one_line
from earwitness.errors import EarwitnessError, counted, sentence

COLOURS = {"ok": 32, "note": 33, "FAIL": 31}  # of ANSI terminals

CHECKS: dict[str, Callable[[Asked], Iterable[Finding]]] = {
    "Python": machine.check_python,
    "Packages": machine.check_packages,
    "Devices": machine.check_devices,
    "Java": machine.check_java,
    "Metrics": machine.check_metrics,
    "Data sets": data.check_datasets,
    "Splits": splits.check_splits,
    "Experiments": weights.check_options,
    "Checkpoints": weights.check_checkpoints,
    "Features": weights.check_features,
    "Disk": room.check_disk,
    "HDF5": machine.check_locking,
    "MLflow": machine.check_tracking,
    "Snakemake": machine.check_snakemake,
}


def run(options: argparse.Namespace) -> int:
    """Print the findings for ``options.targets``; 1 where something is missing that they need, else 0.

    Raises EarwitnessError for an invalid configuration, and for targets that no rule makes.
    """
    asked = ask(read_config(options.configfile), options.targets or [DEMO])
    findings = examine(asked)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        print(report(findings, coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    return int(any(finding.mark == FAIL for finding in findings))


def examine(asked: Asked) -> list[Finding]:
    """The findings of all checks; a check that raises is a finding itself."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings.extend(check(asked))
        except EarwitnessError as error:
            findings.append(Finding(FAIL, f"{name}: {error}"))
        except Exception as error:  # whatever it is, the other checks are still of use
            findings.append(Finding(FAIL, f"{name}: the check failed ({type(error).__name__}: {error})"))
    return findings


def report(findings: Sequence[Finding], coloured: bool = False) -> str:
    """A line for each finding, and one with the number of problems."""
    lines = []
    for finding in findings:
        mark = f"{finding.mark:<4}"
        if coloured:
            mark = f"\x1b[{COLOURS[finding.mark]}m{mark}\x1b[0m"
        parts = [sentence(one_line(part)) for part in (finding.what, finding.advice) if part]
        lines.append(f"{mark}  {' '.join(parts).removesuffix('.')}")
    failures = sum(finding.mark == FAIL for finding in findings)
    end = f"{counted(failures, 'problem')} to fix." if failures else "No problems found."
    return "\n".join([*lines, end])
