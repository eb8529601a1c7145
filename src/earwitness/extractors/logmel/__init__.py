"""Log-mel spectrograms: their options; what computes them is in ``spectrogram.py``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from earwitness.options import FeatureOptions


class LogMelOptions(FeatureOptions):
    """Settings of a log-mel feature; the defaults are CL4AC's."""

    extractor: Literal["logmel"]
    sample_rate: PositiveInt = 44100
    n_fft: PositiveInt = 1024  # also the length of the Hann window
    hop: PositiveInt = 512
    mels: PositiveInt = 64
    fmin: NonNegativeFloat = 50.0
    fmax: PositiveFloat = 14000.0
    log: Literal["db", "natural"] = "db"
    offset: float | None = Field(None, ge=1e-37, description="added to the power before the logarithm; null: a floor")
    top_db: PositiveFloat | None = Field(None, description="floor below the clip's loudest value; null: none")
    average: PositiveInt | None = Field(None, description="frames of which one mean is kept, after the logarithm")
    seconds: PositiveFloat | None = Field(None, description="length every clip is brought to; null: as it is")
    on_longer: Literal["refuse", "cut"] = "refuse"
    fill: Literal["floor", "zero"] = "floor"  # what stands beyond a clip's end: the log of silence, or 0.0

    @model_validator(mode="after")
    def _sizes_go_together(self) -> LogMelOptions:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            values = f"{self.fmin}, {self.fmax} and {self.sample_rate / 2}"
            raise ValueError(f"fmin < fmax <= sample_rate / 2 must hold; they are {values}")
        if self.seconds is not None and self.seconds * self.sample_rate <= self.n_fft / 2:
            raise ValueError(f"seconds must be longer than half a window of {self.n_fft} samples; it is {self.seconds}")
        if self.top_db is not None and self.log != "db":
            raise ValueError("top_db is a level in decibels and needs log: db")
        if self.frames_per_clip == 0:
            raise ValueError(f"seconds must hold {self.average} frames, which `average` needs; it is {self.seconds}")
        return self

    @property
    def frames_per_clip(self) -> int | None:
        """Frames, or blocks of ``average`` frames, of every clip; None where clips keep their own length."""
        if (samples := self.samples) is None:
            return None
        return (1 + samples // self.hop) // (self.average or 1)

    @property
    def samples(self) -> int | None:
        """Length every clip is brought to."""
        return None if self.seconds is None else round(self.seconds * self.sample_rate)
