"""The convolutional recurrent encoder: clips do not depend on each other, and long ones go block by block."""

import pytest
import torch

from earwitness.nn import crnn
from earwitness.nn.crnn import Crnn, PowerPool, normalised, upsampled


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Crnn(mels=64, hidden=3, dropout=0.0, channels=[2, 3, 3, 3, 3])


def padded(*lengths):
    """Random clips of the given lengths with loud padding, [N, T, 64], and their lengths."""
    generator = torch.Generator().manual_seed(1)
    frames = torch.full((len(lengths), max(lengths), 64), 9.0)
    for row, length in zip(frames, lengths, strict=True):
        row[:length] = torch.randn(length, 64, generator=generator)
    return frames, torch.tensor(lengths)


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(small, training):
    small.train(training)
    frames, lengths = padded(21, 21, 21)
    alone = small(frames, lengths)
    longer = torch.cat([frames, torch.full((3, 10, 64), 5.0)], dim=1)
    torch.testing.assert_close(small(longer, lengths)[:, :21], alone)


def test_a_clip_does_not_depend_on_what_it_shares_a_batch_with(small):
    small.eval()
    frames, lengths = padded(40, 3, 18, 1, 27)
    together = small(frames, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = small(frames[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0])


def test_as_published_it_does(small):
    published = Crnn(mels=64, hidden=3, dropout=0.0, mask_pads=False, channels=[2, 3, 3, 3, 3]).eval()
    frames, lengths = padded(40, 18)
    together = published(frames, lengths)
    alone = published(frames[1:, :18], lengths[1:])
    assert not torch.allclose(together[1, :18], alone[0], atol=1e-3)


def test_blocks_of_a_long_clip_give_the_same(small, monkeypatch):
    small.eval()
    frames, lengths = padded(203)
    whole = small(frames, lengths)
    monkeypatch.setattr(crnn, "BLOCK", 48)
    torch.testing.assert_close(small(frames, lengths), whole)
    parts = [
        small.spread(small.steps(frames, lengths), lengths, 203, at, min(at + 50, 203)) for at in (0, 50, 100, 200)
    ]
    torch.testing.assert_close(parts[1], whole[:, 50:100])
    assert parts[3].shape == (1, 3, 6)


def test_statistics_are_those_of_frames_that_are_there():
    torch.manual_seed(0)
    norm, reference = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    x = torch.randn(2, 3, 6, 4)
    here = torch.arange(6) < torch.tensor([[6], [4]])
    found = normalised(norm, x, here)
    kept = torch.cat([x[0], x[1, :, :4]], dim=1)[None]
    torch.testing.assert_close(torch.cat([found[0], found[1, :, :4]], dim=1)[None], reference(kept))
    assert not found[1, :, 4:].any()
    for ours, theirs in zip(norm.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_the_masked_normalisation(layout):
    """In both memory formats: torch's own are wrong for some (findings/torch-batch-norm-before-a-sequence.sh)."""
    norm = torch.nn.BatchNorm2d(3).double()
    here = torch.arange(6) < torch.tensor([[6], [4]])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64, generator=generator).to(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: normalised(norm, given, here), (x,))
    weights = torch.randn(2, 3, 6, 4, dtype=torch.float64, generator=generator)

    def loss(weight, bias):
        norm.weight.data.copy_(weight)
        norm.bias.data.copy_(bias)
        return (normalised(norm, x.detach(), here) * weights).sum()

    (normalised(norm, x, here) * weights).sum().backward()
    for name in ("weight", "bias"):
        start = {"weight": norm.weight.detach().clone(), "bias": norm.bias.detach().clone()}
        for channel in range(3):
            moved = torch.zeros(3, dtype=torch.float64)
            moved[channel] = 1e-6
            ends = [loss(**{**start, name: start[name] + sign * moved}).item() for sign in (1, -1)]
            assert getattr(norm, name).grad[channel].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)
        loss(**start)


def test_power_pool():
    pool, published = PowerPool((2, 4)), torch.nn.LPPool2d(4, (2, 4))
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(pool(x), published(x))
    assert torch.autograd.gradcheck(pool, (x,))
    silent = torch.zeros(1, 1, 4, 4, requires_grad=True)
    pool(silent).sum().backward()
    assert not silent.grad.any()  # as torch's own


def test_upsampled_as_torch_interpolates():
    values = torch.randn(1, 5, 2)
    expected = torch.nn.functional.interpolate(values.transpose(1, 2), size=23, mode="linear").transpose(1, 2)
    found = upsampled(values, torch.tensor([5]), torch.tensor([23]), 0, 23)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(upsampled(values, torch.tensor([5]), torch.tensor([23]), 7, 9), expected[:, 7:9])
