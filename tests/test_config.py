"""What a wrong configuration is answered with, and which settings win."""

import copy
import json
import re
import subprocess
import sys

import pytest
import yaml

from earwitness import config as module
from earwitness.config import RESERVED, Config, schema, validated
from earwitness.errors import ConfigError
from earwitness.expand import merge
from earwitness.options import VocabularyOptions
from earwitness.systems.cl4ac.options import Cl4acOptions
from tests.places import ROOT

ENTRIES = {
    "datasets": {"mini": {"layout": "mini"}, "clotho": {"layout": "clotho", "audio": "resources/clotho"}},
    "features": {"logmel-cl4ac": {"extractor": "logmel", "seconds": 30}},
    "texts": {"cl4ac": {"word2vec": {"size": 64, "passes": 10}}},
    "experiments": {
        "cl4ac": {"system": "cl4ac", "feature": "logmel-cl4ac", "text": "cl4ac", "optim": {"lr": 0.1}},
        "cl4ac-baseline": {"system": "cl4ac", "feature": "logmel-cl4ac", "text": "cl4ac"},
    },
}


def changed(**sections):
    """A copy of the entries, with some sections replaced."""
    return copy.deepcopy(ENTRIES | sections)


def set_at(content, path, value):
    for key in path[:-1]:
        content = content.setdefault(key, {})
    content[path[-1]] = value


def problems_of(content):
    with pytest.raises(ConfigError) as caught:
        Config(content)
    heading, *lines = str(caught.value).splitlines()
    assert heading == "The configuration is not valid:"
    return [line.removeprefix("  - ") for line in lines]


def test_the_entries_are_valid():
    assert list(Config(ENTRIES).experiments) == ["cl4ac", "cl4ac-baseline"]


def test_the_readmes_examples_are_valid_and_name_what_there_is():
    content = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    for block in blocks:
        content = merge(content, yaml.safe_load(block))
    config = Config(content)
    assert {"mine"} <= set(config.datasets) and not config.misfits("mine", "atr-mine")
    mine = config.experiment("mine", "atr-mine")
    assert (
        not config.text("mine", mine.text).checkpoints() and not config.feature("mine", mine.features[0]).checkpoints()
    )


