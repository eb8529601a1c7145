"""The vectors of a trained retriever as features and texts, so that it serves as a CLAP.

Both sides are of length 1, so that dot products are cosines; the file of either has the state of the model, a digest of
its weights and settings.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from earwitness import registry
from earwitness.clap.retriever import FILES, RetrieverFeatureOptions, RetrieverTextOptions
from earwitness.corpora.tables import audio_digest, clips_of
from earwitness.errors import EarwitnessError, nearest
from earwitness.features.store import write
from earwitness.files import SCHEMA, code_version, digest, sha256
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import DualEncoder, read_model, system_class
from earwitness.text.frozen import FrozenModel

AT_ONCE = 512  # clips or texts
TINY = 1e-12  # keeps a vector of length 0 from dividing by it


class TrainedRetriever:
    """The model in a seed's folder, as its training left it; loaded when it first embeds.

    Attributes:
        state: digest of weights, options and what else the model was made of; ``inputs.weights`` of its clips' vectors.

    Raises EarwitnessError for a folder without a model, and for one that does not embed clips and texts apart.
    """

    def __init__(self, folder: Path):
        if missing := [name for name in FILES.values() if not (folder / name).is_file()]:
            here = "" if folder.is_absolute() else f" (the working directory is {Path.cwd()})"
            raise EarwitnessError(f"{folder} has no trained retriever: {' and '.join(missing)} is not there{here}.")
        self.folder, self._content = folder, read_model(folder)
        self.state = digest({key: self._content[key] for key in ("system", "options", "network", "weights_sha256")})

    @cached_property
    def model(self) -> DualEncoder:
        """Reads options as trained, whatever the configuration has become."""
        if (name := self._content["system"]) not in registry.SYSTEMS:
            raise EarwitnessError(
                f"{self.folder} has a model of the system {name!r}; {nearest(name, registry.SYSTEMS)}"
            )
        options = registry.load(registry.SYSTEMS[name].options).model_validate(self._content["options"])
        model = system_class(name).load(options, self.folder, {})
        if not isinstance(model, DualEncoder):
            raise EarwitnessError(
                f"{self.folder} cannot embed: the system {name} does not embed clips and texts in one space "
                f"({type(model).__name__} is no DualEncoder). Name a retrieval experiment that does."
            )
        return model

    def clips(self, clips: Clips) -> Iterator[tuple[str, np.ndarray]]:
        """Id and vector, float32 [1, D], of each clip."""
        for batch in clips.batches(AT_ONCE):
            yield from zip(batch.ids, _unit(self.model.embed_clips(batch)), strict=True)

    def texts(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """The vector, float32 [1, D], of each text."""
        for start in range(0, len(texts), AT_ONCE):
            yield from _unit(self.model.embed_texts(texts[start : start + AT_ONCE]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, D] of length 1, float32 [n, 1, D]; captions' of several features have another one."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY))[:, None]


class RetrieverTexts(FrozenModel):
    """The text side of a trained retriever as a text model."""

    def __init__(self, options: RetrieverTextOptions):
        self.retriever = TrainedRetriever(options.folder)
        self.state, self.where = self.retriever.state, str(options.folder)
        self.label = f"{options.dataset}/{options.experiment}"

    def encoded(self, texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, int]]:
        vectors = self.retriever.texts(texts)
        bar = tqdm(vectors, desc="Encoding captions", total=len(texts), unit="caption", disable=len(texts) < AT_ONCE)
        for number, vector in enumerate(bar):
            yield number, vector, 0
        for remark in self.retriever.model.remarks():
            print(remark, file=sys.stderr)


def embed_clips(
    options: RetrieverFeatureOptions, clips_csv: Path, split: str, features: Mapping[str, Path], out: Path
) -> None:
    """Write a split's feature file, of one vector of length 1 for each clip, with a few hundred in memory at a time.

    Args:
        options: the feature entry, with the data set on which the retriever was trained.
        clips_csv: the corpus' table of clips.
        features: files of the split with the features that the retriever reads, by name.

    Raises:
        MismatchError: the features are of other clips, or not made as those that it was trained with.
        EarwitnessError: there is no such retriever, or a vector is not finite (all clips are named).
    """
    table = clips_of(clips_csv, split, f"the feature file {out}")
    retriever = TrainedRetriever(options.folder)
    clips = Clips.of(table, features, retriever.model.made_by)
    provenance = {
        "schema": SCHEMA,
        "made_by": options.extractor,
        "settings": options.settings("frames"),
        "inputs": {"audio": audio_digest(table), "weights": retriever.state},
        "features": {name: sha256(path) for name, path in features.items()},
        "untrained": any(store.provenance.get("untrained", False) for store in clips.stores.values()),
        "code": code_version(),
    }
    vectors = retriever.clips(clips)
    bar = tqdm(vectors, desc=f"Embedding {out.parent.name} {out.stem}", total=len(clips), unit="clip")
    write_vectors(out, bar, len(clips), provenance)
    for remark in retriever.model.remarks():
        print(remark, file=sys.stderr)


def write_vectors(out: Path, vectors: Iterable[tuple[str, np.ndarray]], clips: int, provenance: dict[str, Any]) -> None:
    """Write the vectors of clips, as ``TrainedRetriever.clips`` gives them and of at least one, as a feature file."""
    coming = iter(vectors)
    first = next(coming)
    write(out, chain([first], coming), first[1].shape[1], provenance, total=clips)
