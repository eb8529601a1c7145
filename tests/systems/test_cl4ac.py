"""CL4AC's network, losses, batches and task, on tiny networks and clips."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from earwitness.corpora.tables import captions_by_clip, clips_of
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.expand import merge
from earwitness.features.external_options import ExternalOptions
from earwitness.features.store import FeatureStore, write
from earwitness.options import VocabularyOptions
from earwitness.prediction.clips import Clips
from earwitness.systems.cl4ac.batches import Captions, TrainingBatches, draw_unpaired, one_for_all, padded_frames
from earwitness.systems.cl4ac.network import Cl4ac, Encoder, Sizes, caption_loss, contrastive_loss, pooled
from earwitness.systems.cl4ac.options import Cl4acOptions, LossOptions, OptimiserOptions
from earwitness.systems.cl4ac.system import Cl4acCaptioner, Cl4acSystem
from earwitness.text.options import WordPieceOptions, WordsOptions
from earwitness.text.stage import prepare_words
from earwitness.text.vocabulary import Vocabulary, padded
from earwitness.training.sampler import EpochSampler
from earwitness.training.schedules import Moment

SMALL = {
    "system": "cl4ac",
    "feature": "f",
    "text": "t",
    "encoder": {"channels": [2, 3, 4, 5]},
    "decoder": {"feedforward": 16},
    "train": {"batch_size": 4},
}
SIZES = Sizes(mels=64, words=30, width=16)
MADE_BY = {"schema": 1, "made_by": "logmel", "settings": {}, "inputs": {}}
PUBLISHED_LOSS = {"mask_padding": False, "padded_length": 35}


@pytest.fixture(scope="session")
def settings():
    """Options of a tiny network, with changes."""
    return lambda **changes: Cl4acOptions.model_validate(merge(SMALL, changes))


def parameters(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters() if parameter.requires_grad)


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full():
    """The network in its published size, V = 4375."""
    torch.manual_seed(0)
    options = Cl4acOptions(system="cl4ac", feature="f", text="t")
    return Cl4ac(options, Sizes(mels=64, words=4375, width=128)).eval()


def test_parameter_counts_are_the_published_ones(full):
    assert parameters(full.encoder) == 5_014_592
    assert parameters(full.embedding, full.decoder, full.word_head, full.match_head) == 2_443_289
    assert parameters(full) == 7_457_881


def test_shapes_of_thirty_seconds(full):
    with torch.inference_mode():
        memory = full.encode(torch.randn(2, 2584, 64))
        hidden = full.hidden(torch.ones(3, 7, dtype=torch.long), memory, torch.tensor([0, 0, 1]))
        logits = full.word_head(hidden)
        matches = full.match_logits(hidden, torch.tensor([5, 1, 3]))
    assert (memory.shape, hidden.shape) == ((2, 161, 128), (3, 7, 128))
    assert (logits.shape, matches.shape) == ((3, 7, 4375), (3, 2))
    assert memory.min() >= 0


def test_losses_of_an_untrained_network_are_those_of_a_guess(full):
    """ln V for a word, ln 2 for a match."""
    torch.manual_seed(0)
    ids = torch.randint(2, 4375, (8, 12))
    with torch.inference_mode():
        memory = full.encode(torch.randn(2, 64, 64))
        hidden = full.hidden(ids, memory, torch.arange(8) % 2)
        words = torch.full((8,), 11)
        caption = caption_loss(full.word_head(hidden), torch.randint(2, 4375, (8, 12)), words, LossOptions())
        matches = full.match_logits(hidden, words)
    assert caption.item() == pytest.approx(math.log(4375), abs=0.3)
    assert contrastive_loss(matches[:4], matches[4:]).item() == pytest.approx(math.log(2), abs=0.3)


def test_word_vectors_start_the_embedding(settings):
    vectors = torch.randn(30, 16)
    assert torch.equal(Cl4ac(settings(), SIZES, vectors).embedding.table.weight, vectors)
    assert Cl4ac(settings(), SIZES).embedding.table.weight.abs().max() <= 0.1


def test_the_word_embedding_may_be_left_untrained(settings):
    assert Cl4ac(settings(), SIZES).embedding.table.weight.requires_grad
    assert not Cl4ac(settings(embedding={"trainable": False}), SIZES).embedding.table.weight.requires_grad


def test_heads_that_do_not_divide_the_width_are_refused(settings):
    with pytest.raises(EarwitnessError, match=r"decoder\.heads: 3 .*16"):
        Cl4ac(settings(decoder={"heads": 3}), SIZES)


@pytest.mark.parametrize("pad", [0, 3])  # apart from <eos>, and the same
@pytest.mark.parametrize("words", [1, 8, 20])
def test_the_last_word_is_where_eos_is_predicted_from(pad, words):
    sos, eos = 2, 3
    ids = torch.from_numpy(padded([[sos, *range(4, 4 + words), eos], [sos, *range(4, 26), eos]], pad))
    hidden = ids[:, :-1, None].float()  # states that tell their word
    counts = torch.tensor([words, 22])
    assert pooled(hidden, counts, "last_word")[:, 0].tolist() == [3 + words, 25]
    assert ids[0, words + 1] == eos
    position = (hidden[0, :, 0] == pooled(hidden, counts, "last_word")[0]).nonzero().item()
    assert position == words


def test_other_poolings():
    hidden = torch.tensor([[[4.0], [1.0], [7.0], [99.0]], [[-3.0], [-5.0], [-4.0], [-2.0]]])
    words = torch.tensor([1, 2])
    assert pooled(hidden, words, "eos")[:, 0].tolist() == [7, -2]
    assert pooled(hidden, words, "mean")[:, 0].tolist() == [2.5, -4]
    assert pooled(hidden, words, "max")[:, 0].tolist() == [4, -3]


def test_the_masked_loss_ignores_padding():
    logits, targets = torch.randn(2, 5, 9), torch.tensor([[4, 5, 3, 0, 0], [4, 5, 6, 7, 3]])
    words = torch.tensor([2, 4])
    loss = caption_loss(logits, targets, words, LossOptions())
    changed = logits.clone()
    changed[0, 3:] += 100 * torch.randn(2, 9)
    assert caption_loss(changed, targets, words, LossOptions()) == loss
    real = torch.tensor([True] * 3 + [False] * 2 + [True] * 5)
    expected = functional.cross_entropy(logits.flatten(0, 1)[real], targets.flatten()[real])
    torch.testing.assert_close(loss, expected)


def test_the_published_loss_counts_padding():
    logits, targets = torch.randn(2, 5, 9), torch.randint(0, 9, (2, 5))
    loss = caption_loss(logits, targets, torch.tensor([2, 3]), LossOptions(**PUBLISHED_LOSS))
    torch.testing.assert_close(loss, functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def test_label_smoothing():
    logits, targets = torch.randn(2, 5, 9), torch.randint(0, 9, (2, 5))
    loss = caption_loss(logits, targets, torch.tensor([4, 4]), LossOptions(label_smoothing=0.1))
    expected = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_learning_rates_are_the_published_ones():
    """Epochs 1 to 30 of the published schedule."""
    warm_up, steady = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4], [5e-4] * 9
    expected = [*warm_up, *steady, *[5e-5] * 10, *[5e-6] * 6]
    assert [OptimiserOptions().at(epoch) for epoch in range(30)] == pytest.approx(expected, rel=1e-12)
    assert OptimiserOptions(warmup_epochs=0, decay_every=2).at(0) == 5e-4


# --- freezing and public weights -------------------------------------------------------------------------------------


def statistics(encoder):
    return {name: value.clone() for name, value in encoder.state_dict().items() if "running" in name}


@pytest.mark.parametrize(("freeze", "statistics_move"), [("none", True), ("conv", True), ("conv+bn_stats", False)])
@pytest.mark.parametrize("told_to_train", [False, True])
def test_freezing(settings, freeze, statistics_move, told_to_train):
    network = Cl4ac(settings(encoder={"freeze": freeze}), SIZES)
    if told_to_train:
        network.eval()
        network.train()
    trained = {name for name, parameter in network.encoder.named_parameters() if parameter.requires_grad}
    every = {name for name, _ in network.encoder.named_parameters()}
    assert trained == (every if freeze == "none" else {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"})
    before = statistics(network.encoder)
    network.encode(torch.randn(2, 48, 64))
    after = statistics(network.encoder)
    assert any(not torch.equal(before[name], after[name]) for name in before) is statistics_move


@pytest.fixture
def checkpoint(settings, tmp_path):
    """A file in the layout of PANNs' Cnn10, of the tiny network's widths."""
    torch.manual_seed(5)
    encoder = Encoder(settings().encoder, SIZES)
    for value in encoder.state_dict().values():
        if value.is_floating_point():
            value.normal_().abs_()
    unused = {"fc2.weight", "fc2.bias"}
    entries = {name: value for name, value in encoder.state_dict().items() if name not in unused}
    entries |= {"fc_audioset.weight": torch.zeros(527, 5), "logmel_extractor.melW": torch.zeros(513, 64)}

    def save(changed=None, name="Cnn10.pth", **content):
        kept = {key: value for key, value in (entries | (changed or {})).items() if value is not None}
        torch.save(
            {"iteration": 1, "model": kept, "sampler": {"indexes": np.arange(3), "pointer": np.int64(1)}} | content,
            tmp_path / name,
        )
        return str(tmp_path / name), entries

    return save


@pytest.mark.parametrize("load_fc1", [False, True])
def test_public_weights_fill_the_convolutions_and_fc1_only_where_asked_for(settings, checkpoint, load_fc1):
    path, entries = checkpoint()
    torch.manual_seed(9)
    fresh = Encoder(settings().encoder, SIZES).state_dict()
    torch.manual_seed(9)
    loaded = Encoder(settings(encoder={"weights": path, "load_fc1": load_fc1}).encoder, SIZES).state_dict()
    for name, value in loaded.items():
        taken = name.startswith(("bn0", "conv_block")) or (load_fc1 and name.startswith("fc1"))
        assert torch.equal(value, entries[name] if taken else fresh[name]), name


def test_an_absent_checkpoint_is_an_error(settings, tmp_path):
    with pytest.raises(EarwitnessError, match=r"encoder\.weights: .*absent\.pth"):
        Cl4ac(settings(encoder={"weights": str(tmp_path / "absent.pth")}), SIZES)


@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_a_truncated_checkpoint_is_refused(settings, checkpoint, tmp_path, kept):
    path, _ = checkpoint()
    content = (tmp_path / "Cnn10.pth").read_bytes()
    (tmp_path / "Cnn10.pth").write_bytes(content[:kept])
    with pytest.raises(EarwitnessError, match=r"encoder\.weights: .*Cnn10\.pth"):
        Cl4ac(settings(encoder={"weights": path}), SIZES)


def test_a_foreign_file_is_refused(settings, checkpoint, tmp_path):
    (tmp_path / "weights.pth").write_text("no checkpoint")
    with pytest.raises(EarwitnessError, match=r"weights\.pth"):
        Cl4ac(settings(encoder={"weights": str(tmp_path / "weights.pth")}), SIZES)
    for content in ([1, 2], {"state_dict": {}}, {"model": torch.zeros(2)}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(EarwitnessError, match=r"other\.pth.*`model`"):
            Cl4ac(settings(encoder={"weights": str(tmp_path / "other.pth")}), SIZES)


def test_entries_that_do_not_fit_are_named_together(settings, checkpoint):
    changed = {"bn0.bias": None, "conv_block4.conv2.weight": torch.zeros(5, 5, 1, 1), "fc9.weight": torch.zeros(1)}
    path, _ = checkpoint(changed)
    with pytest.raises(EarwitnessError) as caught:
        Cl4ac(settings(encoder={"weights": path}), SIZES)
    heading, *problems, expected, advice = str(caught.value).splitlines()
    assert heading.startswith(f"encoder.weights: {path} ")
    assert sorted(problems) == [
        "  - bn0.bias: missing",
        "  - conv_block4.conv2.weight: shape [5, 5, 1, 1], [5, 5, 3, 3] is needed",
        "  - fc9.weight: not expected",
    ]
    assert "`Cnn10_mAP=0.380.pth`" in expected and "none" in advice
    path, _ = checkpoint({"conv_block1.bn1.weight": "x"})
    with pytest.raises(EarwitnessError, match=r"encoder\.weights: .*Cnn10\.pth[^-]*- conv_block1\.bn1\.weight: str"):
        Cl4ac(settings(encoder={"weights": path}), SIZES)


def test_the_file_of_a_deeper_network_is_not_taken(settings, checkpoint):
    deeper = {f"conv_block{block}.conv1.weight": torch.zeros(1) for block in (5, 6)}  # as Cnn14 has
    path, _ = checkpoint(deeper)
    with pytest.raises(EarwitnessError, match=r"conv_block5\.conv1\.weight: not expected\n.*conv_block6"):
        Cl4ac(settings(encoder={"weights": path}), SIZES)


@pytest.mark.parametrize("load_fc1", [False, True])
def test_weights_that_were_saved_in_parallel_training_are_taken(settings, checkpoint, capsys, load_fc1):
    path, entries = checkpoint()
    torch.save({"model": {f"module.{name}": value for name, value in entries.items()}}, path)
    encoder = Encoder(settings(encoder={"weights": path, "load_fc1": load_fc1}).encoder, SIZES)
    assert torch.equal(encoder.conv_block4.conv2.weight, entries["conv_block4.conv2.weight"])
    assert torch.equal(encoder.fc1.weight, entries["fc1.weight"]) is load_fc1
    assert "'module.'" in capsys.readouterr().err


# --- frames of any feature -------------------------------------------------------------------------------------------

FRAMES_OF = {"kind": "frames", "feedforward": 16}


@pytest.fixture(params=[False, True])
def frames_network(settings, request):
    """A network of frames with post-norm or pre-norm layers, two clips of 3 and 5 frames, and their captions."""
    torch.manual_seed(0)
    options = settings(encoder=FRAMES_OF | {"layers": 2, "pre_norm": request.param})
    network = Cl4ac(options, SIZES).eval()
    frames = torch.randn(2, 5, 64)
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    return network, frames, mask, torch.randint(2, 30, (2, 6))


def test_padding_does_not_leak(frames_network):
    """A clip alone, and beside a longer one over whatever pads it: the same states, and the same words one by one."""
    network, frames, mask, ids = frames_network
    with torch.inference_mode():
        alone = network.encode(frames[:1, :3])
        expected = network.hidden(ids[:1], alone, torch.tensor([0]))
        found = []
        for padding in (0.0, 50.0):
            frames[0, 3:] = padding
            memory = network.encode(frames, mask)
            torch.testing.assert_close(memory[:1, :3], alone, rtol=1e-4, atol=1e-5)
            found.append(network.hidden(ids, memory, torch.tensor([0, 1]), mask))
            cache = network.start(memory, torch.tensor([0, 1]), 6, mask)
            steps = torch.stack([network.next_logits(ids[:, i], cache, i) for i in range(6)], dim=1)
            torch.testing.assert_close(steps, network.word_head(found[-1]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0][:1], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_padding_does_not_leak_into_gradients(frames_network):
    network, frames, mask, ids = frames_network
    frames.requires_grad_()
    network.hidden(ids, network.encode(frames, mask), torch.tensor([0, 1]), mask).square().sum().backward()
    assert not frames.grad[0, 3:].any() and frames.grad[mask].all(dim=1).all()


def test_frames_have_their_place_in_time_and_are_dropped_in_training_alone(settings):
    torch.manual_seed(0)
    network = Cl4ac(settings(encoder=FRAMES_OF | {"layers": 0, "dropout": 0, "frame_dropout": 0.5}), SIZES)
    frames = torch.ones(1, 200, 64)
    kept = (network.encoder.linear(frames) == network.encoder.linear.bias).all(dim=-1)
    assert not kept.any()
    network.eval()
    assert torch.equal(network.encode(frames), network.encode(frames))
    assert not torch.equal(network.encode(frames)[0, 0], network.encode(frames)[0, 1])


def test_output_layer_and_word_embeddings_may_be_the_same(settings):
    network = Cl4ac(settings(embedding={"tied": True}), SIZES)
    assert network.word_head.weight is network.embedding.table.weight
    separate = Cl4ac(settings(), SIZES)
    assert parameters(separate) - parameters(network) == 30 * 16


def test_word_vectors_of_another_width_are_refused(settings):
    with pytest.raises(EarwitnessError, match=r"decoder\.width: 16\b.*\b8\b"):
        Cl4ac(settings(), SIZES, torch.randn(30, 8))
    with pytest.raises(EarwitnessError, match=r"encoder\.heads: 3\b.*\b16"):
        Cl4ac(settings(encoder=FRAMES_OF | {"heads": 3}), SIZES)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"encoder": FRAMES_OF}, []),
        ({}, ["feature"]),
        ({"encoder": FRAMES_OF, "decoder": {"width": 64}}, ["decoder.width"]),
        ({"encoder": FRAMES_OF, "decoder": {"width": 64}, "embedding": {"init": "uniform"}}, []),
        ({"encoder": FRAMES_OF | {"heads": 3}, "decoder": {"heads": 5}}, ["decoder.heads", "encoder.heads"]),
    ],
)
def test_what_does_not_fit_is_known_before_training(changes, keys):
    options = Cl4acOptions.model_validate({"system": "cl4ac", "feature": "f", "text": "t"} | changes)
    imported = ExternalOptions(extractor="external", folder="x")
    found = options.misfits(lambda name: imported, lambda name: VocabularyOptions())
    assert [line.split(":")[0] for line in found] == keys


@pytest.mark.parametrize(
    ("text", "width", "keys"),
    [
        (WordsOptions(kind="words"), 64, []),
        (WordsOptions(kind="words"), None, ["decoder.width"]),
        (WordsOptions(kind="words"), 6, ["decoder.heads", "encoder.heads"]),
        (WordPieceOptions(kind="wordpiece"), 64, ["text"]),
    ],
)
def test_texts_without_word_vectors_need_a_width(settings, text, width, keys):
    options = settings(encoder=FRAMES_OF, decoder={"width": width}, embedding={"init": "uniform"})
    imported = ExternalOptions(extractor="external", folder="x")
    found = options.misfits(lambda name: imported, lambda name: text)
    assert [line.split(":")[0] for line in found] == keys


def test_options_of_what_is_not_there_have_no_effect(settings):
    contrastive, frames = (
        {"pool": "eos", "share_encoder": False},
        FRAMES_OF | {"layers": 0, "heads": 3, "feedforward": 9},
    )
    vain = settings(contrastive=contrastive, loss={"contrastive_weight": 0}, encoder=frames)
    told = {"contrastive.pool", "contrastive.share_encoder", "encoder.heads", "encoder.feedforward"}
    assert {key for key, _ in vain.without_effect()} == told
    assert not list(settings(contrastive=contrastive, encoder=frames | {"layers": 1}).without_effect())


# --- batches and unpaired captions -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    """Captions of 300 clips, one to five each."""
    texts = {f"clip {i}": [f"w{i} x{j}" for j in range(1 + i % 5)] for i in range(300)}
    words = [text.split() for captions in texts.values() for text in captions]
    return Captions.of(texts, Vocabulary.of(words, VocabularyOptions()))


def test_captions_of_a_clip_stand_side_by_side(many):
    assert many.clip.tolist() == [i for i in range(300) for _ in range(1 + i % 5)]
    assert many.of_clips(np.array([4, 0])).tolist() == [10, 11, 12, 13, 14, 0]


def test_an_unpaired_caption_is_never_of_its_own_clip_and_nearly_all_differ(many):
    for seed in range(20):
        drawn = draw_unpaired(many, np.random.default_rng(seed))
        assert (many.clip[drawn] != many.clip).all()
        assert len(np.unique(drawn)) > 0.97 * len(drawn)


def test_unpaired_captions_are_drawn_uniformly_from_other_clips():
    texts = {"a": ["x", "y", "z"], "b": ["x"], "c": ["x", "y"]}
    captions = Captions.of(texts, Vocabulary.of([["x", "y", "z"]], VocabularyOptions()))
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_unpaired(captions, rng) for _ in range(6000)])
    for row, clip in enumerate(captions.clip):
        counts = np.bincount(drawn[:, row], minlength=6)
        others = captions.clip != clip
        assert counts[~others].sum() == 0
        share = 6000 / others.sum()
        assert np.abs(counts[others] - share).max() < 5 * share**0.5


def test_the_published_negative_is_one_caption_for_all_but_its_own_clip(many):
    for seed in range(20):
        chosen = one_for_all(many, np.random.default_rng(seed))
        values, counts = np.unique(chosen, return_counts=True)
        owner = many.clip[values[counts.argmax()]]
        assert len(values) == 2
        assert counts.min() == many.count[owner]
        assert (many.clip[chosen] != many.clip).all()


@pytest.fixture
def batches(corpus, settings):
    """Training batches of the small data set: 7 clips, 16 captions."""

    def batches(seed=0, **changes):
        options, vocabulary = settings(**changes), Vocabulary.read(corpus["vocabulary"])
        clips = clips_of(corpus["clips"], "development", "the test")["clip_id"]
        captions = Captions.of(captions_by_clip(corpus["captions"], list(clips)), vocabulary)
        return TrainingBatches(FeatureStore(corpus["development"]), captions, vocabulary, options, seed)

    return batches


def contents(batch):
    return [None if value is None else value.tolist() for value in batch]


def test_pairs_hold_each_caption_once_an_epoch(batches):
    data = batches()
    assert len(data) == 4
    rows = [tuple(row) for i in range(4) for row in data[0, i].ids.tolist()]
    trimmed = sorted(tuple(word for word in row if word) for row in rows)
    assert trimmed == sorted(map(tuple, data.captions.ids))


def test_groups_hold_each_clip_once_an_epoch_with_all_its_captions(batches):
    data = batches(train={"batching": "grouped", "batch_size": 3})
    assert len(data) == 3
    seen = []
    for i in range(3):
        batch = data[0, i]
        clips = [batch.source[batch.clip_of_row == clip].unique().item() for clip in range(len(batch.frames))]
        seen += clips
        for row, clip in enumerate(batch.clip_of_row.tolist()):
            expected = data.store[data.captions.clip_ids[int(batch.source[row])]]
            assert np.array_equal(batch.frames[clip].numpy(), expected)
        assert len(batch.ids) == sum(data.captions.count[clips])
    assert sorted(seen) == list(range(7))


@pytest.mark.parametrize("batching", ["pairs", "grouped"])
def test_a_row_has_its_own_words_and_an_unpaired_caption_of_another_clip(batches, batching):
    data = batches(train={"batching": batching})
    clips_with = {}
    for ids, clip in zip(data.captions.ids, data.captions.clip, strict=True):
        clips_with.setdefault(tuple(ids), set()).add(clip)
    for i in range(len(data)):
        batch = data[0, i]
        for ids, words, clip in zip(batch.ids.tolist(), batch.words, batch.source, strict=True):
            assert clip.item() in clips_with[tuple(ids[: words + 2])] and not any(ids[words + 2 :])
        for ids, words, clip in zip(batch.negative_ids.tolist(), batch.negative_words, batch.source, strict=True):
            assert clips_with[tuple(ids[: words + 2])] - {clip.item()}


@pytest.mark.parametrize("negatives", ["random", "epoch_constant"])
def test_batches_depend_on_seed_and_epoch_alone(batches, negatives):
    changes = {"contrastive": {"negatives": negatives}}
    data, again = batches(**changes), batches(**changes)
    in_order = [contents(data[1, i]) for i in range(4)]
    assert [contents(again[1, i]) for i in (3, 2, 1, 0)][::-1] == in_order
    assert [contents(data[2, i]) for i in range(4)] != in_order
    assert [contents(batches(seed=1, **changes)[1, i]) for i in range(4)] != in_order


def test_batches_are_the_same_for_any_number_of_workers(batches):
    data = batches()
    epochs = []
    for workers in (0, 2):
        sampler = EpochSampler(len(data))
        sampler.set_epoch(3)
        loader = torch.utils.data.DataLoader(data, batch_size=None, sampler=sampler, num_workers=workers)
        epochs.append([contents(batch) for batch in loader])
    assert epochs[0] == epochs[1] == [contents(data[3, i]) for i in range(4)]


def test_rows_are_padded_to_the_longest_or_to_the_published_length(batches):
    data = batches()
    for i in range(4):
        batch = data[0, i]
        assert batch.ids.shape[1] == batch.negative_ids.shape[1] == max(*batch.words, *batch.negative_words) + 2
    assert batches(contrastive={"pool": "eos"})[0, 0].ids.shape[1] == data[0, 0].ids.shape[1] + 1
    assert batches(loss=PUBLISHED_LOSS)[0, 0].ids.shape == (4, 36)


def test_a_published_length_that_is_too_short_is_refused(batches):
    assert batches(loss={"mask_padding": False, "padded_length": 6})[0, 0].ids.shape[1] == 7
    with pytest.raises(EarwitnessError, match=r"loss\.padded_length: 5 is too short; these captions need 6"):
        batches(loss={"mask_padding": False, "padded_length": 5})


@pytest.mark.parametrize("changes", [{"loss": {"contrastive_weight": 0}}, {"contrastive": {"negatives": "hardest"}}])
def test_no_caption_is_drawn_where_none_is_needed(batches, changes):
    batch = batches(**changes)[0, 0]
    assert batch.negative_ids is None and batch.negative_words is None


# --- the task --------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_task(corpus, settings, monkeypatch):
    """A task on the small data set; captions are tokenised by blanks."""
    monkeypatch.setattr("earwitness.systems.cl4ac.system.ptb_tokenize", lambda texts: list(texts))
    return lambda seed=0, **changes: Cl4acSystem(settings(**changes), corpus, seed)


def gradients(task, batch):
    task.network.zero_grad()
    torch.manual_seed(0)
    losses = task.losses(batch)
    losses["loss"].backward()
    return losses, {name: value.grad for name, value in task.network.named_parameters() if value.grad is not None}


def count_encoded(task, monkeypatch):
    """How many clips each call of the encoder is given."""
    calls, encode = [], task.network.encode
    monkeypatch.setattr(
        task.network, "encode", lambda frames, *rest: (calls.append(len(frames)), encode(frames, *rest))[1]
    )
    return calls


def count_decoded(task, monkeypatch):
    """How many rows each call of the decoder is given."""
    calls, hidden = [], task.network.hidden
    monkeypatch.setattr(task.network, "hidden", lambda ids, *rest: (calls.append(len(ids)), hidden(ids, *rest))[1])
    return calls


@pytest.mark.parametrize("pool", ["last_word", "eos", "mean", "max"])
def test_both_losses_train_the_whole_network(make_task, pool):
    task = make_task(contrastive={"pool": pool})
    losses, grads = gradients(task, task.batches[0, 0])
    assert set(grads) == {name for name, _ in task.network.named_parameters()}
    assert losses["loss"].item() == pytest.approx((losses["loss_caption"] + losses["loss_contrastive"]).item())


def test_the_contrastive_weight_scales_its_loss(make_task):
    batch = make_task().batches[0, 0]
    once, thrice = (gradients(make_task(loss={"contrastive_weight": w}), batch)[0] for w in (1.0, 3.0))
    assert (thrice["loss"] - once["loss"]).item() == pytest.approx(2 * once["loss_contrastive"].item(), rel=1e-4)


def test_the_baseline_runs_no_second_caption(make_task, monkeypatch):
    task = make_task(loss={"contrastive_weight": 0})
    encoded, decoded = count_encoded(task, monkeypatch), count_decoded(task, monkeypatch)
    losses, grads = gradients(task, task.batches[0, 0])
    assert (encoded, decoded) == ([4], [4])
    assert set(losses) == {"loss", "loss_caption"}
    rest = {name for name, _ in task.network.named_parameters() if not name.startswith("match_head")}
    assert set(grads) == rest
    assert {id(p) for group in task.optimiser().param_groups for p in group["params"]} == {
        id(parameter) for name, parameter in task.network.named_parameters() if name in rest
    }


def test_the_encoder_runs_once_for_both_captions_or_twice_as_published(make_task, monkeypatch):
    for shared, expected in [(True, [4]), (False, [4, 4])]:
        task = make_task(contrastive={"share_encoder": shared})
        encoded, decoded = count_encoded(task, monkeypatch), count_decoded(task, monkeypatch)
        task.losses(task.batches[0, 0])
        assert (encoded, decoded) == (expected, [8])


def test_one_pass_and_two_give_the_same_losses_without_chance(make_task):
    """In evaluation mode two encoder passes are the same pass."""
    found = []
    for shared in (True, False):
        task = make_task(contrastive={"share_encoder": shared})
        task.network.eval()
        found.append(task.losses(task.batches[0, 0])["loss"].item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_grouped_batches_encode_each_clip_once(make_task, monkeypatch):
    task = make_task(train={"batching": "grouped"})
    encoded, decoded = count_encoded(task, monkeypatch), count_decoded(task, monkeypatch)
    batch = task.batches[0, 0]
    task.losses(batch)
    assert (encoded, decoded) == ([4], [2 * len(batch.ids)])


def test_grouped_rows_and_pairs_have_the_same_loss(make_task):
    """A grouped batch is its captions one by one, each with its clip."""
    task = make_task(train={"batching": "grouped"})
    task.network.eval()
    batch = task.batches[0, 0]
    pairs = batch._replace(frames=batch.frames[batch.clip_of_row], clip_of_row=torch.arange(len(batch.ids)))
    assert task.losses(batch)["loss"].item() == pytest.approx(task.losses(pairs)["loss"].item(), rel=1e-5)


@pytest.mark.parametrize("negatives", ["in_batch", "hardest"])
@pytest.mark.parametrize("batching", ["pairs", "grouped"])
def test_negatives_of_the_batch_are_captions_of_other_clips(make_task, negatives, batching):
    task = make_task(contrastive={"negatives": negatives}, train={"batching": batching})
    batch = task.batches[0, 0]
    rows = [tuple(row) for row in batch.ids.tolist()]
    for seed in range(5):
        torch.manual_seed(seed)
        ids, words = task._negatives(batch, task.network.encode(batch.frames))
        for row, (caption, count) in enumerate(zip(ids.tolist(), words.tolist(), strict=True)):
            sources = {
                (int(s), int(w)) for s, w, r in zip(batch.source, batch.words, rows, strict=True) if r == tuple(caption)
            }
            assert any(source != batch.source[row] and count == length for source, length in sources)


def test_the_hardest_negative_is_the_one_that_matches_best(make_task):
    task = make_task(contrastive={"negatives": "hardest"})
    task.network.eval()
    batch = task.batches[0, 0]
    with torch.no_grad():
        memory = task.network.encode(batch.frames)
        ids, _ = task._negatives(batch, memory)
        for row in range(4):
            scores = {}
            for other in range(4):
                if batch.source[other] != batch.source[row]:
                    hidden = task.network.hidden(batch.ids[other : other + 1, :-1], memory, torch.tensor([row]))
                    logits = task.network.match_logits(hidden, batch.words[other : other + 1])
                    scores[tuple(batch.ids[other].tolist())] = logits.softmax(dim=-1)[0, 1].item()
            assert scores[tuple(ids[row].tolist())] == pytest.approx(max(scores.values()), abs=1e-6)


def test_a_batch_of_a_single_clip_takes_its_negatives_from_elsewhere(make_task):
    task = make_task(contrastive={"negatives": "in_batch"}, train={"batch_size": 1})
    batch = task.batches[0, 0]
    drawn = batch.negative_ids[0].tolist()
    captions = task.batches.captions
    own = [captions.ids[row] for row in captions.of_clips(batch.source.numpy())]
    assert batch.negative_ids is not None
    assert drawn[: int(batch.negative_words[0]) + 2] not in own
    assert task.losses(batch)["loss"].isfinite()


def test_the_seed_settles_the_network_and_the_batches(make_task):
    first, again, other = make_task(seed=1), make_task(seed=1), make_task(seed=2)
    weights = [task.network.state_dict() for task in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["word_head.weight"], weights[2]["word_head.weight"])
    assert contents(first.batches[0, 0]) == contents(again.batches[0, 0]) != contents(other.batches[0, 0])


def test_validation_gives_one_caption_a_clip_and_the_loss_of_its_references(make_task):
    task = make_task()
    task.network.eval()
    with torch.inference_mode():
        outputs = [task.validation_step(batch) for batch in task.validation_loader()]
    metrics = task.validation_metrics(outputs)
    assert sum(len(output["words"]) for output in outputs) == 3
    assert set(metrics) == {"validation_cider_d", "validation_loss"}
    assert 0 < metrics["validation_loss"] < 10


def test_perfect_captions_score_high_in_validation(make_task):
    task = make_task()
    first = [task._validation_captions.ids[row][1:-1] for row in task._validation_captions.first]
    perfect = task.validation_metrics([{"words": first, "loss": 1.0, "captions": 6}])
    shuffled = task.validation_metrics([{"words": first[1:] + first[:1], "loss": 1.0, "captions": 6}])
    assert perfect["validation_cider_d"] > 1 > shuffled["validation_cider_d"]


def test_spider_chooses_the_epoch_where_it_is_asked_for(make_task, monkeypatch, tmp_path):
    heard = []
    monkeypatch.setattr("earwitness.metrics.spice.find", lambda jars: tmp_path)
    monkeypatch.setattr("earwitness.metrics.spice.spice", lambda *texts: heard.append(texts) or (0.5, None))
    task = make_task(train={"monitor": "spider"})
    first = [task._validation_captions.ids[row][1:-1] for row in task._validation_captions.first]
    metrics = task.validation_metrics([{"words": first, "loss": 1.0, "captions": 6}])
    assert metrics["validation_spice"] == 0.5
    assert metrics["validation_spider"] == (metrics["validation_cider_d"] + 0.5) / 2
    ((said, references, settings),) = heard
    assert settings.jars == tmp_path and all(text in texts for text, texts in zip(said, references, strict=True))


def test_spider_without_its_jars_is_an_error_before_anything_is_trained(make_task, monkeypatch, tmp_path):
    monkeypatch.setenv("EARWITNESS_SPICE_JARS", str(tmp_path / "none"))
    with pytest.raises(EarwitnessError, match="SPICE"):
        make_task(train={"monitor": "spider"})


@pytest.fixture
def captioned(corpus, settings):
    """Captions of the evaluation clips by a task's network, with a description and options of its own."""

    def captioned(task, description=None, **changes):
        description = description or task.description()
        model = Cl4acCaptioner(settings(**changes), description, task.network.state_dict())
        clips = clips_of(corpus["clips"], "evaluation", "the test")
        return list(model.caption(Clips.of(clips, {model.options.feature: corpus["evaluation"]}, model.made_by)))

    return captioned


