"""LAION-CLAP: checkpoint files of several makes, windows of long clips, tokenizers, and texts that are cut."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

from earwitness.clap.laion import ClapLaionOptions, ClapLaionTextOptions, audio, package_folder, weights
from earwitness.clap.laion import text as laion_text
from earwitness.clap.laion.audio import WINDOW, AudioTower, ClapLaionExtractor, filled
from earwitness.clap.laion.text import ClapLaionText, TextTower
from earwitness.clap.windows import window_starts
from earwitness.errors import EarwitnessError
from earwitness.extractors.published import published

SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


class Small(nn.Module):
    """In place of HTS-AT: its first layer, and parts that give a spectrum of two values."""

    num_features = 96

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, 128 if name == "HTSAT-base" else 96, 4, 4)})


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(audio, "htsat", Small)
    monkeypatch.setattr(AudioTower, "fast", lambda self, dtype: self.eval())
    monkeypatch.setattr(ClapLaionText, "build", lambda self: TextTower(**SMALL))


def state(width=96, **more):
    """Entries as LAION's files have them, with small towers."""
    torch.manual_seed(0)
    tower, text = AudioTower("HTSAT-base" if width == 128 else "HTSAT-tiny"), TextTower(**SMALL)
    entries = tower.state_dict() | text.state_dict() | {"logit_scale_a": torch.tensor(1.0)} | more
    return {f"module.{name}": value for name, value in entries.items()}


@pytest.fixture
def file(small, tmp_path):
    def file(name="laion.pt", width=96, **more):
        content = {"epoch": 15, "name": "x", "state_dict": state(width, **more)}
        content |= {"optimizer": {"lr": np.float64(1e-4)}, "best": np.float32(0.3), "losses": np.arange(3.0)}
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return file


def test_files_old_and_new_fill_both_towers(file, roberta, tmp_path):
    old = file("old.pt", **{weights.NOT_USED: torch.arange(514)[None]})
    new = file("new.pt")
    slim = tmp_path / "slim.safetensors"
    weights.slim(old, slim)
    assert slim.stat().st_size < old.stat().st_size
    expected = state()
    for path in (old, new, slim):
        extractor = ClapLaionExtractor(ClapLaionOptions(extractor="clap_laion", weights=str(path)))
        assert extractor.network.audio_branch.name == "HTSAT-tiny"
        model = ClapLaionText(ClapLaionTextOptions(kind="clap_laion", weights=str(path), tokenizer=str(roberta)))
        assert model.max_tokens == 77 and model.label == path.name
        for tower in (extractor.network, model.tower):
            for name, value in tower.state_dict().items():
                assert torch.equal(value.cpu(), expected[f"module.{name}"])


def test_the_size_is_told_by_the_shapes(file):
    path = file(width=128)
    extractor = ClapLaionExtractor(ClapLaionOptions(extractor="clap_laion", weights=str(path)))
    assert extractor.build().audio_branch.name == "HTSAT-base"
    stated = ClapLaionOptions(extractor="clap_laion", weights=str(path), amodel="HTSAT-tiny")
    with pytest.raises(EarwitnessError, match=r"laion\.pt.*HTSAT-base.*HTSAT-tiny"):
        ClapLaionExtractor(stated).build()


def test_other_architectures_are_refused_by_name(file, roberta, tmp_path):
    fusion = file("fusion.pt", **{weights.FUSION: torch.zeros(96, 1, 4, 12)})
    with pytest.raises(EarwitnessError, match=r"fusion\.pt.*fusion.*630k-audioset-best\.pt"):
        ClapLaionExtractor(ClapLaionOptions(extractor="clap_laion", weights=str(fusion))).network  # noqa: B018
    other = {"text_model.embeddings.word_embeddings.weight": torch.zeros(3, 2), "audio_model.x": torch.zeros(1)}
    torch.save({"state_dict": other}, tmp_path / "transformers.pt")
    options = ClapLaionTextOptions(kind="clap_laion", weights=str(tmp_path / "transformers.pt"), tokenizer=str(roberta))
    with pytest.raises(EarwitnessError, match=r"transformers\.pt.*audio_model, text_model"):
        ClapLaionText(options).tower  # noqa: B018


