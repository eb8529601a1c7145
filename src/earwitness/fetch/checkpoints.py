"""How a published checkpoint is fetched; which there are is declared by the extractors.

Beside a checkpoint lies ``NAME.json``, written last, which says what was found. A file of which no digest is published
has its checksum pinned the first time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from earwitness.fetch.published import PINNED, Published, at_mirror, json_object, obtain, write_note
from earwitness.files import SCHEMA
from earwitness.lock import hold

FOLDER = Path("resources/checkpoints")


def fetch(
    published: Published,
    folder: str | os.PathLike = FOLDER,
    mirror: str | None = None,
    pins: str | os.PathLike = PINNED,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Have a published checkpoint in ``folder``, and write ``folder/{file}.json`` last.

    A file that is there, put by hand or by an earlier call, is checked and taken. ``mirror`` is an address or a folder
    where the files lie under their names. Published digests are enforced wherever a file comes from. One without any is
    judged by ``check``, which raises EarwitnessError for a file of another kind; then it must have the sha256 pinned in
    ``pins`` the first time, and is marked as not verified.

    Raises EarwitnessError when the file cannot be downloaded (the message says what to put where by hand), when it is
    another one than expected, and while another process fetches it to the same folder.
    """
    file = published.file
    path = Path(folder) / file

    def require_checkpoint(path: Path) -> None:
        with path.open("rb") as opened:  # PyTorch's files begin as zip does since version 1.6, as a pickle before it
            if not opened.read(4).startswith((b"PK\x03\x04", b"\x80")):
                size = f"kind: a file of {path.stat().st_size} bytes was found, a checkpoint of PyTorch is expected"
                raise published.refusal(path, [size])
        if check is not None:
            check(path)

    busy = f"{path} is being fetched by another process; wait for it, or stop it."
    with hold(path.with_name(f".{file}.fetch.lock"), busy):
        _, found, address = obtain(
            published,
            path,
            addresses=() if mirror is None else (at_mirror(mirror, file),),
            check=None if published.verifiable else require_checkpoint,
            pin=None if published.verifiable else (Path(pins), f"checkpoints/{file}"),
            advice=f"To do without the network, put {published.described()}, at {path} by hand, or set "
            "`checkpoints.mirror` to a folder that has it; then run the same command again.",
        )
        note = path.with_name(f"{file}.json")
        written = json_object(note)
        if address is None and written.get("sha256") == found.sha256:
            address = written.get("address")
        facts = {"sha256": found.sha256, "bytes": found.bytes, "verified": published.verifiable}
        # No address: the file was put there by hand.
        content = {"schema": SCHEMA, "file": file, "title": published.title, **facts, "address": address}
        if write_note(note, content, "checkpoint", file=file):
            how = "it has its published digest" if published.verifiable else "its checksum is pinned, none is published"
            print(f"{published.title} is in {path}; {how}", file=sys.stderr)
