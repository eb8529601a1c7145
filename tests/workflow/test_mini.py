"""What `make demo` gives: numbers that mean something, a page, and tracked runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from earwitness.cli.main import main
from earwitness.corpora.tables import captions_by_clip
from earwitness.evaluation.compare import compare
from earwitness.evaluation.result import read_baselines
from earwitness.files import read_json
from earwitness.metrics.baselines import shuffled
from earwitness.metrics.captions import tokenize
from earwitness.metrics.cider import CiderD
from earwitness.metrics.vocabulary import NAMES as VOCABULARY
from tests.places import JARS

pytestmark = pytest.mark.workflow
NAMES = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider_d", "spice", "spider"]
OF_MODELS = ["sbert_sim.all-MiniLM-L6-v2", "fer", "spider_fl", "fense.all-MiniLM-L6-v2"]
OF_SPICE = {"spice", "spider"}
NO_DETECTOR = {"fer", "spider_fl", "fense.all-MiniLM-L6-v2"}


@pytest.fixture(scope="module")
def result(mini) -> dict:
    return read_json(mini / "results/mini/cl4ac/metrics.json")


def test_metrics_follow_the_contract(mini, result):
    assert {"schema", "dataset", "experiment", "system", "seeds", "metrics", "counts", "provenance"} <= result.keys()
    assert list(result["metrics"]) == [*NAMES, *OF_MODELS, *VOCABULARY]
    for name, metric in result["metrics"].items():
        if metric["value"] is None:
            assert metric["reason"], name
        else:
            assert len(metric["per_seed"]) == 1
    for name in ("bleu_4", "meteor", "cider_d", "sbert_sim.all-MiniLM-L6-v2"):
        low, high = result["metrics"][name]["ci95"]
        assert low < result["metrics"][name]["value"] < high
    counts = result["counts"]
    assert counts["clips_listed"] == counts["clips_found"] == counts["clips_scored"] == 100
    assert result["provenance"]["checkpoints"] == {} and list(result["kinds"]) == ["captioning"]


def test_only_what_is_not_there_is_null(result):
    absent = NO_DETECTOR if JARS.is_dir() else NO_DETECTOR | OF_SPICE
    assert {name for name, metric in result["metrics"].items() if metric["value"] is None} == absent
    if absent & OF_SPICE:
        pytest.skip(f"SPICE's jars are not there ({JARS}): SPICE and SPIDEr were null")


def test_spider_follows_from_its_parts(result):
    if not JARS.is_dir():
        pytest.skip(f"SPICE's jars are not there ({JARS}): SPIDEr was not computed")
    cider_d, spice, spider = (result["metrics"][name] for name in ("cider_d", "spice", "spider"))
    assert 0.1 < spice["value"] < 1 and spice["ci95"][0] < spice["value"] < spice["ci95"][1]
    assert spider["value"] == pytest.approx((cider_d["value"] + spice["value"]) / 2)


def test_without_jars_and_models_the_rest_is_the_same_and_nothing_is_trained(mini, tmp_path):
    bare = mini.copy(tmp_path / "bare")
    config = tmp_path / "bare.yaml"
    config.write_text("{spice: {jars: off}, sentence_models: {similarity: off, fluency: off}}", encoding="utf-8")
    printed = bare.run("results/mini/cl4ac/metrics.json", configfile=config)
    assert re.search(r"^score_captioning +1$", printed, re.MULTILINE)
    assert not re.search(r"^(train|predict_captioning) +1$", printed, re.MULTILINE)
    before, after = (read_json(folder / "results/mini/cl4ac/metrics.json")["metrics"] for folder in (mini, bare))
    reasons = {name: metric["reason"] for name, metric in after.items() if metric["value"] is None}
    assert reasons.keys() == {"spice", "spider", "sbert_sim", "fer", "spider_fl", "fense"}
    assert "SPICE is turned off" in reasons["spice"]
    rest = after.keys() - reasons.keys()
    assert {name: after[name] for name in rest} == {name: before[name] for name in rest}


def test_two_experiments_compare_with_intervals(mini):
    found = compare(mini / "results/mini/cl4ac-baseline", mini / "results/mini/cl4ac")
    assert (found["shared"], found["lists_differ"], found["references_differ"], found["audio_differs"]) == (
        100,
        False,
        False,
        0,
    )
    for name in ("bleu_4", "meteor", "cider_d"):
        entry = found["metrics"][name]
        assert entry["ci95"][0] <= entry["difference"] <= entry["ci95"][1] and 0 < entry["p_value"] <= 1
    assert len(found["moved"]["clips"]) == 5 and all(found["moved"]["clips"][0]["captions"])


def test_cl4ac_beats_the_best_constant_caption_by_far(mini, result):
    constant, _ = read_baselines(mini / "results/mini/baselines/captioning.json")
    assert result["metrics"]["cider_d"]["value"] >= 3 * constant.metrics["cider_d"]["value"]


def test_captions_learnt_from_text_alone_are_nearly_as_good(mini, result):
    found = read_json(mini / "results/mini/wsac/metrics.json")
    assert found["metrics"]["cider_d"]["value"] >= 0.6 * result["metrics"]["cider_d"]["value"]
    chosen = read_json(mini / "results/mini/wsac/seed-0/captioning/prediction.json")["chosen"]
    assert chosen["validation_cider_d"] == max(chosen["validation_cider_d_by_tau"].values())


@pytest.mark.parametrize("experiment", ["atr-lms", "clap-zeroshot"])
def test_retrieval_is_far_above_chance(mini, experiment):
    found = read_json(mini / f"results/mini/{experiment}/metrics.json")
    (chance,) = read_baselines(mini / "results/mini/baselines/retrieval.json")
    assert chance.metrics["t2a_r10"]["value"] == pytest.approx(0.1)
    assert found["metrics"]["t2a_r10"]["value"] >= 5 * chance.metrics["t2a_r10"]["value"]
    names = [f"{way}_{name}" for way in ("t2a", "a2t") for name in ("r1", "r5", "r10", "r50", "medr", "meanr", "map10")]
    assert all(found["metrics"][name]["value"] is not None for name in names)


def test_ranks_and_lists_of_ten_say_what_the_metrics_say(mini, tmp_path, capsys):
    found = read_json(mini / "results/mini/atr-lms/metrics.json")["metrics"]
    seed = mini / "results/mini/atr-lms/seed-0"
    queries = pd.read_csv(seed / "retrieval/queries.csv")
    assert len(queries) == 500 and (queries["rank"] <= 10).mean() == pytest.approx(found["t2a_r10"]["value"])
    queries.to_csv(tmp_path / "captions.csv", columns=["caption_id", "clip_id", "text"], index=False)
    assert main(["score", "retrieval", str(seed / "top10.csv"), str(tmp_path / "captions.csv"), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)["metrics"]
    for name in ("t2a_r1", "t2a_r5", "t2a_r10", "t2a_map10"):
        assert scored[name]["value"] == pytest.approx(found[name]["value"], abs=0.01)


def test_a_trained_model_finds_recordings(mini, tmp_path, capsys):
    index, seed = tmp_path / "index.h5", mini / "results/mini/atr-lms/seed-0"
    audio = mini / "results/mini/audio/evaluation"
    assert main(["index", str(audio), "--model", str(seed), "--index", str(index)]) == 0
    queries = pd.read_csv(seed / "retrieval/queries.csv").drop_duplicates("text").head(20)
    capsys.readouterr()
    assert main(["search", *queries["text"], "--index", str(index), "-k", "100", "--json"]) == 0
    found = {one["query"]: one["results"] for one in json.loads(capsys.readouterr().out)}
    for text, clip_id, rank in queries[["text", "clip_id", "rank"]].itertuples(index=False):
        hits = [Path(hit["path"]).name for hit in found[text]]
        assert len(hits) == 100 and hits.index(Path(clip_id).name) + 1 == rank


@pytest.fixture(scope="module")
def located(mini) -> dict:
    return read_json(mini / "results/mini/alignment/metrics.json")


def test_phrases_are_understood_and_loudness_is_not_what_is_followed(located):
    value = {name: entry["value"] for name, entry in located["metrics"].items()}
    controls = [value[f"frame_f1_{name}"] for name in ("all_active", "loudness", "random", "swapped")]
    assert value["frame_f1"] >= max(controls) + 0.10 and value["frame_f1_best"] >= max(controls) + 0.10
    assert value["psds"] >= 2 * value["psds_swapped"] and value["psds"] > 0.2
    assert value["psds_loudness"] < 0.05 > value["psds_random"]
    assert value["t2a_r10"] >= 5 * 0.1
    names = ["segment_f1", "segment_er", "event_f1", "th_auc", "miou", "psds_400_swapped", "a2t_r10"]
    assert all(value[name] is not None for name in names)
    assert list(located["kinds"]) == ["grounding", "retrieval"]


def test_found_events_are_those_that_are_scored(mini, located, tmp_path, capsys):
    seed = mini / "results/mini/alignment/seed-0"
    events = pd.read_csv(seed / "events.csv")
    phrases, clips = pd.read_csv(seed / "pairs.csv"), pd.read_csv(mini / "results/mini/corpus/clips.csv")
    found = events.merge(phrases, on="phrase_id")
    assert (found["onset"] < found["offset"]).all()
    ends = found["clip_id"].map(dict(zip(clips["clip_id"], clips["seconds"], strict=True)))
    assert (found["offset"] <= ends + 1e-6).all()
    assert (phrases["swapped"] != phrases["text"]).all()
    assert len(events) == located["counts"]["detections"]


def test_a_trained_model_locates_a_phrase_in_any_file(mini, tmp_path, capsys):
    """As the DAG did, and with a label track and a picture."""
    seed = mini / "results/mini/alignment/seed-0"
    phrases = pd.read_csv(seed / "pairs.csv").head(1)
    clip_id, text = phrases["clip_id"][0], phrases["text"][0]
    audio = mini / "results/mini/audio" / clip_id
    assert main(["ground", str(audio), text, "--model", str(seed), "--out", str(tmp_path), "--json"]) == 0
    events = pd.read_csv(seed / "events.csv")
    expected = events[events["phrase_id"] == phrases["phrase_id"][0]][["onset", "offset"]].to_numpy()
    made = pd.read_csv(tmp_path / "events.csv")[["onset", "offset"]].to_numpy()
    assert made.shape == expected.shape and abs(made - expected).max(initial=0) < 0.05
    assert (tmp_path / f"{audio.stem}.txt").is_file() and (tmp_path / f"{audio.stem}.png").stat().st_size > 10_000


def test_captions_belong_to_their_clips(mini, result):
    table = pd.read_csv(mini / "results/mini/cl4ac/seed-0/captions.csv", keep_default_na=False)
    captions = dict(zip(table["clip_id"], table["caption"], strict=True))
    references = captions_by_clip(mini / "results/mini/corpus/captions.csv", list(captions))
    wrong = shuffled(captions, seed=0)
    tokens, reference_tokens = tokenize([wrong[clip_id] for clip_id in references], list(references.values()))
    assert result["metrics"]["cider_d"]["value"] >= 2 * CiderD(reference_tokens).score(tokens).mean()


def test_nothing_is_left_to_do(mini):
    assert "Nothing to be done" in mini.run("--dry-run", "results/mini/comparison.html")


def test_another_data_set_is_made_and_leaves_this_one_alone(mini, tmp_path):
    config = tmp_path / "other.yaml"
    config.write_text("datasets: {other: {layout: mini}}", encoding="utf-8")
    assert "Nothing to be done" in mini.run("--dry-run", "results/mini/comparison.html", configfile=config)
    planned = mini.run("--dry-run", "results/other/cl4ac/metrics.json", configfile=config)
    assert re.search(r"^train +1$", planned, re.MULTILINE) and re.search(r"^result +1$", planned, re.MULTILINE)


def test_page_needs_no_network(mini):
    page = (mini / "results/mini/comparison.html").read_text(encoding="utf-8")
    assert "cl4ac-baseline" in page and "phrases in time" in page
    assert not re.search(r"""(?:src|<link[^>]*href)\s*=\s*["']?(?:https?:)?//""", page)


