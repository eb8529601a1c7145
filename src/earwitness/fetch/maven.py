"""Jars by their Maven coordinates, each with a pinned digest.

jgo knows the public repository, the layout of any, and what ``mvn`` has downloaded to this machine already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from earwitness.errors import EarwitnessError, listed
from earwitness.fetch.published import Published, obtain, write_note
from earwitness.files import SCHEMA, sha256
from earwitness.lock import hold

FETCHED = "jars.json"


@dataclass(frozen=True, slots=True)
class Jar:
    """A published jar; ``coordinates`` are group, artifact and version, and a classifier where it has one."""

    name: str
    coordinates: str
    sha256: str
    bytes: int


# What SPICE needs beside the jars that pycocoevalcap has.
SPICE = (
    Jar(
        "rhino-engine-1.7.15.jar",
        "org.mozilla:rhino-engine:1.7.15",
        "b7bbb6724812a8ba6c650cf4a1e655a24af4d73a321add5a64a54c2d5963ce00",
        19_604,
    ),
    Jar(
        "rhino-1.7.15.jar",
        "org.mozilla:rhino:1.7.15",
        "2427fdcbc149ca0a25ccfbb7c71b01f39ad42708773a47816cd2342861766b63",
        1_407_735,
    ),
    Jar(
        "stanford-corenlp-3.6.0.jar",
        "edu.stanford.nlp:stanford-corenlp:3.6.0",
        "d341d5863276f55782c5ef73212222d6b3b48e02ae1951ab6de7618d28b12742",
        7_270_741,
    ),
    Jar(
        "stanford-corenlp-3.6.0-models.jar",
        "edu.stanford.nlp:stanford-corenlp:3.6.0:models",
        "d285157bd7887ee3018094b5dbae092e49088b023361ccdb550ee1daf9b2c9bd",
        378_116_526,
    ),
)


def fetch(folder: str | os.PathLike, repository: str | None = None, jars: Sequence[Jar] = SPICE) -> None:
    """Download ``jars`` to ``folder`` and write ``folder/jars.json`` last.

    A jar that is there and right is kept, another file is replaced; what mvn has in its repository (``M2_REPO``, else
    ``~/.m2/repository``) is copied. ``repository`` is the address, or the folder, of another Maven repository than the
    public one.

    Raises EarwitnessError, which lists the jars to be put there by hand, when one cannot be fetched or is another file,
    and while another process fetches to the folder.
    """
    folder = Path(folder)
    with hold(folder / ".lock", f"{folder} is being fetched by another process; wait for it, or stop it."):
        missing = [jar for jar in jars if not _is_right(folder / jar.name, jar)]
        for number, jar in enumerate(missing):
            path = folder / jar.name
            if path.exists():
                print(f"{path} is not the published file, and is replaced", file=sys.stderr)
            try:
                cached, address = _places(jar, repository)
                addresses = (str(cached), address) if _is_right(cached, jar) else (address,)
                obtain(Published(jar.name, addresses, jar.coordinates, jar.bytes, sha256=jar.sha256), path, anew=True)
            except EarwitnessError as error:
                offenders = [f"{it.name} ({it.coordinates}, {it.bytes:,} bytes)" for it in missing[number:]]
                heading = f"{error}\nStill missing in {folder}; they can be put there by hand:"
                raise EarwitnessError(listed(heading, offenders, "Then run the same command again.")) from error
        write_note(folder / FETCHED, {"schema": SCHEMA, "jars": [asdict(jar) for jar in jars]}, "spice_jars")
    print(f"{len(jars)} jars are in {folder}, all with their published digests", file=sys.stderr)


def _is_right(path: Path, jar: Jar) -> bool:
    return path.is_file() and path.stat().st_size == jar.bytes and sha256(path) == jar.sha256


def _places(jar: Jar, repository: str | None) -> tuple[Path, str]:
    """Where mvn keeps a jar on this machine, and where the repository has it."""
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise EarwitnessError("The Python package jgo, which fetches jars, is missing: run `make install`.") from error
    context = MavenContext(remote_repos=None if repository is None else {"configured": repository.rstrip("/")})
    group, name, version, *classifier = jar.coordinates.split(":")
    artifact = context.project(group, name).at_version(version).artifact(*classifier)
    (address,) = context.remote_repos.values()
    assert artifact.cached_path  # None only for a context without a cache
    return artifact.cached_path, f"{address}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
