"""Features of any recordings, computed as those were that a model was trained with."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from earwitness import registry
from earwitness.audio.check import inspect
from earwitness.audio.sound import AudioError
from earwitness.clap.retriever import RetrieverOptions
from earwitness.corpora.caption_rows import problem_of_name
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.extractors.options import PUBLIC
from earwitness.extractors.published import state
from earwitness.features.store import FeatureStore
from earwitness.features.workers import (
    SECOND_MB,
    USUAL_SECONDS,
    Shard,
    extractor_of,
    in_processes,
    make_here,
)
from earwitness.fetch.checkpoints import FOLDER
from earwitness.files import SCHEMA, digest
from earwitness.options import FeatureOptions
from earwitness.prediction.clips import Clips
from earwitness.systems.retriever import TrainedRetriever, write_vectors

SEPARATOR = "+"  # between the names of a retriever's vectors and of a feature that it reads: in neither
BLOCK = 32  # recordings whose features are on disk together, and that a model embeds at once


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be decoded: its path from the folder, its length and the digest of its file."""

    path: str
    seconds: float
    sha256: str


class TooLong(AudioError):
    """A recording of which the model would read the beginning alone."""


def placed(path: Path) -> Path:
    """The absolute path of a recording, of whose name a link keeps its own."""
    return path.parent.resolve() / path.name


