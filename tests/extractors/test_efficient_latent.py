"""EfficientLatent: frame counts, batch mates, precision, and its options."""

import copy

import numpy as np
import pytest
import torch

from earwitness.extractors.efficient_latent.network import (
    DIMENSION,
    HOP,
    MINIMUM,
    SAMPLE_RATE,
    EfficientLatent,
    border,
    frames_of,
)


def sounds(clips, seconds):
    """Chirps in noise, each clip at its own level: float32 [clips, samples]."""
    generator = np.random.default_rng(clips)
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    rates = generator.uniform(100, 3000, (clips, 1))
    chirps = np.sin(2 * np.pi * rates * times * (1 + times / seconds))
    noise = 0.02 * generator.standard_normal((clips, len(times)))
    levels = np.geomspace(0.01, 0.9, clips)[:, None]
    return torch.from_numpy((levels * (0.5 * chirps + noise)).astype(np.float32))


def untrained(**options):
    torch.manual_seed(0)
    return EfficientLatent(**options).eval()


def largest(difference, reference):
    """The largest difference, as a share of the largest reference value."""
    return (difference.abs().max() / reference.abs().max()).item()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Without gradients; small networks on many threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network():
    return untrained()


@pytest.fixture(scope="module")
def clips():
    return sounds(3, 1.3)


def by_formula(name, shape):
    """The values of a state-dict entry in the parity vectors."""
    j = np.arange(np.prod(shape, dtype=int), dtype=np.float64)
    if len(shape) > 1:
        values = 2 / np.sqrt(np.prod(shape[1:])) * np.cos(1.7 * j + 0.3 * (j % 7) ** 2 + 1)
    else:
        size, wave, offset = {
            "weight": (0.1, np.cos, 1),
            "bias": (0.1, np.sin, 0),
            "running_mean": (0.05, np.sin, 0),
            "running_var": (0.1, np.cos, 1),
        }[name.split(".")[-1]]
        values = offset + size * wave(j + 1)
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def test_parity_vectors():
    """Mean, standard deviation, least, largest, first and last value of the front end and of the frames."""
    network = EfficientLatent().eval()
    names = {name: value.shape for name, value in network.state_dict().items() if value.is_floating_point()}
    state = {name: by_formula(name, shape) for name, shape in names.items() if not name.startswith("front_end")}
    network.load_state_dict(state, strict=False)
    noise = np.random.RandomState(0).uniform(-0.5, 0.5, 10 * SAMPLE_RATE).astype(np.float32)
    waveform = torch.from_numpy(noise)[None]
    expected = {
        "logmel": ((64, 1001), [15.989041, 4.703818, -17.895271, 26.859465, -15.364314, 24.513744]),
        "frames": ((32, 1408), [0.016454, 0.129191, -0.192837, 0.323892, -0.074642, 0.188884]),
    }
    # The quietest bin is what cancellation leaves of it: in float32 its fifth decimal depends on the processor, and the
    # published figure is 2e-5 from the one in float64.
    exact = EfficientLatent().eval().double().logmel(waveform.double())[0]
    within = {"logmel": 2e-5, "frames": 1e-5}
    for key, actual in {"logmel": exact, "frames": network(waveform)[0]}.items():
        shape, numbers = expected[key]
        found = (actual.mean(), actual.std(correction=0), actual.min(), actual.max(), actual[0, 0], actual[-1, -1])
        assert actual.shape == shape
        assert [number.item() for number in found] == pytest.approx(numbers, abs=within[key])
    assert (network.logmel(waveform)[0] - exact).abs().max() < 1e-4


PADDING = {
    (260, 3, 2): (0, 1),
    (130, 3, 2): (0, 1),
    (65, 5, 2): (2, 2),
    (33, 3, 2): (1, 1),
    (17, 5, 2): (2, 2),
    (130, 3, 1): (1, 1),
    (17, 5, 1): (2, 2),
    (2, 1, 2): (0, 0),
}


@pytest.mark.parametrize("size, kernel, stride", PADDING)
def test_padding_of_the_table(size, kernel, stride):
    assert border(size, kernel, stride) == PADDING[size, kernel, stride]


@pytest.mark.parametrize("seconds, frames", [(1, 4), (10, 32), (30, 94)])
def test_frames_of_known_lengths(seconds, frames):
    assert frames_of(seconds * SAMPLE_RATE) == frames
    assert frames_of(seconds * SAMPLE_RATE, "same") == frames


