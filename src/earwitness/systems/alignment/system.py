"""Audio-caption alignment as a system: training, validation, and the model, which ranks clips and locates texts.

Xie et al., arXiv 2110.02939.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from earwitness.corpora.tables import captions_by_clip, clips_of, phrases_of, reference_events
from earwitness.errors import EarwitnessError, listed
from earwitness.features.store import FeatureStore
from earwitness.metrics.operating_point import NothingActive, frames_of, select
from earwitness.nn.alignment import EPS, pooled_words
from earwitness.nn.losses import info_nce, max_margin, triplet
from earwitness.nn.parallel import gathered, share, summed
from earwitness.prediction.clips import Clips, open_features, require_dimension
from earwitness.systems.alignment.batches import VALIDATION, Batch, Pairs
from earwitness.systems.alignment.network import ELEMENTS, TABLE, Alignment
from earwitness.systems.alignment.options import TEXT_INPUT, AlignmentOptions
from earwitness.systems.interface import Grounder, Retriever, System, read_model
from earwitness.text.encoders import TextEncoder, encoder_of, open_encoder
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment, one_cycle, plateau
from earwitness.training.selection import Choice, Settled

CLIPS_AT_ONCE, TEXTS_AT_ONCE = 16, 512  # outside training
FRAMES_AT_ONCE = 1 << 14  # of clips padded to the longest: recordings of hours are embedded one by one
LOSS = "validation_loss"
UNTUNED = {"threshold": 0.5, "frame_threshold": 0.5, "median_filter": 1}  # where validation has no events


class AlignmentSystem(System[AlignmentOptions]):
    """Audio-caption alignment on one data set with one seed.

    Attributes:
        network: the :class:`Alignment` to train.
    """

    network: Alignment

    def __init__(self, options: AlignmentOptions, files: Mapping[str, Path], seed: int, tools: Any = None):
        self.options, self.corpus = options, files["phrases"].parent
        keeps, stop = options.train.keep, options.train.stop
        self.choice = Choice(LOSS if keeps == "best" else None, mode="min")
        self.stop = None if stop is None else Settled(LOSS, stop.window, stop.deviation, stop.not_before)
        clips = {split: clips_of(files["clips"], split, "training") for split in ("development", "validation")}
        self.development = open_features(files["development"], clips["development"])
        self.validation = open_features(files["validation"], clips["validation"], self.development.front_end)
        require_dimension(self.validation, options.feature, self.development.dimension)
        self.encoder = open_encoder(files[TEXT_INPUT])
        fill = None if options.mask_pads else 0.0  # a loud value, as published
        self.pairs, self.validated = (
            Pairs(
                self._texts(split, list(clips[split]["clip_id"])),
                store,
                self.encoder,
                options.train.batch_size,
                seed,
                fill,
            )
            for split, store in (("development", self.development), ("validation", self.validation))
        )
        torch.manual_seed(seed)
        self.network = Alignment(options, self._sizes(), self.encoder.tensors())
        self.fixed = [name for name in self.network.state_dict() if name.startswith(TABLE)]

    def _texts(self, split: str, clip_ids: list[str]) -> dict[str, list[str]]:
        """The texts that clips are trained with, those without one left out."""
        if self.options.texts == "captions":
            texts = captions_by_clip(self.corpus / "captions.csv", clip_ids)
        else:
            phrases = phrases_of(self.corpus, split)
            texts = {clip: list(own) for clip, own in phrases.groupby("clip_id", sort=False)["text"]}
            if bare := [text for own in texts.values() for text in own if self.encoder.unknown(text) is None]:
                where = f"{len(bare)} of {len(phrases)} phrases of {split} clips"
                print(
                    listed(f"The text encoder knows no word of {where}, which it takes for alike:", bare),
                    file=sys.stderr,
                )
        texts = {clip: texts[clip] for clip in clip_ids if texts.get(clip)}
        if len(texts) < 2:
            what = "caption" if self.options.texts == "captions" else "phrase"
            few = f"{len(texts)} of {len(clip_ids)} {split} clips have a {what}"
            advice = "" if what == "caption" else "; `texts: captions` trains with whole captions"
            raise EarwitnessError(f"Clips are compared with each other's {what}s, and {few}: two are needed{advice}.")
        return texts

    def _sizes(self) -> dict[str, int]:
        return {"audio": self.development.dimension, "text": self.encoder.dimension}

    # --- training -----------------------------------------------------------------------------------------------

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW over all parameters; of these matrices and kernels decay."""
        options = self.options.optim
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=options.lr, fused=True)

    def learning_rate(self, moment: Moment) -> float:
        """The base rate times the factor of the schedule."""
        options = self.options.optim
        match options.schedule:
            case "plateau":
                return options.lr * plateau(
                    moment, LOSS, factor=options.factor, patience=options.patience, threshold=options.threshold
                )
            case "one_cycle":
                return options.lr * one_cycle(moment, options.warmup_share)
        return options.lr

    def training_loader(self) -> DataLoader:
        """Batches of an epoch; their order depends on (seed, epoch) alone."""
        sampler = EpochSampler(len(self.pairs))
        return DataLoader(self.pairs, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss over the scores of a batch's pairs with each other. A process scores its clips with all texts."""
        network, options = self.network, self.options.loss
        mine = share(len(batch.frames))
        audio, texts = (
            network.embed_audio(batch.frames[mine], batch.lengths[mine]),
            network.embed_texts(batch.words, batch.word_mask),
        )
        frames = torch.arange(audio.shape[1], device=audio.device) < batch.lengths[mine, None]
        clips, words = batch.clip_of_pair, batch.word_mask
        with torch.autocast(audio.device.type, enabled=False):
            if options.kind == "triplet" and options.negatives == "random":
                every = torch.arange(len(clips), device=clips.device)
                by_clip, by_text = batch.impostors.T
                chosen = torch.cat([clips, clips[by_clip], clips])
                asked = torch.cat([every, every, by_text])
                here = (chosen >= mine.start) & (chosen < mine.stop)
                rows, asked = chosen[here] - mine.start, asked[here]
                scores = network.scores_of_pairs(audio[rows], frames[rows], texts[asked], words[asked])
                scores = summed(scores.new_zeros(len(chosen)).masked_scatter(here, scores))
                right, other_clip, other_text = scores.chunk(3)
                return {"loss": triplet(right, other_clip, other_text, options.margin)}
            scores = network.scores(audio, frames, texts, words)  # [pairs, clips]
            similarity = gathered(scores.T, len(batch.frames)).T[:, clips]  # [pairs, pairs]
            if options.kind == "info_nce":
                return {"loss": info_nce(similarity * network.scale, batch.negatives)}
            hardest = options.negatives == "hardest"
            return {"loss": max_margin(similarity, options.margin, batch.negatives, hardest)}

    # --- validation ---------------------------------------------------------------------------------------------

    def validation_loader(self) -> DataLoader:
        """Batches as in training, always the same."""
        order: Any = [(VALIDATION, number) for number in range(len(self.validated))]
        return DataLoader(self.validated, batch_size=None, sampler=order)

    def validation_step(self, batch: Batch) -> float:
        """The loss of a batch."""
        return float(self.losses(batch)["loss"])

    def validation_metrics(self, outputs: list[float]) -> dict[str, float]:
        """The mean loss of batches, as published, but with the same draws in every epoch."""
        return {LOSS: sum(outputs) / len(outputs)}

    def operating_point(self) -> dict[str, Any]:
        """Thresholds and median filter that suit the events of the validation split."""
        phrases = phrases_of(self.corpus, "validation")
        clips = Clips(self.validation.clip_ids, {self.options.feature: self.validation})
        model = AlignmentModel(self.options, self.network, self.encoder, self.description(), UNTUNED)
        made = model.activations(clips, list(zip(phrases["clip_id"], phrases["text"], strict=True)))
        activations = dict(zip(phrases["phrase_id"], made, strict=True))
        try:
            return select(activations, hop=model.hop, **reference_events(self.corpus, phrases))._asdict()
        except NothingActive:
            said = f"the threshold is {UNTUNED['threshold']}, and activations are not smoothed"
            print(f"No phrase of the validation split has an event: {said}", file=sys.stderr)
            return UNTUNED

    # --- the trained model --------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Sizes of the network, what made the features and how long frames are, and the text encoder."""
        store = self.development
        return {
            "sizes": self._sizes(),
            "frames": {"hop": store.hop, "window": store.window},
            "feature": store.front_end,
            "text": self.encoder.description(),
        }

    @classmethod
    def load(cls, options: AlignmentOptions, folder: Path, files: Mapping[str, Path]) -> AlignmentModel:
        """The model of a seed's folder; with ``files``, vectors of known texts are read rather than computed."""
        content, weights = read_model(folder), load_file(folder / "model.safetensors")
        description = content["network"]
        tables = {
            name.removeprefix(TABLE): tensor.numpy() for name, tensor in weights.items() if name.startswith(TABLE)
        }
        network = Alignment(options, description["sizes"], tables)
        network.load_state_dict(weights)
        network.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        encoder = encoder_of(description["text"], tables, files.get(TEXT_INPUT))
        return AlignmentModel(options, network, encoder, description, content["operating_point"])


class AlignmentModel(Retriever, Grounder):
    """A trained model.

    Args:
        description: as of ``AlignmentSystem.description``; point: what validation chose, where options do not.
    """

    def __init__(
        self,
        options: AlignmentOptions,
        network: Alignment,
        encoder: TextEncoder,
        description: Mapping[str, Any],
        point: Mapping[str, Any],
    ):
        self.options, self.network, self.encoder = options, network, encoder
        self.made_by = {options.feature: description["feature"]}
        self.dimension = description["sizes"]["audio"]
        self.frame_hop, self.frame_window = description["frames"]["hop"], description["frames"]["window"]
        self.hop = options.resolution or self.frame_hop
        self.threshold = point["threshold"] if options.threshold is None else options.threshold
        self.frame_threshold = point["frame_threshold"]
        smoothing = options.smoothing
        self.median_filter = point["median_filter"] if smoothing is None else frames_of(smoothing, self.hop)
        self._cut = self._seen = 0
        self._known: dict[str, bool] = {}  # texts that were asked for, and whether the encoder knows a word of them

    def remarks(self) -> list[str]:
        cut, seen, self._cut, self._seen = self._cut, self._seen, 0, 0
        bare, count, self._known = [text for text, own in self._known.items() if not own], len(self._known), {}
        said = [f"{cut} of {seen} texts are longer than the text encoder takes, and are cut"] if cut else []
        heading = f"The text encoder knows no word of {len(bare)} of {count} texts, which it takes for alike:"
        return [*said, *([listed(heading, bare)] if bare else [])]

    def unknown(self, text: str) -> list[str] | None:
        """The words of a text that the model does not know; None where it knows nothing of the text."""
        return self.encoder.unknown(text)

    @property
    def _device(self) -> torch.device:
        return self.network.log_scale.device

    def _store(self, clips: Clips) -> FeatureStore:
        store = clips.store(self.options.feature)
        require_dimension(store, self.options.feature, self.dimension)
        return store

    def _embedded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Unit vectors of words [texts, Q, D] and their mask [texts, Q]."""
        self._seen += len(texts)
        self._cut += self.encoder.cut(texts)
        self._known |= {text: self.encoder.unknown(text) is not None for text in texts if text not in self._known}
        words, counts = self.encoder.encode(texts)
        mask = torch.from_numpy(np.arange(words.shape[1]) < counts[:, None]).to(self._device)
        return self.network.embed_texts(torch.from_numpy(words).to(self._device), mask), mask

    @torch.inference_mode()
    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        """Scores, float32 [texts, clips]."""
        store = self._store(clips)
        starts = range(0, len(texts), TEXTS_AT_ONCE)
        embedded = [self._embedded(texts[start : start + TEXTS_AT_ONCE]) for start in starts]
        similarity, at = np.empty((len(texts), len(clips)), dtype=np.float32), 0
        for batch in clips.batches(CLIPS_AT_ONCE, FRAMES_AT_ONCE):
            frames, lengths = (torch.from_numpy(part).to(self._device) for part in store.batch(batch.ids))
            audio = self.network.embed_audio(frames, lengths)
            mask = torch.arange(audio.shape[1], device=self._device) < lengths[:, None]
            row = 0
            for words, word_mask in embedded:
                some = max(1, ELEMENTS // max(1, mask.numel() * words.shape[1]))
                for part, part_mask in zip(words.split(some), word_mask.split(some), strict=True):
                    scores = self.network.scores(audio, mask, part, part_mask)
                    similarity[row : row + len(part), at : at + len(batch)] = scores.cpu().numpy()
                    row += len(part)
            at += len(batch)
        return similarity

    def activations(self, clips: Clips, queries: Sequence[tuple[str, str]]) -> Iterator[np.ndarray]:
        """For each (clip_id, text) the pooled similarity of its words with each frame: float32 [frames], 0 to 1.

        A clip is encoded once for queries of it that follow each other.
        """
        how = self.options.score.words
        for values, mask in self._over_time(clips, queries):
            activation = self._resampled(pooled_words(values, mask, how))
            if self.options.scaling == "minmax" and len(activation):
                low, high = activation.aminmax()
                activation = (activation - low) / (high - low).clamp(min=EPS)
            yield activation.numpy()

    def word_activations(
        self, clips: Clips, queries: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[list[str], np.ndarray]] | None:
        """Words of each text and their similarities with frames; None for an encoder of whole sentences or tokens."""
        labels = [self.encoder.labels(text) for _, text in queries]
        if None in labels:
            return None
        found = zip(labels, self._over_time(clips, queries), strict=True)
        return ((names or [], self._resampled(values).numpy()) for names, (values, _) in found)

    def _over_time(self, clips: Clips, queries: Sequence[tuple[str, str]]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each query the similarities of frames with words, float32 [T, Q], and which words are there, [Q]."""
        store = self._store(clips)
        for clip_id, group in groupby(queries, key=lambda query: query[0]):
            with torch.inference_mode():
                words, mask = self._embedded([text for _, text in group])
                frames = torch.from_numpy(store[clip_id]).to(self._device)
                values = self.network.similarities_over_time(frames, words[mask]).cpu()
            for part in values.split(mask.sum(dim=1).tolist(), dim=1):
                yield part, torch.ones(part.shape[1], dtype=torch.bool)

    def _resampled(self, values: Tensor) -> Tensor:
        """Values of frames [T, ...] at the option ``resolution``, linear between the middles of frames."""
        step = self.options.resolution
        if step is None or not len(values):
            return values
        seconds = (len(values) - 1) * self.frame_hop + self.frame_window
        middles = (torch.arange(ceil(seconds / step - 1e-6), dtype=torch.float64) + 0.5) * step
        places = ((middles - self.frame_window / 2) / self.frame_hop).clamp(0, len(values) - 1)
        before = places.long()
        after = (before + 1).clamp(max=len(values) - 1)
        share = (places - before).to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))
        return torch.lerp(values[before], values[after], share)
