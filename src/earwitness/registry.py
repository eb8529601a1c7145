"""All layouts, extractors, texts, systems and kinds of prediction by name; a new one adds one line here.

Each entry names the options (a pydantic model, quick to import since the configuration is checked first) and the
implementation (imported only when it is used). A kind of prediction has no options: its entry names the class that
predicts and scores (quick to import since rules are made from it) and its section on the comparison page.

An entry also names what to cite, as keys of ``report/references.bib``; metrics name it in ``metrics/catalogue.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple, get_args

from earwitness.errors import EarwitnessError, listed, nearest


class Entry(NamedTuple):
    """Options and implementation, each as ``module:name``, and what to cite.

    ``references`` are keys of ``report/references.bib``; None: whoever brings the data knows what to cite.
    """

    options: str
    implementation: str
    references: tuple[str, ...] | None = ()


class KindEntry(NamedTuple):
    """The ``Kind`` and the ``KindPage`` of a kind of prediction, each as ``module:name``."""

    evaluation: str
    page: str = "earwitness.report.interface:KindPage"


def _layout(module: str, name: str, references: tuple[str, ...] | None = ()) -> Entry:
    place = f"earwitness.corpora.layouts.{module}:{name}"
    return Entry(f"{place}Options", place, references)


LAYOUTS = {
    "mini": _layout("mini", "Mini"),
    "clotho": _layout("clotho", "Clotho", ("drossos2020clotho",)),
    "audiocaps": _layout("audiocaps", "AudioCaps", ("kim2019audiocaps",)),
    "audiogrounding": _layout("audiogrounding", "AudioGrounding", ("xu2021audiogrounding", "kim2019audiocaps")),
    "folder": _layout("folder", "Folder", None),
    "captions": _layout("captions", "Captions", None),
}
EXTRACTORS = {
    "logmel": Entry("earwitness.extractors.logmel:LogMelOptions", "earwitness.extractors.logmel.spectrogram:LogMel"),
    **{
        name: Entry(
            f"earwitness.extractors.{name}:{kind}Options",
            f"earwitness.extractors.{name}.network:{kind}Extractor",
            (reference,),
        )
        for name, (kind, reference) in {
            "vggish": ("Vggish", "hershey2017cnn"),
            "vggsound": ("Vggsound", "chen2020vggsound"),
            "panns_cnn10": ("PannsCnn10", "kong2020panns"),
            "panns_cnn14": ("PannsCnn14", "kong2020panns"),
            "efficient_latent": ("EfficientLatent", "efficientlatent2021"),
        }.items()
    },
    "clap_laion": Entry(
        "earwitness.clap.laion:ClapLaionOptions", "earwitness.clap.laion.audio:ClapLaionExtractor", ("wu2023clap",)
    ),
    "clap_wavcaps": Entry(
        "earwitness.clap.wavcaps:ClapWavcapsOptions",
        "earwitness.clap.wavcaps.audio:ClapWavcapsExtractor",
        ("mei2024wavcaps", "kong2020panns"),
    ),
    "external": Entry(
        "earwitness.features.external_options:ExternalOptions", "earwitness.features.external:import_features", None
    ),
    "retriever": Entry("earwitness.clap.retriever:RetrieverFeatureOptions", "earwitness.systems.retriever:embed_clips"),
}
TEXTS = {
    "vocabulary": Entry(
        "earwitness.options:VocabularyOptions", "earwitness.text.stage:prepare_text", ("mikolov2013word2vec",)
    ),
    "words": Entry("earwitness.text.options:WordsOptions", "earwitness.text.stage:prepare_words"),
    "wordpiece": Entry(
        "earwitness.text.options:WordPieceOptions", "earwitness.text.stage:prepare_pieces", ("wu2016translation",)
    ),
    "word_vectors": Entry(
        "earwitness.text.options:WordVectorsOptions", "earwitness.text.word_vectors:prepare", ("mikolov2013word2vec",)
    ),
    "sentence": Entry(
        "earwitness.text.options:SentenceOptions", "earwitness.text.frozen:prepare", ("reimers2019sbert",)
    ),
    "retriever": Entry("earwitness.clap.retriever:RetrieverTextOptions", "earwitness.text.frozen:prepare"),
    "clap_laion": Entry(
        "earwitness.clap.laion:ClapLaionTextOptions", "earwitness.text.frozen:prepare", ("wu2023clap",)
    ),
    "clap_wavcaps": Entry(
        "earwitness.clap.wavcaps:ClapWavcapsTextOptions", "earwitness.text.frozen:prepare", ("mei2024wavcaps",)
    ),
}
SYSTEMS = {
    "cl4ac": Entry(
        "earwitness.systems.cl4ac.options:Cl4acOptions",
        "earwitness.systems.cl4ac.system:Cl4acSystem",
        ("liu2021cl4ac", "kong2020panns"),  # its encoder is PANNs' Cnn10
    ),
    "atr": Entry(
        "earwitness.systems.atr.options:AtrOptions",
        "earwitness.systems.atr.system:AtrSystem",
        ("lou2022retrieval",),
    ),
    "zeroshot": Entry(
        "earwitness.systems.zeroshot.options:ZeroshotOptions",
        "earwitness.systems.zeroshot.system:ZeroshotSystem",
    ),
    "alignment": Entry(
        "earwitness.systems.alignment.options:AlignmentOptions",
        "earwitness.systems.alignment.system:AlignmentSystem",
        ("xie2022alignment",),
    ),
    "wsac": Entry(
        "earwitness.systems.wsac.options:WsacOptions",
        "earwitness.systems.wsac.system:WsacSystem",
        ("kouzelis2023wsac",),
    ),
}
KINDS = {
    "captioning": KindEntry(
        "earwitness.evaluation.captioning:Captioning", "earwitness.report.captioning:CaptioningPage"
    ),
    "retrieval": KindEntry("earwitness.evaluation.retrieval:Retrieval", "earwitness.report.retrieval:RetrievalPage"),
    "grounding": KindEntry("earwitness.evaluation.grounding:Grounding", "earwitness.report.grounding:GroundingPage"),
    "moments": KindEntry("earwitness.evaluation.moments:Moments"),
}


def load(place: str) -> Any:
    """Import the object at ``module:name``."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