def test_the_repository_config_is_valid():
    config = Config(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8")))
    assert {"mini", "clotho"} <= set(config.datasets)
    for dataset in config.datasets:
        for name in config.experiments_of(dataset):
            experiment = config.experiment(dataset, name)
            assert all(config.feature(dataset, use.entry) for use in experiment.used("features"))
            assert all(config.text(dataset, use.entry) for use in experiment.used("text"))
            assert config.misfits(dataset, name) == []


def test_the_published_grid_of_retrieval_is_configured():
    config = Config(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8")))
    published = {
        "atr": ("cnn14", "netrvlad"), "atr-vlad": ("cnn14", "netvlad"), "atr-mean": ("cnn14", "mean"),
        "atr-max": ("cnn14", "max"), "atr-lstm": ("cnn14", "lstm"), "atr-transformer": ("cnn14", "transformer"),
        **{f"atr-{name}": (name, "netrvlad") for name in ("lms", "vggish", "vggsound", "cnn10", "efficient-latent")},
    }  # fmt: skip
    for name, (feature, pooling) in published.items():
        experiment = config.experiment("clotho", name)
        assert (experiment.features, experiment.pooling) == ([feature], pooling)
        assert (experiment.optim.kind, experiment.optim.lr, experiment.train.batch_size) == ("ranger", 0.01, 128)
    grid = [config.experiment("clotho", name) for name in config.experiments if name.startswith("atr-grid-")]
    assert len({(*entry.features, entry.pooling) for entry in grid}) == len(grid) == 30
    assert not any(name.startswith("atr-grid") for name in config.experiments_of("clotho"))


@pytest.mark.parametrize(
    ("path", "value", "answer"),
    [
        ("datsets", {}, "datsets: no such key; did you mean 'datasets' or"),
        ("features.logmel-cl4ac.fmn", 5, "features.logmel-cl4ac.fmn: no such key; did you mean 'fmin' or 'fmax'?"),
        ("datasets.clotho.audoi", 5, "datasets.clotho.audoi: no such key; did you mean 'audit' or 'audio'?"),
        (
            "experiments.cl4ac.loss.contrastive_wieght",
            0,
            "experiments.cl4ac.loss.contrastive_wieght: no such key; did you mean 'contrastive_weight'?",
        ),
        ("texts.cl4ac.word2vec.passes", "ten", "texts.cl4ac.word2vec.passes: 'ten'; input should be a valid integer"),
        ("texts.cl4ac.pad_is_eos", 1, "texts.cl4ac.pad_is_eos: 1; input should be a valid boolean"),
        ("experiments.cl4ac.train.epochs", 0, "experiments.cl4ac.train.epochs: 0; input should be greater than 0"),
        ("experiments.cl4ac.decoder.dropout", 1, "experiments.cl4ac.decoder.dropout: 1; input should be less than 1"),
        ("experiments.cl4ac.optim.lr", float("nan"), "input should be a finite number"),
        ("experiments.cl4ac.optim.lr", "1e-3", "is text to YAML; write 0.001"),
        ("experiments.cl4ac.seeds", [0, 0], "[0, 0]"),
        ("experiments.cl4ac.seeds", [1 << 64], f"experiments.cl4ac.seeds.0: {1 << 64}"),
        ("experiments.cl4ac.seeds", [int("1" * 20)], f"experiments.cl4ac.seeds.0: {'1' * 20}; it ends with '1'"),
        ("texts.cl4ac.word2vec.seed", 1 << 32, f"texts.cl4ac.word2vec.seed: {1 << 32}"),
        ("texts.cl4ac", {"cleaning": "unicode", "punct_replacement": " "}, "texts.cl4ac: `punct_replacement` is of"),
        (f"texts.{'ab' * 20}", {}, f"'{'ab' * 20}'; it ends with 'ab'"),
        (
            "datasets.clotho",
            {"layout": "clotho", "audio": "/data/" + "a" * 30, "source": "clotho-2.1"},
            "datasets.clotho.audio: '/data/aaaaaaaaaa",
        ),
        ("datasets.clotho.audio", "/data/set {x}", "datasets.clotho.audio: '/data/set {x}'"),
        ("datasets.clotho.metadata", ["ok.csv", "set <old>/m.csv"], "datasets.clotho.metadata.1: 'set <old>/m.csv'"),
        ("id_lists", {"l": {"files": ["{x}.txt"]}}, "id_lists.l.files.0: '{x}.txt'"),
        ("features.net", {"extractor": "panns_cnn14", "weights": "a/{b}.pth"}, "features.net.weights: 'a/{b}.pth'"),
        (
            "experiments.cl4ac.contrastive.pool",
            "last",
            "experiments.cl4ac.contrastive.pool: 'last'; expected 'last_word', 'eos', 'mean' or 'max'",
        ),
        ("datasets.clotho.layout", "cloto", "datasets.clotho.layout: 'cloto'; did you mean 'clotho'?"),
        ("datasets.cl otho", {"layout": "mini"}, "datasets.cl otho"),
        ("datasets.other", {"audio": "x"}, "datasets.other.layout: this required key is missing; the entry has audio"),
        ("datasets.other", {"layout": "clotho"}, "datasets.other.audio: this required key is missing"),
        ("experiments.cl4ac.encoder.channels", [1, 2, 3], "experiments.cl4ac.encoder.channels: [1, 2, 3]; list should"),
        ("experiments.cl4ac.encoder.kind", "frame", "experiments.cl4ac.encoder.kind: 'frame'; did you mean 'frames'"),
        ("experiments.cl4ac.encoder", {"kind": "frames", "layer": 1}, "cl4ac.encoder.layer: no such key; did you mean"),
        ("experiments.cl4ac.embedding", {"tied": True, "trainable": False}, "embedding.tied: true"),
        ("experiments.cl4ac.optim", {"schedule": "one_cycle", "decay": 0.3}, "cl4ac.optim.decay: 0.3 changes nothing"),
        ("features.logmel-cl4ac.fmax", 40000, "features.logmel-cl4ac: fmin < fmax <= sample_rate / 2 must hold"),
        ("features.logmel-cl4ac.seconds", 0.01, "features.logmel-cl4ac: seconds must be longer than half a window"),
        ("experiments.cl4ac.loss.mask_padding", False, "padded_length"),
        ("experiments.cl4ac.loss.padded_length", 35, "mask_padding: false"),
        ("experiments.cl4ac.encoder.load_fc1", True, "experiments.cl4ac.encoder: load_fc1"),
        ("experiments.cl4ac.decode.max_words", 2000, "experiments.cl4ac.decode.max_words: 2000; input should be less"),
        ("experiments.cl4ac.decode.length_penalty", 99, "experiments.cl4ac.decode.length_penalty: 99; input should"),
        ("experiments.cl4ac.loss", {"mask_padding": False, "padded_length": 2001}, "padded_length: 2001; input should"),
        ("spice.minutes", 0, "spice.minutes: 0; input should be greater than 0"),
        ("spice.jars", True, "spice.jars: True; input should be a valid string"),
        ("experiments.cl4ac.feature", "logmel", "experiments.cl4ac.feature: 'logmel'; did you mean 'logmel-cl4ac'?"),
        ("experiments.cl4ac.text", "x", "experiments.cl4ac.text: 'x'; valid names: cl4ac"),
        ("datasets.mini.others", {"cl4ac": "scores/a"}, "datasets.mini.others: 'cl4ac'"),
        ("datasets.mini.others", {"theirs": 3}, "datasets.mini.others.theirs: 3; input should be a valid string"),
        ("datasets.mini.experiments", ["cl4acc"], "datasets.mini.experiments: 'cl4acc'; did you mean 'cl4ac'"),
        (
            "datasets.mini.overrides.features",
            {"log-mel": {}},
            "datasets.mini.overrides.features: 'log-mel'; did you mean 'logmel-cl4ac'?",
        ),
        ("datasets.mini.overrides.texts", {"x": {}}, "datasets.mini.overrides.texts: 'x'; valid names: cl4ac"),
        ("datasets.mini.overrides.systems", {"cl4a": {}}, "datasets.mini.overrides.systems: 'cl4a'; did you mean"),
        (
            "datasets.mini.overrides.systems.cl4ac.decoder.layer",
            1,
            "datasets.mini.overrides.systems.cl4ac.decoder.layer: no such key; did you mean 'layers'?",
        ),
        (
            "datasets.mini.overrides.features.logmel-cl4ac.mels",
            0,
            "datasets.mini.overrides.features.logmel-cl4ac.mels: 0; input should be greater than 0",
        ),
    ],
)
def test_a_wrong_entry_is_answered_with_its_place_and_what_would_be_right(path, value, answer):
    content = changed()
    set_at(content, path.split("."), value)
    (problem,) = problems_of(content)
    assert answer in problem


def test_names_and_paths_that_only_look_odd_are_taken():
    content = changed()
    set_at(content, ["datasets", "clotho", "audio"], "/data/a{b <Old> é*[1]")
    set_at(content, ["texts", "a" * 19], {})
    assert Config(content).datasets["clotho"].audio == "/data/a{b <Old> é*[1]"


def test_off_which_yaml_takes_for_false_turns_spice_off():
    assert Config(changed(spice=yaml.safe_load("jars: off"))).spice.jars == "off"
    assert Config(ENTRIES).spice.jars == "auto"


def test_a_missing_section_is_named():
    content = changed()
    del content["texts"]
    assert problems_of(content) == ["texts: this required key is missing"]


@pytest.mark.parametrize("name", RESERVED)
def test_an_experiment_may_not_take_the_name_of_a_stage_folder(name):
    content = changed()
    content["experiments"][name] = ENTRIES["experiments"]["cl4ac"]
    (problem,) = problems_of(content)
    assert problem.startswith(f"experiments.{name}: this name is taken")


def test_everything_wrong_is_listed_at_once():
    content = changed()
    content["features"]["logmel-cl4ac"] |= {"hopp": 1, "mels": "x"}
    content["experiments"]["cl4ac"]["decode"] = {"beam": 0}
    assert [line.split(":")[0] for line in problems_of(content)] == [
        "features.logmel-cl4ac.mels",
        "features.logmel-cl4ac.hopp",
        "experiments.cl4ac.decode.beam",
    ]


def test_wrong_names_and_wrong_overrides_are_listed_at_once():
    content = changed()
    content["experiments"]["cl4ac"]["text"] = "x"
    content["datasets"]["mini"]["overrides"] = {"texts": {"y": {}, "cl4ac": {"cleaning": "none"}}}
    content["datasets"]["clotho"]["overrides"] = {"systems": {"cl4ac": {"train": {"epochs": -1}}}}
    assert [line.split(":")[0] for line in problems_of(content)] == [
        "experiments.cl4ac.text",
        "datasets.mini.overrides.texts",
        "datasets.mini.overrides.texts.cl4ac.cleaning",
        "datasets.clotho.overrides.systems.cl4ac.train.epochs",
    ]


LISTS = {
    "vggsound": {"files": ["lists/vggsound.csv"], "kind": "youtube", "column": "1"},
    "clotho": {"dataset": "clotho"},
}


@pytest.mark.parametrize(
    ("path", "value", "answer"),
    [
        ("datasets.mini.audit", ["vggsond"], "datasets.mini.audit: 'vggsond'; did you mean 'vggsound'?"),
        ("features.logmel-cl4ac.trained_on", ["x"], "features.logmel-cl4ac.trained_on: 'x'; valid names: clotho, vgg"),
        ("experiments.cl4ac.trained_on", ["x"], "experiments.cl4ac.trained_on: 'x'; valid names: clotho, vggsound"),
        ("id_lists.clotho.dataset", "cloto", "id_lists.clotho.dataset: 'cloto'; did you mean 'clotho'?"),
        (
            "datasets.mini.overrides.features",
            {"logmel-cl4ac": {"trained_on": ["x"]}},
            "datasets.mini.overrides.features.logmel-cl4ac.trained_on: 'x'",
        ),
        (
            "datasets.mini.overrides.systems",
            {"cl4ac": {"trained_on": ["x"]}},
            "datasets.mini.overrides.systems.cl4ac.trained_on: 'x'",
        ),
        ("datasets.mini.overrides.systems", {"cl4ac": {"trained_on": "x"}}, "trained_on: 'x'; input should be a valid"),
        (
            "id_lists.both",
            {"files": ["a"], "dataset": "mini"},
            "id_lists.both: an id list needs exactly one",
        ),
        ("id_lists.vggsound.splits", ["evaluation"], "id_lists.vggsound: `splits`"),
        ("id_lists.clotho.column", "file_name", "id_lists.clotho: `column`"),
        ("id_lists.vggsound.kind", "freesond", "id_lists.vggsound.kind: 'freesond'; expected 'name', 'youtube'"),
    ],
)
def test_id_lists_that_are_named_must_be_there(path, value, answer):
    content = changed(id_lists=copy.deepcopy(LISTS))
    set_at(content, path.split("."), value)
    (problem,) = problems_of(content)
    assert answer in problem


def test_an_audit_has_the_lists_of_the_data_set_and_of_its_experiments():
    content = changed(id_lists=LISTS | {"audioset": {"files": ["a"]}, "wavcaps": {"files": ["b"]}})
    content["datasets"]["mini"] |= {"audit": ["wavcaps"], "experiments": ["cl4ac"]}
    content["experiments"]["cl4ac"]["trained_on"] = ["vggsound"]
    content["experiments"]["cl4ac-baseline"]["trained_on"] = ["clotho"]
    content["features"]["logmel-cl4ac"]["trained_on"] = ["audioset", "vggsound"]
    config = Config(content)
    assert config.trained_on("mini", "cl4ac") == ["vggsound", "audioset"]
    assert config.audited("mini") == ["wavcaps", "vggsound", "audioset"]
    assert config.audited("clotho") == ["vggsound", "audioset", "clotho"]


def test_captions_of_another_data_set_are_training_data():
    content = changed()
    content["datasets"]["text"] = {"layout": "captions", "tables": {"development": "a.csv"}}
    content["features"]["clap"] = {"extractor": "clap_laion"}
    content["texts"] |= {"clap": {"kind": "clap_laion"}, "pieces": {"kind": "wordpiece"}}
    content["experiments"] = {"wsac": {"system": "wsac"}, "other": {"system": "wsac", "corpus": "text"}}
    config = Config(content)
    assert config.trained_on("mini", "wsac") == config.trained_on("text", "other") == []
    (name,) = config.trained_on("mini", "other")
    assert (config.id_lists[name].dataset, config.id_lists[name].splits) == ("text", ["development"])
    assert config.audited("mini") == [name]


def test_a_data_set_without_recordings_has_no_features():
    content = changed()
    content["datasets"]["text"] = {"layout": "captions", "tables": {"development": "a.csv"}}
    config = Config(content)
    config.refuse_features("mini")
    with pytest.raises(ConfigError, match="'text'"):
        config.refuse_features("text")


def test_experiments_that_stand_on_random_weights_are_known():
    content = changed()
    assert Config(content).untrained("mini", "cl4ac") == []
    content["features"]["noise"] = {"extractor": "vggsound", "weights": "untrained"}
    content["experiments"]["cl4ac"]["feature"] = "noise"
    assert Config(content).untrained("mini", "cl4ac") == ["noise"]
    assert Config(content).untrained("mini", "cl4ac-baseline") == []


@pytest.mark.parametrize(
    ("weights", "told"),
    [("public", 1), ("elsewhere/630k-audioset-best.pt", 1), ("mine.pt", 0), ("untrained", 0)],
)
def test_what_published_weights_were_trained_with_is_told(weights, told):
    content = changed()
    content["features"]["clap"] = {"extractor": "clap_laion", "weights": weights}
    content["texts"]["clap"] = {"kind": "clap_laion", "weights": weights}
    content["experiments"] = {"shot": {"system": "zeroshot"}}
    remarks = Config(content).remarks("mini", "shot")
    assert len(remarks) == told and all("clap" in line and "Clotho" in line for line in remarks)


def test_a_data_set_wins_over_the_feature_and_the_text_it_overrides():
    content = changed()
    content["datasets"]["mini"]["overrides"] = {
        "features": {"logmel-cl4ac": {"sample_rate": 16000, "fmax": 8000, "seconds": 6}},
        "texts": {"cl4ac": {"word2vec": {"passes": 3}}},
    }
    config = Config(content)
    feature, text = config.feature("mini", "logmel-cl4ac"), config.text("mini", "cl4ac")
    assert (feature.sample_rate, feature.seconds, feature.hop) == (16000, 6, 512)
    assert (text.word2vec.passes, text.word2vec.size) == (3, 64)
    assert config.feature("clotho", "logmel-cl4ac").seconds == 30
    assert config.text("clotho", "cl4ac").word2vec.passes == 10


def test_an_experiment_wins_over_its_systems_overrides():
    content = changed()
    overrides = {"optim": {"lr": 0.5, "warmup_epochs": 1}, "train": {"epochs": 2}}
    content["datasets"]["mini"]["overrides"] = {"systems": {"cl4ac": overrides}}
    config = Config(content)
    experiment, baseline = config.experiment("mini", "cl4ac"), config.experiment("mini", "cl4ac-baseline")
    assert (experiment.optim.lr, experiment.optim.warmup_epochs, experiment.train.epochs) == (0.1, 1, 2)
    assert baseline.optim.lr == 0.5
    assert config.experiment("clotho", "cl4ac").train.epochs == Cl4acOptions.model_fields["train"].default.epochs


def test_a_data_set_compares_all_experiments_unless_it_names_some():
    content = changed()
    content["datasets"]["mini"]["experiments"] = ["cl4ac-baseline"]
    config = Config(content)
    assert config.experiments_of("mini") == ["cl4ac-baseline"]
    assert config.experiments_of("clotho") == ["cl4ac", "cl4ac-baseline"]


def test_the_content_handed_in_is_left_alone():
    content = changed()
    Config(content)
    assert content == ENTRIES


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        ("results/cloto/cl4ac/metrics.json", ["data set 'cloto': did you mean 'clotho'?"]),
        ("results/cloto/comparison.html", ["data set 'cloto': did you mean 'clotho'?"]),
        ("results/mini/cl4acc/metrics.json", ["experiment 'cl4acc': did you mean 'cl4ac'"]),
        (
            "results/zzz/yyy/metrics.json",
            ["data set 'zzz': valid names: clotho, mini", "experiment 'yyy': valid names"],
        ),
        ("results/cloto", ["data set 'cloto': did you mean 'clotho'?"]),
        ("results/mini/features/logmel/development.h5", ["feature 'logmel': did you mean 'logmel-cl4ac'?"]),
        ("results/mini/text/cl4a/word2vec.bin", ["text 'cl4a': did you mean 'cl4ac'"]),
        ("results/mini/cl4ac/metric.json", ["no rule makes this file; results are called"]),
    ],
)
def test_a_target_that_is_not_configured_is_answered_with_what_there_is(target, answers):
    with pytest.raises(ConfigError) as caught:
        Config(ENTRIES).refuse_target(target)
    message = str(caught.value)
    assert message.startswith(f"{target} is not configured:")
    assert all(answer in message for answer in answers)
    assert message.endswith("Data sets: mini, clotho. Experiments: cl4ac, cl4ac-baseline.")


