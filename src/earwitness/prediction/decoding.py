"""Batched greedy and beam decoding with a cache: clips are encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from earwitness.options import DecodingOptions


class StepwiseDecoder(Protocol):
    """The interface of a network for decoding."""

    @property
    def start(self) -> Callable[..., Any]:
        """(memory, clip_of_row, capacity) -> cache for rows [rows] that attend to the memory [clips, length, width] of
        their clip; with a fourth argument, mask [clips, length], where memory is not padding.
        """

    def next_logits(self, ids: Tensor, cache: Any, position: int) -> Tensor:
        """Word logits [rows, words] after the words ids [rows] at ``position``."""

    def reorder(self, cache: Any, rows: Tensor) -> None:
        """Continue each row from the cache of the given row."""


@dataclass(frozen=True)
class Symbols:
    """Special ids for decoding."""

    sos: int
    eos: int
    forbidden: Sequence[int]  # never generated


@dataclass
class Hypotheses:
    """The hypotheses of a search, ``beam`` per clip, best first."""

    ids: Tensor  # [clips * beam, 1 + steps], from <sos> on
    scores: Tensor  # [clips, beam], sum of log-probabilities
    ended: Tensor  # [clips, beam]


@torch.inference_mode()
def decode(
    decoder: StepwiseDecoder,
    memory: Tensor,
    symbols: Symbols,
    options: DecodingOptions,
    max_words: int,
    mask: Tensor | None = None,
) -> tuple[list[list[int]], list[float]]:
    """Generate one caption for each clip.

    Args:
        memory: encoded clips [clips, length, width].
        max_words: maximum length of captions, unless ``options.max_words`` is set.
        mask: [clips, length], true where memory is not padding; None: everywhere.

    Returns:
        For each clip, the word ids (without ``<sos>`` and ``<eos>``) and the score: the sum of the log-probabilities
        including ``<eos>``, which is forced after the maximum length. Without a length penalty the search for a clip
        ends with its best hypothesis, since scores can only decrease.
    """
    clips, beam = len(memory), options.beam
    steps = (options.max_words or max_words) + 1  # the last step is <eos>
    clip_of_row = torch.arange(clips, device=memory.device).repeat_interleave(beam)
    cache = decoder.start(memory, clip_of_row, steps, *([] if mask is None else [mask]))
    found = Hypotheses(
        ids=torch.full((clips * beam, 1), symbols.sos, device=memory.device),
        scores=torch.full((clips, beam), -torch.inf, device=memory.device).index_fill_(
            1, clip_of_row.new_zeros(1), 0.0
        ),
        ended=torch.zeros(clips, beam, dtype=torch.bool, device=memory.device),
    )
    for position in range(steps):
        logits = decoder.next_logits(found.ids[:, -1], cache, position)
        log_probabilities = _log_probabilities(logits, found, symbols, options)
        if position == steps - 1:
            ending = log_probabilities[:, symbols.eos].clone()
            log_probabilities.fill_(-torch.inf)[:, symbols.eos] = ending
        found, origin = _extend(found, log_probabilities, symbols)
        if (found.ended if options.length_penalty else found.ended[:, 0]).all():
            break
        if beam > 1:
            decoder.reorder(cache, origin)
    return _best(found, symbols, options)


def _log_probabilities(logits: Tensor, found: Hypotheses, symbols: Symbols, options: DecodingOptions) -> Tensor:
    """Log-probabilities [rows, words] of the next word; ended rows repeat ``<eos>`` with log-probability 0."""
    log_probabilities = logits.float().log_softmax(dim=-1)
    log_probabilities[:, list(symbols.forbidden)] = -torch.inf
    if options.block_ngrams:
        _block_repeats(log_probabilities, found.ids, options.block_ngrams)
    ended = found.ended.flatten()
    log_probabilities[ended] = -torch.inf
    log_probabilities[ended, symbols.eos] = 0.0
    return log_probabilities


def _extend(found: Hypotheses, log_probabilities: Tensor, symbols: Symbols) -> tuple[Hypotheses, Tensor]:
    """The best ``beam`` continuations of each clip's hypotheses, and the row that each one extends."""
    clips, beam = found.scores.shape
    words = log_probabilities.shape[-1]
    totals = (found.scores.flatten()[:, None] + log_probabilities).view(clips, beam * words)
    scores, choice = totals.topk(beam, dim=-1)  # [clips, beam]
    first_row = torch.arange(clips, device=choice.device)[:, None] * beam
    origin = (first_row + choice // words).flatten()
    chosen = choice % words
    ended = found.ended.flatten()[origin].view(clips, beam) | (chosen == symbols.eos)
    ids = torch.cat([found.ids[origin], chosen.view(-1, 1)], dim=1)
    return Hypotheses(ids, scores, ended), origin


def _best(found: Hypotheses, symbols: Symbols, options: DecodingOptions) -> tuple[list[list[int]], list[float]]:
    clips, beam = found.scores.shape
    ids = found.ids[:, 1:].view(clips, beam, -1)
    lengths = (ids != symbols.eos).cumprod(dim=-1).sum(dim=-1)  # words before the first <eos>
    ranking = found.scores / (lengths + 1) ** options.length_penalty
    best = ranking.argmax(dim=1)
    rows = torch.arange(clips, device=best.device)
    words = [row[:length].tolist() for row, length in zip(ids[rows, best], lengths[rows, best], strict=True)]
    return words, found.scores[rows, best].tolist()


def _block_repeats(log_probabilities: Tensor, ids: Tensor, size: int) -> None:
    """Forbid every word that would repeat an n-gram of its row, in place."""
    for row, sequence in enumerate(ids[:, 1:].tolist()):
        tail = sequence[len(sequence) - size + 1 :] if size > 1 else []
        for start in range(len(sequence) - size + 1):
            if sequence[start : start + size - 1] == tail:
                log_probabilities[row, sequence[start + size - 1]] = -torch.inf
