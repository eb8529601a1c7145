"""Weights of the extractors: read from public checkpoint files, put into networks, or made up from a seed."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.errors import EarwitnessError, listed
from earwitness.fetch.checkpoints import CHECKPOINTS, absent
from earwitness.fetch.published import is_web_page

# The entry of each file that has the weights; None where the file is the weights.
KEYS = {
    "vggish-10086976.pth": None,
    "vggish_pca_params-970ea276.pth": None,
    "H.pth.tar": "model_state_dict",
    "Cnn10_mAP=0.380.pth": "model",
    "Cnn14_mAP=0.431.pth": "model",
    "effb2.pt": None,
}

# Entries by which a file is told from the others and from its kin (VGGSound's I, PANNs' Cnn6 and Cnn14_16k).
_PANNS = {"logmel_extractor.melW": (513, 64)}
_MARKS: dict[str, dict[str, tuple[int, ...]]] = {
    "vggish-10086976.pth": {"features.13.weight": (512, 512, 3, 3), "embeddings.0.weight": (4096, 12288)},
    "vggish_pca_params-970ea276.pth": {"pca_eigen_vectors": (128, 128)},
    "H.pth.tar": {"audnet.layer4.1.conv2.weight": (512, 512, 3, 3), "audnet.fc.weight": (309, 512)},
    "Cnn10_mAP=0.380.pth": _PANNS | {"conv_block4.conv2.weight": (512, 512, 3, 3), "fc1.weight": (512, 512)},
    "Cnn14_mAP=0.431.pth": _PANNS | {"conv_block6.conv2.weight": (2048, 2048, 3, 3)},
    "effb2.pt": {"_blocks.22._project_conv.weight": (352, 2112, 1, 1), "_conv_head.weight": (1408, 352, 1, 1)},
}

_COUNTER = "num_batches_tracked"  # of BatchNorm; early checkpoints lack it, and inference never looks at it
_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def read(path: str | Path, key: str | None) -> dict[str, Tensor]:
    """The weights of a checkpoint file by their entry names, on the CPU; NumPy arrays become tensors.

    Nothing in the file can run code. ``key`` names the entry of the file that has the weights, as KEYS says; None
    where the file is the weights.

    Raises EarwitnessError when the file is absent, truncated, of another kind, or has no such weights.
    """
    content = content_of(Path(path))
    if not isinstance(content, Mapping):
        raise EarwitnessError(f"{path} holds no weights by their names, but one {type(content).__name__}.")
    weights = content if key is None else content.get(key)
    if not isinstance(weights, Mapping):
        there = ", ".join(map(str, content)) or "none"
        raise EarwitnessError(f"{path} holds no weights under `{key}`.{_guess(content)} Its entries: {there}.")
    tensors = {str(name): _tensor(value) for name, value in weights.items()}
    if problems := [f"{name}: {type(weights[name]).__name__}" for name, value in tensors.items() if value is None]:
        raise EarwitnessError(listed(f"{path} holds what is no tensor:", problems, _guess(content).strip()))
    if not tensors:
        raise EarwitnessError(f"{path} holds no weights.")
    return tensors


def require_kind(path: str | Path, file: str) -> None:
    """Raise EarwitnessError for a file that does not have the entries by which the public ``file`` is known."""
    entries = read(path, KEYS[file])
    problems = []
    for name, shape in _MARKS[file].items():
        if name not in entries:
            problems.append(f"{name}: missing")
        elif entries[name].shape != shape:
            problems.append(_wrong_shape(name, entries[name].shape, shape))
    if problems:
        heading = f"{path} is not the public file `{file}` ({CHECKPOINTS[file].title}):"
        raise EarwitnessError(listed(heading, problems, _guess(entries).strip()))


def fit(
    network: nn.Module,
    entries: Mapping[str, Tensor],
    path: str | Path,
    *,
    file: str | None = None,
    optional: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> tuple[str, ...]:
    """Put the ``entries`` of the checkpoint ``path`` into ``network``, all of them or none.

    Args:
        file: the public file that fits, for messages.
        optional: beginnings of the names of entries that the network computes itself, such as those of a front end.
            They are taken where they are there in the right shape.
        ignored: beginnings of the names of entries of the file that the network has no use for.

    Returns:
        The optional entries that the network keeps as computed, since the file has none that fit.

    Raises:
        EarwitnessError: entries are missing, not expected, misshaped or not finite; all of them are named.

    Counters ``num_batches_tracked`` may be missing, and axes of length 1 at the end of a shape do not count: VGGish's
    PCA file has its means as [128], the reference as [128, 1].
    """
    own = network.state_dict()
    computed = tuple(name for name in own if name.startswith(tuple(optional)) and not _fits(own, entries, name))
    taken = {name: value for name, value in entries.items() if name in own and name not in computed}
    needed = [name for name in own if name not in computed and name.split(".")[-1] != _COUNTER]
    problems = [f"{name}: missing" for name in needed if name not in taken]
    unknown = (name for name in entries if name not in own and not name.startswith((*optional, *ignored)))
    problems += [f"{name}: not expected" for name in unknown]
    for name, value in taken.items():
        if not _fits(own, entries, name):
            problems.append(_wrong_shape(name, value.shape, own[name].shape))
        elif not value.isfinite().all():
            problems.append(f"{name}: not all of its values are finite")
    if problems:
        expected = f"`{file}` is expected." if file else ""
        heading = f"{path} does not fit the network {type(network).__name__}:"
        raise EarwitnessError(listed(heading, problems, f"{expected}{_guess(entries)}".strip()))
    network.load_state_dict({name: value.reshape(own[name].shape) for name, value in taken.items()}, strict=False)
    return computed


def untrained(network: nn.Module, seed: int) -> None:
    """Fill a network with weights made from ``seed`` alone, whatever it held before.

    Matrices and kernels are normal as He et al. (arXiv 1502.01852) scale them, so that activations keep their size;
    normalisations do nothing, biases are 0. Each value depends on the seed and the name of its parameter. Buffers that
    belong to no normalisation, as front ends have them, stay. A network that random weights would make unsteady says in
    ``damp`` what holds it.
    """
    normalised = set()
    for name, module in network.named_modules():
        if isinstance(module, _NORMALISATIONS):
            module.reset_parameters()
            normalised |= {f"{name}.{own}".lstrip(".") for own, _ in module.named_parameters(recurse=False)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in normalised:
                parameter.copy_(_normal(name, tuple(parameter.shape), seed))
    if damp := getattr(network, "damp", None):
        damp()


def content_of(path: Path) -> Any:
    """What a checkpoint file holds, loaded without running any code of it.

    Raises EarwitnessError when the file is absent, truncated, or no checkpoint.
    """
    if not path.is_file():
        raise EarwitnessError(absent(path))
    try:
        if is_web_page(path):
            raise EarwitnessError(f"{path} is a web page, most likely saved in place of the checkpoint. Remove it.")
        # Training code leaves NumPy arrays beside the weights, and VGGish's PCA is two: arrays of numbers are harmless.
        with torch.serialization.safe_globals(_numpy_arrays()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (EarwitnessError, MemoryError):
        raise
    except Exception as error:  # torch raises many kinds, and its words advise to load files unsafely
        raise EarwitnessError(f"{path} {_why_unreadable(path, error)}") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})."
    if foreign := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"holds objects that are no tensors or numbers ({foreign[1]}); such files are never loaded, for safety."
    told = f"is no PyTorch checkpoint, or is truncated ({path.stat().st_size:,} bytes)."
    known = CHECKPOINTS.get(path.name)
    return f"{told} It is to be {known.described()}." if known else told


def _numpy_arrays() -> list[Any]:
    """What torch's safe loading needs to know to rebuild NumPy arrays and numbers."""
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    rebuild = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    # Files of earlier NumPy versions name the same functions by their former module.
    former = [(function, f"numpy.core.multiarray.{function.__name__}") for function in (rebuild, scalar)]
    return [rebuild, scalar, *former, np.ndarray, np.dtype, *kinds]


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    return value if isinstance(value, Tensor) else None


def _guess(content: Mapping[str, Any]) -> str:
    """The sentence, after a blank, that says which known file this is, by its entries or those one level down."""
    for entries in (content, *(value for value in content.values() if isinstance(value, Mapping))):
        shapes = {name: tuple(getattr(value, "shape", ())) for name, value in entries.items()}
        for file, marks in _MARKS.items():
            if marks.items() <= shapes.items():
                return f" By its entries it is `{file}` ({CHECKPOINTS[file].title.split(',')[0]})."
    return ""


def _fits(own: Mapping[str, Tensor], entries: Mapping[str, Tensor], name: str) -> bool:
    return name in entries and _bare(entries[name].shape) == _bare(own[name].shape)


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of length 1 at its end."""
    shape = tuple(shape)
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _wrong_shape(name: str, found: Sequence[int], needed: Sequence[int]) -> str:
    return f"{name}: shape {list(found)}, {list(needed)} is needed"


def _normal(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """He's normal numbers for what has more than one element an output, else zeros; float32."""
    inputs = math.prod(shape[1:])
    if inputs == 1:
        return torch.zeros(shape)
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / inputs)))
