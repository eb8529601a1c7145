"""What the benchmarks of networks share: both sides timed in turn, the table, and the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Side:
    """Seconds of one side: the median of the repetitions, divided by the captions where a part says so."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One part's result; ``pairs`` are the wall-clock ratios of single repetitions, least and most."""

    part: str
    ours: Side
    published: Side
    pairs: tuple[float, float]
    note: str = ""

    @property
    def ratio(self) -> Side:
        """How many times longer the published way takes."""
        return Side(self.published.wall / self.ours.wall, self.published.cpu / self.ours.cpu)


def clocked(function: Callable[[], Any]) -> tuple[Side, Any]:
    """Seconds that a call takes, and what it returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return Side(time.perf_counter() - wall, time.process_time() - cpu), result


def side_by_side(
    part: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    repetitions: int,
    shares: tuple[float, float] = (1, 1),
    note: str = "",
) -> tuple[Row, Any, Any]:
    """Time both sides in turn; seconds are divided by each side's share. The row, and what the last calls returned."""
    seconds: list[list[Side]] = [[], []]
    results = [None, None]
    for repetition in range(repetitions):
        for side, function in enumerate((ours, theirs)):
            say(f"{part}: {'published' if side else 'ours'} {repetition + 1}/{repetitions}")
            taken, results[side] = clocked(function)
            seconds[side].append(Side(taken.wall / shares[side], taken.cpu / shares[side]))
    say("")
    pairs = [b.wall / a.wall for a, b in zip(*seconds, strict=True)]
    return Row(part, *map(median, seconds), (min(pairs), max(pairs)), note), *results


def median(sides: list[Side]) -> Side:
    """The median of the wall clock and that of the processor."""
    return Side(statistics.median(side.wall for side in sides), statistics.median(side.cpu for side in sides))


def say(text: str) -> None:
    """What is going on, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="" if text else "\r", file=sys.stderr, flush=True)


def table(rows: Sequence[Row], labels: Mapping[str, str], expected: Mapping[str, float]) -> str:
    """The results for people; labels and expected ratios are by part."""
    width = max([28, *(len(labels[row.part]) for row in rows)])
    heading = f"{'':<{width}} {'wall seconds':^27} {'CPU seconds':^27} {'range of':>13} {'expected':>9}"
    of_clock = f" {'ours':>8} {'published':>9} {'ratio':>8}"
    columns = f"{'':<{width}}{of_clock}{of_clock} {'wall ratios':>13} {'at least':>9}"
    lines = [heading, columns]
    for row in rows:
        sides = ((row.ours.wall, row.published.wall, row.ratio.wall), (row.ours.cpu, row.published.cpu, row.ratio.cpu))
        figures = "".join(f" {ours:>8.3f} {theirs:>9.3f} {ratio:>7.2f}x" for ours, theirs, ratio in sides)
        spread = f"{row.pairs[0]:.2f}-{row.pairs[1]:.2f}"
        lines.append(f"{labels[row.part]:<{width}}{figures} {spread:>13} {expected[row.part]:>8.1f}x")
        lines += [f"    {row.note}"] if row.note else []
    return "\n".join(lines)


def machine(cores: int) -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    flags, model = text.split(), re.search(r"model name\s*: (.+)", text)
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return {
        "cpu": model[1] if model else platform.machine(),
        "flags": known,
        "cores": cores,
        "isa": isa,
        "gpu": gpu,
        "torch": torch.__version__,
    }


def from_command_line(
    arguments: Callable[[], argparse.Namespace], measure: Callable[[argparse.Namespace], dict[str, Any]]
) -> None:
    """A benchmark from the command line: measure, and write the results where ``--json`` says."""
    chosen = arguments()
    content = measure(chosen)
    if chosen.json:
        chosen.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
