"""The benchmarks in miniature: both sides compute the same thing, every part runs. Nothing here looks at a clock."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.errors import EarwitnessError
from tests.places import ROOT

BENCHMARKS = ROOT / "benchmarks"
TINY = {"batch": 3, "frames": 160, "mels": 16, "vocabulary": 60, "channels": (2, 4, 4, 8), "inner": 32}


@pytest.fixture
def module(monkeypatch):
    """Import a benchmark the way it runs as a script, beside its siblings."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def bench(module, tmp_path):
    cl4ac = module("cl4ac")
    bench = cl4ac.Bench(cl4ac.Sizes(**TINY), tmp_path)
    yield bench
    bench.system.development.close()


def test_both_sides_have_the_same_loss_gradients_and_captions(bench):
    assert bench.check_training() < 1e-4
    row, captions = bench.decoding(repetitions=1)  # raises when the captions differ
    assert [len(caption) for caption in captions] == [10, 12, 14]
    assert len({tuple(caption[:10]) for caption in captions}) > 1  # the captions depend on the clip
    assert not row.note
    assert bench.check_logits() < 1e-3


def test_a_difference_between_the_sides_is_found(bench):
    with torch.no_grad():
        bench.published.encoder.fc2.weight[0] += 0.1
    with pytest.raises(AssertionError):
        bench.check_training()
    bench.prepare_decoding()  # shares the weights again
    bench.published.eval()
    bench.check_logits()
    with torch.no_grad():
        bench.published.word_head.bias[5] += 0.1
    with pytest.raises(AssertionError):
        bench.check_logits()


