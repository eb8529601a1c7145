"""Pictures of grounding: the spectrogram of a recording, and below it where phrases are heard and where they sound."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.extractors.logmel import LogMelOptions
from earwitness.extractors.logmel.spectrogram import LogMel
from earwitness.files import atomic

FORMATS = ("png", "svg", "pdf")
# Okabe and Ito's colours without yellow, which is too faint for lines; distinct for colour-blind eyes too.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
COLUMNS = 1600  # of a spectrogram, and points of an activation, at most
RATES = (16000, 24000)  # Hz; the first for recordings of at most 16 kHz
MELS, LOWEST = 64, 50.0  # bands, and where they begin in Hz
HOP = 256  # samples
RANGE = 70.0  # dB shown below the loudest value
QUIETEST = -30.0  # dB; the reference level of quieter recordings, so that they look dark
PART = 1 << 20  # samples of which the spectrogram is computed at once
TICKS = (0.25, 0.5, 1, 2, 4, 8)  # kHz

Spans = Sequence[tuple[float, float]]  # onset and offset in seconds


@dataclass(frozen=True)
class Spectrogram:
    """Levels float32 [bands, columns], 0 to 1, low bands first; the highest frequency in Hz; the length in seconds."""

    levels: np.ndarray
    highest: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """A phrase in a picture: its activation [frames], and its segments; ``true`` is None where they are unknown."""

    text: str
    activation: np.ndarray
    found: Spans
    true: Spans | None = None


def spectrogram(path: Path, seconds: float) -> Spectrogram:
    """The log-mel spectrogram of a recording of a known length, read in parts. Raises AudioError."""
    parts, rate = [], RATES[0]
    every = max(1, math.ceil(seconds * RATES[1] / HOP / COLUMNS))  # frames whose mean is one column
    for samples, rate in _parts(path, every * HOP):
        options = LogMelOptions(extractor="logmel", sample_rate=rate, hop=HOP, mels=MELS, fmin=LOWEST, fmax=rate / 2)
        frames = LogMel(options)(samples)
        frames = frames[: max(1, len(samples) // HOP)]
        edges = np.arange(0, len(frames), every)
        parts.append(np.add.reduceat(frames, edges) / np.diff([*edges, len(frames)])[:, None])
    decibels = np.concatenate(parts)
    loudest = max(float(decibels.max()), QUIETEST)
    return Spectrogram(np.clip((decibels - loudest) / RANGE + 1, 0, 1).T, rate / 2, seconds)


def _parts(path: Path, step: int) -> Iterator[tuple[np.ndarray, int]]:
    """A recording as mono float32 [samples] at one of RATES, in parts of a multiple of ``step`` but for the last."""
    import soxr

    from earwitness.audio.decode import open_recording
    from earwitness.audio.sound import mix

    size = max(1, PART // step) * step
    with open_recording(path) as sound:
        rate = RATES[0] if sound.sample_rate <= RATES[0] else RATES[1]
        stream = soxr.ResampleStream(sound.sample_rate, rate, 1, dtype="float32", quality="HQ")
        held = np.zeros(0, dtype=np.float32)
        for block in sound.blocks():
            held = np.concatenate([held, stream.resample_chunk(mix(block))])
            while len(held) > size:
                yield held[:size], rate
                held = held[size:]
        held = np.concatenate([held, stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)])
        yield held if len(held) else np.zeros(1, dtype=np.float32), rate


def draw(path: Path, sound: Spectrogram, rows: Sequence[Row], *, hop: float, threshold: float, title: str = "") -> None:
    """Draw a picture to ``path``, whose suffix says the format (``FORMATS``); the same input gives the same bytes.

    Args:
        rows: the phrases from above to below.
        hop: seconds from one frame of the activations to the next; frames above the threshold are active.

    Raises EarwitnessError for another suffix.
    """
    from librosa import hz_to_mel
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise EarwitnessError(f"{path} has the suffix {path.suffix!r}; known are {', '.join('.' + f for f in FORMATS)}")
    style: dict[Any, Any] = {"svg.hashsalt": "picture", "text.parse_math": False, "font.size": 9, "axes.titlesize": 11}
    with rc_context(style):
        title = textwrap.shorten(title, 300, placeholder=" …")
        height = 2.6 + 0.95 * len(rows) + 0.2 * (len(title) // 100)
        figure = Figure(figsize=(10, height), dpi=120, layout="constrained")
        ratios = [2.0] + [0.95] * len(rows)
        above, *below = np.atleast_1d(figure.subplots(1 + len(rows), sharex=True, height_ratios=ratios))
        low, high = (float(hz_to_mel(hertz)) for hertz in (LOWEST, sound.highest))
        extent = (0, sound.seconds, low, high)
        above.imshow(sound.levels, cmap="magma", vmin=0, vmax=1, origin="lower", aspect="auto", extent=extent)
        above.set_xlim(0, sound.seconds)
        ticks = [tick for tick in TICKS if LOWEST < tick * 1000 <= sound.highest]
        above.set_yticks([float(hz_to_mel(tick * 1000)) for tick in ticks], [f"{tick:g}" for tick in ticks])
        above.set_ylabel("kHz")
        above.set_title("\n".join(textwrap.wrap(title, 100)))
        highest = 1.1 * max([threshold, 1e-6, *(float(row.activation.max(initial=0)) for row in rows)])
        for number, (axes, row) in enumerate(zip(below, rows, strict=True)):
            _draw_row(axes, row, PALETTE[number % len(PALETTE)], hop, threshold, highest)
        (below or [above])[-1].set_xlabel("seconds")
        if below:
            _legend(figure, any(row.true is not None for row in rows), threshold)
        nothing = {"png": ("Software",), "svg": ("Date", "Creator", "Format", "Type")}
        with atomic(path) as temporary:
            metadata = dict.fromkeys(nothing.get(form, ("Creator", "Producer", "CreationDate")))
            figure.savefig(temporary, format=form, metadata=metadata)


def _draw_row(axes: Any, row: Row, colour: str, hop: float, threshold: float, highest: float) -> None:
    """The activation of a phrase, and below it its true and its found segments as bars."""
    every = max(1, math.ceil(len(row.activation) / COLUMNS))
    edges = np.arange(0, len(row.activation), every)
    values = np.maximum.reduceat(row.activation, edges) if len(edges) else np.zeros(0)
    times = np.append(edges, len(row.activation)) * hop
    axes.stairs(values, times, color=colour, linewidth=1.1)
    axes.stairs(values, times, color=colour, alpha=0.2, fill=True)
    axes.axhline(threshold, color="#555555", linestyle="--", linewidth=0.8)
    axes.axhline(0, color="#999999", linewidth=0.5)
    bars = [("found", row.found, {"facecolor": "white", "edgecolor": colour, "hatch": "//////", "linewidth": 1})]
    if row.true is not None:
        bars.insert(0, ("true", row.true, {"facecolor": colour}))
    step = 0.2 * highest
    for place, (_, spans, look) in enumerate(bars, start=1):
        axes.broken_barh([(onset, offset - onset) for onset, offset in spans], (-step * place, 0.7 * step), **look)
    axes.set_ylim(-step * (len(bars) + 0.15), highest)
    axes.set_yticks(
        [-step * (place - 0.35) for place in range(1, 1 + len(bars))] + [0, highest / 1.1],
        [name for name, *_ in bars] + ["0", f"{highest / 1.1:.2g}"],
        fontsize=7,
    )
    axes.set_title(textwrap.shorten(row.text, 110, placeholder=" …"), loc="left", color=colour, fontsize=9, pad=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Any, known: bool, threshold: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ink = "#555555"
    handles: list[Any] = [Line2D([], [], color=ink, label="activation of the phrase")]
    handles += [Line2D([], [], color=ink, linestyle="--", linewidth=0.8, label=f"threshold {threshold:.2g}")]
    handles += [Patch(facecolor=ink, label="true segment")] if known else []
    handles += [Patch(facecolor="white", edgecolor=ink, hatch="//////", label="found segment")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
