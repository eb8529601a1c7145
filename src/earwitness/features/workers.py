"""The shards of an extraction, made in parallel: by processes of one thread each, or by a single one on a GPU.

With one thread each the features do not depend on the number of cores, and two processes of one thread are as fast as
one of two. Recordings are decoded and resampled while the network runs; a GPU has one decoding thread for each core.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from earwitness import registry
from earwitness.audio.decode import load
from earwitness.errors import CorpusError, EarwitnessError, listed
from earwitness.extractors.interface import Extractor
from earwitness.features.store import write
from earwitness.files import remove_torn, sha256
from earwitness.options import FeatureOptions

AHEAD = 8  # recordings that each decoder reads before the network asks for them
USUAL_SECONDS = 120  # clips up to this length fit in `memory_mb` of an extractor
SECOND_MB = 5  # upper bound of what each further second of the longest clip takes
POLL = 0.2  # seconds between two looks at the progress of the processes

Progress = Callable[[int, float], None]  # called with the clips done since the last call, and their seconds of sound


@dataclass(frozen=True)
class Shard:
    """Consecutive clips that one worker turns into one file."""

    path: Path
    clip_ids: tuple[str, ...]
    root: Path
    audio: tuple[str, ...]  # from the root
    digests: tuple[str, ...]  # of the audio, as the corpus was read
    seconds: tuple[float, ...]
    options: FeatureOptions
    provenance: dict[str, Any]


def extractor_of(options: FeatureOptions) -> Extractor:
    """The extractor of a feature entry of the configuration."""
    return registry.load(registry.EXTRACTORS[options.extractor].implementation)(options)


def storage_of(options: FeatureOptions) -> str:
    """The type in which features are stored."""
    return getattr(options, "storage", "float32")


def processes_for(extractor: Extractor, cores: int, memory_mb: float, shards: Sequence[Shard]) -> int:
    """How many processes make the shards: one per core as far as memory allows; a single one on a GPU."""
    if extractor.on_gpu:
        return 1
    longest = max(max(shard.seconds) for shard in shards)
    needed = extractor.memory_mb + SECOND_MB * max(0, longest - USUAL_SECONDS)
    return max(1, min(cores, int(memory_mb // needed), len(shards)))


def make(
    shards: Sequence[Shard], extractor: Extractor, cores: int, memory_mb: float | None, progress: Progress
) -> None:
    """Write every shard's file; a failure or Ctrl-C leaves complete files only.

    Raises EarwitnessError when a recording changed or cannot be decoded, or a process was killed.
    """
    free_mb = psutil.virtual_memory().available / (1 << 20)
    processes = processes_for(extractor, cores, min(free_mb, memory_mb or free_mb), shards)
    if processes == 1:
        make_here(shards, extractor, cores if extractor.on_gpu else 1, progress)
        return
    try:
        for _ in in_processes(shards, processes, progress):
            pass
    finally:
        remove_torn(shards[0].path.parent)


def in_processes(shards: Iterable[Shard], processes: int, progress: Progress) -> Iterator[Shard]:
    """Write the files of shards, also of several features, in processes; each shard is yielded when its file is there.

    Few shards are taken ahead of those that are done. Processes end, and may leave torn files, when the caller closes
    the generator, and after errors as of ``make``.
    """
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    others = set(multiprocessing.active_children())
    started: set[multiprocessing.process.BaseProcess] = set()
    pool = ProcessPoolExecutor(processes, context, _start, (reports,))
    try:
        for done in _finished(pool, shards, processes):
            started |= set(multiprocessing.active_children()) - others
            while not reports.empty():
                progress(*reports.get())
            _raise_first(pool, done, started)
            yield from (future.result() for future in done)
    except BaseException:
        for process in started | set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(pool: ProcessPoolExecutor, shards: Iterable[Shard], processes: int) -> Iterator[set[Future]]:
    """Submit the shards, a few more at a time than there are processes; yields what is done, at least every POLL s."""
    coming, running = iter(shards), set[Future]()
    while True:
        running |= {pool.submit(_make_one, shard) for shard in islice(coming, 2 * processes - len(running))}
        if not running:
            return
        done, running = wait(running, POLL, FIRST_COMPLETED)
        yield done


def _raise_first(
    pool: ProcessPoolExecutor, done: set[Future], processes: set[multiprocessing.process.BaseProcess]
) -> None:
    """Raise the error of a process; a cause goes before its consequence, which is a broken pool for all others."""
    errors = [error for future in done if (error := future.exception()) is not None]
    if causes := [error for error in errors if not isinstance(error, BrokenProcessPool)]:
        raise causes[0]
    if errors:
        pool.shutdown()  # until its thread has reaped the processes, their exit codes may be unknown
    if errors and any(process.exitcode == -signal.SIGINT for process in processes):
        raise KeyboardInterrupt  # Ctrl-C may end the others before it reaches this process
    if errors:
        raise EarwitnessError(
            "A process of the extraction was killed; most likely memory ran out. Give it more (`mem_mb`), or fewer "
            "cores, and run the same command again: it goes on with the missing clips."
        ) from errors[0]


# --- in a process of the pool -----------------------------------------------------------------------------------------

_state: dict[str, Any] = {}  # progress function and extractors, by their options, of this process


def _start(reports: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent reports Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _state["extractors"] = {}
    _state["progress"] = lambda clips, seconds: reports.put((clips, seconds))


def _end_with_parent() -> None:
    """Exit when the parent is killed; a process that waits for work would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # only called in a worker
    parent.join()
    os._exit(1)


