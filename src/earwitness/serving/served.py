"""A trained model that answers requests: tables with a recording, a query or a phrase in each row.

What a row asks for is told by its columns:

- ``audio``: a caption, of a captioner;
- ``query``: the most similar recordings of an index; ``audio`` and ``query``, without an index: their similarity;
- ``audio`` and ``phrase``: when the phrase is heard.

Rows of several requests are answered together. A row that cannot be answered has the reason in ``error``, and the
others are answered all the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.audio.check import contents
from earwitness.audio.formats import FORMATS
from earwitness.audio.sound import AudioError
from earwitness.errors import EarwitnessError, FullDiskError, MismatchError, listed
from earwitness.report.pictures import Row, draw, spectrogram
from earwitness.serving.batches import Batches
from earwitness.serving.captioning import Captioned, FileCaptioner
from earwitness.serving.grounding import Grounded, Locator
from earwitness.serving.recordings import BLOCK, Features
from earwitness.serving.searching import Searcher
from earwitness.systems.interface import DualEncoder, Retriever, load, options_of

CAPTION, SEARCH, SIMILARITY, GROUND = "caption", "search", "similarity", "ground"
INPUTS = {CAPTION: ("audio",), SEARCH: ("query",), SIMILARITY: ("audio", "query"), GROUND: ("audio", "phrase")}
OUTPUTS = {
    CAPTION: ("caption", "score", "seconds", "cut"),
    SEARCH: ("results",),
    SIMILARITY: ("similarity", "seconds"),
    GROUND: ("events", "activation", "highest", "hop", "threshold", "unknown", "seconds", "picture"),
}
PARAMETERS: dict[str, dict[str, Any]] = {CAPTION: {}, SEARCH: {"top": 10}, SIMILARITY: {}, GROUND: {"picture": False}}
DIGITS = 6  # of numbers in replies

Answer = dict[str, Any] | str | Exception  # columns of a reply; why it has none; a fault that is not of the request


class BadRequest(EarwitnessError):
    """A request that cannot be answered."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a row asks for; ``name`` is that of the recording in a folder, made from its content."""

    task: str
    audio: bytes = b""
    name: str = ""
    text: str = ""
    top: int = 0
    picture: bool = False