def test_runs_are_tracked_once(mini):
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{mini / 'results/mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("mini").experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "alignment",
        "alignment seed 0",
        "atr-lms",
        "atr-lms seed 0",
        "cl4ac",
        "cl4ac seed 0",
        "cl4ac-baseline",
        "cl4ac-baseline seed 0",
        "clap-zeroshot",
        "clap-zeroshot seed 0",
        "wsac",
        "wsac seed 0",
    ]
    child = next(run for run in runs if run.info.run_name == "cl4ac seed 0")
    parent = next(run for run in runs if run.info.run_name == "cl4ac")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    curve = client.get_metric_history(child.info.run_id, "validation_cider_d")
    assert len(curve) > 5
    assert child.data.params["optim.lr"] == parent.data.params["optim.lr"] == "0.002"
    assert child.data.params["decode.beam"] == "1"
    assert {"model.json", "captions.csv"} <= {artifact.path for artifact in client.list_artifacts(child.info.run_id)}


def test_publishing_again_changes_nothing(mini):
    from earwitness.tracking.publish import publish

    uri = f"sqlite:///{mini / 'results/mlflow.db'}"
    folder = mini / "results/mini/cl4ac"
    before = read_json(folder / "tracking.json")["runs"]
    assert publish(uri, folder / "metrics.json", [folder / "seed-0"], folder / "again.json")
    assert read_json(folder / "again.json")["runs"] == before


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////dev/null/mlflow.db"])
def test_a_tracker_that_is_down_fails_nothing(mini, tmp_path, uri):
    from earwitness.tracking.publish import publish

    folder = mini / "results/mini/cl4ac"
    out = tmp_path / "tracking.json"
    assert not publish(uri, folder / "metrics.json", [folder / "seed-0"], out)
    assert read_json(out)["reason"]
