"""The networks as extractors: weights by name or random, batches, padding, precision and storage."""

import sys
from typing import Literal

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from earwitness import config, registry
from earwitness.corpora.tables import CLIPS, write_table
from earwitness.errors import EarwitnessError
from earwitness.extractors import networks
from earwitness.extractors.efficient_latent import EfficientLatentOptions
from earwitness.extractors.efficient_latent.network import EfficientLatentExtractor
from earwitness.extractors.interface import Extractor
from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.panns_cnn10 import PannsCnn10Options
from earwitness.extractors.panns_cnn10.network import PannsCnn10Extractor
from earwitness.extractors.published import PublishedWeights, state
from earwitness.extractors.vggish import VggishOptions
from earwitness.extractors.vggsound import VggsoundOptions
from earwitness.features import stage
from earwitness.features.store import FeatureStore
from earwitness.features.workers import extractor_of
from earwitness.files import sha256
from earwitness.options import FeatureOptions

HERE = "tests.extractors.test_networks"
RATE = 32000
SECONDS = [0.6, 0.1, 0.6, 0.4, 0.6]  # 0.1 s: shorter than Cnn10's minimum


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the processes of an extraction have; with other numbers the last digits differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def corpus(tmp_path):
    rows = []
    for number, seconds in enumerate(SECONDS):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)
        soundfile.write(tmp_path / f"{number}.wav", samples, RATE, subtype="FLOAT")
        digest = sha256(tmp_path / f"{number}.wav")
        rows.append([f"evaluation/{number}", "evaluation", f"{number}.wav", "name", seconds, RATE, 1, digest])
    write_table(tmp_path / "clips.csv", pd.DataFrame(rows, columns=CLIPS))
    return tmp_path


def extracted(corpus, name, **changes):
    options = PannsCnn10Options(extractor="panns_cnn10", **{"weights": "untrained"} | changes)
    out = corpus / "out" / f"{name}.h5"
    stage.extract(options, corpus / "clips.csv", "evaluation", corpus, out, 2)
    return out


def test_clips_of_one_length_run_together_and_come_out_in_order(corpus, monkeypatch):
    sizes = []
    frames = networks.NetworkExtractor.frames
    monkeypatch.setattr(networks.NetworkExtractor, "frames", lambda self, w: sizes.append(w.shape) or frames(self, w))
    with FeatureStore(extracted(corpus, "together")) as store:
        assert sorted(sizes) == [(1, 3200), (1, 12800), (3, 19200)]
        assert store.clip_ids == [f"evaluation/{number}" for number in range(5)]
        assert [len(store[clip_id]) for clip_id in store.clip_ids] == [3, 1, 3, 2, 3]
        assert store.provenance["counts"]["shorter_than_one_window"] == 1
        assert store.provenance["untrained"] and store.provenance["unverified"] == []
        together = [store[clip_id] for clip_id in store.clip_ids]
    with FeatureStore(extracted(corpus, "alone", clips_per_shard=1)) as store:
        for clip_id, expected in zip(store.clip_ids, together, strict=True):
            assert np.abs(store[clip_id] - expected).max() <= 2e-5 * np.abs(expected).max()
    first, again = (extracted(corpus, name).read_bytes() for name in ("first", "again"))
    assert first == again


def test_precision_and_storage_are_asked_for_and_recorded(corpus):
    plain = FeatureStore(extracted(corpus, "plain"))
    low = FeatureStore(extracted(corpus, "low", precision="bfloat16", storage="float16"))
    assert (low.provenance["settings"]["precision"], low.provenance["settings"]["storage"]) == ("bfloat16", "float16")
    with h5py.File(low.path) as file:
        assert file["frames"].dtype == np.float16
    expected, found = plain["evaluation/0"], low["evaluation/0"]
    assert found.dtype == np.float32 and 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    other = FeatureStore(extracted(corpus, "other", seed=1))
    assert np.abs(other["evaluation/0"] - expected).max() > 0.1 * np.abs(expected).max()


def test_weights_are_read_from_a_file_and_their_digest_is_kept(corpus, tmp_path):
    network = PannsCnn10Extractor(PannsCnn10Options(extractor="panns_cnn10", weights="untrained")).build()
    networks.checkpoints.untrained(network, 3)
    path = tmp_path / "own.pth"
    torch.save({"model": network.state_dict()}, path)
    with FeatureStore(extracted(corpus, "own", weights=str(path))) as store:
        assert store.provenance["inputs"]["weights"] == sha256(path)
        assert store.provenance["unverified"] == ["own.pth"] and not store.provenance["untrained"]
        own = store["evaluation/0"]
    with FeatureStore(extracted(corpus, "made", seed=3)) as store:
        np.testing.assert_array_equal(store["evaluation/0"], own)
    with pytest.raises(EarwitnessError, match=r"gone\.pth"):
        extracted(corpus, "gone", weights=str(tmp_path / "gone.pth"))


