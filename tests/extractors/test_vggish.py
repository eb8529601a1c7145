"""VGGish: parity vectors, frame counts, batch mates, lower and higher precision, and the post-processor."""

import copy
import math

import pytest
import torch

from earwitness.extractors.vggish.network import DIMENSION, HOP, MINIMUM, SAMPLE_RATE, PostProcessor, Vggish, frames_of
from tests.extractors.vectors import figures, largest_difference, noise


def formula(shape):
    """The formula-made values of a weight or a bias of this shape, float32."""
    j = torch.arange(math.prod(shape), dtype=torch.float64)  # torch's cosine is quick where NumPy's takes seconds
    if len(shape) > 1:
        values = 2 / math.sqrt(math.prod(shape[1:])) * torch.cos(1.7 * j + 0.3 * (j % 7) ** 2 + 1)
    else:
        values = 0.1 * torch.sin(j + 1)
    return values.reshape(shape).float()


@pytest.fixture(scope="module")
def network():
    made = Vggish()
    made.load_state_dict({name: formula(tuple(value.shape)) for name, value in made.state_dict().items()})
    return made.eval()


@pytest.fixture(scope="module")
def untrained():
    """Random weights, under which the network still tells its inputs apart."""
    torch.manual_seed(1)
    return Vggish().eval()


def test_front_end_parity(network):
    examples = network.examples(noise(160000))
    assert examples.shape == (1, 10, 96, 64)
    assert figures(examples) == pytest.approx([2.150482, 0.795455, -2.746072, 3.978803, 0.960808, 3.302971], abs=1e-6)


def test_embedding_parity(network):
    with torch.inference_mode():
        embedding = network(noise(160000))
    assert embedding.shape == (1, 10, 128)
    assert figures(embedding) == pytest.approx([0.032889, 0.043536, 0, 0.140998, 0.090561, 0.077985], abs=2e-6)


def test_number_of_parameters(network):
    assert sum(value.numel() for value in network.parameters()) == 72141184


@pytest.mark.parametrize(("seconds", "frames"), [(10, 10), (30, 31)])
def test_published_frame_counts(seconds, frames):
    assert frames_of(seconds * SAMPLE_RATE) == frames


@pytest.mark.parametrize("samples", [400, MINIMUM - 1, MINIMUM, MINIMUM + 1, 30959, 30960, 33333, 160000, 480000])
def test_frame_counts(network, samples):
    """Below the minimum there is no example, as in the reference."""
    assert network.examples(noise(samples)).shape == (1, frames_of(samples), 96, 64)


def test_the_minimum_gives_one_frame_and_less_gives_none(network):
    assert [frames_of(samples) for samples in (0, MINIMUM - 1, MINIMUM)] == [0, 0, 1]
    with torch.inference_mode():
        assert network(noise(MINIMUM)).shape == (1, 1, DIMENSION)
        assert network(noise(MINIMUM - 1)).shape == (1, 0, DIMENSION)


def test_an_example_is_hop_samples_later_than_the_one_before(network):
    clip = noise(4 * HOP + 240)
    later = network.examples(clip[:, HOP:])
    assert torch.equal(later, network.examples(clip)[:, 1:])


def test_silence_is_the_logarithm_of_the_offset(network):
    examples = network.examples(torch.zeros(1, MINIMUM))
    assert torch.equal(examples, torch.full_like(examples, math.log(0.01)))


@pytest.fixture(scope="module")
def clips():
    """Three clips of two examples each, which differ in more than their noise."""
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


@pytest.fixture(scope="module")
def post_processor():
    """Halves each value and turns the order of the 128 around, after subtracting 1."""
    made = PostProcessor()
    made.load_state_dict(
        {"pca_eigen_vectors": 0.5 * torch.eye(DIMENSION).flip(0), "pca_means": torch.ones(DIMENSION, 1)}
    )
    return made


@pytest.mark.parametrize(
    ("raw", "quantised"),
    [(-9, 0), (-3, 0), (-2.97, 1), (1, 128), (1 + 2.8 / 63.75, 129), (4.98, 254), (4.99, 255), (5, 255), (9, 255)],
)
def test_post_processor_clips_and_quantises(post_processor, raw, quantised):
    row = torch.full((DIMENSION,), 1.0)
    row[0] = raw
    values = post_processor(row.expand(2, 3, DIMENSION))
    assert values.shape == (2, 3, DIMENSION)
    assert (values[..., -1] == quantised).all()
    assert (values[..., :-1] == 128).all()  # 127.5, to the even number


def test_post_processed_embeddings(untrained, post_processor, clips, plain):
    state = untrained.state_dict() | {f"pproc.{name}": value for name, value in post_processor.state_dict().items()}
    with torch.device("meta"):
        network = Vggish(postprocess=True).eval()
    network.load_state_dict(state, assign=True)
    with torch.inference_mode():
        assert torch.equal(network(clips), post_processor(plain))
