"""The decoder computes what torch's own does, and one position at a time what it computes all at once."""

import pytest
import torch

from earwitness.nn.decoder import TransformerDecoder, WordEmbedding, sinusoids

WIDTH, HEADS, FEEDFORWARD, LAYERS = 16, 4, 32, 2


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    decoder = TransformerDecoder(WIDTH, HEADS, FEEDFORWARD, LAYERS, dropout=0.2)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return decoder.eval()


@pytest.fixture
def torchs(decoder):
    layer = torch.nn.TransformerDecoderLayer(WIDTH, HEADS, FEEDFORWARD, dropout=0.2, batch_first=True)
    torchs = torch.nn.TransformerDecoder(layer, LAYERS)
    torchs.load_state_dict(decoder.state_dict())
    return torchs.eval()


def test_states_are_those_of_torchs_decoder(decoder, torchs):
    x, memory = torch.randn(3, 7, WIDTH), torch.randn(3, 5, WIDTH)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(7)
    expected = torchs(x, memory, tgt_mask=mask, tgt_is_causal=True)
    torch.testing.assert_close(decoder(x, memory, torch.arange(3)), expected, rtol=1e-4, atol=1e-5)


def test_rows_hear_the_memory_of_their_clip(decoder):
    x, memory = torch.randn(4, 7, WIDTH), torch.randn(2, 5, WIDTH)
    rows = torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(decoder(x, memory, rows), decoder(x, memory[rows], torch.arange(4)))


def test_later_positions_do_not_reach_earlier_ones(decoder):
    x, memory = torch.randn(1, 7, WIDTH), torch.randn(1, 5, WIDTH)
    changed = torch.cat([x[:, :4], torch.randn(1, 3, WIDTH)], dim=1)
    first, second = decoder(x, memory, torch.zeros(1).long()), decoder(changed, memory, torch.zeros(1).long())
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4:], second[:, 4:])


def test_steps_with_a_cache_are_the_full_pass(decoder):
    x, memory, rows = torch.randn(4, 7, WIDTH), torch.randn(2, 5, WIDTH), torch.tensor([0, 0, 1, 1])
    caches = decoder.start(memory, rows, capacity=9)
    steps = [decoder.step(x[:, position : position + 1], caches, position) for position in range(7)]
    torch.testing.assert_close(torch.cat(steps, dim=1), decoder(x, memory, rows), rtol=1e-4, atol=1e-5)


def test_reordered_rows_go_on_from_one_another(decoder):
    x, memory, rows = torch.randn(4, 3, WIDTH), torch.randn(2, 5, WIDTH), torch.tensor([0, 0, 1, 1])
    caches, origin = decoder.start(memory, rows, capacity=3), torch.tensor([1, 1, 2, 2])
    for position in range(2):
        decoder.step(x[:, position : position + 1], caches, position)
    decoder.reorder(caches, origin)
    third = decoder.step(x[:, 2:], caches, 2)
    expected = decoder(torch.cat([x[origin, :2], x[:, 2:]], dim=1), memory, rows)
    torch.testing.assert_close(third, expected[:, 2:], rtol=1e-4, atol=1e-5)


def test_layers_may_start_identical():
    first, second = TransformerDecoder(WIDTH, HEADS, FEEDFORWARD, 2, 0.0, identical=True).layers
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    first, second = TransformerDecoder(WIDTH, HEADS, FEEDFORWARD, 2, 0.0).layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_dropout_acts_in_training_only(decoder):
    x, memory, rows = torch.randn(1, 3, WIDTH), torch.randn(1, 5, WIDTH), torch.zeros(1).long()
    assert torch.equal(decoder(x, memory, rows), decoder(x, memory, rows))
    decoder.train()
    assert not torch.equal(decoder(x, memory, rows), decoder(x, memory, rows))


def test_words_are_scaled_and_given_their_positions():
    embedding = WordEmbedding(words=5, width=16, dropout=0.2).eval()
    ids = torch.tensor([[1, 2, 3]])
    whole = embedding(ids)
    torch.testing.assert_close(whole, embedding.table.weight[ids] * 4 + sinusoids(3, 16))
    torch.testing.assert_close(embedding(ids[:, 1:], start=1), whole[:, 1:])
    assert list(embedding.state_dict()) == ["table.weight"]


@pytest.mark.parametrize("width", [4, 5])
def test_positions_are_sine_and_cosine(width):
    table = sinusoids(3, width)
    assert table[0].tolist() == [0, 1, 0, 1, 0][:width]
    expected = torch.tensor([2.0, 2 * 10000 ** (-2 / width)])
    torch.testing.assert_close(table[2, 0:4:2], expected.sin())
    torch.testing.assert_close(table[2, 1:4:2], expected.cos())
