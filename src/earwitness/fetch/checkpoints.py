"""Published checkpoints, and their fetching: checked, resumed, and written down.

Beside a checkpoint lies ``NAME.json``, written last, which says what was found. A file of which no digest is published
is held to the one that it had the first time. What downloads is loaded on use: those who look up a name need not wait.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from earwitness.errors import EarwitnessError, listed
from earwitness.fetch.records import BOOK, hold_to_book
from earwitness.files import SCHEMA, provenance, read_json, write_json
from earwitness.lock import alone

if TYPE_CHECKING:
    from earwitness.fetch.download import Downloaded

FOLDER = Path("resources/checkpoints")

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how PyTorch's files begin, since version 1.6 and before it


@dataclass(frozen=True, slots=True)
class Published:
    """A public checkpoint. Addresses are tried in their order, and need not have the file under its own name.

    Whatever of ``bytes`` and the digests is known is enforced; ``sha256_prefix`` are the first digits of a digest.
    """

    file: str
    addresses: tuple[str, ...]
    title: str
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None

    @property
    def digests(self) -> dict[str, str]:
        """The whole digests by name."""
        known = {"md5": self.md5, "sha256": self.sha256}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def verifiable(self) -> bool:
        """Whether any digest is published."""
        return bool(self.digests or self.sha256_prefix)

    def mismatches(self, found: Downloaded) -> list[str]:
        """What is wrong with a file, as far as that is known."""
        from earwitness.fetch.download import mismatches

        problems = mismatches(found, self.digests, self.bytes)
        if self.sha256_prefix and not found.sha256.startswith(self.sha256_prefix):
            problems.append(f"sha256: {found.sha256} was found, one that begins with {self.sha256_prefix} is expected")
        return problems

    def described(self) -> str:
        """Name, title, size, digest and addresses, for those who bring the file themselves."""
        told = [self.title]
        if self.bytes is not None:
            told.append(f"{self.bytes:,} bytes")
        told += [f"{name} {value}" for name, value in self.digests.items()]
        if self.sha256_prefix:
            told.append(f"sha256 begins with {self.sha256_prefix}")
        if not self.verifiable:
            told.append("no digest is published")
        return f"`{self.file}` ({'; '.join(told)}), from {' or '.join(self.addresses)}"


def fetch(
    published: Published,
    folder: str | os.PathLike = FOLDER,
    mirror: str | None = None,
    book: str | os.PathLike = BOOK,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Have a published checkpoint in ``folder``, and write ``folder/{file}.json`` last.

    A file that is there, put by hand or by an earlier call, is checked and taken. ``mirror`` is an address or a folder
    where the files lie under their names. Published digests are enforced wherever a file comes from. One without any is
    judged by ``check``, which raises EarwitnessError for a file of another kind; then it is held to the sha256 that
    ``book`` has of it from the first time, and marked as not verified.

    Raises EarwitnessError when the file cannot be brought (the message says what to put where by hand), when it is
    another one than expected, and while another process fetches it to the same folder.
    """
    file = published.file
    path = Path(folder) / file
    busy = f"{path} is being fetched by another process; wait for it, or stop it."
    with alone(path.with_name(f".{file}.fetch.lock"), busy):
        address = None if path.exists() else _bring(published, path, mirror)
        try:
            found = _checked(published, path, check)
        except EarwitnessError:
            if address is not None:
                path.unlink(missing_ok=True)
            raise
        if not published.verifiable:
            hold_to_book(Path(book), f"checkpoints/{file}", found, path)
        _write_down(published, path, found, address)


def is_web_page(path: str | os.PathLike) -> bool:
    """Whether a file begins as HTML and XML do, as pages do that were saved instead of what they link to."""
    with open(path, "rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _bring(published: Published, path: Path, mirror: str | None) -> str:
    """Download a file from the first address that has it; that address."""
    from earwitness.fetch.download import download

    part = path.with_name(f"{path.name}.part")
    failures = []
    for address in _addresses(published, mirror, part):
        try:
            download(address, path, digests=published.digests, size=published.bytes)
            return address
        except EarwitnessError as error:
            failures.append(str(error))
        if part.exists():  # what has arrived would be dropped for another address
            break
    advice = (
        f"To do without the network, put {published.described()}, at {path} by hand, or name a folder that has it as "
        "`checkpoints.mirror`; then run the same command again."
    )
    raise EarwitnessError(listed(f"{path} could not be fetched:", failures, advice))


def _addresses(published: Published, mirror: str | None, part: Path) -> list[str]:
    """Where to look for a file, first the address from which a part of it has arrived already."""
    from earwitness.fetch.download import local_path

    if mirror is not None:
        folder = local_path(mirror)
        name = quote(published.file)
        return [f"{mirror.rstrip('/')}/{name}" if folder is None else str(folder / published.file)]
    begun = _content(part.with_name(f"{part.name}.json")).get("url")
    return sorted(published.addresses, key=lambda address: address != begun)


def _content(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is absent or damaged, as it is made anew."""
    try:
        content = read_json(path)
    except (OSError, EarwitnessError):
        return {}
    return content if isinstance(content, dict) else {}


def _checked(published: Published, path: Path, check: Callable[[Path], object] | None) -> Downloaded:
    """Size and digests of a file that is there, once it is found to be the right one."""
    from earwitness.fetch.download import digests_of

    if not path.is_file():
        raise EarwitnessError(f"{path} is to be the file `{published.file}`, but is a folder. Move it away.")
    found = digests_of(path)
    problems = published.mismatches(found)
    if not published.verifiable and not _may_be_checkpoint(path):
        problems.append(f"kind: a file of {found.bytes} bytes was found, a checkpoint of PyTorch is expected")
    if problems:
        cause = "It is a web page, most likely saved in place of the file. " if is_web_page(path) else ""
        heading = f"{path} is not the published file ({published.title}):"
        advice = f"{cause}Remove it; the right one is {published.described()}."
        raise EarwitnessError(listed(heading, problems, advice))
    if not published.verifiable and check is not None:
        check(path)
    return found


def _may_be_checkpoint(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith((_ZIP, _PICKLE))


def _write_down(published: Published, path: Path, found: Downloaded, address: str | None) -> None:
    """Write what was found beside the file, unless that stands there already."""
    place = path.with_name(f"{path.name}.json")
    written = _content(place)
    if address is None and written.get("sha256") == found.sha256:
        address = written.get("address")
    content = {
        "schema": SCHEMA,
        "file": published.file,
        "title": published.title,
        "sha256": found.sha256,
        "bytes": found.bytes,
        "verified": published.verifiable,
        "address": address,  # null: it was put there by hand
    }
    if content.items() <= written.items():
        return
    write_json(place, content | {"provenance": provenance("checkpoint", file=published.file)})
    how = "as published by its digest" if published.verifiable else "held to its first digest, as none is published"
    print(f"{published.title} is in {path}, {how}", file=sys.stderr)
