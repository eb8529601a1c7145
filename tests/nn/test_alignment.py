"""Similarities of frames and words, and the score they are pooled to."""

import pytest
import torch

from earwitness.nn.alignment import pooled, pooled_time, pooled_words, similarities

VALUES = torch.tensor([[0.9, 0.1, 7.0], [0.5, 0.3, 7.0], [7.0, 7.0, 7.0]])  # 7 where nothing is there
FRAMES, WORDS = torch.tensor([True, True, False]), torch.tensor([True, True, False])


@pytest.mark.parametrize(
    ("time", "word", "first", "expected"),
    [
        ("mean", "mean", "words", 0.45),
        ("max", "mean", "time", 0.6),
        ("max", "mean", "words", 0.5),
        ("mean", "max", "words", 0.7),
        ("max", "max", "time", 0.9),
        ("linear_softmax", "mean", "words", (0.5**2 + 0.4**2) / 0.9),
        ("exp_softmax", "max", "words", 0.9 / (1 + 2.718281828**-0.4) + 0.5 / (1 + 2.718281828**0.4)),
    ],
)
def test_pooled(time, word, first, expected):
    assert float(pooled(VALUES, FRAMES, WORDS, time, word, first)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("time", ["mean", "max", "linear_softmax", "exp_softmax"])
@pytest.mark.parametrize("word", ["mean", "max"])
def test_nothing_is_there(time, word):
    nothing = torch.zeros(3, dtype=torch.bool)
    assert pooled_words(VALUES, nothing, word).tolist() == [0, 0, 0]
    assert float(pooled_time(VALUES[:, 0], nothing, time)) == 0


def test_similarities():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    assert similarities(a, b)[0].tolist() == [1, 0, 0]
    smooth = similarities(a, b, "softplus")[0]
    assert smooth[0] == pytest.approx(1) and 0 < smooth[1] < smooth[2] < 0.2
