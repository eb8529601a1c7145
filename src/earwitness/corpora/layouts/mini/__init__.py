"""The miniature data set: deterministic sound synthesis, exact event times, five varied captions a clip."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from earwitness.options import DatasetOptions, Options

__all__ = ["Mini", "MiniOptions"]

MOST_EVENTS = 4  # more of them crowd a clip of a few seconds


class ClipCounts(Options):
    """How many clips each split has; a split of 0 clips is absent."""

    development: NonNegativeInt = 600
    validation: NonNegativeInt = 60
    evaluation: NonNegativeInt = 100


class MiniOptions(DatasetOptions):
    """What the miniature data set is made of."""

    PHRASES = True

    layout: Literal["mini"]
    clips: ClipCounts = ClipCounts()
    seconds: list[PositiveFloat] = Field([4.0, 6.0], min_length=2, max_length=2)  # of a clip, least and most
    events: list[PositiveInt] = Field([1, 3], min_length=2, max_length=2)  # of a clip, least and most
    sample_rate: Annotated[int, Field(ge=16000, le=192000)] = 16000
    seed: NonNegativeInt = 0
    classes: Annotated[int, Field(ge=2, le=14)] = 12

    @model_validator(mode="after")
    def _ranges_make_sense(self) -> Self:
        for name in ("seconds", "events"):
            least, most = getattr(self, name)
            if least > most:
                raise ValueError(f"{name}: [{least}, {most}] must be [least, most]; did you swap them?")
        if self.seconds[0] < 1:
            raise ValueError(f"seconds: a clip of {self.seconds[0]} s is too short to hold sounds; use 1 or more")
        if self.events[1] > MOST_EVENTS:
            raise ValueError(f"events: {self.events[1]} events do not fit in a clip; use at most {MOST_EVENTS}")
        if not any(self.clips.model_dump().values()):
            raise ValueError("clips: every split has 0 clips; give at least one split some")
        return self


def __getattr__(name: str) -> Any:
    # The options are read whenever the configuration is checked; what makes the sounds is loaded only when used.
    if name == "Mini":
        return import_module("earwitness.corpora.layouts.mini.layout").Mini
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
