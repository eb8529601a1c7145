"""FENSE's fluency error detector with a tiny random model, and the metrics that it penalises."""

import json
import shutil
import socket

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import fluency, models

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "barks", "rain", "falls", "and", "the"]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.5,
}
CHECKPOINT = "echecker.ckpt"


class Detector(torch.nn.Module):
    """The network as FENSE describes it."""

    def __init__(self):
        super().__init__()
        config = transformers.BertConfig(vocab_size=len(WORDS), **SIZES)
        self.encoder = transformers.BertModel(config)
        self.clf = torch.nn.Linear(config.hidden_size, 6)
        torch.nn.init.normal_(self.clf.weight, std=0.5)

    def forward(self, ids):
        return self.clf(self.encoder(torch.tensor([ids])).last_hidden_state[:, 0, :]).sigmoid()[0].tolist()


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Detector().eval()


@pytest.fixture(scope="module")
def bert(network, tmp_path_factory):
    """What stands beside the weights: the configuration and the tokeniser."""
    folder = tmp_path_factory.mktemp("bert")
    network.encoder.config.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    return folder


@pytest.fixture
def folder(bert, tmp_path):
    return shutil.copytree(bert, tmp_path / "fense")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def published(network, **changes):
    """A checkpoint as FENSE's are: with positions that newer encoders do not keep."""
    tensors = network.state_dict() | {"encoder.embeddings.position_ids": torch.arange(512)[None]}
    return {"model_type": "bert-base-uncased", "num_classes": 6, "state_dict": tensors} | changes


@pytest.fixture
def ckpt(folder, network):
    torch.save(published(network), folder / CHECKPOINT)
    return folder


@pytest.fixture
def plain(folder, network):
    from safetensors.torch import save_file

    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    return folder


def ids_of(text):
    return [2, *(WORDS.index(word) if word in WORDS else 1 for word in text.split()), 3]


@pytest.mark.parametrize("layout", ["ckpt", "plain"])
def test_both_layouts_give_the_networks_numbers(layout, network, request):
    folder = request.getfixturevalue(layout)
    found = fluency.probabilities(["A dog barks, and... the RAIN falls!", "rain"], folder, device="cpu")
    expected = [network(ids_of("a dog barks and the rain falls")), network(ids_of("rain"))]
    assert found.dtype == float
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_configuration_without_its_type_and_bare_words_are_a_bert(ckpt, network):
    (ckpt / "tokenizer_config.json").unlink()
    (ckpt / "config.json").write_text(json.dumps(SIZES | {"vocab_size": len(WORDS)}))
    found = fluency.probabilities(["The rain falls"], ckpt)
    np.testing.assert_allclose(found, [network(ids_of("the rain falls"))], rtol=0, atol=1e-6)
    facts = models.configuration_facts(ckpt)
    assert facts | {"vocabulary": models.UNCASED["vocabulary"]} == fluency.BERTS[2]


def test_a_text_does_not_depend_on_its_batch(ckpt, monkeypatch):
    texts = ["rain", "", "a dog barks and the rain falls", "a dog", "the rain"] * 3
    together = fluency.probabilities(texts, ckpt)
    alone = np.concatenate([fluency.probabilities([text], ckpt) for text in texts])
    monkeypatch.setattr(models, "BATCH", 2)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(together, fluency.probabilities(texts, ckpt), rtol=0, atol=1e-6)
    assert np.ptp(alone[:5], axis=0).min() > 1e-4


def test_64_tokens_are_read(ckpt, network):
    words = ["dog", "rain"] * 31  # 62, and the first and the last token
    exact, longer, other = fluency.probabilities(
        [" ".join(words), " ".join([*words, "barks", "barks"]), " ".join(["barks", *words])], ckpt
    )
    np.testing.assert_allclose(exact, network(ids_of(" ".join(words))), rtol=0, atol=1e-6)
    np.testing.assert_allclose(longer, exact, rtol=0, atol=1e-6)
    assert np.abs(other - exact).max() > 1e-4


def test_empty_texts_and_no_texts(ckpt, network):
    np.testing.assert_allclose(fluency.probabilities(["", " ?! "], ckpt), [network([2, 3])] * 2, rtol=0, atol=1e-6)
    assert fluency.probabilities([], ckpt).shape == (0, 6)


def test_torch_draws_as_if_nothing_was_loaded(ckpt):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fluency.probabilities(["rain"], ckpt)
    assert torch.equal(torch.rand(3), expected)


def test_the_threshold_is_strict_and_the_last_output_counts():
    probabilities = np.zeros((4, 6))
    probabilities[:, -1] = [0.9, np.nextafter(0.9, 1), 0.89, 1]
    probabilities[2, :5] = 1
    assert fluency.errors(probabilities).tolist() == [0, 1, 0, 1]
    assert fluency.errors(probabilities, threshold=0.5).tolist() == [1, 1, 1, 1]


