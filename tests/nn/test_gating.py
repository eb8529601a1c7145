"""Gated embedding units: unit vectors, and batches of one."""

import pytest
import torch

from earwitness.errors import EarwitnessError
from earwitness.nn.gating import ContextGating, GatedEmbedding


def values(rows, size=6):
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("module", [ContextGating(6), GatedEmbedding(6, 4)])
def test_a_batch_of_one_is_a_plain_error_in_training_alone(module):
    with pytest.raises(EarwitnessError, match=r"one.*batch normalisation"):
        module.train()(values(1))
    assert module.eval()(values(1)).isfinite().all()


def test_without_batch_normalisation_a_batch_of_one_trains():
    GatedEmbedding(6, 4, batch_norm=False).train()(values(1)).sum().backward()


@pytest.mark.parametrize("train", [False, True])
def test_embeddings_are_float32_of_length_one(train):
    torch.manual_seed(0)
    module = GatedEmbedding(6, 4).train(train)
    for scale in (1e-3, 1.0, 10.0):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedded = module(scale * values(5))
        assert embedded.dtype == torch.float32
        torch.testing.assert_close(embedded.norm(dim=1), torch.ones(5))


def test_zeros_have_finite_embeddings_and_gradients():
    module = GatedEmbedding(6, 4).train()
    torch.nn.init.zeros_(module.fc.bias)
    x = torch.zeros(3, 6, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.isfinite().all() and all(p.grad.isfinite().all() for p in module.parameters())
