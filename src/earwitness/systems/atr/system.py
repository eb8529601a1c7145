"""Audio-Text Retrieval in Context as a system: training, validation metrics, and the trained retriever."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.errors import EarwitnessError
from earwitness.metrics import retrieval
from earwitness.nn.losses import info_nce, max_margin
from earwitness.nn.parallel import gathered, own
from earwitness.prediction.clips import Clips, open_features, require_dimension
from earwitness.systems.atr.batches import Batch, Lengths, Tally, TrainingBatches, batch_of, fitted
from earwitness.systems.atr.network import TABLE, Atr
from earwitness.systems.atr.options import TEXT_INPUT, AtrOptions
from earwitness.systems.interface import DualEncoder, System, read_model
from earwitness.text.encoders import encoder_of, open_encoder
from earwitness.training.optimisers import Ranger
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment, noam, one_cycle
from earwitness.training.selection import Choice, Patience

CLIPS_AT_ONCE, TEXTS_AT_ONCE = 128, 512  # outside training
FRAMES_AT_ONCE = 1 << 16  # of clips padded to the longest: recordings of hours are embedded one by one
# Most frames of the published code, by the extractor of a feature. Its configuration for Clotho lacks
# efficient_latent; 94 frames are 30 s.
REFERENCE_FRAMES = {
    "audiocaps": {
        "logmel": 10, "vggish": 10, "vggsound": 29, "panns_cnn10": 62, "panns_cnn14": 31, "efficient_latent": 32,
    },
    "clotho": {
        "logmel": 90, "vggish": 31, "vggsound": 95, "panns_cnn10": 120, "panns_cnn14": 90, "efficient_latent": 94,
    },
}  # fmt: skip
REFERENCE_WORDS = 20
VALIDATED = [f"{way}_{metric}" for way in ("t2a", "a2t") for metric in ("r1", "r5", "r10", "gmean", "medr")]


class AtrSystem(System[AtrOptions]):
    """Audio-Text Retrieval in Context on one data set with one seed.

    Attributes:
        network: the :class:`Atr` to train.
    """

    network: Atr

    def __init__(self, options: AtrOptions, files: Mapping[str, Path], seed: int, tools: Any = None):
        self.options = options
        self.choice = Choice("validation_t2a_gmean" if options.train.keep == "best" else None, ties="last")
        self.stop = None if options.train.patience is None else Patience(options.train.patience)
        clips = {split: clips_of(files["clips"], split, "training") for split in ("development", "validation")}
        if len(clips["development"]) < 2:
            raise EarwitnessError("Training compares clips with each other's captions; one training clip is too few.")
        self.development = [
            open_features(files[f"{name} development"], clips["development"]) for name in options.features
        ]
        self.validation = [
            open_features(files[f"{name} validation"], clips["validation"], store.front_end)
            for name, store in zip(options.features, self.development, strict=True)
        ]
        for name, store, other in zip(options.features, self.development, self.validation, strict=True):
            require_dimension(other, name, store.dimension)
        captions = {
            split: captions_by_clip(files["captions"], list(table["clip_id"])) for split, table in clips.items()
        }
        self.encoder = open_encoder(files[TEXT_INPUT])
        self.validation_captions = captions["validation"]
        texts = [[text for texts in table.values() for text in texts] for table in captions.values()]
        words = [self._word_counts(of_split) for of_split in texts]
        self.lengths = self._lengths(max(int(counts.max(initial=0)) for counts in words))
        self.batches = TrainingBatches(
            captions["development"], self.development, self.encoder, self.lengths, options, seed
        )
        torch.manual_seed(seed)
        self.network = Atr(options, self._sizes(), self.encoder.tensors())
        self.fixed = [name for name in self.network.state_dict() if name.startswith(TABLE)]
        self._mention_few_frames()
        self._mention_cuts(texts, words)

    def _word_counts(self, captions: Sequence[str]) -> np.ndarray:
        """Words of each caption, int64 [captions]; 1 each where no option needs to know them."""
        options = self.options
        if options.mask_pads and options.reference_limits == "none" and "transformer" not in options.poolings["text"]:
            return np.ones(len(captions), dtype=np.int64)
        blocks = (captions[start : start + TEXTS_AT_ONCE] for start in range(0, len(captions), TEXTS_AT_ONCE))
        return np.concatenate([np.empty(0, dtype=np.int64), *(self.encoder.encode(block)[1] for block in blocks)])

    def _lengths(self, most_words: int) -> Lengths:
        """To how many frames and words clips and captions are cut: none, or those that the options need to know."""
        options, limits = self.options, self.options.reference_limits
        longest = [max(pair.longest for pair in pairs) for pairs in zip(self.development, self.validation, strict=True)]
        known = {side: not options.mask_pads or "transformer" in names for side, names in options.poolings.items()}
        parts = 2 if options.mix else 1
        frames: list[int | None] = [parts * most if known["audio"] else None for most in longest]
        words = REFERENCE_WORDS if limits != "none" else None
        if limits != "none":
            extractors = [store.front_end["made_by"] for store in self.development]
            published = REFERENCE_FRAMES[limits]
            frames = [published.get(extractor, most) for extractor, most in zip(extractors, longest, strict=True)]
            for name, extractor in zip(options.features, extractors, strict=True):
                if extractor not in published:
                    said = f"`reference_limits: {limits}` has no number of frames for features of {extractor}"
                    print(f"{name}: {said}: clips are not cut", file=sys.stderr)
        elif known["text"]:
            words = parts * most_words
        return Lengths(frames, words, pads=not options.mask_pads)

    def _sizes(self) -> dict[str, Any]:
        """What the network is made of beside its options."""
        return {
            "audio": [store.dimension for store in self.development],
            "text": self.encoder.dimension,
            "frames": max(filter(None, self.lengths.frames), default=0),
            "words": self.lengths.words or 0,
        }

    def _mention_few_frames(self) -> None:
        """Say where clips have fewer frames than there are clusters, which then tell frames apart, not sounds."""
        clusters, names = self.options.clusters.audio, self.options.poolings["audio"]
        if not {"netvlad", "netrvlad"} & set(names):
            return
        for name, store in zip(self.options.features, self.development, strict=True):
            few = int((store.lengths < clusters).sum())
            if few:
                print(
                    f"{name}: {few} of {len(store)} training clips have fewer frames than there are clusters "
                    f"({clusters}); `clusters: {{audio: ...}}` changes their number",
                    file=sys.stderr,
                )

    def _mention_cuts(self, texts: Sequence[Sequence[str]], words: Sequence[np.ndarray]) -> None:
        """Say how many clips and captions, of lengths ``words``, of both splits are cut or have nothing to pool."""
        splits = {"training": self.development, "validation": self.validation}
        tallies = []
        for (split, of_split), captions, lengths in zip(splits.items(), texts, words, strict=True):
            for name, store, most in zip(self.options.features, of_split, self.lengths.frames, strict=True):
                tallies.append(Tally(f"{name}: {{}} of {{}} {split} clips", "frames", most))
                tallies[-1].add(store.lengths)
            tallies.append(Tally(f"{{}} of {{}} {split} captions", "words", self.lengths.words))
            tallies[-1].add(lengths, self.encoder.cut(captions))
        for tally in tallies:
            for remark in tally.remarks():
                print(remark, file=sys.stderr)

    # --- training -----------------------------------------------------------------------------------------------

    def optimiser(self) -> torch.optim.Optimizer:
        """Ranger over all parameters; or AdamW, which decays matrices alone."""
        options = self.options.optim
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        settings: dict[str, Any] = {"lr": options.lr, "betas": tuple(options.betas), "eps": options.eps}
        if options.kind == "ranger":
            return Ranger(parameters, **settings, weight_decay=options.weight_decay)
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, **settings, fused=True)

    def learning_rate(self, moment: Moment) -> float:
        """The base rate times the factor of the schedule."""
        options = self.options.optim
        match options.schedule:
            case "step":
                return options.lr * options.decay**moment.epoch
            case "noam":
                return options.lr * noam(moment, options.warmup)
            case "one_cycle":
                return options.lr * one_cycle(moment, options.warmup_share)
        return options.lr

    def training_loader(self) -> DataLoader:
        """Batches of an epoch; their order depends on (seed, epoch) alone."""
        sampler = EpochSampler(len(self.batches))
        return DataLoader(self.batches, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss over the similarities [clips, clips] of a batch, those of a clip's captions averaged."""
        frames, masks = [own(part) for part in batch.frames], [own(part) for part in batch.masks]
        clips = gathered(self.network.embed_clips(frames, masks), len(batch.masks[0]))
        texts = gathered(self.network.embed_texts(own(batch.words), own(batch.word_mask)), len(batch.words))
        return {"loss": self._loss(clips, texts, batch.clip_of_caption)}

    def _loss(self, clips: Tensor, texts: Tensor, owners: Tensor) -> Tensor:
        """Embeddings of clips [clips, D] and captions [captions, D], and the clip of each caption."""
        with torch.autocast(clips.device.type, enabled=False):
            clips, texts = clips.float(), texts.float()
            # The mean of similarities is the similarity of the mean.
            own = torch.arange(len(clips), device=owners.device)[:, None] == owners  # [clips, captions]
            similarity = (own / own.sum(dim=1, keepdim=True)) @ texts @ clips.T
            options = self.options.loss
            apart = options.cosine * (1 - similarity.diagonal()).mean() if options.cosine else 0.0
            if options.kind == "info_nce":
                return info_nce(similarity * self.network.scale.to(clips.device)) + apart
            return max_margin(similarity, options.margin) + apart

    # --- validation ---------------------------------------------------------------------------------------------

    def validation_loader(self) -> DataLoader:
        """Validation clips in order, in batches, with all their captions."""
        clip_ids = list(self.validation_captions)

        def batch(block: list[str]) -> Batch:
            captions = [self.validation_captions[clip_id] for clip_id in block]
            return batch_of(block, captions, self.validation, self.encoder, self.lengths)

        blocks: Any = [clip_ids[start : start + CLIPS_AT_ONCE] for start in range(0, len(clip_ids), CLIPS_AT_ONCE)]
        collate: Any = batch  # without a batch size it is given one block
        return DataLoader(blocks, batch_size=None, collate_fn=collate)

    def validation_step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of clips and captions, in float32: similarities of lower precision tie."""
        with torch.autocast(batch.words.device.type, enabled=False):
            clips = self.network.embed_clips(batch.frames, batch.masks)
            return clips.cpu(), self.network.embed_texts(batch.words, batch.word_mask).cpu()

    def validation_metrics(self, outputs: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Recalls of both directions and the loss over the whole split."""
        clips, texts = (torch.cat(part) for part in zip(*outputs, strict=True))
        if not (torch.isfinite(clips).all() and torch.isfinite(texts).all()):
            raise EarwitnessError(
                "The embeddings of the validation split are NaN or infinite: training diverged in this epoch. "
                "A smaller learning rate usually helps."
            )
        counts = [len(captions) for captions in self.validation_captions.values()]
        owners = [clip_id for clip_id, captions in self.validation_captions.items() for _ in captions]
        found = retrieval.evaluate(
            (texts @ clips.T).numpy(), owners, list(self.validation_captions), metrics=VALIDATED
        ).metrics
        metrics = {f"validation_{name}": found[name]["value"] for name in VALIDATED}
        if len(clips) > 1:
            index = torch.arange(len(clips)).repeat_interleave(torch.tensor(counts))
            metrics["validation_loss"] = float(self._loss(clips, texts, index))
        return metrics

    # --- the trained model --------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Sizes of the network, what made the features, and the text encoder."""
        return {
            "sizes": self._sizes(),
            "lengths": self.lengths._asdict(),
            "features": {
                name: store.front_end for name, store in zip(self.options.features, self.development, strict=True)
            },
            "text": self.encoder.description(),
        }

    @classmethod
    def load(cls, options: AtrOptions, folder: Path, files: Mapping[str, Path]) -> AtrRetriever:
        """The retriever of a seed's folder; with ``files``, vectors of known captions are read rather than computed."""
        weights = load_file(folder / "model.safetensors")
        return AtrRetriever(options, read_model(folder)["network"], weights, files.get(TEXT_INPUT))


