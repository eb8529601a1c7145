"""Checks of data sets and their lists."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from earwitness.audio.formats import FORMATS
from earwitness.corpora.dataset import YOUTUBE, Dataset
from earwitness.corpora.paths import recordings_below
from earwitness.corpora.schemes import scheme_files
from earwitness.doctor.asked import RESULTS, Asked
from earwitness.doctor.findings import FAIL, NOTE, OK, Finding, host_of, one_line, unanswered
from earwitness.errors import ConfigError, EarwitnessError, counted
from earwitness.fetch.videos import unavailable
from earwitness.files import read_json
from earwitness.options import problem_of_path

ROUNDING = 0.01  # seconds by which a resampled clip may be longer
YOUTUBE_ADDRESS = "https://www.youtube.com"


def check_datasets(asked: Asked) -> Iterator[Finding]:
    """The folder, tables and lists of each data set, and whether what is missing can be fetched."""
    for dataset in asked.datasets():
        stages = asked.needs[dataset.name].stages
        yield from _folder(dataset)
        if _reads_features(asked, dataset.name):
            try:
                asked.config.refuse_features(dataset.name)
            except ConfigError as error:
                yield Finding(FAIL, one_line(str(error)))
        if "corpus" in stages:
            yield from _undecodable(dataset)
            yield from _lists(dataset)
            yield from _lengths(asked, dataset)
        if "leaks" in stages:
            yield from _id_lists(asked, dataset.name)
        if not stages.isdisjoint({"page", "others"}):
            yield from _others(asked, dataset.name)


def _reads_features(asked: Asked, name: str) -> bool:
    """Whether the targets need features of a data set; trainings on its captions alone do not."""
    need = asked.needs[name]
    training = [asked.config.experiment(name, experiment).training_inputs() for experiment in need.experiments]
    if "predict" in need.stages or not training:
        return bool(need.features)
    return any(use.stage == "features" for inputs in training for use in inputs.values())


def _folder(dataset: Dataset) -> Iterator[Finding]:
    name, root, entry = dataset.name, dataset.root, f"datasets.{dataset.name}"
    if dataset.synthesised:
        yield Finding(OK, f"{name}: its recordings are synthesised")
        return
    if not dataset.options.RECORDINGS:
        absent = _absent(dataset.options.tables.values())
        what = f"tables are missing: {', '.join(absent)}" if absent else "captions alone, and their tables are there"
        yield Finding(FAIL if absent else OK, f"{name}: {what}", f"Correct {entry}.tables" if absent else "")
        return
    videos = dataset.to_be_fetched and dataset.options.source == YOUTUBE
    if dataset.to_be_fetched and not videos:
        yield _record(dataset)
        return
    if not videos and not root.is_dir():
        advice = f"Set {entry}.audio to where it is, or {entry}.source, where its layout has one, to have it fetched"
        yield Finding(FAIL, f"{name}: the folder {root} does not exist", advice)
        return
    needs_table = getattr(dataset.options, "table", "") is not None  # None: a folder of recordings without captions
    if needs_table and not dataset.tables:
        advice = f"Put them there, or set {entry}.tables to where they are"
        yield Finding(FAIL, f"{name}: none of its tables is in {dataset.options.tables or root}", advice)
    elif not videos:
        if unusable := [f"{path}: {problem}" for path in dataset.tables if (problem := problem_of_path(path))]:
            yield Finding(FAIL, f"{name}: {'; '.join(unusable)}")
        tables = ", ".join(path.name for path in dataset.tables) or "none"
        yield Finding(OK, f"{name}: {root} is there, tables: {tables}")
    if videos:
        yield from _videos(dataset)


def _undecodable(dataset: Dataset) -> Iterator[Finding]:
    """Recordings that need a package that is not installed."""
    if dataset.synthesised or not dataset.options.RECORDINGS or find_spec("av") is not None:
        return
    if count := sum(FORMATS.get(Path(path).suffix.lower()) == "MP4" for path in recordings_below(dataset.root, [])):
        what = f"{dataset.name}: the package av is missing, and {count} recordings (m4a, mp4) need it"
        yield Finding(FAIL, what, "Run `make install`, or convert them to flac")


def _videos(dataset: Dataset) -> Iterator[Finding]:
    """Whether audio can be fetched video by video, where any is still to be fetched."""
    gone = unavailable(dataset.root)
    # Not those whose file is ambiguous, nor those known to be gone: yt-dlp will not be asked for them.
    todo = (clip for clip in dataset.clips if clip.path is None and not clip.problem and clip.name not in gone)
    if dataset.tables and not any(todo):
        yield Finding(OK, f"{dataset.name}: no audio is missing of its {counted(len(dataset.clips), 'clip')}")
        return
    if missing := [program for program in ("yt-dlp", "ffmpeg") if shutil.which(program) is None]:
        what = f"{dataset.name}: not on PATH, and needed to fetch its audio: {', '.join(missing)}"
        yield Finding(FAIL, what, "Install them; or remove `source`, and put recordings that you have into the folder")
    yield _reached(dataset, YOUTUBE_ADDRESS, "Fetch where there is a network")


def _record(dataset: Dataset) -> Finding:
    """Whether a published record can be fetched, from its mirror where one is named."""
    from earwitness.fetch.download import local_path

    record, key = dataset.record, f"datasets.{dataset.name}.mirror"
    assert record  # else it is not fetched
    address = dataset.options.mirror or record.url
    folder = local_path(address)
    if folder is None:
        return _reached(dataset, address, f"Fetch where there is a network, or set {key} to a folder with the files")
    if folder.is_dir():
        return Finding(OK, f"{dataset.name}: will be fetched from {folder} to {dataset.root}")
    return Finding(FAIL, f"{dataset.name}: its mirror {folder} is no folder", f"Set {key} to where the files are")


def _reached(dataset: Dataset, address: str, advice: str) -> Finding:
    host = host_of(address)  # so that a host is asked once for all its records
    if reason := unanswered(host):
        return Finding(FAIL, f"{dataset.name}: must be fetched, and {host} cannot be reached ({reason})", advice)
    return Finding(OK, f"{dataset.name}: will be fetched from {host} to {dataset.root}")


def _lists(dataset: Dataset) -> Iterator[Finding]:
    """The lists of a split scheme, and the tables that say where recordings come from."""
    options, name = dataset.options, dataset.name
    if scheme := getattr(options, "split_scheme", None):
        try:
            lists = scheme_files(options.layout, scheme)
        except EarwitnessError as error:
            yield Finding(FAIL, f"{name}: {error}")
        else:
            files = ", ".join(path.name for path in lists.values())
            yield Finding(OK, f"{name}: the lists of the split scheme {scheme} are there: {files}")
    if absent := _absent(getattr(options, "metadata", [])):
        advice = f"Put them there, or correct datasets.{name}.metadata"
        yield Finding(FAIL, f"{name}: metadata tables are missing: {', '.join(absent)}", advice)
    if absent := _absent([options.relevant] if options.relevant else []):
        advice = f"Put it there, or correct datasets.{name}.relevant"
        yield Finding(FAIL, f"{name}: the table of relevant clips is missing: {', '.join(absent)}", advice)


def _lengths(asked: Asked, dataset: Dataset) -> Iterator[Finding]:
    """Features of a fixed length beside the lengths of the clips, where the corpus is made."""
    path = RESULTS / dataset.name / "corpus/report.json"
    lengths = read_json(path).get("lengths", {}).get("seconds") if path.is_file() else None
    if not lengths:
        return
    longest = max(one["longest"] for one in lengths.values())
    for feature in asked.needs[dataset.name].features:
        options = asked.config.feature(dataset.name, feature)
        limit = getattr(options, "seconds", None)
        if limit is None:
            continue
        what = f"{dataset.name}: the feature {feature} has `seconds: {limit:g}`, the longest clip lasts {longest:g} s"
        key = f"datasets.{dataset.name}.overrides.features.{feature}"
        on_longer = getattr(options, "on_longer", "cut")  # the one that has no such option cuts and repeats clips
        if longest > limit + ROUNDING and on_longer == "refuse":
            yield Finding(FAIL, what, f"Set {key}.seconds to {longest:g}, or {key}.on_longer to cut")
        elif longest > limit + ROUNDING:
            yield Finding(NOTE, f"{what}, and is cut", f"Set {key}.seconds to {longest:g} to have all of it")
        elif limit >= 2 * longest:
            yield Finding(NOTE, f"{what}: at least half of each clip is padding", f"Set {key}.seconds to {longest:g}")


def _id_lists(asked: Asked, name: str) -> Iterator[Finding]:
    """The id lists of a data set's leak audit, which skips those that are absent, and says so."""
    for entry in asked.config.audited(name):
        options = asked.config.id_lists[entry]
        if absent := _absent(options.files):
            what = f"{name}: the leak audit skips the id list {entry}, as files are missing: {', '.join(absent)}"
            yield Finding(NOTE, what, "Put them there before results are published")
        other = options.dataset
        if other is None or asked.configured[other].obtainable:
            continue
        if corpus := _absent(f"{RESULTS}/{other}/corpus/{table}.csv" for table in ("clips", "sources")):
            what = f"{name}: the leak audit skips the id list {entry}, as the data set {other} is missing"
            yield Finding(NOTE, what, f"Make {corpus[0]} before results are published")


def _others(asked: Asked, name: str) -> Iterator[Finding]:
    """The folders of scores made elsewhere."""
    from earwitness.evaluation.others import kinds_of_others

    for other, folder in asked.config.others_of(name).items():
        try:
            (kind,) = kinds_of_others({other: folder}).values()
            yield Finding(OK, f"{name}: the scores of {other} ({kind}) are in {folder}")
        except EarwitnessError as error:
            yield Finding(FAIL, f"datasets.{name}.{one_line(str(error).split('- ', 1)[-1])}")


def _absent(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not Path(path).expanduser().is_file()]
