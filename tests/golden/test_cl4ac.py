"""CL4AC gives the numbers of the published implementation on formula-made weights and inputs."""

import numpy as np
import pytest
import torch

from earwitness.extractors.logmel import LogMelOptions
from earwitness.extractors.logmel.spectrogram import LogMel
from earwitness.extractors.panns import Trunk
from earwitness.extractors.panns_cnn10.network import CHANNELS
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.cl4ac.network import Cl4ac, Sizes, caption_loss, contrastive_loss, pooled
from earwitness.systems.cl4ac.options import Cl4acOptions, DecodingOptions, LossOptions

WORDS, SOS, EOS = 600, 8, 9
AS_PUBLISHED = {"mask_padding": False, "padded_length": 35}
PUBLISHED_NAMES = {
    "encoder": "feature_extractor",
    "decoder": "transformer_decoder",
    "word_head": "dec_fc",
    "embedding.table": "word_emb",
    "match_head": "rs_fc",
}


def published(name):
    """The name that the published implementation has for one of our state-dict entries."""
    for ours, theirs in PUBLISHED_NAMES.items():
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    return name


@pytest.fixture(scope="module")
def reference(golden):
    return golden("cl4ac.npz")


@pytest.fixture(scope="module")
def network(fill_by_rule):
    options = Cl4acOptions(system="cl4ac", feature="logmel", text="cl4ac")
    return fill_by_rule(Cl4ac(options, Sizes(mels=64, words=WORDS, width=128)), published)


@pytest.fixture(scope="module")
def logmel(wave):
    extractor = LogMel(LogMelOptions(extractor="logmel", seconds=None))
    return np.stack([extractor(wave(44100, 4, 1900 + i)) for i in range(4)])


@pytest.fixture(scope="module")
def memory(network, logmel):
    with torch.inference_mode():
        return network.encode(torch.from_numpy(logmel))


@pytest.fixture(scope="module")
def hidden(network, memory, reference):
    """Decoder states of the paired and of the unpaired captions, each [4, 35, 128]."""
    with torch.inference_mode():
        return {key: network.hidden(torch.from_numpy(reference[key]), memory, torch.arange(4)) for key in INPUTS}


INPUTS = ("inputs", "negative_inputs")


def words_of(inputs):
    """Words of each caption: how many of its input ids are not <eos>, without <sos>."""
    return torch.from_numpy((inputs != EOS).sum(axis=1) - 1)


def test_every_published_weight_has_its_place_and_shape(golden, network):
    ours = {published(name): list(value.shape) for name, value in network.state_dict().items()}
    (entries,) = golden("state_cl4ac.json").values()
    theirs = {name: shape for name, shape, _, origin in entries if origin == "rule"}
    assert {name: ours.get(name) for name in theirs} == theirs
    counters = {name for name in ours if name.endswith("num_batches_tracked")}
    assert set(ours) - counters == set(theirs)


def test_log_mel(logmel, reference):
    assert logmel[:, ::4].shape == reference["logmel"].shape
    assert np.abs(logmel[:, ::4] - reference["logmel"]).max() <= 1e-3


def test_memory(memory, reference, assert_within):
    assert_within(memory.transpose(0, 1), reference["memory"], 1e-4)


def test_word_logits(network, hidden, reference, assert_within):
    with torch.inference_mode():
        logits = network.word_head(hidden["inputs"])
    assert_within(logits[:, ::3, ::4], reference["logits"], 1e-4)
    assert (logits.argmax(dim=-1).numpy() == reference["argmax"]).all()


@pytest.mark.parametrize("key, last", [("inputs", "last_index"), ("negative_inputs", "negative_last_index")])
def test_number_of_words_is_the_published_last_index(reference, key, last):
    assert words_of(reference[key]).tolist() == reference[last].tolist()


@pytest.mark.parametrize("key, scores", zip(INPUTS, ("selection_positive", "selection_negative"), strict=True))
def test_match_scores(network, hidden, reference, assert_within, key, scores):
    with torch.inference_mode():
        assert_within(network.match_logits(hidden[key], words_of(reference[key])), reference[scores], 1e-4)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_match_scores_of_pooled_states(network, hidden, reference, assert_within, pool):
    everywhere = torch.full((4,), 34)  # the published pooling runs over the padding too
    with torch.inference_mode():
        scores = network.match_head(pooled(hidden["inputs"], everywhere, pool))
    assert_within(scores, reference[f"selection_{pool}_pool"], 1e-4)


def test_losses(network, hidden, reference):
    words = words_of(reference["inputs"])
    with torch.inference_mode():
        logits = network.word_head(hidden["inputs"])
        caption = caption_loss(logits, torch.from_numpy(reference["targets"]), words, LossOptions(**AS_PUBLISHED))
        matched = network.match_logits(hidden["inputs"], words)
        unmatched = network.match_logits(hidden["negative_inputs"], words_of(reference["negative_inputs"]))
        contrastive = contrastive_loss(matched, unmatched)
    assert caption.item() == pytest.approx(reference["loss_caption"].item(), rel=1e-4)
    assert contrastive.item() == pytest.approx(reference["loss_selection"].item(), rel=1e-4)
    assert (caption + contrastive).item() == pytest.approx(reference["loss_total"].item(), rel=1e-4)


def test_losses_on_random_scores(golden, rnd):
    reference = golden("loss_cl4ac.npz")
    logits, targets = torch.from_numpy(rnd(1950, 5, 12, 50)), torch.from_numpy(reference["targets"])
    caption = caption_loss(logits, targets, torch.full((5,), 11), LossOptions(**AS_PUBLISHED))
    contrastive = contrastive_loss(torch.from_numpy(rnd(1951, 5, 2)), torch.from_numpy(rnd(1952, 5, 2)))
    assert caption.item() == pytest.approx(reference["loss_caption"].item(), rel=1e-5)
    assert contrastive.item() == pytest.approx(reference["loss_selection"].item(), rel=1e-5)
    assert (caption + contrastive).item() == pytest.approx(reference["loss_total"].item(), rel=1e-5)


def test_greedy_decoding_chooses_what_a_full_pass_chooses(network, memory):
    """With caches, one word after the other, and the whole caption at once."""
    captions, _ = decode(network, memory, Symbols(SOS, EOS, []), DecodingOptions(), max_words=12)
    for clip, words in enumerate(captions):
        inputs = torch.tensor([[SOS, *words]])
        with torch.inference_mode():
            hidden = network.hidden(inputs, memory, torch.tensor([clip]))
            chosen = network.word_head(hidden).argmax(dim=-1)[0].tolist()
        assert chosen[: len(words)] == words
        assert len(words) == 12 or chosen[len(words)] == EOS


def test_cnn10_trunk(golden, wave, fill_by_rule, assert_within):
    reference = golden("panns_cnn10_2s_batch3.npz")
    extractor = LogMel(LogMelOptions(extractor="logmel", sample_rate=32000, n_fft=1024, hop=320, seconds=None))
    logmel = np.stack([extractor(wave(32000, 2.0, seed)) for seed in (103, 104, 105)])
    assert np.abs(logmel - reference["logmel"]).max() <= 1e-3
    trunk = fill_by_rule(Trunk(64, CHANNELS))
    with torch.inference_mode():
        frames = trunk.convolve(trunk.normalise(torch.from_numpy(logmel))).transpose(1, 2)
    assert_within(frames, reference["frames"], 2e-5)