def test_grouped_and_paired_steps_train_on_what_they_say(bench):
    pairs, grouped = bench.batch(), bench.batch(batching="grouped")
    assert (len(pairs.frames), len(pairs.ids)) == (3, 3)
    assert (len(grouped.frames), len(grouped.ids)) == (3, 15)
    before = [parameter.clone() for parameter in bench.published.parameters()]
    bench.training("grouped", repetitions=1)
    after = list(bench.published.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_table_has_every_part_and_reports_what_was_scaled(module):
    cl4ac = module("cl4ac")
    rows = cl4ac.run(cl4ac.Sizes(**TINY), list(cl4ac.PARTS), repetitions=1, steps=cl4ac.QUICK_STEPS)
    table = cl4ac.table(rows, cl4ac.PARTS, cl4ac.EXPECTED)
    assert all(name in table for name in cl4ac.PARTS.values())
    assert "5 of 35" in table and "scaled" in table


def test_memory_of_every_stage(module):
    memory = module("memory")
    assert memory.share(500, "development", "validation", "evaluation") == 500
    rows = [memory.Row(stage.__name__, 100.0, 130.0, 300) for stage in memory.STAGES]
    assert rows[0].growth == pytest.approx(102.4)
    assert memory.table(rows, 500, 2000).count("grows") == len(rows)


def test_the_stages_run_one_after_another(module, tmp_path):
    memory = module("memory")
    memory.make_corpus(tmp_path / "audio", 10)
    first, *others = memory.STAGES
    if Path("/proc/self/status").exists():
        assert 10 < memory.peak_of(first, tmp_path) < 1000  # MB, of a process of its own
    else:
        first(tmp_path)
    for stage in others:
        stage(tmp_path)
    captions = (tmp_path / "captions.csv").read_text(encoding="utf-8").splitlines()
    assert len(captions) == 1 + memory.share(10, "evaluation")


def test_what_is_measured_on_many_clips_runs_on_few(module, tmp_path, capsys):
    scale = module("scale")
    (tmp_path / "audio").mkdir()
    scale.make_recordings(tmp_path / "audio", 8)
    scale.corpus_stage(tmp_path / "audio", tmp_path / "corpus")
    clips = (tmp_path / "corpus" / "clips.csv").read_text(encoding="utf-8").splitlines()
    assert len(clips) == 9 and len({row.rpartition(",")[2] for row in clips}) == 9  # no two recordings are alike
    scale.make_tables(tmp_path, 200)
    for reader in scale.READERS:
        reader(tmp_path)
    assert '"clips": 100,' in (tmp_path / "leaks.json").read_text(encoding="utf-8")
    scale.many_files(tmp_path, 20)
    assert len(list((tmp_path / "data").glob("clip*.flac"))) == 20


def test_growth_is_reported_between_the_last_two_sizes(module):
    scale = module("scale")
    rows = [scale.Row("stage", clips, 1.0, peak) for clips, peak in ((1, 9.0), (100, 10.0), (1100, 11.0))]
    (line,) = scale.growth([*rows, scale.Row("once", 5, 1.0, 9.0)]).splitlines()
    assert line.split()[:3] == ["stage", "1,049", "bytes"]


@pytest.fixture
def metrics(module, tmp_path, monkeypatch):
    """The benchmark of the metrics on captions of its grammar; its Java would take most of the time."""
    metrics = module("metrics")
    monkeypatch.setattr(metrics.java, "ptb_tokenize", list)
    return metrics.Bench(tmp_path / "no table", 12, 1, tmp_path / "no jars")


@pytest.mark.parametrize("part", ["bleu", "rouge_l", "cider_d", "validation", "retrieval", "retrieval_sort"])
def test_metrics_and_their_baselines_give_the_same(module, metrics, part):
    (row,) = metrics.run(part)  # raises when the values differ
    aim = module("metrics").AIMS[part]
    assert str(row).startswith(aim.label) and str(aim) in str(row)
    assert row.ratio.wall == pytest.approx(row.pairs[0])
    assert ("counting the references once" in str(row)) == (part == "validation")


@pytest.mark.parametrize("part", ["bleu", "cider_d", "retrieval"])
def test_metrics_that_differ_from_their_baseline_are_found(module, metrics, monkeypatch, part):
    benchmark = module("metrics")
    real = benchmark.published, benchmark.by_argsort
    monkeypatch.setattr(benchmark, "published", lambda *args: np.array(real[0](*args)) + 1e-6)
    monkeypatch.setattr(benchmark, "by_argsort", lambda *args: [ranks + 1 for ranks in real[1](*args)])
    with pytest.raises(AssertionError, match=part):
        metrics.run(part)


def test_captions_that_are_scored_are_right_in_part_and_new(module, tmp_path):
    benchmark = module("metrics")
    references = benchmark.written(tmp_path / "no table", 40)
    first, second = benchmark.halves(references, 0), benchmark.halves(references, 1)
    assert first != second and first == benchmark.halves(references, 0)
    assert not {text for texts in references for text in texts} & set(first)
    for caption, own in zip(first, references, strict=True):
        assert any(text.split()[:4] == caption.split()[:4] for text in own)


def test_captions_of_a_table(module, tmp_path):
    table = tmp_path / "clotho.csv"
    lines = [",".join([f"{clip}.wav", *(f"caption {number} of {clip}" for number in range(5))]) for clip in range(3)]
    table.write_text("\n".join(["file_name," + ",".join(f"caption_{n}" for n in range(1, 6)), *lines]) + "\n")
    benchmark = module("metrics")
    assert benchmark.written(table, 2)[1] == [f"caption {number} of 1" for number in range(5)]
    with pytest.raises(EarwitnessError, match=r"3 clips.* 4"):
        benchmark.written(table, 4)


def test_what_cannot_be_measured_is_reported(module, metrics, monkeypatch):
    line = metrics.run("spice")[0]
    assert line.startswith("spice was not measured: ") and "no jars" in line
    benchmark = module("metrics")
    # It dies before it has answered; its class would wait for ever.
    with pytest.raises(EarwitnessError, match=r"Meteor.* 0\.05 s"):
        benchmark.published_meteor({0: ["a dog"]}, {0: ["a dog"]}, seconds=0.05)


def test_resamples_of_the_metrics(module, metrics, monkeypatch):
    benchmark = module("metrics")
    quick = {names: function for names, function in benchmark.captions.OF_TOKENS.items() if names != ("meteor",)}
    monkeypatch.setattr(benchmark.captions, "OF_TOKENS", quick)
    monkeypatch.setattr(benchmark.bootstrap, "resampled", lambda statistics: np.arange(10.0))
    lines = metrics.run("bootstrap")
    assert any(line.startswith("2,000 resamples: 6 caption metrics, 12 clips: ") for line in lines)
    if find_spec("sed_scores_eval") is None:
        assert lines[0].startswith("PSDS was not resampled: ")
    else:
        assert "2 PSDS, 14 pairs of 5 clips" in lines[1] and lines[1].endswith("s CPU)")


def test_the_bounds_of_the_metrics_are_reported_by_their_meaning(module):
    benchmark = module("metrics")
    row = benchmark.Row("rouge_l", benchmark.Side(1.0, 2.0), benchmark.Side(2.0, 2.0), (0.4, 0.6))
    assert (row.ratio.wall, row.ratio.cpu) == (0.5, 1) and "0.40-0.60  at most 1.1 " in str(row)
    row = benchmark.Row("spice", benchmark.Side(1.0, 2.0), benchmark.Side(4.0, 6.0), (4.0, 4.0))
    assert (row.ratio.wall, row.ratio.cpu) == (4, 3) and "at least 3 " in str(row)


@pytest.fixture
def extraction(module, monkeypatch):
    """The benchmark of extractions with both sides in this process, and its arguments for a few short clips."""
    extract = module("extract")
    monkeypatch.setattr(extract, "apart", lambda function, *arguments: function(*arguments))
    sizes = ["--clips", "12", "--seconds", "1", "1.5", "--repetitions", "1", "--cores", "1", "--memory", "2", "4"]
    return extract, extract.arguments([*sizes, "--features", "lms", "vggsound"])


def test_extraction_is_the_same_both_ways(extraction, capsys):
    extract, chosen = extraction
    content = extract.measure(chosen)
    rows = [(row["feature"], row["precision"], row["clips"]) for row in content["speed"]]
    assert rows == [("lms", "float32", 120), ("vggsound", "float32", 12), ("vggsound", "bfloat16", 12)]
    assert all(row["ratio"] > 0 and row["whole"] > 0 and row["waiting"] == [] for row in content["speed"])
    precision = content["precision"]["vggsound"]
    assert 0 < precision["error_to_spread"] < 0.2 and 0.99 < precision["cosine"] < 1
    assert content["memory"]["vggsound"]["frames_kb"] == 7 * 512 * 4 / 1024 and content["memory"]["lms"]["few"] > 0
    assert capsys.readouterr().out.count("vggsound ") == 4


def test_extractions_that_differ_are_found(extraction, module, monkeypatch):
    extract, chosen = extraction
    baseline = module("usual")
    network = baseline.network
    monkeypatch.setattr(baseline, "network", lambda *given: lambda waveform: 1.01 * network(*given)(waveform))
    with pytest.raises(AssertionError, match="vggsound: both sides differ by"):
        extract.measure(chosen)


def test_the_speed_leaves_out_what_was_decoded_before(extraction):
    extract, _ = extraction
    row = extract.Row("lms", "float32", 10)
    for usual, ours in ((20, 30), (10, 40), (10, 20)):
        row.add({"seconds": 60 / usual, "speed": usual}, {"seconds": 60 / ours, "speed": ours, "waiting": None})
    assert (row.ratio, row.turns, row.whole) == (3, (1.5, 4), 3)


def test_too_few_clips_are_no_measure(extraction):
    extract, chosen = extraction
    chosen.clips, chosen.features = 3, ["vggsound"]
    with pytest.raises(SystemExit, match=r"3 clips.* 1 cores.* 9 "):
        extract.measure(chosen)


@pytest.fixture
def retrieval(module, tmp_path):
    """The benchmark of retrieval on 14 clips of 13 frames, which the published way pads to 90."""
    benchmark = module("retrieval")
    sizes = benchmark.Sizes("panns_cnn14", 14, 13, 16, 90, batch=6, words=40, word_dimension=12)
    return benchmark, benchmark.Bench(sizes, tmp_path)


def test_training_of_retrieval_is_the_same_both_ways(retrieval):
    benchmark, bench = retrieval
    assert bench.check() < 1e-5
    benchmark.check_optimisers()
    before = bench.published.audio_units[0].fc.weight.clone()
    row = bench.row("cnn14", "bf16-mixed", repetitions=1)
    assert row.ratio.wall == pytest.approx(row.pairs[0]) and "cnn14" in benchmark.table([row])
    assert bench.epochs == 2 and not torch.equal(before, bench.published.audio_units[0].fc.weight)


def test_trainings_of_retrieval_that_differ_are_found(retrieval):
    _, bench = retrieval
    with torch.no_grad():
        bench.published.text_units[0].fc.weight[0] += 0.5
    with pytest.raises(AssertionError):
        bench.check()


def test_the_jobs_of_a_sweep(module, tmp_path):
    benchmark = module("retrieval")
    for experiment, seconds in (("grid-lms-max", 3.0), ("grid-lms-mean", 5.0)):
        log = tmp_path / "logs/random" / experiment / "seed-0" / "train.tsv"
        log.parent.mkdir(parents=True)
        log.write_text(f"s\tcpu_time\n{seconds}\t2.0\n")
    assert benchmark.jobs(tmp_path) == {"train": {"wall": 4.0, "cpu": 2.0}}


@pytest.fixture
def alignment(module, monkeypatch):
    """The benchmark of alignment on a few clips of 1.6 s, with the stages of its last part in this process."""
    benchmark = module("alignment")
    monkeypatch.setattr(benchmark, "peak_of", lambda stage, folder: stage(folder) or 100.0)
    sizes = {"batch": 4, "clips": 3, "captions": 2, "phrases": 8, "frames": 80, "words": 40, "word_dimension": 12}
    return benchmark, benchmark.Sizes(**sizes, channels=(2, 3, 3, 3, 3))


def test_alignment_is_the_same_both_ways(alignment, capsys):
    benchmark, sizes = alignment
    given = ["--quick", "--sample", "4", "--threads", str(torch.get_num_threads())]
    content = benchmark.measure(benchmark.arguments(given), sizes, minutes=(0.1, 0.3))  # raises when values differ
    assert [row["part"] for row in content["results"]] == list(benchmark.LABELS)
    notes = [row["note"] for row in content["results"]]
    assert "4 of 1,584" in notes[0] and "4 of 180" in notes[1] and notes[2:] == [""] * 3
    frames = {name: one["frames"] for name, one in content["hour"]["minutes"].items()}
    assert frames == {"0.1": 300, "0.3": 900} and content["hour"]["bytes_a_frame"] == 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in benchmark.LABELS.values())


