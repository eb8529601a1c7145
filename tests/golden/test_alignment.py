"""Parity of audio-caption alignment: log-mel, encoder, scores and loss."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from earwitness.extractors.logmel import LogMelOptions
from earwitness.extractors.logmel.spectrogram import LogMel
from earwitness.nn.alignment import similarities
from earwitness.nn.losses import triplet
from earwitness.systems.alignment.network import Alignment
from earwitness.systems.alignment.options import AlignmentOptions
from tests.places import GOLDEN

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the golden numbers are not there ({GOLDEN})")
SCORES = {"STSQ": {}, "MTSQ": {"time": "max", "first": "time"}, "MQST": {"words": "max"}}
WORDS = "text_encoder.embedding.weight"  # of the published network
LOG_MEL = LogMelOptions(
    extractor="logmel",
    sample_rate=44100,
    n_fft=2048,
    window=1764,
    hop=882,
    mels=64,
    fmin=12,
    fmax=8000,
    log="natural",
    offset=float(np.spacing(1)),
)


def network(score="STSQ", **options):
    options = {"system": "alignment", "feature": "f", "text": "w", "score": SCORES[score]} | options
    return Alignment(AlignmentOptions.model_validate(options), {"audio": 64, "text": 300}).eval()


@pytest.fixture(scope="module")
def inputs(golden, wave, weight):
    """Frames [3, T, 64], zeros beyond the end, and the vectors of words [3, Q, 300], with the numbers of both."""
    expected = golden("alignment_crnn.npz")
    clips = [LogMel(LOG_MEL)(wave(44100, seconds, 1800 + n)) for n, seconds in enumerate([4.0, 2.5, 3.3])]
    lengths = torch.tensor([len(clip) for clip in clips])
    assert lengths.tolist() == expected["frame_lengths"].tolist()
    frames = torch.zeros(3, int(lengths.max()), 64)
    for row, clip in zip(frames, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    words = torch.from_numpy(weight(WORDS, (1200, 300)))[torch.from_numpy(expected["queries"])]
    return frames, lengths, words, torch.from_numpy(expected["query_lengths"])


def masks(frames, lengths, words, counts):
    return (torch.arange(part.shape[1]) < ends[:, None] for part, ends in ((frames, lengths), (words, counts)))


def test_names(golden):
    (entries,) = golden("state_alignment.json").values()
    theirs = {name: list(shape) for name, shape, *_ in entries if name != WORDS}
    ours = {name: list(value.shape) for name, value in network().state_dict().items() if name != "log_scale"}
    assert ours == theirs


@torch.no_grad()
def test_encoder(golden, inputs, fill_by_rule, assert_within):
    expected = golden("alignment_crnn.npz")
    frames, lengths, words, _ = inputs
    for row, ours in zip(expected["logmel"], frames[:, ::4], strict=True):
        np.testing.assert_allclose(ours, row, atol=1e-3)
    published = fill_by_rule(network(mask_pads=False))
    convolved = published.audio_encoder._convolved(frames, lengths)
    assert_within(convolved.transpose(1, 2)[:, ::8, ::5, None], expected["cnn_slice"], 5e-4)
    assert_within(published.audio_encoder.steps(frames, lengths)[:, ::3, ::4], expected["gru"], 5e-4)
    assert_within(published.audio_encoder(frames, lengths)[:, ::7, ::5], expected["upsampled_slice"], 5e-4)
    audio = published.embed_audio(frames, lengths)
    assert_within(audio[:, ::7, ::5], expected["audio_embedding_slice"], 5e-4)
    there, present = masks(*inputs)
    texts = published.embed_texts(words, present)
    assert_within(texts[..., ::5], expected["query_embedding_slice"], 5e-4)
    matrix = similarities(audio, texts) * there[..., None]
    assert_within(matrix[:, ::4], expected["alignment"], 5e-4)


@torch.no_grad()
@pytest.mark.parametrize("score", SCORES)
def test_scores(score, golden, inputs, fill_by_rule, assert_within):
    frames, lengths, words, _ = inputs
    published = fill_by_rule(network(score, mask_pads=False))
    there, present = masks(*inputs)
    audio, texts = published.embed_audio(frames, lengths), published.embed_texts(words, present)
    found = published.scores(audio, there, texts, present).T
    assert_within(found, golden("alignment_crnn.npz")[f"score_{score}"], 5e-4)
    pairs = published.scores_of_pairs(audio, there, texts, present)
    assert_within(pairs, golden("alignment_crnn.npz")[f"score_{score}"].diagonal(), 5e-4)


@pytest.mark.parametrize("margin", [1, 0.2])
@pytest.mark.parametrize("score", SCORES)
def test_loss(score, margin, golden, rnd):
    expected = golden("loss_alignment.npz")
    audio = functional.normalize(torch.from_numpy(rnd(1891, 6, 20, 16)), dim=-1)
    texts = functional.normalize(torch.from_numpy(rnd(1892, 6, 7, 16)), dim=-1)
    there, present = (
        torch.arange(part.shape[1]) < torch.from_numpy(expected[f"{name}_lengths"])[:, None]
        for part, name in ((audio, "audio"), (texts, "query"))
    )
    scores = network(score).scores(audio, there, texts, present)  # [texts, clips]
    np.testing.assert_allclose(scores.T, expected[f"scores_{score}"], rtol=1e-5)
    by_clip, by_text = torch.from_numpy(expected[f"impostors_{score}_{margin}"]).T
    pairs = torch.arange(6)
    loss = triplet(scores.diagonal(), scores[pairs, by_clip], scores[by_text, pairs], margin)
    assert float(loss) == pytest.approx(float(expected[f"loss_{score}_{margin}"]), rel=1e-5)
