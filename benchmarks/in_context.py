"""The baseline of ``retrieval.py``: an epoch of Audio-Text Retrieval in Context as published code spends it.

Written from scratch after what SiyuLou/AudioTextRetrievalInContext does: every clip is read from an HDF5 data set of
its own in every epoch, into a float64 buffer as long as the longest clip of the corpus; captions are arrays of word
vectors in memory, padded one by one; NetRVLAD makes its sums, which are normalised twice, and pads take part in
everything; similarities of clips among themselves and captions among themselves are computed and dropped; Ranger goes
through the parameters one by one and their operations one by one. The network embeds all captions of a batch in one
pass, as it does there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from earwitness.nn.pooling import Lstm, NetRvlad, mean_direction
from earwitness.systems.atr.network import NORM_EPS, Atr
from earwitness.systems.atr.options import AtrOptions

WORDS = 20  # of a caption, published for both data sets


class Ranger(torch.optim.Optimizer):
    """RAdam and Lookahead, parameter by parameter."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas: Sequence[float], eps: float, decay: float):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient, state = parameter.grad, self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                    state["slow"] = parameter.clone()
                state["step"] += 1
                step, mean, square = state["step"], state["mean"], state["square"]
                square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
                mean.mul_(first).add_(gradient, alpha=1 - first)
                power = second**step
                longest = 2 / (1 - second) - 1
                length = longest - 2 * step * power / (1 - power)
                parameter.add_(parameter, alpha=-group["decay"] * group["lr"])
                size = group["lr"] / (1 - first**step)
                if length > 5:
                    rectified = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
                    size *= math.sqrt((1 - power) * rectified)
                    parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-size)
                else:
                    parameter.add_(mean, alpha=-size)
                if step % 6 == 0:
                    state["slow"].add_(parameter - state["slow"], alpha=0.5)
                    parameter.copy_(state["slow"])


def items(
    path: Path, vectors: dict[str, list[np.ndarray]], clip_ids: Sequence[str], longest: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames [longest, D] of each clip, and the vectors of its captions [captions, WORDS, D]."""
    with h5py.File(path, "r") as file:
        for clip_id in clip_ids:
            found = file[clip_id][:]
            frames = np.zeros((longest, found.shape[1]))
            frames[: len(found)] = found[:longest]
            captions = np.zeros((len(vectors[clip_id]), WORDS, vectors[clip_id][0].shape[1]))
            for row, caption in zip(captions, vectors[clip_id], strict=True):
                row[: len(caption)] = caption[:WORDS]
            yield frames.astype(np.float32), captions.astype(np.float32)


class PublishedRvlad(NetRvlad):
    """NetRVLAD in the operations that are published, over all values."""

    def __init__(self, dimension: int, clusters: int):
        super().__init__(dimension, clusters, mask_pads=False)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        sums = torch.bmm(self.assignments(values, mask).transpose(1, 2), values).transpose(1, 2)
        return normalize(normalize(sums, dim=1).flatten(1), dim=1)


class PublishedAtr(Atr):
    """The network with the published operations; its weights have our names."""

    def __init__(self, options: AtrOptions, sizes: Mapping[str, Any]):
        super().__init__(options, sizes)
        self.audio_pooling[0]["netrvlad"] = PublishedRvlad(sizes["audio"][0], options.clusters.audio)
        self.text_pooling["netrvlad"] = PublishedRvlad(sizes["text"], options.clusters.text)

    def embed_clips(self, frames: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        pooled = self.audio_pooling[0](frames[0], masks[0])
        return self.audio_units[0]((pooled / (pooled.norm(dim=1, keepdim=True) + NORM_EPS)).clip(-1000, 1000))


def loss_of(network: Atr, frames: Tensor, captions: Tensor, margin: float = 0.2) -> Tensor:
    """The published loss of clips [B, N, D] and their captions [B, captions, WORDS, D]."""
    words = captions.flatten(0, 1)
    clips = network.embed_clips([frames], [torch.ones(frames.shape[:2], dtype=torch.bool)])
    texts = network.embed_texts(words, torch.ones(words.shape[:2], dtype=torch.bool))
    similarity = (texts @ clips.T).view(*captions.shape[:2], -1).mean(dim=1)  # [clips, clips]
    _ = clips @ clips.T, texts @ texts.T
    right = similarity.diagonal()
    rows = (margin - right[:, None] + similarity).clamp(min=0)
    columns = (margin - right[None] + similarity).clamp(min=0)
    others = ~torch.eye(len(similarity), dtype=torch.bool)
    return torch.cat([rows[others], columns[others]]).mean()


def epoch(
    network: Atr,
    optimiser: Ranger,
    path: Path,
    vectors: dict[str, list[np.ndarray]],
    batches: Sequence[Sequence[str]],
    longest: int,
) -> float:
    """Train on the batches of clip ids; the loss of the last one."""
    loss = torch.zeros(())
    for clip_ids in batches:
        frames, captions = zip(*items(path, vectors, clip_ids, longest), strict=True)
        loss = loss_of(network, torch.from_numpy(np.stack(frames)), torch.from_numpy(np.stack(captions)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


class PackedLstm(Lstm):
    """LSTM pooling over packed sequences, which leave out the steps of padding."""

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        packed = pack_padded_sequence(values, mask.sum(dim=1), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            torch.nn.LSTM.forward(self, packed)[0], batch_first=True, total_length=values.shape[1]
        )
        return mean_direction(states, mask)
