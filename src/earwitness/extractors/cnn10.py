"""PANNs Cnn10 up to its last convolution: shared by CL4AC's encoder and by the PANNs extractor.

State-dict names and shapes are those of the public ``Cnn10_mAP=0.380.pth`` (cl4ac.md, section 4.1), so that its
``bn0`` and ``conv_block*`` entries load as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.errors import EarwitnessError, listed

CHANNELS = (64, 128, 256, 512)


class ConvBlock(nn.Module):
    """Twice (3x3 convolution, BatchNorm, ReLU), then 2x2 average pooling."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        nn.init.xavier_uniform_(self.conv1.weight)
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.bn1(self.conv1(x)))  # [batch, outputs, time, mel]
        x = functional.relu_(self.bn2(self.conv2(x)))
        return functional.avg_pool2d(x, 2)  # [batch, outputs, time // 2, mel // 2]


class Cnn10Trunk(nn.Module):
    """BatchNorm over the mel bands and four convolution blocks.

    ``normalise`` and ``convolve`` are apart because SpecAugment belongs between them.
    """

    def __init__(self, mels: int = 64, channels: Sequence[int] = CHANNELS):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(mels)
        self.conv_block1 = ConvBlock(1, channels[0])
        self.conv_block2 = ConvBlock(channels[0], channels[1])
        self.conv_block3 = ConvBlock(channels[1], channels[2])
        self.conv_block4 = ConvBlock(channels[2], channels[3])

    def normalise(self, logmel: Tensor) -> Tensor:
        """BatchNorm over batch and time for each band: [batch, time, mels] -> [batch, 1, time, mels]."""
        x = logmel[:, None].transpose(1, 3)  # [batch, mels, time, 1]
        return self.bn0(x).transpose(1, 3)

    def convolve(self, x: Tensor, dropout: float = 0.2) -> Tensor:
        """The four blocks, dropout after each, then the mean over mel: -> [batch, channels, time // 16]."""
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            x = functional.dropout(block(x), dropout, self.training)
        return x.mean(dim=3)


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


def _numpy_arrays() -> list:
    """What torch's safe loading needs to know to rebuild NumPy arrays and numbers."""
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    rebuild = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    # Files of earlier NumPy versions name the same functions by their former module.
    former = [(function, f"numpy.core.multiarray.{function.__name__}") for function in (rebuild, scalar)]
    return [rebuild, scalar, *former, np.ndarray, np.dtype, *kinds]


def _panns_entries(path: str | Path) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise EarwitnessError(
            f"encoder.weights: {path} does not exist. Put the public file `Cnn10_mAP=0.380.pth` of PANNs there, or say "
            "`weights: none` to train from scratch."
        )
    try:
        # PANNs' own training code leaves NumPy arrays beside the weights: arrays of numbers are harmless.
        with torch.serialization.safe_globals(_numpy_arrays()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, and its words advise to load files unsafely
        raise EarwitnessError(
            f"encoder.weights: {path} is no PyTorch checkpoint, or is truncated ({Path(path).stat().st_size} bytes)."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise EarwitnessError(f"encoder.weights: {path} holds no `model` entry, which every PANNs checkpoint has.")
    return content["model"]
