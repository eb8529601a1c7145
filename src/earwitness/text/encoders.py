"""Texts as rows of vectors for networks: frozen word vectors, or the outputs of a frozen text model.

``open_encoder`` opens the ``vectors.h5`` of either kind. A trained model keeps an encoder's ``description()`` as JSON
and its ``tensors()`` among its weights, of which ``encoder_of`` makes the encoder again, without that file.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from earwitness import registry
from earwitness.errors import EarwitnessError, MismatchError, nearest
from earwitness.files import require_match
from earwitness.options import TextOptions
from earwitness.text.options import FrozenOptions, WordVectorsOptions
from earwitness.text.tokens import tokens_of, words_for

if TYPE_CHECKING:
    from earwitness.text.frozen import FrozenModel

TABLE = "word_vectors"  # the tensor of a word vectors' encoder
REMEMBERED = 500_000  # texts whose words are


class TextEncoder(ABC):
    """Encodes texts; safe to pass to other processes and to use in several threads.

    Attributes:
        dimension: of the vectors.
    """

    dimension: int

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of texts, float32 [texts, longest, dimension], and their number for each, int64 [texts].

        A text has at least one; beyond its end there are zeros.
        """

    def unknown(self, text: str) -> list[str] | None:
        """The words of a text that the encoder does not know; None where it knows nothing of the text."""
        return [] if text.strip() else None

    def labels(self, text: str) -> list[str] | None:
        """What each vector of a text stands for; None where they stand for no words."""
        return None

    def cut(self, texts: Sequence[str]) -> int:
        """How many texts have an end that ``encode`` leaves out, as far as this encoder has seen it."""
        return 0

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What ``encoder_of`` needs beside the tensors, as JSON content."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays, float32, that a trained model keeps among its weights."""


