"""The published weights of extractors and texts: what is known of each file, and whether a file is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.errors import EarwitnessError, nearest
from earwitness.fetch.checkpoints import FOLDER
from earwitness.fetch.published import Published


@dataclass(frozen=True, slots=True)
class PublishedWeights(Published):
    """A published file, and how its weights are found in it.

    Attributes:
        key: the entry of the file that holds the weights; None where the file is the weights.
        marks: name and shape of entries that tell this file from all others, related networks included.
        note: what results must say of its training, after "the weights of the features ..."; "" for nothing.
    """

    key: str | None = None
    marks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    note: str = ""


def published() -> dict[str, PublishedWeights]:
    """The published files of all registered extractors and texts, by file name."""
    kinds = (*registry.options_of(registry.EXTRACTORS, "extractor"), *registry.options_of(registry.TEXTS, "kind"))
    return {weights.file: weights for kind in kinds for weights in getattr(kind, "PUBLISHED", {}).values()}


def state(path: str | Path) -> dict[str, Any]:
    """Digest ``sha256`` of a file of weights, and whether it is ``verified``: it has a digest that was published.

    ``path`` is a path, or the name of a published file, which is looked for in resources/checkpoints. A file is read
    again only when it has changed. Raises EarwitnessError where there is none.
    """
    path = FOLDER / path if str(path) in published() else Path(path)
    if not path.is_file():
        raise EarwitnessError(absent(path))
    now = path.stat()
    found = _digests(path.absolute(), now.st_size, now.st_mtime_ns)
    verified = any(known.verifiable and not known.mismatches(found) for known in published().values())
    return {"sha256": found.sha256, "verified": verified}


@cache
def _digests(path: Path, size: int, changed: int) -> Any:
    from earwitness.fetch.download import digests_of

    return digests_of(path)


def absent(path: Path) -> str:
    """The message for a file of weights that does not exist: where to get it."""
    if path.is_dir():
        return f"{path} is a folder; the file of the checkpoint is needed."
    known = published().get(path.name)
    if known is None and path.parent == Path() and not path.suffix:
        words = nearest(path.name, ["public", "untrained"])
        return f"{path} does not exist. It is a path, or one of two words; {words}"
    put = f"Put {known.described()}, there." if known else "Put the checkpoint there."
    fetched = known and known.addresses and path.parent == FOLDER
    how = f" `snakemake --cores 1 {FOLDER / path.name}` fetches it." if fetched else ""
    return f"{path} does not exist. {put}{how}"
