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
from earwitness.doctor.findings import FAIL, NOTE, OK, Finding, host_of, unanswered
from earwitness.errors import EarwitnessError
from earwitness.fetch.videos import unavailable

YOUTUBE_ADDRESS = "https://www.youtube.com"


def check_datasets(asked: Asked) -> Iterator[Finding]:
    """The folder, tables and lists of each data set, and whether what is not there can be brought."""
    for dataset in asked.datasets():
        stages = asked.needs[dataset.name].stages
        yield from _folder(dataset)
        if "corpus" in stages:
            yield from _undecodable(dataset)
            yield from _lists(dataset)
        if "leaks" in stages:
            yield from _id_lists(asked, dataset.name)


def _folder(dataset: Dataset) -> Iterator[Finding]:
    name, root, entry = dataset.name, dataset.root, f"datasets.{dataset.name}"
    if dataset.synthesised:
        yield Finding(OK, f"{name}: its recordings are synthesised")
        return
    needs_table = getattr(dataset.options, "table", "") is not None  # None: a folder of recordings without captions
    if dataset.to_be_fetched:
        yield from _videos(dataset) if dataset.options.source == YOUTUBE else _record(dataset)
    elif not root.is_dir():
        advice = f"Set {entry}.audio to where it is, or {entry}.source, where its layout has one, to have it fetched"
        yield Finding(FAIL, f"{name}: the folder {root} does not exist", advice)
    elif needs_table and not dataset.tables:
        advice = f"Put them there, or set {entry}.tables to where they are"
        yield Finding(FAIL, f"{name}: none of its tables is in {dataset.options.tables or root}", advice)
    else:
        tables = ", ".join(path.name for path in dataset.tables) or "none"
        yield Finding(OK, f"{name}: {root} is there, tables: {tables}")


def _undecodable(dataset: Dataset) -> Iterator[Finding]:
    """Recordings that need a package which is not installed."""
    if dataset.synthesised or find_spec("av") is not None:
        return
    if count := sum(FORMATS.get(Path(path).suffix.lower()) == "MP4" for path in recordings_below(dataset.root)):
        told = f"{dataset.name}: the package av is missing, and {count} recordings (m4a, mp4) need it"
        yield Finding(FAIL, told, "Run `make install`, or convert them to flac")


def _videos(dataset: Dataset) -> Iterator[Finding]:
    """Whether audio can be had video by video, where any is still to be had."""
    if dataset.tables and not _to_be_had(dataset):
        yield Finding(OK, f"{dataset.name}: no audio of its {len(dataset.clips)} clips is to be fetched")
        return
    if not dataset.tables:
        advice = f"Put them there, or set datasets.{dataset.name}.tables to where they are"
        told = f"{dataset.name}: none of its tables is in {dataset.options.tables or dataset.root}"
        yield Finding(FAIL, told, advice)
    if missing := [program for program in ("yt-dlp", "ffmpeg") if shutil.which(program) is None]:
        told = f"{dataset.name}: not on PATH, and needed to fetch its audio: {', '.join(missing)}"
        yield Finding(FAIL, told, "Install them; or remove `source`, and put recordings that you have into the folder")
    yield _reached(dataset, YOUTUBE_ADDRESS, "Fetch where there is a network")


def _to_be_had(dataset: Dataset) -> int:
    """How many clips yt-dlp will be asked for: not those whose file cannot be told, nor those known to be gone."""
    gone = unavailable(dataset.root)
    return sum(clip.path is None and not clip.problem and clip.name not in gone for clip in dataset.clips)


def _record(dataset: Dataset) -> Iterator[Finding]:
    """Whether a published record can be had, from its mirror where one is named."""
    from earwitness.fetch.download import local_path

    address = dataset.options.mirror or dataset.record.url
    folder = local_path(address)
    if folder is None:
        key = f"datasets.{dataset.name}.mirror"
        yield _reached(dataset, address, f"Fetch where there is a network, or set {key} to a folder with the files")
    elif folder.is_dir():
        yield Finding(OK, f"{dataset.name}: will be fetched from {folder} to {dataset.root}")
    else:
        told = f"{dataset.name}: its mirror {folder} is no folder"
        yield Finding(FAIL, told, f"Set datasets.{dataset.name}.mirror to where the files are")


def _reached(dataset: Dataset, address: str, advice: str) -> Finding:
    host = host_of(address)  # records of one host are asked for once
    if reason := unanswered(host):
        return Finding(FAIL, f"{dataset.name}: is to be fetched, and {host} cannot be reached ({reason})", advice)
    return Finding(OK, f"{dataset.name}: will be fetched from {host} to {dataset.root}")


def _lists(dataset: Dataset) -> Iterator[Finding]:
    """The lists of a split scheme, and the tables that tell where recordings come from."""
    options, name = dataset.options, dataset.name
    if scheme := getattr(options, "split_scheme", None):
        try:
            lists = scheme_files(options.layout, scheme)
        except EarwitnessError as error:
            yield Finding(FAIL, f"{name}: {error}")
        else:
            told = ", ".join(path.name for path in lists.values())
            yield Finding(OK, f"{name}: the lists of the split scheme {scheme} are there: {told}")
    if absent := _absent(getattr(options, "metadata", [])):
        advice = f"Put them there, or correct datasets.{name}.metadata"
        yield Finding(FAIL, f"{name}: tables of metadata are not there: {', '.join(absent)}", advice)


def _id_lists(asked: Asked, name: str) -> Iterator[Finding]:
    """The id lists of a data set's leak audit, which goes without those that are absent, and says so."""
    for entry in asked.config.audited(name):
        options = asked.config.id_lists[entry]
        if absent := _absent(options.files):
            told = f"{name}: the audit for leaks goes without the id list {entry}: not there: {', '.join(absent)}"
            yield Finding(NOTE, told, "Put it there before results are published")
        other = options.dataset
        if other is None or asked.configured[other].obtainable:
            continue
        if corpus := _absent(f"{RESULTS}/{other}/corpus/{table}.csv" for table in ("clips", "sources")):
            told = f"{name}: the audit for leaks goes without the id list {entry}: the data set {other} is not there"
            yield Finding(NOTE, told, f"Ask for {corpus[0]} before results are published")


def _absent(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not Path(path).expanduser().is_file()]
