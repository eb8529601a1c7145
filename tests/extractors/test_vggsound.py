"""VGGSound's ResNet: parity vectors, SciPy's spectrogram, frame counts, batch mates, and precision."""

import copy

import numpy as np
import pytest
import torch
from scipy import signal

from earwitness.extractors.vggsound.network import DIMENSION, HOP, MINIMUM, SAMPLE_RATE, Vggsound, frames_of, tukey
from tests.extractors.vectors import figures, formula, largest_difference, noise


@pytest.fixture(scope="module")
def network():
    made = Vggsound()
    state = {name: formula(name, tuple(value.shape)) for name, value in made.state_dict().items() if value.dim()}
    made.load_state_dict(state, strict=False)
    return made.eval()


@pytest.fixture(scope="module")
def untrained():
    """Random weights and statistics, under which the network still tells its inputs apart."""
    torch.manual_seed(1)
    made = Vggsound()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
    return made.eval()


def test_front_end_parity(network):
    spectrogram = network.spectrogram(noise(160000))
    assert spectrogram.shape == (1, 257, 1004)
    assert figures(spectrogram) == pytest.approx([0, 1, -3.419146, 2.452216, -1.790808, 0.043629], abs=2e-6)


def test_frame_and_logit_parity(network):
    with torch.inference_mode():
        maps = network.convolve(network.spectrogram(noise(160000)))
        frames = network.frames(maps)
        logits = network.classify(network.clip_embedding(maps))
    assert frames.shape == (1, 32, 512)
    expected = [6.167428, 3.576550, 0.065921, 27.921272, 7.588962, 10.526205]
    assert figures(frames) == pytest.approx(expected, rel=5e-6, abs=2e-5)
    assert logits.shape == (1, 309)
    assert figures(logits) == pytest.approx([0.005399, 1.487015, -2.753454, 2.751699, -1.021290, 2.057083], abs=1e-5)


def test_number_of_parameters(network):
    assert sum(value.numel() for value in network.parameters()) == 11328757


def test_window():
    assert np.abs(tukey(torch.device("cpu")).numpy() - signal.get_window(("tukey", 0.25), 512)).max() <= 1e-15


def recording(kind, samples):
    """Noise; noise on a constant offset with a pause of digital silence; noise that overshoots full scale."""
    waveform = noise(samples).numpy()[0]
    if kind == "offset and silence":
        waveform = 0.001 * waveform + 0.3
        waveform[samples // 3 : samples // 2] = 0
    return 4 * waveform if kind == "overshoot" else waveform


@pytest.mark.parametrize("kind", ["plain", "offset and silence", "overshoot"])
@pytest.mark.parametrize("samples", [MINIMUM, 670, 671, 12345])
def test_spectrogram_is_that_of_scipy(network, kind, samples):
    waveform = recording(kind, samples)
    _, _, density = signal.spectrogram(np.clip(waveform.astype(np.float64), -1, 1), 16000, nperseg=512, noverlap=353)
    levels = np.log(density + 1e-7)
    expected = (levels - levels.mean()) / (levels.std() + 1e-9)
    (spectrogram,) = network.spectrogram(torch.from_numpy(waveform)[None])
    assert spectrogram.shape == expected.shape
    assert np.abs(spectrogram.numpy() - expected).max() <= 2e-6


def test_a_silent_clip_is_nought(network):
    """Its deviation is 0 but for rounding, which is not to be blown up."""
    spectrogram = network.spectrogram(torch.zeros(1, 4000))
    assert spectrogram.isfinite().all()
    assert spectrogram.abs().max() < 1e-3


def tiled(waveform, seconds):
    return np.tile(waveform, 10)[: round(seconds * SAMPLE_RATE)]


@pytest.mark.parametrize("samples", [600, 7000, 16000, 47111, 48000, 60000])
def test_reference_tiling(network, samples):
    """Repeated ten times at most and cut, as the reference does with ten seconds."""
    network = copy.copy(network)
    network.seconds = 3.0
    waveform = noise(samples)
    expected = tiled(waveform.numpy()[0], 3.0)
    network_of_all = copy.copy(network)
    network_of_all.seconds = None
    assert torch.equal(network.spectrogram(waveform), network_of_all.spectrogram(torch.from_numpy(expected)[None]))


@pytest.mark.parametrize(
    ("seconds", "cut", "frames"),
    [(10, None, 32), (30, None, 95), (9, None, 29), (15, None, 48), (4, 10.0, 32), (30, 10.0, 32)],
)
def test_published_frame_counts(seconds, cut, frames):
    assert frames_of(seconds * SAMPLE_RATE, cut) == frames


COUNTED = [(samples, None) for samples in (MINIMUM, 5599, 5600, 33333, 480001)] + [(MINIMUM, 1.0), (33333, 1.0)]


@pytest.mark.parametrize(("samples", "seconds"), COUNTED)
def test_frame_counts(untrained, samples, seconds):
    network = copy.copy(untrained)
    network.seconds = seconds
    with torch.inference_mode():
        assert network(noise(samples)).shape == (1, frames_of(samples, seconds), DIMENSION)


def test_the_minimum_gives_one_frame_and_less_gives_none(untrained):
    assert [frames_of(samples) for samples in (0, MINIMUM - 1, MINIMUM)] == [0, 0, 1]
    assert frames_of(MINIMUM - 1, 10.0) == 0
    with torch.inference_mode():
        assert untrained(noise(MINIMUM)).shape == (1, 1, DIMENSION)
        with pytest.raises(RuntimeError, match="size is 512"):
            untrained(noise(MINIMUM - 1))


def test_a_hop_more_is_one_frame_more():
    for samples in (MINIMUM, 16000, 99999):
        assert frames_of(samples + HOP) == frames_of(samples) + 1


@pytest.fixture(scope="module")
def clips():
    """Three clips that differ in more than their noise."""
    time = torch.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tones = torch.stack([torch.sin(2 * torch.pi * pitch * time * time) for pitch in (200, 900, 1800)])
    return torch.tensor([[1.0], [0.1], [0.5]]) * (0.3 * tones + 0.02 * noise(len(time), clips=3))


@pytest.fixture(scope="module")
def plain(untrained, clips):
    with torch.inference_mode():
        return untrained(clips)


def test_features_do_not_depend_on_batch_mates(untrained, clips, plain):
    with torch.inference_mode():
        assert torch.equal(untrained(clips), plain)
        alone = torch.cat([untrained(clip[None]) for clip in clips])
    for one, other in zip(plain, alone, strict=True):
        assert largest_difference(one, other) <= 2e-5


def test_float64(untrained, clips, plain):
    with torch.inference_mode():
        exact = copy.deepcopy(untrained).double()(clips[:1].double())
    assert exact.dtype == torch.float64
    assert largest_difference(plain[:1], exact) <= 2e-5
