"""Retrieval and grounding as kinds of prediction: their files, what is scored, baselines, and what is refused."""

import h5py
import numpy as np
import pandas as pd
import pytest

from earwitness.corpora.tables import CAPTIONS, CLIPS, EVENTS, PHRASES, clips_of, read_table, write_rows
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.grounding import Grounding
from earwitness.evaluation.readers.retrieval import RetrievalFiles
from earwitness.evaluation.readers.retrieval import score as score_files
from earwitness.evaluation.relevance import COLUMNS
from earwitness.evaluation.retrieval import Retrieval, several_relevant
from earwitness.evaluation.scores import write_scores
from earwitness.metrics import retrieval
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import Grounder, Retriever

HOP = 0.1
CLIPS_OF_SPLIT = 4


@pytest.fixture
def corpus(tmp_path):
    """Four evaluation clips of 2 s and one of development: three captions each, the second one with a phrase."""
    folder = tmp_path / "corpus"
    names = ["development/x", *(f"evaluation/{number}" for number in range(CLIPS_OF_SPLIT))]
    rows = [(name, name.split("/")[0], f"{name}.wav", "name", 2.0, 8000, 1, name) for name in names]
    write_rows(folder / "clips.csv", CLIPS, rows)
    captions = [(f"{name}#{n}", name, f"caption {n} of {name}") for name in names for n in (1, 2, 3)]
    write_rows(folder / "captions.csv", CAPTIONS, captions)
    phrases = [(f"{caption}.1", caption, f"phrase of {name}", 0, 2) for caption, name, _ in captions if "#2" in caption]
    write_rows(folder / "phrases.csv", PHRASES, phrases)
    write_rows(folder / "events.csv", EVENTS, [(phrase, 0.5, 1.0) for phrase, *_ in phrases[:-1]])  # the last is silent
    with h5py.File(folder / "loudness.h5", "w") as file:
        file["loudness"] = np.zeros(101 * CLIPS_OF_SPLIT, dtype=np.float32)
        file["offsets"] = np.arange(CLIPS_OF_SPLIT + 1) * 101
        file.create_dataset("clip_ids", data=names[1:], dtype=h5py.string_dtype())
        file.attrs["hop"] = 0.02
    return folder


def clips(corpus):
    return Clips(list(clips_of(corpus / "clips.csv", "evaluation", "the test")["clip_id"]))


class Perfect(Retriever, Grounder):
    hop, threshold = HOP, 0.4

    def similarity(self, clips, texts):
        return np.array([[float(text.endswith(clip_id)) for clip_id in clips.ids] for text in texts])

    def activations(self, clips, queries):
        for _ in queries:
            activation = np.zeros(20, dtype=np.float32)
            activation[5:10] = 0.5
            yield activation


def test_a_perfect_retriever_finds_every_clip_and_caption(corpus, tmp_path):
    kind = Retrieval()
    kind.predict(Perfect(), clips(corpus), corpus, tmp_path / "seed-0")
    with h5py.File(tmp_path / "seed-0/similarity.h5") as file:
        assert file["similarity"].shape == (12, 4) and file["similarity"].dtype == np.float32
    scored = kind.score(tmp_path / "seed-0", corpus, None, {})
    assert scored.evaluation.metrics["t2a_r1"]["value"] == scored.evaluation.metrics["a2t_r1"]["value"] == 1
    published = kind.score(tmp_path / "seed-0", corpus, None, {"ties": "benchmark"})
    assert published.evaluation.metrics["a2t_r1"]["value"] == 0 and published.settings == {"ties": "benchmark"}
    assert any("a2t_r1 1, not 0" in note for note in published.notes)
    assert scored.counts == {"clips_scored": 4, "captions_scored": 12}


