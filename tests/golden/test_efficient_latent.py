"""EfficientLatent gives the numbers of the published implementation on formula-made weights and inputs.

The published one measures its 120 dB floor over the batch. With these weights float32's rounding alone moves the frames
by a thousandth of the largest value; in float64 they must agree to 1e-5.
"""

import numpy as np
import pytest
import torch

from earwitness.extractors.efficient_latent.network import EfficientLatent, mel_filters

INPUTS = {"efficient_latent_10s.npz": (10.0, [121]), "efficient_latent_2s_batch2.npz": (2.0, [122, 123])}
ROUNDING = 5e-3


@pytest.fixture(scope="module", params=INPUTS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def reference(golden, name):
    return golden(name)


@pytest.fixture(scope="module")
def waveform(wave, name):
    """The input of the golden file, float32 [clips, samples]."""
    seconds, seeds = INPUTS[name]
    return torch.from_numpy(np.stack([wave(16000, seconds, seed) for seed in seeds]))


@pytest.fixture(scope="module")
def network(fill_by_rule):
    """Filled by the weight rule, but for its front end."""
    network = EfficientLatent(floor="batch")
    front_end = {name: value.clone() for name, value in network.front_end.state_dict().items()}
    fill_by_rule(network).front_end.load_state_dict(front_end)
    return network


@pytest.fixture(scope="module")
def double(network, golden):
    """In float64, with the front end's constants as the public file holds them."""
    constants = golden("efficient_latent_frontend.npz")
    double = EfficientLatent(floor="batch").eval()
    double.load_state_dict(network.state_dict())
    double.front_end[0].spectrogram.window.copy_(torch.from_numpy(constants["window"]))
    double.front_end[0].mel_scale.fb.copy_(torch.from_numpy(constants["mel_matrix"]))
    return double.double()


@pytest.fixture(scope="module")
def inner(network, waveform):
    """Frames, and the feature maps after the stem and after some blocks by their number."""
    maps = {}
    keep = [
        network._blocks[0].register_forward_pre_hook(lambda _, inputs: maps.update(stem=inputs[0])),
        network._blocks[4].register_forward_hook(lambda _, inputs, output: maps.update(stage2=output)),
        network._blocks[15].register_forward_hook(lambda _, inputs, output: maps.update(stage4=output)),
    ]
    with torch.inference_mode():
        maps["frames"] = network(waveform)
    for hook in keep:
        hook.remove()
    return maps


def test_every_published_weight_has_its_place_and_shape(golden, network):
    (entries,) = golden("state_efficient_latent.json").values()
    theirs = [(name, shape, kind) for name, shape, kind, _ in entries]
    ours = [(n, list(v.shape), str(v.dtype).removeprefix("torch.")) for n, v in network.state_dict().items()]
    assert ours == theirs
    assert len(ours) == 508
    assert sum(value.numel() for value in network.parameters()) == 7_700_418


def test_front_end_constants(golden, network):
    constants = golden("efficient_latent_frontend.npz")
    assert mel_filters().sum().item() == pytest.approx(250.1952, abs=1e-3)
    assert np.abs(mel_filters().numpy() - constants["mel_matrix"]).max() <= 1e-5
    assert np.abs(network.front_end[0].spectrogram.window.numpy() - constants["window"]).max() <= 1e-6


def test_log_mel(network, waveform, reference):
    with torch.inference_mode():
        logmel = network.logmel(waveform)[:, :, ::2]
    assert logmel.shape == reference["logmel"].shape
    assert np.abs(logmel - reference["logmel"]).max() <= 2e-3


def test_feature_maps(inner, reference, assert_within):
    assert inner["stem"].shape == tuple(reference["stem_shape"])
    assert_within(inner["stem"][:, ::4, ::4, ::20], reference["stem_slice"], 1e-4)
    assert_within(inner["stage2"][:, :, ::4, ::10], reference["stage2_slice"], 1e-4)
    assert_within(inner["stage4"][:, ::4, :, ::4], reference["stage4_slice"], 1e-4)


def test_frames(inner, reference, assert_within):
    assert_within(inner["frames"], reference["frames"], ROUNDING)


def test_clip_embedding(network, inner, reference, assert_within):
    assert_within(network.clip_embedding(inner["frames"]), reference["embedding"], ROUNDING)


def test_time_stamps(network, waveform, reference, assert_within):
    with torch.inference_mode():
        frames, times = network.timestamps(waveform)
    assert_within(frames[:, ::25, ::16], reference["segments_slice"], ROUNDING)
    assert times[::25].tolist() == reference["time_ms"].tolist()


def test_frames_and_clip_embedding_in_float64(double, waveform, reference, assert_within):
    with torch.inference_mode():
        frames = double(waveform.double())
        assert_within(frames, reference["frames_double"], 1e-5)
        assert_within(double.clip_embedding(frames), reference["embedding_double"], 1e-5)
        assert_within(double.fast(torch.float64)(waveform.double()), reference["frames_double"], 1e-5)
