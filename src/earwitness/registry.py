"""Every layout, extractor and system by name: the one line each of them adds outside its own module.

A value names what a user may set (a pydantic model, cheap to import: the configuration is checked before anything
else) and what does the work (imported only when it is used).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where to find the two halves of a registered thing, each as ``module:name``."""

    options: str
    implementation: str


LAYOUTS = {
    name: Entry(f"earwitness.corpora.layouts.{name}:{kind}Options", f"earwitness.corpora.layouts.{name}:{kind}")
    for name, kind in {
        "mini": "Mini",
        "clotho": "Clotho",
        "audiocaps": "AudioCaps",
        "audiogrounding": "AudioGrounding",
        "folder": "Folder",
    }.items()
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
SYSTEMS = {
    "cl4ac": Entry("earwitness.systems.cl4ac.options:Cl4acOptions", "earwitness.systems.cl4ac.task:Cl4acTask"),
}


def load(place: str) -> Any:
    """Import what ``module:name`` points to."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


def options_of(registry: dict[str, Entry]) -> tuple[type, ...]:
    """The option models of all entries of one registry."""
    return tuple(load(entry.options) for entry in registry.values())
