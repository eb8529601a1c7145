"""What CL4AC gives to the training loop and to prediction: network, batches, losses, validation metric, captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from earwitness.corpora.tables import audio_digest, captions_by_clip, clips_of
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore
from earwitness.files import SCHEMA, digest, sha256
from earwitness.metrics import spice
from earwitness.metrics.captions import Tools
from earwitness.metrics.cider import CiderD
from earwitness.metrics.java import ptb_tokenize
from earwitness.options import DecodingOptions
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.cl4ac.batches import Batch, Captions, EpochSampler, TrainingBatches
from earwitness.systems.cl4ac.network import MATCHED, UNMATCHED, Cl4ac, Sizes, caption_loss, contrastive_loss
from earwitness.systems.cl4ac.options import Cl4acOptions
from earwitness.text import word2vec
from earwitness.text.vocabulary import Vocabulary, padded

CLIPS_AT_ONCE = 16  # encoded together outside training


class Cl4acTask:
    """CL4AC on one data set, with one seed.

    Attributes:
        network: the :class:`Cl4ac` to train.
        training_batches: number of batches in an epoch, before they are shared out among processes.
    """

    def __init__(self, options: Cl4acOptions, files: Mapping[str, Path], seed: int, tools: Tools | None = None):
        self.options = options
        # Asked for before anything is trained: without the jars it is an error, not another way to choose.
        self._spice = (tools or Tools()).spice_settings() if options.train.monitor == "spider" else None
        self._files = files
        clips = {split: clips_of(files["clips"], split, "training CL4AC") for split in ("development", "validation")}
        if len(clips["validation"]) < 2:
            raise EarwitnessError("Choosing an epoch by CIDEr-D needs at least two validation clips; there is one.")
        made_from = {
            "captions": sha256(files["captions"]),
            "training_clips": digest(list(clips["development"]["clip_id"])),
        }
        self.vocabulary = Vocabulary.read(files["vocabulary"], {"schema": SCHEMA, "inputs": made_from})
        vectors = word2vec.read(files["word2vec"], self.vocabulary) if options.embedding.init == "word2vec" else None
        self.development = _store(files["development"], clips["development"])
        self.validation = _store(files["validation"], clips["validation"], self.development.front_end)
        captions = {
            split: captions_by_clip(files["captions"], list(table["clip_id"])) for split, table in clips.items()
        }
        training = captions["development"]
        if len(training) < 2 and options.loss.contrastive_weight:
            raise EarwitnessError("The contrastive loss needs captions of at least two training clips.")
        self.batches = TrainingBatches(
            self.development, Captions.of(training, self.vocabulary), self.vocabulary, options, seed
        )
        self.training_batches = len(self.batches)
        self._prepare_validation(captions["validation"])
        torch.manual_seed(seed)
        sizes = Sizes(self.development.dimension, len(self.vocabulary), self.vocabulary.options.word2vec.size)
        self.network = Cl4ac(options, sizes, None if vectors is None else torch.from_numpy(vectors))

    def _prepare_validation(self, references: dict[str, list[str]]) -> None:
        """Tokenise references once; words of a generated caption are tokenised by a table of the vocabulary."""
        self._validation_captions = Captions.of(references, self.vocabulary, self.vocabulary.max_words)
        flat = [text for texts in references.values() for text in texts]
        tokens = iter(ptb_tokenize([*flat, *self.vocabulary.tokens]))
        self._references = [[next(tokens) for _ in texts] for texts in references.values()]
        self._cider = CiderD(self._references)
        self._spoken = dict(zip(self.vocabulary.tokens, tokens, strict=True))

    # --- training -----------------------------------------------------------------------------------------------

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam over all trainable parameters; the learning rate is set at each epoch's start."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        options = self.options.optim
        return torch.optim.Adam(parameters, lr=options.lr, weight_decay=options.weight_decay, fused=True)

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.options.optim.at(epoch)

    def training_loader(self) -> DataLoader:
        """Batches of an epoch, in an order that (seed, epoch) settles."""
        sampler = EpochSampler(self.training_batches)
        return DataLoader(self.batches, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one step: ``loss`` is to be minimised, the others are its parts.

        The encoder runs once for both captions of a clip; both captions go through one decoder pass.
        """
        loss = self.options.loss
        memory = self.network.encode(batch.frames)
        inputs, targets = batch.ids[:, :-1], batch.ids[:, 1:]
        if not loss.contrastive_weight:
            hidden = self.network.hidden(inputs, memory, batch.clip_of_row)
            caption = caption_loss(self.network.word_head(hidden), targets, batch.words, loss)
            return {"loss": caption, "loss_caption": caption.detach()}
        negative_ids, negative_words = self._negatives(batch, memory)
        clips = batch.clip_of_row
        if not self.options.contrastive.share_encoder:
            memory = torch.cat([memory, self.network.encode(batch.frames)])
        offset = 0 if self.options.contrastive.share_encoder else len(batch.frames)
        both = self.network.hidden(
            torch.cat([inputs, negative_ids[:, :-1]]), memory, torch.cat([clips, clips + offset])
        )
        paired, unpaired = both.chunk(2)
        caption = caption_loss(self.network.word_head(paired), targets, batch.words, loss)
        matched = self.network.match_logits(paired, batch.words)
        unmatched = self.network.match_logits(unpaired, negative_words)
        contrastive = contrastive_loss(matched, unmatched)
        total = caption + loss.contrastive_weight * contrastive
        return {"loss": total, "loss_caption": caption.detach(), "loss_contrastive": contrastive.detach()}

    def _negatives(self, batch: Batch, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The unpaired captions of a batch: drawn with it, or chosen among its own captions of other clips."""
        if batch.negative_ids is not None:
            return batch.negative_ids, batch.negative_words
        others = batch.source[:, None] != batch.source  # [rows, rows]
        if self.options.contrastive.negatives == "hardest":
            scores = self._match_scores(batch, memory).masked_fill(~others, -torch.inf)
            chosen = scores.argmax(dim=1)
        else:
            chosen = torch.multinomial(others.float(), 1)[:, 0]
        return batch.ids[chosen], batch.words[chosen]

    @torch.no_grad()
    def _match_scores(self, batch: Batch, memory: Tensor) -> Tensor:
        """How well each caption of the batch matches each row's audio, [rows, rows]."""
        clips, rows = len(memory), len(batch.ids)
        scores = []
        for clip in range(clips):
            hidden = self.network.hidden(batch.ids[:, :-1], memory, batch.clip_of_row.new_full((rows,), clip))
            scores.append(self.network.match_logits(hidden, batch.words).log_softmax(dim=-1)[:, MATCHED])
        return torch.stack(scores)[batch.clip_of_row]

    # --- validation ---------------------------------------------------------------------------------------------

    def validation_loader(self) -> DataLoader:
        """Validation clips in order, a few at a time, with all their captions."""
        captions, vocabulary = self._validation_captions, self.vocabulary

        def batch_of(clips: np.ndarray) -> Batch:
            rows = captions.of_clips(clips)
            ids = [captions.ids[row] for row in rows]
            return Batch(
                frames=torch.from_numpy(np.stack([self.validation[captions.clip_ids[clip]] for clip in clips])),
                clip_of_row=torch.from_numpy(captions.clip[rows] - clips[0]),
                ids=torch.from_numpy(padded(ids, vocabulary.pad)),
                words=torch.tensor([len(row) - 2 for row in ids]),
                negative_ids=None,
                negative_words=None,
                source=torch.from_numpy(captions.clip[rows]),
            )

        blocks = np.split(
            np.arange(len(captions.clip_ids)), range(CLIPS_AT_ONCE, len(captions.clip_ids), CLIPS_AT_ONCE)
        )
        return DataLoader(blocks, batch_size=None, collate_fn=batch_of)

    def validation_step(self, batch: Batch) -> dict[str, Any]:
        """Captions of a batch's clips and the loss of its references."""
        memory = self.network.encode(batch.frames)
        hidden = self.network.hidden(batch.ids[:, :-1], memory, batch.clip_of_row)
        masked = self.options.loss.model_copy(update={"mask_padding": True, "padded_length": None})
        loss = caption_loss(self.network.word_head(hidden), batch.ids[:, 1:], batch.words, masked)
        # Greedy whatever `decode` says: how captions are generated in the end must not call for another training.
        words, _ = caption_memory(self.network, self.vocabulary, DecodingOptions(), memory)
        return {"words": words, "loss": float(loss), "captions": len(batch.ids)}

    def validation_metrics(self, outputs: list[dict[str, Any]]) -> dict[str, float]:
        """CIDEr-D of the generated captions, and the mean loss of the references; SPIDEr where it chooses the epoch."""
        captions = [words for output in outputs for words in output["words"]]
        spoken = [" ".join(self._spoken[self.vocabulary.tokens[word]] for word in words) for words in captions]
        tokens = [" ".join(text.split()) for text in spoken]
        weights = [output["captions"] for output in outputs]
        metrics = {
            "validation_cider_d": float(self._cider.score(tokens).mean()),
            "validation_loss": float(np.average([output["loss"] for output in outputs], weights=weights)),
        }
        if self._spice:
            metrics["validation_spice"], _ = spice.spice(tokens, self._references, self._spice)
            metrics["validation_spider"] = (metrics["validation_cider_d"] + metrics["validation_spice"]) / 2
        return metrics

    # --- prediction ---------------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """What a reader of the weights must know to rebuild the network."""
        return {
            "sizes": {
                "mels": self.development.dimension,
                "words": len(self.vocabulary),
                "width": self.vocabulary.options.word2vec.size,
            },
            "feature": self.development.front_end,
            "vocabulary_sha256": sha256(self._files["vocabulary"]),
            "classes": {"unmatched": UNMATCHED, "matched": MATCHED},
        }

    @staticmethod
    def predict(
        options: Cl4acOptions, description: Mapping[str, Any], weights: dict[str, Tensor], files: Mapping[str, Path]
    ) -> Iterator[tuple[str, str, float]]:
        """Yield (clip_id, caption, score) for every clip of the evaluation split; see :func:`decode` for the score."""
        if sha256(files["vocabulary"]) != description["vocabulary_sha256"]:
            raise MismatchError(
                f"The model was trained with another vocabulary than {files['vocabulary']}. Train it again."
            )
        vocabulary = Vocabulary.read(files["vocabulary"])
        bare = options.model_copy(update={"encoder": options.encoder.model_copy(update={"weights": "none"})})
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = Cl4ac(bare, Sizes(**description["sizes"]))
        network.load_state_dict(weights)
        network.to(device).eval()
        clips = clips_of(files["clips"], "evaluation", "captioning")
        with _store(files["features"], clips, description["feature"]) as store:
            ids = list(clips["clip_id"])
            for start in range(0, len(ids), CLIPS_AT_ONCE):
                part = ids[start : start + CLIPS_AT_ONCE]
                frames = torch.from_numpy(np.stack([store[clip_id] for clip_id in part]))
                with torch.inference_mode():
                    memory = network.encode(frames.to(device))
                words, scores = caption_memory(network, vocabulary, options.decode, memory)
                for clip_id, word_ids, score in zip(part, words, scores, strict=True):
                    yield clip_id, vocabulary.decode(word_ids), score


def caption_memory(
    network: Cl4ac, vocabulary: Vocabulary, options: DecodingOptions, memory: Tensor
) -> tuple[list[list[int]], list[float]]:
    """Decode one caption for each encoded clip: word ids and scores."""
    symbols = Symbols(vocabulary.sos, vocabulary.eos, vocabulary.never_generated)
    return decode(network, memory, symbols, options, vocabulary.max_words)


def _store(path: Path, clips: pd.DataFrame, front_end: Mapping[str, Any] | None = None) -> FeatureStore:
    """Features of exactly these clips, all of one length, and of the front end that is needed."""
    own = dict(front_end or {})
    inputs = own.pop("inputs", {}) | {"audio": audio_digest(clips)}
    expected = {"schema": SCHEMA, "inputs": inputs, **own}
    store = FeatureStore(path, expected)
    if store.frames_per_clip is None:
        raise EarwitnessError(
            f"CL4AC needs clips of one length, and {path} keeps each clip's own. Set `seconds` of the feature "
            "(30 for Clotho; the longest clip elsewhere)."
        )
    return store
