"""Losses against plain loops."""

import pytest
import torch
from torch.nn import functional

from earwitness.errors import EarwitnessError
from earwitness.nn.losses import info_nce, max_margin


def similarities(size):
    return torch.randn(size, size, generator=torch.Generator().manual_seed(size))


def looped(rows, margin):
    size, total = len(rows), 0.0
    for i in range(size):
        for j in range(size):
            if i != j:
                total += max(0.0, margin - rows[i][i] + rows[i][j]) + max(0.0, margin - rows[i][i] + rows[j][i])
    return total / (2 * size * (size - 1))


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("size", [2, 3, 17])
def test_max_margin_is_its_formula(size, margin):
    similarity = similarities(size)
    assert max_margin(similarity, margin).item() == pytest.approx(looped(similarity.tolist(), margin), rel=1e-5)
    assert max_margin(similarity.T, margin).item() == pytest.approx(max_margin(similarity, margin).item(), rel=1e-6)


def test_pairs_apart_by_the_margin_cost_nothing():
    similarity = torch.eye(4).requires_grad_()
    loss = max_margin(similarity, 0.9)
    loss.backward()
    assert loss.item() == 0 and similarity.grad.abs().max() == 0


@pytest.mark.parametrize("size", [0, 1])
def test_a_batch_without_negatives_is_a_plain_error(size):
    with pytest.raises(EarwitnessError, match=rf"\b{size}\b.*two"):
        max_margin(similarities(size))


@pytest.mark.parametrize("size", [1, 2, 17])
def test_info_nce_is_cross_entropy_both_ways(size):
    similarity = 100 * similarities(size)
    rows, columns = similarity.double().log_softmax(1).diagonal(), similarity.double().log_softmax(0).diagonal()
    assert info_nce(similarity).item() == pytest.approx(float(-(rows + columns).mean() / 2), rel=1e-5)
    right = torch.arange(size)
    expected = functional.cross_entropy(similarity, right) / 2 + functional.cross_entropy(similarity.T, right) / 2
    torch.testing.assert_close(info_nce(similarity), expected)


def test_losses_are_float32_of_bfloat16_too():
    for loss in (max_margin, info_nce):
        assert loss(similarities(3).bfloat16()).dtype == torch.float32
