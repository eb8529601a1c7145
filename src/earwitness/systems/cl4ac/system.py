"""CL4AC as a system: training, validation metrics, and the trained captioner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.errors import EarwitnessError
from earwitness.features.store import FeatureStore
from earwitness.files import SCHEMA, digest, sha256
from earwitness.metrics import spice
from earwitness.metrics.captions import Tools
from earwitness.metrics.cider import CiderD
from earwitness.metrics.java import ptb_tokenize
from earwitness.nn.parallel import averaged, from_first, share
from earwitness.options import DecodingOptions, VocabularyOptions
from earwitness.prediction.clips import Clips, open_features, require_dimension
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.cl4ac.batches import Batch, Captions, TrainingBatches, padded_frames
from earwitness.systems.cl4ac.network import MATCHED, UNMATCHED, Cl4ac, Sizes, caption_loss, contrastive_loss
from earwitness.systems.cl4ac.options import Cl4acOptions
from earwitness.systems.interface import Captioner, System, read_model
from earwitness.text import word2vec
from earwitness.text.vocabulary import Vocabulary, padded
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment, one_cycle
from earwitness.training.selection import Choice, Patience

CLIPS_AT_ONCE = 16  # batch size outside training
FRAMES_AT_ONCE = 1 << 14  # of clips padded to the longest: recordings of hours are captioned one by one


class Cl4acSystem(System[Cl4acOptions]):
    """CL4AC on one data set with one seed.

    Attributes:
        network: the :class:`Cl4ac` to train.
        training_batches: number of batches in an epoch, over all processes.
    """

    network: Cl4ac

    def __init__(self, options: Cl4acOptions, files: Mapping[str, Path], seed: int, tools: Tools | None = None):
        self.options = options
        self.choice = Choice(f"validation_{options.train.monitor}" if options.train.keep == "best" else None)
        self.stop = None if options.train.patience is None else Patience(options.train.patience)
        # Before training, so that missing jars are an error rather than another way to select the epoch.
        self._spice = (tools or Tools()).spice_settings() if options.train.monitor == "spider" else None
        clips = {split: clips_of(files["clips"], split, "training CL4AC") for split in ("development", "validation")}
        if len(clips["validation"]) < 2:
            raise EarwitnessError("Selecting an epoch by CIDEr-D needs at least two validation clips; there is one.")
        made_from = {
            "captions": sha256(files["captions"]),
            "training_clips": digest(list(clips["development"]["clip_id"])),
        }
        self.vocabulary = Vocabulary.read(files["vocabulary"], {"schema": SCHEMA, "inputs": made_from})
        vectors = word2vec.read(files["word2vec"], self.vocabulary) if options.embedding.init == "word2vec" else None
        words = self.vocabulary.options
        width = options.decoder.width or (words.word2vec.size if isinstance(words, VocabularyOptions) else None)
        if width is None:
            raise EarwitnessError(f"decoder.width: null, and {files['vocabulary']} is of a text without word vectors.")
        self.development = open_features(files["development"], clips["development"])
        self.validation = open_features(files["validation"], clips["validation"], self.development.front_end)
        self.masked = options.encoder.kind == "frames"
        if not self.masked:
            for store in (self.development, self.validation):
                _require_one_length(store)
        require_dimension(self.validation, options.feature, self.development.dimension)
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
        self.sizes = Sizes(self.development.dimension, len(self.vocabulary), width)
        self.network = Cl4ac(options, self.sizes, None if vectors is None else torch.from_numpy(vectors))

    def _prepare_validation(self, references: dict[str, list[str]]) -> None:
        """Tokenise the references once, and the vocabulary so that generated captions are tokenised by look-up."""
        self._validation_captions = Captions.of(references, self.vocabulary, self.vocabulary.max_words)
        flat = [text for texts in references.values() for text in texts]
        tokens = iter(ptb_tokenize([*flat, *self.vocabulary.tokens]))
        self._references = [[next(tokens) for _ in texts] for texts in references.values()]
        self._cider = CiderD(self._references)
        self._token_text = dict(zip(self.vocabulary.tokens, tokens, strict=True))

    # --- training -----------------------------------------------------------------------------------------------

    def optimiser(self) -> torch.optim.Optimizer:
        """Adam or AdamW over all trainable parameters."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        options = self.options.optim
        kind = torch.optim.AdamW if options.kind == "adamw" else torch.optim.Adam
        return kind(parameters, lr=options.lr, weight_decay=options.weight_decay, fused=True)

    def learning_rate(self, moment: Moment) -> float:
        """Warm-up by epochs and a step decay, or one cycle."""
        if self.options.optim.schedule == "one_cycle":
            return self.options.optim.lr * one_cycle(moment, self.options.optim.warmup_share)
        return self.options.optim.at(moment.epoch)

    def training_loader(self) -> DataLoader:
        """Batches of an epoch; their order depends on (seed, epoch) alone."""
        sampler = EpochSampler(self.training_batches)
        return DataLoader(self.batches, batch_size=None, sampler=sampler, num_workers=self.options.train.workers)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one step: ``loss`` is minimised, the others are its parts.

        The encoder runs once for both captions of a clip, and the decoder once on both captions. A process has some of
        the clips, with their captions.
        """
        loss, whole = self.options.loss, batch
        batch = whole.of_clips(share(len(whole.frames)))
        memory, mask = self.network.encode(batch.frames, batch.mask), batch.mask
        inputs, targets = batch.ids[:, :-1], batch.ids[:, 1:]
        if not loss.contrastive_weight:
            hidden = self.network.hidden(inputs, memory, batch.clip_of_row, mask)
            caption = self._caption_loss(hidden, targets, batch.words)
            return {"loss": caption, "loss_caption": caption.detach()}
        negative_ids, negative_words = self._negatives(whole, memory)
        clips = batch.clip_of_row
        if not self.options.contrastive.share_encoder:
            memory = torch.cat([memory, self.network.encode(batch.frames, mask)])
            mask = None if mask is None else torch.cat([mask, mask])
        offset = 0 if self.options.contrastive.share_encoder else len(batch.frames)
        both = self.network.hidden(
            torch.cat([inputs, negative_ids[:, :-1]]), memory, torch.cat([clips, clips + offset]), mask
        )
        paired, unpaired = both.chunk(2)
        caption = self._caption_loss(paired, targets, batch.words)
        matched = self.network.match_logits(paired, batch.words)
        unmatched = self.network.match_logits(unpaired, negative_words)
        contrastive = averaged(contrastive_loss(matched, unmatched), len(matched))
        total = caption + loss.contrastive_weight * contrastive
        return {"loss": total, "loss_caption": caption.detach(), "loss_contrastive": contrastive.detach()}

    def _caption_loss(self, hidden: Tensor, targets: Tensor, words: Tensor) -> Tensor:
        """The mean over the positions of all processes that count."""
        options = self.options.loss
        loss = caption_loss(self.network.word_head(hidden), targets, words, options)
        return averaged(loss, (words + 1).sum() if options.mask_padding else targets.numel())

    def _negatives(self, whole: Batch, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Unpaired captions of this process's rows: those in the batch, or chosen among all captions of other clips."""
        clips = share(len(whole.frames))
        batch = whole.of_clips(clips)
        if batch.negative_ids is not None and batch.negative_words is not None:
            return batch.negative_ids, batch.negative_words
        others = whole.source[:, None] != whole.source  # [rows of all, rows of all]
        if self.options.contrastive.negatives == "hardest":
            scores = self._match_scores(batch, memory, whole).masked_fill(~others[whole.rows(clips)], -torch.inf)
            chosen = scores.argmax(dim=1)
        else:
            chosen = from_first(torch.multinomial(others.float(), 1)[:, 0])[whole.rows(clips)]
        return whole.ids[chosen], whole.words[chosen]

    @torch.no_grad()
    def _match_scores(self, batch: Batch, memory: Tensor, whole: Batch) -> Tensor:
        """Log-probability [rows, rows of all] that each caption (column) matches the audio of each row."""
        clips, rows = len(memory), len(whole.ids)
        scores = [memory.new_empty(0, rows)]
        for clip in range(clips):
            one_clip = batch.clip_of_row.new_full((rows,), clip)
            hidden = self.network.hidden(whole.ids[:, :-1], memory, one_clip, batch.mask)
            scores.append(self.network.match_logits(hidden, whole.words).log_softmax(dim=-1)[None, :, MATCHED])
        return torch.cat(scores)[batch.clip_of_row]

    # --- validation ---------------------------------------------------------------------------------------------

    def validation_loader(self) -> DataLoader:
        """Validation clips in order, in small batches, with all their captions."""
        captions, vocabulary = self._validation_captions, self.vocabulary

        def batch_of(clips: np.ndarray) -> Batch:
            rows = captions.of_clips(clips)
            ids = [captions.ids[row] for row in rows]
            frames, mask = padded_frames(self.validation, [captions.clip_ids[clip] for clip in clips], self.masked)
            return Batch(
                frames=frames,
                clip_of_row=torch.from_numpy(captions.clip[rows] - clips[0]),
                ids=torch.from_numpy(padded(ids, vocabulary.pad)),
                words=torch.tensor([len(row) - 2 for row in ids]),
                negative_ids=None,
                negative_words=None,
                source=torch.from_numpy(captions.clip[rows]),
                mask=mask,
            )

        blocks = np.split(
            np.arange(len(captions.clip_ids)), range(CLIPS_AT_ONCE, len(captions.clip_ids), CLIPS_AT_ONCE)
        )
        whole: Any = blocks  # a list is all that a DataLoader needs of a data set
        collate: Any = batch_of  # without a batch size it is given one block
        return DataLoader(whole, batch_size=None, collate_fn=collate)

    def validation_step(self, batch: Batch) -> dict[str, Any]:
        """Generated captions of a batch's clips, and the loss of the references."""
        memory = self.network.encode(batch.frames, batch.mask)
        hidden = self.network.hidden(batch.ids[:, :-1], memory, batch.clip_of_row, batch.mask)
        masked = self.options.loss.model_copy(update={"mask_padding": True, "padded_length": None})
        loss = caption_loss(self.network.word_head(hidden), batch.ids[:, 1:], batch.words, masked)
        # Always greedy: options of decoding must not affect the selected epoch.
        words, _ = caption_memory(self.network, self.vocabulary, DecodingOptions(), memory, batch.mask)
        return {"words": words, "loss": float(loss), "captions": len(batch.ids)}

    def validation_metrics(self, outputs: list[dict[str, Any]]) -> dict[str, float]:
        """CIDEr-D of the generated captions, and the mean loss of the references; SPIDEr if it selects the epoch."""
        captions = [words for output in outputs for words in output["words"]]
        texts = [" ".join(self._token_text[self.vocabulary.tokens[word]] for word in words) for words in captions]
        tokens = [" ".join(text.split()) for text in texts]
        weights = [output["captions"] for output in outputs]
        metrics = {
            "validation_cider_d": float(self._cider.score(tokens).mean()),
            "validation_loss": float(np.average([output["loss"] for output in outputs], weights=weights)),
        }
        if self._spice:
            metrics["validation_spice"], _ = spice.spice(tokens, self._references, self._spice)
            metrics["validation_spider"] = (metrics["validation_cider_d"] + metrics["validation_spice"]) / 2
        return metrics

    # --- the trained model --------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Sizes of the network, front end of the features, vocabulary, and classes of the contrastive head."""
        return {
            "sizes": asdict(self.sizes),
            "feature": self.development.front_end,
            "vocabulary": self.vocabulary.content(),
            "classes": {"unmatched": UNMATCHED, "matched": MATCHED},
        }

    @classmethod
    def load(cls, options: Cl4acOptions, folder: Path, files: Mapping[str, Path]) -> Cl4acCaptioner:
        """The captioner of a seed's folder."""
        return Cl4acCaptioner(options, read_model(folder)["network"], load_file(folder / "model.safetensors"))


