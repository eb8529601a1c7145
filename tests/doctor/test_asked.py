"""What a target takes, and which configuration holds."""

import re
from pathlib import Path

import pytest

from earwitness import registry
from earwitness.doctor.asked import ask, read_config
from earwitness.errors import ConfigError, EarwitnessError

OUTPUTS = ("model.safetensors", "model.json", "events.jsonl")  # of a training
TRAINING = {"features", "text", "train"}
SCORES = TRAINING | {"predict", "score"}
EXPERIMENT = SCORES | {"leaks"}
GRID = {"extends": "small", "decode": {"beam": {"sweep": [1, 2]}}, "baseline": "other"}


@pytest.mark.parametrize(
    ("target", "stages", "features", "experiments"),
    [
        ("own", EXPERIMENT | {"page", "baselines"}, ["mel"], ["small", "other"]),
        ("results/own/comparison.html", EXPERIMENT | {"page", "baselines"}, ["mel"], ["small", "other"]),
        ("results/own/other/metrics.json", EXPERIMENT, ["mel"], ["other"]),
        ("results/own/other/seed-1/model.json", TRAINING, ["mel"], ["other"]),
        ("results/own/other/seed-1/captions.csv", TRAINING | {"predict"}, ["mel"], ["other"]),
        ("results/own/other/seed-1/captioning/scores.csv", SCORES, ["mel"], ["other"]),
        ("results/own/corpus/clips.csv", set(), [], []),
        ("results/own/baselines/captioning.json", {"score", "baselines"}, [], []),
        ("results/own/baselines/retrieval.json", {"baselines"}, [], []),
        ("results/own/corpus/leaks.json", {"leaks"}, [], []),
        ("results/own/features/mel/evaluation.h5", {"features"}, ["mel"], []),
        ("results/own/text/words/vocabulary.json", {"text"}, [], []),
    ],
)
def test_what_a_target_takes(repository, target, stages, features, experiments):
    need = repository.ask(target).needs["own"]
    assert need.stages == stages | {"corpus"}
    assert (list(need.features), list(need.experiments)) == (features, experiments)


def test_a_study_takes_what_its_experiments_take(repository):
    repository.entries["experiments"]["grid"] = GRID
    for name in ("grid", "grid.html", "grid.csv", "grid.json"):
        need = repository.ask(f"results/own/studies/{name}").needs["own"]
        assert need.stages == EXPERIMENT | {"corpus"} and list(need.experiments) == ["other", "grid-1", "grid-2"]


@pytest.mark.parametrize(
    ("target", "splits"),
    [
        ("results/own/corpus/leaks.json", set()),
        ("results/own/features/mel/validation.h5", {"validation"}),
        ("results/own/text/words/word2vec.bin", {"development"}),
        ("results/own/small/seed-0/events.jsonl", {"development", "validation"}),
        ("results/own/small/seed-0/captions.csv", {"development", "validation", "evaluation"}),
        ("results/own/baselines/captioning.json", {"development", "validation", "evaluation"}),
    ],
)
def test_the_splits_that_a_target_needs(repository, target, splits):
    assert set(repository.ask(target).needs["own"].splits) == splits


def made_by_rules():
    """Every file of a data set that the rules make, with names of the test's configuration for the wildcards."""
    rules = [path.read_text(encoding="utf-8") for path in Path(__file__).parents[2].glob("rules/*.smk")]
    paths = {path for text in rules for path in re.findall(r'(?<!f)"(results/{dataset}/[^"]*[^"/}])"', text)}
    lists = {key: text for text in rules for key, text in re.findall(r"^(\w+_FILES) = \((.*)\)$", text, re.MULTILINE)}
    assert lists.keys() == {"CORPUS_FILES", "SCORE_FILES"}
    names = {key: re.findall(r'"([^"]+)"', text) for key, text in lists.items()}
    paths |= {f"results/{{dataset}}/corpus/{name}" for name in names["CORPUS_FILES"]}
    seed, kind = "results/{dataset}/small/seed-0", registry.kind("captioning")
    of_kind = [*names["SCORE_FILES"], "prediction.json"]
    paths |= {f"{seed}/{name}" for name in (*OUTPUTS, *kind.files, *(f"captioning/{name}" for name in of_kind))}
    filled = {"dataset": "mini", "feature": "mel", "split": "evaluation", "text": "words", "kind": "captioning"}
    filled |= {"other": "theirs", "clap": "mel", "sweep": "grid"}
    return sorted({path.format(**filled, experiment="small", seed=0) for path in paths})


@pytest.mark.parametrize("target", made_by_rules())
def test_what_rules_make_is_taken(repository, target):
    repository.entries["datasets"]["mini"]["others"] = {"theirs": "scores/theirs"}
    repository.entries["texts"]["mel"] = {"kind": "word_vectors"}
    repository.entries["experiments"]["grid"] = GRID
    assert "corpus" in repository.ask(target).needs["mini"].stages


