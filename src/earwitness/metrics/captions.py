"""Metrics of generated captions against reference captions (metrics.md, section 1).

``evaluate`` takes captions as written. The single metrics take PTB-tokenised strings, such as
``earwitness.metrics.java.ptb_tokenize`` makes them, one candidate and at least one reference an item, in the same
order; each returns the value of the corpus and the values of the items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from types import ModuleType

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics import fluency, java, sentences, spice, vocabulary
from earwitness.metrics.cider import CiderD
from earwitness.metrics.pairs import require_pairs
from earwitness.metrics.statistics import Statistic, Sums, mean_of

PARTS = {"cider_d": "CIDEr-D", "spice": "SPICE"}  # of SPIDEr

Tokens = Sequence[str]
References = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Tools:
    """What some metrics need and the Python packages lack; a metric whose tool is absent is None with its reason.

    Attributes:
        spice: ``auto``, ``off`` or the folder of SPICE's jars (``earwitness.metrics.spice.find``).
        spice_cache: the folder where SPICE keeps what it has parsed, None to parse each time.
        spice_minutes: how long SPICE may take.
        similarity: ``auto``, ``off`` or the folder of a sentence model (``earwitness.metrics.sentences.find``).
        fluency: ``auto``, ``off`` or the folder of FENSE's detector (``earwitness.metrics.fluency.find``).
    """

    spice: str | PathLike = "auto"
    spice_cache: str | PathLike | None = None
    spice_minutes: float = 60
    similarity: str | PathLike = "auto"
    fluency: str | PathLike = "auto"

    def digests(self) -> dict[str, str]:
        """What the tools are: hex digests of their contents, "none" for one that is not there."""
        states = {"spice": spice.state, "similarity": sentences.state, "fluency": fluency.state}
        return {name: state(getattr(self, name)) for name, state in states.items()}

    def used_in_training(self, monitor: str) -> dict[str, str]:
        """Digests of what choosing an epoch by the metric ``monitor`` needs beside the Python packages."""
        return {"spice": spice.state(self.spice)} if monitor == "spider" else {}

    def spice_settings(self) -> spice.Settings:
        """How SPICE runs; EarwitnessError where it cannot."""
        cache = None if self.spice_cache is None else Path(self.spice_cache)
        return spice.Settings(spice.find(self.spice), cache, self.spice_minutes)


@dataclass(frozen=True)
class Evaluation:
    """The scores of one set of captions.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where it could not be
    computed; ``items`` gives float64 [clips] in the order of ``ids``, and ``statistics`` what resampling the clips
    needs, for the computed ones only. The tokens are in the same order.
    """

    metrics: dict[str, dict]
    items: dict[str, np.ndarray]
    statistics: dict[str, Statistic]
    ids: list[str]
    candidate_tokens: list[str]
    references_tokens: list[list[str]]

    @property
    def by_clip(self) -> dict[str, np.ndarray]:
        """The clips' own values by metric; every item is a clip."""
        return self.items


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
    return _bleu(candidates, references)[:2]


def _bleu(candidates: Tokens, references: References) -> tuple[np.ndarray, np.ndarray, list[Sums]]:
    """BLEU with the counts of each item that the formula needs."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    require_pairs("Scoring", candidates, references)
    scorer = BleuScorer(n=4)
    for candidate, texts in zip(candidates, references, strict=True):
        scorer += (candidate, list(texts))
    corpus, items = scorer.compute_score(option="closest", verbose=0)
    counts = [[*item["correct"], *item["guess"], item["testlen"], _closest(item)] for item in scorer.ctest]
    columns = np.array(counts, dtype=float)
    return np.array(corpus), np.array(items), [Sums(f"bleu_{order}", columns) for order in (1, 2, 3, 4)]


def _closest(item: Mapping) -> int:
    """The length of the reference that is closest in length; of two the shorter."""
    return min((abs(length - item["testlen"]), length) for length in item["reflen"])[1]


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
    return _meteor(candidates, references)[:2]


def _meteor(candidates: Tokens, references: References) -> tuple[float, np.ndarray, list[Sums]]:
    """METEOR with the statistics of each item that it pools."""
    require_pairs("Scoring", candidates, references)
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
        columns = np.array([line.split() for line in statistics], dtype=float)
    except ValueError as error:
        raise EarwitnessError(f"METEOR gave something else than numbers: {error}") from error
    return corpus, np.array(items), [Sums("meteor", _pooled(columns))]


def _pooled(columns: np.ndarray) -> np.ndarray:
    """METEOR's statistics as it adds them up: a caption that matches its reference as a whole adds no chunk."""
    lengths, chunks, words = columns[:, 0:2], columns[:, 20], columns[:, 21:23]
    whole = (chunks == 1) & (words == lengths).all(axis=1)
    return np.concatenate([columns[:, :20], np.where(whole, 0, chunks)[:, None], words], axis=1)


def _meteor_text(text: str) -> str:
    """A text without METEOR's separator, which would make two texts of it, and without double blanks."""
    return re.sub(" {2,}", " ", java.LINE_BREAKS.sub(" ", text).replace("|||", ""))


METRICS: dict[tuple[str, ...], Callable] = {
    ("bleu_1", "bleu_2", "bleu_3", "bleu_4"): _bleu,
    ("rouge_l",): rouge_l,
    ("meteor",): _meteor,
    ("cider_d",): cider_d,
}


