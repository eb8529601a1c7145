"""CL4AC: an encoder, a Transformer decoder, and two heads on it (Liu et al., arXiv 2107.09990)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.errors import EarwitnessError
from earwitness.extractors import checkpoints
from earwitness.extractors.panns import Trunk
from earwitness.extractors.panns_cnn10 import PannsCnn10Options
from earwitness.nn.decoder import LayerCache, TransformerDecoder, WordEmbedding, sinusoids
from earwitness.nn.pooling import unit_frames
from earwitness.nn.spec_augment import spec_augment
from earwitness.systems.cl4ac.options import Cl4acOptions, EncoderOptions, FramesOptions, LossOptions

UNMATCHED, MATCHED = 0, 1  # classes of the contrastive head


@dataclass(frozen=True)
class Sizes:
    """Sizes that depend on the data: values of a frame, tokens of the vocabulary, width of the decoder."""

    mels: int
    words: int
    width: int


class Encoder(Trunk):
    """Log-mel frames -> one vector per 16 frames: the trunk of Cnn10 and two linear layers."""

    def __init__(self, options: EncoderOptions, sizes: Sizes):
        super().__init__(sizes.mels, options.channels)
        self.options = options
        channels = options.channels[-1]
        self.fc1 = nn.Linear(channels, channels)
        self.fc2 = nn.Linear(channels, sizes.width)
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        if options.weights != "none":
            self._load(options.weights, options.load_fc1)
        if options.freeze != "none":
            for name, parameter in self.named_parameters():
                parameter.requires_grad_("fc" in name)
        self.train()  # keeps frozen BatchNorm statistics in eval mode from the first step

    def _load(self, path: str, load_fc1: bool) -> None:
        """Fill the trunk, and ``fc1`` where asked for, from PANNs' Cnn10."""
        known = PannsCnn10Options.PUBLISHED["weights"]
        own = ("fc2.",) if load_fc1 else ("fc1.", "fc2.")
        unused = ("spectrogram_extractor.", "logmel_extractor.", "fc1.", "fc_audioset.")
        try:
            entries = checkpoints.read(path, known.key)
            checkpoints.fit(self, entries, path, file=known.file, kept=own, ignored=unused)
        except EarwitnessError as error:
            raise EarwitnessError(f"encoder.weights: {error}\n`weights: none` trains from scratch.") from error

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """[clips, time, mels] -> memory [clips, time // 16, width], all values >= 0; clips are of equal length."""
        x = self.normalise(frames)
        if self.training:
            x = spec_augment(x, **self.options.spec_augment.model_dump())
        x = self.convolve(x, self.options.dropout).transpose(1, 2)  # [clips, time // 16, channels]
        x = functional.dropout(functional.relu(self.fc1(x)), self.options.dropout, self.training)
        return functional.relu(self.fc2(x))

    def train(self, mode: bool = True) -> Encoder:
        """As usual, except that frozen BatchNorm statistics are not updated."""
        super().train(mode)
        if self.options.freeze == "conv+bn_stats":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


class FrameEncoder(nn.Module):
    """Frames of any feature -> one vector for each: a linear map and Transformer layers."""

    def __init__(self, options: FramesOptions, sizes: Sizes):
        super().__init__()
        self.options = options
        self.linear = nn.Linear(sizes.mels, sizes.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                sizes.width,
                options.heads,
                options.feedforward,
                options.dropout,
                batch_first=True,
                norm_first=options.pre_norm,
            )
            for _ in range(options.layers)
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """[clips, time, D], mask [clips, time], true where a frame is -> memory [clips, time, width].

        Memory is not defined where the mask is false.
        """
        if not len(frames):  # of several processes this one has no clip of the batch; torch's layers need one
            return self.forward(frames.new_zeros(1, *frames.shape[1:]))[:0]
        options = self.options
        x = unit_frames(frames, options.norm)
        if options.norm != "none":
            x = x * x.shape[-1] ** 0.5  # values of about 1, beside which positions are not all there is
        x = self.linear(functional.dropout1d(x, options.frame_dropout, self.training))
        if options.positions:
            x = x + sinusoids(x.shape[1], x.shape[2]).to(x)
        x = functional.dropout(x, options.dropout, self.training)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=None if mask is None else ~mask)
        return self.norm(x)


