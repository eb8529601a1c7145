"""Trained models at work on anybody's recordings: an index of embeddings, search in it, and phrases located."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
