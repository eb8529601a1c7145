"""HTS-AT from the model code of laion-clap, without what the package needs beside it.

Importing the package itself fetches three tokenizers and needs torchvision, webdataset, wget and others. Its module of
HTS-AT needs none of them: it is imported alone, and what that asks for is given to it.
"""

from __future__ import annotations

import json
import sys
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

from torch import Tensor, nn

from earwitness.clap.laion import INSTALL, package_folder
from earwitness.errors import EarwitnessError
from earwitness.extractors import panns

NAME = "_laion_clap_model"  # of the folder clap_module as a package of its own


class Spectrogram(panns.Spectrogram):
    """torchlibrosa's: [clips, samples] -> power [clips, 1, time, bins]."""

    def __init__(self, n_fft: int, hop_length: int, **_: Any):
        super().__init__(n_fft, hop_length)

    def forward(self, waveform: Tensor) -> Tensor:
        return super().forward(waveform)[:, None]


class LogmelFilterBank(panns.LogMel):
    """torchlibrosa's: power [..., bins] -> decibels [..., mels]."""

    def __init__(self, sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float, **_: Any):
        super().__init__(panns.FrontEnd(sample_rate=sr, window=n_fft, mels=n_mels, fmin=fmin, fmax=fmax))


def htsat(name: str) -> Any:
    """The package's HTS-AT without fusion, before its weights are filled; ``name`` is HTSAT-tiny or HTSAT-base.

    Its entries have the names of LAION's files below ``audio_branch.``. Raises EarwitnessError where the package is not
    installed, or its model code cannot be used.
    """
    path = package_folder() / "clap_module" / "model_configs" / f"{name}.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["audio_cfg"]
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of torch, about torch.meshgrid
            return _module().create_htsat_model(SimpleNamespace(**settings), False, "None")
    except (OSError, ImportError, AttributeError, KeyError, RuntimeError) as error:
        raise EarwitnessError(
            f"The model code of laion-clap in {path.parents[1]} cannot be used ({error}). {INSTALL}"
        ) from error


@cache
def _module() -> ModuleType:
    given = {
        NAME: _stand_in(NAME, __path__=[str(package_folder() / "clap_module")]),
        # Its utilities are for data sets, and need torchvision; of them HTS-AT repeats frames, and mixes in training.
        f"{NAME}.utils": _stand_in(
            f"{NAME}.utils", do_mixup=None, interpolate=lambda frames, ratio: frames.repeat_interleave(ratio, dim=1)
        ),
        "torchlibrosa": _stand_in("torchlibrosa", __path__=[]),
        "torchlibrosa.stft": _stand_in("torchlibrosa.stft", Spectrogram=Spectrogram, LogmelFilterBank=LogmelFilterBank),
        "torchlibrosa.augmentation": _stand_in("torchlibrosa.augmentation", SpecAugmentation=nn.Identity),
    }
    before = {name: sys.modules[name] for name in given if name in sys.modules}
    sys.modules.update(given)
    try:
        module: Any = import_module(f"{NAME}.htsat")
        module.trunc_normal_ = lambda weights, **_: weights  # takes seconds, and all weights are filled afterwards
        return module
    finally:
        for name in given:
            del sys.modules[name]
        sys.modules.update(before)


def _stand_in(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content)
    return module
