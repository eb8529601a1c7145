"""A grounder that also retrieves: each frame is compared with a text (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from earwitness.corpora.tables import CAPTIONS, EVENTS, PHRASES, clips_of, read_table
from earwitness.prediction.clips import Clips, open_features
from earwitness.systems.interface import Grounder, Retriever, System, read_model
from earwitness.systems.toy_grounder.options import ToyGrounderOptions
from earwitness.text.toy_hashed import HashedWords
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment
from earwitness.training.selection import Choice

Batch = tuple[Tensor, Tensor, Tensor]  # frames [n, audio], the text of each [n, text], whether it sounds there [n]
THRESHOLDS = np.linspace(0.1, 0.9, 17)


class Network(nn.Module):
    """The logit that a text is heard in a frame: the product of two embeddings."""

    def __init__(self, audio: int, text: int, width: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(audio)
        self.audio, self.text = nn.Linear(audio, width), nn.Linear(text, width)

    def forward(self, frames: Tensor, texts: Tensor) -> Tensor:
        """[n, audio], [n, text] -> [n]; one text may stand for all frames: [1, text]."""
        return (self.audio(self.norm(frames)) * self.text(texts)).sum(dim=-1)


class Phrases(Dataset):
    """Batch number i of an epoch: the frames of some phrases' clips, one behind another, so that nothing is padded."""

    def __init__(self, files: Mapping[str, Path], split: str, words: HashedWords, batch_size: int, seed: int):
        self.store = open_features(files[split], clips_of(files["clips"], split, "training"))
        captions = read_table(files["captions"], CAPTIONS)
        clips = dict(zip(captions["caption_id"], captions["clip_id"], strict=True))
        events = read_table(files["events"], EVENTS)
        phrases = read_table(files["phrases"], PHRASES)
        phrases = phrases[[clips[caption] in set(self.store.clip_ids) for caption in phrases["caption_id"]]]
        self.clips = [clips[caption] for caption in phrases["caption_id"]]
        self.events = [events[events["phrase_id"] == phrase] for phrase in phrases["phrase_id"]]
        self.texts = words.vectors(list(phrases["text"]))
        self.batch_size, self.seed = batch_size, seed

    def __len__(self) -> int:
        return -(-len(self.clips) // self.batch_size)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, number = key
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.clips))
        return self.batch(order[number * self.batch_size : (number + 1) * self.batch_size])

    def batch(self, rows: Sequence[int]) -> Batch:
        """The frames of some phrases."""
        frames = [self.store[self.clips[row]] for row in rows]
        texts = [np.repeat(self.texts[row][None], len(own), axis=0) for row, own in zip(rows, frames, strict=True)]
        heard = []
        for row, own in zip(rows, frames, strict=True):
            middle = (np.arange(len(own)) + 0.5) * self.store.hop  # of each frame, in seconds
            spans = zip(self.events[row]["onset"], self.events[row]["offset"], strict=True)
            heard.append(
                sum(((onset <= middle) & (middle < offset) for onset, offset in spans), np.zeros(len(own))) > 0
            )
        return tuple(torch.from_numpy(np.concatenate(part).astype(np.float32)) for part in (frames, texts, heard))


class ToyGrounderSystem(System):
    """The grounder on one data set, with one seed."""

    choice = Choice("validation_loss", mode="min")

    def __init__(self, options: ToyGrounderOptions, files: Mapping[str, Path], seed: int, tools: Any = None):
        self.options, self.words = options, HashedWords.read(files["text"])
        self.development, self.validation = (
            Phrases(files, split, self.words, options.train.batch_size, seed) for split in ("development", "validation")
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
        """Constant."""
        return self.options.lr

    def training_loader(self) -> DataLoader:
        """Batches of an epoch."""
        sampler = EpochSampler(len(self.development))
        return DataLoader(self.development, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Binary cross entropy of frames."""
        frames, texts, heard = batch
        return {"loss": functional.binary_cross_entropy_with_logits(self.network(frames, texts), heard)}

    def validation_loader(self) -> DataLoader:
        """The phrases of the split in order, a few at a time."""
        rows = range(len(self.validation.clips))
        parts = [list(rows[start : start + 64]) for start in range(0, len(rows), 64)]
        return DataLoader(parts, batch_size=None, collate_fn=self.validation.batch)

    def validation_step(self, batch: Batch) -> tuple[float, int]:
        """The loss, and of how many frames."""
        return float(self.losses(batch)["loss"]), len(batch[0])

    def validation_metrics(self, outputs: list[tuple[float, int]]) -> dict[str, float]:
        """The mean loss of a frame."""
        losses, frames = zip(*outputs, strict=True)
        return {"validation_loss": float(np.average(losses, weights=frames))}

    @torch.no_grad()
    def operating_point(self) -> dict[str, Any]:
        """The threshold with the highest F1 of validation frames."""
        frames, texts, heard = self.validation.batch(range(len(self.validation.clips)))
        activation, heard = torch.sigmoid(self.network(frames, texts)).numpy(), heard.numpy() > 0
        f1 = [2 * (heard & on).sum() / (heard.sum() + on.sum()) for on in (activation > t for t in THRESHOLDS)]
        return {"threshold": float(THRESHOLDS[np.argmax(f1)])}

    def description(self) -> dict[str, Any]:
        """With sizes, text, what made the features and their hop, the folder is complete."""
        store = self.development.store
        return {"sizes": self.sizes, "words": self.words.weights, "feature": store.front_end, "hop": store.hop}

    @classmethod
    def load(cls, options: ToyGrounderOptions, folder: Path, files: Mapping[str, Path]) -> ToyGrounder:
        """The model of a seed's folder."""
        return ToyGrounder(options, read_model(folder), load_file(folder / "model.safetensors"))


class ToyGrounder(Grounder, Retriever):
    """The trained model, for both kinds of prediction."""

    def __init__(self, options: ToyGrounderOptions, model: Mapping[str, Any], weights: dict[str, Tensor]):
        description = model["network"]
        self.options, self.words = options, HashedWords(description["words"])
        self.made_by = {options.feature: description["feature"]}
        self.hop, self.threshold = description["hop"], model["operating_point"]["threshold"]
        self.network = Network(**description["sizes"])
        self.network.load_state_dict(weights)
        self.network.eval()

    @torch.inference_mode()
    def activations(self, clips: Clips, queries: Sequence[tuple[str, str]]) -> Iterator[np.ndarray]:
        """For each (clip_id, text) in order, how surely each frame has it: float32 [frames]."""
        store = clips.store(self.options.feature)
        for clip_id, text in queries:
            yield self._heard(store[clip_id], self.words.vectors([text])[0])

    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        """The mean activation of a text's best ten frames in a clip: float32 [texts, clips]."""
        every = clips.frames(self.options.feature)
        best = [
            [np.sort(self._heard(frames, vector))[-10:].mean() for frames in every]
            for vector in self.words.vectors(texts)
        ]
        return np.array(best, dtype=np.float32)

    @torch.inference_mode()
    def _heard(self, frames: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return torch.sigmoid(self.network(torch.from_numpy(frames), torch.from_numpy(vector[None]))).numpy()
