"""Greedy and beam decoding against plain implementations that run everything again at each step."""

import math

import pytest
import torch

from earwitness.options import DecodingOptions
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.cl4ac.network import Cl4ac, Sizes
from earwitness.systems.cl4ac.options import Cl4acOptions

WORDS = 12
PAD, UNK, SOS, EOS = range(4)
SYMBOLS = Symbols(SOS, EOS, [PAD, UNK])


@pytest.fixture(scope="module")
def network():
    """A decoder with random weights, whose choices vary with the clip and with the words before."""
    torch.manual_seed(3)
    options = Cl4acOptions.model_validate(
        {
            "system": "cl4ac",
            "feature": "f",
            "text": "t",
            "encoder": {"channels": [1, 1, 1, 1]},
            "decoder": {"layers": 2, "heads": 2, "feedforward": 16},
        }
    )
    network = Cl4ac(options, Sizes(mels=64, words=WORDS, width=8))
    for module in (network.decoder, network.word_head, network.embedding):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=1.0)
    network.word_head.bias.data[EOS] += 1.5
    return network.eval()


@pytest.fixture(scope="module")
def memory():
    torch.manual_seed(2)
    return torch.randn(24, 5, 8) * 2


def log_probabilities(network, clip, ids):
    """Of every word after ``ids``, from one full pass; what may not be generated is impossible."""
    with torch.inference_mode():
        hidden = network.hidden(torch.tensor([ids]), clip[None], torch.zeros(1).long())
        values = network.word_head(hidden[0, -1]).log_softmax(dim=-1)
    values = values.clone()
    values[list(SYMBOLS.forbidden)] = -math.inf
    return values


def plain_greedy(network, clip, max_words):
    ids, score = [SOS], 0.0
    while ids[-1] != EOS:
        values = log_probabilities(network, clip, ids)
        chosen = EOS if len(ids) > max_words else int(values.argmax())
        ids.append(chosen)
        score += float(values[chosen])
    return ids[1:-1], score


def plain_beam(network, clip, max_words, beam, penalty=0.0):
    """Keeps the best hypotheses, ended ones among them; ends when the best has ended, or with a penalty when all."""
    kept = [([SOS], 0.0)]
    while True:
        found = []
        for ids, score in kept:
            if ids[-1] == EOS:
                found.append((ids, score))
                continue
            values = log_probabilities(network, clip, ids)
            for word in [EOS] if len(ids) > max_words else range(WORDS):
                found.append(([*ids, word], score + float(values[word])))
        kept = sorted(found, key=lambda hypothesis: -hypothesis[1])[:beam]
        ended = [ids[-1] == EOS for ids, _ in kept]
        if all(ended) or (ended[0] and not penalty):
            break
    ids, score = max(
        (hypothesis for hypothesis, done in zip(kept, ended, strict=True) if done),
        key=lambda hypothesis: hypothesis[1] / (len(hypothesis[0]) - 1) ** penalty,
    )
    return ids[1:-1], score


def check(found, expected):
    words, scores = found
    assert words == [ids for ids, _ in expected]
    assert scores == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.mark.parametrize("max_words", [1, 4, 10])
def test_greedy_is_the_plain_greedy(network, memory, max_words):
    expected = [plain_greedy(network, clip, max_words) for clip in memory]
    check(decode(network, memory, SYMBOLS, DecodingOptions(), max_words), expected)
    lengths = {len(ids) for ids, _ in expected}
    assert len(lengths) > min(max_words, 3)  # the case is not trivial


@pytest.mark.parametrize(("beam", "penalty"), [(2, 0.0), (3, 0.0), (2, 1.0), (3, 0.7)])
@pytest.mark.parametrize("max_words", [3, 8])
def test_beam_is_the_plain_beam(network, memory, beam, penalty, max_words):
    options = DecodingOptions(beam=beam, length_penalty=penalty)
    expected = [plain_beam(network, clip, max_words, beam, penalty) for clip in memory]
    check(decode(network, memory, SYMBOLS, options, max_words), expected)


def test_a_beam_finds_better_captions_than_greedy(network, memory):
    greedy = decode(network, memory, SYMBOLS, DecodingOptions(), 8)
    beam = decode(network, memory, SYMBOLS, DecodingOptions(beam=3), 8)
    assert greedy[0] != beam[0]
    assert sum(beam[1]) > sum(greedy[1])


@pytest.mark.parametrize("options", [{}, {"beam": 2}, {"beam": 3, "length_penalty": 1.0}, {"block_ngrams": 2}])
def test_a_caption_does_not_depend_on_its_batch_mates(network, memory, options):
    options = DecodingOptions(**options)
    words, scores = decode(network, memory, SYMBOLS, options, 8)
    alone = [decode(network, clip[None], SYMBOLS, options, 8) for clip in memory]
    assert words == [found[0] for found, _ in alone]
    assert scores == pytest.approx([score[0] for _, score in alone], abs=1e-4)


def test_most_words_come_from_the_options_where_they_say_so(network, memory):
    words, _ = decode(network, memory, SYMBOLS, DecodingOptions(max_words=2), 8)
    assert max(map(len, words)) == 2
    assert max(map(len, decode(network, memory, SYMBOLS, DecodingOptions(), 8)[0])) == 8


class Scripted:
    """A decoder whose logits follow a rule of the position and the word before."""

    def __init__(self, logits):
        self.logits = logits

    def start(self, memory, clip_of_row, capacity):
        return None

    def next_logits(self, ids, cache, position):
        return torch.stack([self.logits(position, int(word)) for word in ids])

    def reorder(self, cache, rows):
        pass


def prefer(*words):
    """Logits that fall from word to word in the order given, the rest far below."""
    logits = torch.full((WORDS,), -20.0)
    for rank, word in enumerate(words):
        logits[word] = -float(rank)
    return logits


def captions_of(logits, clips=2, max_words=6, **options):
    return decode(Scripted(logits), torch.zeros(clips, 1, 1), SYMBOLS, DecodingOptions(**options), max_words)[0]


@pytest.mark.parametrize("beam", [1, 2])
def test_forbidden_ids_are_never_generated(beam):
    assert captions_of(lambda *_: prefer(UNK, PAD, 5), beam=beam) == [[5] * 6] * 2


@pytest.mark.parametrize("beam", [1, 2])
def test_a_caption_may_be_empty(beam):
    assert captions_of(lambda *_: prefer(EOS, 5), beam=beam) == [[], []]


@pytest.mark.parametrize("beam", [1, 3])
def test_no_n_gram_occurs_twice_where_that_is_asked_for(network, memory, beam):
    for size in (1, 2, 3):
        words, _ = decode(network, memory, SYMBOLS, DecodingOptions(beam=beam, block_ngrams=size), 10)
        for ids in words:
            grams = [tuple(ids[start : start + size]) for start in range(len(ids) - size + 1)]
            assert len(set(grams)) == len(grams)


def test_blocking_leaves_shorter_repeats_alone():
    assert captions_of(lambda *_: prefer(5, 6, 7), block_ngrams=1, max_words=3) == [[5, 6, 7]] * 2
    assert captions_of(lambda *_: prefer(5, 6, 7), block_ngrams=2, max_words=5) == [[5, 5, 6, 5, 7]] * 2


def test_length_penalty_prefers_longer_captions():
    def logits(position, word):
        return torch.tensor([-9.0] * WORDS).index_fill(0, torch.tensor([EOS, 5]), 0.0)

    short = captions_of(logits, beam=4, max_words=4)
    long = captions_of(logits, beam=4, max_words=4, length_penalty=2.0)
    assert len(short[0]) < len(long[0])
