"""The options of WSAC (Kouzelis & Katsouros, arXiv 2309.12242). Defaults are the published code where it does not err.

`wsac-published` in the configuration has the settings and quirks of the published code, but that epochs have orders of
their own and that no caption is left out of the memory; `wsac-decap` is its forerunner DeCap (arXiv 2303.03032).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from earwitness.clap.options import misfits
from earwitness.options import (
    POSITIONS,
    Changes,
    DecodingOptions,
    ExperimentOptions,
    FeatureOptions,
    Name,
    Options,
    Probability,
    Seed,
    TextOptions,
    TrainingOptions,
    Use,
    in_vain,
)

# Inputs of prediction beside the clips' vectors; no feature can have such a name.
VALIDATION, CLIPS, CAPTIONS = "validation vectors", "all clips", "all captions"


class PrefixOptions(Options):
    """The projection of a CLAP vector to what the decoder reads before the caption."""

    length: PositiveInt = 1  # positions


class DecoderOptions(Options):
    """The decoder, a GPT-2 trained from scratch."""

    layers: PositiveInt = 4
    heads: PositiveInt = 4
    width: PositiveInt = 768
    feedforward: PositiveInt | None = None  # null: four times the width
    dropout: Probability = 0.1
    positions: PositiveInt = 1024
    rows: PositiveInt | None = None  # of the word embeddings; null: as many as the text has tokens (published: 50257)

    @model_validator(mode="after")
    def _heads_divide(self) -> DecoderOptions:
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide width: {self.width}")
        return self


class NoiseOptions(Options):
    """Gaussian noise on the text vectors in training, which are unit vectors before and after."""

    # Per dimension; 0: none. The noise has a length of about the root of variance times dimensions, which is recorded.
    variance: Annotated[NonNegativeFloat, Field(le=100)] = 0.0


class ShiftOptions(Options):
    """The mean audio vector less the mean text vector, which is added to the text vectors in training."""

    dataset: Name | None = None  # on whose clips it is measured; null: the same data set


class LossOptions(Options):
    """The loss of the caption's tokens, its start and end among them."""

    label_smoothing: Probability = 0.0


class OptimiserOptions(Options):
    """AdamW, which decays all parameters; the rate rises linearly, then falls linearly to 0 at the last step."""

    lr: PositiveFloat = 1e-5
    weight_decay: NonNegativeFloat = 0.02  # decoupled
    eps: PositiveFloat = 1e-6
    warmup: NonNegativeInt = 100  # steps


class WsacTrainingOptions(TrainingOptions):
    """Options of the training loop, and which epoch is kept."""

    batch_size: PositiveInt = 64  # captions; a last batch with fewer is left out
    epochs: PositiveInt = 30
    keep: Literal["last", "best"] = "last"  # best: of least loss of the validation captions, which are text alone


class MemoryOptions(Options):
    """The training captions that an audio vector is compared with."""

    size: PositiveInt | None = None  # how many of them, drawn at random; null: all
    seed: Seed = 0


class WsacDecodingOptions(DecodingOptions):
    """How captions are generated."""

    max_words: Annotated[PositiveInt, Field(lt=POSITIONS)] = 30  # tokens of the text


