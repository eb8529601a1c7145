"""Trainings in MLflow without their scores: live while they run, and those that failed or were killed.

While a training runs, a process of low priority beside it reads ``events.jsonl`` and logs what is new. So MLflow, its
store and its server can neither stop nor slow the training; and if the training is killed, that process says so.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any, Literal

import earwitness
from earwitness.tracking.runs import TrainingRun
from earwitness.tracking.store import SQLITE, opened
from earwitness.training.events import read_events

# Seconds before the process beside a training starts; loading MLflow takes it three, a fiftieth of the first.
AFTER, SOON = 150.0, 5.0
EVERY, LAST = 10.0, 10.0  # seconds between two loggings, and for the last one
SHARE, LONGEST = 100, 300.0  # logging takes a hundredth of a core at most; but is tried again after seconds


def live_after(setting: Literal["auto"] | bool, uri: str, remote: bool) -> float | None:
    """The seconds after which a training is shown while it runs; None: it is not.

    ``auto``: trainings of some minutes, in a tracking server; in an SQLite store too, unless the job runs on another
    machine of a cluster (``remote``), whose shared disks may have no locks.
    """
    if isinstance(setting, bool):
        return SOON if setting else None
    fit = uri.startswith(("http://", "https://")) or (uri.startswith(SQLITE) and not remote)
    return AFTER if fit else None


@contextmanager
def shown(uri: str, after: float, record: Path) -> Iterator[None]:
    """Show a training in the store while this is active.

    Args:
        after: the seconds of it that are waited before; record: its ``events.jsonl``.
    """
    started: list[subprocess.Popen] = []
    complaint = record.with_name("live.txt")
    complaint.unlink(missing_ok=True)

    def start() -> None:
        paths = [str(Path(earwitness.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with suppress(OSError):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", __name__, str(record), str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # signals to the training are none to it
                    # All users of a machine can read arguments, and the store's address may have a password.
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MLFLOW_TRACKING_URI": uri},
                )
            )

    timer = Timer(after, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for process in started:
            _end(process)
        with suppress(OSError):
            print(f"The training was not shown live in MLflow: {complaint.read_text('utf-8')}", file=sys.stderr)


def publish_training(uri: str, record: Path, alive: bool) -> str:
    """Publish a training without scores from its ``events.jsonl``; returns the status of its run.

    ``""`` where nothing was to be published: its run has scores, or lacked nothing. Raises what the store raises.
    """
    events = list(read_events(record))
    if not events or not any("started" in event for event in events):
        return ""
    with opened(uri, record.parent) as client:
        run = TrainingRun.of(client, uri, events)
        status = run.log(client, events, alive) if run else ""
        return status if run and run.changed else ""


def follow(uri: str, record: Path, parent: int, pipe: Any) -> None:
    """Log what comes to a record until the process ``parent``, which trains, writes to the pipe or ends."""
    run, wait, over, failure = None, 0.0, False, None
    while not over:
        over = bool(select.select([pipe], [], [], wait)[0]) or os.getppid() != parent
        began = time.monotonic()
        try:
            events = list(read_events(record))
            if any("started" in event for event in events):
                with opened(uri, record.parent) as client:
                    run = run or TrainingRun.of(client, uri, events)
                    if run is None:  # it has scores
                        return
                    run.log(client, events, alive=not over)
            failure = None
        except Exception as error:  # tracking never fails a training
            failure = f"{type(error).__name__}: {error}"
        wait = min(max(EVERY, SHARE * (time.monotonic() - began)), LONGEST)
    if failure:
        with suppress(OSError):
            record.with_name("live.txt").write_text(failure, encoding="utf-8")


def _end(process: subprocess.Popen) -> None:
    """Let a following process log the end; in the time that it has."""
    with suppress(OSError, subprocess.TimeoutExpired):
        process.communicate(b"\n", LAST)
    process.kill()
    process.wait()


if __name__ == "__main__":
    os.nice(10)
    follow(os.environ["MLFLOW_TRACKING_URI"], Path(sys.argv[1]), int(sys.argv[2]), sys.stdin)
