"""Metrics of generated captions against reference captions (docs/metrics.md, section 1).

Conventions
-----------
An item is a clip: one generated caption, the candidate, and one or more references. ``evaluate`` takes both as written,
by clip id, or as parallel lists. The metric functions take strings of Penn Treebank tokens separated by blanks, as
``tokenize`` makes them: a list of candidates and a parallel list of lists of references, or two mappings with the same
keys (items are then in the order of the references). Each returns the value of the corpus and float64 [items].

Values are fractions in 0 to 1, but CIDEr-D is in 0 to 10 and SPIDEr, its mean with SPICE, in 0 to 5.5. BLEU and METEOR
of a corpus pool the counts of its items; the others are means over items. An empty candidate scores 0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, joined, listed
from earwitness.metrics import fluency, java, sentences, spice, vocabulary
from earwitness.metrics.arguments import as_list, by_name, described, is_named, text_list
from earwitness.metrics.catalogue import chosen, find, of_kind
from earwitness.metrics.cider import CiderD
from earwitness.metrics.pairs import reference_lists, require_pairs
from earwitness.metrics.progress import progress_bar
from earwitness.metrics.spice import Settings as SpiceSettings
from earwitness.metrics.statistics import Statistic, Sums, mean_of

NAMES = [metric.name for metric in of_kind("captioning")]
PARTS = {  # what a metric is made of
    "spider": ("cider_d", "spice"),
    "spider_fl": ("cider_d", "spice", "spider", "fer"),
    "fense": ("sbert_sim", "fer"),
}
OF_TEXT = {"sbert_sim", "fer", "fense", "spider_fl"}  # by models, which read captions as written
SETS = {
    "all": NAMES,
    "bleu": NAMES[:4],
    "coco": NAMES[:7],
    "vocab": vocabulary.NAMES,
    # of the DCASE challenge's task on captioning, by the first of its years
    "dcase2020": NAMES[:9],
    "dcase2023": ("meteor", "cider_d", "spice", "spider", "fer", "spider_fl"),
    "dcase2024": ("meteor", "cider_d", "spice", "spider", "fer", "spider_fl", "sbert_sim", "fense", *vocabulary.NAMES),
}

LONG = 1000  # texts whose tokenising takes a second and more

Tokens = Sequence[str] | Mapping[Any, str]
References = Sequence[Sequence[str]] | Mapping[Any, Sequence[str]]
Captions = Mapping[str, str] | Sequence[str]
ManyCaptions = Mapping[str, Sequence[str]] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Tools:
    """What some metrics need beside the Python packages; a metric whose tool is absent is None with the reason.

    Attributes:
        spice: ``auto``, ``off`` or the folder of SPICE's jars (``earwitness.metrics.spice.find``).
        spice_cache: the folder where SPICE keeps parsed captions, ``auto`` for the one among the user's caches
            (``earwitness.metrics.spice.user_cache``), None to parse each time.
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
        """Hex digests of the tools' contents, "none" for one that is absent.

        >>> Tools(spice="off", similarity="off", fluency="off").digests()
        {'spice': 'none', 'similarity': 'none', 'fluency': 'none'}
        """
        states = {"spice": spice.state, "similarity": sentences.state, "fluency": fluency.state}
        return {name: state(getattr(self, name)) for name, state in states.items()}

    def used_in_training(self, monitor: str) -> dict[str, str]:
        """Digests of the tools that choosing an epoch by the metric ``monitor`` needs."""
        return {"spice": spice.state(self.spice)} if monitor == "spider" else {}

    def spice_settings(self) -> SpiceSettings:
        """How SPICE runs; EarwitnessError without its jars."""
        jars = spice.find(self.spice)
        if self.spice_cache == "auto":
            cache = spice.user_cache()
        else:
            cache = None if self.spice_cache is None else Path(self.spice_cache)
        return spice.Settings(jars, cache, self.spice_minutes)


@dataclass(frozen=True)
class Evaluation:
    """The scores of one set of captions.

    ``metrics`` gives for each name ``{"value": float}``, or ``{"value": None, "reason": str}`` where it could not be
    computed; ``items`` gives float64 [clips] in the order of ``ids``, and ``statistics`` what resampling the clips
    needs, for the computed ones only. The tokens are in the same order, and empty where no metric needed them.
    """

    metrics: dict[str, dict]
    items: dict[str, np.ndarray]
    statistics: dict[str, Statistic]
    ids: list[str]
    candidate_tokens: list[str]
    references_tokens: list[list[str]]

    @property
    def by_clip(self) -> dict[str, np.ndarray]:
        """The same as ``items``: every item is a clip."""
        return self.items


