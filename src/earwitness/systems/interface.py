"""What a system is: how it is trained, what choosing an epoch looks at, and what it predicts.

A system is one module with a class of the kind ``System``, which the training loop drives, and a model of one or more
of the kinds ``Captioner``, ``Retriever`` and ``Grounder``, which ``load`` makes of a folder that training left. Its
options (``earwitness.options.ExperimentOptions``) say which files it reads and which kinds of prediction it makes. One
line of ``registry.SYSTEMS`` names both. docs/extending.md has worked examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from earwitness import registry
from earwitness.errors import EarwitnessError
from earwitness.files import read_json

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

MODEL_FILES = {"weights": "model.safetensors", "description": "model.json", "events": "events.jsonl"}  # of a training
MODEL_SCHEMA = 2  # of model.json
PREDICTION = "prediction.json"  # in the folder of each kind of prediction: what made it

OptionsT = TypeVar("OptionsT", bound="ExperimentOptions")


class System(ABC, Generic[OptionsT]):
    """A system on one data set, with one seed, as the training loop sees it.

    ``class Mine(System[MineOptions])`` is checked with its options; a bare ``System`` takes any.
    A system without training (``TRAINED = False`` of its options) overrides ``load`` alone.

    Attributes:
        network: all that is trained; its state is what is saved.
        choice: which epoch's weights are kept.
        stop: when training ends before its last epoch; None: never.
    """

    network: nn.Module
    choice: Choice
    stop: Stop | None = None

    def __init__(self, options: OptionsT, files: Mapping[str, Path], seed: int, tools: Tools):
        """Read what training needs.

        Args:
            files: inputs by name, as ``options.training_inputs()`` names them.
            tools: the jars and models that validation metrics may need.
        """
        raise NotImplementedError(f"{type(self).__name__} is not trained")

    def optimiser(self) -> torch.optim.Optimizer:
        """The optimiser over what is trained, in as many parameter groups as needed."""
        raise NotImplementedError

    def learning_rate(self, moment: Moment) -> float | Sequence[float]:
        """The learning rate of a step: one for all parameter groups, or one for each.

        Asked before every step. Whatever it depends on is in ``moment``, so that a resumed training has the same rates.
        """
        raise NotImplementedError

    def training_loader(self) -> DataLoader:
        """Batches of an epoch in an order that (seed, epoch) settles (``earwitness.training.sampler.EpochSampler``)."""
        raise NotImplementedError

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Losses of one step: ``loss`` is minimised, the others are recorded beside it."""
        raise NotImplementedError

    def validation_loader(self) -> DataLoader | None:
        """Batches of the validation split; None: nothing is validated, and ``choice`` needs no metric."""
        return None

    def validation_step(self, batch: Any) -> Any:
        """What ``validation_metrics`` needs of one batch."""
        raise NotImplementedError

    def validation_metrics(self, outputs: list[Any]) -> dict[str, float]:
        """Metrics of the validation split from all ``validation_step`` gave, named ``validation_...``."""
        raise NotImplementedError

    def operating_point(self) -> dict[str, Any]:
        """What validation chooses for prediction, such as a threshold; called once, with the chosen weights loaded."""
        return {}

    def description(self) -> dict[str, Any]:
        """What ``load`` must know beside options and weights, as plain content for model.json.

        Sizes, the vocabulary, what made the features: with it the folder is complete and can be loaded anywhere.
        """
        return {}

    @classmethod
    @abstractmethod
    def load(cls, options: OptionsT, folder: Path, files: Mapping[str, Path]) -> Any:
        """The model: a Captioner, a Retriever, a Grounder, or several of them at once.

        Args:
            folder: what training left: ``model.safetensors`` and ``model.json`` (``read_model``).
            files: inputs by name, as ``options.prediction_inputs()`` names them. A trained system needs none of them
                to be loaded, so that its folder can be loaded anywhere.
        """


class Captioner(ABC):
    """A model that describes clips."""

    @abstractmethod
    def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:
        """A caption of each clip in order, and its score (the higher the better; of the model's own kind)."""


class Retriever(ABC):
    """A model that compares clips with texts."""

    @abstractmethod
    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        """Scores, the higher the more alike: float32 [texts, clips]."""


class Grounder(ABC):
    """A model that says when a text is heard in a clip.

    Attributes:
        hop: seconds from one frame of the activations to the next.
        threshold: frames with an activation above it are active; the operating point that validation chose.
    """

    hop: float
    threshold: float = 0.5

    @abstractmethod
    def activations(self, clips: Clips, queries: Sequence[tuple[str, str]]) -> Iterator[np.ndarray]:
        """For each (clip_id, text) in order the activation of the clip's frames, from 0 to 1: float32 [frames]."""


def system_class(name: str) -> type[System]:
    """The system that is registered under a name."""
    return registry.load(registry.SYSTEMS[name].implementation)


def load(folder: str | Path, files: Mapping[str, Path] | None = None) -> Any:
    """The model of a seed's folder, wherever that lies, with the options it predicted with.

    Raises EarwitnessError for a folder without a model.

    Example: ``load("results/mini/cl4ac/seed-0").caption(clips)``.
    """
    folder = Path(folder)
    predicted = sorted(folder.glob(f"*/{PREDICTION}"))
    content = read_json(predicted[0]) if predicted else read_model(folder)
    options = registry.load(registry.SYSTEMS[content["system"]].options).model_validate(content["options"])
    return system_class(content["system"]).load(options, folder, files or {})


def read_model(folder: Path) -> dict[str, Any]:
    """``model.json`` of a folder; EarwitnessError where there is none, or one of another version of Earwitness."""
    path = folder / "model.json"
    if not path.is_file():
        raise EarwitnessError(f"{folder} holds no trained model: there is no model.json in it.")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != MODEL_SCHEMA:
        found = content.get("schema", 1) if isinstance(content, dict) else "no"
        raise EarwitnessError(
            f"{path} is of schema {found}, and {MODEL_SCHEMA} is needed: another version of Earwitness trained this "
            "model. Remove the folder and ask for its result again."
        )
    return content