def test_alignments_that_differ_are_found(alignment, tmp_path):
    benchmark, sizes = alignment
    bench = benchmark.Bench(sizes, tmp_path)
    assert bench.check_training() < 1e-5
    with torch.no_grad():
        bench.published.gru.weight_ih_l0[0] += 0.5
    for compared in (bench.check_training, lambda: bench.sed(1, 4), lambda: bench.retrieval(1, 4)):
        with pytest.raises(AssertionError):
            compared()


def test_captions_of_one_call_are_those_of_single_calls(module, monkeypatch, capsys):
    benchmark = module("caption")
    from earwitness.serving.captioning import FileCaptioner

    def here(model, paths, cut):  # as a process prints them
        return benchmark.Side(2.0, 1.0), [one.caption for one in FileCaptioner(model, cut=cut).caption(paths)]

    monkeypatch.setattr(benchmark, "command", here)
    monkeypatch.setattr(benchmark, "peak_of", lambda stage, folder: stage(folder) or 100.0)
    content = benchmark.measure(benchmark.arguments(["--sample", "2"]), few=4, many=5, seconds=0.5)
    assert content["calls"]["ratio"] == {"wall": 4, "cpu": 4} and content["memory"] == {4: 100.0, 5: 100.0}
    assert "2 single calls" in capsys.readouterr().out


