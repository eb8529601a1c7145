"""Vectors of chosen words out of a file of word2vec, binary or text, perhaps packed with gzip, which is read once.

gensim reads whole files or their first words: Google News has 3 million words and 3.6 GB. Here the file streams by, and
only the words that are asked for, the first ones, and those of the mean stay in memory.
"""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from earwitness.errors import EarwitnessError, listed

MEAN_OF = 50_000  # words whose mean stands for texts without a known word
CHUNK = 1 << 22
LONGEST = 1000  # bytes of a word
SURE = 100  # first rows whose words must be text: those of a file whose header lies about the dimension are not
DIMENSION = 100_000  # the most that is believed of a header
HINT = "Download or save the file again; gensim's `save_word2vec_format` writes it."


class Chosen(NamedTuple):
    """Words and their vectors, float32 [words, D], in the order of the file, and the mean vector, float32 [D]."""

    words: list[str]
    vectors: np.ndarray
    mean: np.ndarray


def choose(path: Path, wanted: Iterable[str], first: int) -> Chosen:
    """The ``wanted`` words that a file has, and its ``first`` ones.

    The mean is of the first 50,000 words in alphabetical order (of code points), or of all where there are fewer.

    Raises EarwitnessError for a file that is not of word2vec, is cut off, or does not have the words and the dimension
    that its first line says, and for words that occur twice or whose vectors are not finite, among those that are read.
    """
    asked = {word.encode() for word in wanted}
    chosen: dict[bytes, tuple[int, np.ndarray]] = {}
    lowest: dict[bytes, tuple[int, np.ndarray]] = {}
    limit = b""  # the last of `lowest` when there were enough of them
    twice = []
    for row, (word, values, text) in enumerate(_rows(path), 1):
        keep = row <= first or word in asked
        if not keep and limit and word > limit:
            continue
        entry = row, _numbers(path, row, word, values) if text else np.frombuffer(values, dtype="<f4")
        if (before := chosen.get(word) or lowest.get(word)) is not None:
            twice.append(f"row {row}: {_text(word)!r}, as in row {before[0]}")
        if keep:
            chosen[word] = entry
        if not limit or word <= limit:
            lowest[word] = entry
        if len(lowest) >= 2 * MEAN_OF:
            lowest = {word: lowest[word] for word in sorted(lowest)[:MEAN_OF]}
            limit = next(reversed(lowest))
    if twice:
        raise EarwitnessError(listed(f"{path} has words twice:", twice, "Remove one of the rows of each."))
    of_mean = [lowest[word] for word in sorted(lowest)[:MEAN_OF]]
    bad = sorted({(row, word) for word, (row, vector) in (lowest | chosen).items() if not np.isfinite(vector).all()})
    if bad:
        rows = [f"row {row}: {_text(word)!r}" for row, word in bad]
        raise EarwitnessError(listed(f"{path} has vectors that are NaN or infinite:", rows, HINT))
    readable = {name: vector for word, (_, vector) in chosen.items() if (name := _decoded(word)) is not None}
    mean = np.array([vector for _, vector in of_mean]).mean(axis=0, dtype=np.float64).astype(np.float32)
    vectors = np.array(list(readable.values()), dtype=np.float32).reshape(len(readable), len(mean))
    return Chosen(list(readable), vectors, mean)