def test_the_sampled_protocol_adds_recalls_among_30(tmp_path):
    corpus, kind, seed = many(tmp_path, clips=40), Retrieval(), tmp_path / "seed-0"
    kind.predict(Random(), clips(corpus), corpus, seed)
    full, scored = (kind.score(seed, corpus, None, options) for options in ({}, {"protocol": "sampled30"}))
    added = [f"{way}_r{cut}_sampled30" for way in ("t2a", "a2t") for cut in (1, 5)]
    assert [*scored.evaluation.metrics] == [*full.evaluation.metrics, *added]
    assert (full.settings, scored.settings["protocol"]) == ({"ties": "expected"}, "sampled30")
    write_scores(seed / "retrieval", scored.evaluation)
    table = pd.read_csv(seed / "retrieval/scores.csv")
    for name in added:
        entry = scored.evaluation.metrics[name]
        assert 0 < entry["std_over_repetitions"] < 0.2
        assert entry["value"] == pytest.approx(table[name].mean())
        assert entry["value"] == pytest.approx(scored.evaluation.statistics[name].values(np.ones((1, 40)))[0])
    (chance,) = kind.baselines(corpus)
    assert [chance.metrics[name]["value"] for name in added] == [1 / 30, 5 / 30, 1 / 30, 5 / 30]


def test_the_sampled_protocol_needs_more_than_30_clips(tmp_path):
    corpus, kind, seed = many(tmp_path, clips=30), Retrieval(), tmp_path / "seed-0"
    kind.predict(Random(), clips(corpus), corpus, seed)
    entry = kind.score(seed, corpus, None, {"protocol": "sampled30"}).evaluation.metrics["t2a_r1_sampled30"]
    assert entry["value"] is None and "30" in entry["reason"]
    assert "t2a_r1_sampled30" not in kind.baselines(corpus)[0].metrics


class Random(Retriever):
    """Similarities without ties; captions of the same text are alike to all clips."""

    def similarity(self, clips, texts):
        seeds = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        return np.array([np.random.default_rng(seeds[text]).permutation(len(clips)) for text in texts])


def many(tmp_path, clips=25):
    """A corpus of more clips than are listed, with two captions each; the first two clips share one, spelt alike."""
    folder = tmp_path / "many"
    names = [f"{number}.wav" for number in range(clips)]
    write_rows(folder / "clips.csv", CLIPS, [(n, "evaluation", n, "name", 2.0, 8000, 1, n) for n in names])
    captions = [(f"{name}#{n}", name, f"caption {n}, of {name}") for name in names for n in (1, 2)]
    captions[2] = (captions[2][0], captions[2][1], captions[0][2])
    write_rows(folder / "captions.csv", CAPTIONS, captions)
    return folder


def test_the_lists_and_the_ranks_give_the_figures_of_the_similarities(tmp_path):
    corpus, kind, seed = many(tmp_path), Retrieval(), tmp_path / "seed-0"
    kind.predict(Random(), clips(corpus), corpus, seed)
    scored = kind.score(seed, corpus, None, {})
    assert set(scored.tables) == set(kind.score_files)
    write_scores(seed / "retrieval", scored.evaluation, tables=scored.tables)
    queries = pd.read_csv(seed / "retrieval/queries.csv")
    assert [*queries.columns] == [*CAPTIONS, "rank", "relevant", "ap10"] and len(queries) == 50
    metrics = scored.evaluation.metrics
    for cut in (1, 5, 10, 50):
        assert (queries["rank"] <= cut).mean() == metrics[f"t2a_r{cut}"]["value"]
    assert queries["ap10"].mean() == pytest.approx(metrics["t2a_map10"]["value"])
    by_clip = pd.read_csv(seed / "retrieval/scores.csv").set_index("clip_id")["a2t_meanr"]
    assert list(by_clip[clips(corpus).ids]) == list(scored.evaluation.ranks["a2t"].best())
    lists = pd.read_csv(seed / "top10.csv")
    assert [*lists.columns] == ["caption", *(f"fname_{rank}" for rank in range(1, 11))]
    assert len(lists) == 49  # a text that two captions have is one query
    read = score_files(RetrievalFiles(seed / "top10.csv", seed / "retrieval/queries.csv"))
    for name in ("t2a_r1", "t2a_r5", "t2a_r10", "t2a_map10"):
        assert read.evaluation.metrics[name]["value"] == pytest.approx(metrics[name]["value"], rel=1e-14)
    whole = score_files(RetrievalFiles(seed / "similarity.h5", seed / "retrieval/queries.csv"))
    assert whole.evaluation.metrics == metrics