def evaluate(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]], tools: Tools | None = None
) -> Evaluation:
    """All metrics of captions as written: one caption and a list of references for each clip id.

    Clips come out in the order of ``references``. A metric that cannot be computed is None with its reason and the
    others stand; CIDEr-D of a single clip is one of these, where the formula would give 0 to any caption. A metric that
    stands on a model bears the model's name (``sbert_sim.all-MiniLM-L6-v2``): two models' values are two metrics.
    Sentence models are given the captions as written, which is how they were trained; all others the PTB tokens.

    Raises EarwitnessError for captions that ``validate`` refuses, and when the tokeniser cannot run.
    """
    validate(candidates, references)
    ids = list(references)
    tokens, references_tokens = tokenize([candidates[clip] for clip in ids], [references[clip] for clip in ids])
    results = _Results()
    for names, function in METRICS.items():
        if function is cider_d and len(ids) == 1:
            results.lack(names, "CIDEr-D needs at least two clips: the only clip's words all weigh 0.")
        else:
            results.add(names, partial(function, tokens, references_tokens))
    tools = tools or Tools()
    results.add(["spice"], partial(_spice, tokens, references_tokens, tools))
    _add_spider(results)
    _add_model_metrics(results, [candidates[clip] for clip in ids], [references[clip] for clip in ids], tools)
    results.metrics |= vocabulary.vocabulary(tokens, references_tokens)
    return Evaluation(results.metrics, results.items, results.statistics, ids, tokens, references_tokens)


def _spice(candidates: Tokens, references: References, tools: Tools) -> tuple[float, np.ndarray]:
    return spice.spice(candidates, references, tools.spice_settings())


class _Results:
    """Metrics as they are computed, one after another."""

    def __init__(self):
        self.metrics: dict[str, dict] = {}
        self.items: dict[str, np.ndarray] = {}
        self.statistics: dict[str, Statistic] = {}

    def add(self, names: Sequence[str], compute: Callable) -> None:
        """Put in what ``compute`` gives for ``names``: values, items' values, and statistics unless they are means."""
        try:
            corpus, items, *statistics = compute()
        except (EarwitnessError, ImportError, OSError) as error:
            self.lack(names, str(error))
            return
        items = dict(zip(names, np.atleast_2d(items), strict=True))
        self.metrics |= {
            name: {"value": float(value)} for name, value in zip(names, np.atleast_1d(corpus), strict=True)
        }
        self.items |= items
        self.statistics |= dict(zip(names, *statistics or [map(mean_of, items.values())], strict=True))

    def lack(self, names: Sequence[str], reason: str) -> None:
        """None with its reason for each of the names."""
        self.metrics |= {name: {"value": None, "reason": reason} for name in names}


def _add_spider(results: _Results) -> None:
    """SPIDEr is the mean of CIDEr-D and SPICE (metrics.md, section 1.7)."""
    lacking = [
        f"{label}: {results.metrics[name]['reason']}" for name, label in PARTS.items() if name not in results.items
    ]
    if lacking:
        results.lack(["spider"], f"SPIDEr needs {'; '.join(lacking)}")
    else:
        items = (results.items["cider_d"] + results.items["spice"]) / 2
        results.add(["spider"], lambda: (items.mean(), items))


def _add_model_metrics(results: _Results, captions: Sequence[str], references: References, tools: Tools) -> None:
    """SBERT-sim and FER, and SPIDEr and SBERT-sim with FER's penalty (metrics.md, section 1.8)."""

    def errors(folder: Path) -> tuple[float, np.ndarray]:
        return fluency.fluency_error_rate(fluency.errors(fluency.probabilities(captions, folder)))

    sbert_sim = _add_of_model(
        results, "sbert_sim", sentences, tools.similarity, partial(sentences.similarity, captions, references)
    )
    fer = _add_of_model(results, "fer", fluency, tools.fluency, errors)
    _add_penalised(results, "spider_fl", fluency.spider_fl, "spider", fer)
    _add_penalised(results, "fense", fluency.fense, sbert_sim, fer)


def _add_of_model(results: _Results, name: str, module: ModuleType, option: str | PathLike, compute: Callable) -> str:
    """Add a metric that ``compute`` gives for its model's folder; its name with the model's, where there is one."""
    try:
        folder = module.find(option)
        name = f"{name}.{module.label(folder)}"
    except EarwitnessError as error:
        results.lack([name], str(error))
    else:
        results.add([name], partial(compute, folder))
    return name


def _add_penalised(results: _Results, name: str, penalise: Callable, values: str, errors: str) -> None:
    """Add what ``penalise`` makes of two metrics' items, by the names of the models of both."""
    name = ".".join([name, *values.split(".")[1:], *errors.split(".")[1:]])
    lacking = dict.fromkeys(results.metrics[part]["reason"] for part in (values, errors) if part not in results.items)
    if lacking:
        results.lack([name], "; ".join(lacking))
    else:
        results.add([name], partial(penalise, results.items[values], results.items[errors]))


def tokenize(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """PTB tokens of the candidates and of each item's references, through one JVM."""
    tokens = java.ptb_tokenize([*candidates, *(text for texts in references for text in texts)])
    rest = iter(tokens[len(candidates) :])
    return tokens[: len(candidates)], [[next(rest) for _ in texts] for texts in references]


def _numbered(candidates: Tokens, references: References) -> tuple[dict, dict]:
    """References and candidates as pycocoevalcap takes them: lists of strings by the item's number."""
    require_pairs("Scoring", candidates, references)
    return dict(enumerate(map(list, references))), {item: [text] for item, text in enumerate(candidates)}
