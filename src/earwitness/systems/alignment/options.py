"""Options of audio-caption alignment. Quick to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from earwitness.metrics.sound_events import Grid
from earwitness.options import (
    Changes,
    ExperimentOptions,
    FeatureOptions,
    Name,
    Options,
    Probability,
    TextOptions,
    TrainingOptions,
    Use,
    in_vain,
)

TEXT_INPUT = "text vectors"  # the name of the input with the vectors of captions and phrases
TEXT_FILE = "vectors.h5"
LEAST_BANDS = 64  # that a CRNN reads: it pools four of them together three times


class CrnnOptions(Options):
    """The published audio encoder, of log-mel frames."""

    channels: Annotated[list[PositiveInt], Field(min_length=5, max_length=5)] = [32, 128, 128, 128, 128]
    hidden: PositiveInt | None = None  # units of each direction of the GRU; null: half of a word's dimensions
    dropout: Probability = 0.3


class ScoreOptions(Options):
    """How the similarities of frames and words become one score.

    The published scores: STSQ is the default; MTSQ `{time: max, first: time}`; MQST `{words: max}`.
    """

    # clipped: cosines, 0 where they are negative; softplus: nearly that, with a gradient everywhere
    similarity: Literal["clipped", "softplus"] = "clipped"
    time: Literal["mean", "max", "linear_softmax", "exp_softmax"] = "mean"
    words: Literal["mean", "max"] = "mean"
    first: Literal["words", "time"] = "words"  # which of both is pooled first


class LossOptions(Options):
    """What training minimises."""

    kind: Literal["triplet", "info_nce"] = "triplet"
    margin: PositiveFloat = 1.0  # of triplet
    # Of triplet. random: one other clip and one other text for each pair, as published; hardest: those of the batch
    # with the highest score; all: the mean over all.
    negatives: Literal["random", "hardest", "all"] = "random"
    temperature: Annotated[float, Field(ge=0.01)] = 0.07  # of info_nce at the start; it is learnt, down to 0.01


class OptimiserOptions(Options):
    """AdamW, which without weight decay is Adam, and how its learning rate changes."""

    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0  # decoupled
    # plateau: times `factor` after `patience` epochs whose validation loss is not lower by the share `threshold`;
    # one_cycle: up for a share of all steps, `warmup_share`, then down to nothing, both as a cosine
    schedule: Literal["constant", "plateau", "one_cycle"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: PositiveInt = 5
    threshold: NonNegativeFloat = 1e-3
    warmup_share: Probability = 0.3


class SettledOptions(Options):
    """Training ends when the validation loss no longer changes."""

    window: Annotated[PositiveInt, Field(ge=2)] = 10  # the last epochs
    deviation: PositiveFloat = 0.01  # of their losses
    not_before: PositiveInt = 59  # epochs; the published 60 have one before training


class AlignmentTrainingOptions(TrainingOptions):
    """Options of the training loop."""

    batch_size: Annotated[PositiveInt, Field(ge=2)] = 32  # pairs of a clip and a text
    epochs: PositiveInt = 100
    keep: Literal["best", "last"] = "best"  # the epoch with the least validation loss, or the last
    stop: SettledOptions | None = SettledOptions()  # null: never before the last epoch


class AlignmentOptions(ExperimentOptions):
    """An experiment with the system audio-caption alignment."""

    KINDS = ("grounding", "retrieval")

    system: Literal["alignment"]
    feature: Name
    text: Name
    texts: Literal["captions", "phrases"] = "captions"  # what clips are trained with; phrases: those of their captions
    # crnn: the published one, of log-mel frames; linear: a linear map of each frame of any feature
    encoder: Literal["crnn", "linear"] = "crnn"
    crnn: CrnnOptions = CrnnOptions()
    frame_norm: Literal["none", "l2", "sqrt_l2"] = "none"  # of each frame before a linear map; sqrt_l2: of its roots
    joint: PositiveInt | None = None  # dimensions to which words are mapped too; null: words are left as they are
    mask_pads: bool = True  # false: what pads a batch's shorter clips counts as sound in crnn, as published
    score: ScoreOptions = ScoreOptions()
    loss: LossOptions = LossOptions()
    optim: OptimiserOptions = OptimiserOptions()
    train: AlignmentTrainingOptions = AlignmentTrainingOptions()
    # Seconds from one activation to the next, interpolated between the middles of frames; null: as frames are.
    resolution: Annotated[float, Field(ge=0.001)] | None = None
    # minmax: each activation is scaled to 0 to 1, as published, and so is active somewhere even if nothing sounds
    scaling: Literal["none", "minmax"] = "none"
    # Of activations, where events begin, and seconds of the median filter before; null: what suits validation best.
    threshold: Annotated[float | None, Changes("prediction")] = None
    smoothing: Annotated[Annotated[float, Field(ge=0, le=60)] | None, Changes("prediction")] = None
    # How similarities that are alike count: over all orders, or by their mean rank as in the benchmark.
    ties: Annotated[Literal["expected", "benchmark"], Changes("scores")] = "expected"
    # sampled30: also the published protocol, where each caption has 30 candidates.
    protocol: Annotated[Literal["full", "sampled30"], Changes("scores")] = "full"
    grid: Annotated[Grid, Changes("scores")] = "decimal"  # of segments and collars

    @model_validator(mode="after")
    def _fits_together(self) -> AlignmentOptions:
        if self.train.stop is not None and self.optim.schedule == "one_cycle":
            raise ValueError("optim.schedule: one_cycle ends with the last epoch, and `train.stop` before it; set null")
        return self

    def _unlike(self) -> bool:
        """Whether the GRU's vectors and words cannot have the same dimensions."""
        joint, hidden = self.joint, self.crnn.hidden
        return self.encoder == "crnn" and joint is not None and joint != 2 * (hidden or joint // 2)

    def misfits(self, feature: Callable[[str], FeatureOptions], text: Callable[[str], TextOptions]) -> Iterator[str]:
        """A CRNN reads log-mel frames; what locates sounds knows when a frame is; texts have vectors."""
        extractor = feature(self.feature).extractor
        if extractor == "external" and getattr(feature(self.feature), "hop", None) is None:
            yield (
                f"feature: {self.feature!r} is external and does not say how many seconds are from one frame to the "
                f"next; set features.{self.feature}.hop"
            )
        if extractor == "retriever":
            yield f"feature: {self.feature!r} has one vector for a whole clip, in which no sound can be located"
        elif self.encoder == "crnn" and extractor not in ("logmel", "external"):
            yield (
                f"feature: {self.feature!r} has frames of {extractor}; `encoder: crnn` convolves log-mel frames, and "
                "`encoder: linear` takes any"
            )
        mels = getattr(feature(self.feature), "mels", None)
        if self.encoder == "crnn" and mels is not None and mels < LEAST_BANDS:
            yield f"feature: {self.feature!r} has {mels} mel bands; `encoder: crnn` needs {LEAST_BANDS}"
        if self._unlike():
            half = "half of them" if self.crnn.hidden is None else f"`crnn.hidden: {self.crnn.hidden}`"
            yield f"joint: {self.joint} dimensions, of which the GRU gives {half} in each direction; set an even number"
        kind = text(self.text).kind
        if "vectors" not in type(text(self.text)).FILES:
            yield f"text: {self.text!r} is of kind {kind}; `word_vectors` or `sentence` is needed"

    def weights_bytes(self, dimensions: Mapping[str, int | None]) -> int | None:
        """Those of the network for words of 300 values, or of ``joint``, and of a table of 20,000 words."""
        import torch

        from earwitness.systems.alignment.network import Alignment

        audio = dimensions[self.feature]
        if audio is None or self._unlike() or (self.encoder == "crnn" and audio < LEAST_BANDS):
            return None
        words = 300 if self.crnn.hidden is None else self.joint or 2 * self.crnn.hidden
        with torch.device("meta"):
            network = Alignment(self, {"audio": audio, "text": words})
        return 4 * (sum(parameter.numel() for parameter in network.parameters()) + 20_000 * 300)

    def reads_phrases(self) -> str:
        return "texts" if self.texts == "phrases" else ""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Options of another loss, schedule or encoder than the chosen one, that are not as by default."""
        loss, schedule, crnn = self.loss.kind, self.optim.schedule, self.encoder == "crnn"
        losses = dict.fromkeys(("loss.margin", "loss.negatives"), loss == "triplet")
        yield from in_vain(self, losses | {"loss.temperature": loss == "info_nce"}, f"the kind is {loss}")
        rates = dict.fromkeys(("optim.factor", "optim.patience", "optim.threshold"), schedule == "plateau")
        yield from in_vain(self, rates | {"optim.warmup_share": schedule == "one_cycle"}, f"the schedule is {schedule}")
        encoder = dict.fromkeys((f"crnn.{name}" for name in CrnnOptions.model_fields), crnn)
        encoder |= {"frame_norm": not crnn, "mask_pads": crnn}
        yield from in_vain(self, encoder, f"the encoder is {self.encoder}")

    def training_inputs(self) -> dict[str, Use]:
        """Tables of the corpus, features of two splits, and the vectors of texts."""
        tables = ("captions", "clips", "phrases", "events")
        inputs = {name: Use("corpus", "", f"{name}.csv") for name in tables}
        inputs[TEXT_INPUT] = Use("text", self.text, TEXT_FILE)
        for split in ("development", "validation"):
            inputs[split] = Use("features", self.feature, f"{split}.h5")
        return inputs

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the evaluation split, and the vectors of texts."""
        features = {self.feature: Use("features", self.feature, "evaluation.h5")}
        return {**features, TEXT_INPUT: Use("text", self.text, TEXT_FILE)}