def test_lists_name_clips_that_score_alike_in_order_and_are_as_long_as_there_are_clips(corpus, tmp_path):
    class Alike(Retriever):
        def similarity(self, clips, texts):
            return np.tile([0.5, 0.7, 0.5, 0.7], (len(texts), 1))

    Retrieval().predict(Alike(), clips(corpus), corpus, tmp_path)
    lists = pd.read_csv(tmp_path / "top10.csv")
    assert list(lists.iloc[0, 1:]) == [f"evaluation/{number}" for number in (1, 3, 0, 2)] and lists.shape == (12, 5)


def test_several_relevant_clips(tmp_path):
    corpus, kind, seed = many(tmp_path), Retrieval(), tmp_path / "seed-0"
    kind.predict(Random(), clips(corpus), corpus, seed)
    plain = kind.score(seed, corpus, None, {})
    write_rows(corpus / "relevant.csv", COLUMNS, [])  # of a data set without a table
    assert kind.score(seed, corpus, None, {}).evaluation.metrics == plain.evaluation.metrics
    assert kind.clip_ids(corpus) == clips(corpus).ids
    table = {"0.wav#2": ["0.wav", "3.wav", "4.wav"], "3.wav#1": ["4.wav"], "4.wav#1": [], "9.wav#1": ["9.wav", "0.wav"]}
    write_rows(corpus / "relevant.csv", COLUMNS, [(name, clip) for name in table for clip in table[name] or [""]])
    scored = kind.score(seed, corpus, None, {})
    # The same from the matrix of the three queries alone; audio to text ranks the four captions of the table.
    queries = read_table(corpus / "captions.csv", CAPTIONS).set_index("caption_id")
    similarity = Random().similarity(clips(corpus), list(queries["text"]))
    rows = [list(queries.index).index(name) for name in table]
    owners = [queries["clip_id"][name] for name in table]
    direct = retrieval.evaluate(similarity[rows], owners, clips(corpus).ids, captions=list(table), relevant=table)
    assert scored.evaluation.metrics == direct.metrics and "t2a_map16" in direct.metrics
    counts = {"clips_scored": 25, "captions_scored": 4, "captions_not_in_relevant": 46, "relevant_pairs": 6}
    assert scored.counts == counts and "6 pairs" in several_relevant(counts)
    assert several_relevant(plain.counts) is None
    assert any("1 of 4 queries" in note for note in scored.notes)
    assert any(note.startswith("2 captions lack the clip") for note in scored.notes)
    assert scored.inputs["relevant"] == corpus / "relevant.csv"
    ranks = scored.tables["queries.csv"].set_index("caption_id")
    assert ranks["rank"].notna().sum() == 3 and ranks["relevant"]["0.wav#2"] == 3
    assert sorted(kind.clip_ids(corpus)) == sorted(scored.evaluation.ids) == ["0.wav", "3.wav", "4.wav", "9.wav"]
    assert "1 for any scores" not in scored.evaluation.metrics["t2a_r10"].get("note", "")
    assert "1 for any scores: only 25 items" in scored.evaluation.metrics["t2a_r50"]["note"]


def test_chance_with_several_relevant_clips_is_that_of_scores_that_tell_nothing(tmp_path):
    corpus, kind = many(tmp_path), Retrieval()
    table = {"0.wav#1": ["0.wav", "3.wav", "4.wav"], "3.wav#1": ["4.wav"], "4.wav#1": [], "9.wav#1": ["9.wav", "0.wav"]}
    write_rows(corpus / "relevant.csv", COLUMNS, [(name, clip) for name in table for clip in table[name] or [""]])
    (chance,) = kind.baselines(corpus)
    assert chance.metrics["t2a_r1"]["value"] == pytest.approx((3 + 1 + 2) / 25 / 3)
    assert chance.fact.startswith("25 clips and 4 captions")
    constant = retrieval.evaluate(
        np.zeros((4, 25)), [n.split("#")[0] for n in table], clips(corpus).ids, captions=list(table), relevant=table
    )
    for name, entry in chance.metrics.items():
        assert entry["value"] == pytest.approx(constant.metrics[name]["value"], rel=1e-12)
    assert chance.metrics.keys() == constant.metrics.keys()


