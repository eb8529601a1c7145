"""Stripes of zeros: their widths, their places, and one draw for each example."""

import torch

from earwitness.nn.spec_augment import spec_augment


def stripes(time_stripes=0, time_width=1, mel_stripes=0, mel_width=1, batch=2000, time=100, mels=16):
    """True where spec_augment put a zero, [batch, time, mels]."""
    torch.manual_seed(0)
    return spec_augment(torch.ones(batch, 1, time, mels), time_stripes, time_width, mel_stripes, mel_width)[:, 0] == 0


def widths_and_starts(zeroed):
    """Width of the one stripe in each row of [batch, length], and where it starts."""
    return zeroed.sum(dim=1), zeroed.int().argmax(dim=1)


def test_one_time_stripe_covers_all_bands_and_one_mel_stripe_all_frames():
    zeroed = stripes(time_stripes=1, time_width=20)
    assert torch.equal(zeroed.any(dim=2), zeroed.all(dim=2))
    zeroed = stripes(mel_stripes=1, mel_width=8)
    assert torch.equal(zeroed.any(dim=1), zeroed.all(dim=1))


def test_widths_are_uniform_below_the_bound():
    widths, _ = widths_and_starts(stripes(time_stripes=1, time_width=10)[:, :, 0])
    counts = torch.bincount(widths)
    assert len(counts) == 10
    assert (counts - 200).abs().max() < 5 * 200**0.5


def test_a_stripe_is_in_one_piece_and_may_start_anywhere_it_fits():
    zeroed = stripes(time_stripes=1, time_width=10)[:, :, 0]
    widths, starts = widths_and_starts(zeroed)
    positions = torch.arange(100)
    assert torch.equal(zeroed, (positions >= starts[:, None]) & (positions < (starts + widths)[:, None]))
    starts = starts[widths > 0]
    assert starts.min() == 0 and starts.max() > 85
    assert 40 < starts.float().mean() < 55


def test_each_example_has_its_own_stripes():
    assert len(stripes(time_stripes=2, time_width=64, batch=50).flatten(1).unique(dim=0)) > 45


def test_two_stripes_make_up_to_two_pieces():
    zeroed = stripes(time_stripes=2, time_width=10)[:, :, 0]
    pieces = zeroed.int().diff(dim=1, prepend=torch.zeros(2000, 1).int()).eq(1).sum(dim=1)
    assert sorted(pieces.unique().tolist()) == [0, 1, 2]
    assert zeroed.sum(dim=1).max() > 10


def test_no_stripes_leave_everything():
    assert not stripes().any()


def test_a_bound_beyond_the_length_still_leaves_something():
    assert not stripes(time_stripes=1, time_width=64, time=20).all(dim=1).any()


def test_other_values_are_kept():
    x = torch.randn(3, 1, 50, 8)
    y = spec_augment(x, 2, 10, 2, 3)
    assert torch.equal(y[y != 0], x[y != 0])
