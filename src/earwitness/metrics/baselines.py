"""Baselines and an upper bound of a captioner, in CIDEr-D. All texts are PTB-tokenised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.metrics.arguments import text_list
from earwitness.metrics.cider import CiderD
from earwitness.metrics.pairs import reference_lists


def best_constant(training_captions: Sequence[str], validation_references: Sequence[Sequence[str]]) -> str:
    """The training caption with the highest CIDEr-D on validation when given to every clip; the first of equals.

    Exact over all distinct captions, whatever their number: ``CiderD.constant`` needs no shortlist. Raises
    EarwitnessError when there is no training caption, or no reference.

    >>> best_constant(["a dog", "rain falls"], [["rain falls hard"], ["rain on leaves"], ["a bell"]])
    'rain falls'
    """
    captions = list(dict.fromkeys(text_list("The training captions", training_captions)))
    if not captions:
        raise EarwitnessError("The best constant caption is chosen from training captions, and there are none.")
    return captions[int(np.argmax(CiderD(validation_references).constant(captions)))]


def constant_score(caption: str, references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D, in 0 to 10, of one caption given to every clip.

    >>> round(constant_score("rain falls", [["rain falls"], ["a bell"]]), 3)
    2.5
    """
    return float(CiderD(references).constant([caption])[0])


def human_bound(references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D, in 0 to 10, of each clip's first reference against its others, whose document frequencies are used.

    Raises EarwitnessError when a clip has fewer than two references.

    >>> round(human_bound([["a dog barks", "a dog barks"], ["rain", "wind"]]), 3)
    3.75
    """
    references = reference_lists("The upper bound", references)
    single = sum(len(given) < 2 for given in references)
    if single or not references:
        raise EarwitnessError(
            "One reference is scored against the others of its clip, which takes at least two references a clip: "
            f"{single} of {len(references)} clips have fewer."
        )
    return float(CiderD([given[1:] for given in references]).score([given[0] for given in references]).mean())


def shuffled(candidates: Mapping[str, str], seed: int) -> dict[str, str]:
    """The captions assigned to wrong clips: each clip gets another clip's caption, each caption is used once.

    The clips are put on a random ring, and each takes its neighbour's caption. Raises EarwitnessError for fewer than
    two clips.

    >>> shuffled({"a": "a dog", "b": "rain"}, seed=0)
    {'a': 'rain', 'b': 'a dog'}
    """
    if len(candidates) < 2:
        raise EarwitnessError(
            f"Captions can only be assigned to wrong clips with two clips or more; there are {len(candidates)}."
        )
    clips = list(candidates)
    ring = np.random.default_rng(seed).permutation(len(clips))
    source = dict(zip(ring.tolist(), np.roll(ring, 1).tolist(), strict=True))
    return {clip: candidates[clips[source[place]]] for place, clip in enumerate(clips)}