def test_overrides_of_experiments_are_told_to_be_those_of_systems():
    datasets = copy.deepcopy(ENTRIES["datasets"])
    name = next(iter(datasets))
    datasets[name]["overrides"] = {"experiments": {"cl4ac": {"seeds": [0]}}}
    with pytest.raises(ConfigError, match=rf"datasets\.{name}\.overrides\.experiments: .*`systems`"):
        Config(changed(datasets=datasets))


def test_the_schema_file_is_up_to_date():
    """``python -m earwitness.config > config/schema.json`` brings it up to date."""
    assert json.loads((ROOT / "config" / "schema.json").read_text(encoding="utf-8")) == schema()


def test_the_schema_is_printed_by_the_module():
    printed = subprocess.run([sys.executable, "-m", module.__name__], capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == schema()


def test_options_of_one_entry_are_validated_by_themselves():
    assert validated("features", {"extractor": "logmel"}).sample_rate == 44100
    with pytest.raises(ConfigError, match=r"features\.hopp: no such key; did you mean 'hop'"):
        validated("features", {"extractor": "logmel", "hopp": 1})


def test_defaults_of_cl4ac():
    """The published values, but where paper and code differ (`cl4ac-published` is the code)."""
    options = Cl4acOptions(system="cl4ac", feature="f", text="t")
    assert options.seeds == [0]
    assert options.encoder.model_dump() == {
        "kind": "cnn10",
        "weights": "none",
        "load_fc1": False,
        "freeze": "none",
        "channels": [64, 128, 256, 512],
        "dropout": 0.2,
        "spec_augment": {"time_stripes": 2, "time_width": 64, "mel_stripes": 2, "mel_width": 8},
    }
    decoder = {"width": None, "layers": 2, "heads": 4, "feedforward": 2048, "dropout": 0.2, "identical_layers": False}
    assert options.decoder.model_dump() == decoder
    assert options.embedding.model_dump() == {"init": "word2vec", "trainable": True, "tied": False}
    contrastive = {"negatives": "random", "pool": "last_word", "share_encoder": True}
    assert options.contrastive.model_dump() == contrastive
    assert options.loss.model_dump() == {
        "contrastive_weight": 1.0,
        "mask_padding": True,
        "padded_length": None,
        "label_smoothing": 0.0,
    }
    assert (options.optim.lr, options.optim.weight_decay, options.optim.warmup_epochs) == (5e-4, 1e-6, 5)
    train = options.train
    assert (train.batch_size, train.epochs, train.gradient_clip, train.precision) == (16, 30, 2.0, "32-true")
    assert (train.monitor, train.batching) == ("cider_d", "pairs")
    assert (options.decode.beam, options.decode.length_penalty, options.decode.block_ngrams) == (1, 0.0, 0)


def test_defaults_of_the_text_and_of_the_log_mel():
    """The published values."""
    logmel = validated("features", {"extractor": "logmel"})
    assert (logmel.n_fft, logmel.hop, logmel.mels, logmel.fmin, logmel.fmax, logmel.log) == (
        1024,
        512,
        64,
        50,
        14000,
        "db",
    )
    word2vec = Config(changed(texts={"cl4ac": {}})).texts["cl4ac"].word2vec
    assert (word2vec.size, word2vec.window, word2vec.passes, word2vec.negatives) == (128, 5, 1000, 5)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("experiments.cl4ac.decoder.heads", 3, "experiments.cl4ac.decoder.heads: 3 .* 64 .*texts.cl4ac.word2vec.size"),
        ("texts.cl4ac.word2vec.size", 30, "experiments.cl4ac.decoder.heads: 4 .* 30 "),
        ("features.logmel-cl4ac.seconds", None, "experiments.cl4ac.feature: .*'logmel-cl4ac'.*`seconds`"),
        ("features.logmel-cl4ac", {"extractor": "panns_cnn14"}, "experiments.cl4ac.feature: .*`seconds`"),
        ("features.logmel-cl4ac", {"extractor": "external", "folder": "x"}, "experiments.cl4ac.feature: .*`seconds`"),
        ("features.logmel-cl4ac.mels", 15, "experiments.cl4ac.feature: .* 15 mel bands.* 16"),
        ("features.logmel-cl4ac.seconds", 0.17, "experiments.cl4ac.feature: .* 15 frames.* 16"),
        ("datasets.mini.overrides.texts", {"cl4ac": {"word2vec": {"size": 30}}}, "experiments.cl4ac.decoder.heads: 4 "),
        (
            "datasets.mini.overrides.systems",
            {"cl4ac": {"decoder": {"heads": 7}}},
            "experiments.cl4ac.decoder.heads: 7 ",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(path, value, told):
    content = changed()
    content["datasets"]["mini"]["experiments"] = ["cl4ac"]
    set_at(content, path.split("."), value)
    config = Config(content)
    with pytest.raises(ConfigError) as caught:
        config.refuse_misfits("mini", "cl4ac")
    (line,) = str(caught.value).splitlines()[1:]
    assert re.search(told, line)
    if path.startswith("datasets.mini"):
        config.refuse_misfits("clotho", "cl4ac")


def test_what_alignment_cannot_work_with_is_refused():
    content = changed()
    content["features"]["away"] = {"extractor": "external", "folder": "x"}
    content["texts"]["words"] = {"kind": "word_vectors"}
    both = {"system": "alignment", "text": "words", "texts": "phrases", "encoder": "linear"}
    content["experiments"] |= {"a": both | {"feature": "away"}, "b": both | {"feature": "logmel-cl4ac"}}
    config = Config(content)
    (hop,) = config.misfits("mini", "a")
    assert hop.startswith("experiments.a.feature: 'away'") and "features.away.hop" in hop
    (phrases,) = config.misfits("clotho", "b")
    assert phrases.startswith("experiments.b.texts: ") and "clotho" in phrases
    assert config.misfits("mini", "b") == [] and len(config.misfits("clotho", "a")) == 2
    for changes in ({"joint": 7}, {"joint": 8, "crnn": {"hidden": 5}}):
        content["experiments"]["c"] = {"system": "alignment", "text": "words", "feature": "logmel-cl4ac"} | changes
        (joint,) = Config(content).misfits("clotho", "c")
        assert joint.startswith(f"experiments.c.joint: {changes['joint']}")
    content["features"]["logmel-cl4ac"]["mels"] = 50
    assert any("feature" in line and "50" in line and "64" in line for line in Config(content).misfits("clotho", "c"))


def test_what_can_just_work_is_not_refused():
    content = changed()
    content["features"]["logmel-cl4ac"] |= {"mels": 16, "seconds": 0.18}
    content["texts"]["cl4ac"]["word2vec"]["size"] = 33
    content["experiments"]["cl4ac"]["decoder"] = {"heads": 11}
    assert Config(content).misfits("mini", "cl4ac") == []


def test_all_experiments_of_a_page_that_cannot_work_are_listed():
    content = changed()
    for name, heads in (("cl4ac", 3), ("cl4ac-baseline", 5)):
        content["experiments"][name]["decoder"] = {"heads": heads}
    with pytest.raises(ConfigError) as caught:
        Config(content).refuse_misfits("mini", "cl4ac-baseline")
    assert re.findall(r"experiments\.(.*)\.decoder\.heads: (.)", str(caught.value)) == [
        ("cl4ac-baseline", "5"),
        ("cl4ac", "3"),
    ]


def test_what_the_repository_compares_can_work():
    config = Config(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8")))
    assert [
        config.misfits(dataset, name) for dataset in config.datasets for name in config.experiments_of(dataset)
    ] == [[] for dataset in config.datasets for _ in config.experiments_of(dataset)]


def test_a_text_without_the_files_that_the_system_reads_is_named(monkeypatch):
    monkeypatch.setattr(VocabularyOptions, "FILES", {"vectors": "vectors.h5", "vocabulary": "vocabulary.json"})
    problems = problems_of(changed())
    assert [line.split(":")[0] for line in problems] == ["experiments.cl4ac.text", "experiments.cl4ac-baseline.text"]
    assert all("'cl4ac'" in line and "word2vec.bin" in line for line in problems)


def test_variants_of_decoding_share_one_training_whatever_is_edited():
    """The rule of training depends on these settings alone."""
    trained = set()
    for beam, penalty in ((1, 0.0), (4, 0.0), (4, 0.5)):
        content = changed()
        content["experiments"]["cl4ac"]["decode"] = {"length_penalty": penalty}
        variant = {"cl4ac-beam": {"extends": "cl4ac", "decode": {"beam": beam}}}
        content["experiments"] = variant | content["experiments"]
        config = Config(content)
        assert config.trained_as("mini", "cl4ac-beam") == config.trained_as("mini", "cl4ac") == "cl4ac"
        assert config.trained_as("mini", "cl4ac-baseline") == "cl4ac-baseline"
        assert config.experiment("mini", "cl4ac-beam").decode.beam == beam
        assert config.experiment("mini", "cl4ac").decode.beam == 1
        trained |= {repr(config.experiment("mini", name).settings("weights")) for name in ("cl4ac", "cl4ac-beam")}
    assert len(trained) == 1


# --- a retriever's options ---------------------------------------------------------------------------------------

WORDS = {"kind": "word_vectors"}


def retrievers(**experiments):
    atr = {"system": "atr", "features": ["logmel-cl4ac"], "text": "words"}
    return changed(texts={"words": WORDS}, experiments={"atr": atr, **experiments})


def test_options_that_change_nothing_are_refused():
    loss = {"kind": "info_nce", "margin": 0.3}
    others = {"optim": {"warmup": 5, "decay": 0.5, "schedule": "constant"}, "text_pooling": "mean"}
    more = {"clusters": {"text": 3}, "lstm_hidden": 8, "transformer": {"layers": 2}}
    found = problems_of(retrievers(x={"extends": "atr", "loss": loss, **others, **more}))
    keys = ["loss.margin", "optim.decay", "optim.warmup", "lstm_hidden", "clusters.text", "transformer.layers"]
    assert [line.split(": ")[0] for line in found] == [f"experiments.x.{key}" for key in keys]
    assert "0.3" in found[0] and "info_nce" in found[0]


def test_options_that_change_something_somewhere_are_not():
    base = {"extends": "atr", "lstm_hidden": 8, "optim": {"warmup": 5}}
    heirs = {"y": {"extends": "x", "pooling": "lstm"}, "z": {"extends": "x", "pooling": ["max", "mean"]}}
    sweep = {"extends": "x", "lstm_hidden": 4, "sweep": {"pooling": ["mean", "lstm"]}}
    content = retrievers(x=base, s=sweep, **heirs)
    assert [line.split(": ")[0] for line in problems_of(content)] == ["experiments.x.optim.warmup"]
    content["datasets"]["mini"]["overrides"] = {"systems": {"atr": {"optim": {"schedule": "noam"}}}}
    assert Config(content).experiments["y"].lstm_hidden == 8
    assert Config(retrievers(x={"extends": "atr", "optim": {"warmup": 100}}))  # as by default


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"pooling": "vlad"}, "experiments.x.pooling: 'vlad'; .*did you mean 'netvlad'"),
        ({"text_pooling": ["max", "vlad"]}, "experiments.x.text_pooling.1: 'vlad'; .*did you mean 'netvlad'"),
        ({"pooling": 3}, "experiments.x.pooling: 3; "),
        ({"features": "logmel-cl4ac"}, r"experiments.x.features: 'logmel-cl4ac'; .*\[logmel-cl4ac\]"),
    ],
)
def test_one_line_says_what_to_write(changes, line):
    (found,) = problems_of(retrievers(x={"extends": "atr", **changes}))
    assert re.match(line, found)


