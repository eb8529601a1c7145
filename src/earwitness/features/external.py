"""Import and export of external features, in the layout of the retrieval literature (arXiv 2112.09418, 2203.13645).

``{folder}/AudioExpert/{feature}/{train,val,test}/{feature}.h5`` has one HDF5 data set per clip at its root, [frames, D]
with time first, under a key that identifies the clip in one of the ways of ``KINDS``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from earwitness.audio.formats import is_audio
from earwitness.corpora.ids import SPLIT_NAMES, parts
from earwitness.corpora.tables import SOURCES, audio_digest, clips_of, read_table
from earwitness.errors import CorpusError, EarwitnessError, listed
from earwitness.features.external_options import KEY_KINDS, SPLIT_FOLDERS, ExternalOptions, provenance_of
from earwitness.features.store import FeatureStore, write
from earwitness.files import SCHEMA, atomic_hdf5, code_version, sha256

# Names of the splits in keys that are digests: first that of the code that makes them, then those that others may use.
SPELLINGS = {
    "development": ("dev", "development", "train"),
    "validation": ("val", "validation"),
    "evaluation": ("eval", "evaluation", "test"),
}


@dataclass(frozen=True)
class Clip:
    """What a clip may be identified by."""

    clip_id: str
    split: str
    path: str
    youtube: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the tables of its corpus."""
        return parts(self.clip_id)[1]

    @property
    def first_split(self) -> str:
        """Its split in the tables of its corpus, by its id or its folder, whatever a scheme made of it."""
        named = (part.casefold() for part in (parts(self.clip_id)[0], *self.path.split("/")[:-1]))
        return next((SPLIT_NAMES[part] for part in named if part in SPLIT_NAMES), self.split)

    @property
    def stems(self) -> list[str]:
        """Its name and that of its file, without folder and extension."""
        names = [Path(name).name for name in (self.name, self.path)]
        return [name.rpartition(".")[0] if is_audio(name) else name for name in names]


def digest_key(split: str, stem: str) -> str:
    """The key of a clip in files of wsntxxn/AudioCaption."""
    return hashlib.md5(f"{split}_{stem}".encode(), usedforsecurity=False).hexdigest()


# The keys that a clip may have, by their kind; the first of a kind is the one that an export writes.
KINDS: dict[str, Callable[[Clip], list[str]]] = {
    "stem": lambda clip: clip.stems,
    "file_name": lambda clip: [Path(name).name for name in (clip.name, clip.path) if is_audio(name)],
    "youtube_id": lambda clip: list(clip.youtube),
    "md5": lambda clip: [digest_key(word, stem) for stem in clip.stems for word in SPELLINGS.get(clip.first_split, ())],
}


def clips_with_sources(corpus: Path, split: str, needed_for: str) -> tuple[list[Clip], str]:
    """The clips of a split with the ids of their videos, and the digest of their audio."""
    if absent := [str(path) for name in ("clips", "sources") if not (path := corpus / f"{name}.csv").is_file()]:
        raise EarwitnessError(listed("Tables of the corpus do not exist:", absent, "Snakemake makes them."))
    youtube: dict[str, list[str]] = {}
    for source in read_table(corpus / "sources.csv", SOURCES).itertuples():
        if source.kind == "youtube":
            youtube.setdefault(source.clip_id, []).append(source.id)
    clips = clips_of(corpus / "clips.csv", split, needed_for)
    found = [Clip(c.clip_id, c.split, c.path, tuple(youtube.get(c.clip_id, ()))) for c in clips.itertuples()]
    return found, audio_digest(clips)


# --- import -----------------------------------------------------------------------------------------------------------


def import_features(options: ExternalOptions, corpus: Path, split: str, out: Path) -> None:
    """Write a split's feature file from files of the layout.

    Args:
        options: the feature entry, with the folder of the files.
        corpus: the folder of the corpus' tables.

    Raises:
        EarwitnessError: a file is not HDF5, or features differ in dimension, are empty or not finite (all are named).
        CorpusError: clips have no features, or share a key.
    """
    clips, audio = clips_with_sources(corpus, split, f"the feature file {out}")
    files = options.files()
    with ExitStack() as stack:
        opened = {name: stack.enter_context(_open(path)) for name, path in files.items()}
        kind, places = _matched(options, clips, opened)
        used = {name: files[name] for name in dict.fromkeys(name for name, _ in places)}
        total, dimension = _size(clips, places, opened)
        used_keys = {key for name, key in places if name == SPLIT_FOLDERS[split]}
        foreign = sorted(set(opened.get(SPLIT_FOLDERS[split], ())) - used_keys)
        provenance = {
            "schema": SCHEMA,
            "made_by": "external",
            "settings": {"name": options.name, "storage": options.storage},
            "inputs": {"audio": audio, **{name: sha256(path) for name, path in used.items()}},
            "keys": kind,
            "counts": {"clips": len(clips), "keys_without_a_clip": len(foreign)},
            "unverified": [f"{name}/{path.name}" for name, path in used.items()],
            "untrained": any(provenance_of(path).get("untrained", False) for path in used.values()),
            **({} if options.hop is None else {"hop": options.hop, "window": options.window or options.hop}),
            "code": code_version(),
        }
        write(out, _read(clips, places, opened, out), dimension, provenance, total=total, dtype=options.storage)
    if foreign:
        heading = f"{len(foreign)} keys in {files[SPLIT_FOLDERS[split]]} belong to no clip of {split}:"
        print(listed(heading, foreign), file=sys.stderr)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read as HDF5: {error}.") from error


