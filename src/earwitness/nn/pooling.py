"""Poolings of a sequence of frames or words to one vector (Lou et al., arXiv 2203.13645, as in its published code).

Every pooling is called with values [B, N, D] and a mask [B, N], true where a value is there, and has the attribute
``size``, the dimensions of what it gives, [B, size]. Sums and norms are taken in float32, also under autocast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.errors import EarwitnessError
from earwitness.nn.parallel import sharers

EPS = 1e-8  # keeps vectors of length 0 from dividing by it
SHORTEST = 1e-12  # vectors of clusters that are no longer count as empty
ROUNDING = 1e-6  # squared lengths below this share of what values could add up to are rounding
MANY = 512  # values whose products with each other cost more than the sums of clusters
FAR = -1e6  # what the Transformer adds to the logits of keys that are not there
PoolingName = Literal["mean", "max", "attention", "lstm", "netvlad", "netrvlad", "transformer"]


class Mean(nn.Module):
    """The mean of the values' directions, of length 1: values are divided by their length first."""

    def __init__(self, dimension: int):
        super().__init__()
        self.size = dimension

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        return mean_direction(values, mask)


def mean_direction(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of values [B, N, D] of length 1 where the mask [B, N] is true, again of length 1: float32 [B, D]."""
    values = values.float()
    units = values / (values.norm(dim=-1, keepdim=True) + EPS)
    there = mask.to(units.dtype)
    mean = torch.einsum("bn,bnd->bd", there, units) / there.sum(dim=1, keepdim=True).clamp(min=1)
    return mean / (mean.norm(dim=-1, keepdim=True) + EPS)


class Max(nn.Module):
    """The largest value of each dimension; with ``mask_pads: false`` that of all values, there or not, as published."""

    def __init__(self, dimension: int, mask_pads: bool = True):
        super().__init__()
        self.size, self.mask_pads = dimension, mask_pads

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        if not self.mask_pads:
            return values.amax(dim=1)
        largest = values.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
        return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0)


class Attention(nn.Module):
    """The sum of values weighted by the softmax over them of a learnt linear score, of length 1."""

    def __init__(self, dimension: int):
        super().__init__()
        self.size = dimension
        self.score = nn.Linear(dimension, 1, bias=False)  # a bias would cancel

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        scores = self.score(values).squeeze(-1).float()
        weights = scores.masked_fill(~mask, torch.finfo(torch.float32).min).softmax(dim=1) * mask  # 0 of nothing
        pooled = (weights[..., None] * values.float().masked_fill(~mask[..., None], 0)).sum(dim=1)
        return pooled / (pooled.norm(dim=-1, keepdim=True) + EPS)


class Lstm(nn.LSTM):
    """One layer forwards in time; the mean direction of all its states.

    Padding stands behind a sequence, so that no state of it depends on padding. Packed sequences leave these steps
    out, and are slower on CPUs nevertheless (``benchmarks/retrieval.py --parts lstm``).
    """

    def __init__(self, dimension: int, hidden: int):
        super().__init__(dimension, hidden, batch_first=True)
        self.size = hidden

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        states, _ = super().forward(values)
        return mean_direction(states, mask)


class NetRvlad(nn.Module):
    """NetRVLAD: the sum of values in each of the clusters that they belong to, [B, D * clusters] of length 1.

    ``mask_pads: false`` is the published code, where values that are not there, zeros, enter the statistics of the
    batch normalisation. The value of dimension d in cluster k has the index d * clusters + k.
    """

    def __init__(self, dimension: int, clusters: int, mask_pads: bool = True, ghosts: int = 0):
        super().__init__()
        self.size, self.kept, self.mask_pads = dimension * clusters, clusters, mask_pads
        self.clusters = nn.Parameter(torch.randn(dimension, clusters + ghosts) / dimension**0.5)
        self.batch_norm = nn.BatchNorm1d(clusters + ghosts)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """The sums are not made to be divided by their length, which is known before: values are constant, few and
        long, so their products [B, N, N] cost little. Of many values, such as an hour of sound, they would not."""
        assigned = self.assignments(values, mask)
        if values.shape[1] > MANY:
            return of_length_one(torch.bmm(values.transpose(1, 2), assigned.to(values.dtype)).float())
        with torch.autocast(values.device.type, enabled=False):
            products = torch.bmm(values.float(), values.float().transpose(1, 2))
            squares = (assigned.float() * torch.bmm(products, assigned.float())).sum(dim=1, keepdim=True)
            lengths = products.detach().diagonal(dim1=1, dim2=2).sqrt()
            largest = torch.bmm(lengths[:, None], assigned.detach().float()).square()  # if all values were parallel
            squares = torch.maximum(squares, ROUNDING * largest)
        scaled = assigned * unit_scales(squares)
        return torch.bmm(values.transpose(1, 2), scaled.to(values.dtype)).flatten(1).float()

    def assignments(self, values: Tensor, mask: Tensor) -> Tensor:
        """How far each value belongs to each cluster, [B, N, clusters]; 0 where it is not there."""
        logits = values @ self.clusters
        if not self.mask_pads:
            flat = self.batch_norm(logits.flatten(0, 1)).softmax(dim=-1)
            return flat.view_as(logits)[..., : self.kept]
        present = logits[mask]
        if self.training and len(present) == 1 and sharers() == 1:
            raise EarwitnessError(
                "A training batch has 1 frame or word in all: batch normalisation needs at least two. A larger batch "
                "usually helps."
            )
        there = self.batch_norm(present).softmax(dim=-1)
        assigned = torch.zeros_like(logits, dtype=there.dtype)
        assigned[mask] = there
        return assigned[..., : self.kept]


def unit_scales(squares: Tensor) -> Tensor:
    """What makes each cluster's vector of length 1, then all together: from their squared lengths [B, 1, clusters]."""
    lengths = squares.clamp(min=SHORTEST**2).sqrt()
    filled = (squares > SHORTEST**2).sum(dim=-1, keepdim=True).clamp(min=1)
    return 1 / (lengths * filled.sqrt())


def of_length_one(sums: Tensor) -> Tensor:
    """The vector of each cluster [B, D, clusters] of length 1, then all together: [B, D * clusters]."""
    return (sums * unit_scales(sums.square().sum(dim=1, keepdim=True))).flatten(1)


class NetVlad(NetRvlad):
    """NetVLAD: the sum of the values' differences from the centre of each cluster; ghost clusters are left out."""

    def __init__(self, dimension: int, clusters: int, mask_pads: bool = True, ghosts: int = 0):
        super().__init__(dimension, clusters, mask_pads, ghosts)
        self.clusters2 = nn.Parameter(torch.randn(1, dimension, clusters) / dimension**0.5)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        assigned = self.assignments(values, mask)
        sums = torch.bmm(values.transpose(1, 2), assigned.to(values.dtype)).float()
        residuals = torch.addcmul(sums, assigned.sum(dim=1, keepdim=True).float(), self.clusters2, value=-1)
        return of_length_one(residuals)


class Transformer(nn.Module):
    """Pre-norm blocks over values with learnt positions; the mean direction of their outputs."""

    def __init__(self, dimension: int, width: int, layers: int, heads: int, positions: int):
        super().__init__()
        self.size = width
        self.linear = nn.Linear(dimension, width)
        self.positions = nn.Parameter(0.01 * torch.randn(positions, width))
        self.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        if values.shape[1] > len(self.positions):
            raise EarwitnessError(
                f"The Transformer has learnt {len(self.positions)} positions, and these are {values.shape[1]} values."
            )
        hidden = self.linear(values) + self.positions[: values.shape[1]]
        far = torch.zeros(mask.shape, dtype=hidden.dtype, device=mask.device).masked_fill(~mask, FAR)
        for block in self.resblocks:
            hidden = block(hidden, far[:, None, None])
        return mean_direction(hidden, mask)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attn = nn.MultiheadAttention(width, heads)  # holds the weights under the published names
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", _QuickGelu())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, far: Tensor) -> Tensor:
        """[B, N, width], and what is added to attention logits [B, 1, 1, N] -> [B, N, width]."""
        projected = functional.linear(self.ln_1(x), self.attn.in_proj_weight, self.attn.in_proj_bias)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=far.to(query.dtype))
        x = x + self.attn.out_proj(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.ln_2(x))


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def pooling(
    name: PoolingName,
    dimension: int,
    *,
    clusters: int = 12,
    ghosts: int = 0,
    hidden: int = 2048,
    width: int = 512,
    layers: int = 8,
    heads: int = 4,
    positions: int = 0,
    mask_pads: bool = True,
) -> Any:
    """The pooling of this name over values of ``dimension``; each takes those of the arguments that it has."""
    made: dict[str, Callable[[], nn.Module]] = {
        "mean": lambda: Mean(dimension),
        "max": lambda: Max(dimension, mask_pads),
        "attention": lambda: Attention(dimension),
        "lstm": lambda: Lstm(dimension, hidden),
        "netvlad": lambda: NetVlad(dimension, clusters, mask_pads, ghosts),
        "netrvlad": lambda: NetRvlad(dimension, clusters, mask_pads),
        "transformer": lambda: Transformer(dimension, width, layers, heads, positions),
    }
    return made[name]()


def unit_frames(frames: Tensor, how: str) -> Tensor:
    """Frames [B, N, D] of length 1, with ``sqrt_l2`` after the root of each value, which keeps its sign."""
    if how == "none":
        return frames
    if how == "sqrt_l2":
        frames = frames.sign() * frames.abs().sqrt()
    return functional.normalize(frames, dim=-1)
