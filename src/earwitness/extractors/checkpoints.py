"""Weights of the extractors: read from checkpoint files, put into networks, or random from a seed."""

from __future__ import annotations

import math
import re
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.errors import EarwitnessError, listed, nearest
from earwitness.extractors.published import PublishedWeights, absent, published
from earwitness.fetch import checkpoints
from earwitness.fetch.checkpoints import FOLDER
from earwitness.fetch.published import is_web_page

SAFETENSORS = ".safetensors"
_COUNTER = "num_batches_tracked"  # of BatchNorm; early checkpoints lack it, and inference does not use it
_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def read(path: str | Path, key: str | None) -> dict[str, Tensor]:
    """The weights of a checkpoint file by their entry names, on the CPU; NumPy arrays become tensors.

    Nothing in the file can run code. ``key`` names the entry of the file that holds the weights; None where the file
    is the weights, as files of safetensors always are.

    Raises EarwitnessError when the file is absent, truncated, of another kind, or has no such weights.
    """
    content = content_of(Path(path))
    key = None if Path(path).suffix == SAFETENSORS else key
    if not isinstance(content, Mapping):
        where = "by name" if key is None else f"under `{key}`"
        raise EarwitnessError(f"{path} has no weights {where}, but one {type(content).__name__}.")
    weights = content if key is None else content.get(key)
    if not isinstance(weights, Mapping):
        there = ", ".join(map(str, content)) or "none"
        raise EarwitnessError(f"{path} has no weights under `{key}`.{_guess(content)} Its entries: {there}.")
    tensors, problems = {}, []
    for name, value in weights.items():
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            value = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
        if isinstance(value, Tensor):
            tensors[str(name)] = value
        else:
            problems.append(f"{name}: {type(value).__name__}")
    if problems:
        raise EarwitnessError(listed(f"{path} has entries that are not tensors:", problems, _guess(content).strip()))
    if not tensors:
        raise EarwitnessError(f"{path} has no weights.")
    return tensors


def fetch(file: str, folder: str | Path = FOLDER, mirror: str | None = None) -> None:
    """Have the published ``file`` in ``folder``, as ``fetch.checkpoints.fetch`` says; ``mirror`` as there.

    Of a file without a published digest the entries are checked.
    """
    if (weights := published().get(file)) is None:
        raise EarwitnessError(f"{file!r} is not a known public checkpoint; {nearest(file, published())}")
    checkpoints.fetch(weights, folder, mirror, check=lambda path: require_kind(path, weights))


def require_kind(path: str | Path, weights: PublishedWeights) -> None:
    """Raise EarwitnessError for a file that does not have the entries by which a published file is known."""
    entries = read(path, weights.key)
    problems = []
    for name, shape in weights.marks.items():
        if name not in entries:
            problems.append(f"{name}: missing")
        elif entries[name].shape != shape:
            problems.append(_wrong_shape(name, entries[name].shape, shape))
    if problems:
        heading = f"{path} is not the public file `{weights.file}` ({weights.title}):"
        raise EarwitnessError(listed(heading, problems, _guess(entries).strip()))


def fit(
    network: nn.Module,
    entries: Mapping[str, Tensor],
    path: str | Path,
    *,
    file: str | None = None,
    optional: Sequence[str] = (),
    ignored: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> tuple[str, ...]:
    """Put the ``entries`` of the checkpoint ``path`` into ``network``, all of them or none.

    A prefix that all entries which the network does not know have in common, such as ``module.`` of nn.DataParallel, is
    taken off where they are then known, and told on the error stream.

    Args:
        file: the published file that fits, for messages.
        optional: prefixes of the names of entries that the network computes itself, such as those of a front end.
            They are taken where the file has them in the right shape.
        ignored: prefixes of the names of entries of the file that the network does not use.
        kept: prefixes of the names of entries of the network that stay as they are, whatever the file has.

    Returns:
        The optional entries that stay as the network computed them, since the file has none that fit.

    Raises:
        EarwitnessError: entries are missing, not expected, misshaped or not finite; all of them are named.

    Counters ``num_batches_tracked`` may be missing, and axes of length 1 at the end of a shape do not count: VGGish's
    PCA file has its means as [128], the reference as [128, 1].
    """
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(tuple(kept))}
    entries = _without_prefix(entries, path, state, (*optional, *ignored))
    computed = tuple(name for name in state if name.startswith(tuple(optional)) and not _fits(state, entries, name))
    taken = {name: value for name, value in entries.items() if name in state and name not in computed}
    needed = [name for name in state if name not in computed and name.split(".")[-1] != _COUNTER]
    problems = [f"{name}: missing" for name in needed if name not in taken]
    unknown = (name for name in entries if name not in state and not name.startswith((*optional, *ignored)))
    problems += [f"{name}: not expected" for name in unknown]
    for name, value in taken.items():
        if not _fits(state, entries, name):
            problems.append(_wrong_shape(name, value.shape, state[name].shape))
        elif not value.isfinite().all():
            problems.append(f"{name}: not all of its values are finite")
    if problems:
        expected = f"`{file}` is expected." if file else ""
        heading = f"{path} does not fit the network {type(network).__name__}:"
        raise EarwitnessError(listed(heading, problems, f"{expected}{_guess(entries)}".strip()))
    network.load_state_dict({name: value.reshape(state[name].shape) for name, value in taken.items()}, strict=False)
    return computed