def _matched(
    options: ExternalOptions, clips: Sequence[Clip], opened: Mapping[str, h5py.File]
) -> tuple[str, list[tuple[str, str]]]:
    """The kind of the keys, and the (file, key) of each clip; with ``keys: auto`` the kind that finds most clips.

    A clip is looked up in the file of its original split and, where a scheme moved it, in that of its new split.
    """
    keys = {name: set(file) for name, file in opened.items()}
    kinds = KEY_KINDS if options.keys == "auto" else [options.keys]
    found = {kind: [_place(clip, KINDS[kind](clip), keys) for clip in clips] for kind in kinds}
    kind = max(kinds, key=lambda kind: sum(place is not None for place in found[kind]))
    places = found[kind]
    where = ", ".join(str(file.filename) for file in opened.values())
    if missing := [clip.clip_id for clip, place in zip(clips, places, strict=True) if place is None]:
        by = "keys of any kind" if len(missing) == len(clips) and options.keys == "auto" else f"keys of the kind {kind}"
        heading = f"{len(missing)} of {len(clips)} clips have no features in {where}, by {by}:"
        raise CorpusError(listed(heading, missing, _advice(kind, clips, places, keys)))
    placed = [place for place in places if place is not None]
    _require_apart(clips, placed, kind, keys, where)
    return kind, placed


def _advice(
    kind: str, clips: Sequence[Clip], places: Sequence[tuple[str, str] | None], keys: Mapping[str, set[str]]
) -> str:
    """Which kind of keys would find more clips, and examples of keys that belong to no clip."""
    counts = {other: sum(_place(c, KINDS[other](c), keys) is not None for c in clips) for other in KEY_KINDS}
    best = max(counts, key=lambda kind: counts[kind])
    better = f"`keys: {best}` would find {counts[best]} clips. " if counts[best] > counts[kind] else ""
    used = set(places)
    spare = sorted(key for folder, some in keys.items() for key in some if (folder, key) not in used)
    examples = ", ".join(spare[:6]) + (" ..." if len(spare) > 6 else "")
    return f"{better}Keys of no clip: {examples or 'none'}."


def _require_apart(
    clips: Sequence[Clip], places: Sequence[tuple[str, str]], kind: str, keys: Mapping[str, set[str]], where: str
) -> None:
    """CorpusError for clips that cannot be told apart by their keys."""
    unclear = []
    for clip, (folder, key) in zip(clips, places, strict=True):
        new = SPLIT_FOLDERS[clip.split]
        if folder != new and set(KINDS[kind](clip)) & keys.get(new, set()):
            unclear.append(f"{clip.clip_id}: {key}")
    if unclear:
        heading = f"Clips that a scheme moved, with keys ({kind}) of clips in both splits of {where}:"
        raise CorpusError(listed(heading, unclear, "Keys of the kind md5 tell them apart."))
    sharing = Counter(places)
    shared = [f"{clip.clip_id}: {place[1]}" for clip, place in zip(clips, places, strict=True) if sharing[place] > 1]
    if shared:
        raise CorpusError(listed(f"Clips that share a key ({kind}) of {where}:", shared))


def _place(clip: Clip, candidates: Sequence[str], keys: Mapping[str, set[str]]) -> tuple[str, str] | None:
    for folder in dict.fromkeys(SPLIT_FOLDERS.get(split) for split in (clip.first_split, clip.split)):
        for key in candidates:
            if folder is not None and key in keys.get(folder, ()):
                return folder, key
    return None


def _size(clips: Sequence[Clip], places: Sequence[tuple[str, str]], opened: Mapping[str, h5py.File]) -> tuple[int, int]:
    """Frames of all clips together, and the dimension; EarwitnessError names clips that differ from most."""
    shapes, problems = {}, []
    for clip, (name, key) in zip(clips, places, strict=True):
        array = opened[name][key]
        if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiu":
            problems.append(f"{clip.clip_id}: not an array of numbers")
        else:
            shapes[clip.clip_id] = tuple(array.shape)
    widths = Counter(shape[-1] for shape in shapes.values() if shape)
    usual = widths.most_common(1)[0][0] if widths else 0
    for clip_id, shape in shapes.items():
        if len(shape) not in (1, 2) or shape[-1] != usual or 0 in shape:
            problems.append(f"{clip_id}: shape {list(shape)}, [frames, {usual}] is needed")
    if problems:
        where = ", ".join(str(file.filename) for file in opened.values())
        raise EarwitnessError(listed(f"Features in {where} cannot be used:", problems))
    return sum(shape[0] if len(shape) == 2 else 1 for shape in shapes.values()), usual


