"""The baseline of ``extract.py``: extraction as published code does it, written from scratch.

One clip at a time: librosa decodes and resamples it, the network as published runs on it alone, in float32 and with all
threads, and the frames go into an HDF5 file with one data set per clip.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import h5py
import librosa
import numpy as np
import torch

from earwitness.extractors.interface import Extractor
from earwitness.extractors.logmel import LogMelOptions
from earwitness.options import FeatureOptions


def lms(options: LogMelOptions) -> Callable[[np.ndarray], np.ndarray]:
    """Log-mel as librosa makes it, in blocks."""

    def frames(waveform: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=options.sample_rate,
            n_fft=options.n_fft,
            hop_length=options.hop,
            n_mels=options.mels,
            fmin=options.fmin,
            fmax=options.fmax,
            pad_mode="reflect",
        )
        levels = np.log(power + options.offset).T
        blocks = len(levels) // options.average
        return levels[: blocks * options.average].reshape(blocks, options.average, -1).mean(axis=1)

    return frames


def network(extractor: Extractor, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """The network of an extractor as it was published, one call a clip."""
    from earwitness.extractors import checkpoints

    plain = extractor.build().eval()
    checkpoints.untrained(plain, extractor.options.seed)
    plain.to(device)

    def frames(waveform: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return plain(torch.from_numpy(waveform)[None].to(device))[0].cpu().numpy()

    return frames


def extract(options: FeatureOptions, extractor: Extractor, audio: list[Path], out: Path) -> float:
    """One data set a clip, under the clip's number; a GPU is used where there is one.

    Returns the seconds from the end of the first clip to that of the last.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    frames = lms(options) if options.extractor == "logmel" else network(extractor, device)
    with h5py.File(out, "w") as file:
        for number, path in enumerate(audio):
            waveform, _ = librosa.load(path, sr=extractor.sample_rate)
            file.create_dataset(str(number), data=frames(waveform))
            if number == 0:
                began = time.perf_counter()
    return time.perf_counter() - began
