"""Features in the layout of the retrieval literature, into it and out of it (audio_text_retrieval.md, section 2.1).

``{folder}/AudioExpert/{feature}/{train,val,test}/{feature}.h5`` holds one data set a clip at its root: [frames, D],
time first, under a key that tells the clip in one of the ways of ``KINDS``.
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
from earwitness.corpora.tables import SOURCES, audio_digest, clips_of, read_table
from earwitness.errors import CorpusError, EarwitnessError, listed
from earwitness.extractors.options import EXPERT_FOLDERS, ExternalOptions
from earwitness.extractors.store import FeatureStore, write
from earwitness.files import SCHEMA, atomic, code_version, sha256

# What each split is called where keys are digests: first as the code does that made them, then as others may.
SPELLINGS = {
    "development": ("dev", "development", "train"),
    "validation": ("val", "validation"),
    "evaluation": ("eval", "evaluation", "test"),
}
OWN_SPLITS = {"train": "development", "val": "validation", "test": "evaluation"}  # of corpora that call them so


@dataclass(frozen=True)
class Clip:
    """What a clip may be called by."""

    clip_id: str
    split: str
    path: str
    youtube: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in its corpus' own tables."""
        return self.clip_id.partition("/")[2]

    @property
    def own_split(self) -> str:
        """The split of its corpus' own tables."""
        own = self.clip_id.partition("/")[0]
        return OWN_SPLITS.get(own, own)

    @property
    def stems(self) -> list[str]:
        """Its name and its file's, without folder and extension."""
        names = [Path(name).name for name in (self.name, self.path)]
        return [name.rpartition(".")[0] if is_audio(name) else name for name in names]


def digest_key(split: str, stem: str) -> str:
    """The key that wsntxxn/AudioCaption gives a clip."""
    return hashlib.md5(f"{split}_{stem}".encode(), usedforsecurity=False).hexdigest()


# By each kind of key, the keys that a clip may have; the first is the one that is written.
KINDS: dict[str, Callable[[Clip], list[str]]] = {
    "stem": lambda clip: clip.stems,
    "file_name": lambda clip: [Path(clip.name).name, Path(clip.path).name],
    "youtube_id": lambda clip: list(clip.youtube),
    "md5": lambda clip: [digest_key(word, stem) for stem in clip.stems for word in SPELLINGS.get(clip.own_split, ())],
}


def clips_with_sources(corpus: Path, split: str, needed_for: str) -> list[Clip]:
    """The clips of a split, with the videos they are from."""
    youtube: dict[str, list[str]] = {}
    for source in read_table(corpus / "sources.csv", SOURCES).itertuples():
        if source.kind == "youtube":
            youtube.setdefault(source.clip_id, []).append(source.id)
    clips = clips_of(corpus / "clips.csv", split, needed_for)
    return [Clip(c.clip_id, c.split, c.path, tuple(youtube.get(c.clip_id, ()))) for c in clips.itertuples()]


# --- into the DAG -----------------------------------------------------------------------------------------------------


def import_features(options: ExternalOptions, corpus: Path, split: str, out: Path) -> None:
    """Write a split's feature file from files of the layout.

    Args:
        options: the feature entry, which says where they are.
        corpus: the folder of the corpus' tables.

    Raises:
        EarwitnessError: a file is no HDF5, or features are of unequal dimension, empty, or not finite (all are named).
        CorpusError: clips have no features, or share them.
    """
    clips = clips_with_sources(corpus, split, f"the feature file {out}")
    files = options.files()
    with ExitStack() as stack:
        opened = {name: stack.enter_context(_open(path)) for name, path in files.items()}
        kind, places = _matched(options, clips, opened)
        used = {name: files[name] for name in dict.fromkeys(name for name, _ in places)}
        total, dimension = _size(clips, places, opened)
        foreign = _foreign(split, places, opened)
        table = clips_of(corpus / "clips.csv", split, f"the feature file {out}")
        provenance = {
            "schema": SCHEMA,
            "made_by": "external",
            "settings": {"name": options.name, "storage": options.storage},
            "inputs": {"audio": audio_digest(table), **{name: sha256(path) for name, path in used.items()}},
            "keys": kind,
            "counts": {"clips": len(clips), "keys_without_a_clip": len(foreign)},
            "unverified": [path.name for path in used.values()],
            "untrained": False,
            "code": code_version(),
        }
        write(out, _read(clips, places, opened, out), dimension, provenance, total=total, dtype=options.storage)
    if foreign:
        heading = f"{len(foreign)} keys of {files[EXPERT_FOLDERS[split]]} are of no clip of {split}:"
        print(listed(heading, foreign), file=sys.stderr)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read as HDF5: {error}.") from error


