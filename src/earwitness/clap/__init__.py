"""CLAP: audio and text towers whose unit vectors share one space, as a feature entry and a text entry of one name.

The audio tower is an extractor whose files have one frame for each clip, a vector of length 1; the text tower is a kind
of text with one such vector for each caption. A backend is a folder here, and a line each in ``registry.EXTRACTORS``
and ``registry.TEXTS``:

1. ``clap/{backend}/__init__.py`` (cheap to import: no torch) has the options of both towers;
2. ``audio.py`` has the extractor, ``text.py`` the ``FrozenModel``;
3. the feature files' provenance has the digest of the checkpoint as ``inputs.weights``, or the towers are untrained
   with a ``seed``; the ``state`` of the text model begins with the same digest, or with ``untrained-{seed}``, and a
   full stop: by that ``require_same`` knows the towers of one checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from earwitness.errors import MismatchError, listed

if TYPE_CHECKING:
    from earwitness.features.store import FeatureStore
    from earwitness.text.encoders import TextEncoder


def untrained_state(seed: int) -> str:
    """What stands for the digest of a checkpoint where the weights are random."""
    return f"untrained-{seed}"


def require_same(store: FeatureStore, encoder: TextEncoder) -> None:
    """Raise MismatchError unless clips and texts were embedded by the two towers of one checkpoint.

    Each clip must have one vector, of as many dimensions as those of texts.

    Args:
        store: the feature file of the clips; encoder: of the texts, with or without a file.
    """
    made = store.provenance
    seed = made.get("settings", {}).get("seed", 0)
    audio = str(made.get("made_by")), str(made.get("inputs", {}).get("weights") or untrained_state(seed))
    text = str(encoder.description()["kind"]), str(getattr(encoder, "state", "none")).partition(".")[0]
    if audio != text:
        of_audio, of_text = (f"{kind} ({weights[:12]})" for kind, weights in (audio, text))
        where = getattr(encoder, "cache", None) or "the model"
        raise MismatchError(
            f"{store.path} has vectors of {of_audio}, and those of texts in {where} are of {of_text}: vectors of two "
            "models cannot be compared. Take the feature and the text of one backend, both with the same `weights` "
            "(and `seed`)."
        )
    if store.dimension != encoder.dimension:
        raise MismatchError(
            f"{store.path} has vectors of {store.dimension} dimensions, and those of texts have {encoder.dimension}."
        )
    if (several := store.lengths != 1).any():
        clips = [f"{clip}: {store.length(clip)}" for clip, other in zip(store.clip_ids, several, strict=True) if other]
        heading = f"{store.path} is no file of a CLAP, which has one vector for each clip; clips with another number:"
        raise MismatchError(listed(heading, clips))
