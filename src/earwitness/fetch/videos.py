"""Fetches clips of YouTube videos with the user's yt-dlp, for the corpora whose audio nobody may publish.

Videos that are unavailable are noted beside the recordings with yt-dlp's reason, and not asked for again.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock, current_thread, main_thread
from typing import Any, NamedTuple

from tqdm import tqdm

from earwitness.errors import EarwitnessError, listed, report_full_disk
from earwitness.files import provenance, read_json, write_json
from earwitness.lock import hold

ID = re.compile(r"[A-Za-z0-9_-]{11}")  # of a video
CLIP_SECONDS = 10  # of AudioCaps and AudioGrounding
UNAVAILABLE = "unavailable.json"  # in the root: the unavailable videos, and why
STOP_AFTER = 10  # failures with no success in between: the network is down, the disk full, or yt-dlp out of date
GIVEN_UP_AFTER = 3  # runs in which a video failed
STALLED_AFTER = 600  # seconds of one download, which are seconds of sound
GRACE = 5  # seconds that a program has to end when it is asked to

# What yt-dlp says of requests that YouTube turns down, and of videos that are gone or locked. The former come first, as
# such a message may hold the words of the latter ("Video unavailable. This content isn't available, try again later").
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
# Most often the fault of one video, but said of every video when yt-dlp is out of date or set up to write nothing.
_NO_FILE = "yt-dlp wrote no file"
_DOUBTFUL = (
    _NO_FILE,
    "requested format is not available",
    "no video formats found",
    "recording is not available",
    "drm protected",
    "requires payment",
)
# Never the fault of a video, however often it is said.
_MACHINE = (
    "name resolution",
    "name or service not known",
    "nodename nor servname",
    "failed to resolve",
    "network is unreachable",
    "no route to host",
    "connection refused",
    "unable to connect to proxy",
    "no space left on device",
)


class Section(NamedTuple):
    """A clip to be fetched: the video, the second where it begins, and its file from the root."""

    youtube_id: str
    start: float
    path: str


def unavailable(root: Path) -> dict[str, str]:
    """The videos that were unavailable when they were fetched, with yt-dlp's reasons."""
    return _Notes(root / UNAVAILABLE).gone


class _Notes:
    """The content of ``unavailable.json``: unavailable videos, and in how many runs others failed."""

    def __init__(self, path: Path):
        self.path = path
        self.gone: dict[str, str] = {}
        self.failed: dict[str, dict[str, Any]] = {}  # by video: "runs" and the last "reason"
        if path.is_file():
            try:
                content = read_json(path)
                gone, failed = content["unavailable"], content.get("failed", {})
                valid = all(isinstance(reason, str) for reason in gone.values())
                if not valid or not all(isinstance(one["runs"], int) for one in failed.values()):
                    raise TypeError
            except (TypeError, KeyError, AttributeError) as error:
                raise EarwitnessError(
                    f"{path} does not list unavailable videos. Remove it to have all videos tried again."
                ) from error
            self.gone, self.failed = gone, failed

    def give_up(self, youtube_id: str, reason: str) -> None:
        """Note that a video is unavailable."""
        self.gone[youtube_id] = reason
        self.failed.pop(youtube_id, None)
        self._write()

    def count(self, youtube_id: str, reason: str) -> None:
        """Note that a video failed in one more run, and give it up after too many."""
        runs = self.failed.get(youtube_id, {}).get("runs", 0) + 1
        if runs >= GIVEN_UP_AFTER:
            self.give_up(youtube_id, f"{reason} (given up after {runs} runs)")
        else:
            self.failed[youtube_id] = {"runs": runs, "reason": reason}
            self._write()

    def forget(self, youtube_id: str) -> None:
        """Take back the failures of a video that was fetched in the end."""
        if self.failed.pop(youtube_id, None):
            self._write()

    def _write(self) -> None:
        content = {"unavailable": self.gone, "failed": self.failed}
        write_json(self.path, {**content, "provenance": provenance("fetch youtube")})


