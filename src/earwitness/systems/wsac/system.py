"""WSAC as a system: training on captions and their CLAP vectors alone, and the trained captioner."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from earwitness.clap import gap, require_same
from earwitness.corpora.tables import captions_by_clip, clips_of, read_table
from earwitness.errors import EarwitnessError, listed
from earwitness.features.store import FeatureStore
from earwitness.files import SCHEMA, digest, sha256
from earwitness.metrics.cider import CiderD
from earwitness.metrics.java import ptb_tokenize
from earwitness.nn.parallel import averaged, from_first, own
from earwitness.prediction.clips import Clips
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.interface import PREDICTION, Captioner, System, prediction_of, read_model
from earwitness.systems.wsac.batches import Batch, TrainingBatches, batch_of, caption_vectors, token_ids
from earwitness.systems.wsac.network import Sizes, Wsac, bridged, caption_loss, nearest, projected
from earwitness.systems.wsac.options import CAPTIONS, CLIPS, VALIDATION, WsacOptions
from earwitness.text.encoders import encoder_of, open_encoder
from earwitness.text.wordpiece import read_vocabulary, vocabulary_of
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment, linear_warmup
from earwitness.training.selection import Choice

CLIPS_AT_ONCE, CAPTIONS_AT_ONCE = 64, 256  # outside training
TAUS = (0.005, 0.01, 0.02, 0.05, 0.1)  # of which validation chooses
PUBLISHED_TAU = 0.01  # where nothing was chosen


class WsacSystem(System[WsacOptions]):
    """WSAC on the captions of one data set with one seed. No audio and no feature of it is read.

    Attributes:
        network: the :class:`Wsac` to train.
    """

    network: Wsac
    fixed = ("memory",)

    def __init__(self, options: WsacOptions, files: Mapping[str, Path], seed: int, tools: Any = None):
        self.options = options
        best = options.train.keep == "best"
        self.choice = Choice("validation_loss" if best else None, mode="min")
        table = read_table(files["clips"], ["clip_id", "split"])
        splits = ["development"]
        if best or "validation" in set(table["split"]):
            splits.append("validation")
        texts = {split: texts_of(files["clips"], files["captions"], split, "training WSAC") for split in splits}
        made_from = {
            "captions": sha256(files["captions"]),
            "training_clips": digest(list(table["clip_id"][table["split"] == "development"])),
        }
        self.vocabulary = read_vocabulary(files["vocabulary"], {"schema": SCHEMA, "inputs": made_from})
        self.encoder = open_encoder(files["vectors"])
        self.vectors_file = files["vectors"]
        limits = options.length, not options.legacy_truncation
        ids, self.cut = token_ids(texts["development"], self.vocabulary, *limits)
        if self.cut:
            what = f"of more than {options.length} tokens, of which the end is left out (`length`)"
            print(f"Training captions {what}: {self.cut} of {len(ids)}", file=sys.stderr)
        vectors = caption_vectors(self.encoder, texts["development"], str(files["vectors"]))
        shifted = options.shift is not None
        self.shift = torch.from_numpy(gap.read(files["gap"], self.encoder)) if shifted else None
        self.batches = TrainingBatches(vectors, ids, self.vocabulary.pad, options.train.batch_size, seed)
        self.validation = texts.get("validation", [])
        self._validation_ids, _ = token_ids(self.validation, self.vocabulary, *limits)
        torch.manual_seed(seed)
        self.network = Wsac(options, Sizes(**self._sizes()), torch.from_numpy(vectors))

    def _sizes(self) -> dict[str, int]:
        """What the network is made of beside its options."""
        return {
            "dimension": self.encoder.dimension,
            "words": len(self.vocabulary),
            "memory": len(self.batches.vectors),
        }

    # --- training -----------------------------------------------------------------------------------------------

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW, which decays all parameters."""
        options = self.options.optim
        return torch.optim.AdamW(
            self.network.parameters(), options.lr, eps=options.eps, weight_decay=options.weight_decay, fused=True
        )

    def learning_rate(self, moment: Moment) -> float:
        """Linear warm-up, then linear to 0 at the last step."""
        return self.options.optim.lr * linear_warmup(moment, self.options.optim.warmup)

    def training_loader(self) -> DataLoader:
        """Batches of an epoch; their order depends on (seed, epoch) alone."""
        sampler = EpochSampler(len(self.batches))
        return DataLoader(self.batches, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Loss and accuracy of the tokens, and the mean length of the noise."""
        options = self.options
        shift = None if self.shift is None else self.shift.to(batch.vectors.device)
        vectors, norm = bridged(batch.vectors, options.noise.variance, shift, options.legacy_noise_gate)
        mine = Batch(own(from_first(vectors)), own(batch.ids), own(batch.lengths))
        figures = self._loss(mine.vectors, mine, options.loss.label_smoothing)
        loss, accuracy = (averaged(figure, mine.lengths.sum()) for figure in figures)
        return {"loss": loss, "token_accuracy": accuracy, "noise_norm": norm}

    def _loss(self, vectors: Tensor, batch: Batch, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        states = self.network(vectors, batch.ids)[:, self.options.prefix.length - 1 : -1]
        real = torch.arange(batch.ids.shape[1], device=batch.ids.device) < batch.lengths[:, None]
        # The output layer is most of the work: it is computed where there is a token.
        return caption_loss(self.network.word_logits(states[real]), batch.ids[real], label_smoothing)

    # --- validation ---------------------------------------------------------------------------------------------

    def validation_loader(self) -> DataLoader | None:
        """The validation captions in batches; None where the corpus has none."""
        if not self.validation:
            return None

        def batch(rows: range) -> Batch:
            texts = [self.validation[row] for row in rows]
            vectors = caption_vectors(self.encoder, texts, str(self.vectors_file))
            return batch_of(vectors, [self._validation_ids[row] for row in rows], self.vocabulary.pad)

        every = range(len(self.validation))
        blocks: Any = [every[start : start + CAPTIONS_AT_ONCE] for start in every[::CAPTIONS_AT_ONCE]]
        collate: Any = batch  # without a batch size it is given one block
        return DataLoader(blocks, batch_size=None, collate_fn=collate)

    def validation_step(self, batch: Batch) -> tuple[float, float, int]:
        """Loss and accuracy of the captions' tokens from their own vectors, and how many tokens there are."""
        loss, accuracy = self._loss(batch.vectors, batch)
        return float(loss), float(accuracy), int(batch.lengths.sum())

    def validation_metrics(self, outputs: list[tuple[float, float, int]]) -> dict[str, float]:
        """Means over all tokens."""
        losses, accuracies, tokens = zip(*outputs, strict=True)
        return {
            "validation_loss": float(np.average(losses, weights=tokens)),
            "validation_token_accuracy": float(np.average(accuracies, weights=tokens)),
        }

    # --- the trained model --------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Sizes of the network, text tower and vocabulary, and how many captions were learnt and cut."""
        return {
            "sizes": self._sizes(),
            "clap": self.encoder.description(),
            "vocabulary": self.vocabulary.content(),
            "captions": {"learnt": len(self.batches.ids), "cut": self.cut},
        }

    @classmethod
    def load(cls, options: WsacOptions, folder: Path, files: Mapping[str, Path]) -> WsacCaptioner:
        """The captioner of a seed's folder.

        With ``files``, a temperature of ``validation`` is chosen; without, it is the one that prediction chose, and
        so is what made the clips' vectors. Raises EarwitnessError where prediction has not chosen a temperature yet.
        """
        model = WsacCaptioner(options, read_model(folder)["network"], load_file(folder / "model.safetensors"))
        if VALIDATION in files:
            model.validate(files[VALIDATION], files[CLIPS], files[CAPTIONS])
        elif not files:
            chosen = prediction_of(folder).get("chosen", {})
            if "tau" not in chosen and (options.inference, options.tau) == ("pd", "validation"):
                place = folder / "captioning" / PREDICTION
                raise EarwitnessError(f"`tau: validation` is chosen by prediction: make {place} first.")
            model.remember(chosen)
        return model


class WsacCaptioner(Captioner):
    """A trained WSAC.

    Attributes:
        tau: the temperature of ``pd``.
    """

    def __init__(self, options: WsacOptions, description: Mapping[str, Any], weights: dict[str, Tensor]):
        self.options = options
        self.vocabulary = vocabulary_of(description["vocabulary"])
        self.encoder = encoder_of(description["clap"], {})
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Wsac(options, Sizes(**description["sizes"]))
        self.network.load_state_dict(weights)
        self.network.to(self.device).eval()
        self.tau = PUBLISHED_TAU if options.tau == "validation" else options.tau
        beyond = range(len(self.vocabulary), self.network.transformer.wte.num_embeddings)
        self.forbidden = [] if options.legacy_decoding else [*self.vocabulary.never_generated, *beyond]
        self.memory = self._memory()

    def _memory(self) -> Tensor:
        """The vectors that audio is compared with."""
        memory, size = self.network.memory, self.options.memory.size
        if not len(memory) and self.options.inference != "ad":
            raise EarwitnessError(
                f"The model has no memory of training captions, and `inference: {self.options.inference}` needs one."
            )
        if size is None or size >= len(memory):
            return memory
        rows = np.random.default_rng(self.options.memory.seed).choice(len(memory), size, replace=False)
        return memory[torch.from_numpy(np.sort(rows)).to(memory.device)]

    def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:
        """Caption and score (:func:`decode`) of each clip, in order."""
        store = clips.store(self.options.clap)
        require_same(store, self.encoder)
        self.chosen = {**self.chosen, "front_end": store.front_end}
        for batch in clips.batches(CLIPS_AT_ONCE):
            yield from self.captions_of(vectors_of(store, batch.ids))

    @torch.inference_mode()
    def captions_of(self, vectors: np.ndarray) -> list[tuple[str, float]]:
        """Caption and score for each CLAP vector of a clip, float32 [clips, D]."""
        options, audio = self.options, torch.from_numpy(vectors).to(self.device)
        match options.inference:
            case "nnd":
                audio = nearest(audio, self.memory)
            case "pd":
                audio = projected(audio, self.memory, self.tau)
        symbols = Symbols(self.vocabulary.sos, self.vocabulary.eos, self.forbidden)
        longest = options.decode.max_words
        found, scores = decode(self.network, audio, symbols, options.decode, longest)
        if options.legacy_decoding:  # a published caption has up to `longest` tokens, start and end among them
            found = [[word for word in words[1 : longest - 1] if word < len(self.vocabulary)] for words in found]
        return [(self.vocabulary.decode(words), score) for words, score in zip(found, scores, strict=True)]

    def validate(self, features: Path, clips: Path, captions: Path) -> None:
        """CIDEr-D on the validation clips, for ``chosen``: of ``pd`` with each temperature, of which the best is taken.

        Other clips must have the same front end then (``made_by``).

        Args:
            features: CLAP vectors of the validation clips; clips, captions: tables of their corpus.
        """
        table = clips_of(clips, "validation", "`tau: validation`")
        if len(table) < 2:
            raise EarwitnessError(
                f"`tau: validation` needs CIDEr-D of at least two validation clips, and {clips} has one. Give a number."
            )
        chosen = Clips.of(table, {self.options.clap: features})
        store = chosen.store(self.options.clap)
        require_same(store, self.encoder)
        self.made_by = {self.options.clap: store.front_end}
        tempered = self.options.inference == "pd"
        found: dict[float, list[str]] = {}
        taus = TAUS if tempered else (self.tau,)
        for self.tau in taus:
            parts = (vectors_of(store, part.ids) for part in chosen.batches(CLIPS_AT_ONCE))
            found[self.tau] = [text for part in parts for text, _ in self.captions_of(part)]
        references = list(captions_by_clip(captions, chosen.ids).values())
        tokens = iter(ptb_tokenize([text for texts in (*references, *found.values()) for text in texts]))
        cider = CiderD([[next(tokens) for _ in texts] for texts in references])
        scores = {tau: float(cider.score([next(tokens) for _ in texts]).mean()) for tau, texts in found.items()}
        self.tau = max(scores, key=scores.__getitem__)
        by_tau = {"tau": self.tau, "validation_cider_d_by_tau": {str(tau): value for tau, value in scores.items()}}
        self.chosen = {"validation_cider_d": scores[self.tau], **(by_tau if tempered else {})}

    def remember(self, chosen: Mapping[str, Any]) -> None:
        """Take what an earlier prediction with these weights chose: temperature, and what made the clips' vectors."""
        if self.options.tau == "validation":
            self.tau = chosen.get("tau", self.tau)
        if "front_end" in chosen:
            self.made_by = {self.options.clap: chosen["front_end"]}


def texts_of(clips: Path, captions: Path, split: str, needed_for: str) -> list[str]:
    """The captions of a split, in the order of its clips."""
    ids = list(clips_of(clips, split, needed_for)["clip_id"])
    return [text for texts in captions_by_clip(captions, ids).values() for text in texts]


def vectors_of(store: FeatureStore, clip_ids: Sequence[str]) -> np.ndarray:
    """The vectors of clips, float32 [clips, D]; raises EarwitnessError for those whose length is not 1."""
    vectors = np.concatenate([store[clip_id] for clip_id in clip_ids])
    lengths = np.linalg.norm(vectors, axis=1)
    if wrong := [
        f"{clip}: {length:.3g}" for clip, length in zip(clip_ids, lengths, strict=True) if abs(length - 1) > 0.01
    ]:
        raise EarwitnessError(listed(f"{store.path} is damaged; vectors of a CLAP have length 1, and these:", wrong))
    return vectors
