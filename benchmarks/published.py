"""CL4AC the way it was published, written anew and plainly: what ``cl4ac.py`` measures against.

A training step runs the whole network twice, once with the clip's own caption and once with an unpaired one, on
captions padded to a fixed length. Decoding runs the whole network, encoder included, on the prefix so far for every
word, and never stops early. State-dict names are those of ``earwitness.systems.cl4ac.network.Cl4ac``, so that both hold
the same weights and compute the same function.

Left out, because it has nothing to do with the network and would only make the baseline slower: reading batches word by
word and array by array, searching for the last word in a Python loop, an arg-max over all logits for a progress line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WORDS = 35  # positions of every caption, in training and in decoding
UNMATCHED, MATCHED = 0, 1


class ConvBlock(nn.Module):
    """Two convolutions with BatchNorm and ReLU, then 2x2 average pooling."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.bn1(self.conv1(x)))
        x = functional.relu_(self.bn2(self.conv2(x)))
        return functional.avg_pool2d(x, kernel_size=2)


class Encoder(nn.Module):
    """Cnn10 and two linear layers: [clips, time, mels] -> [clips, time // 16, width]."""

    def __init__(self, mels: int, channels: Sequence[int], width: int, dropout: float):
        super().__init__()
        self.dropout = dropout
        self.bn0 = nn.BatchNorm2d(mels)
        self.conv_block1 = ConvBlock(1, channels[0])
        self.conv_block2 = ConvBlock(channels[0], channels[1])
        self.conv_block3 = ConvBlock(channels[1], channels[2])
        self.conv_block4 = ConvBlock(channels[2], channels[3])
        self.fc1 = nn.Linear(channels[3], channels[3])
        self.fc2 = nn.Linear(channels[3], width)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames[:, None]  # [clips, 1, time, mels]
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        if self.training:
            x = spec_augment(x)
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            x = functional.dropout(block(x), self.dropout, self.training)
        x = x.mean(dim=3).transpose(1, 2)  # [clips, time // 16, channels]
        x = functional.dropout(functional.relu(self.fc1(x)), self.dropout, self.training)
        return functional.relu(self.fc2(x))


def spec_augment(x: Tensor) -> Tensor:
    """Two stripes of time, then two of frequency set to zero, clip by clip."""
    x = x.clone()
    for number in range(len(x)):
        for dim, limit in ((1, 64), (2, 8)):
            for _ in range(2):
                length = x.shape[dim + 1]
                width = int(torch.randint(0, min(limit, length), ()))
                start = int(torch.randint(0, length - width, ()))
                x[number].narrow(dim, start, width).zero_()
    return x


class PublishedCl4ac(nn.Module):
    """Clips and captions in, word logits and match logits out: one call runs everything."""

    def __init__(
        self,
        mels: int = 64,
        channels: Sequence[int] = (64, 128, 256, 512),
        words: int = 4375,
        width: int = 128,
        inner: int = 2048,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.encoder = Encoder(mels, channels, width, dropout)
        self.embedding = nn.ModuleDict({"table": nn.Embedding(words, width)})
        layer = nn.TransformerDecoderLayer(width, 4, inner, dropout, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.word_head = nn.Linear(width, words)
        self.match_head = nn.Linear(width, 2)
        self.dropout = dropout
        self.register_buffer("positions", sinusoids(WORDS, width), persistent=False)

    def forward(self, frames: Tensor, ids: Tensor, eos: int) -> tuple[Tensor, Tensor]:
        """Word logits [clips, length, words] and match logits [clips, 2] of one caption ``ids`` for each clip."""
        memory = self.encoder(frames)
        length = ids.shape[1]
        x = self.embedding["table"](ids) * math.sqrt(memory.shape[-1]) + self.positions[:length]
        x = functional.dropout(x, self.dropout, self.training)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.decoder(x, memory, tgt_mask=mask, tgt_is_causal=True)
        last_word = (ids != eos).sum(dim=1) - 1
        return self.word_head(hidden), self.match_head(hidden[torch.arange(len(ids)), last_word])


def sinusoids(length: int, width: int) -> Tensor:
    """Sine on even, cosine on odd dimensions."""
    table = torch.zeros(length, width)
    for position in range(length):
        for dim in range(0, width, 2):
            angle = position / 10000 ** (dim / width)
            table[position, dim] = math.sin(angle)
            table[position, dim + 1] = math.cos(angle)
    return table


def loss(network: PublishedCl4ac, frames: Tensor, ids: Tensor, unpaired: Tensor, eos: int) -> Tensor:
    """Caption loss over all positions, padding included, plus the contrastive loss; the network runs twice.

    ``ids`` and ``unpaired`` are ``<sos> words <eos> <eos> ...``, [clips, WORDS + 1].
    """
    logits, matched = network(frames, ids[:, :-1], eos)
    _, unmatched = network(frames, unpaired[:, :-1], eos)
    caption = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    labels = torch.tensor([MATCHED] * len(matched) + [UNMATCHED] * len(unmatched))
    return caption + functional.cross_entropy(torch.cat([matched, unmatched]), labels)


@torch.no_grad()
def greedy(network: PublishedCl4ac, frames: Tensor, sos: int, eos: int, steps: int = WORDS) -> Tensor:
    """The most likely next word, ``steps`` times, from the audio on each time: ids [clips, steps]."""
    ids = torch.full((len(frames), 1), sos)
    for _ in range(steps):
        logits, _ = network(frames, ids, eos)
        ids = torch.cat([ids, logits[:, -1].argmax(dim=-1, keepdim=True)], dim=1)
    return ids[:, 1:]
