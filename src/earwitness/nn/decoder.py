"""Post-norm Transformer decoder with a key/value cache (Vaswani et al., arXiv 1706.03762, section 3).

State-dict keys are those of ``torch.nn.TransformerDecoder``. One implementation serves training (all positions at once)
and decoding (one position per step). With the cache, a step computes one position, and the memory is projected once per
clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.options import POSITIONS


class Attention(nn.Module):
    """Multi-head attention with separate steps, so that keys and values can be cached.

    State-dict keys are those of ``torch.nn.MultiheadAttention``.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def queries(self, x: Tensor) -> Tensor:
        """[rows, length, width] -> [rows, heads, length, width / heads]."""
        width = x.shape[-1]
        return self._split(functional.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width]))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[rows, length, width] -> keys and values, each [rows, heads, length, width / heads]."""
        width = x.shape[-1]
        both = functional.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
        keys, values = both.chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Scaled dot-product attention and the output projection: -> [rows, length, width].

        ``mask`` [rows, keys' length] is true for keys that are attended to; None: all are.
        """
        dropout = self.dropout if self.training else 0.0
        there = None if mask is None else mask[:, None, None]
        x = functional.scaled_dot_product_attention(queries, keys, values, there, dropout, causal)
        return self.out_proj(x.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


@dataclass
class LayerCache:
    """Cache of one layer: keys and values of previous positions, and of the memory."""

    keys: Tensor  # [rows, heads, capacity, width / heads]
    values: Tensor
    memory_keys: Tensor  # [rows, heads, memory length, width / heads]
    memory_values: Tensor
    memory_mask: Tensor | None = None  # [rows, memory length]


class DecoderLayer(nn.Module):
    """Self-attention, attention to the memory, feed-forward; a LayerNorm after each (post-norm), ReLU."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float):
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.multihead_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None = None) -> Tensor:
        """All positions at once, with causal mask: x [rows, length, width]; memory: keys and values for each row."""
        attention = self.self_attn
        attended = attention.attend(attention.queries(x), *attention.keys_values(x), causal=True)
        return self._rest(x, attended, memory, mask)

    def step(self, x: Tensor, cache: LayerCache, position: int) -> Tensor:
        """One position: x [rows, 1, width] -> [rows, 1, width]; adds its keys and values to the cache."""
        attention = self.self_attn
        cache.keys[:, :, position : position + 1], cache.values[:, :, position : position + 1] = attention.keys_values(
            x
        )
        seen = slice(0, position + 1)
        attended = attention.attend(attention.queries(x), cache.keys[:, :, seen], cache.values[:, :, seen])
        return self._rest(x, attended, (cache.memory_keys, cache.memory_values), cache.memory_mask)

    def _rest(self, x: Tensor, attended: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """The layer after self-attention, whose output is ``attended``."""
        x = self.norm1(x + self.dropout(attended))
        crossed = self.multihead_attn.attend(self.multihead_attn.queries(x), *memory, mask=mask)
        x = self.norm2(x + self.dropout(crossed))
        inner = self.linear2(self.dropout(functional.relu(self.linear1(x))))
        return self.norm3(x + self.dropout(inner))


class TransformerDecoder(nn.Module):
    """A stack of decoder layers; several rows (captions, beams) may share the memory of a clip."""

    layers: Any  # of DecoderLayer, which an nn.ModuleList does not say

    def __init__(self, width: int, heads: int, feedforward: int, layers: int, dropout: float, identical: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        if identical:  # as in the published code
            for layer in self.layers[1:]:
                layer.load_state_dict(self.layers[0].state_dict())

    def forward(self, x: Tensor, memory: Tensor, clip_of_row: Tensor, mask: Tensor | None = None) -> Tensor:
        """Hidden states [rows, length, width] at all positions.

        Args:
            x: embedded words [rows, length, width]; memory: [clips, memory length, width]; clip_of_row:
                [rows], index of the clip; mask: [clips, memory length], true where memory is not padding; None:
                everywhere.
        """
        there = None if mask is None else mask.index_select(0, clip_of_row)
        for layer in self.layers:
            keys, values = layer.multihead_attn.keys_values(memory)  # once per clip, not per caption
            x = layer(x, (keys.index_select(0, clip_of_row), values.index_select(0, clip_of_row)), there)
        return x

    def start(self, memory: Tensor, clip_of_row: Tensor, capacity: int, mask: Tensor | None = None) -> list[LayerCache]:
        """Empty caches for up to ``capacity`` positions of each row; memory and mask as in ``forward``."""
        caches = []
        there = None if mask is None else mask.index_select(0, clip_of_row)
        for layer in self.layers:
            keys, values = layer.multihead_attn.keys_values(memory)
            rows, (_, heads, _, size) = len(clip_of_row), keys.shape
            empty = (keys.new_zeros(rows, heads, capacity, size), keys.new_zeros(rows, heads, capacity, size))
            of_rows = (keys.index_select(0, clip_of_row), values.index_select(0, clip_of_row))
            caches.append(LayerCache(*empty, *of_rows, there))
        return caches

    def step(self, x: Tensor, caches: list[LayerCache], position: int) -> Tensor:
        """Hidden state of one position: x [rows, 1, width] -> [rows, 1, width]."""
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer.step(x, cache, position)
        return x

    @staticmethod
    def reorder(caches: list[LayerCache], rows: Tensor) -> None:
        """Continue each row from the cache of another row of the same clip."""
        for cache in caches:
            cache.keys, cache.values = cache.keys.index_select(0, rows), cache.values.index_select(0, rows)


class WordEmbedding(nn.Module):
    """Word vectors times the square root of their width, plus sinusoidal positions, then dropout."""

    positions: Tensor

    def __init__(self, words: int, width: int, dropout: float, longest: int = POSITIONS):
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.scale = math.sqrt(width)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("positions", sinusoids(longest, width), persistent=False)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """ids [rows, length] -> [rows, length, width]; ``start`` is the position of the first column."""
        positions = self.positions[start : start + ids.shape[1]]
        return self.dropout(self.table(ids) * self.scale + positions)


def sinusoids(length: int, width: int) -> Tensor:
    """Standard positional encoding [length, width]: sine on even, cosine on odd dimensions, base 10000."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles[:, : width // 2])
    return table