def test_windows_of_long_clips():
    assert window_starts(1, WINDOW) == window_starts(WINDOW, WINDOW) == [0]
    assert window_starts(WINDOW + 1, WINDOW) == [0, 1]
    hour = window_starts(3600 * 48000, WINDOW)
    assert hour[0] == 0 and hour[-1] == 3590 * 48000 and np.diff(hour).max() <= WINDOW // 2
    short = filled(torch.tensor([[0.5, -2.0, 1e-5]] * 2).repeat(1, 67000))  # 201,000 samples: twice, then zeros
    assert short.shape == (2, WINDOW) and not short[:, 402000:].any()
    assert torch.equal(short[0, :201000], short[0, 201000:402000])
    assert short[0, :3].tolist() == pytest.approx([16383 / 32767, -1, 0], abs=1e-7)


def test_a_long_clip_is_the_mean_of_its_windows(small, monkeypatch):
    seen = []

    def embed(self, windows):
        seen.append(len(windows))
        return nn.functional.normalize(torch.stack([windows[:, 0], windows[:, -1]], dim=1), dim=-1)

    monkeypatch.setattr(AudioTower, "embed", embed)
    clips = torch.linspace(0.1, 0.9, 3 * WINDOW) * torch.tensor([[1.0], [-1.0]])
    found = AudioTower()(clips)
    assert found.shape == (2, 1, 2) and seen == [4, 4, 2]
    starts = window_starts(3 * WINDOW, WINDOW)
    ends = [clips[:, [start, start + WINDOW - 1]] for start in starts]
    quantised = torch.stack([(values * 32767).trunc() / 32767 for values in ends])
    windows = nn.functional.normalize(quantised, dim=-1).mean(dim=0)
    torch.testing.assert_close(found[:, 0], nn.functional.normalize(windows, dim=-1))


def test_the_package_is_not_imported_as_a_whole():
    try:
        package_folder()
    except EarwitnessError:
        pytest.skip("the Python package laion-clap is not installed")
    from earwitness.clap.laion.package import NAME, _module

    assert _module().HTSAT_Swin_Transformer.__module__ == f"{NAME}.htsat"
    assert not {"laion_clap", "torchlibrosa", "torchvision", "wandb", "webdataset", NAME} & set(sys.modules)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("earwitness.clap.laion.PACKAGE", "laion_clap_that_is_not_there")
    options = ClapLaionOptions(extractor="clap_laion", weights="untrained")
    assert "pip install --no-deps laion-clap" in options.problem()
    with pytest.raises(EarwitnessError, match="laion-clap"):
        ClapLaionExtractor(options).build()


def text_options(folder, **changes):
    return ClapLaionTextOptions(**{"kind": "clap_laion", "weights": "untrained", "tokenizer": str(folder)} | changes)


def test_texts_become_vectors_of_length_1_and_long_ones_are_cut(small, roberta):
    model = ClapLaionText(text_options(roberta))
    texts = ["Hello world", "Hello" * 100, "world", "Hello" * 75]
    found = {number: (vectors, tokens) for number, vectors, tokens in model.encoded(texts)}
    assert [found[number][1] for number in range(4)] == [4, 102, 7, 77]
    vectors = np.concatenate([found[number][0] for number in range(4)])
    assert vectors.shape == (4, 512) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors[1], vectors[3], atol=1e-6)
    ((_, alone, _),) = model.encoded(["Hello world"])
    np.testing.assert_allclose(alone[0], vectors[0], atol=1e-6)


def test_tokenizers_that_are_not_robertas_are_refused(small, roberta, tmp_path, monkeypatch):
    broken = shutil.copytree(roberta, tmp_path / "broken")
    (broken / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"broken.*50265 tokens.*31414"):
        ClapLaionText(text_options(broken)).tokenizer  # noqa: B018
    vocabulary = json.loads((roberta / "vocab.json").read_text(encoding="utf-8"))
    kept = {name: number for name, number in vocabulary.items() if number < 40000}
    (broken / "vocab.json").write_text(json.dumps(kept), encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"broken.*roberta-base"):
        ClapLaionText(text_options(broken)).tokenizer  # noqa: B018
    (broken / "vocab.json").unlink()
    for folder in (broken, tmp_path / "nowhere"):
        options = text_options(folder)
        assert options.found() == {"tokenizer": "none"} and str(folder) in options.problem()
        with pytest.raises(EarwitnessError, match=r"vocab\.json and merges\.txt"):
            ClapLaionText(options)
    monkeypatch.chdir(tmp_path)
    assert "resources/roberta-base" in text_options("auto").problem()


def test_the_published_file_is_known():
    known = published()[laion_text.laion.PUBLISHED["weights"].file]
    assert known.verifiable and known.key == "state_dict"
