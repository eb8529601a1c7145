"""Progress of metrics on the error stream: nothing for quick work, or where TQDM_DISABLE is set in the environment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY = 2.0  # seconds of work that are worth a bar
FEW = 100  # units of work that are not, however long the program takes to start


def progress_bar(title: str, total: int, unit: str) -> tqdm:
    """A bar that appears once the work has taken ``DELAY``; a context manager with ``update(number)``.

    >>> with progress_bar("METEOR", total=2, unit="caption") as bar:  # so few are done before one could read it
    ...     bar.update(2)
    """
    from tqdm import tqdm

    silent = total < FEW
    return tqdm(total=total, desc=title, unit=unit, file=sys.stderr, delay=DELAY, mininterval=1, disable=silent)
