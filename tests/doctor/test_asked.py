"""What a target takes, and which configuration holds."""

import pytest

from earwitness.doctor.asked import EXPERIMENT, ask, read_config
from earwitness.errors import ConfigError, EarwitnessError


@pytest.mark.parametrize(
    ("target", "stages", "features", "experiments"),
    [
        ("own", EXPERIMENT | {"page"}, ["mel"], ["small", "other"]),
        ("results/own/comparison.html", EXPERIMENT | {"page"}, ["mel"], ["small", "other"]),
        ("results/own/other/metrics.json", EXPERIMENT, ["mel"], ["other"]),
        ("results/own/other/seed-1/model.json", EXPERIMENT, ["mel"], ["other"]),
        ("results/own/corpus/clips.csv", set(), [], []),
        ("results/own/corpus/trivial.json", {"score"}, [], []),
        ("results/own/corpus/leaks.json", {"leaks"}, [], []),
        ("results/own/features/mel/evaluation.h5", {"features"}, ["mel"], []),
        ("results/own/text/words/vocabulary.json", {"text"}, [], []),
    ],
)
def test_what_a_target_takes(repository, target, stages, features, experiments):
    need = repository.ask(target).needs["own"]
    assert need.stages == stages | {"corpus"}
    assert (list(need.features), list(need.experiments)) == (features, experiments)


def test_several_targets_are_taken_together(repository):
    asked = repository.ask(
        "results/own/small/metrics.json", "results/mini/audio", "results/own/text/words/word2vec.bin"
    )
    assert {name: list(need.experiments) for name, need in asked.needs.items()} == {"own": ["small"], "mini": []}
    assert [(dataset, name) for dataset, name, _ in asked.experiments()] == [("own", "small")]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nini", "data set 'nini': did you mean 'mini'"),
        ("results/nini/comparison.html", "data set 'nini'"),
        ("results/mini/smal/metrics.json", "experiment 'smal': did you mean 'small'"),
        ("results/mini/small/metric.json", "no rule makes this file"),
        ("results/mini/features/mle/evaluation.h5", "feature 'mle': did you mean 'mel'"),
        ("results/mini/text/word/vocabulary.json", "text 'word': did you mean 'words'"),
        ("results/own/audio", "no rule makes this file"),
        ("elsewhere/mini/comparison.html", "no rule makes this file"),
    ],
)
def test_what_nothing_makes_is_refused(repository, target, told):
    with pytest.raises(ConfigError, match=told):
        repository.ask(target)


def test_data_sets_that_the_leak_audit_reads_are_needed_too(repository):
    repository.entries["id_lists"] = {"seen": {"dataset": "own"}, "made": {"dataset": "clotho"}}
    repository.entries["datasets"]["mini"]["audit"] = ["seen", "made"]
    assert list(repository.ask("mini").needs) == ["mini", "clotho"]  # own has no folder, and is left out of the audit
    (repository.folder / "own").mkdir()
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
    [("- a list", "needs keys at its top level"), ("a: [", "cannot be read"), (None, "No such file")],
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
    with pytest.raises(EarwitnessError, match="in the folder that holds the Snakefile"):
        read_config()
