"""Extraction of the six features, against a baseline: one clip at a time, librosa, float32, one call a clip.

speed      both sides as complete extractions, each in a fresh process: start-up, weights, decoding, network, files.
           Sides alternate, figures are medians of the repetitions, and the frames of both sides are compared. `ratio`
           compares the speeds in steady state, `whole` the complete extractions. With a GPU both sides use it, and the
           table shows how long it waits for data.
precision  bfloat16 against float32: the error of the frames relative to the spread between clips.
memory     peak memory of our side, in one process, with few and with many clips.

Recordings are synthetic: tones, noise and silence, 10 s long, 44.1 kHz, 16 bits, mono (`--seconds 15 30` draws lengths,
as in Clotho). Weights are random (`weights: untrained`), which does not change the time.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import soundfile
import yaml
from common import from_command_line, machine

from earwitness.corpora.tables import CLIPS, write_table
from earwitness.files import sha256
from earwitness.registry import EXTRACTORS, load

RATE = 44100
RECORDINGS = 100  # different ones; more clips are the same ones under other names
PRECISIONS = ("float32", "bfloat16")
SHIPPED = yaml.safe_load((Path(__file__).parents[1] / "config/config.yaml").read_text(encoding="utf-8"))["features"]
ENTRIES: dict[str, dict[str, Any]] = {
    name: entry
    | ({"weights": "untrained"} if "weights" in load(EXTRACTORS[entry["extractor"]].options).model_fields else {})
    for name, entry in SHIPPED.items()
    if name != "logmel-cl4ac"
}
TIMES = {"lms": 10}  # how many times more clips a quick extractor gets
MEMORY_LIMIT = 1.1
PARTS = ("speed", "precision", "memory")


@dataclass
class Row:
    """One extractor in one precision: what the repetitions gave."""

    feature: str
    precision: str
    clips: int
    usual_seconds: list[float] = field(default_factory=list)  # of a whole extraction
    ours_seconds: list[float] = field(default_factory=list)
    usual_speed: list[float] = field(default_factory=list)  # seconds of sound a second, once it runs
    ours_speed: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)  # share of the time that a GPU waits

    @property
    def ratio(self) -> float:
        """How many times faster ours is, once both run."""
        return statistics.median(self.ours_speed) / statistics.median(self.usual_speed)

    @property
    def turns(self) -> tuple[float, float]:
        """The least and the largest ratio of single turns."""
        ratios = [ours / usual for usual, ours in zip(self.usual_speed, self.ours_speed, strict=True)]
        return min(ratios), max(ratios)

    @property
    def whole(self) -> float:
        """How many times faster ours is with start-up and weights."""
        return statistics.median(self.usual_seconds) / statistics.median(self.ours_seconds)

    def add(self, usual: dict[str, float], ours: dict[str, float]) -> None:
        """Take a turn's figures in."""
        self.usual_seconds.append(usual["seconds"])
        self.ours_seconds.append(ours["seconds"])
        self.usual_speed.append(usual["speed"])
        self.ours_speed.append(ours["speed"])
        self.waiting += [ours["waiting"]] if ours["waiting"] is not None else []

    def summary(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return asdict(self) | {"ratio": self.ratio, "turns": self.turns, "whole": self.whole}

    def __str__(self) -> str:
        least, most = self.turns
        waits = f"{statistics.median(self.waiting):.0%}" if self.waiting else "-"
        return (
            f"{self.feature:<17}{self.precision:<10}{self.clips:>6} clips"
            f"{statistics.median(self.usual_speed):>8.0f}{statistics.median(self.ours_speed):>10.0f}"
            f"{self.ratio:>7.2f}  {f'({least:.2f} to {most:.2f})':<16}{self.whole:>6.2f}{waits:>11}"
        )


# --- recordings -------------------------------------------------------------------------------------------------------


def sound(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A chirp, noise and a silence at a level of their own: float32 [samples]."""
    time_ = np.arange(round(seconds * RATE)) / RATE
    start, end = rng.uniform(60, 6000, 2)
    chirp = np.sin(2 * np.pi * (start + (end - start) * time_ / (2 * seconds)) * time_)
    samples = rng.uniform(0.05, 0.5) * chirp + rng.uniform(0.001, 0.1) * rng.standard_normal(len(time_))
    silent = rng.integers(0, len(time_) // 2)
    samples[silent : silent + len(time_) // 8] = 0
    return samples.astype(np.float32)


def make_recordings(folder: Path, count: int, seconds: tuple[float, float]) -> list[tuple[str, float, str]]:
    """Recordings in ``folder``: name, seconds and digest of each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        # Whole hundredths of a second: of other lengths librosa makes one sample more.
        samples = sound(rng, round(rng.uniform(*seconds), 2))
        path = folder / f"{number:03d}.wav"
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        made.append((path.name, len(samples) / RATE, sha256(path)))
    return made


def make_table(path: Path, recordings: list[tuple[str, float, str]], clips: int) -> list[tuple[str, float]]:
    """A corpus' table of so many clips, all to be extracted; file and seconds of each."""
    chosen = [recordings[number % len(recordings)] for number in range(clips)]
    rows = [
        [f"evaluation/{number}", "evaluation", name, "name", seconds, RATE, 1, known]
        for number, (name, seconds, known) in enumerate(chosen)
    ]
    write_table(path, pd.DataFrame(rows, columns=CLIPS))
    return [(name, seconds) for name, seconds, _ in chosen]


# --- both sides, each in a fresh process ---------------------------------------------------------------------------


def options_of(feature: str, precision: str) -> Any:
    """The entry of a feature."""
    from earwitness.config import validated

    low = {"precision": precision} if precision != "float32" else {}
    return validated("features", ENTRIES[feature] | low)


def usual(folder: Path, feature: str, recordings: list[tuple[str, float]], cores: int) -> dict[str, float]:
    """Extract as the baseline does; seconds in total, and times real time in steady state."""
    began = time.perf_counter()
    import torch
    import usual as baseline

    from earwitness.features.workers import extractor_of

    torch.set_num_threads(cores)
    options = options_of(feature, "float32")
    audio = [folder / "audio" / name for name, _ in recordings]
    running = baseline.extract(options, extractor_of(options), audio, folder / "usual.h5")
    speed = sum(seconds for _, seconds in recordings[1:]) / running
    return {"seconds": time.perf_counter() - began, "speed": speed}


def ours(folder: Path, feature: str, precision: str, cores: int) -> dict[str, float]:
    """Extract as the DAG does; seconds in total, times real time in steady state, and the share a GPU waits."""
    began = time.perf_counter()
    from earwitness.features import stage, workers

    reports: list[tuple[float, int, float]] = []  # time, clips, seconds of sound
    busy: list[tuple[float, float]] = []  # calls on the GPU: start and duration
    make = workers.make

    def recorded(shards, extractor, cores, memory_mb, progress):
        def report(clips: int, seconds: float) -> None:
            reports.append((time.perf_counter(), clips, seconds))
            progress(clips, seconds)

        if extractor.on_gpu:
            extractor.frames = timed(extractor.frames, busy)
        make(shards, extractor, cores, memory_mb, report)

    with patch.object(stage, "make", recorded), redirect_stderr(io.StringIO()):
        out = folder / "ours.h5"
        stage.extract(options_of(feature, precision), folder / "clips.csv", "evaluation", folder / "audio", out, cores)
    seconds = time.perf_counter() - began
    # Recordings decoded while the weights were loaded would flatter us: the clock starts when they are used up.
    ahead = workers.AHEAD * cores + 1
    done = np.cumsum([clips for _, clips, _ in reports])
    start = int(np.searchsorted(done, ahead))
    if start >= len(reports) - 1:
        needed = f"on {cores} cores the first {ahead} are decoded before the clock starts"
        raise SystemExit(f"{done[-1]} clips are too few: {needed}")
    running = began + seconds - reports[start][0]
    sound = sum(sound for _, _, sound in reports[start + 1 :])
    used = sum(lasting for moment, lasting in busy if moment > reports[start][0])
    waiting = max(0.0, 1 - used / running) if busy else None
    return {"seconds": seconds, "speed": sound / running, "waiting": waiting}


def timed(function: Any, calls: list[tuple[float, float]]) -> Any:
    """The same function, which appends start and duration of each call to ``calls``."""

    def called(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            calls.append((began, time.perf_counter() - began))

    return called


def differences(folder: Path) -> float:
    """The largest difference between both sides' frames, in units of the largest value."""
    import h5py

    from earwitness.features.store import FeatureStore

    worst = 0.0
    with FeatureStore(folder / "ours.h5") as store, h5py.File(folder / "usual.h5") as file:
        for number, clip_id in enumerate(store.clip_ids):
            theirs, own = file[str(number)][:], store[clip_id]
            worst = max(worst, float(np.abs(theirs - own).max() / np.abs(theirs).max()))
    return worst


def agreement(folder: Path, feature: str, names: list[str]) -> dict[str, float]:
    """How far bfloat16 is from float32, in one process."""
    import torch

    from earwitness.audio.decode import load
    from earwitness.features.workers import extractor_of

    torch.set_num_threads(1)
    frames = {}
    for precision in PRECISIONS:
        extractor = extractor_of(options_of(feature, precision))
        clips = [load(folder / "audio" / name, extractor.sample_rate)[None] for name in names]
        shortest = min(clip.shape[1] for clip in clips)
        frames[precision] = np.concatenate([extractor.frames(clip[:, :shortest]) for clip in clips])
    exact, low = frames["float32"].astype(np.float64), frames["bfloat16"].astype(np.float64)
    spread = np.sqrt(np.mean((exact - exact.mean(axis=0)) ** 2))
    cosines = (exact * low).sum(axis=2) / (np.linalg.norm(exact, axis=2) * np.linalg.norm(low, axis=2) + 1e-12)
    return {
        "error_to_spread": float(np.sqrt(np.mean((exact - low) ** 2)) / spread),
        "largest": float(np.abs(exact - low).max() / np.abs(exact).max()),
        "cosine": float(cosines.mean()),
    }


def peak(folder: Path, feature: str) -> tuple[float, float]:
    """Peak memory of an extraction in this process alone, in MB, and how many kB a clip's frames are."""
    from earwitness.features.stage import extract
    from earwitness.features.store import FeatureStore

    out = folder / "ours.h5"
    with redirect_stderr(io.StringIO()):
        extract(options_of(feature, "float32"), folder / "clips.csv", "evaluation", folder / "audio", out, 1)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    with FeatureStore(out) as store:
        frames = store.total * store.dimension * 4 / len(store) / 1024
    return int(status["VmHWM"].split()[0]) / 1024, frames


def apart(function: Any, *arguments: Any) -> Any:
    """What a function gives in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# --- measuring --------------------------------------------------------------------------------------------------------


def speed(
    folder: Path, recordings: list, features: list[str], clips: int, repetitions: int, cores: int, limit: float
) -> list[Row]:
    """Both sides of each extractor in turns; stops where they differ by more than ``limit``."""
    print("times real time                           usual      ours  ratio  (turns)          whole  GPU waits")
    rows = []
    for feature in features:
        count = clips * TIMES.get(feature, 1)
        chosen = make_table(folder / "clips.csv", recordings, count)
        precisions = PRECISIONS[: 1 if feature == "lms" else 2]
        found = {precision: Row(feature, precision, count) for precision in precisions}
        for turn in range(repetitions):
            print(f"{feature}, turn {turn + 1} of {repetitions} ...", file=sys.stderr, flush=True)
            theirs = apart(usual, folder, feature, chosen, cores)
            for precision, row in found.items():
                measured = apart(ours, folder, feature, precision, cores)
                if precision == "float32" and (worst := differences(folder)) > limit:
                    raise AssertionError(f"{feature}: both sides differ by {worst:.1e} of the largest value")
                row.add(theirs, measured)
        print(*found.values(), sep="\n", flush=True)
        rows += found.values()
    return rows


def precision_table(found: dict[str, dict[str, float]]) -> str:
    """The results for people."""
    lines = [f"{'bfloat16':<17}{'error / spread':>15}{'largest':>10}{'cosine':>10}"]
    lines += [
        f"{feature:<17}{row['error_to_spread']:>15.3f}{row['largest']:>10.3f}{row['cosine']:>10.4f}"
        for feature, row in found.items()
    ]
    lines.append("error / spread: root mean square error beside that of clips from their mean, frame by frame.")
    return "\n".join(lines)


def memory_table(found: dict[str, dict[str, float]], few: int, many: int) -> str:
    """The results for people."""
    heading = f"{'peak memory, MB':<17}{few:>6} clips{many:>6} clips{'ratio':>7}"
    lines = [f"{heading}{'kB a clip more':>16}{'kB of its frames':>18}"]
    for feature, row in found.items():
        ratio = row["many"] / row["few"]
        growth = (row["many"] - row["few"]) * 1024 / (many - few)
        remark = "" if ratio < MEMORY_LIMIT and growth < row["frames_kb"] else "  grows"
        figures = f"{row['few']:>12.0f}{row['many']:>12.0f}{ratio:>7.2f}{growth:>16.1f}{row['frames_kb']:>18.1f}"
        lines.append(f"{feature:<17}{figures}{remark}")
    return "\n".join(lines)


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Run the parts that were asked for, and print their tables."""
    content: dict[str, Any] = {"machine": machine(chosen.cores)}
    print(f"machine: {content['machine']}")
    with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
        folder = Path(place)
        lengths = (chosen.seconds[0], chosen.seconds[-1])
        recordings = make_recordings(folder / "audio", min(RECORDINGS, chosen.clips), lengths)
        if "speed" in chosen.parts:
            rows = speed(
                folder, recordings, chosen.features, chosen.clips, chosen.repetitions, chosen.cores, chosen.limit
            )
            content["speed"] = [row.summary() for row in rows]
        if "precision" in chosen.parts:
            names = [name for name, _, _ in recordings[:16]]
            networks = [feature for feature in chosen.features if feature != "lms"]
            content["precision"] = {feature: apart(agreement, folder, feature, names) for feature in networks}
            print(precision_table(content["precision"]), flush=True)
        if "memory" in chosen.parts:
            content["memory"] = memory(folder, chosen.features, *chosen.memory)
            print(memory_table(content["memory"], *chosen.memory), flush=True)
    return content


def memory(folder: Path, features: list[str], few: int, many: int) -> dict[str, dict[str, float]]:
    """Peak memory of each extractor with few and with many clips of 2 s, more than one shard's each."""
    root = folder / "memory"
    root.mkdir()
    recordings = make_recordings(root / "audio", 16, (2.0, 2.0))
    found = {}
    for feature in features:
        print(f"{feature}, memory ...", file=sys.stderr, flush=True)
        peaks = []
        for clips in (few, many):
            make_table(root / "clips.csv", recordings, clips)
            peaks.append(apart(peak, root, feature))
        found[feature] = {"few": peaks[0][0], "many": peaks[1][0], "frames_kb": peaks[1][1]}
    return found


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--features", nargs="+", choices=list(ENTRIES), default=list(ENTRIES))
    parser.add_argument("--clips", type=int, default=100, help="of an extraction; ten times as many of lms")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0], help="length of clips, or range of lengths")
    parser.add_argument(
        "--memory", type=int, nargs=2, default=[1024, 3072], help="clips of the two memory measurements"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=float, default=1e-3, help="how far both sides' frames may differ (TF32: 0.1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args(given)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        from_command_line(arguments, measure)
