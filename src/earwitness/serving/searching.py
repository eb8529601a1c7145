"""Search in an index: recordings like a text or like another recording, and texts like either."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from earwitness.audio.sound import AudioError
from earwitness.errors import EarwitnessError, counted, listed
from earwitness.evaluation.readers.tables import open_table, usual
from earwitness.serving.indexing import embedded
from earwitness.serving.models import load_dual_encoder, require_same
from earwitness.serving.recordings import Features, placed
from earwitness.serving.store import Index, best
from earwitness.systems.interface import DualEncoder

TEXTS = 512  # texts that are embedded at once
_CAPTIONS = re.compile(r"(?:captions?|texts?|raw)(?:_?\d+)?")


@dataclass(frozen=True, slots=True)
class Hit:
    """A recording (its path) or a text that was found, and the dot product of its embedding with the query's."""

    rank: int
    similarity: float
    found: str


class Searcher:
    """An index with its model, for any number of searches.

    Args:
        index: the file; None: without recordings to find, for texts alone.
        model: the folder of the model, where it is not any more where the index was made with it.
        weights: files of extractors' weights, where they are not in resources/checkpoints (for recordings as queries).

    Raises EarwitnessError for a damaged index, and for another model than the index was made by.
    """

    def __init__(self, index: Path | None, model: Path | None = None, weights: Sequence[Path] = ()):
        self.index = None if index is None else Index(index)
        self._weights = weights
        if self.index is not None:
            given = model is not None
            model = model or Path(self.index.model["folder"])
            if not (given or model.is_dir()):
                raise EarwitnessError(f"The model of {index} is not in {model} any more: `--model FOLDER` says where.")
            advice = "Give the model of the index with `--model`, or index again with this one to another file."
            require_same(self.index.path, self.index.model, model, advice)
        if model is None:
            raise EarwitnessError("Either an index or a model is needed.")
        self._folder = model
        self._left = 0  # texts without a known word

    @cached_property
    def model(self) -> DualEncoder:
        """The model, loaded when it is first needed."""
        return load_dual_encoder(self._folder)

    def of_texts(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings of texts, float32 [texts, D]; texts of which the model knows no word are refused."""
        if isinstance(texts, str) or not texts:
            raise EarwitnessError("Give a list of texts to search for.")
        if bad := [repr(text) for text in texts if self.model.unknown(text) is None]:
            raise EarwitnessError(listed("The model knows no word of these texts:", bad))
        blocks = [self.model.embed_texts(texts[start : start + TEXTS]) for start in range(0, len(texts), TEXTS)]
        values = np.concatenate(blocks).astype(np.float32, copy=False)
        if bad := [text for text, row in zip(texts, values, strict=True) if not np.isfinite(row).all()]:
            raise EarwitnessError(listed("The model's embeddings of these texts are not finite:", bad))
        return values

    def of_recordings(self, paths: Sequence[Path]) -> np.ndarray:
        """The embeddings of recordings, float32 [recordings, D]; all that cannot be read are named."""
        if not paths:
            raise EarwitnessError("There is no recording to search with.")
        features = Features(self.model.made_by, self._weights, model=self._folder)
        root = Path(paths[0].absolute().anchor)
        names = [str(placed(path).relative_to(root)) for path in paths]
        found = list(features.checked(root, list(dict.fromkeys(names)), 1))
        if bad := [str(one) for one in found if isinstance(one, AudioError)]:
            raise EarwitnessError(listed("Recordings that cannot be searched with:", bad))
        good = [one for one in found if not isinstance(one, AudioError)]
        values: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
            for part, clips in features.blocks(root, good, Path(folder), 1):
                rows = embedded(self.model, clips)
                values |= {recording.path: row for recording, row in zip(part, rows, strict=True)}
        return np.stack([values[name] for name in names])

    def clips(self, queries: np.ndarray, k: int = 10, without: Sequence[Path] = ()) -> list[list[Hit]]:
        """For each query, float32 [queries, D], the ``k`` most similar recordings of the index, best first.

        ``without`` is a recording for each query that it does not find: itself, which it is most similar to.
        """
        if self.index is None:
            raise EarwitnessError("There is no index to search in.")
        self._require_width(queries)
        rows, scores = self.index.best(queries, k + bool(without))
        paths = self.index.paths(rows.ravel().tolist())
        places = {row: str(self.index.root / path) for row, path in paths.items()}
        hits = []
        for number, (some, values) in enumerate(zip(rows.tolist(), scores, strict=True)):
            own = {str(placed(without[number])), str(without[number].resolve())} if without else set()
            found = [(places[row], value) for row, value in zip(some, values, strict=True) if places[row] not in own]
            hits.append(_hits(found[:k]))
        return hits

    def texts(self, queries: np.ndarray, texts: Sequence[str], k: int = 10) -> list[list[Hit]]:
        """For each query, float32 [queries, D], the ``k`` most similar of the texts, each once, best first.

        Texts of which the model knows no word are left out and counted (``remarks``); refused where all are such.
        """
        given = list(dict.fromkeys(texts))
        known = [text for text in given if self.model.unknown(text) is not None]
        rows, scores = best(queries, [self.of_texts(known or given)], k)
        self._left += len(given) - len(known)
        return [
            _hits([(known[row], value) for row, value in zip(some, values, strict=True)])
            for some, values in zip(rows.tolist(), scores, strict=True)
        ]

    def remarks(self) -> list[str]:
        """What is to be said since this was last asked: the model's remarks, and how many texts were left out."""
        left, self._left = self._left, 0
        said = [f"{counted(left, 'text')} left out, of which the model knows no word"] if left else []
        return [*self.model.remarks(), *said]

    def _require_width(self, queries: np.ndarray) -> None:
        assert self.index is not None  # checked by the caller
        if queries.shape[1] != (width := self.index.embeddings.shape[1]):
            made = f"{type(self.model).__name__} embeds in {queries.shape[1]} dimensions"
            raise EarwitnessError(f"{self.index.path} has embeddings of {width} dimensions, {made}. Index again.")


def _hits(found: Sequence[tuple[str, np.float32]]) -> list[Hit]:
    return [Hit(rank, float(score), name) for rank, (name, score) in enumerate(found, 1)]


def read_texts(path: Path) -> list[str]:
    """The texts of a file: the lines of a .txt, or the captions of a csv, json, jsonl or HDF5 table (all columns).

    Raises EarwitnessError for a file without any; all problems are named.
    """
    if path.suffix.lower() == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EarwitnessError(f"{path} cannot be read as a text in UTF-8 ({error}).") from error
        texts = [line.strip() for line in lines if line.strip()]
        if not texts:
            raise EarwitnessError(f"{path} has no text: one per line is needed.")
        return texts
    table = open_table(path)
    columns = [name for name in table.columns if _CAPTIONS.fullmatch(usual(name))]
    if not columns and not table.problems:
        there = ", ".join(table.columns)
        raise EarwitnessError(f"{path} has no column of captions (`caption`, `caption_1`, `text` ...), but {there}.")
    texts = []
    for row, values in table.rows(columns) if columns else ():
        for value in values:
            some = value if isinstance(value, list) else [value]
            texts += [text.strip() for text in some if isinstance(text, str) and text.strip()]
            if wrong := [text for text in some if not isinstance(text, str) and text is not None]:
                table.blame(row, f"the caption {wrong[0]!r} is no text")
    if table.problems:
        raise EarwitnessError(listed(f"{path} cannot be used:", table.problems))
    if not texts:
        raise EarwitnessError(f"{path} has no text in {', '.join(columns)}.")
    return texts
