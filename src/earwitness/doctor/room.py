"""The check of free space: what is still to be written for the targets, in bytes, for each disk."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from earwitness import registry
from earwitness.corpora.dataset import YOUTUBE, Dataset
from earwitness.doctor.asked import RESOURCES, RESULTS, Asked
from earwitness.doctor.findings import FAIL, NOTE, OK, Finding, existing, gigabytes
from earwitness.doctor.weights import weights_of
from earwitness.errors import EarwitnessError
from earwitness.extractors.published import published
from earwitness.features.external_options import SPLIT_FOLDERS, ExternalOptions
from earwitness.fetch.checkpoints import FOLDER
from earwitness.fetch.records import WORK
from earwitness.fetch.videos import CLIP_SECONDS
from earwitness.options import SPLITS, FeatureOptions

if TYPE_CHECKING:
    from earwitness.fetch.records import Record

RECORD_SECOND = 44100 * 2  # bytes: published recordings are taken as 44.1 kHz, 16 bit, mono
VIDEO_SECOND = 48000 * 2 * 2  # bytes of what is cut out of videos: 48 kHz, 16 bit, stereo
# Bytes of a seed that trains: a network of Cnn10's size, and its optimiser's state twice while one replaces the other.
TRAINING = 300_000_000
# Where the size of the weights is known: the best ones, and twice these with three arrays of an optimiser.
WHILE_TRAINING = 1 + 2 * 4


class ToWrite(NamedTuple):
    """What will be written, and where; ``bytes`` is None where it is unknown."""

    place: Path
    what: str
    bytes: float | None


def check_disk(asked: Asked) -> Iterator[Finding]:
    """Free space on each disk, against what is still to be written there."""
    disks: dict[int, list[ToWrite]] = defaultdict(list)
    for part in (*to_write(asked), ToWrite(RESULTS, "", 0), ToWrite(RESOURCES, "", 0)):
        disks[existing(part.place).stat().st_dev].append(part)
    for parts in disks.values():
        free = shutil.disk_usage(existing(parts[0].place)).free
        needed = sum(part.bytes or 0 for part in parts)
        known = [f"{part.what} {gigabytes(part.bytes)}" for part in parts if part.bytes]
        unknown = [part.what for part in parts if part.bytes is None]
        what = f"Disk of {', '.join(dict.fromkeys(str(part.place) for part in parts))}: {gigabytes(free)} are free, "
        what += f"about {gigabytes(needed)} needed" + (f" ({', '.join(known)})" if known else "")
        what += f"; of unknown size: {', '.join(unknown)}" if unknown else ""
        if needed > free:
            yield Finding(FAIL, what, "Free some space, or make the folder a link to another disk")
        else:
            yield Finding(NOTE if unknown else OK, what)


def to_write(asked: Asked) -> Iterator[ToWrite]:
    """What is made for the targets and is not there yet."""
    roots: set[Path] = set()  # entries with one folder share what is fetched
    for dataset in asked.datasets():
        features = asked.needs[dataset.name].features
        seconds = _seconds(dataset) if features or dataset.synthesised else None
        if dataset.root not in roots and (dataset.to_be_fetched or (dataset.synthesised and not dataset.root.exists())):
            roots.add(dataset.root)
            yield ToWrite(dataset.root, f"recordings of {dataset.name}", _recordings_bytes(dataset, seconds))
        for name in features:
            folder = RESULTS / dataset.name / "features" / name
            count = _feature_bytes(asked.config.feature(dataset.name, name), seconds, folder)
            yield ToWrite(RESULTS, f"{dataset.name}/features/{name}", count)
    for corpus, name in asked.texts():
        folder = RESULTS / corpus / "text" / name
        if not all((folder / file).exists() for file in asked.config.text(corpus, name).FILES.values()):
            yield ToWrite(RESULTS, f"{corpus}/text/{name}", _text_bytes(asked, corpus, name))
    for path in weights_of(asked):
        known = published().get(path.name) if path.parent == FOLDER else None
        if known is not None and not path.is_file():
            yield ToWrite(RESOURCES, path.name, known.bytes)
    yield from _trainings(asked)


def _text_bytes(asked: Asked, corpus: str, name: str) -> float | None:
    """Bytes of a text's files, for as many captions as the corpus has; None before it is read."""
    if not (each := asked.config.text(corpus, name).bytes_of_caption):
        return 0
    path = RESULTS / corpus / "corpus" / "captions.csv"
    if not path.is_file():
        return None
    from earwitness.corpora.tables import CAPTIONS, read_table

    return each * len(read_table(path, CAPTIONS))


