"""Atomic writing of files, and their provenance.

Every output is written to a temporary file beside it and renamed, so that a file that exists is complete. JSON files
have a ``provenance`` object, HDF5 files a ``provenance`` attribute with the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from glob import escape
from io import RawIOBase
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.errors import EarwitnessError, MismatchError, counted, listed, report_full_disk

SCHEMA = 1


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` on success, remove it on failure.

    Raises EarwitnessError when the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        with report_full_disk(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_torn(folder: Path, name: str = "") -> None:
    """Remove what killed processes left in a folder of the file ``name`` that they were writing, or of any file."""
    for torn in folder.glob(f".{escape(name) or '*'}.*.tmp"):
        if torn.is_dir():
            shutil.rmtree(torn, ignore_errors=True)
        else:
            torn.unlink(missing_ok=True)


@contextmanager
def atomic_hdf5(path: str | os.PathLike) -> Iterator[Any]:
    """Yield an ``h5py.File`` to write to, which is at ``path`` on success and nowhere on failure.

    On a full disk HDF5 cannot close its file, and in trying so it ends the process (h5py 3.16 with HDF5 2.0). So what
    follows a failed write is dropped, and the error comes after the file was closed. Raises EarwitnessError when the
    disk is full.
    """
    import h5py

    with atomic(path) as temporary, temporary.open("r+b", buffering=0) as raw:
        written = _Written(raw)
        with h5py.File(written, "w") as file:
            yield file
        if written.error is not None:
            raise written.error


class _Written:
    """A file that takes everything, and remembers the first error."""

    def __init__(self, file: RawIOBase):
        self._file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        length = len(left)
        try:
            while self.error is None and left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.error = error
        self._file.seek(len(left), os.SEEK_CUR)
        return length

    def readinto(self, buffer: Any) -> int | None:
        return len(buffer) if self.error else self._file.readinto(buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text with line feeds, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write indented, strict JSON atomically; ValueError for NaN."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file; raises EarwitnessError if it is not valid JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"{path} is not valid JSON: {error}. Remove it and run again.") from error


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: Any) -> str:
    """Hex digest of JSON content, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@cache
def code_version() -> str:
    """The package's version and a digest of its sources; recorded in every file, but never compared."""
    sources = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        sources.update(path.relative_to(root).as_posix().encode())
        sources.update(path.read_bytes())
    return f"{__version__}+{sources.hexdigest()[:12]}"


@cache
def commit() -> str | None:
    """The git commit of the sources, with ``-dirty`` for uncommitted changes; None outside a repository of Earwitness.

    Only results of experiments record it.
    """
    sources = Path(__file__).parents[1]
    root = sources.parent
    if sources.name != "src" or not (root / ".git").exists():  # installed, perhaps inside another repository
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    command = ["git", "--no-optional-locks", "-C", str(root), *describe]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def provenance(made_by: str, inputs: Mapping[str, str | os.PathLike] | None = None, **settings: Any) -> dict[str, Any]:
    """How a file was made: stage or system, settings, digests of the input files, and version of the code."""
    return {
        "schema": SCHEMA,
        "made_by": made_by,
        "settings": settings,
        "inputs": {name: sha256(path) for name, path in (inputs or {}).items()},
        "code": code_version(),
    }


def checkpoint_digests(paths: dict[str, str]) -> dict[str, str]:
    """Digests of checkpoint files by configuration key; raises EarwitnessError that lists all missing files."""
    if missing := [f"{key}: {path} does not exist" for key, path in paths.items() if not Path(path).is_file()]:
        advice = "Put the public file there, or set `none` to train from scratch (`trained` for vectors of words)."
        raise EarwitnessError(listed("Weights in the configuration are missing:", missing, advice))
    return {key: sha256(path) for key, path in paths.items()}


def require_match(path: str | os.PathLike, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise MismatchError for a file whose provenance (``found``) differs from ``expected``.

    Compares ``schema``, ``made_by``, ``settings`` and ``inputs``, and only keys that ``expected`` has; never the code's
    version.
    """
    differences = []
    for key in ("schema", "made_by"):
        if key in expected and found.get(key) != expected[key]:
            differences.append(f"{key}: the file has {found.get(key)!r}, {expected[key]!r} is needed")
    for group in ("settings", "inputs"):
        for key, value in expected.get(group, {}).items():
            if (has := found.get(group, {}).get(key)) != value:
                differences.append(f"{group}.{key}: the file has {has!r}, {value!r} is needed")
    if differences:
        details = "; ".join(differences)
        raise MismatchError(f"{path} does not fit: {details}. Remove it and run again.")


def refuse_unwritable(paths: Iterable[str | Path]) -> None:
    """Raise EarwitnessError that lists the folders in which some of these files cannot be written or replaced."""
    locked: Counter[str] = Counter()
    for path in paths:
        folder = next(place for place in Path(path).absolute().parents if os.access(place, os.F_OK))
        locked[str(folder)] += not os.access(folder, os.W_OK | os.X_OK)
    folders = [f"{folder} ({counted(count, 'file')})" for folder, count in locked.items() if count]
    if folders:
        advice = "Make them writable, or run elsewhere, with --directory."
        raise EarwitnessError(listed("Results cannot be written, as folders are read-only:", folders, advice))
