"""Several processes that train together, each with its share of every batch.

Every process has the whole batch and computes its own rows of it. What looks across the batch gets the rows of all
processes by `gathered`, so that the loss is the same in each of them, and the same as in a single process. The gradient
of `summed`, and so of all that is made of it, is the sum over processes: where each of them minimises the same loss,
the mean of their gradients is the gradient of that loss (`average_gradients`), whatever is computed once or by all.

In one process, and without gradients as in validation, all of these are the identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from earwitness.errors import EarwitnessError

ALONE = "A batch of one has no statistics for batch normalisation: training needs at least two clips."


def processes() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def sharers() -> int:
    """The number of processes that share a batch: all in a training step, else one."""
    return processes() if torch.is_grad_enabled() else 1


def share(rows: int) -> slice:
    """The rows of a batch that this process computes; none where there are fewer than processes.

    >>> share(3)
    slice(0, 3, None)
    """
    count = sharers()
    number = rank() if count > 1 else 0
    return slice(rows * number // count, rows * (number + 1) // count)


def own(x: Tensor) -> Tensor:
    """This process's rows of [rows, ...]."""
    return x[share(len(x))]


def gathered(x: Tensor, rows: int) -> Tensor:
    """The rows of all processes, [rows, ...], from those of each one (`share`)."""
    if sharers() == 1:
        return x
    place = share(rows)
    return summed(functional.pad(x, [0, 0] * (x.dim() - 1) + [place.start, rows - place.stop]))


def summed(x: Tensor) -> Tensor:
    """The sum over all processes."""
    return x if sharers() == 1 else _Sum.apply(x)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient


def averaged(mean: Tensor, count: Tensor | int) -> Tensor:
    """The mean over what all processes have, from the mean over the ``count`` that each one has, which may be none."""
    if sharers() == 1:
        return mean
    count = torch.as_tensor(count, dtype=mean.dtype, device=mean.device)
    total, counts = summed(torch.stack([torch.where(count > 0, mean * count, 0), count]))
    return total / counts


def from_first(x: Tensor) -> Tensor:
    """The values of the first process, such as what is drawn for the whole batch; without a gradient."""
    if sharers() == 1:
        return x
    x = x.detach().clone(memory_format=torch.contiguous_format)
    distributed.broadcast(x, src=0)
    return x


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over processes; those that no process has stay None."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    zero = trained[0].new_zeros(())
    parts = [
        zero.expand(parameter.numel()) if parameter.grad is None else parameter.grad.flatten() for parameter in trained
    ]
    flat = torch.cat([*parts, zero.new_tensor([float(parameter.grad is not None) for parameter in trained])])
    distributed.all_reduce(flat)
    flat /= processes()
    *parts, used = flat.split([*(parameter.numel() for parameter in trained), len(trained)])
    for parameter, part, some in zip(trained, parts, used.tolist(), strict=True):
        if some:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(part.view_as(parameter))  # as the parameter lies in memory


def synchronise(network: nn.Module) -> None:
    """From here on, batch normalisation uses the statistics of all processes, on any device."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = MethodType(_normalised, module)  # type: ignore[method-assign]


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    if not norm.training or sharers() == 1:
        return type(norm).forward(norm, x)
    values, channels = x.float(), x.shape[1]
    others = [side for side in range(x.dim()) if side != 1]
    number = x.numel() // channels
    here = torch.var_mean(values, others, correction=0) if number else [values.sum(others)] * 2
    row = torch.cat([*here, values.new_tensor([number])])
    variances, means, counts = gathered(row[None], sharers()).split([channels, channels, 1], dim=1)
    total = counts.sum()
    if number < 2 and total < 2:  # in this order: a GPU need not be waited for
        raise EarwitnessError(ALONE)
    mean = (counts * means).sum(dim=0) / total
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.detach(), momentum)
        norm.running_var.lerp_(variance.detach() * total / (total - 1), momentum)
    shape = [1, channels] + [1] * (x.dim() - 2)
    result = (values - mean.view(shape)) * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        result = result * norm.weight.view(shape) + norm.bias.view(shape)
    return result.to(x.dtype)
