"""Extraction as a stage: a split's clips in shards, joined into one feature file.

A shard that exists is complete: an extraction that was killed keeps its finished shards and resumes with the others.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from earwitness.corpora.tables import audio_digest, clips_of
from earwitness.errors import CorpusError, EarwitnessError, listed
from earwitness.extractors.interface import Extractor
from earwitness.extractors.options import PUBLIC
from earwitness.extractors.published import state
from earwitness.features.store import FeatureStore, write
from earwitness.features.workers import Shard, extractor_of, make, storage_of
from earwitness.files import SCHEMA, code_version, remove_torn
from earwitness.options import FeatureOptions


def extract(
    options: FeatureOptions,
    clips_csv: Path,
    split: str,
    root: Path,
    out: Path,
    cores: int,
    memory_mb: float | None = None,
) -> None:
    """Extract one split's features to ``out``.

    Args:
        options: the feature entry, which names the extractor.
        clips_csv: the corpus' table of clips; ``root``: the folder its paths start from.
        cores, memory_mb: upper limits; None: the memory that is free. Neither changes the features.

    Raises:
        CorpusError: a clip is longer than the feature allows, or changed since the corpus was read (all are named).
        EarwitnessError: a file of weights is absent or of another kind.
    """
    clips = clips_of(clips_csv, split, f"the feature file {out}")
    extractor = extractor_of(options)
    counts = _counts(extractor, options, clips)
    provenance = feature_provenance(options, clips) | {
        "counts": counts,
        "unverified": [path.name for path in options.checkpoints().values() if not state(path)["verified"]],
        "untrained": options.untrained,
        "device": "GPU" if extractor.on_gpu else "CPU",
        "code": code_version(),
        "hop": extractor.hop / extractor.sample_rate,  # seconds
    }
    folder = out.with_suffix(".shards")
    shards = list(shards_of(options, clips, root, folder, provenance))
    remove_torn(folder)
    _make_missing(shards, extractor, cores, memory_mb, f"{out.parent.name} {split}")
    sizes: dict[str, Any] = {
        "fill": extractor.fill,
        "frames_per_clip": extractor.frames_per_clip,
        "total": _total(shards),
    }
    write(out, _joined(shards), extractor.dimension, provenance, **sizes, dtype=storage_of(options))
    shutil.rmtree(folder)
    if shorter := counts["shorter_than_one_window"]:
        short = f"{shorter} of {len(clips)} clips are shorter than the {extractor.window_seconds:.3g} s of a frame"
        print(f"{short}; they are padded with zeros", file=sys.stderr)


def feature_provenance(options: FeatureOptions, clips: pd.DataFrame) -> dict[str, Any]:
    """The provenance that a feature file of these clips must have: extractor, settings, digests of audio and weights.

    Raises EarwitnessError where a file of weights is absent.
    """
    settings = options.settings("frames")
    inputs = {"audio": audio_digest(clips)}
    for name, path in options.checkpoints().items():
        inputs[name] = state(path)["sha256"]
        settings[name] = settings[name] if settings[name] == PUBLIC else "file"  # the content counts, not the path
    return {"schema": SCHEMA, "made_by": options.extractor, "settings": settings, "inputs": inputs}


def _counts(extractor: Extractor, options: FeatureOptions, clips: pd.DataFrame) -> dict[str, int]:
    """How many clips are cut, or shorter than one window; CorpusError for those that are too long."""
    too_long = [clip for clip in clips.itertuples() if extractor.too_long(clip.seconds)]
    length: Any = options  # an extractor that finds clips too long has options for it
    if too_long and length.on_longer == "refuse":
        offenders = [f"{clip.clip_id}: {clip.seconds:.3f} s" for clip in too_long]
        advice = "Raise `seconds` of the feature (or its override for this data set), or set `on_longer: cut`."
        raise CorpusError(listed(f"Clips longer than the {length.seconds} s of the feature:", offenders, advice))
    return {
        "clips": len(clips),
        "cut": len(too_long),
        "shorter_than_one_window": int((clips["seconds"] < extractor.window_seconds).sum()),
    }


def shards_of(
    options: FeatureOptions, clips: pd.DataFrame, root: Path, folder: Path, provenance: dict[str, Any]
) -> Iterator[Shard]:
    """The clips in shards of at most ``shard_clips``, of even size, with the provenance that their files must have."""
    shards = -(-len(clips) // options.shard_clips)
    for part in np.array_split(np.arange(len(clips)), shards):
        start, rows = part[0], clips.iloc[part[0] : part[-1] + 1]
        kept = ("schema", "made_by", "settings", "device", "code")
        made = {key: provenance[key] for key in kept if key in provenance}
        made["inputs"] = provenance["inputs"] | {"audio": audio_digest(rows)}
        ids, audio, digests, seconds = (tuple(rows[name]) for name in ("clip_id", "path", "sha256", "seconds"))
        yield Shard(folder / f"{start:07d}.h5", ids, root, audio, digests, seconds, options, made)


def _is_done(shard: Shard) -> bool:
    """Whether a shard exists from an earlier run that was killed, with the same settings, audio, device and code."""
    if not shard.path.exists():
        return False
    try:
        with FeatureStore(shard.path, shard.provenance) as store:
            # A finished feature file may be older than the code, but its shards must not differ in it.
            return all(store.provenance.get(key) == shard.provenance.get(key) for key in ("device", "code"))
    except EarwitnessError:
        return False


def speed(rate: float) -> str:
    """How much faster than it lasts sound is read; never 0 of what is not.

    >>> speed(0.312), speed(1234.5)
    ('0.31 x real time', '1234 x real time')
    """
    return f"{rate:{'.0f' if rate >= 10 else '.2g'}} x real time"


def _make_missing(shards: list[Shard], extractor: Extractor, cores: int, memory_mb: float | None, name: str) -> None:
    """Make the shards that are missing, with a progress bar."""
    missing = [shard for shard in shards if not _is_done(shard)]
    clips, todo = (sum(len(shard.clip_ids) for shard in some) for some in (shards, missing))
    started, sound = time.monotonic(), 0.0

    def progress(clips: int, seconds: float) -> None:
        nonlocal sound
        sound += seconds
        rate = sound / max(1e-9, time.monotonic() - started)
        bar.set_postfix_str(speed(rate), refresh=False)
        bar.update(clips)

    with tqdm(total=clips, initial=clips - todo, desc=f"Features {name}", unit="clip", mininterval=0.5) as bar:
        if missing:
            make(missing, extractor, cores, memory_mb, progress)


def _total(shards: list[Shard]) -> int:
    """Frames of all shards together."""
    total = 0
    for shard in shards:
        with FeatureStore(shard.path) as store:
            total += store.total
    return total


def _joined(shards: list[Shard]) -> Iterator[tuple[str, np.ndarray]]:
    """Clip id and frames [n, D] of every clip, with one shard open at a time."""
    for shard in shards:
        with FeatureStore(shard.path) as store:
            for clip_id in store.clip_ids:
                yield clip_id, store.stored(clip_id)