def validate(candidates: Captions, references: ManyCaptions) -> None:
    """Refuse what cannot be scored, all offenders in one EarwitnessError.

    Both need the same clip ids, each clip one caption and at least one reference, all of them text. In lists the
    position, from 0, is the id. A caption may be empty (it scores 0); a reference may not be blank, since BLEU would
    take it for the closest in length.

    >>> validate({"a.wav": "a dog"}, {"a.wav": ["a dog barks"]})
    """
    _validated(candidates, references)


def _validated(candidates: Captions, references: ManyCaptions) -> tuple[Mapping[Any, str], dict[Any, list[str]]]:
    """Both by clip id; EarwitnessError for what ``validate`` refuses."""
    named = is_named(candidates), is_named(references)
    candidates, references = by_name("The captions", candidates), by_name("The references", references)
    if named[0] != named[1]:
        lacking = "references" if named[0] else "captions"
        raise EarwitnessError(
            f"The {lacking} are a list, the others are named: give both by clip id, or both as lists."
        )
    offenders = [f"clip {clip!r} has a generated caption but no references" for clip in candidates.keys() - references]
    offenders += [f"clip {clip!r} has references but no generated caption" for clip in references.keys() - candidates]
    offenders.sort()
    for clip, caption in candidates.items():
        if not isinstance(caption, str):
            offenders.append(f"the generated caption of clip {clip!r} is not text: {described(caption)}")
    lists: dict[Any, list[str]] = {}
    for clip, given in references.items():
        try:
            lists[clip] = as_list("", given)
        except EarwitnessError as error:
            offenders.append(f"the references of clip {clip!r} are{str(error)[1:].removesuffix('.')}")
        else:
            offenders += _reference_offenders(clip, lists[clip])
    if not candidates and not references:
        offenders = ["there are no clips"]
    if offenders:
        raise EarwitnessError(listed("These captions cannot be scored:", offenders))
    return candidates, lists


def _reference_offenders(clip: Any, texts: list) -> list[str]:
    """What is wrong with the references of one clip."""
    if not texts:
        return [f"clip {clip!r} has no reference"]
    offenders = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            offenders.append(f"reference {number} of clip {clip!r} is not text: {described(text)}")
        elif not text.strip():
            offenders.append(f"reference {number} of clip {clip!r} is blank")
    return offenders


def tokenize(candidates: Sequence[str], references: References) -> tuple[list[str], list[list[str]]]:
    """PTB tokens of the candidates and of each item's references, through one JVM (docs/metrics.md, section 1.1).

    >>> tokenize(["A dog barks!"], [["The dog's bark.", "A bark"]])
    (['a dog barks'], [["the dog 's bark", 'a bark']])
    """
    candidates, references = text_list("Tokenizing, candidates", candidates), reference_lists("Tokenizing", references)
    texts = [*candidates, *(text for given in references for text in given)]
    if len(texts) >= LONG:
        print(f"Tokenising {len(texts):,} captions", file=sys.stderr)
    tokens = java.ptb_tokenize(texts)
    rest = iter(tokens[len(candidates) :])
    return tokens[: len(candidates)], [[next(rest) for _ in given] for given in references]


def bleu(candidates: Tokens, references: References) -> tuple[np.ndarray, np.ndarray]:
    """BLEU-1 to 4, closest reference length (docs/metrics.md, section 1.2): float64 [4] and [4, items], in 0 to 1.

    The corpus value pools the counts; it is not the mean of the items' values. An empty candidate scores 0.

    >>> corpus, items = bleu(["a dog barks", "rain"], [["a dog barks loudly"], ["rain falls"]])
    >>> corpus.round(3).tolist(), items[0].round(3).tolist()
    ([0.607, 0.607, 0.607, 0.019], [0.717, 0.368])
    """
    return _bleu(candidates, references)[:2]


