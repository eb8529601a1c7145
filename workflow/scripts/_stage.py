"""What every script shares: a log file beside the terminal, and plain messages instead of tracebacks."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

# An environment that conda made holds what the library needs, not the library.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from earwitness.errors import EarwitnessError


class _Both:
    """Writes to the terminal and to the log."""

    def __init__(self, terminal: TextIO, log: TextIO):
        self.terminal, self.log, self.encoding = terminal, log, terminal.encoding

    def write(self, text: str) -> int:
        self._log(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        self.terminal.flush()

    def _log(self, text: str) -> None:
        # On a full disk the message on the terminal is what counts.
        with suppress(OSError):
            self.log.write(text)
            self.log.flush()

    def isatty(self) -> bool:
        return self.terminal.isatty()

    def fileno(self) -> int:
        return self.terminal.fileno()


@contextmanager
def stage(snakemake) -> Iterator[None]:
    """Run a rule's work: standard error goes to its log too, bad input ends it with a message and exit code 1."""
    terminal = sys.stderr
    log = Path(snakemake.log[0]).open("w", encoding="utf-8")  # noqa: SIM115 (closing may fail on a full disk)
    sys.stderr = _Both(terminal, log)
    try:
        yield
    except EarwitnessError as error:
        print(f"\n{error}\n", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted: what was finished is kept. Run the same command to go on.\n", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc(file=sys.stderr)  # into the log too: on a cluster there is no terminal
        sys.exit(1)
    finally:
        sys.stderr = terminal
        with suppress(OSError):
            log.close()