def test_the_penalty_worked_by_hand():
    errors = np.array([0.0, 1.0, 1.0, 0.0])
    assert fluency.fluency_error_rate(errors) == (0.5, pytest.approx(errors))
    for metric in (fluency.spider_fl, fluency.fense):
        mean, items = metric(np.array([0.4, 1.0, -0.2, 0.0]), errors)
        assert items == pytest.approx([0.4, 0.1, -0.02, 0.0])
        assert mean == pytest.approx(0.12)


def test_without_errors_nothing_is_penalised_and_copies_change_no_mean():
    values, errors = np.array([0.2, 0.6]), np.array([1.0, 0.0])
    assert fluency.fense(values, np.zeros(2)) == (pytest.approx(0.4), pytest.approx(values))
    once, twice = (fluency.spider_fl(np.tile(values, times), np.tile(errors, times))[0] for times in (1, 2))
    assert once == twice == pytest.approx(0.31)


def test_an_item_without_a_spider_has_no_part_in_the_mean():
    mean, items = fluency.spider_fl(np.array([np.nan, 0.5]), np.array([1.0, 1.0]))
    assert mean == pytest.approx(0.05)
    assert np.isnan(items[0])
    assert np.isnan(fluency.spider_fl(np.array([np.nan]), np.array([0.0]))[0])
    with pytest.raises(EarwitnessError, match="2 items, 1 errors"):
        fluency.fense(np.zeros(2), np.zeros(1))


def test_names_and_states(ckpt, network, monkeypatch):
    before = fluency.state(ckpt)
    assert fluency.label(ckpt) == f"fense-{before[:6]}"
    known = models.Known("echecker_clotho_audiocaps_base", models.configuration_facts(ckpt))
    monkeypatch.setattr(fluency, "KNOWN", {models.sha256(ckpt / CHECKPOINT): known})
    assert fluency.label(ckpt) == "echecker_clotho_audiocaps_base"
    config = json.loads((ckpt / "config.json").read_text())
    (ckpt / "config.json").write_text(json.dumps(config | {"num_attention_heads": 4}))
    assert fluency.state(ckpt) != before
    assert fluency.label(ckpt) == f"fense-{fluency.state(ckpt)[:6]}"


def test_auto_is_resources_fense(ckpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarwitnessError, match="resources/fense"):
        fluency.find()
    assert fluency.state() == "none"
    shutil.copytree(ckpt, tmp_path / "resources" / "fense")
    assert fluency.find() == fluency.PLACE
    assert fluency.state() == fluency.state(ckpt) != "none"


def test_find_gives_the_reason(folder, network, tmp_path):
    for model, said in [
        ("off", "turned off"),
        (tmp_path / "nowhere", "no folder"),
        (tmp_path, "config.json is not in it"),
    ]:
        with pytest.raises(EarwitnessError, match=said):
            fluency.find(model)
    with pytest.raises(EarwitnessError, match=r"neither a \.ckpt nor a \.safetensors"):
        fluency.find(folder)
    for name in (CHECKPOINT, "model.safetensors"):
        (folder / name).touch()
    with pytest.raises(EarwitnessError, match="several weight files") as caught:
        fluency.find(folder)
    assert str(caught.value).splitlines()[1:3] == [f"  - {CHECKPOINT}", "  - model.safetensors"]


def test_a_detector_without_its_tokenizer_is_refused(ckpt):
    words = (ckpt / "vocab.txt").read_text(encoding="utf-8")
    (ckpt / "vocab.txt").write_text("\n".join(words.split()[:6]) + "\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"fense .* 6 tokens.* 12\b"):
        fluency.probabilities(["rain"], ckpt)
    for name in ("vocab.txt", "tokenizer_config.json"):
        (ckpt / name).unlink()
    for use in (fluency.find, lambda folder: fluency.probabilities(["rain"], folder)):
        with pytest.raises(EarwitnessError, match=r"fense .*tokenizer\.json.*vocab\.txt"):
            use(ckpt)


class Harm:
    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Harm(), "cannot be loaded as a fluency error detector"),
        ([1], "it has no `state_dict`"),
        ({"state_dict": {}}, "clf.weight: absent in the file, (6, 16) by config.json"),
        ({"state_dict": {"clf.weight": torch.zeros(5, 16)}}, "clf.weight: (5, 16) in the file, (6, 16) by config.json"),
        ({"state_dict": {"head": torch.zeros(1)}}, "head: (1,) in the file, absent by config.json"),
    ],
)
def test_other_checkpoints_are_refused(folder, content, said, capsys):
    torch.save(content, folder / CHECKPOINT)
    with pytest.raises(EarwitnessError) as caught:
        fluency.probabilities(["rain"], folder)
    assert said in str(caught.value)
    assert "harm" not in capsys.readouterr().out


def test_probabilities_that_are_not_finite_are_refused(folder, network):
    tensors = {name: tensor * float("nan") for name, tensor in network.state_dict().items()}
    torch.save(published(network, state_dict=tensors), folder / CHECKPOINT)
    with pytest.raises(EarwitnessError, match="not finite"):
        fluency.probabilities(["rain"], folder)
