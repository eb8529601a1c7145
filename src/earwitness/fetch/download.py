"""Downloads a file to a place: resumes what was cut off, and hands out nothing unchecked.

What has arrived lies in ``NAME.part`` beside the place, and ``NAME.part.json`` says which version of the file that is.
A part outlives kills and broken connections; it is renamed only when size and digests are right.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3
from tqdm import tqdm

from earwitness import __version__
from earwitness.errors import EarwitnessError, listed
from earwitness.fetch.published import json_object
from earwitness.files import write_json
from earwitness.lock import hold

CHUNK = 1 << 20  # bytes
BACKOFF = 1.0  # seconds before the first retry, doubled with each further one
LONGEST_WAIT = 60.0  # seconds
TRANSIENT = (408, 429, 500, 502, 503, 504)  # statuses that a later request may not get any more


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The size and the digests (hexadecimal) of a file that was downloaded and checked."""

    bytes: int
    md5: str
    sha256: str


class _Broken(Exception):
    """The transfer broke off and may be tried again, ``wait`` seconds later at the earliest."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def download(
    url: str,
    to: str | os.PathLike,
    *,
    digests: Mapping[str, str] | None = None,
    size: int | None = None,
    patience: float = 30.0,
    attempts: int = 5,
) -> Downloaded:
    """Download ``url`` (http, https, file or a local path) to ``to``, replacing a file that is there.

    ``digests`` are expected hexadecimal digests by name ("md5", "sha256") over the whole file, ``size`` its expected
    bytes. A server that is silent for ``patience`` seconds or breaks off is asked again from where it stopped. After
    ``attempts`` in a row without progress, and on any other failure, EarwitnessError says what is there and what to do.
    A part whose size or digest is wrong is removed, any other is kept for the next call, also on Ctrl-C.
    """
    to = Path(to)
    busy = f"{to} is being downloaded by another process; wait for it, or stop it."
    with hold(to.with_name(f".{to.name}.lock"), busy), _Part(to, url, size) as part:
        try:
            if (path := local_path(url)) is not None:
                _copy(path, part)
            else:
                _transfer(part, patience, attempts)
        except OSError as error:
            if error.errno not in (ENOSPC, EDQUOT):
                raise
            raise EarwitnessError(
                f"The disk is full: {part.path} could not be written. {part.state()} and are kept: free some space "
                "and run the same command again."
            ) from error
        found = part.hashes.downloaded()
        if problems := mismatches(found, digests, size):
            part.remove()
            advice = (
                "It was damaged on the way, or another file is at the address now. The download was removed: run the "
                "same command again, and if this message comes again, look for another source of the file."
            )
            raise EarwitnessError(listed(f"{to}, downloaded from {url}, is not the file expected:", problems, advice))
        part.finish()
    return found


def local_path(address: str) -> Path | None:
    """The path that a file:// address or a plain path means, None for http and https.

    Raises EarwitnessError for any other kind of address.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return Path(address)
    if scheme.lower() in ("http", "https"):
        return None
    if scheme.lower() == "file":
        return Path(unquote(urlsplit(f"file://{rest}").path))
    raise EarwitnessError(f"{address}: only http, https and file addresses and local paths are supported.")


def digests_of(path: str | os.PathLike) -> Downloaded:
    """Size and digests of a file that is there."""
    hashes = _Hashes()
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            hashes.add(data)
    return hashes.downloaded()


def mismatches(found: Downloaded, digests: Mapping[str, str] | None, size: int | None) -> list[str]:
    """How a file differs from the ``digests`` by name and the ``size`` in bytes that are expected."""
    problems = [] if size in (None, found.bytes) else [f"size: {found.bytes} bytes were found, {size} are expected"]
    for name, expected in (digests or {}).items():
        if (has := getattr(found, name)) != expected.lower():
            problems.append(f"{name}: {has} was found, {expected.lower()} is expected")
    return problems


class _Hashes:
    """Size and digests of what has been added so far."""

    def __init__(self) -> None:
        self.bytes, self._md5, self._sha256 = 0, hashlib.md5(usedforsecurity=False), hashlib.sha256()

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        self._md5.update(data)
        self._sha256.update(data)

    def downloaded(self) -> Downloaded:
        return Downloaded(self.bytes, self._md5.hexdigest(), self._sha256.hexdigest())