class WordVectors(TextEncoder):
    """The vectors of a text's known words, in order; ``unknown`` alone for a text without any.

    Args:
        words: the known words; vectors: theirs, float32 [words, D]; unknown: float32 [D].
        options: the rules by which texts become words.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray, unknown: np.ndarray, options: WordVectorsOptions):
        self.words, self.options = list(words), options
        self.dimension = vectors.shape[1]
        self._rows = {word: row for row, word in enumerate(self.words)}
        # The rows of words, that of texts without any, and that beyond the end of a text.
        self._table = np.concatenate([vectors, unknown[None], np.zeros_like(unknown[None])]).astype(np.float32)
        self._of_texts: dict[str, np.ndarray] = {}
        self._cut: set[str] = set()

    @property
    def vectors(self) -> np.ndarray:
        """Those of the known words, float32 [words, D]."""
        return self._table[: len(self.words)]

    def words_of(self, text: str) -> list[list[str]]:
        """The words that stand for each token of a text; none for unknown ones."""
        tokens = tokens_of(text, self.options.tokens)
        return [words_for(token, self._rows, self.options.tokens, self.options.splits) for token in tokens]

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._rows_of(text) for text in texts]
        lengths = np.array([len(one) for one in rows], dtype=np.int64)
        padded = np.full((len(rows), lengths.max(initial=0)), len(self._table) - 1)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(rows) if rows else 0
        return self._table[padded], lengths

    def unknown(self, text: str) -> list[str] | None:
        words = self.words_of(text)
        tokens = tokens_of(text, self.options.tokens)
        return [token for token, found in zip(tokens, words, strict=True) if not found] if any(words) else None

    def cut(self, texts: Sequence[str]) -> int:
        if self.options.max_words is None:
            return 0
        return sum(len(self._rows_of(text)) == self.options.max_words and text in self._cut for text in texts)

    def _rows_of(self, text: str) -> np.ndarray:
        if (rows := self._of_texts.get(text)) is None:
            found = self._read_as(text)
            kept = found[: self.options.max_words]
            rows = np.array([self._rows.get(word, len(self.words)) for word in kept or [""]])
            if len(self._of_texts) >= REMEMBERED:
                self._of_texts.clear()
                self._cut.clear()
            self._cut |= {text} if len(kept) < len(found) else set()
            self._of_texts[text] = rows
        return rows

    def _read_as(self, text: str) -> list[str]:
        """The known words of a text; with ``unknown: random`` also the tokens that stand for no known word."""
        if self.options.unknown == "leave_out":
            return [word for words in self.words_of(text) for word in words]
        tokens = tokens_of(text, self.options.tokens)
        found = zip(tokens, self.words_of(text), strict=True)
        return [word for token, words in found for word in words or [token]]

    def labels(self, text: str) -> list[str]:
        return self._read_as(text)[: self.options.max_words] or ["(no known word)"]

    def description(self) -> dict[str, Any]:
        return {"kind": "word_vectors", "options": self.options.model_dump(mode="json"), "words": self.words}

    def tensors(self) -> dict[str, np.ndarray]:
        """``word_vectors``, float32 [words + 1, D]; the last row is that of texts without a known word."""
        return {TABLE: self._table[:-1]}


class CachedEncoder(TextEncoder):
    """The outputs of a frozen text model: captions' from ``cache``, other texts' by the model itself.

    Raises MismatchError where ``cache`` is of another model or output, and when a text that is not in it is encoded
    and the model on this machine is another one.

    Args:
        options: the text entry, which names the model.
        label, state: the model's name, and the digest of its weights and settings.
        cache: a ``vectors.h5``; None: all texts are encoded when asked for.
    """

    def __init__(
        self, options: FrozenOptions, label: str, state: str, dimension: int, max_tokens: int, cache: Path | None
    ):
        self.options, self.label, self.state = options, label, state
        self.dimension, self.max_tokens = dimension, max_tokens
        self.cache = None if cache is None else Path(cache)
        self._digests = np.empty(0, dtype="S32")
        self._cut: set[str] = set()  # of the texts that are not in the cache
        self._model: FrozenModel | None = None
        if self.cache is not None:
            self._read(self.cache)

    def _read(self, cache: Path) -> None:
        with _opened(cache) as file:
            other, form = _options_of(file.attrs.get("kind"), _content(cache, file, "options")), self.options.form
            made, found = file.attrs.get("state"), getattr(other, "form", None)
            if (type(other), made, found) != (type(self.options), self.state, form):
                label = file.attrs.get("label")
                raise MismatchError(
                    f"{cache} does not fit: it has {found} of the model {label} (state {str(made)[:12]}), and "
                    f"{form} of {self.label} (state {self.state[:12]}) are needed."
                )
            digests = file["digests"][:]
            self._order = np.argsort(digests)
            self._digests, self._offsets = digests[self._order], file["offsets"][:]
            vectors = file["vectors"]
            self._place = vectors.dtype, vectors.id.get_offset(), vectors.shape

    @cached_property
    def _vectors(self) -> np.ndarray:
        dtype, offset, shape = self._place
        if not shape[0]:
            return np.empty(shape, dtype)
        return np.memmap(str(self.cache), dtype, "r", offset, shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_vectors"} | {"_model": None}

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        found = self._cached(list(dict.fromkeys(texts)))
        if missing := [text for text in dict.fromkeys(texts) if text not in found]:
            found |= self._live(missing)
        lengths = np.array([len(found[text]) for text in texts], dtype=np.int64)
        vectors = np.zeros((len(texts), lengths.max(initial=0), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[: len(found[text])] = found[text]
        return vectors, lengths

    def _cached(self, texts: list[str]) -> dict[str, np.ndarray]:
        if not len(self._digests) or not texts:
            return {}
        wanted = np.array([text_digest(text) for text in texts], dtype="S32")
        places = np.minimum(np.searchsorted(self._digests, wanted), len(self._digests) - 1)
        return {
            text: self._vectors[self._offsets[row] : self._offsets[row + 1]]
            for text, row, there in zip(texts, self._order[places], self._digests[places] == wanted, strict=True)
            if there
        }

    def _live(self, texts: list[str]) -> dict[str, np.ndarray]:
        from earwitness.text.frozen import encoded, model_of

        if self._model is None:
            model = model_of(self.options)
            if model.state != self.state:
                raise MismatchError(
                    f"The text model in {model.where} is {model.label} (state {model.state[:12]}), and the texts were "
                    f"encoded by {self.label} (state {self.state[:12]}), which is needed for other texts."
                )
            self._model = model
        found = {}
        for number, vectors, tokens in encoded(self._model, texts):
            found[texts[number]] = vectors
            self._cut |= {texts[number]} if tokens > self.max_tokens > 0 else set()
        return found

    def cut(self, texts: Sequence[str]) -> int:
        return sum(text in self._cut for text in texts)

    def description(self) -> dict[str, Any]:
        sizes = {"dimension": self.dimension, "max_tokens": self.max_tokens}
        of_model = {"label": self.label, "state": self.state}
        return {"kind": self.options.kind, "options": self.options.model_dump(mode="json"), **of_model, **sizes}

    def tensors(self) -> dict[str, np.ndarray]:
        """Nothing: the model stays where it is."""
        return {}


def open_encoder(path: Path, expected: dict[str, Any] | None = None) -> TextEncoder:
    """The encoder in a ``vectors.h5``.

    Raises MismatchError if the file's provenance differs from ``expected``, and EarwitnessError for any other file.
    """
    with _opened(path) as file:
        require_match(path, _content(path, file, "provenance"), expected or {})
        description = {"kind": file.attrs.get("kind"), "options": _content(path, file, "options")}
        try:
            if isinstance(_options_of(**description), FrozenOptions):
                description |= {name: file.attrs[name] for name in ("label", "state")}
                description |= {name: int(file.attrs[name]) for name in ("dimension", "max_tokens")}
                return encoder_of(description, {}, Path(path))
            description["words"] = list(file["words"].asstr()[:])
            table = np.concatenate([file["vectors"][:], file["unknown"][:][None]])
        except KeyError as error:
            raise _no_vectors(path, str(error)) from error
    return encoder_of(description, {TABLE: table})


def encoder_of(
    description: Mapping[str, Any], tensors: Mapping[str, np.ndarray], cache: Path | None = None
) -> TextEncoder:
    """The encoder of a trained model, from what it keeps of one: ``description()`` and ``tensors()``.

    ``cache`` is a ``vectors.h5`` with encoded captions, for kinds that encode texts by a model. Raises EarwitnessError
    where description and tensors do not fit each other.
    """
    options = _options_of(description.get("kind"), description.get("options", {}))
    if isinstance(options, FrozenOptions):
        sizes = int(description["dimension"]), int(description["max_tokens"])
        return CachedEncoder(options, str(description["label"]), str(description["state"]), *sizes, cache)
    if not isinstance(options, WordVectorsOptions):
        raise EarwitnessError(f"Texts of kind {options.kind!r} are no vectors.")
    words, table = description["words"], np.asarray(tensors.get(TABLE, np.empty((0, 0))), dtype=np.float32)
    if table.ndim != 2 or len(table) != len(words) + 1:
        raise MismatchError(f"The model's tensor {TABLE} is {list(table.shape)}; [{len(words) + 1}, D] is needed.")
    return WordVectors(words, table[:-1], table[-1], options)


def _options_of(kind: Any, options: Mapping[str, Any]) -> TextOptions:
    """The options of a text of any kind, as a file or a model has them."""
    if kind not in registry.TEXTS:
        raise EarwitnessError(f"A text of kind {kind!r} is not known; {nearest(str(kind), registry.TEXTS)}.")
    return registry.load(registry.TEXTS[kind].options).model_validate(options)


def text_digest(text: str) -> bytes:
    """SHA-256 of a text, by which ``vectors.h5`` has its vectors."""
    return hashlib.sha256(text.encode()).digest()


def write_attributes(file: h5py.File, kind: str, contents: Mapping[str, Any], **values: Any) -> None:
    """The attributes of a ``vectors.h5``; ``contents`` become JSON."""
    file.attrs["kind"] = kind
    for name, content in contents.items():
        file.attrs[name] = json.dumps(content, sort_keys=True)
    file.attrs.update(values)


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError as error:
        raise EarwitnessError(f"{path} is not there.") from error
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read as HDF5: {error}. Remove it and run again.") from error


def _content(path: Path, file: h5py.File, name: str) -> dict[str, Any]:
    try:
        return json.loads(file.attrs[name])
    except (KeyError, TypeError, ValueError) as error:
        raise _no_vectors(path, name) from error


def _no_vectors(path: Path, lacking: str) -> EarwitnessError:
    return EarwitnessError(f"{path} is no file of a text's vectors: it has no {lacking}. Remove it and run again.")
