"""The options of CL4AC. Where paper and code differ, `cl4ac-published` in the configuration is the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from earwitness.expand import FIRST_KINDS
from earwitness.extractors.options import NetworkOptions
from earwitness.options import (
    POSITIONS,
    Changes,
    CleaningOptions,
    DecodingOptions,
    ExperimentOptions,
    FeatureOptions,
    Name,
    Options,
    Probability,
    TextOptions,
    TrainingOptions,
    Use,
    VocabularyOptions,
    in_vain,
)

HALVED = 16  # mel bands and frames of one value of the encoder, which halves both four times


class SpecAugmentOptions(Options):
    """Stripes of time and frequency that training sets to zero; widths are exclusive upper bounds."""

    time_stripes: NonNegativeInt = 2
    time_width: PositiveInt = 64  # frames
    mel_stripes: NonNegativeInt = 2
    mel_width: PositiveInt = 8  # bands


class EncoderOptions(Options):
    """Cnn10 and two linear layers, of log-mel clips of equal length."""

    kind: Literal["cnn10"] = "cnn10"
    weights: str = Field("none", description="`none`, or the path of PANNs' Cnn10_mAP=0.380.pth")
    load_fc1: bool = False  # also load the checkpoint's fc1
    freeze: Literal["none", "conv", "conv+bn_stats"] = "none"
    channels: Annotated[list[PositiveInt], Field(min_length=4, max_length=4)] = [64, 128, 256, 512]
    dropout: Probability = 0.2
    spec_augment: SpecAugmentOptions = SpecAugmentOptions()

    @model_validator(mode="after")
    def _fc1_is_in_a_checkpoint(self) -> EncoderOptions:
        if self.load_fc1 and self.weights == "none":
            raise ValueError("load_fc1: true needs the checkpoint that `weights` names; it is `none`")
        return self


class FramesOptions(Options):
    """A linear map and Transformer layers, of frames of any feature and clips of any length."""

    kind: Literal["frames"] = "frames"
    norm: Literal["none", "l2", "sqrt_l2"] = "none"  # of each frame before the linear map; sqrt_l2: of its roots
    positions: bool = True  # sinusoidal ones
    layers: NonNegativeInt = 1
    heads: PositiveInt = 4
    feedforward: PositiveInt = 1024
    pre_norm: bool = False  # normalise the input of attention and feed-forward instead of the sum
    dropout: Probability = 0.2
    frame_dropout: Probability = 0.15  # of whole frames


def _with_kind(encoder: Any) -> Any:
    return {"kind": FIRST_KINDS["encoder"], **encoder} if isinstance(encoder, dict) else encoder


AnyEncoderOptions = Annotated[
    Annotated[EncoderOptions | FramesOptions, Field(discriminator="kind")], BeforeValidator(_with_kind)
]


class DecoderOptions(Options):
    """The Transformer decoder."""

    width: PositiveInt | None = None  # null: the size of the text's word vectors
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    feedforward: PositiveInt = 2048
    dropout: Probability = 0.2
    identical_layers: bool = False  # all layers start from the same weights, as in the published code


class EmbeddingOptions(Options):
    """Initial word embeddings, whether they are trained, and whether they are the weights of the output layer too."""

    init: Literal["word2vec", "uniform"] = "word2vec"
    trainable: bool = True
    tied: bool = False


class ContrastiveOptions(Options):
    """The matched/unmatched head."""

    negatives: Literal["random", "in_batch", "hardest", "epoch_constant"] = "random"
    pool: Literal["last_word", "eos", "mean", "max"] = "last_word"
    share_encoder: bool = True  # false: a second, independently augmented encoder pass for the unpaired caption


class LossOptions(Options):
    """Weight of the contrastive loss, and the positions of the caption loss."""

    contrastive_weight: NonNegativeFloat = 1.0  # 0: no contrastive loss
    mask_padding: bool = True
    # Length of captions without the mask; published: 35.
    padded_length: Annotated[PositiveInt, Field(le=POSITIONS)] | None = None
    label_smoothing: Probability = 0.0

    @model_validator(mode="after")
    def _unmasked_needs_a_length(self) -> LossOptions:
        if self.mask_padding == (self.padded_length is not None):
            raise ValueError(
                "padded_length is required with mask_padding: false (published: 35), and only allowed then"
            )
        return self


class OptimiserOptions(Options):
    """The optimiser, and how its learning rate changes."""

    kind: Literal["adam", "adamw"] = "adam"
    lr: PositiveFloat = 5e-4
    weight_decay: NonNegativeFloat = 1e-6  # of adam L2, in the gradient; of adamw decoupled
    # steps: a warm-up by epochs, then a step decay; one_cycle: up for a share of all steps, `warmup_share`, then down
    # to nothing, both as a cosine
    schedule: Literal["steps", "one_cycle"] = "steps"
    warmup_share: Probability = 0.3
    warmup_epochs: NonNegativeInt = 5
    decay_every: PositiveInt = 10  # epochs
    decay: PositiveFloat = 0.1

    def at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0, by ``schedule: steps``."""
        number = epoch + 1
        if number <= self.warmup_epochs:
            return self.lr * number / self.warmup_epochs
        return self.lr * self.decay ** ((number - self.warmup_epochs) // self.decay_every)


class Cl4acTrainingOptions(TrainingOptions):
    """Options of the training loop, selection of the epoch, and batching."""

    patience: PositiveInt | None = None  # stop after this many epochs without improvement of `monitor`; null: never
    monitor: Literal["cider_d", "spider"] = "cider_d"  # validation metric; the epoch with the highest value is kept
    keep: Literal["best", "last"] = "best"  # last: the weights of the last epoch, whatever validation says
    gradient_clip: PositiveFloat | None = 2.0
    batching: Literal["pairs", "grouped"] = "pairs"  # grouped: batch_size counts clips, each with all its captions

    @model_validator(mode="after")
    def _patient_for_the_best(self) -> Cl4acTrainingOptions:
        if self.patience is not None and self.keep == "last":
            raise ValueError(f"patience: {self.patience} waits for a better epoch, and `keep: last` knows none")
        return self


class Cl4acOptions(ExperimentOptions):
    """An experiment with the system CL4AC."""

    KINDS = ("captioning",)

    system: Literal["cl4ac"]
    feature: Name
    text: Name
    encoder: AnyEncoderOptions = EncoderOptions()
    decoder: DecoderOptions = DecoderOptions()
    embedding: EmbeddingOptions = EmbeddingOptions()
    contrastive: ContrastiveOptions = ContrastiveOptions()
    loss: LossOptions = LossOptions()
    optim: OptimiserOptions = OptimiserOptions()
    train: Cl4acTrainingOptions = Cl4acTrainingOptions()
    decode: Annotated[DecodingOptions, Changes("prediction")] = DecodingOptions()

    @model_validator(mode="after")
    def _fits_together(self) -> Cl4acOptions:
        if self.embedding.tied and not self.embedding.trainable:
            raise ValueError("embedding.tied: true trains the word embeddings, and `trainable: false` does not")
        if self.optim.schedule == "one_cycle" and self.train.patience is not None:
            raise ValueError(
                f"optim.schedule: one_cycle ends with the last epoch, and `train.patience: {self.train.patience}` may "
                "end before it; set null"
            )
        return self

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Options of another schedule, of a loss without weight, and of layers of which there are none."""
        schedule = self.optim.schedule
        rates = dict.fromkeys(("optim.warmup_epochs", "optim.decay_every", "optim.decay"), schedule == "steps")
        yield from in_vain(self, rates | {"optim.warmup_share": schedule == "one_cycle"}, f"the schedule is {schedule}")
        weighed = bool(self.loss.contrastive_weight)
        contrastive = dict.fromkeys((f"contrastive.{name}" for name in ContrastiveOptions.model_fields), weighed)
        yield from in_vain(self, contrastive, "loss.contrastive_weight is 0")
        if isinstance(self.encoder, FramesOptions):
            sizes = ("encoder.heads", "encoder.feedforward", "encoder.pre_norm")
            yield from in_vain(self, dict.fromkeys(sizes, self.encoder.layers > 0), "encoder.layers is 0")

    def misfits(self, feature: Callable[[str], FeatureOptions], text: Callable[[str], TextOptions]) -> Iterator[str]:
        """Widths that do not fit together, and features that the encoder cannot read."""
        words, read = text(self.text), feature(self.feature)
        if not isinstance(words, CleaningOptions):
            yield f"text: {self.text!r} is of kind {words.kind}; `vocabulary` or `words` is needed"
        size = words.word2vec.size if isinstance(words, VocabularyOptions) else None
        width, place = self.decoder.width or size, f"texts.{self.text}.word2vec.size"
        if width is None:
            yield f"decoder.width: null, and the text {self.text!r} has no word vectors whose size it could be"
        else:
            origin = (
                f"decoder.width, {width}" if self.decoder.width else f"the size of the word vectors, {size} ({place})"
            )
            if size not in (None, width) and self.embedding.init == "word2vec":
                yield (
                    f"decoder.width: {width}, and `embedding.init: word2vec` takes word vectors of {size} values "
                    f"({place}); set `embedding: {{init: uniform}}`, or one as the other"
                )
            if width % self.decoder.heads:
                yield f"decoder.heads: {self.decoder.heads} does not divide {origin}"
            if isinstance(self.encoder, FramesOptions) and width % self.encoder.heads:
                yield f"encoder.heads: {self.encoder.heads} does not divide {origin}"
        if isinstance(self.encoder, FramesOptions):
            return
        if isinstance(read, NetworkOptions) or not read.computed or getattr(read, "frames_per_clip", 1) is None:
            yield (
                f"feature: the clips of {self.feature!r} have different lengths, and Cnn10 needs equal ones: a "
                "log-mel feature with `seconds`; `encoder: {kind: frames}` takes any feature"
            )
        for what, count in (
            ("mel bands", getattr(read, "mels", None)),
            ("frames", getattr(read, "frames_per_clip", None)),
        ):
            if count is not None and count < HALVED:
                yield f"feature: a clip of {self.feature!r} has {count} {what}, and the encoder needs {HALVED}"

    def training_inputs(self) -> dict[str, Use]:
        """Tables of the corpus, features of two splits, vocabulary, and word vectors where the embedding is of them."""
        inputs = {
            "captions": Use("corpus", "", "captions.csv"),
            "clips": Use("corpus", "", "clips.csv"),
            "development": Use("features", self.feature, "development.h5"),
            "validation": Use("features", self.feature, "validation.h5"),
            "vocabulary": Use("text", self.text, "vocabulary.json"),
        }
        if self.embedding.init == "word2vec":
            inputs["word2vec"] = Use("text", self.text, "word2vec.bin")
        return inputs

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the evaluation split."""
        return {self.feature: Use("features", self.feature, "evaluation.h5")}

    def checkpoints(self) -> dict[str, str]:
        """The weights of Cnn10, if configured."""
        weights = getattr(self.encoder, "weights", "none")
        return {} if weights == "none" else {"encoder.weights": weights}

    def found(self, tools: Any) -> dict[str, str]:
        """The digest of SPICE's jars if SPIDEr selects the epoch."""
        return {"spice": tools.digests()["spice"]} if self.train.monitor == "spider" else {}
