"""One process at a time, by locks that the operating system lets go of when their holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earwitness.errors import EarwitnessError


@contextmanager
def alone(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock file ``path``, and remove it afterwards.

    While another process holds it, raises EarwitnessError with the message ``busy``, or waits where that is None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = None
    while descriptor is None:
        descriptor = _held(path, busy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _held(path: Path, busy: str | None) -> int | None:
    """A descriptor that holds the lock; None when the file was removed by its last holder in the meantime."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if busy is None else fcntl.LOCK_NB))
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
    except BlockingIOError as error:
        os.close(descriptor)
        raise EarwitnessError(busy) from error
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