class Served:
    """A trained model, for any number of requests at a time.

    Args:
        model: a seed's folder.
        index: an index by that model, for a retriever; None: it compares a recording and a query that are given.
        weights: files of extractors' weights, where they are not in resources/checkpoints.
        most: rows that are answered together, at most.

    Attributes:
        tasks: what it can do, in the order in which ``INPUTS`` has them.
        features: what computes the features that it reads; None for searches, which need none.

    Raises EarwitnessError for a folder without a model, or whose features cannot be computed here.
    """

    def __init__(self, model: Path, index: Path | None = None, weights: Sequence[Path] = (), most: int = BLOCK):
        kinds = options_of(model).KINDS
        if index is not None and "retrieval" not in kinds:
            raise EarwitnessError(f"{model} cannot search an index: its system is for {' and '.join(kinds)}.")
        self.features: Features | None = None
        self._handlers: dict[str, Callable[[Path, Sequence[Request]], list[Answer]]] = {}
        if "captioning" in kinds:
            self._captioner = FileCaptioner(model, weights, cut=True, progress=False)
            self.features = self._captioner.features
            self._handlers[CAPTION] = self._caption
        if index is not None:
            self._searcher = Searcher(index, model, weights)
            self._searcher.model  # noqa: B018 (loads it now)
            self._handlers[SEARCH] = self._search
        if "grounding" in kinds:
            self._locator = Locator(model, weights, progress=False)
            self.features = self._locator.features
            self._handlers[GROUND] = self._ground
        if "retrieval" in kinds and index is None:
            self._retriever: Retriever = self._locator.model if "grounding" in kinds else load(model)  # type: ignore[assignment]
            self._features = self.features = Features(self._retriever.made_by, weights, cut=True, model=model)
            self._handlers[SIMILARITY] = self._compare
        self.tasks = [task for task in INPUTS if task in self._handlers]
        self._batches = Batches[Request, Answer](self._together, most)

    @classmethod
    def of(cls, artifacts: Mapping[str, Path], model: str, most: int = BLOCK) -> Served:
        """The model of a registered version: of its artifacts by name, and ``model`` as a path below its results."""
        weights = sorted(artifacts["weights"].glob("*/*")) if "weights" in artifacts else []
        index = artifacts["index"] / "index.h5" if "index" in artifacts else None
        return cls(artifacts["results"] / model, index, weights, most)

    def answer(self, rows: Iterable[Mapping[str, Any]], parameters: Mapping[str, Any] | None = None) -> list[dict]:
        """The reply to each row, as JSON content: the columns of ``OUTPUTS`` of all tasks, and ``error``.

        Columns that a row does not have are None, and so are numbers that are not finite.

        Args:
            rows: strings by column; other values are as none.
            parameters: ``top``, how many recordings a search finds; ``picture``, whether pictures are drawn.

        Raises BadRequest where no row can be answered; anything else is a fault that is not of the rows.
        """
        known = {name: value for task in self.tasks for name, value in PARAMETERS[task].items()}
        chosen = known | {name: value for name, value in (parameters or {}).items() if name in known}
        if "top" in chosen and chosen["top"] < 1:
            raise BadRequest(f"top is {chosen['top']}; at least one result is needed.")
        parsed = [self._parsed(row, chosen) for row in rows]
        if not parsed:
            raise BadRequest(f"The request has no row with a known column; {self._advice()}.")
        found = iter(self._batches([request for request in parsed if isinstance(request, Request)]))
        answers = [next(found) if isinstance(one, Request) else one for one in parsed]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if all(isinstance(answer, str) for answer in answers):
            reasons = [f"row {number}: {answer}" for number, answer in enumerate(answers, 1)]
            raise BadRequest(listed("No row can be answered:", reasons))
        columns = dict.fromkeys([column for task in self.tasks for column in OUTPUTS[task]] + ["error"])
        return [columns | ({"error": answer} if isinstance(answer, str) else _finite(answer)) for answer in answers]

    def _parsed(self, row: Mapping[str, Any], parameters: Mapping[str, Any]) -> Request | str:
        """What a row asks for, or why that is not known."""
        columns = ("audio", "query", "phrase")
        given = {name: row[name] for name in columns if row.get(name) is not None and row[name] == row[name]}  # NaN
        if wrong := [name for name, value in given.items() if not isinstance(value, str)]:
            return f"the {wrong[0]} is {given[wrong[0]]!r}, which is no text"
        task = next((task for task in self.tasks if set(INPUTS[task]) == set(given)), None)
        if task is None:
            return f"it has {' and '.join(given) or 'no known column'}; {self._advice()}"
        text = given.get("query", given.get("phrase", ""))
        if task != CAPTION and not text.strip():
            return f"the {INPUTS[task][-1]} is empty"
        audio, name = b"", ""
        if "audio" in given:
            try:  # lines are what the program base64 writes
                audio = base64.b64decode("".join(given["audio"].splitlines()), validate=True)
            except (binascii.Error, ValueError) as error:
                return f"the audio is not valid base64 ({error}); send the bytes of a file"
            if not audio:
                return "the audio is empty"
            kind = contents(io.BytesIO(audio))
            suffix = next((suffix for suffix, named in FORMATS.items() if named == kind), None)
            if suffix is None and kind is not None:
                return f"the audio is {kind}, which is not read; known are {', '.join(dict.fromkeys(FORMATS.values()))}"
            name = f"{hashlib.sha256(audio).hexdigest()[:32]}{suffix or '.wav'}"
        return Request(task, audio, name, text, parameters.get("top", 0), parameters.get("picture", False))

    def _advice(self) -> str:
        needed = (" and ".join(f"`{column}`" for column in INPUTS[task]) + f" ({task})" for task in self.tasks)
        return f"this model takes {' or '.join(needed)}"

    def _together(self, requests: Sequence[Request]) -> list[Answer]:
        answers: list[Answer] = [""] * len(requests)
        with tempfile.TemporaryDirectory(prefix="earwitness-") as name:
            folder = Path(name).resolve()
            for audio_name, audio in {one.name: one.audio for one in requests if one.audio}.items():
                (folder / audio_name).write_bytes(audio)
            for task, handler in self._handlers.items():
                places = [place for place, request in enumerate(requests) if request.task == task]
                found = _apart(partial(handler, folder), [requests[place] for place in places])
                for place, answer in zip(places, found, strict=True):
                    path = f"{folder}/{requests[place].name}"
                    answers[place] = answer.replace(path, "the recording") if isinstance(answer, str) else answer
        return answers

    def _caption(self, folder: Path, requests: Sequence[Request]) -> list[Answer]:
        names = list(dict.fromkeys(request.name for request in requests))
        made = map(_captioned, self._captioner.caption([folder / name for name in names]))
        found = dict(zip(names, made, strict=True))
        return [found[request.name] for request in requests]

    def _search(self, folder: Path, requests: Sequence[Request]) -> list[Answer]:
        del folder
        model = self._searcher.model
        texts = [text for text in dict.fromkeys(one.text for one in requests) if model.unknown(text) is not None]
        hits = {}
        if texts:
            found = self._searcher.clips(self._searcher.of_texts(texts), max(request.top for request in requests))
            hits = dict(zip(texts, found, strict=True))
        return [
            {"results": [{"path": hit.found, "similarity": hit.similarity} for hit in hits[one.text][: one.top]]}
            if one.text in hits
            else _unknown(one.text)
            for one in requests
        ]

    def _compare(self, folder: Path, requests: Sequence[Request]) -> list[Answer]:
        names = list(dict.fromkeys(request.name for request in requests))
        checked = dict(zip(names, self._features.checked(folder, names, 1), strict=True))
        unknown: Any = getattr(self._retriever, "unknown", lambda _: [])
        answers: list[Answer] = []
        for request in requests:
            one = checked[request.name]
            answers.append(f"the recording {one.reason}" if isinstance(one, AudioError) else _unknown(request.text))
        good = [
            place
            for place, request in enumerate(requests)
            if not isinstance(checked[request.name], AudioError) and unknown(request.text) is not None
        ]
        recordings = [checked[name] for name in dict.fromkeys(requests[place].name for place in good)]
        with tempfile.TemporaryDirectory(prefix="earwitness-") as made:
            for part, clips in self._features.blocks(folder, recordings, Path(made), 1):  # type: ignore[arg-type]
                held = {recording.path: (row, recording) for row, recording in enumerate(part)}
                own = [place for place in good if requests[place].name in held]
                pairs = [(held[requests[place].name][0], requests[place].text) for place in own]
                for place, value in zip(own, self._similarities(clips, pairs), strict=True):
                    seconds = held[requests[place].name][1].seconds
                    answers[place] = {"similarity": float(value), "seconds": seconds}
        return answers

    def _similarities(self, clips: Any, pairs: Sequence[tuple[int, str]]) -> list[float]:
        """Of each clip's row and text."""
        texts = list(dict.fromkeys(text for _, text in pairs))
        if isinstance(self._retriever, DualEncoder):  # others compare all, which is what they do anyway
            audio, words = self._retriever.embed_clips(clips), self._retriever.embed_texts(texts)
            return [float(words[texts.index(text)] @ audio[row]) for row, text in pairs]
        values = self._retriever.similarity(clips, texts)
        return [float(values[texts.index(text), row]) for row, text in pairs]

    def _ground(self, folder: Path, requests: Sequence[Request]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for name in dict.fromkeys(request.name for request in requests):  # each is read once for all its phrases
            places = [place for place, request in enumerate(requests) if request.name == name]
            found = _apart(partial(self._ground_one, folder), [requests[place] for place in places])
            answers |= dict(zip(places, found, strict=True))
        return [answers[place] for place in range(len(requests))]

    def _ground_one(self, folder: Path, requests: Sequence[Request]) -> list[Answer]:
        """Answers to requests of the same recording."""
        unknown: Any = getattr(self._locator.model, "unknown", lambda _: [])
        phrases = list(dict.fromkeys(one.text for one in requests if unknown(one.text) is not None))
        if not phrases:
            return [_unknown(one.text) for one in requests]
        (found,) = self._locator.locate([folder / requests[0].name], phrases)
        return [self._grounded(folder, one, found) if one.text in phrases else _unknown(one.text) for one in requests]

    def _grounded(self, folder: Path, request: Request, found: Grounded) -> Answer:
        values, phrase = found.activations[request.text], request.text
        events = []
        for event in found.events[phrase]:
            inside = values[round(event.onset / found.hop) : max(1, math.ceil(event.offset / found.hop - 1e-6))]
            peak = float(inside.max(initial=event.activation))
            events.append({"onset": event.onset, "offset": event.offset, "peak": peak, "activation": event.activation})
        picture = None
        if request.picture:
            path = folder / f"{request.name}.png"
            row = Row(phrase, values, [(event.onset, event.offset) for event in found.events[phrase]])
            sound = spectrogram(folder / request.name, found.seconds)
            draw(path, sound, [row], hop=found.hop, threshold=found.threshold)
            picture = base64.b64encode(path.read_bytes()).decode()
        return {
            "events": events,
            "activation": values.tolist(),
            "highest": float(values.max()),
            "hop": found.hop,
            "threshold": found.threshold,
            "unknown": found.unknown[phrase],
            "seconds": found.seconds,
            "picture": picture,
        }


def _apart(function: Callable[[Sequence[Request]], list[Answer]], requests: Sequence[Request]) -> list[Answer]:
    """The answers of a function; where it fails, of each half by itself, so that one request does not harm others.

    What fails by itself is answered with the reason, or with the error where that is not of the request.
    """
    if not requests:
        return []
    try:
        return function(requests)
    except Exception as error:  # a model may raise any
        if len(requests) == 1:
            own = isinstance(error, EarwitnessError) and not isinstance(error, (MismatchError, FullDiskError))
            return [str(error) if own else error]
    middle = len(requests) // 2
    return _apart(function, requests[:middle]) + _apart(function, requests[middle:])


def _captioned(found: Captioned | AudioError) -> Answer:
    if isinstance(found, AudioError):
        return f"the recording {found.reason}"
    return {"caption": found.caption, "score": found.score, "seconds": found.seconds, "cut": found.cut}


def _unknown(text: str) -> str:
    return f"the model knows no word of {text!r}"


def _finite(content: Any) -> Any:
    """Content with numbers rounded, and None for those that JSON does not have."""
    match content:
        case float():
            return round(content, DIGITS) if math.isfinite(content) else None
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list():
            return [_finite(value) for value in content]
        case np.generic():
            return _finite(content.item())
        case _:
            return content
