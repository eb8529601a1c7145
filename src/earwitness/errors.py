"""Errors that are shown to the user as a message without a traceback, with all offenders at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

LISTED = 1000  # offenders in one message


class EarwitnessError(Exception):
    """Bad input; shown to the user as a message without a traceback."""


class ConfigError(EarwitnessError):
    """The configuration or a requested target names something that does not exist."""


class CorpusError(EarwitnessError):
    """A data set on disk does not match its layout."""


class MismatchError(EarwitnessError):
    """A file was made from other inputs, or with another version of the schema, than its reader expects."""


class FullDiskError(EarwitnessError):
    """There is no space left for a file, or the quota is used up."""


def listed(heading: str, offenders: Sequence[str], advice: str = "") -> str:
    """A message with a heading, one line for each offender, and advice.

    All offenders are listed, since one left out would only fail on the next run; of more than ``LISTED``, which nobody
    mends by hand, the first ones, and the number of the others.

    >>> print(listed("Clips without a caption:", ["a.wav", "b.wav"], "Each needs one."))
    Clips without a caption:
      - a.wav
      - b.wav
    Each needs one.
    """
    lines = [heading, *(f"  - {offender}" for offender in offenders[:LISTED])]
    if (others := len(offenders) - LISTED) > 0:
        lines.append(f"  ... and {others} more")
    return "\n".join([*lines, advice] if advice else lines)


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest valid names, or all of them when none is close."""
    names = sorted(names)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"valid names: {', '.join(names)}" if names else "there are none"


def counted(number: int, one: str, several: str = "") -> str:
    """A number of things, in the singular or plural.

    >>> counted(1, "clip"), counted(1200, "clip"), counted(0, "entry", "entries")
    ('1 clip', '1200 clips', '0 entries')
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def sentence(text: str) -> str:
    """A text that another sentence may follow: with a full stop unless it has a mark at its end.

    >>> sentence("is missing"), sentence("did you mean 'mini'?")
    ('is missing.', "did you mean 'mini'?")
    """
    return text if text.endswith((".", "?", "!", ":")) else f"{text}."


def joined(reasons: Iterable[str]) -> str:
    """Reasons as one, each once, without full stops before the semicolons.

    >>> joined(["SPICE is turned off.", "There is no model."])
    'SPICE is turned off; There is no model.'
    """
    reasons = list(dict.fromkeys(reasons))
    return "; ".join([*(reason.removesuffix(".") for reason in reasons[:-1]), *reasons[-1:]])


@contextmanager
def report_full_disk(path: str | Path) -> Iterator[None]:
    """Turn "no space left on device", or a quota that is used up, into a FullDiskError that names the file.

    The code inside must leave no part of the file.
    """
    try:
        yield
    except Exception as error:
        # HDF5 and safetensors give the operating system's error number in their messages only.
        numbers = (ENOSPC, EDQUOT)
        texts = [text for number in numbers for text in (f"errno = {number},", f"os error {number}")]
        in_message = any(text in str(error) for text in texts)
        if getattr(error, "errno", None) not in numbers and not in_message:
            raise
        raise FullDiskError(
            f"The disk is full (or your quota is used up): {path} could not be written, and no part of it was kept. "
            "Free some space and run the same command again."
        ) from error
