"""Every layout, extractor, text, system and kind of prediction by name: the one line that each adds outside its module.

A value names what a user may set (a pydantic model, cheap to import: the configuration is checked before anything
else) and what does the work (imported only when it is used). A kind of prediction is no entry of the configuration: its
value names what predicts and scores it (cheap to import: rules are made from it) and what the page shows of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where to find the two halves of a registered thing, each as ``module:name``."""

    options: str
    implementation: str


class KindEntry(NamedTuple):
    """Where to find the two halves of a kind of prediction, each as ``module:name``."""

    evaluation: str
    page: str = "earwitness.report.interface:KindPage"


def _layout(module: str, name: str) -> Entry:
    place = f"earwitness.corpora.layouts.{module}:{name}"
    return Entry(f"{place}Options", place)


LAYOUTS = {
    "mini": _layout("mini", "Mini"),
    "clotho": _layout("clotho", "Clotho"),
    "audiocaps": _layout("audiocaps", "AudioCaps"),
    "audiogrounding": _layout("audiogrounding", "AudioGrounding"),
    "folder": _layout("folder", "Folder"),
}
EXTRACTORS = {
    "logmel": Entry("earwitness.extractors.logmel:LogMelOptions", "earwitness.extractors.logmel.spectrogram:LogMel"),
    **{
        name: Entry(
            f"earwitness.extractors.{name}:{kind}Options", f"earwitness.extractors.{name}.network:{kind}Extractor"
        )
        for name, kind in {
            "vggish": "Vggish",
            "vggsound": "Vggsound",
            "panns_cnn10": "PannsCnn10",
            "panns_cnn14": "PannsCnn14",
            "efficient_latent": "EfficientLatent",
        }.items()
    },
    "external": Entry(
        "earwitness.features.external_options:ExternalOptions", "earwitness.features.external:import_features"
    ),
}
TEXTS = {
    "vocabulary": Entry("earwitness.options:VocabularyOptions", "earwitness.text.stage:prepare_text"),
}
SYSTEMS = {
    "cl4ac": Entry("earwitness.systems.cl4ac.options:Cl4acOptions", "earwitness.systems.cl4ac.system:Cl4acSystem"),
}
KINDS = {
    "captioning": KindEntry(
        "earwitness.evaluation.captioning:Captioning", "earwitness.report.captioning:CaptioningPage"
    ),
    "retrieval": KindEntry("earwitness.evaluation.retrieval:Retrieval"),
    "grounding": KindEntry("earwitness.evaluation.grounding:Grounding"),
}


def load(place: str) -> Any:
    """Import what ``module:name`` points to."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


def kind(name: str) -> Any:
    """A kind of prediction, by its name."""
    return load(KINDS[name].evaluation)()


def options_of(registry: dict[str, Entry]) -> tuple[type, ...]:
    """The option models of all entries of one registry."""
    return tuple(load(entry.options) for entry in registry.values())