def test_chance_is_counted(corpus):
    (chance,) = Retrieval().baselines(corpus)
    assert chance.metrics["t2a_r1"]["value"] == 1 / 4 and chance.metrics["t2a_r5"]["value"] == 1
    assert chance.metrics["a2t_r1"]["value"] == pytest.approx(3 / 12)
    # None of three among the first five of twelve: 9 * 8 * 7 * 6 * 5 / (12 * 11 * 10 * 9 * 8).
    assert chance.metrics["a2t_r5"]["value"] == pytest.approx(1 - 9 * 8 * 7 * 6 * 5 / (12 * 11 * 10 * 9 * 8))
    assert chance.metrics["t2a_medr"]["value"] == chance.metrics["t2a_meanr"]["value"] == 2.5
    assert chance.metrics["t2a_map10"]["value"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert chance.metrics["a2t_meanr"]["value"] == 13 / 4 and "t2a_map16" not in chance.metrics


def test_similarities_of_other_clips_or_another_shape_are_refused(corpus, tmp_path):
    kind = Retrieval()
    kind.predict(Perfect(), clips(corpus), corpus, tmp_path / "seed-0")
    table = (corpus / "captions.csv").read_text().replace("evaluation/3#1", "evaluation/3#4")
    (corpus / "captions.csv").write_text(table)
    with pytest.raises(MismatchError, match=r"similarity\.h5"):
        kind.score(tmp_path / "seed-0", corpus, None, {})

    class Turned(Perfect):
        def similarity(self, clips, texts):
            return super().similarity(clips, texts).T

    with pytest.raises(EarwitnessError, match=r"\(4, 12\).*\(12, 4\)"):
        kind.predict(Turned(), clips(corpus), corpus, tmp_path / "seed-1")
    assert not list((tmp_path / "seed-1").glob("*"))


def test_a_perfect_grounder_finds_every_event_above_its_threshold(corpus, tmp_path):
    kind = Grounding()
    kind.predict(Perfect(), clips(corpus), corpus, tmp_path / "seed-0")
    events = read_table(tmp_path / "seed-0/events.csv", EVENTS)
    assert list(events["phrase_id"]) == [f"evaluation/{n}#2.1" for n in range(4)]
    assert np.allclose(events[["onset", "offset"]].to_numpy(dtype=float), [0.5, 1.0])
    scored = kind.score(tmp_path / "seed-0", corpus, None, {})
    assert scored.evaluation.metrics["event_f1"]["value"] == pytest.approx(1)
    settings = {"hop": HOP, "threshold": 0.4, "minmax": False, "merge_gap": 0.5, "min_length": 0.0}
    assert scored.settings == settings | {"grid": "decimal", "median_filter": 1, "frame_threshold": None}
    assert kind.score(tmp_path / "seed-0", corpus, None, {"grid": "sed_eval"}).settings["grid"] == "sed_eval"
    assert scored.counts["phrases_scored"] == 4 and scored.counts["silent_pairs"] == 1


def test_all_active_is_the_baseline_of_grounding(corpus):
    baseline, *_ = Grounding().baselines(corpus)
    assert baseline.metrics["frame_recall"]["value"] == 1
    assert baseline.metrics["frame_precision"]["value"] == pytest.approx(3 * 0.5 / (4 * 2), abs=0.01)


def test_the_clips_that_are_scored(corpus):
    assert Retrieval().clip_ids(corpus) == clips(corpus).ids == Grounding().clip_ids(corpus)
    phrases = (corpus / "phrases.csv").read_text().splitlines(keepends=True)
    (corpus / "phrases.csv").write_text("".join(phrases[:-1]))
    assert Grounding().clip_ids(corpus) == clips(corpus).ids[:-1] and len(Retrieval().clip_ids(corpus)) == 4


def test_the_baselines_that_ignore_the_audio_are_named(corpus):
    for kind in (Retrieval(), Grounding()):
        assert {baseline.name for baseline in kind.baselines(corpus)} == set(kind.floors)