def _bleu(candidates: Tokens, references: References) -> tuple[np.ndarray, np.ndarray, list[Sums]]:
    """BLEU with the counts of each item that the formula needs."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    candidates, references = require_pairs("Scoring", candidates, references)
    scorer = BleuScorer(n=4)
    for candidate, texts in zip(candidates, references, strict=True):
        scorer += (candidate, list(texts))
    corpus, items = scorer.compute_score(option="closest", verbose=0)
    counts = []
    for item in scorer.ctest:
        _, closest = min((abs(length - item["testlen"]), length) for length in item["reflen"])  # of two the shorter
        counts.append([*item["correct"], *item["guess"], item["testlen"], closest])
    columns = np.array(counts, dtype=float)
    return np.array(corpus), np.array(items), [Sums(f"bleu_{order}", columns) for order in (1, 2, 3, 4)]


def rouge_l(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """ROUGE-L with beta = 1.2 (docs/metrics.md, section 1.3): the mean, and float64 [items], in 0 to 1.

    An empty candidate scores 0, also against a reference without a word.

    >>> mean, items = rouge_l(["a dog barks", "rain"], [["a dog barks"], ["wind", "rain falls"]])
    >>> items.round(3).tolist()
    [1.0, 0.629]
    """
    from pycocoevalcap.rouge.rouge import Rouge

    candidates, references = require_pairs("Scoring", candidates, references)
    one_by_one = {number: [text] for number, text in enumerate(candidates)}
    _, items = Rouge().compute_score(dict(enumerate(map(list, references))), one_by_one)
    items = np.where([bool(candidate.strip()) for candidate in candidates], items, 0.0)
    return float(items.mean()), items


def cider_d(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """CIDEr-D (docs/metrics.md, section 1.5), called CIDEr in audio captioning: the mean, and float64 [items], 0 to 10.

    Document frequencies are those of the references given. With a single item every score is 0 by the formula. For
    repeated scoring against the same references use ``earwitness.metrics.cider.CiderD``.

    >>> cider_d(["a dog barks at night", "rain"], [["a dog barks at night"], ["the wind"]])[1].round(3).tolist()
    [10.0, 0.0]
    """
    candidates, references = require_pairs("Scoring", candidates, references)
    items = CiderD(references).score(candidates)
    return float(items.mean()), items


def meteor(candidates: Tokens, references: References) -> tuple[float, np.ndarray]:
    """METEOR 1.5, English, normalised (docs/metrics.md, section 1.4): the corpus value, and float64 [items], in 0 to 1.

    The corpus value pools the statistics; it is not the mean of the items' values. An empty candidate scores 0. Starts
    one JVM with a heap of 2 GB and ends it. Raises EarwitnessError when Java, the jar or its data are missing, or when
    the program fails.

    >>> corpus, items = meteor(["a dog barks", "rain"], [["a dog barks"], ["rain falls", "wind"]])
    >>> items.round(3).tolist()
    [1.0, 0.216]
    """
    return _meteor(candidates, references)[:2]


def _meteor(candidates: Tokens, references: References) -> tuple[float, np.ndarray, list[Sums]]:
    """METEOR with the statistics of each item that it pools."""
    candidates, references = require_pairs("Scoring", candidates, references)

    def plain(text: str) -> str:
        """The text without METEOR's separator, which would split it, and without double blanks."""
        return re.sub(" {2,}", " ", java.LINE_BREAKS.sub(" ", text).replace("|||", ""))

    archive = java.jar("meteor/meteor-1.5.jar")
    java.jar("meteor/data/paraphrase-en.gz")
    options: list[str | Path] = ["-XX:+UseSerialGC", "-Xmx2G", "-jar", archive, "-", "-", "-stdio", "-l", "en", "-norm"]
    with java.conversation("METEOR", options) as program:
        statistics = []
        with progress_bar("METEOR", len(candidates), "clip") as bar:
            for candidate, texts in zip(candidates, references, strict=True):
                program.say(" ||| ".join(["SCORE", *map(plain, texts), plain(candidate)]))
                statistics.append(program.hear())
                bar.update()
        program.say(" ||| ".join(["EVAL", *statistics]))
        answers = [program.hear() for _ in range(len(candidates) + 1)]
    try:
        *items, corpus = map(float, answers)
        columns = np.array([line.split() for line in statistics], dtype=float)
    except ValueError as error:
        raise EarwitnessError(f"METEOR gave something else than numbers: {error}") from error
    # METEOR sums them up so that a caption that matches its reference as a whole adds no chunk.
    lengths, chunks, words = columns[:, 0:2], columns[:, 20], columns[:, 21:23]
    whole = (chunks == 1) & (words == lengths).all(axis=1)
    pooled = np.concatenate([columns[:, :20], np.where(whole, 0, chunks)[:, None], words], axis=1)
    return corpus, np.array(items), [Sums("meteor", pooled)]


# Those of PTB tokens that need nothing but Python packages, with what they are computed by.
OF_TOKENS: dict[tuple[str, ...], Callable] = {
    ("bleu_1", "bleu_2", "bleu_3", "bleu_4"): _bleu,
    ("rouge_l",): rouge_l,
    ("meteor",): _meteor,
    ("cider_d",): cider_d,
}


