"""Obtains a published file: takes one that is there or downloads it, and checks it by its digest, published or pinned.

Checkpoints, records and jars all come through ``obtain``. What downloads is imported on use, so that looking up what is
published stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from earwitness.errors import EarwitnessError, listed
from earwitness.files import provenance, read_json, write_json
from earwitness.lock import hold

if TYPE_CHECKING:
    from earwitness.fetch.download import Downloaded

PINNED = Path("resources/digests.json")  # checksums, by key, of files for which none is published


@dataclass(frozen=True, slots=True)
class Published:
    """A public file. Addresses are tried in order, and need not have the file under the name ``file``; without any, the
    file has to be put in place by hand.

    Whatever is known of ``bytes`` and the digests is enforced; ``sha256_prefix`` is the beginning of a digest.
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
        """How a file differs from what is published."""
        from earwitness.fetch.download import mismatches

        problems = mismatches(found, self.digests, self.bytes)
        if self.sha256_prefix and not found.sha256.startswith(self.sha256_prefix):
            problems.append(f"sha256: {found.sha256} was found, one that begins with {self.sha256_prefix} is expected")
        return problems

    def described(self) -> str:
        """Name, title, size, digest and addresses, for those who download the file themselves."""
        facts = [self.title]
        if self.bytes is not None:
            facts.append(f"{self.bytes:,} bytes")
        facts += [f"{name} {value}" for name, value in self.digests.items()]
        if self.sha256_prefix:
            facts.append(f"sha256 begins with {self.sha256_prefix}")
        if not self.verifiable:
            facts.append("no digest is published")
        places = f", from {' or '.join(self.addresses)}" if self.addresses else ""
        return f"`{self.file}` ({'; '.join(facts)}){places}"

    def refusal(self, path: Path, problems: Sequence[str]) -> EarwitnessError:
        """The error for a file at ``path`` that is another one."""
        cause = "It is a web page, probably saved in place of the file. " if is_web_page(path) else ""
        advice = f"{cause}Remove it and run the same command again; the right one is {self.described()}."
        return EarwitnessError(listed(f"{path} is not the published file ({self.title}):", problems, advice))


class Obtained(NamedTuple):
    """A file that was checked; ``address`` is None where it was there already."""

    path: Path
    found: Downloaded
    address: str | None


def obtain(
    published: Published,
    *places: Path,
    addresses: Sequence[str] = (),
    anew: bool = False,
    check: Callable[[Path], object] | None = None,
    pin: tuple[Path, str] | None = None,
    advice: str = "",
) -> Obtained:
    """Take the published file from the first of ``places`` that has it, else download it to the last one; check it.

    Args:
        addresses: where to look instead of the published addresses.
        anew: download the file even if it is there.
        check: raises EarwitnessError for a file of another kind.
        pin: file and key of the pinned checksum, for a file of which no digest is published.
        advice: closes the message about a failed download.

    Raises EarwitnessError for a file that cannot be downloaded, or is another one. Of the latter, a file that was there
    is left, a download is removed, unless it differs from the pinned checksum only: that may be wanted.
    """
    from earwitness.fetch.download import digests_of

    path, address = next((place for place in places if place.exists() and not anew), None), None
    if path is None:
        path = places[-1]
        address, found = _download(published, path, addresses or published.addresses, advice)
    elif path.is_file():
        found = digests_of(path)
    else:
        raise EarwitnessError(f"{path} is a folder; the file `{published.file}` belongs there. Move the folder away.")
    try:
        if problems := published.mismatches(found):
            raise published.refusal(path, problems)
        if check is not None:
            check(path)
    except EarwitnessError:
        if address is not None:
            path.unlink(missing_ok=True)
        raise
    if pin is not None:
        require_pinned(*pin, found, path)
    return Obtained(path, found, address)


def _download(published: Published, path: Path, addresses: Sequence[str], advice: str) -> tuple[str, Downloaded]:
    """Download from the first address that has the file, starting with the one that a part has arrived from."""
    from earwitness.fetch.download import download

    part = path.with_name(f"{path.name}.part")
    begun = json_object(part.with_name(f"{part.name}.json")).get("url")
    failures = [] if addresses else [f"{path} is not there, and no address is known to fetch it from."]
    for address in sorted(addresses, key=lambda address: address != begun):
        try:
            return address, download(address, path, digests=published.digests, size=published.bytes)
        except EarwitnessError as error:
            failures.append(str(error))
        if part.exists():  # another address would discard what has arrived
            break
    message = failures[0] if len(failures) == 1 else listed(f"{path} could not be fetched:", failures)
    raise EarwitnessError("\n".join(filter(None, (message, advice))))


def at_mirror(mirror: str, file: str) -> str:
    """The address of a file in ``mirror``, an address or a folder where files lie under their names."""
    from earwitness.fetch.download import local_path

    folder = local_path(mirror)
    return f"{mirror.rstrip('/')}/{quote(file)}" if folder is None else str(folder / file)


def is_web_page(path: Path) -> bool:
    """Whether a file begins as HTML and XML do, as pages do that were saved instead of what they link to."""
    with path.open("rb") as file:
        return file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where the file is absent or damaged, as it can be made again."""
    try:
        content = read_json(path)
    except (OSError, EarwitnessError):
        return {}
    return content if isinstance(content, dict) else {}


def write_note(path: Path, content: dict[str, Any], made_by: str, **settings: Any) -> bool:
    """Write what was fetched, with its provenance; False where the file says so already and is left alone."""
    if content.items() <= json_object(path).items():
        return False
    write_json(path, content | {"provenance": provenance(made_by, **settings)})
    return True


def require_pinned(pins: Path, key: str, found: Downloaded, path: Path) -> None:
    """Pin the checksum of a file that is seen for the first time; EarwitnessError for one that has changed since."""
    with hold(pins.with_name(f".{pins.name}.lock")):
        entries = read_json(pins) if pins.exists() else {}
        known = entries.setdefault(key, {"sha256": found.sha256}) if isinstance(entries, dict) else None
        if not isinstance(known, dict) or "sha256" not in known:
            raise EarwitnessError(f"{pins} has no sha256 for {key!r}. Correct that entry, or remove it.")
        known.setdefault("bytes", found.bytes)
        if known["sha256"] != found.sha256:
            raise EarwitnessError(
                f"{path} is not the file that was fetched as {key!r} before: its sha256 is {found.sha256}, the one "
                f"pinned in {pins} is {known['sha256']}. If the change is wanted, remove the entry {key!r} from {pins} "
                f"and run again; if not, remove {path}."
            )
        write_json(pins, dict(sorted(entries.items())))
