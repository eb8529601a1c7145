"""Parity of Audio-Text Retrieval in Context: poolings, gated units, loss, and whole networks."""

import re

import numpy as np
import pytest
import torch

from earwitness.nn.gating import ContextGating, GatedEmbedding
from earwitness.nn.losses import max_margin
from earwitness.nn.pooling import Mean, NetRvlad, NetVlad
from earwitness.systems.atr.network import Atr
from earwitness.systems.atr.options import AtrOptions
from tests.places import GOLDEN

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the golden numbers are not there ({GOLDEN})")
POOLINGS = {
    "netvlad_panns10": (NetVlad, 512, 12, 0, (141, 4, 62, 512)),
    "netrvlad_panns14": (NetRvlad, 2048, 12, 0, (142, 3, 31, 2048)),
    "netvlad_text": (NetVlad, 300, 20, 0, (143, 5, 20, 300)),
    "netrvlad_text": (NetRvlad, 300, 20, 0, (144, 5, 20, 300)),
    "netvlad_ghost": (NetVlad, 64, 6, 2, (145, 4, 15, 64)),
    "netrvlad_vggish": (NetRvlad, 128, 12, 0, (146, 4, 10, 128)),
}
NETWORKS = {
    "net_rvlad_panns14": ("netrvlad", "panns_cnn14", 2048, 90),
    "net_vlad_panns14": ("netvlad", "panns_cnn14", 2048, 90),
    "net_rvlad_vggish": ("netrvlad", "vggish", 128, 31),
    "net_meanP_panns14": ("mean", "panns_cnn14", 2048, 90),
    "net_maxP_panns14": ("max", "panns_cnn14", 2048, 90),
    "net_seqLSTM_panns14": ("lstm", "panns_cnn14", 2048, 90),
    "net_seqTransf_panns14": ("transformer", "panns_cnn14", 2048, 90),
}


def padded(values, lengths):
    """Values of which those beyond the lengths are zero, with their mask."""
    mask = torch.arange(values.shape[1]) < torch.as_tensor(lengths)[:, None]
    return torch.from_numpy(values) * mask[..., None], mask


@pytest.mark.parametrize("name", POOLINGS)
def test_vlad(name, golden, rnd, fill_by_rule, assert_within):
    kind, dimension, clusters, ghosts, shape = POOLINGS[name]
    expected = golden(f"pool_{name}.npz")
    values, mask = padded(0.1 * np.abs(rnd(*shape)), expected["lengths"])
    np.testing.assert_allclose(values[:, :3, :8], expected["input_corner"], rtol=1e-6)
    module = fill_by_rule(kind(dimension, clusters, mask_pads=False, ghosts=ghosts))
    with torch.no_grad():
        assert_within(module(values, mask), expected["output"], 1e-5)
        assert_within(module.train()(values, mask), expected["output_train"], 1e-5)


@pytest.mark.parametrize("name", ["gated_unit", "gated_unit_nobn", "context_gating"])
def test_gating(name, golden, fill_by_rule, assert_within):
    expected = golden("pool_gating.npz")
    unit = GatedEmbedding(48, 32, batch_norm=name == "gated_unit")
    module = fill_by_rule(ContextGating(40) if name == "context_gating" else unit)
    x = torch.from_numpy(expected[f"{name}_input"])
    with torch.no_grad():
        assert_within(module(x), expected[name], 1e-5)
        assert_within(module.train()(x), expected[f"{name}_train"], 1e-5)


@pytest.mark.parametrize("size", [5, 16])
def test_max_margin(size, golden):
    expected = golden("loss_max_margin.npz")
    margins = {"0.200": 0.2, "1.000": 1.0, "0.094": 0.093811619884461739}
    similarity = torch.from_numpy(expected[f"sims_{size}"]).requires_grad_()
    for label, margin in margins.items():
        loss = max_margin(similarity, margin)
        assert loss.item() == pytest.approx(float(expected[f"maxmargin_{size}_m{label}_fix"]), rel=1e-5)
    max_margin(similarity, 0.2).backward()
    np.testing.assert_allclose(similarity.grad, expected[f"maxmargin_{size}_grad"], rtol=1e-5, atol=1e-9)


