"""What Earwitness says when it cannot go on: one plain message, all offenders at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from errno import ENOSPC


class EarwitnessError(Exception):
    """Bad input, told to the user as a plain message without a traceback."""


class ConfigError(EarwitnessError):
    """The configuration, or a target asked for, names something that does not exist."""


class CorpusError(EarwitnessError):
    """A data set on disk is not what its layout says it is."""


class MismatchError(EarwitnessError):
    """A file was made from other inputs, or by another version of the schema, than its reader needs."""


def listed(heading: str, offenders: Sequence[str], advice: str = "") -> str:
    """A message of a heading, every offender on a line of its own, and what to do about them.

    However many there are, none is left out: what is not named now would be refused on the next run.
    """
    lines = [heading, *(f"  - {offender}" for offender in offenders)]
    return "\n".join([*lines, advice] if advice else lines)


def nearest(name: str, names: Iterable[str]) -> str:
    """The clause that helps with a misspelt name: the nearest valid names, or all of them when none is near."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"valid names: {', '.join(names)}" if names else "there are none"


@contextmanager
def disk_full_is_plain(path):
    """Turn the operating system's "no space left" into a message that names the file that could not be written."""
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise EarwitnessError(
            f"The disk is full: {path} could not be written. Nothing half-written was kept; "
            "free some space and run the same command again."
        ) from error


def _is_disk_full(error: Exception) -> bool:
    """HDF5 and safetensors tell the operating system's error number in their messages only."""
    told = (f"errno = {ENOSPC},", f"os error {ENOSPC}")
    return getattr(error, "errno", None) == ENOSPC or any(words in str(error) for words in told)
