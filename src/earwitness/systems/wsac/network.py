"""WSAC: a GPT-2 decoder that reads a CLAP vector as its prefix (Kouzelis & Katsouros, arXiv 2309.12242)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, GPT2Config, GPT2Model

from earwitness.errors import EarwitnessError
from earwitness.systems.wsac.options import WsacOptions


@dataclass(frozen=True)
class Sizes:
    """Sizes that depend on the data: of a CLAP vector, of the text's vocabulary, and of the memory."""

    dimension: int
    words: int
    memory: int


@dataclass
class Cache:
    """Keys and values of all positions so far, and the logits [rows, words] after the prefix, where they are needed."""

    states: DynamicCache
    first: Tensor | None


class Wsac(nn.Module):
    """The network. Call ``forward`` for training, or ``start`` and ``next_logits`` for decoding.

    Names of the weights are those of the published code, except that its ``decoder.lm_head.weight``, which is the
    embedding ``decoder.transformer.wte.weight``, does not stand twice.

    Attributes:
        memory: the vectors of the training captions, [captions, D]; a buffer, so that a model's file holds them.
        free_start: decoding starts from the prefix alone, as in the published code, not from the start token.
    """

    memory: Tensor

    def __init__(self, options: WsacOptions, sizes: Sizes, memory: Tensor | None = None):
        super().__init__()
        decoder = options.decoder
        rows = decoder.rows or sizes.words
        if rows < sizes.words:
            raise EarwitnessError(f"decoder.rows: {rows} are too few, the text has {sizes.words} tokens.")
        config = GPT2Config(
            vocab_size=rows,
            n_positions=decoder.positions,
            n_embd=decoder.width,
            n_layer=decoder.layers,
            n_head=decoder.heads,
            n_inner=decoder.feedforward,
            resid_pdrop=decoder.dropout,
            embd_pdrop=decoder.dropout,
            attn_pdrop=decoder.dropout,
            bos_token_id=None,  # the text says which they are
            eos_token_id=None,
        )
        self.decoder = nn.ModuleDict({"transformer": GPT2Model(config)})
        self.prefix_length, self.width = options.prefix.length, decoder.width
        linear = nn.Linear(sizes.dimension, decoder.width * options.prefix.length)
        self.clap_project = nn.Sequential(OrderedDict(model=nn.Sequential(linear)))
        self.register_buffer("memory", torch.empty(sizes.memory, sizes.dimension) if memory is None else memory)
        self.free_start = options.legacy_decoding

    @property
    def transformer(self) -> Any:
        """The GPT-2 itself."""
        return self.decoder["transformer"]

    def prefix(self, vectors: Tensor) -> Tensor:
        """CLAP vectors [rows, D] as embeddings [rows, prefix, width]."""
        return self.clap_project(vectors).view(len(vectors), self.prefix_length, self.width)

    def word_logits(self, states: Tensor) -> Tensor:
        """States [..., width] -> logits [..., words], by the word embeddings."""
        return functional.linear(states, self.transformer.wte.weight)

    def forward(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """States [rows, prefix + length, width] of CLAP vectors [rows, D] and captions [rows, length] after them.

        The state at position ``prefix - 1 + i`` predicts token i, so that of the prefix's end the start token.
        """
        if not len(ids):  # of several processes this one has no caption of the batch; GPT-2 needs one
            return self.forward(vectors.new_zeros(1, vectors.shape[1]), ids.new_zeros(1, ids.shape[1]))[:0]
        embedded = torch.cat([self.prefix(vectors), self.transformer.wte(ids)], dim=1)
        return self.transformer(inputs_embeds=embedded, use_cache=False)[0]

    def start(self, memory: Tensor, clip_of_row: Tensor, capacity: int) -> Cache:
        """The cache after the prefix of CLAP vectors ``memory`` [clips, D], for each row; it grows as needed."""
        cache = DynamicCache(config=self.transformer.config)
        states = self.transformer(inputs_embeds=self.prefix(memory), past_key_values=cache, use_cache=True)[0]
        cache.reorder_cache(clip_of_row)
        return Cache(cache, self.word_logits(states[:, -1])[clip_of_row] if self.free_start else None)

    def next_logits(self, ids: Tensor, cache: Cache, position: int) -> Tensor:
        """Word logits [rows, words] after the tokens ``ids`` [rows] at ``position``."""
        if position == 0 and cache.first is not None:
            return cache.first
        states = self.transformer(input_ids=ids[:, None], past_key_values=cache.states, use_cache=True)[0]
        return self.word_logits(states[:, 0])

    def reorder(self, cache: Cache, rows: Tensor) -> None:
        """Continue each row from the cache of another row of the same clip."""
        cache.states.reorder_cache(rows)


def caption_loss(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy of tokens, logits [n, words] and targets [n], and the share of tokens that come first."""
    loss = functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    return loss, (logits.detach().argmax(dim=1) == targets).float().mean()


def bridged(text: Tensor, variance: float, shift: Tensor | None, gate: bool = False) -> tuple[Tensor, Tensor]:
    """Text vectors [rows, D] made more like audio vectors, and the mean length of the noise.

    Of length 1: the vectors of length 1, with Gaussian noise of a variance per dimension, and with the shift [D].

    Args:
        gate: as in the published code, vectors stay as they are where the variance is 0, shift or not.
    """
    if gate and not variance:
        return text, text.new_zeros(())
    text = functional.normalize(text, dim=-1)
    noise = variance**0.5 * torch.randn_like(text) if variance else torch.zeros_like(text)
    moved = text + noise if shift is None else text + noise + shift
    return functional.normalize(moved, dim=-1), noise.norm(dim=-1).mean()


def nearest(audio: Tensor, memory: Tensor) -> Tensor:
    """For each audio vector [clips, D], the vector of the memory [captions, D] with the highest dot product."""
    return memory[(audio @ memory.T).argmax(dim=1)]


def projected(audio: Tensor, memory: Tensor, tau: float) -> Tensor:
    """Audio vectors [clips, D] as means of the memory's vectors [captions, D], weighted by softmax(cosine / tau).

    The means have length 1.
    """
    return functional.normalize((audio @ memory.T / tau).softmax(dim=1) @ memory, dim=-1)
