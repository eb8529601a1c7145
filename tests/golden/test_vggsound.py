"""VGGSound's networks give the numbers of the reference on formula-made weights and inputs."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from earwitness.extractors.vggsound.network import Vggsound

TOLERANCE = 2e-5  # of the largest value
VARIANTS = {
    "resnet18_avgpool": {},
    "resnet50_avgpool": {"depth": 50},
    "resnet18_vlad": {"pooling": "vlad"},
}


@pytest.fixture(scope="module")
def networks(fill_by_rule):
    return {name: fill_by_rule(Vggsound(**options)) for name, options in VARIANTS.items()}


@pytest.mark.parametrize(
    ("name", "entries"), [("resnet18_avgpool", 122), ("resnet50_avgpool", 320), ("resnet18_vlad", 125)]
)
def test_entries_are_those_of_the_public_file(golden, networks, name, entries):
    ours = [
        [entry, list(value.shape), str(value.dtype).removeprefix("torch.")]
        for entry, value in networks[name].state_dict().items()
    ]
    assert ours == [entry[:3] for entry in golden("state_vggsound.json")[name]]
    assert len(ours) == entries


@contextmanager
def outputs_of(module, *names):
    """A dictionary that a pass through ``module`` fills with the outputs of its parts ``names``."""
    outputs = {}
    handles = [
        module.get_submodule(name).register_forward_hook(lambda *ends, name=name: outputs.update({name: ends[-1]}))
        for name in names
    ]
    yield outputs
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("name", "file", "clip_seconds", "seeds", "seconds", "every", "channels", "every_frame"),
    [
        ("resnet18_avgpool", "resnet18_avgpool_10s", 10.0, (131,), 10.0, 2, 8, 1),
        ("resnet18_avgpool", "resnet18_avgpool_4s_batch2", 4.0, (132, 133), 10.0, 8, 8, 1),
        ("resnet18_avgpool", "resnet18_avgpool_15s_full", 15.0, (134,), None, 8, 8, 1),
        ("resnet50_avgpool", "resnet50_avgpool_10s", 10.0, (135,), 10.0, 8, 8, 2),
        ("resnet18_vlad", "resnet18_vlad_10s", 10.0, (135,), None, 8, 8, 1),
    ],
)
def test_layers(
    golden, networks, wave, assert_within, name, file, clip_seconds, seeds, seconds, every, channels, every_frame
):
    """``every``, ``channels`` and ``every_frame``: the golden file has every so many columns, channels and frames."""
    reference, network = golden(f"vggsound_{file}.npz"), networks[name]
    network.seconds = seconds
    with torch.inference_mode(), outputs_of(network.audnet, "layer1", "layer4") as outputs:
        waveform = torch.from_numpy(np.stack([wave(16000, clip_seconds, seed) for seed in seeds]))
        spectrogram = network.spectrogram(waveform)[..., ::every]
        frames = network(waveform)
        embedding = network.clip_embedding(outputs["layer4"])
        logits = network.classify(embedding)
    assert spectrogram.shape == reference["spectrogram"].shape
    assert np.abs(spectrogram.numpy() - reference["spectrogram"]).max() <= 1e-5
    assert_within(outputs["layer1"][:, ::channels, ::8, ::40], reference["layer1_slice"], TOLERANCE)
    assert_within(frames[:, ::every_frame], reference["frames"], TOLERANCE)
    with torch.inference_mode():
        assert_within(network.fast()(waveform)[:, ::every_frame], reference["frames"], TOLERANCE)
    assert_within(embedding, reference["embedding"], TOLERANCE)
    assert_within(logits, reference["logits"], TOLERANCE)