def test_prediction_rebuilds_the_network_and_captions_the_evaluation_clips(make_task, captioned):
    task = make_task()
    rows = captioned(task)
    assert len(rows) == 4 and all(isinstance(caption, str) and score < 0 for caption, score in rows)
    assert rows == captioned(task)


def test_prediction_needs_no_checkpoint_that_training_started_from(make_task, captioned):
    assert len(captioned(make_task(), encoder={"weights": "resources/absent.pth"})) == 4


def test_features_of_other_settings_are_refused_in_prediction(make_task, captioned):
    task = make_task()
    description = task.description()
    description["feature"]["settings"] = {"hop": 320}
    with pytest.raises(MismatchError, match=r"evaluation\.h5.*settings\.hop"):
        captioned(task, description)


@pytest.fixture
def store_of(corpus, tmp_path):
    """A feature file like the one of training, changed as told; frames that grow from clip to clip."""

    def store_of(name, frames_per_clip=None, **provenance):
        made = FeatureStore(corpus["development"]).provenance | provenance
        clips = [(f"development/{i}", np.zeros((40 + i, 64))) for i in range(7)]
        write(tmp_path / name, clips, 64, made, frames_per_clip=frames_per_clip)
        return corpus | {"development": tmp_path / name}

    return store_of


def test_clips_of_different_lengths_are_refused(settings, store_of):
    with pytest.raises(EarwitnessError, match=r"free\.h5.*`seconds`"):
        Cl4acSystem(settings(), store_of("free.h5"), 0)


