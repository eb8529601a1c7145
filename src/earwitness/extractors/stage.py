"""Extraction as a stage: a split's clips in shards, made by worker processes, joined into one feature file.

A shard that exists is whole. A killed extraction finds its finished shards again and goes on with the missing ones.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from earwitness import registry
from earwitness.audio.decode import load
from earwitness.corpora.tables import audio_digest, clips_of
from earwitness.errors import CorpusError, EarwitnessError, listed
from earwitness.extractors.store import FeatureStore, write
from earwitness.fetch.checkpoints import state
from earwitness.files import SCHEMA, code_version, sha256
from earwitness.options import FeatureOptions

AHEAD = 8  # recordings that are decoded before the network wants them


@dataclass(frozen=True)
class Shard:
    """A run of clips that one worker turns into one file."""

    path: Path
    clip_ids: tuple[str, ...]
    root: Path
    audio: tuple[str, ...]  # from the root
    digests: tuple[str, ...]  # of the audio, as the corpus was read
    options: FeatureOptions
    provenance: dict[str, Any]


def extract(options: FeatureOptions, clips_csv: Path, split: str, root: Path, out: Path, workers: int) -> None:
    """Extract one split's features to ``out``.

    Args:
        options: the feature entry, which names the extractor.
        clips_csv: the corpus' table of clips; ``root``: the folder its paths start from.
        workers: cores to use, by processes of one thread or by the threads of one network.

    Raises:
        CorpusError: a clip is longer than the feature allows (all of them are named).
    """
    clips = clips_of(clips_csv, split, f"the feature file {out}")
    extractor = _extractor(options)
    counts = _counts(extractor, options, clips)
    own = {"counts": counts, "unverified": _unverified(options), "code": code_version()}
    provenance = feature_provenance(options, clips) | own
    folder = out.with_suffix(".shards")
    shards = list(shards_of(options, clips, root, folder, provenance))
    missing = [shard for shard in shards if not _made(shard)]
    _run(missing, clips, extractor, workers, f"{out.parent.name} {split}")
    total = sum(_frames(shard) for shard in shards)
    sizes = {"fill": extractor.fill, "frames_per_clip": extractor.frames_per_clip, "total": total}
    write(out, _joined(shards), extractor.dimension, provenance, **sizes, dtype=_storage(options))
    shutil.rmtree(folder)


def feature_provenance(options: FeatureOptions, clips: pd.DataFrame) -> dict[str, Any]:
    """What a feature file of these clips must say of itself: the extractor, its settings, the digest of the audio."""
    settings = options.model_dump(exclude={"clips_per_shard", "trained_on"})
    inputs = {"audio": audio_digest(clips), **_weights(options)}
    return {"schema": SCHEMA, "made_by": options.extractor, "settings": settings, "inputs": inputs}


def _extractor(options: FeatureOptions) -> Any:
    return registry.load(registry.EXTRACTORS[options.extractor].implementation)(options)


def _storage(options: FeatureOptions) -> str:
    return getattr(options, "storage", "float32")


def _weights(options: FeatureOptions) -> dict[str, str]:
    """Digests of the files of an extractor's weights; EarwitnessError where one is not there."""
    return {name: state(path)["sha256"] for name, path in options.checkpoints().items()}


def _unverified(options: FeatureOptions) -> list[str]:
    """The weights that no published digest vouches for, and those that nobody trained."""
    if getattr(options, "weights", None) == "untrained":
        return ["untrained"]
    return [path.name for path in options.checkpoints().values() if not state(path)["verified"]]


def _counts(extractor: Any, options: FeatureOptions, clips: pd.DataFrame) -> dict[str, int]:
    """How many clips are cut, filled up, or shorter than one window; refuses those that are too long."""
    too_long = [clip for clip in clips.itertuples() if extractor.too_long(clip.seconds)]
    if too_long and options.on_longer == "refuse":
        offenders = [f"{clip.clip_id}: {clip.seconds:.3f} s" for clip in too_long]
        advice = "Raise `seconds` of the feature (or its override for this data set), or set `on_longer: cut`."
        raise CorpusError(listed(f"Clips longer than the {options.seconds} s of the feature:", offenders, advice))
    return {
        "clips": len(clips),
        "cut": len(too_long),
        "shorter_than_one_window": int((clips["seconds"] < extractor.window_seconds).sum()),
    }