NETWORKS = [
    name
    for name, entry in registry.EXTRACTORS.items()
    if issubclass(registry.load(entry.options), NetworkOptions) and name != "clap_wavcaps"  # it is Cnn14 once more
]


@pytest.fixture(scope="module", params=NETWORKS)
def untrained(request):
    """Every network, as an extractor in float32."""
    options = registry.load(registry.EXTRACTORS[request.param].options)(extractor=request.param, weights="untrained")
    if problem := options.problem():
        pytest.skip(problem)
    return extractor_of(options)


@pytest.fixture(scope="module")
def waveforms(untrained):
    """Three clips that differ in more than their noise."""
    samples = untrained.minimum + 2 * min(untrained.hop, untrained.sample_rate) + 1
    time = np.arange(samples) / untrained.sample_rate
    tones = np.stack([np.sin(2 * np.pi * pitch * time * time) for pitch in (200, 900, 1800)])
    noise = np.random.default_rng(0).normal(0, 0.02, tones.shape)
    return (np.array([[1], [0.1], [0.5]]) * (0.3 * tones + noise)).astype(np.float32)


@pytest.fixture(scope="module")
def frames(untrained, waveforms):
    return untrained.frames(waveforms)


def test_every_network_says_what_it_gives(untrained, waveforms, frames):
    clips, samples = waveforms.shape
    assert frames.shape == (clips, sys.modules[type(untrained).__module__].frames_of(samples), untrained.dimension)
    assert frames.dtype == np.float32 and np.isfinite(frames).all()
    assert np.abs(frames[0] - frames[1]).max() > 0.01 * np.abs(frames).max()
    assert untrained.frames(waveforms[:, : untrained.minimum // 2]).shape[1] == 1


def test_features_do_not_depend_on_batch_mates(untrained, waveforms, frames):
    np.testing.assert_array_equal(untrained.frames(waveforms), frames)
    for alone, together in zip(waveforms, frames, strict=True):
        assert np.abs(untrained.frames(alone[None])[0] - together).max() <= 2e-5 * np.abs(together).max()


def test_what_extracts_is_the_network(untrained, waveforms):
    """The copy for inference, against the network as it was published, with normalisations that do something."""
    network = untrained.build().eval()
    networks.checkpoints.untrained(network, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                for values in (part.weight, part.bias, part.running_mean, part.running_var):
                    values.add_(0.1 * torch.rand(values.shape, generator=generator))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        plain, fast = (run(torch.from_numpy(waveforms)) for run in (network, network.fast()))
    assert (plain - fast).abs().max() <= 2e-5 * plain.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_bfloat16_keeps_clips_apart(untrained, waveforms, frames):
    """Root mean square error, beside what tells clips from their mean: EfficientLatent 6 %, others below 4 %."""
    low = extractor_of(untrained.options.model_copy(update={"precision": "bfloat16"})).frames(waveforms)
    assert low.dtype == np.float32 and not np.array_equal(low, frames)
    spread = np.sqrt(np.mean((frames - frames.mean(axis=0)) ** 2))
    error = np.sqrt(np.mean((low - frames) ** 2)) / spread
    assert error < (0.12 if untrained.dimension == 1408 else 0.06)


def test_a_batch_that_memory_does_not_hold_is_halved(monkeypatch):
    def network(batch):
        if len(batch) > most:
            raise torch.OutOfMemoryError("no room")
        return batch[:, :1, None]

    options = PannsCnn10Options(extractor="panns_cnn10", weights="untrained")
    extractor = PannsCnn10Extractor(options)
    monkeypatch.setattr(PannsCnn10Extractor, "network", staticmethod(network))
    clips = np.arange(7, dtype=np.float32)[:, None] * np.ones((1, 64000), np.float32)
    most = 2
    assert extractor.frames(clips)[:, 0, 0].tolist() == list(range(7))
    most = 0
    with pytest.raises(EarwitnessError, match=r"memory does not suffice for 1 clip\(s\) of 2\.0 s"):
        extractor.frames(clips)


def test_where_batches_count_they_are_the_same_everywhere():
    options = EfficientLatentOptions(
        extractor="efficient_latent", weights="untrained", floor="batch", clips_per_shard=3
    )
    extractor = EfficientLatentExtractor(options)
    assert (extractor.batch_seconds, options.shard_clips) == (40, 16)
    assert options.model_copy(update={"floor": "clip"}).shard_clips == 3


def test_features_do_not_depend_on_the_number_of_cores(corpus):
    options = VggsoundOptions(extractor="vggsound", weights="untrained", clips_per_shard=2)
    made = [corpus / f"{cores}.h5" for cores in (1, 2)]
    for cores, out in enumerate(made, start=1):
        stage.extract(options, corpus / "clips.csv", "evaluation", corpus, out, cores)
    assert made[0].read_bytes() == made[1].read_bytes()


def test_where_the_weights_are():
    vggish = VggishOptions(extractor="vggish", postprocess=True)
    files = [path.name for path in vggish.checkpoints().values()]
    assert files == ["vggish-10086976.pth", "vggish_pca_params-970ea276.pth"]
    assert VggishOptions(extractor="vggish").checkpoints().keys() == {"weights"}
    assert VggishOptions(extractor="vggish", weights="untrained", postprocess=True).checkpoints() == {}
    assert str(VggsoundOptions(extractor="vggsound").checkpoints()["weights"]) == "resources/checkpoints/H.pth.tar"
    own = PannsCnn10Options(extractor="panns_cnn10", weights="/data/x.pth")
    assert str(own.checkpoints()["weights"]) == "/data/x.pth"


class LoudnessOptions(FeatureOptions):
    """A seventh extractor: one module with its options and itself, and one line in the registry."""

    extractor: Literal["loudness"]


class Loudness(Extractor):
    """Root mean square of every 0.1 s."""

    sample_rate, dimension, hop, window_seconds, batch_seconds = 8000, 1, 800, 0.1, 2

    def __init__(self, options):
        self.options = options

    def frames(self, waveforms):
        whole = waveforms[:, : waveforms.shape[1] // 800 * 800].reshape(len(waveforms), -1, 800)
        return np.sqrt((whole**2).mean(axis=2, keepdims=True))


def test_a_seventh_extractor_is_one_line(corpus, monkeypatch):
    monkeypatch.setitem(registry.EXTRACTORS, "loudness", registry.Entry(f"{HERE}:LoudnessOptions", f"{HERE}:Loudness"))
    config.model.cache_clear()
    entries = {"datasets": {}, "texts": {}, "experiments": {}, "features": {"loud": {"extractor": "loudness"}}}
    options = config.Config(entries).features["loud"]
    config.model.cache_clear()
    assert type(config.validated("features", options.model_dump())).__name__ == "LoudnessOptions"
    out = corpus / "out" / "loudness.h5"
    stage.extract(options, corpus / "clips.csv", "evaluation", corpus, out, 2)
    with FeatureStore(out) as store:
        assert store.dimension == 1 and [len(store[clip_id]) for clip_id in store.clip_ids] == [6, 1, 6, 4, 6]
        # Uniform noise of 0.5 has 0.289, a quarter of whose power is left below 4 kHz.
        assert store["evaluation/0"].mean() == pytest.approx(0.289 / 2, rel=0.1)


class ScaledOptions(NetworkOptions):
    """An eighth, a network with published weights: they are declared here, and nowhere else."""

    PUBLISHED = {
        "weights": PublishedWeights(
            "scaled.pth", ("https://somewhere/scaled.pth",), "Scaled loudness", key="state", marks={"scale": (1,)}
        )
    }

    extractor: Literal["scaled"]


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, waveforms):
        return self.scale * waveforms.unfold(1, 800, 800).square().mean(dim=2, keepdim=True).sqrt()

    def fast(self, dtype):
        return self


class ScaledExtractor(networks.NetworkExtractor):
    sample_rate, dimension, hop, minimum = 8000, 1, 800, 800

    def build(self):
        return Scaled()


def test_published_weights_of_a_new_extractor_are_declared_with_its_options(corpus, monkeypatch):
    monkeypatch.setitem(
        registry.EXTRACTORS, "scaled", registry.Entry(f"{HERE}:ScaledOptions", f"{HERE}:ScaledExtractor")
    )
    monkeypatch.chdir(corpus)
    options = ScaledOptions(extractor="scaled")
    (weights,) = options.checkpoints().values()
    with pytest.raises(EarwitnessError, match=r"scaled\.pth does not exist.*Scaled loudness.*snakemake"):
        stage.extract(options, corpus / "clips.csv", "evaluation", corpus, corpus / "out.h5", 1)
    (corpus / "mirror").mkdir()
    torch.save({"state": {"gain": torch.ones(1)}}, corpus / "mirror/scaled.pth")
    with pytest.raises(EarwitnessError, match=r"scale: missing"):
        networks.checkpoints.fetch("scaled.pth", mirror="mirror")
    torch.save({"state": {"scale": torch.full((1,), 2.0)}}, corpus / "mirror/scaled.pth")
    networks.checkpoints.fetch("scaled.pth", mirror="mirror")
    assert state("scaled.pth") == {"sha256": sha256(weights), "verified": False}
    stage.extract(options, corpus / "clips.csv", "evaluation", corpus, corpus / "out.h5", 1)
    with FeatureStore(corpus / "out.h5") as store:
        assert store["evaluation/0"].mean() == pytest.approx(0.289, rel=0.1)
        assert store.provenance["unverified"] == ["scaled.pth"]
        assert store.provenance["settings"]["weights"] == "public"
