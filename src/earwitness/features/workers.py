"""The shards of an extraction, made side by side: by processes of one thread each, or by the one that has the GPU.

One thread each makes the numbers independent of how many cores there are, and two processes of one thread are as fast
as one of two. Beside each network its recordings are decoded and resampled; a GPU has a decoder for each core.
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
from glob import escape
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
from earwitness.files import sha256
from earwitness.options import FeatureOptions

AHEAD = 8  # recordings that each decoder brings before the network wants them
USUAL_SECONDS = 120  # up to here `memory_mb` of an extractor suffices
SECOND_MB = 5  # what each second more of the longest clip takes at most
POLL = 0.2  # seconds between two looks at how far the processes are

Heard = Callable[[int, float], None]  # told how many clips more are done, and how many seconds of sound they are


@dataclass(frozen=True)
class Shard:
    """A run of clips that one worker turns into one file."""

    path: Path
    clip_ids: tuple[str, ...]
    root: Path
    audio: tuple[str, ...]  # from the root
    digests: tuple[str, ...]  # of the audio, as the corpus was read
    seconds: tuple[float, ...]
    options: FeatureOptions
    provenance: dict[str, Any]


def extractor_of(options: FeatureOptions) -> Extractor:
    """The extractor that an entry of the configuration names."""
    return registry.load(registry.EXTRACTORS[options.extractor].implementation)(options)


def storage_of(options: FeatureOptions) -> str:
    """The type that features are stored in."""
    return getattr(options, "storage", "float32")


def processes_for(extractor: Extractor, cores: int, memory_mb: float, shards: Sequence[Shard]) -> int:
    """How many processes make the shards: one a core, as far as there is memory; one where it has a GPU."""
    if extractor.on_gpu:
        return 1
    longest = max(max(shard.seconds) for shard in shards)
    needed = extractor.memory_mb + SECOND_MB * max(0, longest - USUAL_SECONDS)
    return max(1, min(cores, int(memory_mb // needed), len(shards)))


def make(shards: Sequence[Shard], extractor: Extractor, cores: int, memory_mb: float | None, heard: Heard) -> None:
    """Write every shard's file; what a failure or Ctrl-C interrupts leaves whole files, and no others.

    Raises EarwitnessError: a recording changed or cannot be decoded, or a process was killed.
    """
    free_mb = psutil.virtual_memory().available / (1 << 20)
    processes = processes_for(extractor, cores, min(free_mb, memory_mb or free_mb), shards)
    if processes == 1:
        _make(shards, extractor, cores if extractor.on_gpu else 1, heard)
        return
    context = multiprocessing.get_context("spawn")
    progress = context.SimpleQueue()
    before = set(multiprocessing.active_children())
    own: set[multiprocessing.process.BaseProcess] = set()
    pool = ProcessPoolExecutor(processes, context, _begin, (shards[0].options, progress))
    try:
        for done in _finished(pool, shards, processes):
            own |= set(multiprocessing.active_children()) - before
            while not progress.empty():
                heard(*progress.get())
            _raise_first(pool, done, own)
    except BaseException:
        for process in own | set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        remove_torn(shards[0].path.parent)


def _finished(pool: ProcessPoolExecutor, shards: Sequence[Shard], processes: int) -> Iterator[set[Future]]:
    """Hand the shards out, a few more than there are processes at a time; what is done, every now and then."""
    coming, running = iter(shards), set()
    while True:
        running |= {pool.submit(_make_one, shard) for shard in islice(coming, 2 * processes - len(running))}
        if not running:
            return
        done, running = wait(running, POLL, FIRST_COMPLETED)
        yield done


def remove_torn(folder: Path, name: str = "") -> None:
    """Remove what killed processes have left of the file ``name`` in a folder, or of all files there."""
    for torn in folder.glob(f".{escape(name) or '*'}.*.tmp"):
        torn.unlink(missing_ok=True)


def _raise_first(
    pool: ProcessPoolExecutor, done: set[Future], processes: set[multiprocessing.process.BaseProcess]
) -> None:
    """Raise what went wrong in a process, the plain message before the consequence for the others."""
    errors = [error for future in done if (error := future.exception()) is not None]
    plain = [error for error in errors if not isinstance(error, BrokenProcessPool)]
    if plain:
        raise plain[0]
    if errors:
        pool.shutdown()  # until its thread has reaped the processes, their exit codes may be unknown
    if errors and any(process.exitcode == -signal.SIGINT for process in processes):
        raise KeyboardInterrupt  # it may be seen to have ended the others before it reaches this process
    if errors:
        raise EarwitnessError(
            "A process of the extraction was killed; most likely memory ran out. Give it more (`mem_mb`), or fewer "
            "cores, and run the same command again: it goes on with the missing clips."
        ) from errors[0]


# --- in a process of the pool -----------------------------------------------------------------------------------------

_own: dict[str, Any] = {}  # the extractor of this process, and where it tells its progress


def _begin(options: FeatureOptions, progress: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the process that began this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _own["extractor"] = extractor_of(options)
    _own["heard"] = lambda clips, seconds: progress.put((clips, seconds))


def _end_with_parent() -> None:
    """Where the parent is killed, a process that waits for work would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _make_one(shard: Shard) -> None:
    _make([shard], _own["extractor"], 1, _own["heard"])