def shards_of(
    options: FeatureOptions, clips: pd.DataFrame, root: Path, folder: Path, provenance: dict[str, Any]
) -> Iterator[Shard]:
    """The clips in runs of ``clips_per_shard``, each with the provenance that its file must have."""
    for start in range(0, len(clips), options.clips_per_shard):
        part = clips.iloc[start : start + options.clips_per_shard]
        ids = tuple(part["clip_id"])
        own = {key: provenance[key] for key in ("schema", "made_by", "settings")}
        own["inputs"] = provenance["inputs"] | {"audio": audio_digest(part)}
        yield Shard(folder / f"{start:07d}.h5", ids, root, tuple(part["path"]), tuple(part["sha256"]), options, own)


def _made(shard: Shard) -> bool:
    """Whether a shard is there from an earlier, killed run with the same settings and audio."""
    if not shard.path.exists():
        return False
    try:
        with FeatureStore(shard.path, shard.provenance):
            return True
    except EarwitnessError:
        return False


def _run(shards: list[Shard], clips: pd.DataFrame, extractor: Any, workers: int, name: str) -> None:
    """Make the shards, in ``workers`` processes of one thread or in this one with as many threads."""
    processes = workers if extractor.one_thread_each else 1
    seconds = dict(zip(clips["clip_id"], clips["seconds"], strict=True))
    todo = sum(len(shard.clip_ids) for shard in shards)
    bar = tqdm(total=len(clips), initial=len(clips) - todo, desc=f"Features {name}", unit="clip", mininterval=0.5)
    started, heard = time.monotonic(), 0.0

    def done(shard: Shard) -> None:
        nonlocal heard
        heard += sum(seconds[clip_id] for clip_id in shard.clip_ids)
        bar.set_postfix_str(f"{heard / max(1e-9, time.monotonic() - started):.0f} x real time", refresh=False)
        bar.update(len(shard.clip_ids))

    processes = min(processes, len(shards))
    with bar:
        if processes <= 1:
            for shard in shards:
                _make(shard, 1 if extractor.one_thread_each else workers, extractor)
                done(shard)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            try:
                made = {pool.submit(_make, shard): shard for shard in shards}  # one thread each
                for future in as_completed(made):
                    future.result()
                    done(made[future])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _make(shard: Shard, threads: int = 1, extractor: Any = None) -> None:
    import torch

    audio = [shard.root / path for path in shard.audio]
    recordings = zip(audio, shard.digests, strict=True)
    if changed := [str(path) for path, known in recordings if not path.is_file() or sha256(path) != known]:
        advice = "Run again: the corpus is read anew when recordings change."
        raise CorpusError(listed("Recordings that changed or went away after the corpus was read:", changed, advice))
    torch.set_num_threads(threads)
    extractor = extractor or _extractor(shard.options)
    frames = _in_batches(extractor, audio)
    write(
        shard.path,
        zip(shard.clip_ids, frames, strict=True),
        extractor.dimension,
        shard.provenance,
        dtype=_storage(shard.options),
    )


def _in_batches(extractor: Any, audio: list[Path]) -> Iterator[np.ndarray]:
    """The frames of each recording, in their order: float32 [frames, dimension].

    Recordings are decoded and resampled beside the network. Only clips of one length run together, since zeros that
    fill up a clip would spoil its frames; they wait for each other within the shard.
    """
    found: dict[int, np.ndarray] = {}
    waiting: dict[int, list[tuple[int, np.ndarray]]] = {}
    following = 0
    with ThreadPoolExecutor(1) as decoder:
        ahead = deque(decoder.submit(load, path, extractor.sample_rate) for path in audio[:AHEAD])
        for number in range(len(audio)):
            waveform = ahead.popleft().result()
            if number + AHEAD < len(audio):
                ahead.append(decoder.submit(load, audio[number + AHEAD], extractor.sample_rate))
            batch = waiting.setdefault(len(waveform), [])
            batch.append((number, waveform))
            if len(batch) == extractor.batch_size:
                found |= _together(extractor, waiting.pop(len(waveform)))
            while following in found:
                yield found.pop(following)
                following += 1
    for batch in waiting.values():
        found |= _together(extractor, batch)
    yield from (found[number] for number in sorted(found))


def _together(extractor: Any, batch: list[tuple[int, np.ndarray]]) -> dict[int, np.ndarray]:
    frames = extractor.frames(np.stack([waveform for _, waveform in batch]))
    return {number: frames[row] for row, (number, _) in enumerate(batch)}


def _frames(shard: Shard) -> int:
    with FeatureStore(shard.path) as store:
        return store.total


def _joined(shards: list[Shard]) -> Iterator[tuple[str, np.ndarray]]:
    for shard in shards:
        with FeatureStore(shard.path) as store:
            for clip_id in store.clip_ids:
                yield clip_id, store.stored(clip_id)
