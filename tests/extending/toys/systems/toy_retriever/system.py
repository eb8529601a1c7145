"""A retriever with training: linear maps of mean frames and hashed words into one space (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.metrics.retrieval import evaluate
from earwitness.prediction.clips import Clips, open_features
from earwitness.systems.interface import Retriever, System, read_model
from earwitness.systems.toy_retriever.options import ToyRetrieverOptions
from earwitness.text.toy_hashed import HashedWords
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment
from earwitness.training.selection import Choice


class Network(nn.Module):
    """Two linear maps into one space."""

    def __init__(self, audio: int, text: int, width: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(audio)
        self.audio, self.text = nn.Linear(audio, width), nn.Linear(text, width)

    def embed(self, audio: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """[clips, audio], [texts, text] -> [clips, width], [texts, width]."""
        return self.audio(self.norm(audio)), self.text(texts)


class Pairs(Dataset):
    """Batch number i of an epoch: mean frames [pairs, audio] and text vectors [pairs, text] of captions.

    The order comes from (seed, epoch) alone: it is the same after a resume, and for any number of workers.
    """

    def __init__(self, path: Path, clips: Any, captions: Path, words: HashedWords, batch_size: int, seed: int):
        self.store = open_features(path, clips)
        texts = captions_by_clip(captions, self.store.clip_ids)
        self.owners = [clip_id for clip_id, own in texts.items() for _ in own]
        audio = {clip_id: self.store[clip_id].mean(axis=0) for clip_id in texts}
        self.audio = torch.from_numpy(np.stack([audio[clip_id] for clip_id in self.owners]))
        self.texts = torch.from_numpy(words.vectors([text for own in texts.values() for text in own]))
        self.batch_size, self.seed = batch_size, seed

    def __len__(self) -> int:
        return -(-len(self.owners) // self.batch_size)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, number = key
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.owners))
        rows = order[number * self.batch_size : (number + 1) * self.batch_size]
        return self.audio[rows], self.texts[rows]


class ToyRetrieverSystem(System):
    """The retriever on one data set, with one seed."""

    choice = Choice("validation_t2a_r10", ties="last")

    def __init__(self, options: ToyRetrieverOptions, files: Mapping[str, Path], seed: int, tools: Any = None):
        self.options, self.words = options, HashedWords.read(files["text"])
        splits = {split: clips_of(files["clips"], split, "training") for split in ("development", "validation")}
        self.development, self.validation = (
            Pairs(files[split], clips, files["captions"], self.words, options.train.batch_size, seed)
            for split, clips in splits.items()
        )
        torch.manual_seed(seed)
        self.sizes = {
            "audio": self.development.store.dimension,
            "text": len(self.words.weights),
            "width": options.width,
        }
        self.network = Network(**self.sizes)

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam over everything."""
        return torch.optim.Adam(self.network.parameters(), lr=self.options.lr)

    def learning_rate(self, moment: Moment) -> float:
        """Falls linearly to zero over the training."""
        return self.options.lr * (1 - moment.step / moment.steps)

    def training_loader(self) -> DataLoader:
        """Batches of an epoch."""
        sampler = EpochSampler(len(self.development))
        return DataLoader(self.development, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Cross entropy of each pair among the pairs of the batch, in both directions."""
        audio, texts = self.network.embed(*batch)
        scores = _similarity(audio, texts, "cosine") * 10  # [texts, clips]
        right = torch.arange(len(scores), device=scores.device)
        return {"loss": functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)}

    def validation_loader(self) -> DataLoader:
        """The whole split at once."""
        return DataLoader([(self.validation.audio, self.validation.texts)], batch_size=None)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Scores of all captions against all clips, [captions, captions]: a clip stands once for each caption."""
        return _similarity(*self.network.embed(*batch), "cosine")

    def validation_metrics(self, outputs: list[Tensor]) -> dict[str, float]:
        """R@10 of a caption's clip among all clips."""
        owners = self.validation.owners
        clips = list(dict.fromkeys(owners))
        scores = outputs[0][:, [owners.index(clip) for clip in clips]]
        return {"validation_t2a_r10": evaluate(scores.cpu().numpy(), owners, clips).metrics["t2a_r10"]["value"]}

    def description(self) -> dict[str, Any]:
        """With sizes, text and what made the features, the folder is complete."""
        feature = self.development.store.front_end
        return {"sizes": self.sizes, "words": self.words.weights, "feature": feature}

    @classmethod
    def load(cls, options: ToyRetrieverOptions, folder: Path, files: Mapping[str, Path]) -> ToyRetriever:
        """The retriever of a seed's folder."""
        return ToyRetriever(options, read_model(folder)["network"], load_file(folder / "model.safetensors"))


class ToyRetriever(Retriever):
    """The trained model."""

    def __init__(self, options: ToyRetrieverOptions, description: Mapping[str, Any], weights: dict[str, Tensor]):
        self.options, self.words = options, HashedWords(description["words"])
        self.made_by = {options.feature: description["feature"]}  # what must have made the features of clips
        self.network = Network(**description["sizes"])
        self.network.load_state_dict(weights)
        self.network.eval()

    @torch.inference_mode()
    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        """Scores, the higher the more alike: float32 [texts, clips]."""
        audio = np.stack([frames.mean(axis=0) for frames in clips.frames(self.options.feature)])
        vectors = torch.from_numpy(self.words.vectors(texts))
        return _similarity(*self.network.embed(torch.from_numpy(audio), vectors), self.options.similarity).numpy()


def _similarity(audio: Tensor, texts: Tensor, kind: str) -> Tensor:
    """[clips, width], [texts, width] -> [texts, clips]."""
    if kind == "cosine":
        audio, texts = functional.normalize(audio, dim=-1), functional.normalize(texts, dim=-1)
    return texts @ audio.T
