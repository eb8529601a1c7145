"""WSAC's decoder gives the numbers of the published implementation on formula-made weights and inputs."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from earwitness.options import DecodingOptions
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.wsac.network import Sizes, Wsac, caption_loss, nearest, projected
from earwitness.systems.wsac.options import WsacOptions

ROWS, PAD, SEP = 50257, 0, 102
TIED = "decoder.lm_head.weight"  # to the word embeddings


@pytest.fixture(scope="module")
def reference(golden):
    return golden("wsac_decoder.npz")


@pytest.fixture(scope="module")
def network(fill_by_rule):
    options = WsacOptions(system="wsac", text="bert", decoder={"rows": ROWS}, legacy_decoding=True)
    return fill_by_rule(Wsac(options, Sizes(dimension=1024, words=30522, memory=0)))


@pytest.fixture(scope="module")
def prefix(rnd):
    return normalize(torch.from_numpy(rnd(1990, 3, 1024)), dim=-1)


@pytest.fixture(scope="module")
def memory(rnd):
    return normalize(torch.from_numpy(rnd(1992, 50, 1024)), dim=-1)


def test_every_published_weight_has_its_place_and_shape(golden, network):
    (entries,) = golden("state_wsac.json").values()
    theirs = {name: shape for name, shape, *_ in entries if name != TIED}
    assert [entry[3] for entry in entries if entry[0] == TIED] == ["tied to decoder.transformer.wte.weight"]
    ours = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert ours.pop("memory") == [0, 1024]
    assert ours == theirs


def test_logits_and_loss(network, prefix, reference, assert_within):
    ids = torch.from_numpy(reference["tokens"])
    with torch.inference_mode():
        logits = network.word_logits(network(prefix, ids))
        loss, _ = caption_loss(logits[:, :-1][ids != PAD], ids[ids != PAD])
    assert_within(logits[:, :, ::400], reference["logits_slice"], 1e-4)
    assert (logits.argmax(dim=-1).numpy() == reference["argmax"]).all()
    assert_within(loss, reference["loss"], 1e-4)


def test_greedy_decoding_from_the_prefix_alone(network, prefix, reference):
    options = DecodingOptions(max_words=30)
    words, _ = decode(network, prefix, Symbols(101, SEP, []), options, 30)
    found = np.full_like(reference["greedy_inner"], -1)
    for row, tokens in zip(found, words, strict=True):
        inner = tokens[1:29]  # 30 tokens at most; the first and the last are left out
        row[: len(inner)] = inner
    assert (found == reference["greedy_inner"]).all()


def test_nearest_and_projection(prefix, memory, reference, assert_within):
    rows = (nearest(prefix, memory)[:, None] == memory).all(dim=-1).int().argmax(dim=1)
    assert (rows.numpy() == reference["nearest"]).all()
    assert_within(projected(prefix, memory, 0.01)[:, ::4], reference["projection"], 1e-4)