def _read(
    clips: Sequence[Clip], places: Sequence[tuple[str, str]], opened: Mapping[str, h5py.File], out: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """Id and frames [frames, D] of each clip; files may hold a single frame as [D], as VGGish's post-processor does."""
    bad = []
    bar = tqdm(clips, desc=f"Importing {out.parent.name} {out.stem}", unit="clip")
    for clip, (name, key) in zip(bar, places, strict=True):
        frames = np.atleast_2d(opened[name][key][:].astype(np.float32))
        if not np.isfinite(frames).all():
            bad.append(clip.clip_id)
        yield clip.clip_id, frames
    if bad:
        where = ", ".join(str(file.filename) for file in opened.values())
        raise EarwitnessError(listed(f"Features in {where} hold values that are not finite:", bad))


# --- export -----------------------------------------------------------------------------------------------------------


def export_features(features: Path, corpus: Path, to: Path, name: str | None = None, keys: str = "auto") -> list[Path]:
    """Write the feature files of a folder in the layout; returns the paths of the files.

    Frames are written as they are stored, without the padding that is added when they are read.

    Args:
        features: ``results/{dataset}/features/{feature}``; every split that exists is written.
        corpus: the folder of the corpus' tables.
        to: the folder that corresponds to ``data/{AudioCaps,CLOTHO}``.
        name: of the feature in the layout; None: that of its extractor, as the literature has it. Features of random
            weights, log-mels and external features keep the name of their entry.
        keys: a kind of key; auto: ``youtube_id`` where every clip has one, else ``stem``.

    Raises:
        EarwitnessError: there are no features, or other features exist under the name.
        CorpusError: clips would share a key (all are named), or have none of the kind.
    """
    if name is not None and Path(name).name != name:
        raise EarwitnessError(f"--name {name}: the name of a feature is not a path.")
    splits = [split for split in SPLIT_FOLDERS if (features / f"{split}.h5").is_file()]
    if not splits:
        needed = "a folder results/{dataset}/features/{feature} with files that Snakemake made is needed"
        raise EarwitnessError(f"{features} has no feature files; {needed}.")
    read = {split: clips_with_sources(corpus, split, "the export") for split in splits}
    clips, audio = {split: pair[0] for split, pair in read.items()}, {split: pair[1] for split, pair in read.items()}
    if keys == "auto":
        keys = "youtube_id" if all(clip.youtube for some in clips.values() for clip in some) else "stem"
    named = {split: _named(some, keys) for split, some in clips.items()}
    with FeatureStore(features / f"{splits[0]}.h5") as store:
        made_by, untrained = store.provenance["made_by"], store.provenance.get("untrained")
        name = name or (features.name if made_by in ("logmel", "external") or untrained else made_by)
        _require_alike(to / "AudioExpert" / name, store)
        if untrained:
            print(f"The network that made {features.name} has random weights: for tests only.", file=sys.stderr)
    written = []
    for split in splits:
        expected = {"schema": SCHEMA, "inputs": {"audio": audio[split]}}
        with FeatureStore(features / f"{split}.h5", expected) as store:
            out = to / "AudioExpert" / name / SPLIT_FOLDERS[split] / f"{name}.h5"
            _write(out, store, named[split])
        written.append(out)
    return written


def _require_alike(folder: Path, store: FeatureStore) -> None:
    """EarwitnessError where files of other features exist in the folder."""
    theirs = [path for part in SPLIT_FOLDERS.values() if (path := folder / part / f"{folder.name}.h5").is_file()]
    made = {key: store.provenance[key] for key in ("made_by", "settings")}
    if others := [str(path) for path in theirs if not made.items() <= provenance_of(path).items()]:
        advice = "Remove them, or choose another --name."
        raise EarwitnessError(listed("Other features exist there already:", others, advice))


def _named(clips: Sequence[Clip], kind: str) -> dict[str, str]:
    """The key of each clip by its id."""
    keys = {clip.clip_id: next(iter(KINDS[kind](clip)), None) for clip in clips}
    if without := [clip_id for clip_id, key in keys.items() if key is None]:
        raise CorpusError(listed(f"Clips that have no {kind}:", without, "Choose other keys."))
    count = Counter(keys.values())
    if shared := [f"{clip_id}: {key}" for clip_id, key in keys.items() if count[key] > 1]:
        raise CorpusError(listed(f"Clips that would share a key ({kind}):", shared, "Choose other keys."))
    return {clip_id: key for clip_id, key in keys.items() if key is not None}


def _write(out: Path, store: FeatureStore, keys: Mapping[str, str]) -> None:
    try:
        with atomic_hdf5(out) as file:
            file.attrs["provenance"] = json.dumps(store.provenance, sort_keys=True)
            for clip_id, key in tqdm(keys.items(), desc=f"Exporting {out}", unit="clip"):
                file.create_dataset(key, data=store.stored(clip_id))
    except OSError as error:
        raise EarwitnessError(f"{out} cannot be written: {error.strerror or error}.") from error