def test_frames_of_any_length_are_captioned(settings, store_of, monkeypatch):
    """Clips of 40 to 46 frames, with one that has none, and more than are read at once."""
    monkeypatch.setattr("earwitness.systems.cl4ac.system.ptb_tokenize", lambda texts: list(texts))
    options = {"encoder": FRAMES_OF, "decoder": {"width": 8}, "embedding": {"init": "uniform", "tied": True}}
    files = store_of("free.h5")
    task = Cl4acSystem(settings(**options, optim={"schedule": "one_cycle", "kind": "adamw"}), files, 0)
    batch = task.batches[0, 0]
    assert batch.mask.sum(dim=1).tolist() == [40 + int(clip) for clip in batch.source]
    losses, grads = gradients(task, batch)
    assert losses["loss"].isfinite() and set(grads) == {name for name, _ in task.network.named_parameters()}
    task.network.eval()
    once, padded_more = task.losses(batch)["loss"], torch.nn.functional.pad(batch.frames, (0, 0, 0, 9), value=7.0)
    more = batch._replace(frames=padded_more, mask=torch.nn.functional.pad(batch.mask, (0, 9)))
    assert task.losses(more)["loss"].item() == pytest.approx(once.item(), rel=1e-5)
    with torch.no_grad():
        metrics = task.validation_metrics([task.validation_step(batch) for batch in task.validation_loader()])
    assert set(metrics) == {"validation_cider_d", "validation_loss"}
    model = Cl4acCaptioner(settings(**options), task.description(), task.network.state_dict())
    store = FeatureStore(files["development"])
    captions = list(model.caption(Clips(store.clip_ids, {"f": store})))
    monkeypatch.setattr("earwitness.systems.cl4ac.system.FRAMES_AT_ONCE", 50)
    assert [text for text, _ in model.caption(Clips(store.clip_ids, {"f": store}))] == [text for text, _ in captions]


