"""``earwitness completion``: a script with which a shell completes commands, options and their values."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

SCRIPT = """\
# earwitness completion {shell}
_earwitness() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="" choices="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command ${{COMP_WORDS[i]}}" in
            {commands}) command="$command ${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$command $previous" in
{values}
        *)
            case "$command" in
{words}
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
}}
complete -o default -F _earwitness earwitness
"""
BEFORE = {"bash": "", "zsh": "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"}


def add_commands(commands: Any) -> None:
    """Add ``completion`` to what ``ArgumentParser.add_subparsers`` returned."""
    parser = commands.add_parser("completion", help="print a script that completes commands in a shell")
    what = 'bash: put eval "$(earwitness completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc'
    parser.add_argument("shell", choices=tuple(BEFORE), help=what)
    parser.set_defaults(run=_completion)


def _completion(options: argparse.Namespace) -> int:
    from earwitness.cli.main import parser

    print(script(parser(), options.shell), end="")
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for ``bash`` or ``zsh``, of all subcommands of a parser. What has no choices are files."""
    commands, values, words = [], [], []
    for path, found in _parsers(parser):
        place = "".join(f" {name}" for name in path)
        commands += [f'"{place}"'] if path else []
        here = []
        for action in found._actions:
            if action.help == argparse.SUPPRESS:
                continue
            if action.option_strings:
                here += [name for name in action.option_strings if name.startswith("--")]
                if action.nargs != 0:
                    choices = " ".join(map(str, action.choices or ()))
                    values += [f'        "{place} {name}") choices="{choices}" ;;' for name in action.option_strings]
            else:
                here += map(str, action.choices or ())
        words.append(f'                "{place}") choices="{" ".join(here)}" ;;')
    text = SCRIPT.format(shell=shell, commands="|".join(commands), values="\n".join(values), words="\n".join(words))
    return BEFORE[shell] + text


def _parsers(parser: argparse.ArgumentParser, *path: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """A parser and all of its subcommands, with their names."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, found in action.choices.items():
                yield from _parsers(found, *path, name)
