"""The towers of WavCaps' CLAP (CNN14 and BERT) give the numbers of the reference on formula-made weights and inputs."""

import numpy as np
import torch
from transformers.initialization import no_init_weights

from earwitness.clap.wavcaps.audio import AudioTower
from earwitness.clap.wavcaps.text import TextTower

TOLERANCE = 5e-5  # of the largest value
EMBEDDING = 1e-5  # absolute
FRONT_END = "audio_encoder.audio_enc.audio_feats_extractor"


def entries(state):
    return {name: (list(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in state.items()}


def test_audio_tower(golden, fill_by_rule, wave, assert_within):
    tower = AudioTower()
    theirs = {
        entry: (shape, kind)
        for entry, shape, kind, _ in golden("state_wavcaps_ase.json")["ASE Cnn14 + bert-base-uncased"]
    }
    assert entries(tower.state_dict()) == {name: value for name, value in theirs.items() if name != "temp"}
    fixed = {name: value.clone() for name, value in tower.state_dict().items() if name.startswith(FRONT_END)}
    fill_by_rule(tower).load_state_dict(fixed, strict=False)
    reference = golden("wavcaps_ase_cnn14_10p0s.npz")
    waveform = torch.from_numpy(wave(32000, 10, 191)[None])
    encoder = tower.audio_encoder["audio_enc"]
    with torch.inference_mode():
        logmel = encoder.audio_feats_extractor(waveform)
        assert np.abs(logmel[:, ::8].numpy() - reference["logmel"]).max() <= 1e-3  # dB
        assert_within(encoder(waveform), reference["latent"], TOLERANCE)
        for one in (tower, tower.fast()):
            assert np.abs(one(waveform)[:, 0].numpy() - reference["embedding"]).max() <= EMBEDDING


def test_text_tower(golden, fill_by_rule, assert_within):
    with no_init_weights():
        tower = TextTower()
    fill_by_rule(tower)
    of_htsat = next(value for name, value in golden("state_wavcaps_ase.json").items() if "htsat" in name)
    theirs = {entry: (shape, kind) for entry, shape, kind, _ in of_htsat if entry.startswith("text_")}
    assert entries(tower.state_dict()) == theirs
    reference = golden("wavcaps_ase_text.npz")
    ids, mask = (torch.from_numpy(reference[name]) for name in ("input_ids", "attention_mask"))
    with torch.inference_mode():
        hidden = tower.text_encoder["text_encoder"](input_ids=ids, attention_mask=mask).last_hidden_state
        assert_within(hidden[:, :7, ::8], reference["hidden_slice"], TOLERANCE)
        assert np.abs(tower(ids, mask).numpy() - reference["embedding"]).max() <= EMBEDDING
