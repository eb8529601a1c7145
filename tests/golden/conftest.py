"""The golden numbers and the formulas of their weights and inputs (data/README.md)."""

import json
import zlib

import numpy as np
import pytest
import torch

from tests.places import GOLDEN


def weight_rule(name, shape):
    """Weights of the state-dict entry ``name`` by the weight rule, float32."""
    n = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    last = name.split(".")[-1]
    if last == "running_mean":
        values = 0.05 * n
    elif last == "running_var":
        values = 1 + 0.1 * abs(n)
    elif len(shape) > 1:
        values = n * np.sqrt(2 / np.prod(shape[1:]))
    elif "bias" in last:
        values = 0.05 * n
    else:
        values = 1 + 0.1 * n
    return values.astype(np.float32)


def chirps(rate, seconds, seed):
    """Three chirps, eight clicks, noise and a gap, rounded to 16 bits: float32 [samples]."""
    n = round(rate * seconds)
    t = np.arange(n) / rate
    x = np.zeros(n)
    generator = np.random.Generator(np.random.PCG64(seed))
    for a, b, c, d in generator.uniform(size=(3, 4)):
        f0, f1 = 60 + 6000 * a, 60 + 6000 * b
        x += (0.1 + 0.15 * d) * np.sin(2 * np.pi * (f0 * t + (f1 - f0) * t * t / (2 * seconds) + c))
    places = (generator.uniform(size=8) * n).astype(int)
    np.add.at(x, places, generator.uniform(-0.8, 0.8, size=8))
    x += 0.01 * generator.standard_normal(n)
    x[int(0.60 * n) : int(0.65 * n)] = 0
    return (np.clip(np.round(x * 32768), -32768, 32767) / 32768).astype(np.float32)


def normal(seed, *shape):
    """Standard normal numbers, float32."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="session")
def weight():
    return weight_rule


@pytest.fixture(scope="session")
def wave():
    return chirps


@pytest.fixture(scope="session")
def rnd():
    return normal


@pytest.fixture(scope="session")
def golden():
    """The content of a golden file by its name: arrays of an npz, or JSON."""

    def read(name):
        if name.endswith(".json"):
            return json.loads((GOLDEN / name).read_text(encoding="utf-8"))
        with np.load(GOLDEN / name) as arrays:
            return dict(arrays)

    return read


@pytest.fixture(scope="session")
def fill_by_rule():
    """Fill a module's floating entries by the weight rule, under the name that ``renamed`` gives for each of them."""

    def fill(module, renamed=lambda name: name):
        state = {
            name: torch.from_numpy(weight_rule(renamed(name), tuple(value.shape)))
            for name, value in module.state_dict().items()
            if value.is_floating_point() and value.dim()
        }
        module.load_state_dict(state, strict=False)
        return module.eval()

    return fill


@pytest.fixture(scope="session")
def assert_within():
    """Assert that the largest difference is at most ``tolerance`` times the largest reference value."""

    def check(actual, reference, tolerance):
        actual, reference = np.asarray(actual), np.asarray(reference)
        assert actual.shape == reference.shape
        assert np.abs(actual - reference).max() <= tolerance * np.abs(reference).max()

    return check
