"""The local record of a training run: one JSON object per line, which tracking publishes later."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import report_full_disk
from earwitness.files import write_text

NO_END = "The process ended without a trace: it was killed, or its machine stopped."


class EventLog:
    """Appends events to a file; after a kill, at most the last line is incomplete.

    Events: ``{"params": {...}}``, ``{"step": n, "epoch": n, "metrics": {...}}``, and ``started`` and ``ended`` of each
    process (`earwitness.training.machine`).
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def cut_back(self, step: float) -> None:
        """Remove events after ``step``, which a resumed training repeats."""
        kept = [event for event in read_events(self.path) if event.get("step", 0) <= step]
        write_text(self.path, "".join(_line(event) for event in kept))

    def append(self, **event: Any) -> None:
        """Add one event with ``time`` (s since the epoch) and write it to disk."""
        length = self.path.stat().st_size if self.path.exists() else 0
        with report_full_disk(self.path):
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(_line({"time": round(time.time(), 3), **event}))
            except OSError:
                os.truncate(self.path, length)  # of a line that does not fit, as much is written as does
                raise

    def metrics(self, step: int, epoch: int, **values: float) -> None:
        """Add metrics at a step of an epoch (counted from 0)."""
        self.append(step=step, epoch=epoch, metrics=values)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a file, without an incomplete last line; none if the file does not exist."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def summary(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What all processes of a training took together.

    Returns:
        ``status`` (RUNNING while the last process has no end), ``message``, ``processes`` (how many), and sums of
        ``seconds`` and ``energy_joules``, the largest ``peak_memory_bytes`` and ``peak_gpu_memory_bytes``; None where
        none of them is known.
    """
    events = list(events)
    ended = [event["ended"] for event in events if "ended" in event]
    last: Mapping[str, Any] = {"status": "RUNNING"} if unended(events) or not ended else ended[-1]

    def over(name: str, join: Callable[[list[float]], float]) -> float | None:
        known = [end[name] for end in ended if end.get(name) is not None]
        return join(known) if known else None

    return {
        "status": last["status"],
        "message": last.get("message"),
        "processes": sum("started" in event for event in events),
        "seconds": over("seconds", sum),
        "energy_joules": over("energy_joules", sum),
        "peak_memory_bytes": over("peak_memory_bytes", max),
        "peak_gpu_memory_bytes": over("peak_gpu_memory_bytes", max),
    }


def unended(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last start of a process, if no end follows it."""
    marks = [event for event in events if "started" in event or "ended" in event]
    return marks[-1] if marks and "started" in marks[-1] else None


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, sort_keys=True) + "\n"