def _matched(
    options: ExternalOptions, clips: Sequence[Clip], opened: Mapping[str, h5py.File]
) -> tuple[str, list[tuple[str, str]]]:
    """The kind of the keys, and the (file, key) of each clip; the kind that finds most clips where none is named.

    A clip is looked for in the file of its corpus' own split, then in that of the split that a scheme gave it.
    """
    keys = {name: set(file) for name, file in opened.items()}
    kinds = list(KINDS) if options.keys == "auto" else [options.keys]
    found = {kind: [_place(clip, KINDS[kind](clip), keys) for clip in clips] for kind in kinds}
    kind = max(kinds, key=lambda kind: sum(place is not None for place in found[kind]))
    places = found[kind]
    where = ", ".join(str(file.filename) for file in opened.values())
    if missing := [clip.clip_id for clip, place in zip(clips, places, strict=True) if place is None]:
        examples = ", ".join(sorted(key for some in keys.values() for key in list(some)[:3])[:6]) or "none"
        heading = f"{len(missing)} of {len(clips)} clips have no features in {where}, by keys that are {kind}:"
        raise CorpusError(listed(heading, missing, f"Keys that are there: {examples}."))
    sharing = Counter(places)
    if shared := [
        f"{clip.clip_id}: {place[1]}" for clip, place in zip(clips, places, strict=True) if sharing[place] > 1
    ]:
        raise CorpusError(listed(f"Clips that share a key ({kind}) of {where}:", shared))
    return kind, places


def _place(clip: Clip, candidates: Sequence[str], keys: Mapping[str, set[str]]) -> tuple[str, str] | None:
    for folder in dict.fromkeys(EXPERT_FOLDERS.get(split) for split in (clip.own_split, clip.split)):
        for key in candidates:
            if key in keys.get(folder, ()):
                return folder, key
    return None


def _size(clips: Sequence[Clip], places: Sequence[tuple[str, str]], opened: Mapping[str, h5py.File]) -> tuple[int, int]:
    """Frames of all clips together, and the dimension; EarwitnessError with those that are otherwise than most."""
    shapes, problems = {}, []
    for clip, (name, key) in zip(clips, places, strict=True):
        array = opened[name][key]
        if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "fiu":
            problems.append(f"{clip.clip_id}: no array of numbers")
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


def _foreign(split: str, places: Sequence[tuple[str, str]], opened: Mapping[str, h5py.File]) -> list[str]:
    """Keys in the split's own file that no clip of it has."""
    folder = EXPERT_FOLDERS[split]
    used = {key for name, key in places if name == folder}
    return sorted(key for key in opened.get(folder, ()) if key not in used)


def _read(
    clips: Sequence[Clip], places: Sequence[tuple[str, str]], opened: Mapping[str, h5py.File], out: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """Each clip's frames [frames, D]; VGGish's post-processor leaves a single frame as [D]."""
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


# --- out of it --------------------------------------------------------------------------------------------------------


def export_features(features: Path, corpus: Path, to: Path, name: str | None = None, keys: str = "auto") -> list[Path]:
    """Write the feature files of a folder in the layout; the files written.

    Args:
        features: ``results/{dataset}/features/{feature}``; each split that is there is written.
        corpus: the folder of the corpus' tables.
        to: what takes the place of ``data/{AudioCaps,CLOTHO}``.
        name: of the feature there; None: as the literature calls it, or else as the entry is called.
        keys: a kind of key; auto: ``youtube_id`` where every clip has one, else ``stem``.

    Raises:
        EarwitnessError: there are no features.
        CorpusError: clips would share a key (all are named), or have none of the kind.
    """
    splits = [split for split in EXPERT_FOLDERS if (features / f"{split}.h5").is_file()]
    if not splits:
        raise EarwitnessError(f"{features} holds no feature files; ask Snakemake for {features}/evaluation.h5 first.")
    clips = {split: clips_with_sources(corpus, split, "the export") for split in splits}
    if keys == "auto":
        keys = "youtube_id" if all(clip.youtube for some in clips.values() for clip in some) else "stem"
    named = {split: _named(some, keys) for split, some in clips.items()}
    written = []
    for split in splits:
        table = clips_of(corpus / "clips.csv", split, "the export")
        expected = {"schema": SCHEMA, "inputs": {"audio": audio_digest(table)}}
        with FeatureStore(features / f"{split}.h5", expected) as store:
            own = name or _usual_name(store, features.name)
            out = to / "AudioExpert" / own / EXPERT_FOLDERS[split] / f"{own}.h5"
            _write(out, store, named[split])
        written.append(out)
    return written


def _usual_name(store: FeatureStore, entry: str) -> str:
    """The networks' names are those of the literature; settings of a log-mel have none."""
    made_by = store.provenance["made_by"]
    return entry if made_by in ("logmel", "external") else made_by


def _named(clips: Sequence[Clip], kind: str) -> dict[str, str]:
    """The key of each clip by its id."""
    keys = {clip.clip_id: next(iter(KINDS[kind](clip)), None) for clip in clips}
    if without := [clip_id for clip_id, key in keys.items() if key is None]:
        raise CorpusError(listed(f"Clips that have no {kind}:", without, "Choose other keys."))
    count = Counter(keys.values())
    if shared := [f"{clip_id}: {key}" for clip_id, key in keys.items() if count[key] > 1]:
        raise CorpusError(listed(f"Clips that would share a key ({kind}):", shared, "Choose other keys."))
    return keys


def _write(out: Path, store: FeatureStore, keys: Mapping[str, str]) -> None:
    with atomic(out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["provenance"] = json.dumps(store.provenance, sort_keys=True)
        for clip_id, key in tqdm(keys.items(), desc=f"Exporting {out}", unit="clip"):
            file.create_dataset(key, data=store[clip_id])
