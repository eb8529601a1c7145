"""Cnn10 and Cnn14 of PANNs give the numbers of the reference networks on formula-made weights and inputs."""

import numpy as np
import pytest
import soundfile
import torch

from earwitness.audio.decode import load
from earwitness.extractors.panns import FRONT_END_16K
from earwitness.extractors.panns_cnn10.network import Cnn10
from earwitness.extractors.panns_cnn14.network import Cnn14

TOLERANCE = 2e-5  # of the largest value
STFT = "spectrogram_extractor.stft"
FIXED = ("spectrogram_extractor", "logmel_extractor")


@pytest.fixture(scope="module")
def networks(golden, fill_by_rule):
    """The networks by their names in the golden files; the fixed front ends stay as they are made."""
    made = {"Cnn10": Cnn10(), "Cnn14": Cnn14()}
    for network in made.values():
        fixed = {name: value.clone() for name, value in network.state_dict().items() if name.startswith(FIXED)}
        fill_by_rule(network).load_state_dict(fixed, strict=False)
    lower_rate = Cnn14(FRONT_END_16K).eval()
    by_rule = {name: value for name, value in made["Cnn14"].state_dict().items() if not name.startswith(FIXED)}
    lower_rate.load_state_dict(by_rule, strict=False)
    return made | {"Cnn14_16k": lower_rate}


@pytest.mark.parametrize("name", ["Cnn10", "Cnn14", "Cnn14_16k"])
def test_entries_are_those_of_the_public_file(golden, networks, name):
    theirs = {entry: (shape, kind) for entry, shape, kind, _ in golden("state_panns.json")[name]}
    ours = {
        entry: (list(value.shape), str(value.dtype).removeprefix("torch."))
        for entry, value in networks[name].state_dict().items()
    }
    assert ours == theirs
    assert len(ours) == (60 if name == "Cnn10" else 84)


def test_front_end_constants(golden, networks):
    reference = golden("panns_frontend.npz")
    for name in ("Cnn10", "Cnn14"):
        state = networks[name].state_dict()
        assert np.abs(state["logmel_extractor.melW"].numpy() - reference["mel_matrix"]).max() <= 1e-6
        for part in ("real", "imag"):
            kernels = state[f"{STFT}.conv_{part}.weight"][::64, 0, ::16].numpy()
            assert np.abs(kernels - reference[f"stft_{part}_slice"]).max() <= 1e-6


def agrees(network, waveforms, reference, every, assert_within):
    """Assert that each layer in ``reference`` is met; its log-mel and its frames are every so many of ours."""
    with torch.inference_mode():
        waveform = torch.from_numpy(np.stack(waveforms))
        logmel = network.logmel(waveform)
        block1 = network.conv_block1(network.normalise(logmel))
        frames = network(waveform)
        embedding = network.clip_embedding(frames)
        assert logmel[:, ::every].shape == reference["logmel"].shape
        assert np.abs(logmel[:, ::every].numpy() - reference["logmel"]).max() <= 1e-3  # dB
        assert_within(block1[:, ::16, ::50, ::8], reference["block1_slice"], TOLERANCE)
        assert_within(frames[:, ::every], reference["frames"], TOLERANCE)
        assert_within(network.fast()(waveform)[:, ::every], reference["frames"], TOLERANCE)
        assert_within(embedding, reference["embedding"], TOLERANCE)
        assert_within(network.classify(embedding), reference["clipwise"], TOLERANCE)


@pytest.mark.parametrize(
    ("name", "file", "rate", "seconds", "seeds", "every"),
    [
        ("Cnn10", "panns_cnn10_10s", 32000, 10.0, (101, 102), 8),
        ("Cnn10", "panns_cnn10_2s_batch3", 32000, 2.0, (103, 104, 105), 1),
        ("Cnn14", "panns_cnn14_10s", 32000, 10.0, (101,), 1),
        ("Cnn14", "panns_cnn14_2s_batch3", 32000, 2.0, (103, 104, 105), 1),
        ("Cnn14_16k", "panns_cnn14_16k_3s", 16000, 3.0, (108,), 1),
    ],
)
def test_layers(golden, networks, wave, assert_within, name, file, rate, seconds, seeds, every):
    waveforms = [wave(rate, seconds, seed) for seed in seeds]
    agrees(networks[name], waveforms, golden(f"{file}.npz"), every, assert_within)


@pytest.mark.parametrize(("name", "file"), [("Cnn10", "panns_cnn10_stereo44k1"), ("Cnn14", "panns_cnn14_stereo44k1")])
def test_layers_of_a_stereo_recording(golden, networks, wave, assert_within, tmp_path, name, file):
    """The reference loads by soxr HQ, as we do: the tight bound holds."""
    reference = golden(f"{file}.npz")
    channels = np.stack([wave(44100, 4.0, 106), wave(44100, 4.0, 107)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", channels, 44100, subtype="PCM_16")
    waveform = load(tmp_path / "stereo.wav", 32000)
    assert len(waveform) == reference["resampled_length"]
    assert_within(waveform[:4000], reference["resampled"], TOLERANCE)
    agrees(networks[name], [waveform], reference, 8, assert_within)