def _rows(path: Path) -> Iterator[tuple[bytes, bytes, bool]]:
    """Word and values of each row, and whether these are text."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if packed else raw as file:
                count, size = _header(path, file)
                line = file.readline(1 << 20)
                text = _is_text(line)
                rows = (_text_rows if text else _binary_rows)(path, file, line, count, size)
                for word, values in tqdm(rows, path.name, count, unit="word", disable=count < MEAN_OF, file=sys.stderr):
                    yield word, values, text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise EarwitnessError(f"{path} cannot be unpacked: {error}. {HINT}") from error
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read: {error}.") from error


def _header(path: Path, file: BufferedIOBase) -> tuple[int, int]:
    line = file.readline(200)
    found = re.fullmatch(rb"\s*(\d{1,12})[ \t](\d{1,12})\s*", line)
    count, size = map(int, found.groups()) if found else (0, 0)
    if count < 1 or not 1 <= size <= DIMENSION:
        raise EarwitnessError(
            f"{path} is no file of word2vec: its first line must be the number of words and the dimension, such as "
            f"`3000000 300`, and it begins with {line[:40]!r}. {HINT}"
        )
    return count, size


def _is_text(line: bytes) -> bool:
    """Whether the first row is text: in binary files numbers are no text but by rare chance, and hold zero bytes."""
    try:
        line.decode()
        float(line.split()[-1])
    except (ValueError, IndexError):
        return False
    return b"\0" not in line


def _binary_rows(
    path: Path, file: BufferedIOBase, buffer: bytes, count: int, size: int
) -> Iterator[tuple[bytes, bytes]]:
    width, start = 4 * size, 0
    for row in range(1, count + 1):
        while (end := buffer.find(b" ", start)) < 0 or len(buffer) <= end + width:
            if end < 0 and len(buffer) - start > LONGEST + CHUNK:
                break
            more = file.read(CHUNK)
            if not more:
                raise _cut_off(path, row, count, buffer[start:end] if end >= 0 else b"")
            buffer, start = buffer[start:] + more, 0
        word = buffer[start:end].lstrip(b"\r\n")  # some programs end rows with line feeds
        strange = not word or min(word) < 33 or _decoded(word) is None
        if end < 0 or len(word) > LONGEST or (row <= SURE and strange):
            raise EarwitnessError(
                f"{path}, row {row}: the word {_text(word[:40])!r} is none. The file is damaged, or its vectors do not "
                f"have {size} values, as its first line says. {HINT}"
            )
        yield word, buffer[end + 1 : end + 1 + width]
        start = end + 1 + width
    if left := (buffer[start:] + file.read(CHUNK)).strip():
        raise _too_many(path, count, left)


def _text_rows(path: Path, file: BufferedIOBase, line: bytes, count: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    for row in range(1, count + 1):
        line = line.rstrip()
        if not line:
            raise _cut_off(path, row, count, b"")
        fields = line.split(b" ")
        having = len(fields) - 1
        # Some words have blanks, but none begins or ends with one, or goes on with numbers alone.
        extra = fields[1 : having - size + 1]
        if having < size or not all((fields[0], *extra)) or (extra and _all_numbers(extra)):
            name = _text(line.split(b" ")[0])
            raise EarwitnessError(
                f"{path}, row {row}: the word {name!r} has {having} values, and the first line says {size}. The row is "
                f"cut off, or the first line is wrong. {HINT}"
            )
        word = line.split(b" ", 1)[0] if having == size else line.rsplit(b" ", size)[0]  # some words have blanks
        yield word, line[len(word) + 1 :]
        line = file.readline()
    if left := (line + file.read(CHUNK)).strip():
        raise _too_many(path, count, left)


def _all_numbers(values: Iterable[bytes]) -> bool:
    try:
        return bool([float(value) for value in values])
    except ValueError:
        return False


def _numbers(path: Path, row: int, word: bytes, values: bytes) -> np.ndarray:
    numbers = values.split(b" ")
    try:
        return np.array([float(number) for number in numbers], dtype=np.float32)
    except ValueError:
        bad = next(number for number in numbers if not _all_numbers([number]))
        raise EarwitnessError(f"{path}, row {row}: {_text(bad)!r} of the word {_text(word)!r} is no number.") from None


def _cut_off(path: Path, row: int, count: int, word: bytes) -> EarwitnessError:
    named = f" ({_text(word.strip())!r})" if word.strip() else ""
    return EarwitnessError(
        f"{path}, row {row}{named}: the file ends here, and its first line says that it has {count} words. It is cut "
        f"off, or its first line is wrong. {HINT}"
    )


def _too_many(path: Path, count: int, left: bytes) -> EarwitnessError:
    return EarwitnessError(
        f"{path}, row {count + 1} ({_text(left[:20].split(b' ')[0])!r}): more follows the {count} words that its first "
        f"line says. The first line is wrong, or its dimension is. {HINT}"
    )


def _decoded(word: bytes) -> str | None:
    """The word; None for what no text has, such as half a letter where a program has cut a long word."""
    try:
        return None if b"\0" in word else word.decode()
    except UnicodeDecodeError:
        return None


def _text(word: bytes) -> str:
    return word.decode(errors="replace")
