"""The local record of a run: one JSON object a line, the truth that tracking publishes later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earwitness.errors import report_full_disk
from earwitness.files import write_text


class EventLog:
    """Appends events to a file that a kill can at most leave with a torn last line.

    Events: ``{"params": {...}}``, ``{"step": n, "epoch": n, "metrics": {...}}``.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def cut_back(self, step: int) -> None:
        """Forget everything after ``step``: what a resumed training is going to do again."""
        kept = [event for event in read_events(self.path) if event.get("step", 0) <= step]
        write_text(self.path, "".join(_line(event) for event in kept))

    def append(self, **event: Any) -> None:
        """Add one event with the time of day in seconds, at once on disk."""
        with report_full_disk(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line({"time": round(time.time(), 3), **event}))

    def metrics(self, step: int, epoch: int, **values: float) -> None:
        """Add metrics at a step of an epoch (counted from 0)."""
        self.append(step=step, epoch=epoch, metrics=values)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The whole events of a record; a torn last line is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, sort_keys=True) + "\n"
