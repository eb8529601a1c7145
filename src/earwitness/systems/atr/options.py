"""The options of Audio-Text Retrieval in Context (Lou et al., arXiv 2203.13645), and of its modern variants.

Defaults are the published system where it does not err; `atr-published` in the configuration is the published code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

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

TEXT_FILE = "vectors.h5"
TEXT_INPUT = "text vectors"  # no feature can have this name

PoolingName = Literal["mean", "max", "attention", "lstm", "netvlad", "netrvlad", "transformer"]
PoolingNames = PoolingName | Annotated[list[PoolingName], Field(min_length=1)]  # of several the vectors are joined


class ClusterOptions(Options):
    """Clusters of NetVLAD and NetRVLAD; ghost clusters, of NetVLAD alone, take up frames that belong to none."""

    audio: PositiveInt = 12
    text: PositiveInt = 20
    audio_ghosts: NonNegativeInt = 0
    text_ghosts: NonNegativeInt = 0


class TransformerOptions(Options):
    """The sixth pooling, which the paper does not mention."""

    width: PositiveInt = 512
    layers: PositiveInt = 8
    heads: PositiveInt = 4

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerOptions:
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide width: {self.width}")
        return self


class LossOptions(Options):
    """What training minimises over the similarities of a batch."""

    kind: Literal["max_margin", "info_nce"] = "max_margin"
    margin: PositiveFloat = 0.2
    temperature: Annotated[float, Field(ge=0.01)] = 0.07  # of info_nce at the start; it is learnt, down to 0.01
    # average: similarities of a clip's captions are averaged; draw: one caption of each clip at random per step
    captions: Literal["average", "draw"] = "average"
    cosine: NonNegativeFloat = 0.0  # weight of a further term, 1 minus the similarity of each pair


class OptimiserOptions(Options):
    """The optimiser, and how its learning rate changes."""

    kind: Literal["ranger", "adamw"] = "ranger"
    lr: PositiveFloat = 0.01
    weight_decay: NonNegativeFloat = 1e-3  # decoupled
    betas: Annotated[list[Probability], Field(min_length=2, max_length=2)] = [0.95, 0.999]
    eps: PositiveFloat = 1e-5
    # step: times `decay` after every epoch; noam: up for `warmup` steps, then down with the root of the step;
    # one_cycle: up for a share of all steps, `warmup_share`, then down to nothing, both as a cosine
    schedule: Literal["constant", "step", "noam", "one_cycle"] = "step"
    decay: Annotated[PositiveFloat, Field(le=1)] = 0.95
    warmup: PositiveInt = 100
    warmup_share: Probability = 0.3


class AtrTrainingOptions(TrainingOptions):
    """Options of the training loop; the epoch with the best mean of R@1, R@5 and R@10 is kept, of equal ones the last.

    The mean is the geometric one, text to audio.
    """

    batch_size: Annotated[PositiveInt, Field(ge=2)] = 128  # clips
    epochs: PositiveInt = 20
    keep: Literal["best", "last"] = "best"  # last: the weights of the last epoch, whatever validation says
    patience: PositiveInt | None = None  # stop after this many epochs without improvement; null: never

    @model_validator(mode="after")
    def _patient_for_the_best(self) -> AtrTrainingOptions:
        if self.patience is not None and self.keep == "last":
            raise ValueError(f"patience: {self.patience} waits for a better epoch, and `keep: last` knows none")
        return self


class AtrOptions(ExperimentOptions):
    """An experiment with the system Audio-Text Retrieval in Context."""

    KINDS = ("retrieval",)

    system: Literal["atr"]
    features: Annotated[list[Name], Field(min_length=1)]  # each is an expert with a similarity of its own
    weights: Literal["uniform", "learned"] = "uniform"  # of several features; learned: from the caption
    text: Name
    frame_norm: Literal["none", "l2", "sqrt_l2"] = "none"  # of each frame; sqrt_l2: of its roots
    pooling: PoolingNames = "netrvlad"
    text_pooling: PoolingNames | None = None  # null: as `pooling`
    # gated: a learnt map of the pooled vector; identity: the text's own vector, the mean direction of several, so that
    # clips are mapped to the space of a frozen sentence encoder
    text_side: Literal["gated", "identity"] = "gated"
    clusters: ClusterOptions = ClusterOptions()
    lstm_hidden: PositiveInt | None = None  # null: as many as the feature has dimensions
    transformer: TransformerOptions = TransformerOptions()
    joint: PositiveInt | None = None  # dimensions of a feature's space; null: the feature's, or the Transformer's width
    mask_pads: bool = True  # false: frames beyond the end of a clip count in max, NetVLAD and NetRVLAD
    # Clips and captions are cut to the published code's numbers of frames and words for a data set.
    reference_limits: Literal["none", "audiocaps", "clotho"] = "none"
    # Share of training clips that are joined with another of their batch, frames after frames, and their captions too.
    mix: Probability = 0.0
    loss: LossOptions = LossOptions()
    optim: OptimiserOptions = OptimiserOptions()
    train: AtrTrainingOptions = AtrTrainingOptions()
    # How similarities that are alike count: over all orders, or by their mean rank as in the benchmark.
    ties: Annotated[Literal["expected", "benchmark"], Changes("scores")] = "expected"
    # sampled30: also R@1 and R@5 among 30 candidates drawn at random, as in audio-caption alignment
    protocol: Annotated[Literal["full", "sampled30"], Changes("scores")] = "full"

    @model_validator(mode="after")
    def _fits_together(self) -> AtrOptions:
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features: {self.features} has a feature twice")
        own = {"weights": "learned", "joint": self.joint, "text_pooling": self.text_pooling}
        if self.text_side == "identity":
            for key in (key for key, value in own.items() if value is not None and getattr(self, key) == value):
                raise ValueError(f"{key}: {own[key]!r} is of a learnt text side, and `text_side: identity` learns none")
        if self.weights == "learned" and len(self.features) < 2:
            raise ValueError(f"weights: learned are those of several features, and there is {self.features[0]!r} alone")
        ghosts = {"audio": self.clusters.audio_ghosts, "text": self.clusters.text_ghosts}
        for side, poolings in self.poolings.items():
            if len(set(poolings)) < len(poolings):
                raise ValueError(f"pooling: {poolings} has a pooling twice")
            if ghosts[side] and "netvlad" not in poolings:
                raise ValueError(f"clusters.{side}_ghosts: {ghosts[side]} is of netvlad; the pooling is {poolings}")
        if self.mix and self.reference_limits != "none":
            raise ValueError(
                f"mix: {self.mix} joins clips, and reference_limits: {self.reference_limits} would cut them"
            )
        if self.mix and self.loss.captions != "draw":
            raise ValueError(
                f"mix: {self.mix} joins the drawn captions of two clips and needs `loss: {{captions: draw}}`"
            )
        return self

    @property
    def poolings(self) -> dict[str, list[PoolingName]]:
        """The poolings of each side."""
        text = "mean" if self.text_side == "identity" else self.text_pooling or self.pooling
        both: dict[str, PoolingNames] = {"audio": self.pooling, "text": text}
        return {side: [chosen] if isinstance(chosen, str) else chosen for side, chosen in both.items()}

    def weights_bytes(self, dimensions: Mapping[str, int | None]) -> int | None:
        """Those of the network, for words of 300 values and clips of 100 frames."""
        import torch

        from earwitness.systems.atr.network import Atr

        audio = [dimensions[name] for name in self.features]
        if None in audio:
            return None
        with torch.device("meta"):
            network = Atr(self, {"audio": audio, "text": 300, "frames": 100, "words": 20})
        return 4 * sum(parameter.numel() for parameter in network.parameters())

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Options of another loss, schedule or pooling."""
        loss, schedule = self.loss.kind, self.optim.schedule
        losses = {"loss.margin": loss == "max_margin", "loss.temperature": loss == "info_nce"}
        yield from in_vain(self, losses, f"the kind is {loss}")
        schedules = {"decay": "step", "warmup": "noam", "warmup_share": "one_cycle"}
        rates = {f"optim.{name}": schedule == its for name, its in schedules.items()}
        yield from in_vain(self, rates, f"the schedule is {schedule}")
        used = {side: set(names) for side, names in self.poolings.items()}
        both = used["audio"] | used["text"]
        pooled = {"lstm_hidden": "lstm" in both}
        pooled |= {f"clusters.{side}": bool(names & {"netvlad", "netrvlad"}) for side, names in used.items()}
        pooled |= {f"transformer.{name}": "transformer" in both for name in TransformerOptions.model_fields}
        yield from in_vain(self, pooled, f"the pooling is {' and '.join(sorted(both))}")

    def misfits(self, feature: Callable[[str], FeatureOptions], text: Callable[[str], TextOptions]) -> Iterator[str]:
        """Nothing: all features and all texts with vectors fit."""
        yield from ()

    def training_inputs(self) -> dict[str, Use]:
        """Tables of the corpus, features of two splits, and the vectors of captions."""
        inputs = {
            "captions": Use("corpus", "", "captions.csv"),
            "clips": Use("corpus", "", "clips.csv"),
            TEXT_INPUT: Use("text", self.text, TEXT_FILE),
        }
        for split in ("development", "validation"):
            inputs |= {f"{name} {split}": Use("features", name, f"{split}.h5") for name in self.features}
        return inputs

    def prediction_inputs(self) -> dict[str, Use]:
        """Features of the evaluation split, and the vectors of captions."""
        features = {name: Use("features", name, "evaluation.h5") for name in self.features}
        return {**features, TEXT_INPUT: Use("text", self.text, TEXT_FILE)}
