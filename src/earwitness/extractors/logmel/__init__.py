"""Log-mel spectrograms: their options; what computes them is in ``spectrogram.py``."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from earwitness.options import FeatureOptions


def empty_bands(sample_rate: int, n_fft: int, mels: int, fmin: float, fmax: float) -> list[int]:
    """Numbers, from 0, of the bands of librosa's mel filters (Slaney's scale) between whose edges no FFT bin lies."""
    lowest, highest = _mel(fmin), _mel(fmax)
    edges = [_hertz(lowest + (highest - lowest) * number / (mels + 1)) for number in range(mels + 2)]
    spacing = sample_rate / n_fft
    first = [(math.floor(edge / spacing + 1e-9) + 1) * spacing for edge in edges]  # bin above each edge
    return [number for number in range(mels) if first[number] > edges[number + 2] - 1e-9 * spacing]


def _mel(hertz: float) -> float:
    """Slaney's mel scale: linear below 1000 Hz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


class LogMelOptions(FeatureOptions):
    """Settings of a log-mel feature; the defaults are CL4AC's."""

    extractor: Literal["logmel"]
    sample_rate: PositiveInt = 44100
    n_fft: PositiveInt = 1024
    window: PositiveInt | None = Field(None, description="samples of the Hann window, at most n_fft; null: n_fft")
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
        if self.window is not None and self.window > self.n_fft:
            raise ValueError(f"window: {self.window} samples do not fit into n_fft, {self.n_fft}")
        if empty := empty_bands(self.sample_rate, self.n_fft, self.mels, self.fmin, self.fmax):
            raise ValueError(self._too_narrow(empty))
        return self

    def _too_narrow(self, empty: list[int]) -> str:
        """What is wrong with bands that always hold the log of silence, and the nearest sizes without such bands."""
        rest = (self.sample_rate, self.fmin, self.fmax)
        fewer = next((n for n in range(self.mels, 0, -1) if not empty_bands(rest[0], self.n_fft, n, *rest[1:])), None)
        sizes = (self.n_fft << doubled for doubled in range(1, 16))
        longer = next((n for n in sizes if not empty_bands(rest[0], n, self.mels, *rest[1:])), None)
        which = ", ".join(str(band + 1) for band in empty[:8]) + (" ..." if len(empty) > 8 else "")
        apart = f"{rest[0] / self.n_fft:.1f} Hz"
        better = " or ".join(f"{name} to {size}" for name, size in (("n_fft", longer), ("mels", fewer)) if size)
        return (
            f"{len(empty)} of {self.mels} mel bands contain no FFT bin and would always be silent (band {which}): "
            f"with n_fft {self.n_fft} bins are {apart} apart; set {better or 'fmin and fmax further apart'}"
        )

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
