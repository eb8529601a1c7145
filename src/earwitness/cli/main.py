"""The ``earwitness`` command: the parser of its subcommands, and how they end.

A module of this package adds its subcommands to the parser (``add_commands``) and imports the library in the functions
that run them, so that ``--help`` and ``--version`` load none of it.
"""

from __future__ import annotations

import os
import sys

from earwitness.cli import caption, completion, doctor, ground, results, score, search, tracking
from earwitness.cli.parser import Parser
from earwitness.errors import EarwitnessError


def parser() -> Parser:
    """The parser of all commands; ``run`` of what it parses runs one."""
    made = Parser(
        prog="earwitness", description="Inspect, score and compare results; search, ground and caption recordings."
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for module in (results, doctor, score, search, ground, caption, tracking, completion):
        module.add_commands(commands)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; bad input is a plain message and exit code 1."""
    options = parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except EarwitnessError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: no partial files were kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
