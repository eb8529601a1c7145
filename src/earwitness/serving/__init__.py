"""Trained models at work on anybody's recordings: an index of embeddings, search in it, phrases located, captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earwitness.audio.sound import AudioError
    from earwitness.serving.captioning import Captioned
    from earwitness.serving.grounding import Grounded
    from earwitness.serving.searching import Hit


def index(folder: str | PathLike, model: str | PathLike, out: str | PathLike, cores: int = 1) -> dict[str, int]:
    """Embed all recordings below ``folder`` with the model of a seed's folder; ``indexing.update`` has the details.

    Returns how many recordings the index ``out`` holds, and how many were new, changed, gone or unreadable.
    """
    from earwitness.serving.indexing import update

    return update(Path(folder), Path(model), Path(out), cores=cores).counts


def search(index: str | PathLike, texts: Sequence[str], k: int = 10) -> list[list[Hit]]:
    """For each text the ``k`` most similar recordings of an index, best first.

    Each call loads the model; a ``searching.Searcher`` keeps it. Raises EarwitnessError for a text of which the model
    knows no word.
    """
    from earwitness.serving.searching import Searcher

    searcher = Searcher(Path(index))
    return searcher.clips(searcher.of_texts(texts), k)


def ground(paths: Sequence[str | PathLike], phrases: Sequence[str], model: str | PathLike) -> Iterator[Grounded]:
    """When phrases are heard in recordings of any length, by the model of a seed's folder; one recording at a time.

    Each call loads the model; a ``grounding.Locator`` keeps it. Raises EarwitnessError that names all recordings and
    phrases that cannot be used.
    """
    from earwitness.serving.grounding import Locator

    return Locator(Path(model)).locate([Path(path) for path in paths], phrases)


def caption(
    paths: Sequence[str | PathLike], model: str | PathLike, cut: bool = False
) -> Iterator[Captioned | AudioError]:
    """A caption for each recording, by the model of a seed's folder; in order, each once.

    Args:
        paths: recordings, folders with recordings at any depth, and patterns such as ``sounds/*.wav``.
        cut: caption the beginning of recordings that are longer than the model reads.

    Yields an AudioError, with ``path`` and ``reason``, in place of the caption of a recording that cannot be captioned,
    first those of folders and patterns without any, and of folders that cannot be read. Each call loads the model; a
    ``captioning.FileCaptioner`` keeps it. Raises EarwitnessError for an empty path.
    """
    from earwitness.serving.captioning import FileCaptioner, expanded

    found, empty = expanded(paths)
    yield from empty
    yield from FileCaptioner(Path(model), cut=cut).caption(found)