# --- one shard after another ------------------------------------------------------------------------------------------


def _make(shards: Sequence[Shard], extractor: Extractor, decoders: int, heard: Heard) -> None:
    """Write shards in this process; while the network has a batch, what comes after it is decoded."""
    import torch

    plans = [batches(shard.seconds, extractor.batch_seconds) for shard in shards]
    jobs = [(shard, numbers) for shard, plan in zip(shards, plans, strict=True) for numbers in plan]
    with (
        ThreadPoolExecutor(decoders) as decoder,
        ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as network,
        ExitStack() as closing,  # what was submitted and is not wanted any more is not begun
    ):
        wanted = ((_recording, shard, number, extractor.sample_rate) for shard, numbers in jobs for number in numbers)
        waveforms = _ahead(decoder, wanted, AHEAD * decoders)
        closing.callback(waveforms.close)
        decoded = ((_together, extractor, {number: next(waveforms) for number in numbers}) for _, numbers in jobs)
        done = _ahead(network, decoded, 1)
        closing.callback(done.close)
        for shard, plan in zip(shards, plans, strict=True):
            frames = zip(shard.clip_ids, _in_order(shard, plan, done, heard), strict=True)
            write(shard.path, frames, extractor.dimension, shard.provenance, dtype=storage_of(shard.options))


def _ahead(pool: ThreadPoolExecutor, calls: Iterable[tuple], ahead: int) -> Generator[Any, None, None]:
    """What each call (a function and its arguments) gives, in their order; ``ahead`` further ones are under way."""
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
    """Places of the clips that run together, which are those of one length: zeros that fill up a clip spoil its frames.

    At most ``most`` seconds in a batch of several clips, and the batches in the order of their first clips.
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
    """One recording as the network reads it; all of the shard that changed since the corpus was read are named."""
    if _changed(shard, number):
        changed = [str(shard.root / path) for place, path in enumerate(shard.audio) if _changed(shard, place)]
        advice = "Run again: the corpus is read anew when recordings change."
        raise CorpusError(listed("Recordings that changed or went away after the corpus was read:", changed, advice))
    return load(shard.root / shard.audio[number], rate)


def _changed(shard: Shard, number: int) -> bool:
    path = shard.root / shard.audio[number]
    return not path.is_file() or sha256(path) != shard.digests[number]


def _in_order(
    shard: Shard, plan: list[list[int]], done: Iterator[dict[int, np.ndarray]], heard: Heard
) -> Iterator[np.ndarray]:
    """The frames of each clip in the shard's order, float32 [frames, dimension], from its batches as they are done."""
    found: dict[int, np.ndarray] = {}
    following = 0
    for numbers in plan:
        found |= next(done)
        heard(len(numbers), sum(shard.seconds[number] for number in numbers))
        while following in found:
            yield found.pop(following)
            following += 1


def _together(extractor: Extractor, waveforms: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Frames of clips that last equally long; those whose resampled lengths differ all the same do not run together."""
    found = {}
    for length in {len(waveform) for waveform in waveforms.values()}:
        alike = [number for number, waveform in waveforms.items() if len(waveform) == length]
        frames = extractor.frames(np.stack([waveforms[number] for number in alike]))
        found |= dict(zip(alike, frames, strict=True))
    return found