GRID = {"extends": "atr", "pooling": {"sweep": ["mean", "max"]}, "optim": {"lr": {"sweep": [1e-4, 1e-3]}}}


def test_a_study_has_what_its_members_differ_in():
    config = Config(retrievers(grid=GRID | {"baseline": "atr"}, some={"extends": "atr", "sweep": [{"joint": 8}]}))
    assert config.sweeps == ["grid", "some"] and config.sweep_of("grid-max-0.001") == "grid" != config.sweep_of("atr")
    study = config.study("mini", "grid")
    assert study["baseline"] == "atr" and study["axes"] == ["pooling", "optim.lr"]
    assert list(study["experiments"]) == [
        "atr",
        *(f"grid-{p}-{lr}" for p in ("mean", "max") for lr in ("0.0001", "0.001")),
    ]
    assert study["experiments"]["grid-max-0.001"] == {
        "pooling": {"label": "max", "value": "max"},
        "optim.lr": {"label": "0.001", "value": 0.001},
    }
    assert study["experiments"]["atr"]["pooling"] == {"label": "netrvlad", "value": "netrvlad"}  # its system's default


def test_the_page_shows_the_studies_of_which_it_has_all_experiments():
    content = retrievers(grid=GRID, other=GRID | {"baseline": "atr"})
    content["datasets"]["mini"]["experiments"] = ["grid", "other"]
    assert Config(content).studies_of("mini") == ["grid"] and Config(content).studies_of("clotho") == []
    content["datasets"]["mini"]["experiments"] = ["other", "atr"]
    assert Config(content).studies_of("mini") == ["other"]


