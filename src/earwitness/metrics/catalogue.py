"""The metrics by name: how tables label, order, round and compare them.

This is the one place that knows metrics by their names. ``METRICS`` lists them in the order of a table's rows or
columns; ``find`` also answers for metrics that carry the names of models, and for those of anybody's tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from earwitness.errors import EarwitnessError, listed, nearest

KINDS = ("captioning", "retrieval", "grounding", "moments")
CUTS = (1, 5, 10, 50)  # k of R@k
# Names from other tables whose corpus value is not the mean of the clips' values, by their letters and digits.
_NO_MEAN = re.compile(
    r"bleu\d?|meteor|.*(medr|medianrank|gmean|macro)|(frame|segment|event)(precision|recall|f1|er).*|psds.*|thauc.*|vocab.*"
)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        kind: one of ``KINDS``, the kind of prediction that it scores; empty for a name that is not known.
        higher_is_better: None where neither direction is better, as with the size of a vocabulary.
        is_mean: whether the corpus value is the mean of the items' values.
        digits: decimals in a table.
        column: whether the comparison page has a column for it. True: always, even where it could not be computed;
            False: where some experiment has a value; None: never.
        references: what to cite, as keys of ``report/references.bib``.
    """

    name: str
    label: str
    kind: str
    higher_is_better: bool | None = True
    is_mean: bool = True
    digits: int = 3
    column: bool | None = True
    references: tuple[str, ...] = ()


def _captioning() -> Iterable[Metric]:
    def metric(name: str, label: str, **properties: Any) -> Metric:
        return Metric(name, label, "captioning", **properties)

    yield from (
        metric(f"bleu_{order}", f"BLEU-{order}", is_mean=False, references=("papineni2002bleu",))
        for order in (1, 2, 3, 4)
    )
    yield metric("rouge_l", "ROUGE-L", references=("lin2004rouge",))
    yield metric("meteor", "METEOR", is_mean=False, references=("denkowski2014meteor",))
    yield metric("cider_d", "CIDEr-D", references=("vedantam2015cider",))
    yield metric("spice", "SPICE", references=("anderson2016spice",))
    yield metric("spider", "SPIDEr", references=("liu2017spider",))
    # Of a model, whose name follows these after a dot.
    yield metric("sbert_sim", "SBERT-sim", column=False, references=("zhou2022fense", "reimers2019sbert"))
    yield metric("fer", "FER", higher_is_better=False, column=False, references=("zhou2022fense",))
    yield metric("spider_fl", "SPIDEr-FL", column=False, references=("liu2017spider", "zhou2022fense"))
    yield metric("fense", "FENSE", column=False, references=("zhou2022fense", "reimers2019sbert"))
    size = {"higher_is_better": None, "is_mean": False}
    yield metric("vocab_candidates", "Vocabulary", digits=0, column=False, **size)
    yield metric("vocab_references", "Vocabulary of the references", digits=0, column=None, **size)
    yield metric("vocab_ratio", "Vocabulary ratio", column=None, **size)
    yield metric("vocab_references_avg", "Vocabulary of one reference", digits=1, column=None, **size)
    yield metric("vocab_ratio_avg", "Vocabulary ratio to one reference", column=None, **size)
    for name, label in {"precision": "precision", "recall": "recall", "f1": "F1", "jaccard": "Jaccard index"}.items():
        yield metric(f"vocab_{name}", f"Vocabulary {label}", is_mean=False, column=None)


def _retrieval() -> Iterable[Metric]:
    for way, label in {"t2a": "text to audio", "a2t": "audio to text"}.items():

        def metric(name: str, text: str, way: str = way, label: str = label, **properties: Any) -> Metric:
            properties = {"references": ("koepke2022retrieval",), **properties}
            return Metric(f"{way}_{name}", f"{text} ({label})", "retrieval", **properties)

        yield from (metric(f"r{cut}", f"R@{cut}") for cut in CUTS)
        yield metric("medr", "MedR", higher_is_better=False, is_mean=False, digits=1)
        yield metric("meanr", "MeanR", higher_is_better=False, digits=1)
        yield metric("gmean", "Geometric mean of R@1, 5, 10", is_mean=False, column=False)
        yield metric("map10", "mAP@10", references=("xie2022retrieval",))
        yield metric("map16", "mAP@16", column=False, references=("xie2022retrieval",))


