"""Synthesis of single sound events: every call draws pitch, rate and colour from the given generator.

All functions in ``SOUNDS`` take (generator, number of samples, sample rate in Hz) and return float64 [samples] at any
level; ``event`` brings them to a common one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import uniform_filter1d
from scipy.signal import fftconvolve

LEVELS = {"soft": 0.018, "normal": 0.055, "loud": 0.16}  # highest RMS over 50 ms; full scale is 1
LEVEL_SPREAD_DB = 1.5  # far below the 9 dB between two levels, so that soft, normal and loud stay apart
HIGHEST = 0.47  # of the sample rate: harmonics above would alias


def event(rng: np.random.Generator, sound: str, loudness: str, samples: int, rate: int) -> np.ndarray:
    """One event of a sound at a loudness (soft, normal, loud): float64 [samples], silent at both ends."""
    wave = SOUNDS[sound](rng, samples, rate)
    wave = wave * _edges(samples, rate)
    power = uniform_filter1d(wave**2, size=max(1, rate // 20), mode="constant")
    decibels = rng.uniform(-LEVEL_SPREAD_DB, LEVEL_SPREAD_DB)
    return wave * (LEVELS[loudness] * 10 ** (decibels / 20) / np.sqrt(power.max()))


def _edges(samples: int, rate: int) -> np.ndarray:
    position = np.arange(samples)
    attack, release = 0.003 * rate, 0.02 * rate
    return np.minimum(1.0, np.minimum(position / attack, (samples - 1 - position) / release))


def _tone(frequency: np.ndarray, rate: int, strengths: list[float] | np.ndarray) -> np.ndarray:
    """A tone of harmonics 1, 2, ... with the given strengths, following a frequency in Hz [samples]."""
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    highest = frequency.max()
    audible = ((k, a) for k, a in enumerate(strengths, start=1) if a and k * highest < HIGHEST * rate)
    return sum((a * np.sin(k * phase) for k, a in audible), np.zeros(len(frequency)))


def _noise(rng: np.random.Generator, samples: int, rate: int, low: float, high: float) -> np.ndarray:
    """Gaussian noise between two frequencies in Hz, with edges of 24 dB an octave."""
    length = next_fast_len(samples, real=True)
    frequency = np.maximum(rfftfreq(length, 1 / rate), 1.0)
    gain = 1 / np.sqrt((1 + (low / frequency) ** 8) * (1 + (frequency / high) ** 8))
    return irfft(rfft(rng.standard_normal(length)) * gain, length)[:samples]


def _pulses(samples: int, rate: int, per_second: float) -> tuple[np.ndarray, int]:
    """Evenly spaced starts that fill the event, and the samples from one to the next."""
    count = max(1, round(samples / rate * per_second))
    period = samples // count
    return np.arange(count) * period, period


def _repeat(samples: int, starts: np.ndarray, shapes: list[np.ndarray]) -> np.ndarray:
    """Place shapes, taken in turns, at the starts."""
    wave = np.zeros(samples)
    for turn, start in enumerate(starts):
        shape = shapes[turn % len(shapes)][: samples - start]
        wave[start : start + len(shape)] += shape
    return wave


def _siren(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    time = np.arange(samples) / rate
    sweep = rng.uniform(0.3, 0.4) * np.sin(2 * np.pi * rng.uniform(1.2, 2.2) * time + rng.uniform(0, 2 * np.pi))
    tremolo = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(5, 7) * time)
    return _tone(rng.uniform(700, 900) * 2**sweep, rate, [1, 0.5, 0.35, 0.2]) * tremolo


def _bell(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    time = np.arange(samples) / rate
    fundamental, decay = rng.uniform(480, 680), rng.uniform(2.0, 3.0) * rate / samples
    partials = ((1, 1.0), (2.0, 0.7), (2.76, 0.6), (5.4, 0.45), (8.9, 0.25))
    waves = (
        strength * np.exp(-decay * (1 + 0.25 * ratio) * time) * np.sin(2 * np.pi * fundamental * ratio * time)
        for ratio, strength in partials
    )
    return sum(waves, start=np.zeros(samples))


def _bird(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    starts, period = _pulses(samples, rate, rng.uniform(4.5, 7.5))
    position = np.linspace(0, 1, max(2, int(period * rng.uniform(0.55, 0.75))))
    base = rng.uniform(3400, 4200)
    chirrups = [
        _tone(base * (1 + rise * position + 0.08 * np.sin(6 * np.pi * position)), rate, [1, 0.15])
        * np.sin(np.pi * position)
        for rise in rng.uniform(0.25, 0.5, size=3) * [1, -0.6, 1]
    ]
    return _repeat(samples, starts, chirrups)


def _rain(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    drops = np.zeros(samples)
    count = max(2, int(samples / rate * rng.uniform(70, 130)))
    drops[rng.integers(0, samples, size=count)] = rng.lognormal(sigma=0.7, size=count) * rng.choice([-1, 1], size=count)
    length = int(0.012 * rate)
    drop = _noise(rng, length, rate, 900, 6500) * np.exp(-np.arange(length) / (0.002 * rate))
    return fftconvolve(drops, drop)[:samples] + 0.05 * _noise(rng, samples, rate, 900, 6500)


def _wind(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    time = np.arange(samples) / rate
    gusts = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 1.0) * time + rng.uniform(0, 2 * np.pi))
    return _noise(rng, samples, rate, rng.uniform(120, 200), rng.uniform(450, 650)) * gusts


def _engine(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    time = np.arange(samples) / rate
    wobble = 1 + 0.02 * np.sin(2 * np.pi * rng.uniform(1, 3) * time)
    strokes = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(18, 26) * time)
    strengths = 1 / np.arange(1, 19) ** rng.uniform(0.6, 0.8)
    return _tone(rng.uniform(85, 125) * wobble, rate, strengths) * strokes


def _alarm(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    starts, period = _pulses(samples, rate, rng.uniform(4.0, 5.5))
    length = max(2, int(period * rng.uniform(0.5, 0.6)))
    beep = (
        _tone(np.full(length, rng.uniform(1900, 2400)), rate, [1, 0, 0.4])
        * np.sin(np.linspace(0, np.pi, length)) ** 0.2
    )
    return _repeat(samples, starts, [beep])


def _drum(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    starts, period = _pulses(samples, rate, rng.uniform(3.5, 5.0))
    time = np.arange(period) / rate
    pitch = rng.uniform(55, 75) * (1 + 0.8 * np.exp(-time / 0.03))
    thump = _tone(pitch, rate, [1, 0.2]) * np.exp(-time / rng.uniform(0.05, 0.07)) * np.minimum(1, time / 0.004)
    return _repeat(samples, starts, [thump, 0.6 * thump])


def _clock(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    starts, _ = _pulses(samples, rate, rng.uniform(6, 9))
    length = int(0.02 * rate)
    decay = np.exp(-np.arange(length) / (0.003 * rate))
    tick, tock = (_noise(rng, length, rate, low, 7500) * decay for low in (2200, 1400))
    lead = np.zeros(int(0.004 * rate))  # keeps the first click clear of the event's fade
    return _repeat(samples, starts, [np.concatenate([lead, click / np.abs(click).max()]) for click in (tick, tock)])


def _organ(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    root = rng.uniform(230, 330)
    third = rng.choice([1.2, 1.25])
    strengths = [1, 0.6, 0.3, 0.4, 0.1, 0.2]
    chord = sum(_tone(np.full(samples, root * ratio), rate, strengths) for ratio in (1, third, 1.5))
    return chord * np.minimum(1, np.arange(samples) / (0.06 * rate))


def _glide(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """A frequency in Hz [samples] that rises by two octaves and more, evenly in pitch."""
    octaves = rng.uniform(2.1, 2.6)
    return rng.uniform(320, 460) * 2 ** np.linspace(0, octaves, samples)


def _rocket(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    return _tone(_glide(rng, samples, rate), rate, [1, 0.3, 0.15]) + 0.05 * _noise(rng, samples, rate, 500, 4000)


def _whistle(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    return _tone(_glide(rng, samples, rate)[::-1], rate, [1, 0.1])


def _saw(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    starts, period = _pulses(samples, rate, rng.uniform(3.0, 4.5))
    length = max(2, int(period * rng.uniform(0.6, 0.7)))
    stroke = np.linspace(0.1, 1, length) * np.sin(np.linspace(0, np.pi, length)) ** 0.3
    return _repeat(samples, starts, [stroke]) * _noise(rng, samples, rate, 1300, rng.uniform(2800, 3600))


def _steam(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    return _noise(rng, samples, rate, rng.uniform(4000, 4800), HIGHEST * rate)


# The order is part of the data set: the option `classes` takes the first so many.
SOUNDS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "siren": _siren,
    "bell": _bell,
    "bird": _bird,
    "rain": _rain,
    "wind": _wind,
    "engine": _engine,
    "alarm": _alarm,
    "drum": _drum,
    "clock": _clock,
    "organ": _organ,
    "rocket": _rocket,
    "whistle": _whistle,
    "saw": _saw,
    "steam": _steam,
}