def test_mistakes_in_values_that_are_swept_have_the_place_of_the_option():
    (found,) = problems_of(retrievers(grid={"extends": "atr", "pooling": {"sweep": ["vlad"]}}))
    assert found.startswith("experiments.grid.pooling: 'vlad'; ")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("results/mini/studies/gird.html", ["'gird'", "did you mean 'grid'?"]),
        ("results/minni/studies/atr.json", ["'minni'", "study 'atr'", "valid names: grid"]),
        ("results/mini/studies/grid.pdf", ["no rule", "{dataset}/studies/{sweep}.html"]),
        ("results/mini/grid/metrics.json", ["'grid' is a sweep", "grid-max-0.001", "{dataset}/studies/{sweep}.html"]),
    ],
)
def test_a_study_that_is_not_there_is_answered_with_those_there_are(target, words):
    with pytest.raises(ConfigError) as caught:
        Config(retrievers(grid=GRID)).refuse_target(target)
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_schema_takes_sweeps_in_all_their_forms():
    from jsonschema import Draft202012Validator

    check = Draft202012Validator(schema())
    atr = {"system": "atr", "features": ["logmel-cl4ac"], "text": "words"}
    nested = {**atr, "optim": {"lr": {"sweep": [1e-4, 1e-3]}}, "baseline": 0.001}
    by_label = {**atr, "pooling": {"sweep": {"a": "max", "b": "mean"}}}
    good = [GRID, nested, by_label, {**atr, "sweep": [{"pooling": "max"}]}, {**atr, "sweep": {"pooling": ["max"]}}]
    bad = [{**atr, "poling": "max"}, {**atr, "sweep": []}, {**atr, "sweep": ["max"]}, {**atr, "optim": {"lrr": 1}}]
    assert [entry for entry in good if not check.is_valid(retrievers(x=entry))] == []
    assert [entry for entry in bad if check.is_valid(retrievers(x=entry))] == []


