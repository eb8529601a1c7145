"""Extraction as a stage: a split's clips in shards, made by worker processes, joined into one feature file.

A shard that exists is whole. A killed extraction finds its finished shards again and goes on with the missing ones.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
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
from earwitness.files import SCHEMA, code_version, sha256
from earwitness.options import FeatureOptions


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
        workers: processes to use.

    Raises:
        CorpusError: a clip is longer than the feature allows (all of them are named).
    """
    clips = clips_of(clips_csv, split, f"the feature file {out}")
    extractor = registry.load(registry.EXTRACTORS[options.extractor].implementation)(options)
    counts = _counts(extractor, options, clips)
    provenance = feature_provenance(options, clips) | {"counts": counts, "code": code_version()}
    folder = out.with_suffix(".shards")
    shards = list(shards_of(options, clips, root, folder, provenance))
    missing = [shard for shard in shards if not _made(shard)]
    _run(missing, len(shards), workers, f"{out.parent.name} {split}")
    total = sum(_frames(shard) for shard in shards)
    write(out, _joined(shards), extractor.dimension, provenance, extractor.fill, extractor.frames_per_clip, total)
    shutil.rmtree(folder)


def feature_provenance(options: FeatureOptions, clips: pd.DataFrame) -> dict[str, Any]:
    """What a feature file of these clips must say of itself: the extractor, its settings, the digest of the audio."""
    settings = options.model_dump(exclude={"clips_per_shard", "trained_on"})
    inputs = {"audio": audio_digest(clips)}
    return {"schema": SCHEMA, "made_by": options.extractor, "settings": settings, "inputs": inputs}


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
        own["inputs"] = {"audio": audio_digest(part)}
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


def _run(shards: list[Shard], total: int, workers: int, name: str) -> None:
    bar = tqdm(total=total, initial=total - len(shards), desc=f"Features {name}", unit="shard", mininterval=0.5)
    workers = min(workers, len(shards))
    with bar:
        if workers <= 1:
            for shard in shards:
                _make(shard)
                bar.update()
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            try:
                for done in as_completed([pool.submit(_make, shard) for shard in shards]):
                    done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _make(shard: Shard) -> None:
    import torch

    audio = [shard.root / path for path in shard.audio]
    recordings = zip(audio, shard.digests, strict=True)
    if changed := [str(path) for path, known in recordings if not path.is_file() or sha256(path) != known]:
        advice = "Run again: the corpus is read anew when recordings change."
        raise CorpusError(listed("Recordings that changed or went away after the corpus was read:", changed, advice))
    torch.set_num_threads(1)  # the processes are the parallelism
    extractor = registry.load(registry.EXTRACTORS[shard.options.extractor].implementation)(shard.options)
    clips = ((i, extractor(load(path, extractor.sample_rate))) for i, path in zip(shard.clip_ids, audio, strict=True))
    write(shard.path, clips, extractor.dimension, shard.provenance)


def _frames(shard: Shard) -> int:
    with FeatureStore(shard.path) as store:
        return store.total


def _joined(shards: list[Shard]) -> Iterator[tuple[str, np.ndarray]]:
    for shard in shards:
        with FeatureStore(shard.path) as store:
            for clip_id in store.clip_ids:
                yield clip_id, store.stored(clip_id)
