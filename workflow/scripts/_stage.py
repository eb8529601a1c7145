"""Shared by all scripts: running by hand, a log file beside the terminal, and messages instead of tracebacks."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

# A conda environment has the dependencies of the library, but not the library.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from _interrupt import INTERRUPTED, raise_again
from _mock import from_command_line
from earwitness.errors import EarwitnessError
from earwitness.files import remove_torn


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
        # With a full disk, at least the terminal shows the message.
        with suppress(OSError):
            self.log.write(text)
            self.log.flush()

    def isatty(self) -> bool:
        return self.terminal.isatty()

    def fileno(self) -> int:
        return self.terminal.fileno()


@contextmanager
def stage(script: dict) -> Iterator:
    """Yield the `snakemake` of a script: standard error also goes to the log, and invalid input ends the script with a
    message and exit code 1.

    Args:
        script: The script's ``globals()``. Without a `snakemake` in them the script is run by hand, with wildcards from
            the command line.
    """
    terminal, log = sys.stderr, None
    try:
        raise_again()
        snakemake = script.get("snakemake") or from_command_line(Path(script["__file__"]))
        for path in (*snakemake.log, *snakemake.output):
            Path(path).parent.mkdir(parents=True, exist_ok=True)  # as Snakemake does
            remove_torn(Path(path).parent, Path(path).name)
        log = Path(snakemake.log[0]).open("w", encoding="utf-8")  # noqa: SIM115 (closing may fail on a full disk)
        sys.stderr = _Both(terminal, log)
        yield snakemake
    except EarwitnessError as error:
        print(f"\n{error}\n", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)
    except SystemExit as error:
        if error.code == 128 + signal.SIGTERM:
            print(INTERRUPTED, file=sys.stderr)
        raise
    except Exception:
        traceback.print_exc(file=sys.stderr)  # into the log, since there may be no terminal on a cluster
        sys.exit(1)
    finally:
        sys.stderr = terminal
        with suppress(OSError):
            if log:
                log.close()