def test_a_vocabulary_without_word_vectors_will_do(settings, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("earwitness.systems.cl4ac.system.ptb_tokenize", lambda texts: list(texts))
    prepare_words(WordsOptions(kind="words"), corpus["captions"].parent, {"vocabulary": tmp_path / "v.json"})
    files = {name: path for name, path in corpus.items() if name != "word2vec"} | {"vocabulary": tmp_path / "v.json"}
    options = settings(embedding={"init": "uniform"}, decoder={"width": 8})
    assert set(options.training_inputs()) == set(files) - {"evaluation"}
    task = Cl4acSystem(options, files, 0)
    assert task.losses(task.batches[0, 0])["loss"].isfinite()
    store = FeatureStore(files["evaluation"])
    model = Cl4acCaptioner(options, task.description(), task.network.state_dict())
    assert len(list(model.caption(Clips(store.clip_ids, {"f": store})))) == len(store.clip_ids)
    with pytest.raises(EarwitnessError, match=r"decoder\.width.*v\.json"):
        Cl4acSystem(settings(embedding={"init": "uniform"}), files, 0)


def test_a_clip_without_frames_has_one_of_padding(tmp_path):
    write(tmp_path / "a.h5", [("a", np.zeros((0, 3))), ("b", np.ones((2, 3)))], 3, MADE_BY, fill=-1.0)
    store = FeatureStore(tmp_path / "a.h5")
    frames, mask = padded_frames(store, ["a", "b"], masked=True)
    assert mask.tolist() == [[True, False], [True, True]] and (frames[0] == -1).all()
    frames, mask = padded_frames(store, ["a"], masked=True)
    assert frames.tolist() == [[[-1.0] * 3]] and mask.tolist() == [[True]]


def test_the_last_epoch_may_be_kept(make_task):
    history = [{"validation_cider_d": 2.0}, {"validation_cider_d": 1.0}]
    assert [make_task(train={"keep": keep}).choice.best(history) for keep in ("best", "last")] == [0, 1]
    with pytest.raises(ValueError, match="patience: 3"):
        make_task(train={"keep": "last", "patience": 3})


def test_one_cycle_rises_and_falls(make_task):
    task = make_task(optim={"schedule": "one_cycle", "lr": 1e-3, "warmup_share": 0.5})
    rates = [task.learning_rate(Moment(step // 4, step, 4, 3)) for step in range(12)]
    assert rates[0] == pytest.approx(4e-5) and max(rates) == rates[5] == 1e-3 and rates[-1] < 1e-7
    assert type(make_task(optim={"kind": "adamw"}).optimiser()) is torch.optim.AdamW


def test_features_of_other_audio_or_of_two_front_ends_are_refused(settings, store_of):
    with pytest.raises(MismatchError, match=r"old\.h5.*inputs\.audio"):
        Cl4acSystem(settings(), store_of("old.h5", 48, inputs={"audio": "other"}), 0)
    with pytest.raises(MismatchError, match=r"validation\.h5.*settings\.hop: the file has 512, 320"):
        Cl4acSystem(settings(), store_of("hop.h5", 48, settings={"hop": 320}), 0)


def test_a_vocabulary_of_other_captions_is_refused(settings, corpus, tmp_path):
    (tmp_path / "captions.csv").write_text(corpus["captions"].read_text().replace("dog", "god"))
    with pytest.raises(MismatchError, match=r"vocabulary\.json.*inputs\.captions"):
        Cl4acSystem(settings(), corpus | {"captions": tmp_path / "captions.csv"}, 0)
