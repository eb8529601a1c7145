"""Cnn10 and Cnn14 of PANNs: parity vectors, frame counts, batch mates, and the copy for inference."""

import copy

import pytest
import torch

from earwitness.extractors.panns import FRONT_END, Panns
from earwitness.extractors.panns_cnn10 import network as panns_cnn10
from earwitness.extractors.panns_cnn14 import network as panns_cnn14
from tests.extractors.vectors import between_clips, figures, formula, largest_difference, noise

MODULES = {"cnn10": panns_cnn10, "cnn14": panns_cnn14}
NETWORKS = {"cnn10": panns_cnn10.Cnn10, "cnn14": panns_cnn14.Cnn14}
FIXED = ("spectrogram_extractor", "logmel_extractor")


@pytest.fixture(scope="module", params=list(MODULES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    made = NETWORKS[name]()
    state = {
        entry: formula(entry, tuple(value.shape))
        for entry, value in made.state_dict().items()
        if value.dim() and not entry.startswith(FIXED)
    }
    made.load_state_dict(state, strict=False)
    return made.eval()


@pytest.fixture(scope="module")
def untrained(name, clips):
    """Random weights under which even the deep network tells clips apart: the statistics are those of the clips."""
    torch.manual_seed(1)
    return settled(NETWORKS[name](), clips)


def settled(network, waveform):
    """The network, its BatchNorm statistics taken from one pass over ``waveform``."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.1)
    with torch.no_grad():
        network(waveform)
    return network.eval()


@pytest.fixture(scope="module")
def clips():
    """Three clips that differ in more than their noise."""
    time = torch.arange(40000) / 32000
    tones = torch.stack([torch.sin(2 * torch.pi * pitch * time * time) for pitch in (200, 1500, 4000)])
    return 0.3 * tones + 0.02 * noise(40000, clips=3)


@pytest.fixture(scope="module")
def frames(network):
    with torch.inference_mode():
        return network(noise(320000))


def test_front_end_parity(network):
    expected = [-0.600878, 2.604399, -17.159159, 8.725985, -16.689104, -1.809632]
    with torch.inference_mode():
        levels = network.logmel(noise(320000))
    assert levels.shape == (1, 1001, 64)
    assert figures(levels) == pytest.approx(expected, abs=1e-4)


def test_frame_parity(name, frames):
    expected = {
        "cnn10": [0.018847, 0.018765, 0, 0.068885, 0.036880, 0.021710],
        "cnn14": [0.015932, 0.019304, 0, 0.051767, 0.042079, 0],
    }
    assert frames.shape == (1, {"cnn10": 62, "cnn14": 31}[name], MODULES[name].DIMENSION)
    assert figures(frames) == pytest.approx(expected[name], abs=2e-6)


def test_clip_embedding_parity(name, network, frames):
    expected = {
        "cnn10": [0.055149, 0.074911, 0, 0.258822, 0.044478, 0.008848],
        "cnn14": [0.035721, 0.049147, 0, 0.172176, 0.021800, 0],
    }
    with torch.inference_mode():
        embedding = network.clip_embedding(frames)
    assert embedding.shape == (1, MODULES[name].DIMENSION)
    assert figures(embedding) == pytest.approx(expected[name], abs=5e-6)


def test_number_of_parameters(name, network):
    assert sum(value.numel() for value in network.parameters()) == {"cnn10": 5219279, "cnn14": 80753615}[name]
    fixed = [value for entry, value in network.state_dict().items() if entry.startswith(FIXED)]
    assert sum(value.numel() for value in fixed) == 1083456


@pytest.mark.parametrize(("seconds", "counts"), [(10, {"cnn10": 62, "cnn14": 31}), (30, {"cnn10": 187, "cnn14": 93})])
def test_published_frame_counts(name, seconds, counts):
    module = MODULES[name]
    assert module.frames_of(seconds * module.SAMPLE_RATE) == counts[name]


@pytest.fixture(scope="module", params=list(MODULES))
def narrow(request):
    """The network's depth and front end, of a few channels: quick on long clips too."""
    depth, last_pool = {"cnn10": (4, 2), "cnn14": (6, 1)}[request.param]
    torch.manual_seed(2)
    return MODULES[request.param], settled(Panns((3,) * depth, last_pool, FRONT_END), noise(64000))


@pytest.mark.parametrize("samples", [4800, 9920, 10239, 10240, 20159, 20160, 33333, 320000, 319999, 960000, 960001])
def test_frame_counts(narrow, samples):
    module, network = narrow
    samples = max(samples, module.MINIMUM)
    with torch.inference_mode():
        assert network(noise(samples)).shape == (1, module.frames_of(samples), 3)


def test_the_minimum_gives_one_frame_and_less_gives_none(name, narrow):
    module, network = narrow
    assert module.frames_of(module.MINIMUM) == 1
    assert module.frames_of(module.MINIMUM - 1) == 0
    with torch.inference_mode():
        assert network(noise(module.MINIMUM)).shape[1] == 1
        with pytest.raises(RuntimeError, match="too small"):
            network(noise(module.MINIMUM - 1))


def test_a_frame_of_hop_samples_later(narrow):
    """Sound that comes ``HOP`` samples later gives the same frames one place later, away from the edges."""
    module, network = narrow
    sound, silence = noise(40 * module.HOP), torch.zeros(1, module.HOP)
    with torch.inference_mode():
        early = network(torch.cat([silence, sound, silence, silence], dim=1))
        late = network(torch.cat([silence, silence, sound, silence], dim=1))
    assert largest_difference(late[:, 10:30], early[:, 9:29]) < 1e-4
    assert largest_difference(late[:, 10:30], early[:, 10:30]) > 1e-2


def test_features_do_not_depend_on_batch_mates(untrained):
    clips = noise(33000, clips=3) * torch.tensor([1.0, 0.01, 2.0])[:, None]
    with torch.inference_mode():
        together = untrained(clips)
        alone = torch.cat([untrained(clip[None]) for clip in clips])
        assert torch.equal(untrained(clips), together)
    for one, other in zip(alone, together, strict=True):
        assert largest_difference(one, other) <= 2e-5


@pytest.fixture(scope="module")
def plain(untrained, clips):
    with torch.inference_mode():
        return untrained(clips)


def assert_close_for_bf16(features, reference):
    """Root mean square error within 10 % of the spread between clips (Cnn10: 1.6 %, Cnn14: 3.5 % here)."""
    assert largest_difference(features, reference) < 0.05
    assert (features - reference).square().mean().sqrt() < 0.1 * between_clips(reference)


def test_float64(untrained, clips, plain):
    with torch.inference_mode():
        exact = copy.deepcopy(untrained).double()(clips[:1, :32000])
        single = untrained(clips[:1, :32000])
    assert exact.dtype == torch.float64
    assert largest_difference(single, exact) <= 2e-5


def test_the_fast_copy_is_the_network(untrained, clips, plain):
    before = {entry: value.clone() for entry, value in untrained.state_dict().items()}
    with torch.inference_mode():
        fast = untrained.fast()
        assert largest_difference(fast(clips), plain) <= 2e-5
        embeddings = fast.clip_embedding(plain), untrained.clip_embedding(plain)
    assert torch.equal(*embeddings)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for block in fast.blocks() for module in block.modules())
    assert all(torch.equal(value, before[entry]) for entry, value in untrained.state_dict().items())


def test_the_fast_copy_in_bf16(untrained, clips, plain):
    with torch.inference_mode():
        fast = untrained.fast(torch.bfloat16)
        features = fast(clips)
        assert torch.allclose(fast.logmel(clips), untrained.logmel(clips), rtol=0, atol=1e-3)  # dB
    assert features.dtype == torch.float32
    assert_close_for_bf16(features, plain)


@pytest.mark.parametrize("gain", [1.0, 1.01])
def test_the_fast_copy_keeps_a_front_end_that_is_no_fourier_transform(narrow, clips, gain):
    network = copy.deepcopy(narrow[1])
    network.spectrogram_extractor.stft["conv_imag"].weight.mul_(gain)
    fast = network.fast()
    assert fast.spectrogram_extractor.fft is (gain == 1.0)
    assert not network.spectrogram_extractor.fft
    assert torch.allclose(fast.logmel(clips), network.logmel(clips), rtol=0, atol=2e-3)  # dB
