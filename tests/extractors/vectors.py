"""The inputs and figures of the parity vectors, and how features are compared."""

import numpy as np
import torch


def formula(name, shape):
    """The formula-made values of the state-dict entry ``name``, float32."""
    j = np.arange(np.prod(shape), dtype=np.float64)
    last = name.split(".")[-1]
    if len(shape) > 1:
        values = 2 / np.sqrt(np.prod(shape[1:])) * np.cos(1.7 * j + 0.3 * (j % 7) ** 2 + 1)
    elif last == "running_mean":
        values = 0.05 * np.sin(j + 1)
    elif last == "bias":
        values = 0.1 * np.sin(j + 1)
    else:
        values = 1 + 0.1 * np.cos(j + 1)
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def noise(samples, clips=1, seed=0):
    """Uniform noise that differs from clip to clip, float32 [clips, samples]."""
    return torch.from_numpy(np.random.RandomState(seed).uniform(-0.5, 0.5, (clips, samples)).astype(np.float32))


def largest_difference(actual, reference):
    """In units of the largest reference value."""
    return ((actual.double() - reference.double()).abs().max() / reference.abs().max()).item()


def figures(values):
    """Mean, population standard deviation, least, largest, first and last value."""
    flat = values.double().flatten()
    return [flat.mean(), flat.std(correction=0), flat.min(), flat.max(), flat[0], flat[-1]]


def between_clips(features):
    """Root mean square of what tells the clips' features from their mean."""
    return (features - features.mean(dim=0)).square().mean().sqrt()
