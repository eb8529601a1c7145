"""PANNs Cnn10: AudioSet tagging, mAP 0.380 (extractors.md, section 4). The parts are in ``panns``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from earwitness.errors import EarwitnessError, listed
from earwitness.extractors.checkpoints import content_of
from earwitness.extractors.panns import FRONT_END, FrontEnd, Panns

FILE = "Cnn10_mAP=0.380.pth"
SAMPLE_RATE = 32000  # Hz
DIMENSION = 512
HOP = 5120  # samples between two frames: 4 blocks halve the time of the spectrogram's hop, 320
MINIMUM = 4800  # samples: 16 frames of the spectrogram; a shorter clip is the caller's to pad with zeros

CHANNELS = (64, 128, 256, DIMENSION)


class Cnn10(Panns):
    """Waveform [clips, samples] -> frame features [clips, frames, 512]: the mean over mel after the fourth block."""

    def __init__(self, front_end: FrontEnd = FRONT_END):
        super().__init__(CHANNELS, last_pool=2, front_end=front_end)


def frames_of(samples: int) -> int:
    """Frame features of a clip of ``samples``, none below ``MINIMUM``."""
    return (samples // FRONT_END.hop + 1) // (HOP // FRONT_END.hop)


def load_panns(trunk: nn.Module, path: str | Path, names: Sequence[str] = ("bn0", "conv_block")) -> None:
    """Fill ``trunk`` from a public PANNs checkpoint, strictly for the entries that start with ``names``.

    Raises:
        EarwitnessError: the file is absent, damaged or of another kind, or entries are missing or misshaped (all of
            them are named).
    """
    entries = _panns_entries(path)
    own = {name: value for name, value in trunk.state_dict().items() if name.startswith(tuple(names))}
    problems = []
    for name, value in own.items():
        if name not in entries:
            problems.append(f"{name}: missing")
        elif not isinstance(entries[name], Tensor):
            problems.append(f"{name}: no tensor")
        elif entries[name].shape != value.shape:
            problems.append(f"{name}: shape {list(entries[name].shape)}, {list(value.shape)} is needed")
    if problems:
        raise EarwitnessError(listed(f"{path} does not fit Cnn10:", problems, "Is it `Cnn10_mAP=0.380.pth` of PANNs?"))
    trunk.load_state_dict({name: entries[name] for name in own}, strict=False)


def _panns_entries(path: str | Path) -> dict[str, Tensor]:
    try:
        content = content_of(Path(path))
    except EarwitnessError as error:
        raise EarwitnessError(f"encoder.weights: {error} (`weights: none` trains from scratch.)") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise EarwitnessError(f"encoder.weights: {path} holds no `model` entry, which every PANNs checkpoint has.")
    return content["model"]