def _grounding() -> Iterable[Metric]:
    def metric(name: str, label: str, is_mean: bool = False, **properties: Any) -> Metric:
        properties = {"references": ("mesaros2016metrics",), **properties}
        return Metric(name, label, "grounding", is_mean=is_mean, **properties)

    scores = {"precision": "precision", "recall": "recall", "f1": "F1"}
    psds = ("bilen2020psds", "ebbers2022threshold")
    yield from (metric(f"frame_{name}", f"Frame {label}") for name, label in scores.items())
    yield metric("frame_f1_best", "Frame F1, best threshold")
    yield metric("frame_f1_all_active", "Frame F1, every frame active", higher_is_better=None, column=None)
    yield metric("frame_f1_all_silent", "Frame F1, no frame active", higher_is_better=None, column=None)
    for suffix, note in {"": "", "_macro": ", mean of classes"}.items():
        column = not suffix
        for unit in ("segment", "event"):
            for name, label in scores.items():
                yield metric(f"{unit}_{name}{suffix}", f"{unit.capitalize()} {label}{note}", column=column)
            label = f"{unit.capitalize()} error rate{note}"
            yield metric(f"{unit}_er{suffix}", label, higher_is_better=False, column=column)
        if not suffix:
            yield metric("psds", "PSDS", references=psds)
            yield metric("psds_400", "PSDS (400 false detections per hour)", references=psds)
            yield metric("th_auc", "Th-AUC", references=("xu2024weakly",))
            yield metric("th_auc_02_08", "Th-AUC (0.2 to 0.8)", references=("xu2024weakly",))
            yield metric("miou", "mIoU", is_mean=True, references=())
    # The page has loudness and random as baselines.
    for control, on_page in {"loudness": None, "random": None, "swapped": False}.items():
        name = "swapped phrases" if control == "swapped" else control
        shown: dict[str, Any] = {"higher_is_better": None, "column": on_page}
        yield metric(f"frame_f1_{control}", f"Frame F1 of {name}", **shown)
        yield metric(f"psds_{control}", f"PSDS of {name}", references=psds, **shown)
        yield metric(f"psds_400_{control}", f"PSDS of {name} (400 false detections per hour)", references=psds, **shown)


def _moments() -> Iterable[Metric]:
    names = {"r1_50": "R1@0.5", "r1_70": "R1@0.7", "map_50": "mAP@0.5", "map_75": "mAP@0.75", "map_avg": "mAP"}
    lengths = {"short": "up to 10 s", "middle": "10 to 30 s", "long": "30 to 150 s"}
    for name, label in names.items():
        yield Metric(name, f"{label} of moments", "moments", references=("lei2021detecting",))
    for length, seconds in lengths.items():
        for name, label in names.items():
            more: dict[str, Any] = {"column": False if name == "map_avg" else None, "references": ("lei2021detecting",)}
            yield Metric(f"{name}_{length}", f"{label} of moments of {seconds}", "moments", **more)


METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*_captioning(), *_retrieval(), *_grounding(), *_moments())
}
# By kind the metrics whose clips are shown as those that moved most, the first that is there.
HEADLINES: dict[str, tuple[str, ...]] = {
    "captioning": ("spider", "cider_d"),
    "retrieval": ("t2a_map10", "t2a_r10", "t2a_r1"),
    "grounding": ("miou",),
    "moments": ("r1_70", "map_avg", "r1_50"),
}


def find(name: str) -> Metric:
    """The metric of a name, whatever the name.

    A name may carry models' names after dots (``sbert_sim.all-MiniLM-L6-v2``), a rate after ``psds_``, or a number of
    candidates after a recall (``t2a_r1_sampled30``). An unknown name is its label; ``is_mean`` is then a guess by the
    name.

    >>> find("sbert_sim.all-MiniLM-L6-v2").label
    'SBERT-sim (all-MiniLM-L6-v2)'
    >>> find("BLEU-4").is_mean
    False
    """
    if name in METRICS:
        return METRICS[name]
    base, *models = name.split(".")
    if base in METRICS and all(models):
        return replace(METRICS[base], name=name, label=f"{METRICS[base].label} ({', '.join(models)})")
    if (sampled := re.fullmatch(r"([at]2[at]_r\d+)_sampled(\d+)", name)) and sampled[1] in METRICS:
        label = f"{METRICS[sampled[1]].label}, among {sampled[2]} drawn"
        return replace(METRICS[sampled[1]], name=name, label=label, column=False, references=())
    if rate := re.fullmatch(r"psds_(\d[\d.e+]*)", name):
        return replace(METRICS["psds"], name=name, label=f"PSDS ({rate[1]} false detections per hour)", column=False)
    is_mean = _NO_MEAN.fullmatch(re.sub("[^a-z0-9]", "", name.lower())) is None
    return Metric(name, name, "", higher_is_better=None, is_mean=is_mean, column=False)


def of_kind(kind: str) -> list[Metric]:
    """The metrics of a kind of prediction, in the order of tables; EarwitnessError for a kind that there is none of.

    >>> [metric.label for metric in of_kind("captioning")][:2]
    ['BLEU-1', 'BLEU-2']
    """
    if kind not in KINDS:
        raise EarwitnessError(f"There are no metrics of the kind {kind!r}: {nearest(kind, KINDS)}")
    return [metric for metric in METRICS.values() if metric.kind == kind]


def chosen(asked: str | Iterable[str] | None, sets: Mapping[str, Sequence[str]], known: Sequence[str]) -> list[str]:
    """The metrics asked for by their names and the names of sets, in the order of ``known``; None asks for all.

    Raises EarwitnessError for names that are in neither, each with the nearest ones.

    >>> chosen(["means", "medr"], {"means": ["r1", "r5"]}, ["medr", "r1", "r5", "r10"])
    ['medr', 'r1', 'r5']
    """
    if asked is None:
        return list(known)
    if not isinstance(asked, Iterable):
        raise EarwitnessError(f"The metrics are {asked!r}: the names of metrics or sets are needed, one or a list.")
    names = [asked] if isinstance(asked, str) else list(asked)
    valid = {*sets, *known}
    unknown = [f"{name!r}: {nearest(name, valid)}" for name in dict.fromkeys(names) if name not in valid]
    if unknown or not names:
        raise EarwitnessError(listed("These metrics are not known:", unknown or ["no metric is asked for"]))
    wanted = {metric for name in names for metric in sets.get(name, (name,))}
    return [name for name in known if name in wanted]