class WsacOptions(ExperimentOptions):
    """An experiment with the system WSAC."""

    KINDS = ("captioning",)
    LEARNS_FROM = "captions alone"

    system: Literal["wsac"]
    clap: Name = "clap"  # a feature and a text of this name
    text: Name = "pieces"  # a vocabulary
    corpus: Name | None = None  # the data set whose development captions are learnt; null: the same data set
    length: Annotated[PositiveInt, Field(ge=3)] = 22  # tokens of a training caption with start and end; others are cut
    legacy_truncation: bool = False  # true: captions that are cut have no end, as in the published code
    prefix: PrefixOptions = PrefixOptions()
    decoder: DecoderOptions = DecoderOptions()
    noise: NoiseOptions = NoiseOptions()
    shift: ShiftOptions | None = None  # null: none
    legacy_noise_gate: bool = False  # true: without noise there is no shift either, as in the published code
    loss: LossOptions = LossOptions()
    optim: OptimiserOptions = OptimiserOptions()
    train: WsacTrainingOptions = WsacTrainingOptions()
    # What the decoder reads: ad: the audio vector; nnd: the nearest text vector of the memory; pd: the mean of the
    # memory's text vectors, weighted by the softmax of their cosines over tau.
    inference: Annotated[Literal["ad", "nnd", "pd"], Changes("prediction")] = "ad"
    memory: Annotated[MemoryOptions, Changes("prediction")] = MemoryOptions()
    # Validation: that of `TAUS` with the highest CIDEr-D on the validation clips. Other inferences record theirs alone.
    tau: Annotated[Annotated[float, Field(ge=1e-4)] | Literal["validation"], Changes("prediction")] = 0.01
    decode: Annotated[WsacDecodingOptions, Changes("prediction")] = WsacDecodingOptions()
    # true: the start is generated too, and the first and the last token are left out, whatever they are
    legacy_decoding: Annotated[bool, Changes("prediction")] = False

    @model_validator(mode="after")
    def _fits_together(self) -> WsacOptions:
        if (needed := self.prefix.length + self.length) > self.decoder.positions:
            raise ValueError(
                f"decoder.positions: {self.decoder.positions} are too few: prefix and caption take up to {needed}"
            )
        if self.legacy_noise_gate and self.shift is None:
            raise ValueError("legacy_noise_gate: true is about `shift`, and there is none")
        return self

    @property
    def most_words(self) -> int:
        """How many tokens of a caption the decoder can read, beside the prefix and the start."""
        return self.decoder.positions - self.prefix.length - 1

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Options of another inference, and of a draw where none is made."""
        used = {"memory": self.inference != "ad", "tau": self.inference == "pd" or self.tau == "validation"}
        yield from in_vain(self, used, f"the inference is {self.inference}")
        drawn = self.memory.size is not None or not used["memory"]  # an unused memory is told as a whole
        yield from in_vain(self, {"memory.seed": drawn}, "memory.size is null: nothing is drawn")

    def misfits(self, feature: Callable[..., FeatureOptions], text: Callable[..., TextOptions]) -> Iterator[str]:
        """Features, texts and a gap that are not of one CLAP, and captions longer than the decoder reads."""
        if self.decode.max_words > self.most_words:
            yield (
                f"decode.max_words: {self.decode.max_words}; `decoder.positions: {self.decoder.positions}` leave "
                f"{self.most_words} for a caption"
            )
        yield from misfits(self.clap, self.uses(), feature, text)

    def training_inputs(self) -> dict[str, Use]:
        """Captions, their CLAP vectors and their vocabulary: text alone; with a shift, also that one vector."""
        inputs = {
            "captions": Use("corpus", "", "captions.csv", self.corpus),
            "clips": Use("corpus", "", "clips.csv", self.corpus),
            "vectors": Use("text", self.clap, "vectors.h5", self.corpus),
            "vocabulary": Use("text", self.text, "vocabulary.json", self.corpus),
        }
        if self.shift is not None:
            inputs["gap"] = Use("clap", self.clap, "gap.h5", self.shift.dataset)
        return inputs

    def prediction_inputs(self) -> dict[str, Use]:
        """CLAP vectors of the evaluation clips, and of those whose CIDEr-D is recorded and chooses the temperature."""
        inputs = {self.clap: Use("features", self.clap, "evaluation.h5")}
        if self.tau == "validation":
            inputs |= {
                VALIDATION: Use("features", self.clap, "validation.h5"),
                CLIPS: Use("corpus", "", "clips.csv"),
                CAPTIONS: Use("corpus", "", "captions.csv"),
            }
        return inputs
