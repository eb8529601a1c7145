"""Clips cut from YouTube videos: how their files are called, and how they are had with the user's own yt-dlp.

AudioCaps and AudioGrounding name clips by the id of a video and the second where the clip begins. Audio in circulation
is called by the id, often with a Y before it, and with or without the times (corpora.md, "AudioCaps").
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from tqdm import tqdm

from earwitness.corpora.paths import Match
from earwitness.errors import EarwitnessError, disk_full_is_plain, listed
from earwitness.fetch.lock import alone
from earwitness.files import provenance, read_json, write_json

OWN_SPLITS = {"train": "development", "val": "validation", "test": "evaluation"}  # of both corpora, and what they are
CLIP_SECONDS = 10
UNAVAILABLE = "unavailable.json"  # in the root: the videos that cannot be had, and why
STOP_AFTER = 10  # failures one after the other that are not a video's own: the network is down, or the disk full

_FOLDERS = {
    "train": {"train", "development"},
    "val": {"val", "validation", "valid"},
    "test": {"test", "evaluation", "eval"},
}
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]*$")  # of "60.000_70.000", ".000" is none
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_TIME = r"\d+(?:\.\d+)?"
# An id may hold what separates the times, but its length is fixed: no name can be read in two ways.
_CUT = re.compile(rf"(?P<prefix>Y?)(?P<id>{_ID.pattern})(?:_(?P<start>{_TIME})(?:_(?P<end>{_TIME}))?)?")
_MILLISECONDS = 1000  # no clip is this many seconds long, and none as short as this many milliseconds
_TOLERANCE = 1e-3  # seconds

# What yt-dlp says of videos that are gone or locked, and of requests that YouTube turns down: its words of these hold
# those of the former ("Video unavailable. This content isn't available, try again later").
_TURNED_DOWN = ("not a bot", "rate-limit", "too many requests", "error 429", "try again later", "captcha")
_GONE = (
    "video unavailable",
    "video is unavailable",
    "video is not available",
    "private video",
    "video is private",
    "has been removed",
    "no longer available",
    "been terminated",
    "in your country",
    "members-only",
    "join this channel",
    "confirm your age",
)


class Cut(NamedTuple):
    """What the name of a clip's file tells; times as they stand in it, empty where it has none."""

    youtube_id: str
    prefix: str = ""
    start: str = ""
    end: str = ""

    def begins(self) -> dict[str, float]:
        """The seconds at which the clip may begin, by the unit that the name may have them in; none without a time."""
        if not self.start:
            return {}
        seconds = {"s": float(self.start), "ms": float(self.start) / 1000}
        if "." in self.start + self.end:
            return {"s": seconds["s"]}
        if self.end:
            unit = "ms" if float(self.end) - float(self.start) >= _MILLISECONDS else "s"
            return {unit: seconds[unit]}
        return seconds

    def units(self, start: float | None) -> list[str]:
        """The units in which the name's time is ``start``, all of them where that is not known."""
        return [unit for unit, begin in self.begins().items() if start is None or abs(begin - start) <= _TOLERANCE]

    def habit(self, start: float | None) -> str:
        """The naming habit, such as ``Y{youtube_id}`` or ``{youtube_id}_{start}_{end} ms``."""
        times = "".join(f"_{{{name}}}" for name in ("start", "end") if getattr(self, name))
        unit = " ms" if self.units(start) == ["ms"] else ""
        return f"{self.prefix}{{youtube_id}}{times}{unit}"


class Wanted(NamedTuple):
    """A row whose recording is looked for; ``start`` in seconds, None where the table does not say."""

    youtube_id: str
    split: str  # the corpus' own
    start: float | None = None
    name: str = ""  # of the file, where the table has one


class Section(NamedTuple):
    """A clip to be fetched: the video, the second where it begins, and its file from the root."""

    youtube_id: str
    start: float
    path: str


def cut_of(name: str) -> Cut | None:
    """What a file's name, folders and extension aside, tells of the video; None when it holds no id."""
    found = _CUT.fullmatch(_EXTENSION.sub("", name.rpartition("/")[2]))
    return Cut(found["id"], found["prefix"], found["start"] or "", found["end"] or "") if found else None


def is_youtube_id(text: str) -> bool:
    """Whether a text has the form of a video's id: 11 letters, digits, ``-`` and ``_``."""
    return bool(_ID.fullmatch(text))


def names_split(path: str, split: str) -> bool:
    """Whether a folder on a path, which starts at the root, has a name of the corpus' own split."""
    return not _FOLDERS[split].isdisjoint(path.casefold().split("/")[:-1])


