"""Extraction as a stage: a split's clips in shards, joined into one feature file.

A shard that exists is whole. A killed extraction finds its finished shards again and goes on with the missing ones.
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
from earwitness.features.store import FeatureStore, write
from earwitness.features.workers import Shard, extractor_of, make, remove_torn, storage_of
from earwitness.fetch.checkpoints import state
from earwitness.files import SCHEMA, code_version
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
        cores, memory_mb: what may be used at most; None: the memory that is free. Neither changes the features.

    Raises:
        CorpusError: a clip is longer than the feature allows, or changed since the corpus was read (all are named).
        EarwitnessError: weights are not there, or are of another kind.
    """
    clips = clips_of(clips_csv, split, f"the feature file {out}")
    extractor = extractor_of(options)
    counts = _counts(extractor, options, clips)
    device = "GPU" if extractor.on_gpu else "CPU"
    made = {"device": device, "code": code_version(), "hop": extractor.hop / extractor.sample_rate}  # hop in seconds
    provenance = feature_provenance(options, clips) | {"counts": counts, **_trust(options), **made}
    folder = out.with_suffix(".shards")
    shards = list(shards_of(options, clips, root, folder, provenance))
    remove_torn(folder)
    remove_torn(out.parent, out.name)
    _make_missing(shards, extractor, cores, memory_mb, f"{out.parent.name} {split}")
    total = sum(_frames(shard) for shard in shards)
    sizes = {"fill": extractor.fill, "frames_per_clip": extractor.frames_per_clip, "total": total}
    write(out, _joined(shards), extractor.dimension, provenance, **sizes, dtype=storage_of(options))
    shutil.rmtree(folder)
    if shorter := counts["shorter_than_one_window"]:
        told = f"{shorter} of {len(clips)} clips are shorter than the {extractor.window_seconds:.3g} s of a frame"
        print(f"{told}; beyond their end is silence", file=sys.stderr)


def feature_provenance(options: FeatureOptions, clips: pd.DataFrame) -> dict[str, Any]:
    """What a feature file of these clips must say of itself: the extractor, its settings, the digest of the audio."""
    settings = options.settings("frames")
    for name in options.checkpoints():  # what a file holds counts, not where it lies
        settings[name] = settings[name] if settings[name] == PUBLIC else "file"
    inputs = {"audio": audio_digest(clips), **_weights(options)}
    return {"schema": SCHEMA, "made_by": options.extractor, "settings": settings, "inputs": inputs}


def _weights(options: FeatureOptions) -> dict[str, str]:
    """Digests of the files of an extractor's weights; EarwitnessError where one is not there."""
    return {name: state(path)["sha256"] for name, path in options.checkpoints().items()}


def _trust(options: FeatureOptions) -> dict[str, Any]:
    """The files of weights that no published digest vouches for, and whether nobody trained the weights."""
    unverified = [path.name for path in options.checkpoints().values() if not state(path)["verified"]]
    return {"unverified": unverified, "untrained": options.untrained}


def _counts(extractor: Extractor, options: FeatureOptions, clips: pd.DataFrame) -> dict[str, int]:
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
    """The clips in even runs of at most ``shard_clips``, each with the provenance that its file must have."""
    shards = -(-len(clips) // options.shard_clips)
    for part in np.array_split(np.arange(len(clips)), shards):
        start, rows = part[0], clips.iloc[part[0] : part[-1] + 1]
        own = {key: provenance[key] for key in ("schema", "made_by", "settings", "device", "code") if key in provenance}
        own["inputs"] = provenance["inputs"] | {"audio": audio_digest(rows)}
        columns = (tuple(rows[name]) for name in ("clip_id", "path", "sha256", "seconds"))
        ids, audio, digests, seconds = columns
        yield Shard(folder / f"{start:07d}.h5", ids, root, audio, digests, seconds, options, own)


def _made(shard: Shard) -> bool:
    """Whether a shard is there from an earlier, killed run with the same settings and audio."""
    if not shard.path.exists():
        return False
    try:
        with FeatureStore(shard.path, shard.provenance) as store:
            # A finished file may be older than the code; the parts of one are of one make.
            return all(store.provenance.get(key) == shard.provenance.get(key) for key in ("device", "code"))
    except EarwitnessError:
        return False


def _make_missing(shards: list[Shard], extractor: Extractor, cores: int, memory_mb: float | None, name: str) -> None:
    """Make the shards that are not there yet, and tell how far it is."""
    missing = [shard for shard in shards if not _made(shard)]
    clips, todo = (sum(len(shard.clip_ids) for shard in some) for some in (shards, missing))
    started, sound = time.monotonic(), 0.0

    def heard(clips: int, seconds: float) -> None:
        nonlocal sound
        sound += seconds
        bar.set_postfix_str(f"{sound / max(1e-9, time.monotonic() - started):.0f} x real time", refresh=False)
        bar.update(clips)

    with tqdm(total=clips, initial=clips - todo, desc=f"Features {name}", unit="clip", mininterval=0.5) as bar:
        if missing:
            make(missing, extractor, cores, memory_mb, heard)


def _frames(shard: Shard) -> int:
    with FeatureStore(shard.path) as store:
        return store.total


def _joined(shards: list[Shard]) -> Iterator[tuple[str, np.ndarray]]:
    for shard in shards:
        with FeatureStore(shard.path) as store:
            for clip_id in store.clip_ids:
                yield clip_id, store.stored(clip_id)
