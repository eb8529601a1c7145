"""The ``earwitness`` command: the parser of its subcommands, and how they end.

A module of this package adds its subcommands to the parser (``add_commands``) and imports the library in the functions
that run them, so that ``--help`` and ``--version`` load none of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from earwitness.cli import caption, completion, doctor, ground, register, results, score, search, tracking
from earwitness.cli.parser import Parser
from earwitness.errors import EarwitnessError


def parser() -> Parser:
    """The parser of all commands; ``run`` of what it parses runs one."""
    made = Parser(
        prog="earwitness", description="Inspect, score and compare results; search, ground and caption recordings."
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for module in (results, doctor, score, search, ground, caption, tracking, register, completion):
        module.add_commands(commands)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; bad input is a plain message and exit code 1.

    SIGTERM and SIGHUP interrupt it as Ctrl-C does, unless they are ignored (nohup) or handled by others.
    """
    options = parser().parse_args(arguments)
    with _interrupted_by_signals() as came:
        code = _run(options)
        return 128 + came[0] if came else code


@contextmanager
def _interrupted_by_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at SIGTERM and SIGHUP; yields a list to which the number of the one that came is added.

    By default they end the process on the spot, and leave partial files behind.
    """
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():  # no other may handle signals
        numbers = []
    came: list[int] = []

    def interrupt(number: int, _frame: Any) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
        came.append(number)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _run(options: argparse.Namespace) -> int:
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except EarwitnessError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        with suppress(OSError):  # of a terminal that is gone
            print("\nInterrupted: no partial files were kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