def _trainings(asked: Asked) -> Iterator[ToWrite]:
    """The weights of all seeds that are not trained yet, and what lies beside them while the largest trains."""
    largest, of = 0, ""
    for corpus, name, options in asked.trained():
        folders = [RESULTS / corpus / name / f"seed-{seed}" for seed in options.seeds]
        todo = sum(not (folder / "model.safetensors").exists() for folder in folders)
        features = {
            use.entry: asked.config.feature(use.dataset or corpus, use.entry) for use in options.used("features")
        }
        size = options.weights_bytes({name: _dimension(feature) for name, feature in features.items()})
        yield ToWrite(RESULTS, f"training of {corpus}/{name}", todo * (TRAINING if size is None else size))
        if todo and size is not None and size > largest:
            largest, of = size, f"{corpus}/{name}"
    if largest:
        yield ToWrite(RESULTS, f"checkpoints while {of} trains", WHILE_TRAINING * largest)


def _dimension(options: FeatureOptions) -> int | None:
    """Values of a frame; None where only files of features, or a trained model, say."""
    if not options.computed:
        return None
    return registry.load(registry.EXTRACTORS[options.extractor].implementation)(options).dimension


def _seconds(dataset: Dataset) -> dict[str, float] | None:
    """Seconds of sound by split, or their sum where the splits are not known yet; None where it is unknown."""
    clips = RESULTS / dataset.name / "corpus" / "clips.csv"
    if clips.is_file():
        from earwitness.corpora.tables import read_table

        return read_table(clips, ["split", "seconds"]).groupby("split")["seconds"].sum().to_dict()
    if dataset.synthesised:
        return {split: getattr(dataset.options.clips, split) * dataset.options.seconds[1] for split in SPLITS}
    if dataset.options.source == YOUTUBE:
        return {"all": CLIP_SECONDS * len(dataset.clips)} if dataset.clips else None
    record = dataset.record
    return {"all": record.unpacked_bytes / RECORD_SECOND} if record and record.unpacked_bytes else None


def _recordings_bytes(dataset: Dataset, seconds: dict[str, float] | None) -> float | None:
    if dataset.synthesised and seconds is not None:
        return sum(seconds.values()) * dataset.options.sample_rate * 2
    if dataset.options.source == YOUTUBE:
        missing = sum(clip.path is None for clip in dataset.clips)
        return missing * CLIP_SECONDS * VIDEO_SECOND if dataset.clips else None
    record = dataset.record
    return record_bytes(record, dataset.root) if record and record.files is not None else None


def record_bytes(record: Record, root: Path) -> float:
    """Bytes that a record still needs: one archive at a time lies beside what all of them unpack to."""
    files = record.files or ()
    archives = [file for file in files if file.into]
    least = min((file.bytes for file in archives if file.bytes), default=1)  # for an archive of unpublished size
    missing = [file for file in files if not (root / file.place).exists()]
    packed = [file.bytes or least for file in missing if file.into]
    whole = sum(file.bytes or least for file in archives)
    unpacked = (record.unpacked_bytes or 0) * sum(packed) / whole if archives else 0
    plain = sum(file.bytes or 0 for file in missing if not file.into)
    arrived = sum(path.stat().st_size for path in (root / WORK).glob("*") if path.is_file())
    return max(0, plain + max(packed, default=0) + unpacked - arrived)


def _feature_bytes(options: FeatureOptions, seconds: dict[str, float] | None, folder: Path) -> float | None:
    """The frames of missing splits, those of the largest twice: they are made in shards and then joined.

    Of external features the files that are read; None where the size is unknown.
    """
    if isinstance(options, ExternalOptions):
        try:
            files = options.files()
        except EarwitnessError:
            return None
        missing = [name for split, name in SPLIT_FOLDERS.items() if not (folder / f"{split}.h5").exists()]
        return sum(path.stat().st_size for name, path in files.items() if name in missing)
    if not options.computed:  # one vector for a clip
        return 0
    extractor = registry.load(registry.EXTRACTORS[options.extractor].implementation)(options)
    whole = getattr(options, "seconds", None)
    if hop := getattr(extractor, "hop", None):
        rate = extractor.sample_rate / hop
    else:  # not all extractors' options say
        rate = extractor.frames_per_clip / whole if whole and extractor.frames_per_clip else None
    if seconds is None or rate is None:
        return None
    frames = [count * rate for split, count in seconds.items() if not (folder / f"{split}.h5").exists()]
    return (sum(frames) + max(frames, default=0)) * extractor.dimension * 4