@pytest.fixture
def wsac(module, monkeypatch):
    """The benchmark of WSAC in miniature, with the epoch on a corpus in this process."""
    benchmark = module("wsac")
    monkeypatch.setattr(benchmark, "peak_of", lambda stage, folder: stage(folder) or 100.0)
    tower = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    decoder = {"layers": 1, "heads": 2, "width": 16, "positions": 40}
    return benchmark, {"tower": tower, "decoder": decoder, "batch": 3, "words": 300}


def test_wsac_is_the_same_both_ways(wsac, tmp_path, capsys):
    benchmark, sizes = wsac
    given = ["--repetitions", "1", "--sample", "2", "--threads", str(torch.get_num_threads())]
    chosen = benchmark.arguments([*given, "--captions", str(tmp_path / "none.csv")])
    content = benchmark.measure(chosen, counts=(70, 130), **sizes)  # raises when values differ
    assert [row["part"] for row in content["results"]] == list(benchmark.LABELS)
    assert [row["note"] for row in content["results"]] == ["", "published: 2 of 3 clips, multiplied"]
    assert [one["captions"] for one in content["corpus"]["epochs"]] == [70, 130]
    assert content["corpus"]["bytes_a_caption"] == 0 and content["corpus"]["source"] == "random words"
    assert "130 captions" in capsys.readouterr().out


def test_losses_and_captions_of_wsac_that_differ_are_found(wsac):
    benchmark, sizes = wsac
    bench = benchmark.Bench(**sizes)
    with torch.no_grad():
        bench.published.transformer.ln_f.weight[::2] += 1
    for compared in (lambda: bench.epoch(1), lambda: bench.decoding(1, 3)):
        with pytest.raises(AssertionError):
            compared()


def test_tracking_changes_no_training(module, monkeypatch, capsys):
    benchmark = module("tracking")
    monkeypatch.setattr(benchmark, "STEPS", 20)
    monkeypatch.setattr(benchmark, "prepare_store", lambda *_: True)
    chosen = benchmark.arguments(["--seconds", "0", "--repetitions", "1", "--threads", str(torch.get_num_threads())])
    content = benchmark.measure(chosen, width=8)  # raises when weights differ
    assert [len(sides) for sides in content["sides"].values()] == [1, 1] and content["epochs"] == 1
    assert "share of tracking" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["full", "lengths"])
def test_moments_and_the_loop_give_the_same(module, part, monkeypatch):
    benchmark = module("moments")
    row = benchmark.measured(part, queries=12, repetitions=1)  # raises when a figure differs
    assert benchmark.LABELS[part] in benchmark.table([row], benchmark.LABELS, benchmark.EXPECTED)
    real = benchmark.precision_of_query
    monkeypatch.setattr(benchmark, "precision_of_query", lambda *given: [value + 1e-6 for value in real(*given)])
    with pytest.raises(AssertionError, match=part):
        benchmark.measured(part, queries=12, repetitions=1)
