"""Metrics of generated captions against reference captions (metrics.md, section 1).

``evaluate`` takes captions as written. The single metrics take PTB-tokenised strings, such as
``earwitness.metrics.java.ptb_tokenize`` makes them, one candidate and at least one reference an item, in the same
order; each returns the value of the corpus and the values of the items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics import java
from earwitness.metrics.cider import CiderD

MEANS = ("rouge_l", "cider_d", "spice", "spider")  # whose corpus value is the mean of the clips' values
PARTS = {"cider_d": "CIDEr-D", "spice": "SPICE"}  # of SPIDEr

Tokens = Sequence[str]
References = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one set of captions.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where it could not be
    computed; ``items`` gives float64 [clips] in the order of ``ids``, for the computed ones only. The tokens are in
    the same order.
    """

    metrics: dict[str, dict]
    items: dict[str, np.ndarray]
    ids: list[str]
    candidate_tokens: list[str]
    references_tokens: list[list[str]]


def validate(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    """Refuse what cannot be scored, all offenders in one EarwitnessError.

    Both need the same clip ids, each clip one caption and at least one reference, all of them text. A caption may be
    empty (it scores 0); a reference may not be blank, since it would count as the closest in length.
    """
    offenders = [f"clip {clip!r} has a generated caption but no references" for clip in candidates.keys() - references]
    offenders += [f"clip {clip!r} has references but no generated caption" for clip in references.keys() - candidates]
    offenders.sort()
    for clip, caption in candidates.items():
        if not isinstance(caption, str):
            offenders.append(f"the generated caption of clip {clip!r} is {_described(caption)}")
    for clip, texts in references.items():
        offenders += _reference_offenders(clip, texts)
    if not candidates and not references:
        offenders = ["there are no clips"]
    if offenders:
        raise EarwitnessError(listed("These captions cannot be scored:", offenders))


def _reference_offenders(clip: str, texts) -> list[str]:
    if isinstance(texts, str):
        return [f"the references of clip {clip!r} are one string, not a list of strings"]
    if not len(texts):
        return [f"clip {clip!r} has no reference"]
    offenders = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            offenders.append(f"reference {number} of clip {clip!r} is {_described(text)}")
        elif not text.strip():
            offenders.append(f"reference {number} of clip {clip!r} is blank")
    return offenders


def _described(value) -> str:
    empty = value is None or (isinstance(value, float) and value != value)
    hint = "; an empty cell of a table, perhaps" if empty else ""
    return f"{value!r} ({type(value).__name__}), not text{hint}"


def bleu(candidates: Tokens, references: References) -> tuple[np.ndarray, np.ndarray]:
    """BLEU-1 to 4, closest reference length (metrics.md, section 1.2): float64 [4] and [4, items], in 0 to 1.

    The corpus value pools the counts; it is not the mean of the items' values. An empty candidate scores 0.
    """
    from pycocoevalcap.bleu.bleu import Bleu

    corpus, items = Bleu(4).compute_score(*_numbered(candidates, references), verbose=0)
    return np.array(corpus), np.array(items)


def rouge_l(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """ROUGE-L with beta = 1.2 (metrics.md, section 1.3): the mean, and float64 [items], in 0 to 1.

    An empty candidate scores 0, also against a reference without a word.
    """
    from pycocoevalcap.rouge.rouge import Rouge

    _, items = Rouge().compute_score(*_numbered(candidates, references))
    items = np.where([bool(candidate.strip()) for candidate in candidates], items, 0.0)
    return float(items.mean()), items


def cider_d(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """CIDEr-D, which audio captioning calls CIDEr (metrics.md, section 1.5): the mean, and float64 [items], in 0 to 10.

    Document frequencies are those of the references given. With a single item every score is 0 by the formula. For
    repeated scoring against the same references use ``earwitness.metrics.cider.CiderD``.
    """
    items = CiderD(references).score(candidates)
    return float(items.mean()), items


def meteor(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """METEOR 1.5, English, normalised (metrics.md, section 1.4): the corpus value, and float64 [items], in 0 to 1.

    The corpus value pools the statistics; it is not the mean of the items' values. An empty candidate scores 0. Starts
    one JVM with a heap of 2 GB and ends it. Raises EarwitnessError when Java, the jar or its data are missing, or when
    the program fails.
    """
    _numbered(candidates, references)
    archive = java.jar("meteor/meteor-1.5.jar")
    java.jar("meteor/data/paraphrase-en.gz")
    options = ["-XX:+UseSerialGC", "-Xmx2G", "-jar", archive, "-", "-", "-stdio", "-l", "en", "-norm"]
    with java.conversation("METEOR", options) as program:
        statistics = []
        for candidate, texts in zip(candidates, references, strict=True):
            program.say(" ||| ".join(["SCORE", *map(_meteor_text, texts), _meteor_text(candidate)]))
            statistics.append(program.hear())
        program.say(" ||| ".join(["EVAL", *statistics]))
        answers = [program.hear() for _ in range(len(candidates) + 1)]
    try:
        *items, corpus = map(float, answers)
    except ValueError as error:
        raise EarwitnessError(f"METEOR gave something else than numbers: {error}") from error
    return corpus, np.array(items)


def _meteor_text(text: str) -> str:
    """A text without METEOR's separator, which would make two texts of it, and without double blanks."""
    return re.sub(" {2,}", " ", java.LINE_BREAKS.sub(" ", text).replace("|||", ""))


def spice(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """SPICE (metrics.md, section 1.6) cannot be computed by this version: EarwitnessError with the reason."""
    raise EarwitnessError("SPICE's models are not installed (the CoreNLP 3.6.0 jars are in no Python package).")


METRICS: dict[tuple[str, ...], Callable] = {
    ("bleu_1", "bleu_2", "bleu_3", "bleu_4"): bleu,
    ("rouge_l",): rouge_l,
    ("meteor",): meteor,
    ("cider_d",): cider_d,
    ("spice",): spice,
}


def evaluate(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Evaluation:
    """All metrics of captions as written: one caption and a list of references for each clip id.

    Clips come out in the order of ``references``. A metric that cannot be computed is None with its reason and the
    others stand; CIDEr-D of a single clip is one of these, where the formula would give 0 to any caption.

    Raises EarwitnessError for captions that ``validate`` refuses, and when the tokeniser cannot run.
    """
    validate(candidates, references)
    ids = list(references)
    tokens, references_tokens = tokenize([candidates[clip] for clip in ids], [references[clip] for clip in ids])
    metrics, items = {}, {}
    for names, function in METRICS.items():
        try:
            if function is cider_d and len(ids) == 1:
                raise EarwitnessError("CIDEr-D needs at least two clips: the only clip's words all weigh 0.")
            corpus, per_item = function(tokens, references_tokens)
        except (EarwitnessError, ImportError, OSError) as error:
            metrics |= {name: {"value": None, "reason": str(error)} for name in names}
        else:
            metrics |= {name: {"value": float(value)} for name, value in zip(names, np.atleast_1d(corpus), strict=True)}
            items |= dict(zip(names, np.atleast_2d(per_item), strict=True))
    _add_spider(metrics, items)
    return Evaluation(metrics, items, ids, tokens, references_tokens)


def _add_spider(metrics: dict[str, dict], items: dict[str, np.ndarray]) -> None:
    """SPIDEr is the mean of CIDEr-D and SPICE (metrics.md, section 1.7)."""
    missing = [f"{label}: {metrics[name]['reason']}" for name, label in PARTS.items() if name not in items]
    if missing:
        metrics["spider"] = {"value": None, "reason": f"SPIDEr needs {'; '.join(missing)}"}
    else:
        items["spider"] = (items["cider_d"] + items["spice"]) / 2
        metrics["spider"] = {"value": float(items["spider"].mean())}


def tokenize(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """PTB tokens of the candidates and of each item's references, through one JVM."""
    tokens = java.ptb_tokenize([*candidates, *(text for texts in references for text in texts)])
    rest = iter(tokens[len(candidates) :])
    return tokens[: len(candidates)], [[next(rest) for _ in texts] for texts in references]


def _numbered(candidates: Tokens, references: References) -> tuple[dict, dict]:
    """References and candidates as pycocoevalcap takes them: lists of strings by the item's number."""
    if not len(candidates) or len(candidates) != len(references) or not all(map(len, references)):
        raise EarwitnessError(
            f"Scoring needs one candidate and at least one reference an item, and at least one item: there are "
            f"{len(candidates)} candidates, {len(references)} lists of references, "
            f"{sum(not len(texts) for texts in references)} of them empty."
        )
    return dict(enumerate(map(list, references))), {item: [text] for item, text in enumerate(candidates)}