def with_claps(**changes):
    """Entries with a CLAP that the experiment ``found`` trains, and another experiment that reads it."""
    of = {"experiment": "found"}
    content = changed()
    content["features"]["clap"] = {"extractor": "retriever", "dataset": "mini", **of}
    content["texts"] |= {"clap": {"kind": "retriever", **of}, "vectors": {"kind": "word_vectors"}}
    content["experiments"] |= {
        "found": {"system": "atr", "features": ["logmel-cl4ac"], "text": "vectors", "trained_on": ["theirs"]},
        "shot": {"system": "zeroshot", "clap": "clap"},
    }
    content["id_lists"] = {"theirs": {"files": ["theirs.csv"]}}
    for path, value in changes.items():
        set_at(content, path.split("__"), value)
    return content


@pytest.mark.parametrize(
    ("path", "value", "places"),
    [
        ("features__clap__experiment", "fond", ["features.clap.experiment: 'fond'; did you mean 'found'?"]),
        ("texts__clap__experiment", "cl4ac", ["texts.clap.experiment: 'cl4ac' trains no retriever"]),
        ("texts__clap__experiment", "shot", ["texts.clap.experiment: 'shot' trains no retriever"]),
        ("features__clap__dataset", "minni", ["features.clap.dataset: 'minni'; did you mean 'mini'?"]),
        ("experiments__found__features", ["clap"], ["features.clap.experiment: 'found' reads what it makes"]),
        ("experiments__found__text", "clap", ["texts.clap.experiment: 'found' reads what it makes"]),
        (
            "datasets__clotho__overrides",
            {"features": {"clap": {"experiment": "fond"}}},
            ["datasets.clotho.overrides.features.clap.experiment: 'fond'"],
        ),
        ("experiments__shot__clap", "clip", ["experiments.shot.clap: 'clip'; did you mean 'clap'?"]),
    ],
)
def test_claps_of_experiments_that_cannot_be(path, value, places):
    problems = problems_of(with_claps(**{path: value}))
    assert len(problems) == len(places)
    assert all(problem.startswith(place) for problem, place in zip(problems, places, strict=True))