def kind(name: str) -> Any:
    """An instance of the kind of prediction with this name."""
    return load(KINDS[name].evaluation)()


def options_of(registry: dict[str, Entry], key: str) -> tuple[type, ...]:
    """The option models of all entries of one registry, whose names stand under ``key`` in the configuration.

    Raises EarwitnessError for models that do not keep to what registered models need, all in one message.
    """
    models = {name: load(entry.options) for name, entry in registry.items()}
    problems = [problem for name, model in models.items() for problem in _problems(name, model, key)]
    if problems:
        raise EarwitnessError(listed("Registered options are not as they need to be:", problems))
    return tuple(models.values())


def _problems(name: str, model: Any, key: str) -> Iterator[str]:
    """What a developer may have got wrong in an option model."""
    where = f"{model.__name__}, registered as {name!r}"
    named = get_args(model.model_fields[key].annotation) if key in model.model_fields else ()
    if name not in named:
        yield f"{where}: needs the field `{key}: Literal[{name!r}]`"
    marks = [mark.stage for field in model.model_fields.values() for mark in field.metadata if hasattr(mark, "stage")]
    for mark in marks:
        if mark not in (*model.STAGES, "nothing"):
            yield f"{where}: Changes({mark!r}); {nearest(mark, [*model.STAGES, 'nothing'])}"
    if key == "system":
        kinds = getattr(model, "KINDS", None)
        if not isinstance(kinds, tuple) or not kinds:
            yield f"{where}: KINDS is {kinds!r}; a tuple of kinds of prediction is needed, such as ('captioning',)"
        else:
            yield from (f"{where}: KINDS has {kind!r}; {nearest(kind, KINDS)}" for kind in kinds if kind not in KINDS)
        if model.TRAINED and "train" not in model.model_fields:
            yield f"{where}: needs the field `train: TrainingOptions`, or TRAINED = False"
