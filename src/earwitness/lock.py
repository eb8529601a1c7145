"""Lock files that the operating system releases when their holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from earwitness.errors import EarwitnessError


@contextmanager
def hold(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock file ``path``, and remove it afterwards.

    While another process holds it, raises EarwitnessError with the message ``busy``, or waits where that is None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while (descriptor := _acquire(path, busy)) is None:
        pass
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file ``path``."""
    with suppress(FileNotFoundError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _acquire(path: Path, busy: str | None) -> int | None:
    """A descriptor that holds the lock; None when its last holder removed the file in the meantime."""
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
