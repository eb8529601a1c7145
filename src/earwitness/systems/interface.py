"""The interface of a system: how it is trained and validated, and what it predicts.

A system has a subclass of ``System``, which the training loop drives, and a model that is one or more of ``Captioner``,
``Retriever`` and ``Grounder``, which ``System.load`` reads from a trained folder. Its options
(``earwitness.options.ExperimentOptions``) name the files it reads and the kinds of prediction it makes. One line of
``registry.SYSTEMS`` names both. docs/extending.md has worked examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from earwitness import registry
from earwitness.errors import EarwitnessError, listed, nearest
from earwitness.files import read_json, sha256

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn
    from torch.utils.data import DataLoader

    from earwitness.metrics.captions import Tools
    from earwitness.options import ExperimentOptions
    from earwitness.prediction.clips import Clips
    from earwitness.training.schedules import Moment
    from earwitness.training.selection import Choice, Stop

MODEL_FILES = {
    "weights": "model.safetensors",
    "description": "model.json",
    "events": "events.jsonl",
}  # output of training
MODEL_SCHEMA = 2  # of model.json
PREDICTION = "prediction.json"  # provenance of a prediction, in the folder of its kind

OptionsT = TypeVar("OptionsT", bound="ExperimentOptions")


class System(ABC, Generic[OptionsT]):
    """A system on one data set with one seed, as seen by the training loop.

    ``class Mine(System[MineOptions])`` is type-checked with its options; a bare ``System`` accepts any.
    A system without training (``TRAINED = False`` in its options) overrides only ``load``.

    Attributes:
        network: the module to train; its state dict is saved.
        fixed: names of buffers of the network that are as ``__init__`` makes them, which checkpoints leave out.
        choice: which epoch's weights are kept.
        stop: when training ends before the last epoch; None: never.
    """

    network: nn.Module
    fixed: Sequence[str] = ()
    choice: Choice
    stop: Stop | None = None

    def __init__(self, options: OptionsT, files: Mapping[str, Path], seed: int, tools: Tools):
        """Read the inputs of training and create ``network``.

        Args:
            files: the files of ``options.training_inputs()`` by name.
            tools: the jars and models of validation metrics.
        """
        raise NotImplementedError(f"{type(self).__name__} is not trained")

    def optimiser(self) -> torch.optim.Optimizer:
        """The optimiser of all trainable parameters, in any number of parameter groups."""
        raise NotImplementedError

    def learning_rate(self, moment: Moment) -> float | Sequence[float]:
        """The learning rate of a step: one for all parameter groups, or one for each.

        Called before every step. It must depend on ``moment`` alone, so that a resumed training has the same rates.
        """
        raise NotImplementedError

    def training_loader(self) -> DataLoader:
        """Batches of an epoch; their order depends on (seed, epoch) alone (``training.sampler.EpochSampler``)."""
        raise NotImplementedError

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Losses of one step, scalars: ``loss`` is minimised, the others are only recorded.

        Of several processes, each is given the whole batch, and must give the same loss (``earwitness.nn.parallel``).
        """
        raise NotImplementedError

    def validation_loader(self) -> DataLoader | None:
        """Batches of the validation split; None: no validation, then ``choice`` must not need a metric."""
        return None

    def validation_step(self, batch: Any) -> Any:
        """The outputs for one batch that ``validation_metrics`` needs."""
        raise NotImplementedError

    def validation_metrics(self, outputs: list[Any]) -> dict[str, float]:
        """Metrics of the validation split, named ``validation_...``, from the outputs of ``validation_step``."""
        raise NotImplementedError

    def operating_point(self) -> dict[str, Any]:
        """Settings of prediction that validation selects, such as a threshold; called once with the final weights."""
        return {}

    def description(self) -> dict[str, Any]:
        """What ``load`` needs beside options and weights, as JSON content for model.json.

        For example sizes, the vocabulary and the front end of the features, so that the folder can be loaded anywhere.
        """
        return {}

    @classmethod
    @abstractmethod
    def load(cls, options: OptionsT, folder: Path, files: Mapping[str, Path]) -> Any:
        """The model: a Captioner, a Retriever, a Grounder, or several of these at once.

        Args:
            folder: the output of training: ``model.safetensors`` and ``model.json`` (``read_model``).
            files: the files of ``options.prediction_inputs()`` by name. A trained system must load without them, so
                that its folder can be loaded anywhere.
        """


class Model:
    """What all models have in common.

    Attributes:
        made_by: for each of the features that the model reads, what must have made them (``FeatureStore.front_end``);
            features of another front end are then refused.
        chosen: what was chosen in prediction, such as a temperature; JSON content, which ``prediction.json`` records.
    """

    made_by: Mapping[str, Mapping[str, Any]] = {}
    chosen: Mapping[str, Any] = {}

    def remarks(self) -> list[str]:
        """What a user should know of the clips and texts since this was last asked, such as how many were cut."""
        return []


class Captioner(Model, ABC):
    """A model that describes clips."""

    @abstractmethod
    def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:
        """Caption and score of each clip, in order; higher scores are better, their scale depends on the model."""


