"""The parser of the command and its subcommands: global options anywhere, and hints for what is misspelt."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from earwitness import __version__
from earwitness.errors import nearest

RESULTS = ("show", "corpus", "index", "ground", "caption", "publish", "ui")  # the commands that read the DAG's results


class Parser(argparse.ArgumentParser):
    """A parser whose subparsers take the global options too, and that names what a misspelt word was meant to be."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        command = (self.prog or "").split(" ")[1:]
        top: dict[str, Any] = {} if not command else {"default": argparse.SUPPRESS}
        what = "the DAG's results (default: results)"
        shown = what if not command or command[0] in RESULTS else argparse.SUPPRESS
        default = {"default": Path("results")} | top
        self.add_argument("--results", type=Path, metavar="FOLDER", help=shown, **default)
        shown = "print the version" if not command else argparse.SUPPRESS
        self.add_argument("--version", action="version", version=__version__, help=shown)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of argparse, but each parser refuses its own unknown arguments, with hints."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {', '.join(word + self._hint(word) for word in rest)}")
        return found, rest

    def _hint(self, word: str) -> str:
        options = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        hint = nearest(word.split("=")[0], options) if word.startswith("--") else ""
        return f" ({hint})" if hint.startswith("did you mean") else ""

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if action.type is Path and not arg_string:  # it would be the working folder
            raise argparse.ArgumentError(action, "the name is empty; is a variable not set? The working folder is `.`")
        return super()._get_value(action, arg_string)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = nearest(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {hint}")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is; exit code 2."""
        self.exit(2, f"{self.prog}: {message}\nSee `{self.prog} --help`.\n")
