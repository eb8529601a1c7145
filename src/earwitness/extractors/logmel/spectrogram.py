"""Log-mel spectrograms, such as those that CL4AC reads."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from earwitness.extractors.interface import Extractor
from earwitness.extractors.logmel import LogMelOptions

if TYPE_CHECKING:
    import torch

AMIN = 1e-10  # what the power is floored at before the logarithm, unless an offset is added to it


class LogMel(Extractor):
    """Waveform -> log-mel frames, one clip at a time."""

    def __init__(self, options: LogMelOptions):
        self.options = options
        self.sample_rate = options.sample_rate
        self.dimension = options.mels
        self.frames_per_clip = options.frames_per_clip
        self._block = options.average or 1
        self.hop = options.hop * self._block
        # Of a window, or of the windows of a block.
        self.window_seconds = ((options.window or options.n_fft) + self._block_span) / self.sample_rate
        silence = options.offset or AMIN
        self.fill = 10 * math.log10(silence) if options.log == "db" else math.log(silence)
        if options.fill == "zero":
            self.fill = 0.0

    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        """Log-mel of clips of one length: float32 [clips, samples] -> float32 [clips, frames, mels]."""
        return np.stack([self(waveform) for waveform in waveforms])

    def too_long(self, seconds: float) -> bool:
        """Whether a clip is longer than ``seconds`` allows; one hop is left for the rounding of a resampler."""
        limit = self.options.seconds
        return limit is not None and seconds > limit + self.options.hop / self.sample_rate

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel of one clip.

        Args:
            waveform: float32 [samples], mono, at ``sample_rate``.

        Returns:
            float32 [frames, mels]; with ``average`` a frame is the mean of a block, and an incomplete block is dropped.
            With ``seconds`` the clip is padded with zeros to that length, and only the frames whose window touches the
            sound are returned; the reader fills in the rest. Without it, a clip too short for one frame is padded until
            it has one.
        """
        options = self.options
        if options.seconds is None:
            shortest = max(options.n_fft // 2 + 1, self._block_span)  # reflection at the edges needs half a window
            return self._averaged(_zeros_to(waveform, shortest))
        full, frames = options.samples, options.frames_per_clip
        assert full is not None and frames is not None  # as the length is given
        waveform = waveform[:full]
        if options.top_db is not None:  # the cap acts on silence too, and differs from clip to clip
            return self._averaged(_zeros_to(waveform, full))
        reach = len(waveform) + options.n_fft / 2
        if reach == full:  # the reflection at the end shows the last sample to a window that begins behind it
            reach += 1
        touching = math.ceil(reach / (options.hop * self._block))
        extended = _zeros_to(waveform, min(full, len(waveform) + 2 * options.n_fft + self._block_span))
        return self._averaged(extended)[: min(touching, frames)]

    def _averaged(self, waveform: np.ndarray) -> np.ndarray:
        frames = self._spectrogram(waveform)  # [frames, mels]
        if self.options.average is None:
            return frames
        blocks = len(frames) // self._block
        return frames[: blocks * self._block].reshape(blocks, self._block, -1).mean(axis=1)

    def _spectrogram(self, waveform: np.ndarray) -> np.ndarray:
        import torch

        options = self.options
        spectrum = torch.stft(
            torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32)),
            n_fft=options.n_fft,
            hop_length=options.hop,
            win_length=options.window or options.n_fft,
            window=torch.hann_window(options.window or options.n_fft),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )  # [bins, frames]
        power = self._filters @ spectrum.abs().square()  # [mels, frames]
        power = power.clamp_min(AMIN) if options.offset is None else power + options.offset
        levels = 10 * power.log10() if options.log == "db" else power.log()
        if options.top_db is not None:
            levels = levels.clamp_min(levels.max() - options.top_db)
        return levels.T.contiguous().numpy()

    @cached_property
    def _filters(self) -> torch.Tensor:
        import librosa
        import torch

        options = self.options
        filters = librosa.filters.mel(
            sr=options.sample_rate,
            n_fft=options.n_fft,
            n_mels=options.mels,
            fmin=options.fmin,
            fmax=options.fmax,
            htk=False,
            norm="slaney",
        )
        return torch.from_numpy(filters)  # [mels, bins]

    @property
    def _block_span(self) -> int:
        """Samples from the middle of a block's first window to that of its last."""
        return (self._block - 1) * self.options.hop


def _zeros_to(waveform: np.ndarray, length: int) -> np.ndarray:
    return np.pad(waveform, (0, max(0, length - len(waveform))))