def published(name, feature):
    """The name of an entry of our network in the published code."""
    name = re.sub(r"_pooling\.((?:0\.)?)(netr?vlad|lstm|transformer)\.", r"_pooling.\1", name)
    for ours, theirs in (
        ("audio_pooling.0.positions", f"frame_position_embeddings.{feature}.weight"),
        ("audio_pooling.0.linear.", "fc_t."),
        ("audio_pooling.0.", f"audio_pooling.{feature}."),
        ("text_pooling.positions", "text_position_embeddings.weight"),
        ("text_pooling.linear.", "fc_text."),
        ("audio_units.", "Pool.audio_GU."),
        ("text_units.", "Pool.text_GU."),
    ):
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize("network", NETWORKS)
def test_whole_networks(network, golden, rnd, fill_by_rule, assert_within):
    pooling, feature, dimension, frames = NETWORKS[network]
    expected, entries = golden(f"{network}.npz"), golden("state_retrieval_in_context.json")[network]
    names = [name for name, _, _, origin in entries if not origin.startswith("tied")]
    content = {"system": "atr", "features": ["f"], "text": "t", "pooling": pooling, "mask_pads": False}
    sizes = {"audio": [dimension], "text": 300, "frames": frames, "words": 20}
    module = Atr(AtrOptions.model_validate(content), sizes)
    assert {published(name, feature) for name in module.state_dict()} - {"log_scale"} == set(names)
    fill_by_rule(module, lambda name: published(name, feature))
    audio, audio_mask = padded(0.1 * np.abs(rnd(151, 4, frames, dimension)), expected["audio_lengths"])
    cycle = expected["text_lengths_cycle"]
    text = 0.2 * rnd(1151, 4, 5, 20, 300).reshape(20, 20, 300)
    words, word_mask = padded(text, cycle[np.arange(20) % len(cycle)])
    with torch.no_grad():
        clips = module.embed_clips([audio], [audio_mask])
        texts = module.embed_texts(words, word_mask)
    assert_within(clips, expected["audio_embedding"], 1e-4)
    assert_within(texts.view(4, 5, -1)[:, :, ::16], expected["text_embedding_slice"], 1e-4)
    np.testing.assert_allclose(texts @ clips.T, expected["similarity"], atol=2e-5)


def test_the_example_by_hand():
    """Section 4 of the reference: two dimensions, two clusters, identity batch normalisation."""
    x, everything = torch.tensor([[[1.0, 0], [0, 1], [1, 1]]]), torch.ones(1, 3, dtype=torch.bool)
    longer = torch.cat([x, torch.zeros(1, 1, 2)], dim=1)
    for kind, expected, with_a_zero in (
        (NetVlad, [0.654890, 0.440875, 0.266682, 0.552838], [0.678664, 0.500232, 0.198532, 0.499767]),
        (NetRvlad, [0.568724, 0.383896, 0.420182, 0.593822], [0.568724, 0.383896, 0.420182, 0.593822]),
    ):
        module = kind(2, 2, mask_pads=False).eval()
        with torch.no_grad():
            module.clusters.copy_(torch.tensor([[0.5, -0.5], [0.25, 0.75]]))
            if kind is NetVlad:
                module.clusters2.copy_(torch.tensor([[[0.1, 0.2], [0.3, 0.4]]]))
            np.testing.assert_allclose(module(x, everything)[0], expected, atol=1e-6)
            mask = torch.tensor([[True, True, True, False]])
            np.testing.assert_allclose(module(longer, mask)[0], with_a_zero, atol=1e-6)
            module.mask_pads = True
            np.testing.assert_allclose(module(longer, mask)[0], expected, atol=1e-6)
    np.testing.assert_allclose(Mean(2)(x, everything)[0], [0.707107, 0.707107], atol=1e-6)
