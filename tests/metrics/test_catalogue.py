import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import catalogue
from earwitness.metrics.catalogue import HEADLINES, KINDS, METRICS, find, of_kind
from earwitness.metrics.grounding import Options
from earwitness.metrics.vocabulary import NAMES as VOCABULARY


def test_every_metric_is_in_the_tables_order_under_its_name():
    captioning = [metric.name for metric in of_kind("captioning")]
    assert captioning[:9] == [
        *(f"bleu_{n}" for n in (1, 2, 3, 4)), "rouge_l", "meteor", "cider_d", "spice", "spider",
    ]  # fmt: skip
    assert captioning[9:] == ["sbert_sim", "fer", "spider_fl", "fense", *VOCABULARY]
    ways = [[metric.name[:3] for metric in of_kind("retrieval")], [metric.name for metric in of_kind("retrieval")]]
    assert ways[0] == ["t2a"] * 9 + ["a2t"] * 9
    assert ways[1][:9] == [f"t2a_{n}" for n in ("r1", "r5", "r10", "r50", "medr", "meanr", "gmean", "map10", "map16")]
    assert [metric for kind in KINDS for metric in of_kind(kind)] == list(METRICS.values())
    assert all(name == metric.name and metric.label for name, metric in METRICS.items())
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_what_tables_need_to_know():
    assert (find("cider_d").label, find("vocab_candidates").label) == ("CIDEr-D", "Vocabulary")
    lower = {name for name, metric in METRICS.items() if metric.higher_is_better is False}
    ranks = {f"{way}_{name}" for way in ("t2a", "a2t") for name in ("medr", "meanr")}
    rates = {f"{unit}_er{suffix}" for unit in ("segment", "event") for suffix in ("", "_macro")}
    assert lower == {"fer", *ranks, *rates}
    assert find("vocab_candidates").higher_is_better is None and find("vocab_candidates").digits == 0
    always = [metric.name for metric in of_kind("captioning") if metric.column]
    assert always[0] == "bleu_1" and always[-1] == "spider" and len(always) == 9
    assert [metric.name for metric in of_kind("captioning") if metric.column is False] == [
        "sbert_sim", "fer", "spider_fl", "fense", "vocab_candidates",
    ]  # fmt: skip
    for kind, names in HEADLINES.items():
        assert all(METRICS[name].kind == kind and METRICS[name].is_mean for name in names)
    assert HEADLINES.keys() == set(KINDS)


def test_names_that_carry_models_or_a_rate():
    metric = find("fense.all-MiniLM-L6-v2.echecker_clotho_audiocaps_base")
    assert metric.label == "FENSE (all-MiniLM-L6-v2, echecker_clotho_audiocaps_base)"
    assert (metric.kind, metric.is_mean, metric.column) == ("captioning", True, False)
    assert find("fer.x").higher_is_better is False and find("fer.x").name == "fer.x"
    assert find("psds_50").label == "PSDS (50 false detections per hour)" and find("psds_50").kind == "grounding"
    rates = [find(name) for name in ("psds_0.5", "psds_1e+06", "psds_x")]
    among = find("a2t_r5_sampled30")
    assert among.kind == "retrieval" and among.is_mean and "30" in among.label and among.column is False
    assert find("a2t_r7_sampled30").kind == ""
    assert [metric.kind for metric in rates] == ["grounding", "grounding", ""]


@pytest.mark.parametrize("name", ["Bleu_4", "BLEU-1", "METEOR", "t2a_medr", "segment_f1", "psds_400", "x_macro"])
def test_names_that_are_no_means(name):
    assert not find(name).is_mean


def test_a_name_from_another_table_is_its_label():
    metric = find("My Score")
    assert (metric.name, metric.label, metric.kind, metric.is_mean) == ("My Score", "My Score", "", True)
    assert metric.higher_is_better is None and metric.column is False
    assert find("SPIDEr").is_mean


def test_the_guess_by_name_agrees_with_what_is_known():
    assert {name for name in METRICS if not METRICS[name].is_mean} == {
        name for name in METRICS if catalogue._NO_MEAN.fullmatch(name.replace("_", ""))
    }


def test_default_rates_of_psds_are_listed():
    assert [METRICS[name].kind for name in ("psds", *(f"psds_{rate:g}" for rate in Options().e_max[1:]))] == [
        "grounding", "grounding",
    ]  # fmt: skip


def test_an_unknown_kind_is_refused():
    with pytest.raises(EarwitnessError, match="captioning") as told:
        of_kind("captions")
    assert "'captions'" in str(told.value)