class _Part:
    """What has arrived of a file, and of which version of it: its validator, and the bytes it has when whole."""

    def __init__(self, to: Path, url: str, size: int | None):
        self.to, self.url, self.size = to, url, size
        self.path, self._note = to.with_name(f"{to.name}.part"), to.with_name(f"{to.name}.part.json")
        self.validator = ""
        self.total: int | None = None

    def __enter__(self) -> _Part:
        """Resume what an earlier call left; without its note, or with another address's, it is of no use."""
        self._file, self.hashes = open(self.path, "a+b"), _Hashes()
        note = json_object(self._note)
        if note.get("url") == self.url and note.get("validator"):
            self.validator, self.total = note["validator"], note.get("bytes")
            self._file.seek(0)
            while data := self._file.read(CHUNK):
                self.hashes.add(data)
        else:
            self._file.truncate(0)
        self._bar = tqdm(
            total=self.total, initial=self.bytes, desc=self.to.name, unit="B", unit_scale=True, file=sys.stderr
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        with suppress(OSError):  # on a full disk closing fails as writing did, and that was reported already
            self._file.close()
        if not self.bytes:
            self.remove()

    @property
    def bytes(self) -> int:
        """How many bytes have arrived."""
        return self.hashes.bytes

    def restart(self, validator: str = "", total: int | None = None) -> None:
        """Discard what has arrived; what follows is of the version that ``validator`` stands for."""
        self._file.truncate(0)
        self.hashes = _Hashes()
        self.validator, self.total = validator, total
        write_json(self._note, {"url": self.url, "validator": validator, "bytes": total})
        self._bar.reset(total)

    def add(self, data: builtins.bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self.hashes.add(data)
        self._bar.update(len(data))

    def state(self) -> str:
        """The clause that says how much has arrived."""
        total = self.size if self.total is None else self.total
        return f"{self.bytes} of {'an unknown number of' if total is None else total} bytes are there"

    def by_hand(self) -> str:
        """The end of a message about an address that cannot be read."""
        return f"or put the file at {self.to} by hand."

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the part its place and name."""
        self._file.close()
        os.replace(self.path, self.to)
        self._note.unlink(missing_ok=True)


def _copy(source: Path, part: _Part) -> None:
    """Copy a file of this machine; that is quick enough to start anew each time."""
    try:
        file = source.open("rb")
    except OSError as error:
        raise EarwitnessError(
            f"{source} cannot be read ({error.strerror}). Name the file to copy, {part.by_hand()}"
        ) from error
    with file:
        part.restart(total=os.fstat(file.fileno()).st_size)
        while data := file.read(CHUNK):
            part.add(data)


def _transfer(part: _Part, patience: float, attempts: int) -> None:
    """Ask until the part is whole; give up after ``attempts`` requests in a row without progress."""
    most, failures = part.bytes, 0
    with requests.Session() as session:
        session.headers.update({"User-Agent": f"earwitness/{__version__}", "Accept-Encoding": "identity"})
        session.hooks["response"].append(refuse_downgrade)
        while part.bytes != part.total:
            try:
                if _request(session, part, patience):
                    return
            except _Broken as error:
                # A server that starts anew each time sends bytes, but makes no progress.
                failures = 1 if part.bytes > most else failures + 1
                most = max(most, part.bytes)
                if failures >= attempts:
                    state = f"{part.state()}, and the same command resumes there." if part.bytes else "Nothing arrived."
                    raise EarwitnessError(
                        f"{part.url} could not be read: {error} (attempts without a byte of progress: {failures}). "
                        f"{state} Check the network and run the command again, {part.by_hand()}"
                    ) from error
                time.sleep(max(min(BACKOFF * 2 ** (failures - 1), LONGEST_WAIT), error.wait))


def _request(session: requests.Session, part: _Part, patience: float) -> bool:
    """Ask once for what is missing and take it; False where the part was discarded and must be asked for anew.

    Raises _Broken where another attempt may help, EarwitnessError where none does.
    """
    ranged = {}
    if part.bytes and part.validator:  # the rest, if the file is still the one that the part is of (RFC 9110, 13.1.5)
        ranged = {"Range": f"bytes={part.bytes}-", "If-Range": part.validator}
    try:
        with session.get(part.url, headers=ranged, stream=True, timeout=patience) as response:
            status = f"{response.status_code} {response.reason or ''}".strip()
            if response.status_code in TRANSIENT:
                after = response.headers.get("Retry-After", "")
                wait = min(float(after), LONGEST_WAIT) if after.isdecimal() else 0.0
                raise _Broken(f"the server answered {status}", wait)
            if response.status_code != 200 and not (ranged and response.status_code in (206, 416)):
                raise EarwitnessError(
                    f"{part.url} cannot be read: the server answered {status}. Check the address, {part.by_hand()}"
                )
            if not _continues(response, part):
                return False
            while data := response.raw.read1(CHUNK, decode_content=False):
                part.add(data)
    except (requests.Timeout, requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise _Broken(_plainly(error, patience)) from error
    except requests.RequestException as error:
        raise EarwitnessError(f"{part.url} cannot be read: {error}. Check the address, {part.by_hand()}") from error
    if part.total is not None and part.bytes < part.total:
        raise _Broken("the connection broke off")
    return True


def _continues(response: requests.Response, part: _Part) -> bool:
    """Prepare the part for the bytes of a response; False where those do not continue it."""
    # What distinguishes versions of a file: a strong entity tag, else the time of its last change.
    tag = response.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        part.restart(validator, int(length) if length.isdecimal() else None)
        if part.size is not None and part.total not in (None, part.size):
            raise EarwitnessError(
                f"{part.url} is not the file expected: size: {part.total} bytes were found, {part.size} are expected. "
                f"Check the address, {part.by_hand()}"
            )
        return True
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code != 206 or not found or int(found[1]) != part.bytes:
        part.restart()
        return False
    if validator not in ("", part.validator) or found[2] not in ("*", str(part.total)):
        part.restart()
        return False
    return True


def refuse_downgrade(response: requests.Response, **_: object) -> None:
    """Raise EarwitnessError for a redirect from https to an address without it."""
    if response.is_redirect:
        target = urljoin(response.url, response.headers["Location"])
        if urlsplit(response.url).scheme == "https" and urlsplit(target).scheme != "https":
            raise EarwitnessError(f"{response.url} redirects to {target}, which is not secure. Nothing was read there.")


def _plainly(error: BaseException | None, patience: float) -> str:
    """Why a request failed, in words: the first cause that says so."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return f"the server did not answer for {patience:g} seconds"
        if isinstance(error, socket.gaierror):
            return f"its host is not found ({error.strerror})"
        if isinstance(error, ssl.SSLError):
            return f"no secure connection to it ({error.reason or error})"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return "the connection broke off"
