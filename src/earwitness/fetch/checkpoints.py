"""The public checkpoints of the feature extractors, and how one is fetched.

Beside a checkpoint lies ``NAME.json``, written last, which says what was found. A file of which no digest is published
has its checksum pinned the first time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import EarwitnessError, nearest
from earwitness.fetch.published import PINNED, Published, at_mirror, json_object, obtain, write_note
from earwitness.files import SCHEMA
from earwitness.lock import alone

if TYPE_CHECKING:
    from earwitness.fetch.download import Downloaded

FOLDER = Path("resources/checkpoints")

_VGGISH = "https://github.com/harritaylor/torchvggish/releases/download/v0.1"
_PANNS = "https://zenodo.org/records/3987831/files"
_EFFICIENT_LATENT = "https://github.com/RicherMans/HEAR2021_EfficientLatent/releases/download/v0.0.1"

CHECKPOINTS = {
    published.file: published
    for published in (
        Published(
            file="vggish-10086976.pth",
            addresses=(f"{_VGGISH}/vggish-10086976.pth",),
            title="VGGish, about 289 MB",
            sha256_prefix="10086976",
        ),
        Published(
            file="vggish_pca_params-970ea276.pth",
            addresses=(f"{_VGGISH}/vggish_pca_params-970ea276.pth",),
            title="PCA of VGGish, about 0.2 MB",
            sha256_prefix="970ea276",
        ),
        Published(
            file="H.pth.tar",
            # Published without TLS; the first address is tried for those who can have it.
            addresses=tuple(
                f"{scheme}://www.robots.ox.ac.uk/~vgg/data/vggsound/models/H.pth.tar" for scheme in ("https", "http")
            ),
            title="ResNet-18 of VGGSound, model H, 45 MB or more",
        ),
        Published(
            file="Cnn10_mAP=0.380.pth",
            addresses=(f"{_PANNS}/Cnn10_mAP%3D0.380.pth?download=1",),
            title="PANNs Cnn10",
            bytes=25_237_595,
            md5="bfb1f1f9968938fa8ef4012b8471f5f6",
        ),
        Published(
            file="Cnn14_mAP=0.431.pth",
            addresses=(f"{_PANNS}/Cnn14_mAP%3D0.431.pth?download=1",),
            title="PANNs Cnn14",
            bytes=327_428_481,
            md5="541141fa2ee191a88f24a3219fff024e",
            sha256="0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
        ),
        Published(
            file="effb2.pt",
            addresses=(
                f"{_EFFICIENT_LATENT}/effb2.pt",
                "https://zenodo.org/records/6332525/files/hear2021-efficient_latent.pt?download=1",
            ),
            title="EfficientLatent of HEAR 2021, about 31 MB",
        ),
    )
}


def fetch(
    file: str,
    folder: str | os.PathLike = FOLDER,
    mirror: str | None = None,
    pins: str | os.PathLike = PINNED,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Have the checkpoint ``file`` of CHECKPOINTS in ``folder``, and write ``folder/{file}.json`` last.

    A file that is there, put by hand or by an earlier call, is checked and taken. ``mirror`` is an address or a folder
    where the files lie under their names. Published digests are enforced wherever a file comes from. One without any is
    judged by ``check``, which raises EarwitnessError for a file of another kind; then it must have the sha256 pinned in
    ``pins`` the first time, and is marked as not verified.

    Raises EarwitnessError when the file cannot be downloaded (the message says what to put where by hand), when it is
    another one than expected, and while another process fetches it to the same folder.
    """
    if (published := CHECKPOINTS.get(file)) is None:
        raise EarwitnessError(f"{file!r} is not a known public checkpoint; {nearest(file, CHECKPOINTS)}")
    path = Path(folder) / file

    def require_checkpoint(path: Path) -> None:
        with path.open("rb") as opened:  # PyTorch's files begin as zip does since version 1.6, as a pickle before it
            if not opened.read(4).startswith((b"PK\x03\x04", b"\x80")):
                size = f"kind: a file of {path.stat().st_size} bytes was found, a checkpoint of PyTorch is expected"
                raise published.refusal(path, [size])
        if check is not None:
            check(path)

    busy = f"{path} is being fetched by another process; wait for it, or stop it."
    with alone(path.with_name(f".{file}.fetch.lock"), busy):
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


def state(path: str | Path) -> dict[str, Any]:
    """Digest ``sha256`` of a checkpoint, and whether it is ``verified``, i.e. has a published digest.

    ``path`` is a path, or the bare name of a public file, which is looked for in resources/checkpoints. A file is read
    again only when it has changed. Raises EarwitnessError where there is none.
    """
    path = FOLDER / path if str(path) in CHECKPOINTS else Path(path)
    if not path.is_file():
        raise EarwitnessError(absent(path))
    now = path.stat()
    found, verified = _digest(path.absolute(), now.st_size, now.st_mtime_ns)
    return {"sha256": found, "verified": verified}


@cache
def _digest(path: Path, size: int, changed: int) -> tuple[str, bool]:
    from earwitness.fetch.download import digests_of

    found = digests_of(path)
    return found.sha256, is_published(found)


def absent(path: Path) -> str:
    """The message about a checkpoint that is not there: where to get it."""
    if path.is_dir():
        return f"{path} is a folder; the file of the checkpoint is needed."
    known = CHECKPOINTS.get(path.name)
    if known is None and path.parent == Path() and not path.suffix:
        words = nearest(path.name, ["public", "untrained"])
        return f"{path} does not exist. It is a path, or one of two words; {words}"
    put = f"Put {known.described()}, there." if known else "Put the checkpoint there."
    how = f" `snakemake --cores 1 {FOLDER / path.name}` fetches it." if known and path.parent == FOLDER else ""
    return f"{path} does not exist. {put}{how}"


def is_published(found: Downloaded) -> bool:
    """Whether a file of this size and these digests is one of CHECKPOINTS, by a digest that was published."""
    return any(it.verifiable and not it.mismatches(found) for it in CHECKPOINTS.values())