class Cl4acCaptioner(Captioner):
    """A trained CL4AC."""

    def __init__(self, options: Cl4acOptions, description: Mapping[str, Any], weights: dict[str, Tensor]):
        self.options = options
        self.made_by = {options.feature: description["feature"]}
        self.vocabulary = Vocabulary.of_content(description["vocabulary"])
        self.masked = options.encoder.kind == "frames"
        bare = (
            options
            if self.masked
            else options.model_copy(update={"encoder": options.encoder.model_copy(update={"weights": "none"})})
        )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.sizes = Sizes(**description["sizes"])
        self.network = Cl4ac(bare, self.sizes)
        self.network.load_state_dict(weights)
        self.network.to(self.device).eval()

    def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:
        """Caption and score (:func:`decode`) of each clip, in order."""
        store = clips.store(self.options.feature)
        require_dimension(store, self.options.feature, self.sizes.mels)
        if not self.masked:
            _require_one_length(store)
        for batch in clips.batches(CLIPS_AT_ONCE, FRAMES_AT_ONCE if self.masked else None):
            frames, mask = padded_frames(store, batch.ids, self.masked)
            mask = None if mask is None else mask.to(self.device)
            with torch.inference_mode():
                memory = self.network.encode(frames.to(self.device), mask)
            words, scores = caption_memory(self.network, self.vocabulary, self.options.decode, memory, mask)
            yield from ((self.vocabulary.decode(ids), score) for ids, score in zip(words, scores, strict=True))


def caption_memory(
    network: Cl4ac, vocabulary: Vocabulary, options: DecodingOptions, memory: Tensor, mask: Tensor | None = None
) -> tuple[list[list[int]], list[float]]:
    """Decode one caption for each encoded clip [clips, length, width]: word ids and scores."""
    symbols = Symbols(vocabulary.sos, vocabulary.eos, vocabulary.never_generated)
    return decode(network, memory, symbols, options, vocabulary.max_words, mask)


def _require_one_length(store: FeatureStore) -> None:
    if store.frames_per_clip is None:
        raise EarwitnessError(
            f"CL4AC's Cnn10 needs clips of equal length, and those in {store.path} differ. Set `seconds` of the "
            "feature (30 for Clotho, else the length of the longest clip), or `encoder: {kind: frames}`."
        )