def evaluate(
    candidates: Captions,
    references: ManyCaptions,
    tools: Tools | None = None,
    metrics: str | Iterable[str] | None = None,
) -> Evaluation:
    """Metrics of captions as written: one caption and a list of references for each clip id.

    Both may be parallel lists or arrays instead; the ids are then the positions from 0.

    ``metrics`` are names of ``earwitness.metrics.catalogue`` or of ``SETS``; None computes all. Only what they need is
    computed: no JVM starts for METEOR or SPICE unless they, or a metric made of them, are asked for.

    Clips come out in the order of ``references``. A metric that cannot be computed is None with its reason and the
    others stand; CIDEr-D of a single clip is one of these, where the formula would give 0 to any caption. A metric
    that depends on a model carries its name (``sbert_sim.all-MiniLM-L6-v2``): two models' values are two metrics.

    Raises EarwitnessError for captions that ``validate`` refuses, unknown metrics, and when the tokeniser cannot run.

    >>> candidates = {"a.wav": "A dog barks.", "b.wav": "Rain"}
    >>> references = {"a.wav": ["A dog barks!", "A barking dog"], "b.wav": ["It rains."]}
    >>> result = evaluate(candidates, references, metrics=["bleu_1", "cider_d"])
    >>> {name: round(entry["value"], 3) for name, entry in result.metrics.items()}
    {'bleu_1': 0.584, 'cider_d': 2.292}
    >>> result.items["cider_d"].round(3).tolist()
    [4.583, 0.0]
    """
    if tools is not None and not isinstance(tools, Tools):
        raise EarwitnessError(f"tools are {described(tools)}; captions.Tools(...) is needed.")
    candidates, references = _validated(candidates, references)
    wanted = chosen(metrics, SETS, NAMES)
    needed = {part for name in wanted for part in (name, *PARTS.get(name, ()))}
    ids = list(references)
    captions, annotated = [candidates[clip] for clip in ids], list(references.values())
    tokens, references_tokens = tokenize(captions, annotated) if needed - OF_TEXT else ([], [])
    tools, results = tools or Tools(), _Results()
    for names, function in OF_TOKENS.items():
        if function is cider_d and len(ids) == 1:
            results.lack(names, "CIDEr-D needs at least two clips: the only clip's words all weigh 0.")
        elif not needed.isdisjoint(names):
            results.add(names, partial(function, tokens, references_tokens))
    if "spice" in needed:
        results.add(["spice"], lambda: spice.spice(tokens, references_tokens, tools.spice_settings()))
    if "spider" in needed:
        _add_spider(results)
    if not needed.isdisjoint(OF_TEXT):
        _add_model_metrics(results, needed, captions, annotated, tools)
    if not needed.isdisjoint(vocabulary.NAMES):
        results.metrics |= vocabulary.vocabulary(tokens, references_tokens)
    tables: tuple[dict[str, Any], ...] = (results.metrics, results.items, results.statistics)
    found, items, statistics = (
        {name: value for name, value in of.items() if name.split(".")[0] in wanted} for of in tables
    )
    return Evaluation(found, items, statistics, ids, tokens, references_tokens)


class _Results:
    """Metrics as they are computed, one after another."""

    def __init__(self) -> None:
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
    """SPIDEr is the mean of CIDEr-D and SPICE (docs/metrics.md, section 1.7)."""
    lacking = [
        f"{find(name).label}: {results.metrics[name]['reason']}"
        for name in ("cider_d", "spice")
        if name not in results.items
    ]
    if lacking:
        results.lack(["spider"], f"SPIDEr needs {joined(lacking)}")
    else:
        items = (results.items["cider_d"] + results.items["spice"]) / 2
        results.add(["spider"], lambda: (items.mean(), items))


def _add_model_metrics(
    results: _Results, needed: Set[str], captions: list[str], references: list[list[str]], tools: Tools
) -> None:
    """SBERT-sim and FER, and SPIDEr and SBERT-sim with FER's penalty (docs/metrics.md, section 1.8)."""

    def add(name: str, module: ModuleType, option: str | PathLike, compute: Callable) -> str:
        """Add what ``compute`` gives for the model's folder; the metric's name with the model's, where there is one."""
        try:
            folder = module.find(option)
            name = f"{name}.{module.label(folder)}"
        except EarwitnessError as error:
            results.lack([name], str(error))
        else:
            results.add([name], partial(compute, folder))
        return name

    def errors(folder: Path) -> tuple[float, np.ndarray]:
        return fluency.fluency_error_rate(fluency.errors(fluency.probabilities(captions, folder)))

    similarity = partial(sentences.similarity, captions, references)
    sbert_sim = add("sbert_sim", sentences, tools.similarity, similarity) if "sbert_sim" in needed else ""
    fer = add("fer", fluency, tools.fluency, errors) if "fer" in needed else ""
    for name, penalise, values in (("spider_fl", fluency.spider_fl, "spider"), ("fense", fluency.fense, sbert_sim)):
        if name not in needed:
            continue
        name = ".".join([name, *values.split(".")[1:], *fer.split(".")[1:]])
        lacking = dict.fromkeys(results.metrics[part]["reason"] for part in (values, fer) if part not in results.items)
        if lacking:
            results.lack([name], joined(lacking))
        else:
            results.add([name], partial(penalise, results.items[values], results.items[fer]))
