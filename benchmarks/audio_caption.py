"""The baseline of ``alignment.py``: audio-caption alignment as published code computes it.

Written from scratch after what xieh97/audio-caption-alignment does: the loss goes through a batch pair by pair, with
three products of frames and words for each; retrieval runs the network for every candidate pair, and phrase-based sound
event detection runs it for every phrase, threshold and way of pooling words. State-dict names are those of
``earwitness.nn.crnn.Crnn``, so that both sides hold the same weights.

Clips and vectors of words are in memory here; published code reads a clip from its file each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

MARGIN = 1.0


class Network(nn.Module):
    """Log-mel frames [clips, T, mels] -> unit vectors [clips, T, 2 * hidden]; pads count as sound."""

    def __init__(self, mels: int, hidden: int, dropout: float, channels: Sequence[int]):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for number, outputs in enumerate(channels):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers += [nn.BatchNorm2d(inputs), convolution, nn.LeakyReLU(0.1)]
            if number in (0, 2, 4):
                layers.append(nn.LPPool2d(4, (1 if number == 4 else 2, 4)))
                mels //= 4
            inputs = outputs
        self.features = nn.Sequential(*layers, nn.Dropout(dropout))
        self.gru = nn.GRU(channels[-1] * mels, hidden, batch_first=True, bidirectional=True)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.features(frames[:, None]).transpose(1, 2).flatten(2)
        x = interpolate(self.gru(x)[0].transpose(1, 2), frames.shape[1], mode="linear", align_corners=False)
        return normalize(x.transpose(1, 2), dim=-1)


def score(audio: Tensor, words: Tensor) -> Tensor:
    """The mean similarity of frames [T, D] and words [Q, D]."""
    return (audio @ words.T).clamp(min=0).mean()


def loss_of(network: Network, batch: Any) -> Tensor:
    """The loss of a batch (``earwitness.systems.alignment.batches.Batch``), pair by pair."""
    audio = network(batch.frames[batch.clip_of_pair])
    lengths = batch.lengths[batch.clip_of_pair].tolist()
    texts, counts = normalize(batch.words, dim=-1), batch.word_mask.sum(dim=1).tolist()
    losses = []
    for pair, (by_clip, by_text) in enumerate(batch.impostors.tolist()):
        own, words = audio[pair, : lengths[pair]], texts[pair, : counts[pair]]
        right = score(own, words)
        other_clip = score(audio[by_clip, : lengths[by_clip]], words)
        other_text = score(own, texts[by_text, : counts[by_text]])
        zero = torch.zeros(())
        losses.append(torch.max(zero, MARGIN + other_text - right) + torch.max(zero, MARGIN + other_clip - right))
    return torch.stack(losses).mean()


@torch.no_grad()
def pair_score(network: Network, frames: Tensor, words: Tensor) -> float:
    """The score of a clip [T, mels] with the words [Q, D] of a caption: one pass of the network."""
    return float(score(network(frames[None])[0], normalize(words, dim=-1)))


@torch.no_grad()
def counts(
    network: Network, frames: Tensor, words: Tensor, labels: Tensor, threshold: float, pooling: str
) -> list[int]:
    """True positives, active frames and frames of the reference at one threshold: one pass of the network.

    Frames [T, mels], words [Q, D] of a phrase, labels bool [T]; ``pooling`` of words is mean or max.
    """
    similarity = (network(frames[None])[0] @ normalize(words, dim=-1).T).clamp(min=0)
    curve = similarity.mean(dim=1) if pooling == "mean" else similarity.amax(dim=1)
    active = (curve - curve.min()) / (curve.max() - curve.min()) >= threshold
    return [int((active & labels).sum()), int(active.sum()), int(labels.sum())]