def test_a_circle_of_several_entries_is_told():
    content = with_claps(experiments__found__features=["second"])
    content["features"]["second"] = {"extractor": "retriever", "experiment": "further"}
    content["experiments"]["further"] = {"system": "atr", "features": ["clap"], "text": "vectors"}
    (one, other) = problems_of(content)
    assert one.startswith("features.clap.experiment: 'found'")
    circle = ["features.clap", "experiments.found", "features.second", "experiments.further", "features.clap"]
    assert one.endswith(" <- ".join(circle)) and other.startswith("features.second.experiment: 'further'")


def test_a_clap_is_read_from_its_experiment():
    config = Config(with_claps())
    assert config.feature("clotho", "clap").dataset == "mini" and config.text("clotho", "clap").dataset == "clotho"
    assert list(config.read_by_retriever("clotho", "clap")) == ["logmel-cl4ac"]
    assert config.read_by_retriever("clotho", "logmel-cl4ac") == {}
    assert len(config.misfits("clotho", "shot")) == 1 and not config.misfits("mini", "shot")


@pytest.mark.parametrize("dataset", [None, "mini"])
def test_clips_and_captions_of_two_trainings_do_not_fit(dataset):
    other = {"system": "wsac", "text": "cl4ac", "corpus": "clotho"}
    shifted = {"system": "wsac", "text": "cl4ac", "shift": {"dataset": "clotho"}}
    content = with_claps(experiments__other=other, experiments__shifted=shifted)
    for kind in ("features", "texts"):
        content[kind]["clap"]["dataset"] = dataset
    config = Config(content)
    lines = [line for name in ("other", "shifted", "shot") for line in config.misfits("mini", name)]
    assert len(lines) == (0 if dataset else 3)
    for line in lines:
        assert "clotho/found/seed-0" in line and "mini/found/seed-0" in line and "`dataset`" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ({"kind": "clap_wavcaps"}, "clap_wavcaps"),
        ({"kind": "sentence", "output": "pooled"}, "sentence"),
        ({"kind": "clap_laion", "weights": "untrained", "seed": 3}, "clap_laion (untrained, seed 3)"),
        ({"kind": "clap_laion"}, ""),
    ],
)
def test_a_feature_and_a_text_of_two_claps_do_not_fit(text, told):
    content = changed()
    content["features"]["clap"], content["texts"]["clap"] = {"extractor": "clap_laion"}, text
    content["experiments"] = {"wsac": {"system": "wsac", "text": "cl4ac"}, "shot": {"system": "zeroshot"}}
    for name in ("wsac", "shot"):
        lines = Config(content).misfits("mini", name)
        assert len(lines) == bool(told) and all("'clap'" in line and told in line for line in lines)


def test_what_a_clap_was_trained_on_is_training_data():
    config = Config(with_claps(texts__clap__dataset="mini"))
    learnt = ["theirs", "mini/development", "mini/validation"]
    assert config.trained_on("clotho", "shot") == learnt and config.audited("clotho") == learnt
    lists = [config.id_lists[name] for name in learnt[1:]]
    assert [(entry.dataset, entry.splits) for entry in lists] == [("mini", ["development"]), ("mini", ["validation"])]
    assert config.trained_on("mini", "shot") == ["theirs"]
    # Where nothing is learnt from clips, features that were are told.
    (remark,) = config.remarks("mini", "shot")
    assert "found" in remark and config.remarks("clotho", "shot") == config.remarks("mini", "found") == []
    shifted = {"system": "wsac", "text": "cl4ac", "corpus": "mini", "shift": {"dataset": "clotho"}}
    content = with_claps(texts__clap__dataset="mini", experiments__shifted=shifted)
    content["datasets"]["third"] = {"layout": "mini"}
    found = Config(content).trained_on("third", "shifted")
    assert set(found) == {*learnt, "clotho/development"}
