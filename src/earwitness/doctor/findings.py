"""What a check finds, and the probes that several checks use."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

OK: Final = "ok"
NOTE: Final = "note"
FAIL: Final = "FAIL"
Mark = Literal["ok", "note", "FAIL"]

ANSWER_SECONDS = 5  # for a server
PROGRAM_SECONDS = 15  # for Java to print its version, and for a disk to grant a lock


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``advice`` says what to do, where there is anything to do."""

    mark: Mark
    what: str
    advice: str = ""


class Ran(NamedTuple):
    """The result of a program; ``status`` is None when it had not ended in time."""

    status: int | None
    output: str


def fail_if(needed: bool) -> Literal["note", "FAIL"]:
    """The mark of something missing: targets that do not need it can be made."""
    return FAIL if needed else NOTE


def one_line(message: str) -> str:
    """A message of several lines as one, offenders separated by semicolons, without a full stop."""
    heading, *rest = [line.strip() for line in message.strip().splitlines()] or [""]
    items = "; ".join(line.removeprefix("- ") for line in rest if line.startswith("- "))
    others = [line for line in rest if not line.startswith("- ")]
    return " ".join(part for part in (heading, items and f"{items}.", *others) if part).removesuffix(".")


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def gigabytes(count: float) -> str:
    """A number of bytes, for people."""
    return f"{count / 1e9:.2f} GB"


def ran(command: Sequence[str | Path]) -> Ran:
    """Run a program for ``PROGRAM_SECONDS`` at most; one that hangs in a system call is not waited for."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            status = process.wait(PROGRAM_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return Ran(None, f"it had not ended after {PROGRAM_SECONDS} s")
        output.seek(0)
        return Ran(status, output.read().decode("utf-8", "replace").strip())


@cache
def unanswered(address: str) -> str:
    """Why a server does not answer, empty when it does; the look-up of its name is limited in time too."""
    import requests

    answers: list[str] = []

    def head() -> None:
        try:
            status = requests.head(address, timeout=ANSWER_SECONDS).status_code
            answers.append(f"it answered {status}" if status >= 500 else "")
        except requests.RequestException as error:
            answers.append(type(error).__name__)

    thread = Thread(target=head, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answers[0] if answers else f"no answer within {ANSWER_SECONDS} s"


def host_of(address: str) -> str:
    """An address without path, user and password."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
