"""Grounding as a kind of prediction: its files, controls, baselines, a corpus without phrases, and what is refused."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest

from earwitness.corpora.tables import CAPTIONS, CLIPS, EVENTS, PHRASES, write_rows
from earwitness.errors import EarwitnessError
from earwitness.evaluation.compare import compare
from earwitness.evaluation.grounding import Grounding
from earwitness.evaluation.result import score_prediction, write_baselines
from earwitness.evaluation.scores import read_scores
from earwitness.metrics.bootstrap import summarise
from earwitness.prediction.clips import Clips
from earwitness.report.comparison import write_comparison
from earwitness.report.terminal import baselines_of, experiments_of, table
from earwitness.systems.interface import Grounder

HOP, SECONDS = 0.1, 4.0
FRAMES = round(SECONDS / HOP)
SOUNDS = {"dog": (0.5, 1.5), "rain": (1.0, 3.5), "bell": (3.0, 3.6)}
NAMES = {"validation": ["v0", "v1"], "evaluation": ["e0", "e1", "e2"]}


def write_corpus(folder, phrases=("validation", "evaluation"), sounds=SOUNDS):
    """Clips of 4 s with two of three sounds each: a caption without a phrase, and one with a phrase for each sound."""
    clips = [(split, name) for split in NAMES for name in NAMES[split]]
    write_rows(folder / "clips.csv", CLIPS, [(n, s, f"{n}.wav", "name", SECONDS, 8000, 1, n) for s, n in clips])
    captions, rows, events = [], [], []
    for number, (split, name) in enumerate(clips):
        heard = [sound for place, sound in enumerate(sounds) if place != number % 3 or len(sounds) == 1]
        captions += [(f"{name}#1", name, "something is heard"), (f"{name}#2", name, " and ".join(heard))]
        for place, sound in enumerate(heard if split in phrases else ()):
            rows.append((f"{name}#2.{place + 1}", f"{name}#2", sound, 2 * place, 2 * place + 1))
            events.append((rows[-1][0], *sounds[sound]))
    for file, columns, content in (
        ("captions", CAPTIONS, captions),
        ("phrases", PHRASES, rows),
        ("events", EVENTS, events),
    ):
        write_rows(folder / f"{file}.csv", columns, content)
    counts = {"listed": 3, "found": 3, "missing": 0, "refused": 0, "seconds": 12.0}
    report = {
        "schema": 2,
        "refused": [],
        "clips": dict.fromkeys(NAMES, counts),
        "ids_sha256": dict.fromkeys(NAMES, "abc"),
    }
    report["captions"] = dict.fromkeys(NAMES, 6)
    (folder / "report.json").write_text(json.dumps(report))
    shown = [name for split, name in clips if split in phrases]
    with h5py.File(folder / "loudness.h5", "w") as file:  # loud where the rain is
        one = np.where((np.arange(201) * 0.02 >= 1) & (np.arange(201) * 0.02 < 3.5), -2, -9)
        file["loudness"] = np.tile(one, len(shown)).astype(np.float32)
        file["offsets"] = np.arange(len(shown) + 1) * 201
        file.create_dataset("clip_ids", data=shown, dtype=h5py.string_dtype())
        file.attrs["hop"] = 0.02
    return folder


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus").mkdir()
    return write_corpus(tmp_path / "corpus")


class Toy(Grounder):
    """0.6 where a sound is, with one frame of noise, which the filter removes; words are told apart."""

    hop, threshold, median_filter = HOP, 0.5, 3

    def activations(self, clips, queries):
        for _, text in queries:
            onset, offset = SOUNDS[text]
            found = np.zeros(FRAMES, dtype=np.float32)
            found[round(onset / HOP) : round(offset / HOP)] = 0.6
            found[-2] = 1
            yield found

    def word_activations(self, clips, queries):
        for _, text in queries:
            words = text.split()
            yield words, np.linspace(0, 1, FRAMES * len(words)).reshape(FRAMES, -1)


def clips_of(corpus):
    return Clips(NAMES["evaluation"])


def predicted(corpus, folder, model=None):
    Grounding().predict(model or Toy(), clips_of(corpus), corpus, folder)
    return folder


def test_files(corpus, tmp_path):
    seed = predicted(corpus, tmp_path / "seed-0")
    assert {path.name for path in seed.iterdir()} == set(Grounding.files)
    with open(seed / "pairs.csv") as file:
        pairs = list(csv.DictReader(file))
    with h5py.File(seed / "activations.h5") as file:
        assert dict(file.attrs) | {"provenance": ""} == {
            "hop": HOP, "threshold": 0.5, "median_filter": 3, "provenance": ""
        }  # fmt: skip
        assert list(file["phrase_ids"].asstr()[:]) == [pair["phrase_id"] for pair in pairs]
        offsets, own, other = file["offsets"][:], file["activations"][:], file["swapped"][:]
    assert own.dtype == other.dtype == np.float32 and (np.diff(offsets) == FRAMES).all()
    assert (own.reshape(-1, FRAMES)[:, -2] == 1).all()  # not smoothed
    heard = {name: {p["text"] for p in pairs if p["clip_id"] == name} for name in NAMES["evaluation"]}
    for number, pair in enumerate(pairs):
        (expected,) = Toy().activations(None, [("", pair["swapped"])])
        assert (other[offsets[number] : offsets[number + 1]] == expected).all()
        assert pair["swapped"] in SOUNDS and pair["swapped"] not in heard[pair["clip_id"]]
    with open(seed / "events.csv") as file:
        events = [(float(row["onset"]), float(row["offset"])) for row in csv.DictReader(file)]
    assert np.allclose(events, [SOUNDS[pair["text"]] for pair in pairs])  # smoothed
    again = predicted(corpus, tmp_path / "seed-1")
    assert (seed / "pairs.csv").read_bytes() == (again / "pairs.csv").read_bytes()


def test_activations_of_words(corpus, tmp_path):
    with h5py.File(predicted(corpus, tmp_path) / "alignment.h5") as file:
        assert list(file["caption_ids"].asstr()[:]) == [f"{name}#2" for name in NAMES["evaluation"]]
        words, places = list(file["words"].asstr()[:]), file["word_offsets"][:]
        assert words[places[0] : places[1]] == ["dog", "and", "rain"] and (np.diff(places) == 3).all()
        values, frames = file["values"], file["frames"][:]
        assert values.dtype == np.float16 and frames.tolist() == [FRAMES] * 3 and file.attrs["hop"] == HOP
        first = values[file["value_offsets"][0] : file["value_offsets"][1]].reshape(FRAMES, 3)
        assert np.allclose(first, np.linspace(0, 1, 3 * FRAMES).reshape(FRAMES, 3), atol=1e-3)


def test_a_model_that_does_not_tell_words_apart(corpus, tmp_path):
    class Whole(Toy):
        word_activations = Grounder.word_activations

    with h5py.File(predicted(corpus, tmp_path, Whole()) / "alignment.h5") as file:
        assert {len(file[name]) for name in ("caption_ids", "frames", "words", "values")} == {0}
        assert file["word_offsets"][:].tolist() == file["value_offsets"][:].tolist() == [0]


def test_controls(corpus, tmp_path):
    scored = Grounding().score(predicted(corpus, tmp_path), corpus, None, {})
    metrics = {name: entry["value"] for name, entry in scored.evaluation.metrics.items()}
    assert metrics["frame_f1"] == metrics["event_f1"] == 1 and scored.settings["median_filter"] == 3
    # Rain is found by loudness, others are active while the rain is: dog [0.5, 1.5), bell [3, 3.6).
    assert 0.4 < metrics["frame_f1_loudness"] < 0.8
    assert metrics["frame_f1_random"] < 0.6 and metrics["frame_f1_swapped"] < 0.6
    assert metrics["psds"] > 0.9 > metrics["psds_swapped"]
    names = {f"{metric}_{c}" for metric in ("frame_f1", "psds", "psds_400") for c in ("loudness", "random", "swapped")}
    assert names <= metrics.keys() <= {metric.name for metric in Grounding().metrics}
    assert {
        f"frame_f1_{control}" for control in ("loudness", "random", "swapped")
    } <= scored.evaluation.statistics.keys()
    for name, statistic in scored.evaluation.statistics.items():
        assert statistic.values(np.ones((1, 3)))[0] == pytest.approx(metrics[name])
    assert scored.counts["phrases_by_split"] == {"development": 0, "validation": 4, "evaluation": 6}
    baselines = {baseline.name: baseline for baseline in Grounding().baselines(corpus)}
    assert list(baselines) == list(Grounding.floors)
    for control in ("random", "loudness"):
        assert baselines[control].metrics["frame_f1"]["value"] == metrics[f"frame_f1_{control}"]
        assert baselines[control].metrics["psds_400"]["value"] == metrics[f"psds_400_{control}"]
    again = Grounding().score(tmp_path, corpus, None, {})
    assert again.evaluation.metrics == scored.evaluation.metrics


def test_without_phrases_in_validation_controls_have_no_threshold(corpus, tmp_path):
    write_corpus(corpus, phrases=("evaluation",))
    scored = Grounding().score(predicted(corpus, tmp_path), corpus, None, {})
    for control in ("loudness", "random"):
        entry = scored.evaluation.metrics[f"frame_f1_{control}"]
        assert entry["value"] is None and "validation" in entry["reason"]
        assert scored.evaluation.metrics[f"psds_{control}"]["value"] is not None
    for baseline in Grounding().baselines(corpus)[1:]:
        assert baseline.metrics["event_f1"]["value"] is None and "validation" in baseline.metrics["event_f1"]["reason"]
        assert baseline.metrics["psds"]["value"] is not None
    assert scored.evaluation.metrics["frame_f1_swapped"]["value"] is not None


def test_without_another_phrase_nothing_is_swapped(corpus, tmp_path):
    write_corpus(corpus, sounds={"rain": SOUNDS["rain"]})
    seed = predicted(corpus, tmp_path)
    with h5py.File(seed / "activations.h5") as file:
        assert np.isnan(file["swapped"][:]).all() and np.isfinite(file["activations"][:]).all()
    scored = Grounding().score(seed, corpus, None, {})
    for name in ("frame_f1_swapped", "psds_swapped", "psds_400_swapped"):
        assert (
            scored.evaluation.metrics[name]["value"] is None
            and "other phrase" in scored.evaluation.metrics[name]["reason"]
        )
    assert scored.evaluation.metrics["frame_f1"]["value"] == 1


def test_all_phrases_silent(corpus, tmp_path):
    write_rows(corpus / "events.csv", EVENTS, [])
    seed = predicted(corpus, tmp_path / "seed-0")
    score_prediction("grounding", seed, corpus)
    content = json.loads((seed / "grounding/metrics.json").read_text())
    known = [name for name, entry in content["metrics"].items() if entry["value"] is not None or not entry["reason"]]
    assert known == ["frame_precision"] and content["curves"] == {}
    assert content["counts"]["pairs_dropped"] == content["counts"]["phrases_scored"] == 6
    write_baselines("grounding", corpus, tmp_path / "baselines.json")


def test_a_corpus_without_phrases_has_reasons(corpus, tmp_path):
    write_corpus(corpus, phrases=())
    seed = predicted(corpus, tmp_path / "seed-0")
    assert Grounding().baselines(corpus) == [] and Grounding().clip_ids(corpus) == []
    score_prediction("grounding", seed, corpus)
    scores = read_scores(seed / "grounding")
    assert scores.ids == NAMES["evaluation"]
    found = summarise([scores, scores])
    assert {"frame_f1", "psds", "psds_swapped", "miou", "frame_f1_best"} <= found.keys()
    assert all(entry["value"] is None and "no phrases" in entry["reason"] for entry in found.values())
    content = json.loads((seed / "grounding/metrics.json").read_text())
    assert content["counts"]["phrases_scored"] == content["counts"]["clips_scored"] == 0
    assert "no phrases" in table([{"experiment": "toy", "metrics": found, "counts": {}}])
    both = compare(seed / "grounding", seed / "grounding")
    assert both["metrics"]["psds"]["a"] is None and "reason" in both["metrics"]["psds"]
    write_baselines("grounding", corpus, tmp_path / "baselines.json")


def test_the_page_and_the_terminal_of_a_corpus_without_phrases(corpus, tmp_path):
    results = tmp_path / "toys"
    shutil.move(write_corpus(corpus, phrases=()), results / "corpus")
    corpus = results / "corpus"
    (results / "baselines").mkdir()
    write_baselines("grounding", corpus, results / "baselines/grounding.json")
    for name in ("first", "second"):
        seed = predicted(corpus, results / name / "seed-0")
        score_prediction("grounding", seed, corpus)
        metrics = summarise([read_scores(seed / "grounding")])
        counts = json.loads((seed / "grounding/metrics.json").read_text())["counts"]
        made_by = {"weights_sha256": [], "checkpoints": {}, "options": {}}
        content = {"schema": 2, "dataset": "toys", "experiment": name, "system": "toy", "seeds": [0], "counts": counts}
        content |= {"metrics": metrics, "kinds": {"grounding": {"metrics": list(metrics), "counts": counts}}}
        (results / name / "metrics.json").write_text(json.dumps(content | {"provenance": made_by}))
    write_comparison(results, ["first", "second"], tmp_path, results / "comparison.html")
    assert "no phrases" in (results / "comparison.html").read_text(encoding="utf-8")
    assert "no phrases" in table(experiments_of(results), baselines_of(results))


def test_activations_that_are_not_finite_are_refused_with_phrase_and_clip(corpus, tmp_path):
    class Diverged(Toy):
        def activations(self, clips, queries):
            for number, activation in enumerate(super().activations(clips, queries)):
                yield np.full_like(activation, np.nan) if number in (0, 5) else activation[number == 6 :]

    with pytest.raises(EarwitnessError) as told:
        predicted(corpus, tmp_path / "seed-0", Diverged())
    lines = str(told.value).splitlines()[1:]
    assert len(lines) == 3 and "e0#2.1" in lines[0] and "clip e0" in lines[0] and "40 of 40" in lines[0]
    assert "e1" in lines[1] and not list((tmp_path / "seed-0").glob("*"))


class Cased(Toy):
    def activations(self, clips, queries):
        return super().activations(clips, [(clip, text.strip().lower()) for clip, text in queries])


def test_a_clip_with_all_phrases_of_the_split_has_none_to_swap(corpus, tmp_path):
    rows = (corpus / "phrases.csv").read_text()
    (corpus / "phrases.csv").write_text(rows + "e0#2.9,e0#2,Bell,0,1\ne0#2.8,e0#2,rain ,0,1\n")
    with open(predicted(corpus, tmp_path, Cased()) / "pairs.csv") as file:
        pairs = list(csv.DictReader(file))
    assert [bool(pair["swapped"]) for pair in pairs] == [pair["clip_id"] != "e0" for pair in pairs]
    with h5py.File(tmp_path / "activations.h5") as file:
        assert (
            np.isnan(file["swapped"][: 2 * FRAMES]).all()
            and np.isfinite(file["swapped"][2 * FRAMES : 6 * FRAMES]).all()
        )
    scored = Grounding().score(tmp_path, corpus, None, {})
    assert scored.evaluation.metrics["psds_swapped"]["value"] is None