@pytest.mark.parametrize("padding", ["static", "same"])
def test_frames_of_any_length(padding):
    """Around every place where the number changes, and at lengths that are no multiples of anything."""
    network = untrained(padding=padding)
    around = [place * 160 + step for place in (3, 4, 31, 32, 33, 34, 35, 36, 63, 64, 67, 68) for step in (-1, 0, 1)]
    for samples in [samples for samples in around if samples >= MINIMUM] + [7777, 12345]:
        frames = network(torch.ones(1, samples))
        assert frames.shape == (1, frames_of(samples, padding), DIMENSION)


def test_ten_and_thirty_seconds(network):
    assert network(sounds(1, 10)).shape == (1, 32, DIMENSION)
    assert network(sounds(1, 30)).shape == (1, 94, DIMENSION)


def test_the_shortest_clip_has_one_frame(network):
    assert (frames_of(MINIMUM), frames_of(MINIMUM - 1), frames_of(0)) == (1, 0, 0)
    assert network(sounds(1, MINIMUM / SAMPLE_RATE)).shape == (1, 1, DIMENSION)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, MINIMUM - 1))


def test_frames_lie_a_hop_apart(network):
    """Of a sound a hop later the frames are those one place on, but for the squeezed means of the whole clip."""
    sound = sounds(1, 10)
    now, later = network(sound[:, HOP:]), network(sound[:, :-HOP])
    moved, unmoved = (now[:, 8:22] - later[:, 9:23]).abs().mean(), (now[:, 8:22] - later[:, 8:22]).abs().mean()
    assert moved < 0.5 * unmoved


@pytest.mark.parametrize("padding", ["static", "same"])
def test_a_clip_does_not_depend_on_the_clips_beside_it(padding, clips):
    network = untrained(padding=padding)
    together = network(clips)
    alone = torch.cat([network(clip[None]) for clip in clips])
    assert largest(together - alone, alone) <= 2e-5
    assert largest(alone[0] - alone[1], alone) >= 1e-2


@pytest.fixture(scope="module")
def beep():
    """A tone of full scale between silences: float32 [samples]."""
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / SAMPLE_RATE)
    tone[:3000], tone[5000:] = 0, 0
    return tone


def test_the_floor_of_the_batch_depends_on_the_clips_beside_it(beep):
    """As in the original: silence beside a loud clip lies 120 dB below that clip, by itself at -100 dB."""
    waveform = torch.stack([torch.zeros_like(beep), beep])
    per_clip, per_batch = untrained().logmel(waveform), untrained(floor="batch").logmel(waveform)
    assert per_clip[0].numpy() == pytest.approx(-100)
    assert per_batch[0].numpy() == pytest.approx(per_batch.max().item() - 120, abs=1e-4)
    assert torch.equal(per_clip[1], per_batch[1])


def test_the_floor_of_a_clip_lies_120_db_below_its_loudest_value(network, beep):
    levels = network.logmel(beep[None])
    assert levels.max() > 25
    assert (levels.max() - levels.min()).item() == pytest.approx(120, abs=1e-4)


def test_the_same_batch_gives_the_same_bits(network, clips):
    assert torch.equal(network(clips), network(clips))


def test_static_padding_is_not_that_of_the_spectrogram(clips):
    """Of 125 STFT frames the stem leaves one out with static padding; `same` sets zeros on both sides."""
    clips = clips[:, : 124 * 160]
    static, same = untrained()(clips), untrained(padding="same")(clips)
    assert static.shape == same.shape
    assert largest(static - same, same) > 1e-2


def test_float64(network, clips):
    exact = copy.deepcopy(network).double()(clips.double())
    assert exact.dtype == torch.float64
    assert largest(network(clips) - exact, exact) <= 2e-5


@pytest.mark.parametrize("stft, places", [(33, [0] * 33), (36, [0] * 34 + [1] * 2), (101, None), (201, None)])
def test_time_stamps_repeat_the_frames_on_the_grid(network, stft, places):
    """A longer grid repeats the last frame, of a longer row of frames the middle is taken."""
    waveform = sounds(1, 0.01 * (stft - 1))
    frames, (repeated, times) = network(waveform), network.timestamps(waveform)
    row = [place for place in range(frames.shape[1]) for _ in range(32)]
    start = max(0, len(row) // 2 - stft // 2)
    wanted = (row[start:] + [row[-1]] * stft)[:stft]
    assert torch.equal(repeated, frames[:, wanted])
    assert times.tolist() == [10 * place for place in range(stft)]


def test_an_untrained_network_tells_clips_apart(network, clips):
    frames = network(clips)
    assert frames.isfinite().all()
    assert frames.std() > 0.1
    assert torch.equal(untrained()(clips), frames)