def _make_one(shard: Shard) -> Shard:
    key, extractors = shard.options.model_dump_json(), _state["extractors"]
    if key not in extractors:
        extractors[key] = extractor_of(shard.options)
    make_here([shard], extractors[key], 1, _state["progress"])
    return shard


# --- one shard after another ------------------------------------------------------------------------------------------


def make_here(shards: Sequence[Shard], extractor: Extractor, decoders: int, progress: Progress) -> None:
    """Write shards in this process; while the network has a batch, the following recordings are decoded."""
    import torch

    plans = [batches(shard.seconds, extractor.batch_seconds) for shard in shards]
    jobs = [(shard, numbers) for shard, plan in zip(shards, plans, strict=True) for numbers in plan]
    with (
        ThreadPoolExecutor(decoders) as decoder,
        ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as network,
        ExitStack() as closing,  # after a failure, calls that were submitted are cancelled
    ):
        wanted = ((_recording, shard, number, extractor.sample_rate) for shard, numbers in jobs for number in numbers)
        waveforms = _ahead(decoder, wanted, AHEAD * decoders)
        closing.callback(waveforms.close)
        decoded = ((_together, extractor, {number: next(waveforms) for number in numbers}) for _, numbers in jobs)
        done = _ahead(network, decoded, 1)
        closing.callback(done.close)
        for shard, plan in zip(shards, plans, strict=True):
            frames = zip(shard.clip_ids, _in_order(shard, plan, done, progress), strict=True)
            padding: dict[str, Any] = {"fill": extractor.fill, "frames_per_clip": extractor.frames_per_clip}
            made, dtype = shard.provenance, storage_of(shard.options)
            write(shard.path, frames, extractor.dimension, made, **padding, dtype=dtype)


def _ahead(pool: ThreadPoolExecutor, calls: Iterable[tuple], ahead: int) -> Generator[Any, None, None]:
    """The results of the calls (a function and its arguments), in order; ``ahead`` further ones run meanwhile."""
    coming: deque[Future] = deque()
    try:
        for function, *arguments in calls:
            coming.append(pool.submit(function, *arguments))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for future in coming:
            future.cancel()


def batches(seconds: Sequence[float], most: float) -> list[list[int]]:
    """Indices of the clips that run together: those of one length, since padding would change a clip's frames.

    A batch of several clips has at most ``most`` seconds; batches are in the order of their first clips.
    """
    batches: list[list[int]] = []
    open_ones: dict[float, list[int]] = {}
    for place, length in enumerate(seconds):
        if length not in open_ones:
            open_ones[length] = []
            batches.append(open_ones[length])
        open_ones[length].append(place)
        if (len(open_ones[length]) + 1) * length > most:
            del open_ones[length]
    return batches


def _recording(shard: Shard, number: int, rate: int) -> np.ndarray:
    """One recording at ``rate``; CorpusError names all of the shard that changed since the corpus was read."""
    if _changed(shard, number):
        changed = [str(shard.root / path) for other, path in enumerate(shard.audio) if _changed(shard, other)]
        advice = "Run again: the corpus is read anew when recordings change."
        raise CorpusError(listed("Recordings that changed or went away after the corpus was read:", changed, advice))
    return load(shard.root / shard.audio[number], rate)


def _changed(shard: Shard, number: int) -> bool:
    path = shard.root / shard.audio[number]
    return not path.is_file() or sha256(path) != shard.digests[number]


def _in_order(
    shard: Shard, plan: list[list[int]], done: Iterator[dict[int, np.ndarray]], progress: Progress
) -> Iterator[np.ndarray]:
    """The frames of each clip in the shard's order, float32 [frames, dimension], from its batches as they are done."""
    found: dict[int, np.ndarray] = {}
    following = 0
    for numbers in plan:
        found |= next(done)
        progress(len(numbers), sum(shard.seconds[number] for number in numbers))
        while following in found:
            yield found.pop(following)
            following += 1


def _together(extractor: Extractor, waveforms: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Frames of clips of one duration; those whose length differs after resampling run apart."""
    found: dict[int, np.ndarray] = {}
    for length in {len(waveform) for waveform in waveforms.values()}:
        alike = [number for number, waveform in waveforms.items() if len(waveform) == length]
        frames = extractor.frames(np.stack([waveforms[number] for number in alike]))
        if frames.ndim != 3 or len(frames) != len(alike) or frames.shape[2] != extractor.dimension:
            expected = f"[{len(alike)} clips, frames, {extractor.dimension}]"
            raise EarwitnessError(f"{type(extractor).__name__}.frames gave {list(frames.shape)}; {expected} is needed.")
        found |= dict(zip(alike, frames, strict=True))
    return found