class Retriever(Model, ABC):
    """A model that compares clips with texts."""

    @abstractmethod
    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        """Similarities: float32 [texts, clips], higher is more similar."""


class DualEncoder(Retriever):
    """A retriever that embeds clips and texts apart: the similarity of two is the dot product of their embeddings."""

    @abstractmethod
    def embed_clips(self, clips: Clips) -> np.ndarray:
        """Embeddings of clips: float32 [clips, D]."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: float32 [texts, D]."""

    def unknown(self, text: str) -> list[str] | None:
        """The words of a text that the model does not know; None where it knows nothing of the text."""
        return [] if text.strip() else None

    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        return self.embed_texts(texts) @ self.embed_clips(clips).T


class Grounder(Model, ABC):
    """A model that locates texts in clips.

    Attributes:
        hop: seconds from one frame of the activations to the next.
        threshold: frames with a higher activation are active; median_filter: over how many frames activations are
            smoothed before, an odd number. Both are the operating point, from validation.
        frame_threshold: of the frame metrics, which scale each activation to 0 to 1 before; None: they do not, and
            ``threshold`` is theirs.
    """

    hop: float
    threshold: float = 0.5
    frame_threshold: float | None = None
    median_filter: int = 1

    @abstractmethod
    def activations(self, clips: Clips, queries: Sequence[tuple[str, str]]) -> Iterator[np.ndarray]:
        """For each (clip_id, text), in order, the activation of the clip's frames: float32 [frames], 0 to 1."""

    def word_activations(
        self, clips: Clips, queries: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[list[str], np.ndarray]] | None:
        """For each (clip_id, caption), in order, its words and their activations: float32 [frames, words], 0 to 1.

        None for a model that does not tell words apart.
        """
        return None


def system_class(name: str) -> type[System]:
    """The system with this name in the registry."""
    return registry.load(registry.SYSTEMS[name].implementation)


def load(folder: str | Path, files: Mapping[str, Path] | None = None) -> Any:
    """Load the model of a seed's folder from anywhere, with the options of its prediction.

    Args:
        folder: such as ``results/mini/cl4ac/seed-0``.
        files: for systems without training, the files of ``options.prediction_inputs()`` by name.

    Raises EarwitnessError for a folder without a model.

    Example: ``load("results/mini/cl4ac/seed-0").caption(clips)``.
    """
    folder = Path(folder)
    options = options_of(folder)
    return system_class(options.system).load(options, folder, files or {})


def options_of(folder: Path) -> ExperimentOptions:
    """The options with which the model of a seed's folder is loaded: those of its prediction, else of its training.

    Raises EarwitnessError for a folder without a model.
    """
    content = prediction_of(folder) or read_model(folder)
    if (entry := registry.SYSTEMS.get(name := content["system"])) is None:
        raise EarwitnessError(f"{folder} has a model of the system {name!r}; {nearest(name, registry.SYSTEMS)}")
    return registry.load(entry.options).model_validate(content["options"])


def prediction_of(folder: Path) -> dict[str, Any]:
    """The record of the first prediction (``prediction.json``) with the weights in a seed's folder; {} where none is.

    Predictions of an earlier training say nothing of these weights. Raises EarwitnessError for files of another form.
    """
    weights = weights_digest(folder) if (folder / "model.json").is_file() else None
    predictions = {path: read_json(path) for path in sorted(folder.glob(f"*/{PREDICTION}"))}
    bad = []
    for path, entry in predictions.items():
        match entry:
            case {"system": str(), "options": dict(), "provenance": {"inputs": dict()}}:
                pass
            case _:
                bad.append(str(path))
    if bad:
        heading = "Files are no record of a prediction, which has `system`, `options` and `provenance`:"
        raise EarwitnessError(listed(heading, bad, "Remove them and run again."))
    return next(
        (entry for entry in predictions.values() if entry["provenance"]["inputs"].get("weights") == weights), {}
    )


def weights_digest(folder: Path) -> str:
    """SHA-256 of a folder's ``model.safetensors``; that of a file that has not changed is not computed again."""
    path = folder / "model.safetensors"
    now = path.stat()
    return _digest(path, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@lru_cache(maxsize=8)
def _digest(path: Path, *state: int) -> str:
    return sha256(path)


def read_model(folder: Path) -> dict[str, Any]:
    """Read ``model.json``. Raises EarwitnessError if it does not exist or has another schema."""
    path = folder / "model.json"
    if not path.is_file():
        raise EarwitnessError(f"{folder} has no trained model: {path.name} does not exist.")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != MODEL_SCHEMA:
        found = content.get("schema", 1) if isinstance(content, dict) else "no"
        raise EarwitnessError(
            f"{path} has schema {found}, {MODEL_SCHEMA} is needed: it was made by another version of Earwitness. "
            "Remove the folder and make the result again."
        )
    if content["weights_sha256"] != weights_digest(folder):
        raise EarwitnessError(
            f"{path} and model.safetensors beside it are of two trainings, or damaged. Make the result again."
        )
    return content