def find(wanted: Sequence[Wanted], files: Iterable[str]) -> list[Match]:
    """For each row the file that its recording is in, by the naming habits.

    A file whose name has another time than the row is not the row's. Of several, those in a folder of the row's split
    win, then those of the very name. Several that are left for one row, and one for several rows, are refused.
    """
    cuts = defaultdict(list)
    for file in sorted(files):
        if cut := cut_of(file):
            cuts[cut.youtube_id].append((file, cut))
    found = [_found(row, cuts.get(row.youtube_id, [])) for row in wanted]
    return _without_shared(wanted, found)


def _found(row: Wanted, candidates: list[tuple[str, Cut]]) -> Match:
    if not candidates:
        return Match(None)
    fitting = [(file, cut) for file, cut in candidates if not cut.start or cut.units(row.start)]
    if not fitting:
        names = " and ".join(repr(file) for file, _ in candidates)
        return Match(None, problem=f"begins at {row.start:g} s, and by its name something else is in {names}")
    if len(fitting) > 1:
        fitting = [one for one in fitting if names_split(one[0], row.split)] or fitting
    if len(fitting) > 1 and row.name:
        fitting = [one for one in fitting if one[0].rpartition("/")[2] == row.name] or fitting
    if len(fitting) > 1:
        names = " or ".join(repr(file) for file, _ in fitting)
        return Match(None, problem=f"may be {names}; remove or rename the wrong one")
    file, cut = fitting[0]
    return Match(file, cut.habit(row.start))


def _without_shared(wanted: Sequence[Wanted], found: list[Match]) -> list[Match]:
    """Refuse a file that is several rows', unless it lies in the folder of the split of one of them."""
    takers = defaultdict(list)
    for number, one in enumerate(found):
        if one.path is not None:
            takers[one.path].append(number)
    for path, numbers in takers.items():
        if len(numbers) < 2:
            continue
        own = [number for number in numbers if names_split(path, wanted[number].split)]
        for number in numbers:
            if own != [number]:
                others = [other for other in numbers if other != number]
                problem = "" if len(own) == 1 else f"{path!r} may be it, but as well {_rows(wanted, others)}"
                found[number] = Match(None, problem=problem)
    return found


def _rows(wanted: Sequence[Wanted], numbers: list[int]) -> str:
    return " and ".join(f"{wanted[n].split}/{wanted[n].name or wanted[n].youtube_id}" for n in numbers)


def unavailable(root: Path) -> dict[str, str]:
    """The videos that could not be had when they were fetched, with yt-dlp's reasons."""
    path = root / UNAVAILABLE
    if not path.is_file():
        return {}
    content = read_json(path)
    reasons = content.get("unavailable") if isinstance(content, dict) else None
    if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
        raise EarwitnessError(
            f"{path} does not say which videos cannot be had. Remove it to have them all tried again."
        )
    return reasons


def fetch_sections(root: Path, sections: Sequence[Section], workers: int) -> None:
    """Have yt-dlp cut 10 s out of each video to its file below ``root``, ``workers`` of them at a time.

    A file is there whole or not at all. Videos that are gone or locked are noted in ``unavailable.json``, and not asked
    for again. Raises EarwitnessError when yt-dlp or ffmpeg is missing, and in the end, with every reason, when clips
    could not be had for now; it stops early when YouTube turns requests down or nothing succeeds any more.
    """
    gone = unavailable(root)
    todo = [section for section in sections if section.youtube_id not in gone]
    if not todo:
        return
    _require_programs()
    busy = f"{root} is being fetched by another process; wait for it, or stop it."
    with alone(root / ".fetching.lock", busy), _scratch(root / ".fetching") as scratch:
        failed, stopped = _fetch_all(root, scratch, todo, gone, workers)
    if failed:
        raise EarwitnessError(_failure(todo, failed, stopped, root, gone))


