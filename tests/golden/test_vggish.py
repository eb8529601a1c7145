"""VGGish gives the numbers of the reference network on formula-made weights and inputs."""

import numpy as np
import pytest
import soundfile
import torch

from earwitness.audio.decode import load
from earwitness.extractors.vggish.network import Vggish, mel_filters

TOLERANCE = 2e-5  # of the largest value


@pytest.fixture(scope="module")
def network(fill_by_rule):
    """With the post-processor, whose values are made under the names that the reference has for them."""
    return fill_by_rule(Vggish(postprocess=True))


def test_entries_are_those_of_the_reference(golden, network):
    ours = [
        [name, list(value.shape), str(value.dtype).removeprefix("torch.")]
        for name, value in network.state_dict().items()
    ]
    assert ours == [entry[:3] for entry in golden("state_vggish.json")["VGGish"]]


def test_without_post_processing_the_entries_are_those_of_the_public_weights(golden):
    with torch.device("meta"):
        ours = list(Vggish().state_dict())
    theirs = [name for name, *_ in golden("state_vggish.json")["VGGish"]]
    assert ours == [name for name in theirs if not name.startswith("pproc.")]
    assert len(ours) == 18


def test_front_end_constants(golden):
    reference = golden("vggish_frontend.npz")
    assert np.abs(mel_filters().numpy() - reference["mel_matrix"]).max() <= 1e-7
    assert np.abs(torch.hann_window(400, dtype=torch.float64).numpy() - reference["window"]).max() <= 1e-7


def agrees(network, waveform, reference, assert_within):
    """Assert that each stage of one clip is that of the reference."""
    with torch.inference_mode():
        waveform = torch.from_numpy(waveform)[None]
        (examples,) = network.examples(waveform)
        maps = network.features(examples[:, None])
        embedding = network.embed(examples)
        (quantised,) = network(waveform)
    assert examples.shape == reference["log_mel"].shape
    assert np.abs(examples.numpy() - reference["log_mel"]).max() <= 1e-5
    assert_within(maps[:, ::32], reference["features_slice"], TOLERANCE)
    assert_within(embedding, reference["embedding"], TOLERANCE)
    assert_within(network.pproc.pca(embedding), reference["pca"], TOLERANCE)
    assert_quantised(quantised, reference["postprocessed"], reference["pca"])
    with torch.inference_mode():
        small = network.pproc(0.1 * embedding), network.pproc.pca(0.1 * embedding)
    assert_quantised(small[0], reference["postprocessed_small"], small[1].numpy())


def assert_quantised(values, reference, pca):
    """Equal, but for one step where the component lies within the tolerance of a rounding edge."""
    step = (np.clip(pca.astype(np.float64), -2, 2) + 2) * 63.75
    from_edge = np.abs(step % 1 - 0.5)
    difference = np.abs(values.numpy() - reference)
    assert difference.max() <= 1
    assert (difference[from_edge > 63.75 * TOLERANCE * np.abs(pca).max()] == 0).all()
    assert (difference == 0).mean() > 0.99


def test_ten_seconds(golden, network, wave, assert_within):
    agrees(network, wave(16000, 10.0, 111), golden("vggish_10s.npz"), assert_within)


@pytest.fixture(scope="module")
def stereo(wave):
    """Samples [samples, channels] at 44.1 kHz."""
    return np.stack([wave(44100, 4.0, 112), wave(44100, 4.0, 113)], axis=1)


def test_a_stereo_recording_through_our_resampler(golden, network, stereo, tmp_path):
    """The reference resamples by another method: this is the bound for what it changes."""
    reference = golden("vggish_stereo44k1.npz")
    soundfile.write(tmp_path / "stereo.wav", stereo, 44100, subtype="PCM_16")
    waveform = load(tmp_path / "stereo.wav", 16000)
    assert len(waveform) == reference["resampled_length"]
    with torch.inference_mode():
        (examples,) = network.examples(torch.from_numpy(waveform)[None])
        embedding = network.embed(examples).numpy()
    assert np.abs(examples.numpy() - reference["log_mel"]).max() <= 0.5
    assert np.linalg.norm(embedding - reference["embedding"]) <= 1e-2 * np.linalg.norm(reference["embedding"])


def test_a_stereo_recording_through_the_resampler_of_the_reference(golden, network, stereo, assert_within):
    resampy = pytest.importorskip("resampy")
    reference = golden("vggish_stereo44k1.npz")
    waveform = resampy.resample(stereo.astype(np.float64).mean(axis=1), 44100, 16000)
    assert_within(waveform[:4000], reference["resampled"], TOLERANCE)
    agrees(network, waveform, reference, assert_within)