def untrained(network: nn.Module, seed: int) -> None:
    """Fill a network with random weights that depend on ``seed`` alone.

    Matrices and kernels are normal with the scale of He et al. (arXiv 1502.01852), so that activations keep their
    scale; normalisations are the identity, biases 0. Each value depends on the seed and the name of its parameter.
    Buffers outside normalisations, such as those of front ends, stay. A network that would amplify rounding with random
    weights has a method ``damp`` that prevents it.
    """
    normalised = set()
    for name, module in network.named_modules():
        if isinstance(module, _NORMALISATIONS):
            module.reset_parameters()
            normalised |= {f"{name}.{last}".lstrip(".") for last, _ in module.named_parameters(recurse=False)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in normalised:
                parameter.copy_(_normal(name, tuple(parameter.shape), seed))
    if damp := getattr(network, "damp", None):
        damp()


def content_of(path: Path) -> Any:
    """The content of a checkpoint file, loaded without running code from it.

    Raises EarwitnessError when the file is absent, truncated, or not a checkpoint.
    """
    if not path.is_file():
        raise EarwitnessError(absent(path))
    try:
        if is_web_page(path):
            raise EarwitnessError(f"{path} is a web page, most likely saved instead of the checkpoint. Remove it.")
        if path.suffix == SAFETENSORS:
            from safetensors.torch import load_file

            return load_file(path)
        # Training code leaves NumPy arrays beside the weights, and VGGish's PCA is two: arrays of numbers are harmless.
        with torch.serialization.safe_globals(_numpy_arrays()):
            # Mapped to memory, what is not asked for, such as the state of an optimiser, is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (EarwitnessError, MemoryError):
        raise
    except Exception as error:  # torch raises many kinds, and its messages advise to load files unsafely
        raise EarwitnessError(f"{path} {_why_unreadable(path, error)}") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})."
    if foreign := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"has objects other than tensors and numbers ({foreign[1]}); such files are never loaded, for safety."
    damaged = f"is no PyTorch checkpoint, or is truncated ({path.stat().st_size:,} bytes)."
    known = published().get(path.name)
    return f"{damaged} The right file is {known.described()}." if known else damaged


def _numpy_arrays() -> list[Any]:
    """What torch's safe loading must be allowed, to rebuild NumPy arrays and numbers."""
    kinds = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    rebuild: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    # Files of earlier NumPy versions name the same functions with their former module.
    former = [(function, f"numpy.core.multiarray.{function.__name__}") for function in (rebuild, scalar)]
    return [rebuild, scalar, *former, np.ndarray, np.dtype, *kinds]


def _guess(content: Mapping[str, Any]) -> str:
    """The sentence, after a space, that names the known file that has these entries, here or one level down."""
    for entries in (content, *(value for value in content.values() if isinstance(value, Mapping))):
        shapes = {name: tuple(getattr(value, "shape", ())) for name, value in entries.items()}
        for weights in published().values():
            if weights.marks and weights.marks.items() <= shapes.items():
                return f" By its entries it is `{weights.file}` ({weights.title.split(',')[0]})."
    return ""


def _without_prefix(
    entries: Mapping[str, Tensor], path: str | Path, state: Mapping[str, Tensor], others: tuple[str, ...]
) -> Mapping[str, Tensor]:
    """The entries without the prefix that all unknown ones have in common, where their names are known without it."""
    unknown = [name for name in entries if name not in state and not name.startswith(others)]
    prefix, levels = "", zip(*(name.split(".")[:-1] for name in unknown), strict=False)
    for level in levels:
        prefix += f"{level[0]}."
        bare = {name: name.removeprefix(prefix) for name in unknown if name.startswith(prefix)}
        if len(bare) < len(unknown):
            break
        if state.keys() & bare.values() and not entries.keys() & bare.values():
            print(f"{path}: the names of its entries begin with {prefix!r}, which is taken off", file=sys.stderr)
            return {bare.get(name, name): value for name, value in entries.items()}
    return entries


def _fits(state: Mapping[str, Tensor], entries: Mapping[str, Tensor], name: str) -> bool:
    return name in entries and _bare(entries[name].shape) == _bare(state[name].shape)


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of length 1 at its end."""
    shape = tuple(shape)
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _wrong_shape(name: str, found: Sequence[int], needed: Sequence[int]) -> str:
    return f"{name}: shape {list(found)}, {list(needed)} is needed"


def _normal(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """He's normal initialisation, float32; zeros where each output has a single input element."""
    inputs = math.prod(shape[1:])
    if inputs == 1:
        return torch.zeros(shape)
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / inputs)))