def _require_programs() -> None:
    if missing := [name for name in ("yt-dlp", "ffmpeg") if shutil.which(name) is None]:
        raise EarwitnessError(
            f"{' and '.join(missing)} cannot be found on PATH, and `source: youtube` needs yt-dlp and ffmpeg. Install "
            "them (https://github.com/yt-dlp/yt-dlp, https://ffmpeg.org), or remove `source` and put recordings that "
            "you have into the data set's folder."
        )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same disk, without what a killed process may have left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch_all(
    root: Path, scratch: Path, todo: Sequence[Section], gone: dict[str, str], workers: int
) -> tuple[dict[Section, str], bool]:
    """Fetch what can be had, adding to ``gone``; the reasons of the other clips, and whether it was given up early."""
    downloads = _Downloads(root, scratch)
    failed: dict[Section, str] = {}
    in_a_row = 0
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(todo), desc="Fetching from YouTube", unit="clip", file=sys.stderr) as bar,
    ):
        try:
            waiting = {pool.submit(downloads.fetch, section): section for section in todo}
            for future in as_completed(waiting):
                section, reason = waiting[future], future.result()
                in_a_row = in_a_row + 1 if reason and not _is_gone(reason) else 0
                if in_a_row:
                    failed[section] = reason
                elif reason:
                    gone[section.youtube_id] = reason
                    write_json(root / UNAVAILABLE, {"unavailable": gone, "provenance": provenance("fetch youtube")})
                bar.update()
                if _is_turned_down(reason) or in_a_row == STOP_AFTER:
                    return failed, True
        finally:
            downloads.stop()
            pool.shutdown(cancel_futures=True)
    return failed, False


class _Downloads:
    """yt-dlp at work, as often as ``fetch`` is called at a time, until it is told to stop."""

    def __init__(self, root: Path, scratch: Path):
        self._root, self._scratch = root, scratch
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = Lock()

    def fetch(self, section: Section) -> str:
        """Fetch a section to its place; returns why that failed, nothing when the file is there."""
        path = self._root / section.path
        with (
            disk_full_is_plain(path),
            tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as name,
        ):
            folder = Path(name)
            status, told = self._run(_command(section), folder)
            sound = folder / "sound.wav"
            if status != 0:
                return _reason(told) or f"yt-dlp ended with status {status}"
            if not sound.is_file():
                return f"yt-dlp wrote no file; does the video reach to second {section.start:g}?"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(sound, path)
            return ""

    def _run(self, command: list[str], folder: Path) -> tuple[int, str]:
        """The exit status, and what was written to standard error."""
        with self._lock:
            if self._stopped:
                return -1, "stopped"
            # A session of its own: yt-dlp starts ffmpeg, and both must end together when they are to end.
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        told = process.communicate()[1]
        with self._lock:
            self._running.discard(process)
        return process.returncode, told

    def stop(self) -> None:
        """End what runs, and begin nothing any more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def _command(section: Section) -> list[str]:
    """The call of yt-dlp, in the folder where ``sound.wav`` is to be.

    The user's configuration of yt-dlp holds, as cookies and proxies are set there, but not where it says what is
    fetched and where to. The id stands within an address, as by itself it might begin with ``-``.
    """
    return [
        "yt-dlp",
        *("--no-playlist", "--no-simulate", "--no-download-archive", "--no-progress"),
        *("--format", "bestaudio/best"),
        *("--download-sections", f"*{section.start:.3f}-{section.start + CLIP_SECONDS:.3f}"),
        "--force-keyframes-at-cuts",  # otherwise the cut is where the stream happens to allow one
        *("--extract-audio", "--audio-format", "wav"),
        *("--paths", ".", "--output", "sound.%(ext)s"),
        *("--", f"https://www.youtube.com/watch?v={section.youtube_id}"),
    ]


def _reason(told: str) -> str:
    """yt-dlp's first error in one line, without its label and the video's id; else its last line."""
    if found := re.search(r"^ERROR:(.*)", told, re.MULTILINE | re.DOTALL):
        error = re.split(r"\n(?:ERROR|WARNING):", found[1])[0]
        return re.sub(rf"^(\[[^\]]*\] )?({_ID.pattern}: )?", "", " ".join(error.split()))
    return "".join(told.strip().splitlines()[-1:])


def _is_turned_down(reason: str) -> bool:
    return any(words in reason.lower() for words in _TURNED_DOWN)


def _is_gone(reason: str) -> bool:
    return not _is_turned_down(reason) and any(words in reason.lower() for words in _GONE)


def _failure(
    todo: Sequence[Section], failed: dict[Section, str], stopped: bool, root: Path, gone: dict[str, str]
) -> str:
    left = sum(not (root / section.path).is_file() and section.youtube_id not in gone for section in todo)
    heading = f"{left} of {len(todo)} clips could not be fetched from YouTube for now"
    heading += f"; {left - len(failed)} of them were not tried any more:" if stopped else ":"
    advice = "What was fetched is kept. Run the same command again to have the others."
    if any(map(_is_turned_down, failed.values())):
        advice += (
            " YouTube turns down requests that come too often: wait an hour, lower `workers`, or let yt-dlp use your "
            "browser's cookies (--cookies-from-browser in its own configuration file)."
        )
    return listed(heading, [f"{section.youtube_id}: {reason}" for section, reason in failed.items()], advice)