class Features:
    """Computes the features that a model reads.

    Args:
        made_by: what made the features, by name (``Model.made_by``).
        weights: files of extractors' weights, where they are not in resources/checkpoints; found by their digests.
        cut: read the beginning of recordings that are longer than a feature allows, which are refused otherwise.
        model: the model's folder; retrievers that made its features are looked for in the same folder of results,
            and in ``results`` of the working directory.

    Attributes:
        seconds: how much of a recording is read at most.

    Raises EarwitnessError for features that cannot be computed here; all of them are named.
    """

    def __init__(
        self,
        made_by: Mapping[str, Mapping[str, Any]],
        weights: Sequence[Path] = (),
        cut: bool = False,
        model: Path | None = None,
    ):
        if not made_by:
            advice = "A model of CLAP vectors knows it from its first prediction: make its prediction.json first."
            raise EarwitnessError(f"It is not known what made the features that the model reads. {advice}")
        if absent := [str(path) for path in weights if not path.is_file()]:
            raise EarwitnessError(listed("Files of weights do not exist:", absent))
        self.made_by, self.options, problems = dict(made_by), dict[str, FeatureOptions](), []
        self.retrievers: dict[str, TrainedRetriever] = {}
        for name, front_end in made_by.items():
            try:
                if front_end["made_by"] == "retriever":
                    self.retrievers[name] = retriever = _retriever(front_end, model)
                    read = {f"{name}{SEPARATOR}{key}": value for key, value in retriever.model.made_by.items()}
                    self.made_by |= read
                else:
                    read = {name: front_end}
                for key, value in read.items():
                    self.options[key] = feature_options(value, weights)
            except EarwitnessError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise EarwitnessError(listed("Features that the model reads cannot be computed from recordings:", problems))
        self.extractors = {name: extractor_of(options) for name, options in self.options.items()}
        self.seconds = min(getattr(options, "seconds", None) or math.inf for options in self.options.values())
        self._cut = cut

    def remarks(self) -> list[str]:
        """Remarks of the retrievers that make features, since this was last asked."""
        return [f"{name}: {said}" for name, made in self.retrievers.items() for said in made.model.remarks()]

    def checked(self, root: Path, paths: Sequence[str], cores: int) -> Iterator[Recording | AudioError]:
        """Each recording, decoded once, or why it cannot be used, in order."""
        with ThreadPoolExecutor(max(1, cores)) as pool:
            try:
                yield from pool.map(lambda path: self._checked(root, path), paths)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _checked(self, root: Path, path: str) -> Recording | AudioError:
        if problem := problem_of_name(path):
            return AudioError(root / path, problem)
        try:
            facts = inspect(root / path)
        except AudioError as error:
            return error
        for name, extractor in self.extractors.items():
            refused = not self._cut and getattr(self.options[name], "on_longer", "cut") == "refuse"
            if refused and extractor.too_long(facts.seconds):
                limit = getattr(self.options[name], "seconds", None)
                return TooLong(root / path, f"is {facts.seconds:.1f} s long; the model reads at most {limit:g} s")
        return Recording(path, facts.seconds, facts.sha256)

    def blocks(
        self, root: Path, recordings: Sequence[Recording], folder: Path, cores: int
    ) -> Generator[tuple[Sequence[Recording], Clips], None, None]:
        """The features of recordings, in blocks as they are done, extracted in processes as far as memory allows.

        Args:
            folder: for the files of a block, which are removed when the next one is asked for.

        Raises EarwitnessError when a recording changed since it was checked, or a process was killed.
        """
        parts = [recordings[start : start + BLOCK] for start in range(0, len(recordings), BLOCK)]
        done: Counter[Path] = Counter()
        with closing(self._made(self._shards(root, parts, folder), recordings, cores)) as shards:
            for shard in shards:
                place = shard.path.parent
                done[place] += 1
                if done[place] < len(self.options):
                    continue
                part = parts[int(place.name)]
                clips = Clips(
                    [recording.path for recording in part],
                    {name: FeatureStore(place / f"{name}.h5") for name in self.options},
                )
                self._embed(clips, place)
                yield part, clips
                for store in clips.stores.values():
                    store.close()
                shutil.rmtree(place)

    def _embed(self, clips: Clips, place: Path) -> None:
        """Add the vectors that retrievers make of the features of clips."""
        for name, retriever in self.retrievers.items():
            own = {
                key.partition(SEPARATOR)[2]: store
                for key, store in clips.stores.items()
                if key.startswith(f"{name}{SEPARATOR}")
            }
            out, front_end = place / f"{name}.h5", self.made_by[name]
            audio = next(iter(own.values())).provenance["inputs"]["audio"]
            made = {"schema": SCHEMA, **front_end, "inputs": {**front_end["inputs"], "audio": audio}}
            write_vectors(out, retriever.clips(Clips(clips.ids, own)), len(clips), made)
            clips.stores[name] = FeatureStore(out)

    def _shards(self, root: Path, parts: Sequence[Sequence[Recording]], folder: Path) -> Iterator[Shard]:
        for number, part in enumerate(parts):
            paths, seconds, digests = (
                tuple(getattr(recording, name) for recording in part) for name in ("path", "seconds", "sha256")
            )
            for name, options in self.options.items():
                extractor, front_end = self.extractors[name], self.made_by[name]
                made = {
                    "schema": SCHEMA,
                    **front_end,
                    "inputs": {**front_end["inputs"], "audio": digest(list(zip(paths, digests, strict=True)))},
                    "hop": extractor.hop / extractor.sample_rate,
                }
                place = folder / str(number) / f"{name}.h5"
                yield Shard(place, paths, root, paths, digests, seconds, options, made)

    def _made(
        self, shards: Iterator[Shard], recordings: Sequence[Recording], cores: int
    ) -> Generator[Shard, None, None]:
        longest = max((recording.seconds for recording in recordings), default=0)
        needed = SECOND_MB * max(0.0, longest - USUAL_SECONDS)
        needed += sum(extractor.memory_mb for extractor in self.extractors.values())
        memory = psutil.virtual_memory().available / (1 << 20)
        processes = max(1, min(cores, int(memory // needed), len(recordings) // (2 * BLOCK)))
        on_gpu = any(extractor.on_gpu for extractor in self.extractors.values())
        if processes > 1 and not on_gpu:
            yield from in_processes(shards, processes, lambda *_: None)
            return
        for shard in shards:
            make_here([shard], self.extractors[shard.path.stem], cores if on_gpu else 1, lambda *_: None)
            yield shard


def _retriever(front_end: Mapping[str, Any], model: Path | None) -> TrainedRetriever:
    """The trained retriever that made vectors; EarwitnessError where it is not there, or another one is."""
    options = retriever_options(front_end)
    beside = [options.below(folder) for folder in (model.resolve().parents[2:3] if model else ())]
    retriever = TrainedRetriever(next((folder for folder in beside if folder.is_dir()), options.folder))
    if retriever.state != (wanted := front_end["inputs"]["weights"]):
        raise MismatchError(
            f"{retriever.folder} holds another model than made the vectors (state {retriever.state[:12]}, and "
            f"{wanted[:12]} is needed): it was trained again"
        )
    return retriever


def retriever_options(front_end: Mapping[str, Any]) -> RetrieverOptions:
    """Which trained retriever made vectors; as of ``FeatureStore.front_end``."""
    settings = {key: value for key, value in front_end["settings"].items() if key in RetrieverOptions.model_fields}
    return RetrieverOptions.model_validate(settings)


def feature_options(front_end: Mapping[str, Any], weights: Sequence[Path] = ()) -> FeatureOptions:
    """The options of the extractor that made features, with files of weights that have the digests of theirs.

    Args:
        front_end: as of ``FeatureStore.front_end``.
        weights: where to look for the weights, beside resources/checkpoints.

    Raises EarwitnessError for imported features, an unknown extractor, and weights that are not there.
    """
    made_by, settings, inputs = front_end["made_by"], dict(front_end["settings"]), dict(front_end["inputs"])
    if made_by == "external":
        raise EarwitnessError("the features were imported from files of somebody else; train on extracted features")
    if made_by not in registry.EXTRACTORS:
        raise EarwitnessError(f"the extractor {made_by!r} is not registered in this version of Earwitness")
    kind = registry.load(registry.EXTRACTORS[made_by].options)
    published = getattr(kind, "PUBLISHED", {})
    missing = []
    for option, wanted in inputs.items():
        public = FOLDER / published[option].file
        path = next((path for path in _candidates(public, weights) if state(path)["sha256"] == wanted), None)
        if path is None:
            title = published[option].title if settings.get(option) == PUBLIC else "its own file"
            missing.append(f"`{option}` ({title}, sha256 {wanted})")
        else:
            settings[option] = PUBLIC if path == public else str(path.absolute())
    if missing:
        where = f"nor in {FOLDER}" if weights else f"{FOLDER} has none with this digest; give it with `--weights FILE`"
        given = f"not among {', '.join(map(str, weights))}, {where}" if weights else where
        raise EarwitnessError(f"the weights of {made_by} were not found: {', '.join(missing)}: {given}")
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise EarwitnessError(f"this version of Earwitness has other options of {made_by} ({fields})") from error


def _candidates(public: Path, weights: Sequence[Path]) -> Iterator[Path]:
    """Files that may be the weights, the likely ones first: their digests take time."""
    if public.is_file():
        yield public
    yield from weights
    with suppress(OSError):
        yield from (path for path in sorted(FOLDER.iterdir()) if path.is_file() and path.suffix != ".json")