def fetch_sections(root: Path, sections: Sequence[Section], workers: int) -> None:
    """Have yt-dlp cut 10 s out of each video to its file below ``root``, ``workers`` of them at a time.

    A file is there whole or not at all. Videos that are gone or locked, or that failed in ``GIVEN_UP_AFTER`` runs, are
    noted in ``unavailable.json``, and not asked for again. Raises EarwitnessError when yt-dlp or ffmpeg is missing, and
    in the end, with every reason, when clips could not be fetched for now; it stops early when YouTube turns requests
    down or nothing succeeds any more. SIGTERM ends what runs, and then the process.
    """
    notes = _Notes(root / UNAVAILABLE)
    # Those that failed before come last: when nothing succeeds any more, they are not the cause.
    todo = sorted(
        (one for one in sections if one.youtube_id not in notes.gone), key=lambda s: s.youtube_id in notes.failed
    )
    if not todo:
        return
    if missing := [name for name in ("yt-dlp", "ffmpeg") if shutil.which(name) is None]:
        raise EarwitnessError(
            f"{' and '.join(missing)} cannot be found on PATH, and `source: youtube` needs yt-dlp and ffmpeg. Install "
            "them (https://github.com/yt-dlp/yt-dlp, https://ffmpeg.org), or remove `source` and put recordings that "
            "you have into the data set's folder."
        )
    busy = f"{root} is being fetched by another process; wait for it, or stop it."
    run, scratch = _Run(notes), root / ".fetching"
    with _sigterm_unwinds(), hold(root / ".fetching.lock", busy):
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed process may have left
        scratch.mkdir()
        try:
            _fetch_all(_Downloads(root, scratch), todo, run, workers)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if run.failed:
        raise EarwitnessError(_failure(root, todo, run, notes))


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM, with which clusters end jobs, unwind the main thread as Ctrl-C does.

    By default it would end this process on the spot, and leave behind programs that run in sessions of their own.
    """
    if current_thread() is not main_thread():
        yield
        return

    def leave(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


class _Run:
    """What becomes of the clips in one run; what the next one has to know goes to the notes."""

    def __init__(self, notes: _Notes):
        self.failed: dict[Section, str] = {}  # those to be tried again, and why they failed
        self.stopped = False
        self._notes = notes
        self._before, self._counted = set(notes.failed), set[str]()
        self._doubtful: dict[Section, str] = {}
        self._in_a_row = 0

    def add(self, section: Section, reason: str) -> None:
        """Note that a clip is there, without a reason, or why it is not."""
        if not reason:
            self._in_a_row = 0
            self._notes.forget(section.youtube_id)
            self.settle()
        elif _says(reason, _TURNED_DOWN):
            self.failed[section] = reason
            self.stopped = True
        elif _says(reason, _GONE):
            self._notes.give_up(section.youtube_id, reason)
        else:
            machine = _says(reason, _MACHINE)
            self.failed[section] = reason
            if _says(reason, _DOUBTFUL):
                self._doubtful[section] = reason
            elif not machine:
                self._count(section, reason)
            self._in_a_row += machine or section.youtube_id not in self._before
            if self._in_a_row == STOP_AFTER:
                self.stopped = True
                for doubtful, why in self._doubtful.items():
                    self._count(doubtful, why)

    def _count(self, section: Section, reason: str) -> None:
        if section.youtube_id not in self._counted:
            self._counted.add(section.youtube_id)
            self._notes.count(section.youtube_id, reason)
        if section.youtube_id in self._notes.gone:
            del self.failed[section]

    def settle(self) -> None:
        """Blame doubtful failures on the videos: a clip was fetched, or all were tried and few failed."""
        for section, reason in self._doubtful.items():
            self._notes.give_up(section.youtube_id, reason)
            del self.failed[section]
        self._doubtful.clear()


def _fetch_all(downloads: _Downloads, todo: Sequence[Section], run: _Run, workers: int) -> None:
    adding = Lock()

    def fetch(section: Section) -> None:
        reason = downloads.fetch(section)
        with adding:  # in this thread, so that it starts no other clip once the run is stopped
            if not downloads.stopped:
                run.add(section, reason)
                downloads.stopped = run.stopped

    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(todo), desc="Fetching from YouTube", unit="clip", file=sys.stderr) as bar,
    ):
        try:
            for future in as_completed([pool.submit(fetch, section) for section in todo]):
                future.result()
                bar.update()
                if run.stopped:
                    return
            run.settle()
        finally:
            downloads.stop()
            pool.shutdown(cancel_futures=True)


class _Downloads:
    """Runs yt-dlp, as often as ``fetch`` is called at a time, until it is stopped."""

    def __init__(self, root: Path, scratch: Path):
        self._root, self._scratch = root, scratch
        self._running: set[subprocess.Popen[str]] = set()
        self.stopped = False
        self._lock = Condition()

    def fetch(self, section: Section) -> str:
        """Fetch a section to its place; returns why that failed, nothing when the file is there."""
        path = self._root / section.path
        with (
            report_full_disk(path),
            tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as name,
        ):
            folder = Path(name)
            status, output = self._run(_command(section), folder)
            sound = folder / "sound.wav"
            if status != 0:
                return _reason(output) or f"yt-dlp ended with status {status}"
            if not sound.is_file():
                return f"{_NO_FILE}; is the video long enough to have second {section.start:g}?"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(sound, path)
            return ""

    def _run(self, command: list[str], folder: Path) -> tuple[int, str]:
        """The exit status, and what was written to standard error; a program that takes too long is ended."""
        with self._lock:
            if self.stopped:
                return -1, "stopped"
            # A session of its own: yt-dlp starts ffmpeg, and both must end together.
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
        output = f"ERROR: it was not done after {STALLED_AFTER:g} s and was ended"
        try:
            for seconds, number in ((STALLED_AFTER, signal.SIGTERM), (GRACE, signal.SIGKILL)):
                try:
                    written = process.communicate(timeout=seconds)[1]
                    return process.returncode, written if seconds == STALLED_AFTER else output
                except subprocess.TimeoutExpired:
                    _signal_group(process, number)
            process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
                self._lock.notify_all()
        return process.returncode, output

    def stop(self) -> None:
        """End what runs, and start nothing any more."""
        with self._lock:
            self.stopped = True
            for number in (signal.SIGTERM, signal.SIGKILL):
                for process in self._running:
                    _signal_group(process, number)
                self._lock.wait_for(lambda: not self._running, GRACE)


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


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


def _reason(output: str) -> str:
    """yt-dlp's first error in one line, without its label and the video's id; else its last line."""
    if found := re.search(r"^ERROR:(.*)", output, re.MULTILINE | re.DOTALL):
        error = re.split(r"\n(?:ERROR|WARNING):", found[1])[0]
        return re.sub(rf"^(\[[^\]]*\] )?({ID.pattern}: )?", "", " ".join(error.split()))
    return "".join(output.strip().splitlines()[-1:])


def _says(reason: str, any_of: Sequence[str]) -> bool:
    return any(words.casefold() in reason.casefold() for words in any_of)


def _failure(root: Path, todo: Sequence[Section], run: _Run, notes: _Notes) -> str:
    left = sum(not (root / section.path).is_file() and section.youtube_id not in notes.gone for section in todo)
    heading = f"{left} of {len(todo)} clips could not be fetched from YouTube for now"
    heading += f"; {left - len(run.failed)} of them were not tried:" if run.stopped else ":"
    advice = (
        "What was fetched is kept. Run the same command again to fetch the others; a video that failed in "
        f"{GIVEN_UP_AFTER} runs is given up. To do without a video at once, put its id, with a reason, under "
        f"`unavailable` in {notes.path}."
    )
    if any(_says(reason, _TURNED_DOWN) for reason in run.failed.values()):
        advice += (
            " YouTube turns down requests that come too often: wait an hour, lower `workers`, or let yt-dlp use your "
            "browser's cookies (--cookies-from-browser in its configuration file)."
        )
    elif run.stopped:
        advice += " As nothing succeeded any more: is the network down, the disk full, or yt-dlp out of date?"
    return listed(heading, [f"{section.youtube_id}: {reason}" for section, reason in run.failed.items()], advice)
