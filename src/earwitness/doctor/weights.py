"""Checks of experiments' options, of public weights, and of external features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from earwitness.doctor.asked import Asked
from earwitness.doctor.findings import FAIL, OK, Finding, host_of, one_line, unanswered
from earwitness.errors import EarwitnessError
from earwitness.extractors.published import absent, published, state
from earwitness.features.external_options import ExternalOptions
from earwitness.fetch.checkpoints import FOLDER
from earwitness.files import sha256


def check_options(asked: Asked) -> Iterator[Finding]:
    """Options of experiments that cannot work with the features and texts they read."""
    for dataset, name, _ in asked.experiments():
        for line in asked.config.misfits(dataset, name):
            yield Finding(FAIL, f"{dataset}/{name}: {line}")


def check_checkpoints(asked: Asked) -> Iterator[Finding]:
    """The public weights that experiments start from."""
    users: dict[str, list[str]] = defaultdict(list)
    for dataset, name, options in asked.experiments():
        for key, path in options.checkpoints().items():
            users[path].append(f"{dataset}/{name} {key}")
    for path, names in users.items():
        if Path(path).is_file():
            size = Path(path).stat().st_size
            yield Finding(OK, f"{', '.join(names)}: {path}, {size / 1e6:.1f} MB, sha256 {sha256(path)}")
        else:
            advice = "Put the public file there, or set `none` to train from scratch"
            yield Finding(FAIL, f"{', '.join(names)}: {path} does not exist", advice)


def check_features(asked: Asked) -> Iterator[Finding]:
    """The weights of extractors, external features, and the files of texts."""
    for dataset, need in asked.needs.items():
        for name in need.features:
            options = asked.config.feature(dataset, name)
            if isinstance(options, ExternalOptions):
                try:
                    files = ", ".join(map(str, options.files().values()))
                    yield Finding(OK, f"{dataset}/features/{name}: features are read from {files}")
                except EarwitnessError as error:
                    yield Finding(FAIL, f"{dataset}/features/{name}: {one_line(str(error))}")
            elif missing := options.problem():
                yield Finding(FAIL, f"{dataset}/features/{name}: {one_line(missing)}")
    for dataset, name in asked.texts():
        if missing := asked.config.text(dataset, name).problem():
            yield Finding(FAIL, f"{dataset}/text/{name}: {one_line(missing)}")
    for path, names in weights_of(asked).items():
        yield _weights(path, ", ".join(names), asked.config.checkpoints.mirror)


def weights_of(asked: Asked) -> dict[Path, list[str]]:
    """The files of weights that features and texts are made with, each with the names of these."""
    users: dict[Path, list[str]] = defaultdict(list)
    for dataset, need in asked.needs.items():
        for name in need.features:
            for path in asked.config.feature(dataset, name).checkpoints().values():
                users[Path(path)].append(f"{dataset}/features/{name}")
    for dataset, name in asked.texts():
        for file in asked.config.text(dataset, name).checkpoints().values():
            users[Path(file)].append(f"{dataset}/text/{name}")
    return users


def _weights(path: Path, name: str, mirror: str | None) -> Finding:
    """Weights that are there, will be fetched, or must be put there by hand."""
    from earwitness.fetch.download import local_path

    known = published().get(path.name) if path.parent == FOLDER else None
    if path.is_file():
        what = f"{name}: {path}, {path.stat().st_size / 1e6:.1f} MB"
        if state(path)["verified"]:
            return Finding(OK, f"{what}, has its published digest")
        if known and known.verifiable:
            return Finding(
                FAIL, f"{what}, is not the published file", f"Remove it; the right one is {known.described()}"
            )
        return Finding(OK, f"{what}, of which no digest is published")
    if known is None or not (known.addresses or mirror):
        return Finding(FAIL, f"{name}: {absent(path)}")
    folder = None if mirror is None else local_path(mirror)
    if folder is not None and (folder / path.name).is_file():
        return Finding(OK, f"{name}: {path} will be taken from {mirror}")
    if folder is not None:
        return Finding(FAIL, f"{name}: {path} is not in the mirror {mirror}", f"Put it there: {known.described()}")
    hosts = [host_of(address) for address in ((mirror,) if mirror else known.addresses)]
    reasons = [reason for host in hosts if (reason := unanswered(host))]
    if len(reasons) == len(hosts):
        what = f"{name}: {path} must be fetched, and {hosts[0]} cannot be reached ({reasons[0]})"
        return Finding(FAIL, what, f"Put it there by hand: {known.described()}")
    return Finding(OK, f"{name}: {path} will be fetched from {hosts[0]}")
