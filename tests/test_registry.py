"""What a developer may get wrong in the options that are registered."""

from typing import Annotated, Literal

import pytest

from earwitness import registry
from earwitness.errors import EarwitnessError
from earwitness.options import Changes, ExperimentOptions, TrainingOptions


class Right(ExperimentOptions):
    KINDS = ("captioning",)

    system: Literal["mine"]
    train: TrainingOptions = TrainingOptions()


class NoKinds(ExperimentOptions):
    system: Literal["mine"]
    train: TrainingOptions = TrainingOptions()


class NoTuple(Right):
    KINDS = "captioning"


class Misspelt(Right):
    KINDS = ("retreival",)


class OtherName(Right):
    system: Literal["yours"]


class OtherStage(Right):
    beam: Annotated[int, Changes("predictions")] = 1


class NoTraining(ExperimentOptions):
    KINDS = ("captioning",)

    system: Literal["mine"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (NoKinds, "KINDS is None"),
        (NoTuple, "KINDS is 'captioning'"),
        (Misspelt, "did you mean 'retrieval'?"),
        (OtherName, "Literal['mine']"),
        (OtherStage, "did you mean 'prediction'?"),
        (NoTraining, "train"),
    ],
)
def test_a_mistake_in_options_names_the_class_and_what_it_needs(monkeypatch, model, said):
    monkeypatch.setattr(registry, "load", lambda place: model)
    with pytest.raises(EarwitnessError) as caught:
        registry.options_of({"mine": registry.Entry("here", "there")}, "system")
    (line,) = str(caught.value).splitlines()[1:]
    assert model.__name__ in line and said in line


def test_options_that_are_as_they_need_to_be(monkeypatch):
    monkeypatch.setattr(registry, "load", lambda place: Right)
    assert registry.options_of({"mine": registry.Entry("here", "there")}, "system") == (Right,)