class Cl4ac(nn.Module):
    """The network. Call ``encode``, then ``hidden`` for training, or ``start`` and ``next_logits`` for decoding."""

    def __init__(self, options: Cl4acOptions, sizes: Sizes, vectors: Tensor | None = None):
        super().__init__()
        decoder = options.decoder
        frames = options.encoder if isinstance(options.encoder, FramesOptions) else None
        for key, heads in (("decoder.heads", decoder.heads), ("encoder.heads", frames.heads if frames else 1)):
            if sizes.width % heads:
                raise EarwitnessError(f"{key}: {heads} does not divide the width of the decoder, {sizes.width}")
        if vectors is not None and vectors.shape[1] != sizes.width:
            raise EarwitnessError(
                f"decoder.width: {sizes.width}, and the word vectors have {vectors.shape[1]} values; set "
                "`embedding: {init: uniform}`, or one as the other"
            )
        if isinstance(options.encoder, FramesOptions):
            self.encoder: nn.Module = FrameEncoder(options.encoder, sizes)
        else:
            self.encoder = Encoder(options.encoder, sizes)
        self.embedding = WordEmbedding(sizes.words, sizes.width, decoder.dropout)
        self.decoder = TransformerDecoder(
            sizes.width, decoder.heads, decoder.feedforward, decoder.layers, decoder.dropout, decoder.identical_layers
        )
        self.word_head = nn.Linear(sizes.width, sizes.words)
        self.match_head = nn.Linear(sizes.width, 2)
        nn.init.uniform_(self.word_head.weight, -0.1, 0.1)
        nn.init.zeros_(self.word_head.bias)
        nn.init.uniform_(self.embedding.table.weight, -0.1, 0.1)
        if vectors is not None:
            self.embedding.table.weight.data.copy_(vectors)
        if options.embedding.tied:
            self.word_head.weight = self.embedding.table.weight
        self.embedding.table.weight.requires_grad_(options.embedding.trainable)
        self.match_head.requires_grad_(options.loss.contrastive_weight > 0)
        self.pool = options.contrastive.pool

    def encode(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Frames [clips, time, D] -> memory [clips, length, width].

        ``mask`` [clips, time], true where a frame is, is for ``encoder.kind: frames`` alone; memory has the same one.
        """
        return self.encoder(frames, mask)

    def hidden(self, ids: Tensor, memory: Tensor, clip_of_row: Tensor, mask: Tensor | None = None) -> Tensor:
        """Decoder states [rows, length, width] of the captions ``ids`` [rows, length], which start with ``<sos>``."""
        return self.decoder(self.embedding(ids), memory, clip_of_row, mask)

    def match_logits(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Logits [rows, 2] of "unmatched" and "matched"; ``words`` [rows] is the number of words of each caption."""
        return self.match_head(pooled(hidden, words, self.pool))

    def start(self, memory: Tensor, clip_of_row: Tensor, capacity: int, mask: Tensor | None = None) -> list[LayerCache]:
        """Empty caches for stepwise decoding, for up to ``capacity`` positions."""
        return self.decoder.start(memory, clip_of_row, capacity, mask)

    def next_logits(self, ids: Tensor, cache: list[LayerCache], position: int) -> Tensor:
        """Word logits [rows, words] after the words ``ids`` [rows] at ``position``."""
        hidden = self.decoder.step(self.embedding(ids[:, None], position), cache, position)
        return self.word_head(hidden[:, 0])

    def reorder(self, cache: list[LayerCache], rows: Tensor) -> None:
        """Continue each row from the state of another row of the same clip."""
        self.decoder.reorder(cache, rows)


def pooled(hidden: Tensor, words: Tensor, pool: str) -> Tensor:
    """One state per caption, [rows, width].

    ``last_word``: at the last word, where ``<eos>`` is predicted; ``eos``: one position later; ``mean`` and
    ``max``: over ``<sos>`` and the words.
    """
    rows = torch.arange(len(hidden), device=hidden.device)
    match pool:
        case "last_word":
            return hidden[rows, words]
        case "eos":
            return hidden[rows, words + 1]
    real = (torch.arange(hidden.shape[1], device=hidden.device) <= words[:, None])[..., None]  # [rows, length, 1]
    if pool == "mean":
        return (hidden * real).sum(dim=1) / real.sum(dim=1)
    return hidden.masked_fill(~real, -torch.inf).amax(dim=1)


def caption_loss(logits: Tensor, targets: Tensor, words: Tensor, options: LossOptions) -> Tensor:
    """Cross-entropy of the next word, over words and ``<eos>``, or over all positions if padding counts.

    Args:
        logits: [rows, length, words]; targets: [rows, length]; words: [rows], number of words of each caption.
    """
    losses = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=options.label_smoothing
    ).view_as(targets)
    if not options.mask_padding:
        return losses.mean()
    real = torch.arange(targets.shape[1], device=targets.device) <= words[:, None]
    return (losses * real).sum() / real.sum()


def contrastive_loss(matched: Tensor, unmatched: Tensor) -> Tensor:
    """Cross-entropy of "is this caption of this audio" over as many matched as unmatched rows, each [rows, 2]."""
    logits = torch.cat([matched, unmatched])
    labels = torch.full((len(logits),), UNMATCHED, device=logits.device)
    labels[: len(matched)] = MATCHED
    return functional.cross_entropy(logits, labels)