class AtrRetriever(DualEncoder):
    """A trained model."""

    def __init__(
        self, options: AtrOptions, description: Mapping[str, Any], weights: dict[str, Tensor], cache: Path | None = None
    ):
        self.options, self.made_by = options, description["features"]
        self.lengths = Lengths(**description["lengths"])
        self.dimensions = description["sizes"]["audio"]
        tables = {
            name.removeprefix(TABLE): tensor.numpy() for name, tensor in weights.items() if name.startswith(TABLE)
        }
        self.encoder = encoder_of(description["text"], tables, cache)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Atr(options, description["sizes"], tables)
        self.network.load_state_dict(weights)
        self.network.to(self.device).eval()
        self.tallies = [
            Tally(f"{name}: {{}} of {{}} recordings", "frames", most)
            for name, most in zip(options.features, self.lengths.frames, strict=True)
        ] + [Tally("{} of {} texts", "words", self.lengths.words)]

    def remarks(self) -> list[str]:
        return [remark for tally in self.tallies for remark in tally.remarks()]

    @torch.inference_mode()
    def embed_clips(self, clips: Clips) -> np.ndarray:
        """Float32 [clips, D], of length 1: the vectors of all features, one after another."""
        for name, dimension in zip(self.options.features, self.dimensions, strict=True):
            require_dimension(clips.store(name), name, dimension)
        blocks = [np.empty((0, self.network.size), dtype=np.float32)]
        for batch in clips.batches(CLIPS_AT_ONCE, FRAMES_AT_ONCE):
            found = [clips.store(name).batch(batch.ids) for name in self.options.features]
            audio = [
                fitted(*values, most, self.lengths.pads)
                for values, most in zip(found, self.lengths.frames, strict=True)
            ]
            for tally, (_, lengths) in zip(self.tallies, found, strict=False):
                tally.add(lengths)
            frames, masks = ([part.to(self.device) for part in parts] for parts in zip(*audio, strict=True))
            blocks.append(self.network.embed_clips(frames, masks).cpu().numpy())
        return np.concatenate(blocks)

    def unknown(self, text: str) -> list[str] | None:
        return self.encoder.unknown(text)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [texts, D]: the weighted vectors of all features, one after another."""
        blocks = [np.empty((0, self.network.size), dtype=np.float32)]
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            encoded = self.encoder.encode(some)
            self.tallies[-1].add(encoded[1], self.encoder.cut(some))
            words, mask = (part.to(self.device) for part in fitted(*encoded, *self.lengths[1:]))
            blocks.append(self.network.embed_texts(words, mask).cpu().numpy())
        return np.concatenate(blocks)
