"""Poolings: padding that does not count, empty and extreme rows, bfloat16, and NetVLAD against its formula."""

import numpy as np
import pytest
import torch

from earwitness.errors import EarwitnessError
from earwitness.nn import pooling as module_of_poolings
from earwitness.nn.pooling import NetRvlad, NetVlad, Transformer, pooling

SIZE, LONGEST = 8, 9
POOLINGS = ("mean", "max", "attention", "lstm", "netvlad", "netrvlad", "transformer")
OF_LENGTH_ONE = ("netvlad", "netrvlad")  # of any values; the mean of directions is too unless they cancel
VLADS = {"netvlad": NetVlad, "netrvlad": NetRvlad}
sizes = {"clusters": 3, "hidden": 6, "width": 8, "layers": 2, "heads": 2, "positions": LONGEST}


def made(name, train=False):
    torch.manual_seed(5)
    return pooling(name, SIZE, **sizes).train(train)


def batch(*lengths, width=None, filling=0.0, seed=1):
    """Values of clips of these lengths, the same whatever the width of the batch and what fills it."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(lengths), LONGEST, SIZE, generator=generator)
    width = width or max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    return drawn[:, :width].masked_fill(~mask[..., None], filling), mask


def output_and_gradients(module, values, mask):
    """The output, and the gradients of values that are there and of parameters for some loss."""
    values = values.clone().requires_grad_()
    output = module(values, mask)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    (output * weights).sum().backward()
    return [output.detach(), values.grad[mask], *(p.grad for p in module.parameters() if p.grad is not None)]


def assert_close(found, expected, tolerance=1e-5):
    for ours, theirs in zip(found, expected, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_the_padding_of_a_batch_does_not_count(name, train):
    expected = output_and_gradients(made(name, train), *batch(5, 3, 1))
    assert len(expected) == 2 + len(list(made(name).parameters()))
    for filling in (0.0, 7.0):
        padded = output_and_gradients(made(name, train), *batch(5, 3, 1, width=LONGEST, filling=filling))
        assert_close(padded, expected)


@pytest.mark.parametrize("name", POOLINGS)
@torch.no_grad()
def test_a_clip_alone_is_that_of_a_batch(name):
    values, mask = batch(5, 3, 1, width=LONGEST)
    module = made(name)
    together = module(values, mask)
    for row, length in enumerate((5, 3, 1)):
        assert_close([module(values[row, :length][None], mask[row, :length][None])], [together[[row]]])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_a_row_of_nothing_is_finite_and_changes_no_other(name, train):
    values, mask = batch(4, 0, 2)
    found = output_and_gradients(made(name, train), values, mask)
    assert all(part.isfinite().all() for part in found)
    assert found[0][1].abs().max() == 0
    assert_close([made(name, train)(values[[0, 2]], mask[[0, 2]])], [found[0][[0, 2]]])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_a_batch_of_nothing_is_zero(name, train):
    module = made(name, train)
    found = output_and_gradients(module, *batch(0, 0, width=4))
    assert found[0].abs().max() == 0
    assert all(part.isfinite().all() for part in [*found, *module.state_dict().values()])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_bfloat16_is_near_float32(name, train):
    """Outputs and gradients are within 4 % of the largest one; bfloat16 has 8 bits."""
    values, mask = batch(9, 5, 1, 0)
    expected = output_and_gradients(made(name, train), values, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output_and_gradients(made(name, train), values, mask)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32 and ours.isfinite().all()
        assert (ours - theirs).abs().max() <= 0.04 * max(1e-3, float(theirs.abs().max()))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("name", POOLINGS)
def test_short_and_long_values_are_finite(name, scale, train):
    values, mask = batch(5, 3, 1, 0)
    found = output_and_gradients(made(name, train), scale * values, mask)
    assert all(part.isfinite().all() for part in found)
    if name in OF_LENGTH_ONE:
        torch.testing.assert_close(found[0].norm(dim=1), torch.tensor([1.0, 1, 1, 0]))


@pytest.mark.parametrize("name", [name for name in POOLINGS if name != "max"])
def test_outputs_have_length_one(name):
    length = made(name)(*batch(9, 4, 1)).norm(dim=1)
    torch.testing.assert_close(length, torch.ones(3))


def vlad(kind, clusters, mask, train, values):
    """The formula in float64: ``values`` are x, clusters, bias and weight of the normalisation, and the centres."""
    x, centres = values["x"], values.get("clusters2")
    logits = x @ values["clusters"]
    mean, variance = (logits[mask].mean(0), logits[mask].var(0)) if train else (0, 1)
    logits = (logits - mean) / np.sqrt(variance + 1e-5) * values["batch_norm.weight"] + values["batch_norm.bias"]
    assigned = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assigned = (assigned * mask[..., None])[..., :clusters]  # [B, N, K]
    sums = np.einsum("bnk,bnd->bdk", assigned, x)
    if kind is NetVlad:
        sums = sums - assigned.sum(1)[:, None] * centres
    columns = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    flat = columns.reshape(len(x), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("name", "ghosts"), [("netvlad", 0), ("netvlad", 2), ("netrvlad", 0), ("netrvlad", 2)])
def test_vlad_is_its_formula_with_its_derivatives(name, ghosts, train):
    kind = VLADS[name]
    torch.manual_seed(7)
    module = kind(SIZE, 3, ghosts=ghosts).train(train)
    torch.nn.init.normal_(module.batch_norm.weight)
    torch.nn.init.normal_(module.batch_norm.bias)
    tensors, mask = batch(9, 4, 2, 0)
    point = {"x": tensors} | dict(module.named_parameters())
    point = {key: value.detach().double().numpy() for key, value in point.items()}
    tensors.requires_grad_()
    output = module(tensors, mask)
    formula = vlad(kind, 3, mask.numpy(), train, point)
    np.testing.assert_allclose(output.detach(), formula, atol=2e-6)
    random = np.random.default_rng(3)
    weights = random.standard_normal(formula.shape)
    (output * torch.from_numpy(weights)).sum().backward()
    gradients = {"x": tensors.grad} | {key: value.grad for key, value in module.named_parameters()}
    for key, gradient in gradients.items():
        way = random.standard_normal(point[key].shape)
        ends = [
            (weights * vlad(kind, 3, mask.numpy(), train, point | {key: point[key] + step * way})).sum()
            for step in (1e-5, -1e-5)
        ]
        assert (gradient.numpy() * way).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-4), key


def test_many_values_are_pooled_as_few_are(monkeypatch):
    """Without their products with each other, of which an hour of sound has too many."""
    inputs = batch(9, 4, 2, 0)
    expected = output_and_gradients(made("netrvlad", True), *inputs)
    monkeypatch.setattr(module_of_poolings, "MANY", 8)
    monkeypatch.setattr(module_of_poolings, "ROUNDING", np.nan)  # of products alone
    assert_close(output_and_gradients(made("netrvlad", True), *inputs), expected)


@pytest.mark.parametrize("name", VLADS)
def test_values_that_cancel_give_no_more_than_length_one(name):
    """Sums of which nothing but rounding is left."""
    values = torch.randn(4, 3, SIZE, generator=torch.Generator().manual_seed(0))
    values[:, 2] = -values[:, 0] - values[:, 1]
    module = made(name)
    torch.nn.init.zeros_(module.clusters)  # all belong to each cluster alike
    if name == "netvlad":
        torch.nn.init.zeros_(module.clusters2)
    found = output_and_gradients(module, values, torch.ones(4, 3, dtype=torch.bool))
    assert all(part.isfinite().all() for part in found)
    assert found[0].norm(dim=1).max() < 1.001


@pytest.mark.parametrize("name", VLADS)
def test_training_on_one_value_is_a_plain_error(name):
    with pytest.raises(EarwitnessError, match=r"\b1\b.*batch normalisation"):
        made(name, train=True)(*batch(1, 0, width=2))


def test_pads_count_as_published():
    """With ``mask_pads: false``."""
    values, mask = batch(2, 1, width=4)
    negative = -values.abs()
    assert pooling("max", SIZE, mask_pads=False)(negative, mask).abs().max() == 0
    assert pooling("max", SIZE)(negative, mask).max() < 0
    for name, kind in VLADS.items():
        module = made(name, train=True)
        module.mask_pads = False
        everything = torch.ones_like(mask)
        assert torch.equal(module(values, mask), module(values, everything))
        assert isinstance(module, kind) and not torch.equal(module(values, mask), made(name, True)(values, mask))


def test_more_values_than_positions_are_a_plain_error():
    module = Transformer(SIZE, 8, 1, 2, positions=4)
    with pytest.raises(EarwitnessError, match=r"\b4\b.*\b5\b"):
        module(*batch(5))
    assert module(*batch(4)).shape == (1, 8)


@torch.no_grad()
def test_attention_weights_values_by_a_softmax():
    values, mask = batch(5, 3, 1, width=LONGEST, filling=7.0)
    module = made("attention")
    for row, length in enumerate((5, 3, 1)):
        x = values[row, :length].double().numpy()
        weights = np.exp(x @ module.score.weight[0].double().numpy())
        expected = weights @ x / np.linalg.norm(weights @ x)
        np.testing.assert_allclose(module(values, mask)[row], expected, atol=1e-6)
