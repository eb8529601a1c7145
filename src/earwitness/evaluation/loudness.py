"""The loudness of clips over time, a control of grounding: ``corpus/loudness.h5``.

It holds for each clip of the validation and the evaluation split that has a phrase the mean over 64 mel bands of the
natural log-mel of each frame: ``loudness`` float32 [frames of all clips], ``offsets`` int64 [clips + 1], ``clip_ids``
and the attribute ``hop`` (s). It is empty for a data set without phrases.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earwitness.audio.decode import load
from earwitness.corpora.tables import CAPTIONS, CLIPS, PHRASES, audio_digest, read_table
from earwitness.errors import CorpusError, EarwitnessError, listed
from earwitness.files import atomic_hdf5, provenance, sha256

if TYPE_CHECKING:
    from torch import Tensor

TABLE = "loudness.h5"
SPLITS = ("validation", "evaluation")
HOP, WINDOW = 0.02, 0.04  # seconds
BANDS, LOWEST, HIGHEST = 64, 12.0, 8000.0  # Hz, or up to the Nyquist frequency
SILENCE = 2.22e-16  # added to the power of a band
BLOCK = 1 << 12  # frames whose spectrum is held at a time


def write_loudness(corpus: Path, root: Path, out: Path, threads: int) -> None:
    """Write ``loudness.h5``.

    Args:
        corpus: the folder with the corpus' tables; root: the folder that the clips' paths start from.

    Raises CorpusError that lists the recordings that changed since the corpus was read.
    """
    import h5py
    import torch
    from tqdm import tqdm

    clips = read_table(corpus / "clips.csv", CLIPS)
    captions = read_table(corpus / "captions.csv", CAPTIONS)
    phrases = read_table(corpus / "phrases.csv", PHRASES)
    named = captions["clip_id"][captions["caption_id"].isin(phrases["caption_id"])]
    clips = clips[clips["split"].isin(SPLITS) & clips["clip_id"].isin(named)]
    offsets, changed = [0], []
    with (
        atomic_hdf5(out) as file,
        ThreadPoolExecutor(max(1, threads), initializer=torch.set_num_threads, initargs=(1,)) as pool,
        tqdm(total=len(clips), desc="Loudness", unit="clip", file=sys.stderr, disable=clips.empty) as bar,
    ):
        values = file.create_dataset("loudness", (0,), "float32", maxshape=(None,), chunks=(1 << 16,))
        rows = [(root / clip.path, clip.sha256, clip.sample_rate) for clip in clips.itertuples()]
        try:
            for (path, *_), found in zip(rows, pool.map(_loudness_of, *zip(*rows, strict=True)), strict=True):
                if found is None:
                    changed.append(str(path))
                else:
                    offsets.append(offsets[-1] + len(found))
                    values.resize(offsets[-1], axis=0)
                    values[offsets[-2] :] = found
                bar.update()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, no clip is begun any more
        if changed:
            advice = "Run again: the corpus is read anew when recordings change."
            raise CorpusError(
                listed("Recordings that changed or went away after the corpus was read:", changed, advice)
            )
        file["offsets"] = np.asarray(offsets, dtype=np.int64)
        file.create_dataset("clip_ids", data=list(clips["clip_id"]), dtype=h5py.string_dtype())
        made_by: dict[str, Any] = provenance("loudness") | {"inputs": {"audio": audio_digest(clips)}}
        file.attrs.update(hop=HOP, provenance=json.dumps(made_by, sort_keys=True))


def read_loudness(corpus: Path) -> tuple[float, list[str], np.ndarray, np.ndarray]:
    """The hop (s), ids of clips, offsets [clips + 1] and loudness [frames of all clips] of ``loudness.h5``."""
    import h5py

    path = corpus / TABLE
    if not path.is_file():
        raise EarwitnessError(f"{path} does not exist: the rule `loudness` makes it.")
    with h5py.File(path, "r") as file:
        return float(file.attrs["hop"]), list(file["clip_ids"].asstr()[:]), file["offsets"][:], file["loudness"][:]


def _loudness_of(path: Path, digest: str, rate: int) -> np.ndarray | None:
    """The loudness of a recording, at a rate near its own whose hop is whole; None where the file changed."""
    if not path.is_file() or sha256(path) != digest:
        return None
    rate = round(rate * HOP) * round(1 / HOP)
    return loudness(load(path, rate), rate)


def loudness(waveform: np.ndarray, rate: int) -> np.ndarray:
    """The mean over mel bands of the natural log-mel: float32 [samples] -> float32 [frames]. Silence is -36.04.

    Windows of 40 ms begin every 20 ms, the first in the middle of it; the ends are mirrored.
    """
    import torch

    window, hop = round(WINDOW * rate), round(HOP * rate)
    size = 1 << (window - 1).bit_length()
    frames = 1 + len(waveform) // hop
    waveform = np.pad(waveform, (0, max(0, size // 2 + 1 - len(waveform))))
    samples = torch.from_numpy(np.pad(waveform, size // 2, mode="reflect"))
    filters, shape = _filters(rate, size), torch.hann_window(window)
    found = np.empty(frames, dtype=np.float32)
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        part = samples[start * hop : (stop - 1) * hop + size]
        spectrum = torch.stft(part, size, hop, window, shape, center=False, return_complex=True)  # [bins, frames]
        found[start:stop] = (filters @ spectrum.abs().square() + SILENCE).log().mean(dim=0).numpy()
    return found


@lru_cache(maxsize=8)
def _filters(rate: int, size: int) -> Tensor:
    """Slaney's mel filters that hold a bin: float32 [bands, bins]."""
    import librosa
    import torch

    found = librosa.filters.mel(sr=rate, n_fft=size, n_mels=BANDS, fmin=LOWEST, fmax=min(HIGHEST, rate / 2))
    return torch.from_numpy(found[found.any(axis=1)])
