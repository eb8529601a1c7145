"""LAION-CLAP's towers give the numbers of the reference on formula-made weights and inputs."""

import numpy as np
import pytest
import torch
from transformers.initialization import no_init_weights

from earwitness.clap.laion import package_folder
from earwitness.clap.laion.audio import AudioTower, filled
from earwitness.clap.laion.text import TextTower
from earwitness.errors import EarwitnessError

TOLERANCE = 5e-5  # of the largest value
EMBEDDING = 1e-5  # absolute
FIXED = ("audio_branch.spectrogram_extractor", "audio_branch.logmel_extractor")
KEPT = ("relative_position_index", "attn_mask")


@pytest.fixture(scope="module")
def audio_tower(fill_by_rule):
    try:
        package_folder()
    except EarwitnessError:
        pytest.skip("the Python package laion-clap is not installed")
    tower = AudioTower("HTSAT-tiny")
    fixed = {
        name: value.clone()
        for name, value in tower.state_dict().items()
        if name.startswith(FIXED) or name.endswith(KEPT)
    }
    fill_by_rule(tower).load_state_dict(fixed, strict=False)
    return tower


@pytest.fixture(scope="module")
def text_tower(fill_by_rule):
    with no_init_weights():
        tower = TextTower()
    return fill_by_rule(tower)


def entries(state):
    return {name: (list(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in state.items()}


def test_entries_are_those_of_the_public_files(golden, audio_tower, text_tower):
    theirs = {
        entry: (shape, kind)
        for entry, shape, kind, _ in golden("state_clap.json")["CLAP HTSAT-tiny + roberta, no fusion"]
    }
    ours = entries(audio_tower.state_dict()) | entries(text_tower.state_dict())
    not_embedding = ("logit_scale", "audio_transform.", "text_transform.")
    assert ours == {name: value for name, value in theirs.items() if not name.startswith(not_embedding)}


@pytest.mark.parametrize(
    ("file", "seconds", "seeds"), [("clap_htsat_10s", 10, (171,)), ("clap_htsat_4s_batch2", 4, (172, 173))]
)
def test_audio_tower(golden, audio_tower, wave, assert_within, file, seconds, seeds):
    reference = golden(f"{file}.npz")
    waveform = torch.from_numpy(np.stack([wave(48000, seconds, seed) for seed in seeds]))
    branch = audio_tower.audio_branch
    seen = {}
    hooks = [
        branch.patch_embed.register_forward_hook(lambda *given: seen.update(patch_embed_slice=given[2][:, ::64, ::6])),
        branch.layers[0].register_forward_hook(lambda *given: seen.update(stage1_slice=given[2][0][:, ::32, ::8])),
        branch.norm.register_forward_hook(lambda *given: seen.update(norm_slice=given[2][:, ::4, ::8])),
    ]
    try:
        with torch.inference_mode():
            logmel = audio_tower.logmel(filled(waveform))
            assert np.abs(logmel[:, 0, ::8].numpy() - reference["logmel"]).max() <= 1e-3  # dB
            assert_within(audio_tower.latent(logmel), reference["latent"], TOLERANCE)
            for name, value in seen.items():
                assert_within(value, reference[name], TOLERANCE)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.inference_mode():
        for tower in (audio_tower, audio_tower.fast()):
            vectors = tower(waveform)[:, 0].numpy()
            assert np.abs(vectors - reference["embedding"]).max() <= EMBEDDING


def test_text_tower(golden, text_tower, assert_within):
    reference = golden("clap_text_roberta.npz")
    ids, mask = (torch.from_numpy(reference[name]) for name in ("input_ids", "attention_mask"))
    longest = int(mask.sum(dim=1).max())
    with torch.inference_mode():
        found = text_tower.text_branch(input_ids=ids, attention_mask=mask)
        assert_within(found.last_hidden_state[:, :7][:, ::2, ::8], reference["hidden_slice"], TOLERANCE)
        assert_within(found.pooler_output, reference["pooler"], TOLERANCE)
        assert_within(text_tower.text_projection(found.pooler_output), reference["projection_unnormalised"], TOLERANCE)
        for tokens in (ids.shape[1], longest):  # padded as published, and to the longest of the batch
            vectors = text_tower(ids[:, :tokens], mask[:, :tokens]).numpy()
            assert np.abs(vectors - reference["embedding"]).max() <= EMBEDDING