@pytest.mark.parametrize(
    "target", ["shot/metrics.json", "features/clap/validation.h5", "clap/clap/gap.json", "text/clap/vectors.h5"]
)
def test_what_a_clap_is_trained_on_is_needed(repository, target):
    of = {"experiment": "found", "dataset": "mini"}
    repository.entries["features"]["clap"] = {"extractor": "retriever", **of}
    repository.entries["texts"] |= {"clap": {"kind": "retriever", **of}, "vectors": {"kind": "word_vectors"}}
    repository.entries["experiments"] |= {
        "found": {"system": "atr", "features": ["mel"], "text": "vectors"},
        "shot": {"system": "zeroshot", "clap": "clap"},
    }
    needs = repository.ask(f"results/own/{target}").needs
    assert list(needs["own"].features) == ([] if target.startswith("text") else ["clap", "mel"])
    assert "train" not in needs["own"].stages
    assert needs["mini"].stages == {"corpus", "features", "text", "train"}
    assert list(needs["mini"].experiments) == ["found"] and list(needs["mini"].features) == ["mel"]


@pytest.mark.parametrize("target", ["./results/mini/comparison.html", "results//mini/../mini/comparison.html", "all"])
def test_targets_are_written_as_for_snakemake(repository, target):
    assert repository.ask(target).needs == repository.ask("mini").needs


@pytest.mark.parametrize(
    "target", ["results/mlflow-store.json", "tracking_store", "resources/spice/jars.json", "spice_jars"]
)
def test_the_store_and_the_jars_are_of_no_data_set(repository, target):
    assert repository.ask(target).needs == {}


@pytest.mark.parametrize("target", ["resources/clotho/fetched.json", "./resources/clotho/fetched.json"])
def test_what_is_fetched_is_a_target(repository, target):
    repository.entries["datasets"] |= {"again": repository.entries["datasets"]["clotho"] | {"split_scheme": "mine"}}
    assert {name: need.stages for name, need in repository.ask(target).needs.items()} == {"clotho": {"fetch"}}
    both = repository.ask("results/clotho/corpus/clips.csv", target)
    assert both.needs["clotho"].stages == {"corpus", "fetch"}


def test_several_targets_are_taken_together(repository):
    asked = repository.ask(
        "results/own/small/metrics.json", "results/mini/audio", "results/own/text/words/word2vec.bin"
    )
    assert {name: list(need.experiments) for name, need in asked.needs.items()} == {"own": ["small"], "mini": []}
    assert [(dataset, name) for dataset, name, _ in asked.experiments()] == [("own", "small")]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nini", "data set 'nini'.*'mini'"),
        ("results/nini/comparison.html", "data set 'nini'"),
        ("results/mini/smal/metrics.json", "experiment 'smal'.*'small'"),
        ("results/mini/small/metric.json", "no rule"),
        ("results/mini/features/mle/evaluation.h5", "feature 'mle'.*'mel'"),
        ("results/mini/text/word/vocabulary.json", "text 'word'.*'words'"),
        ("results/own/audio", "no rule"),
        ("results/own/corpus/nonsense.csv", "no rule"),
        ("results/own/corpus/more/clips.csv", "no rule"),
        ("results/own/features/mel/test.h5", "no rule"),
        ("results/own/text/words/words.json", "no rule"),
        ("results/own/small/seed-0/weights.bin", "no rule"),
        ("results/own/small/seed-one/model.json", "no rule"),
        ("elsewhere/mini/comparison.html", "no rule"),
        ("elsewhere/nini/comparison.html", "no rule"),
        ("own/fetched.json", "no rule"),
    ],
)
def test_what_nothing_makes_is_refused(repository, target, told):
    with pytest.raises(ConfigError, match=told):
        repository.ask(target)


def test_data_sets_that_the_leak_audit_reads_are_needed_too(repository):
    repository.entries["id_lists"] = {"seen": {"dataset": "own"}, "made": {"dataset": "clotho"}}
    repository.entries["datasets"]["mini"]["audit"] = ["seen", "made"]
    assert list(repository.ask("mini").needs) == [
        "mini"
    ]  # the audit goes without what is not there, and fetches nothing
    (repository.folder / "own").mkdir()
    assert list(repository.ask("mini").needs) == ["mini", "own"]
    repository.put("resources/clotho/fetched.json", "{}")
    assert list(repository.ask("mini").needs) == ["mini", "own", "clotho"]
    assert repository.ask("mini").needs["clotho"].stages == {"corpus"}


def test_configurations_are_merged_key_by_key(repository):
    one = repository.put("one.yaml", "experiments: {small: {train: {devices: 2}}}\ndatasets: {own: {audio: one}}")
    two = repository.put("two.yaml", "datasets: {own: {audio: two}, more: {layout: mini}}")
    config = read_config([one, two])
    train = config.experiment("mini", "small").train
    assert (train.devices, train.threads) == (2, 1)
    assert config.datasets["own"].audio == "two" and config.datasets["own"].layout == "clotho"
    assert "more" in ask(config, ["more"]).needs


@pytest.mark.parametrize(
    ("content", "told"),
    [("- a list", "keys"), ("a: [", "cannot be read"), (None, "No such file")],
)
def test_files_that_are_no_configuration(repository, content, told):
    path = repository.folder / "more.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EarwitnessError, match=told) as caught:
        read_config([path])
    assert "more.yaml" in str(caught.value)


def test_it_is_called_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarwitnessError, match="Snakefile"):
        read_config()
