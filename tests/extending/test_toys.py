"""The toys of docs/extending.md went through the real DAG, with one line each outside their modules."""

from __future__ import annotations

import difflib
import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from .conftest import CONFIGS, PAGE, PARTS, ROOT, TOYS, registry_lines

pytestmark = pytest.mark.workflow

TONES = "results/tones"
EXPERIMENTS = {
    "toy-retriever": ["retrieval"],
    "toy-transfer-cosine": ["retrieval"],
    "toy-transfer-dot": ["retrieval"],
    "toy-grounder": ["grounding", "retrieval"],
    "toy-lookup": ["captioning"],
    "toy-tagger": ["tagging"],
}
METRICS = {"captioning": "cider_d", "retrieval": "t2a_r5", "grounding": "frame_f1", "tagging": "tag_accuracy"}


@pytest.fixture(scope="module")
def tones(run) -> Path:
    return run[0] / TONES


def read(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def files_below(folder: Path) -> dict[str, Path]:
    kept = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path for path in kept if ".egg-info" not in str(path)}


def test_one_line_each_is_all_that_changes_outside_the_modules(copy):
    toys = {f"earwitness/{name}" for name in files_below(TOYS)}
    for part in PARTS:
        mine, theirs = files_below(ROOT / part), files_below(copy / part)
        assert set(theirs) - set(mine) == (toys if part == "src" else set())
        changed = {name for name in mine if mine[name].read_bytes() != theirs[name].read_bytes()}
        assert changed == ({"earwitness/registry.py"} if part == "src" else set())
    registries = [(folder / "src/earwitness/registry.py").read_text().splitlines() for folder in (ROOT, copy.folder)]
    difference = [line for line in difflib.ndiff(*registries) if line[:2] != "  "]
    assert sorted(difference) == sorted(f"+ {line}" for _, line in registry_lines())


def test_toys_keep_to_the_layers(copy):
    (copy / "tests").mkdir()
    shutil.copy(ROOT / "tests/test_layers.py", copy / "tests")
    copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "module or networks", "tests/test_layers.py")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_metrics_have_values_and_intervals(tones, name):
    result = read(tones / name / "metrics.json")
    assert list(result["kinds"]) == EXPERIMENTS[name]
    for kind in EXPERIMENTS[name]:
        assert METRICS[kind] in result["kinds"][kind]["metrics"]
        metric = result["metrics"][METRICS[kind]]
        low, high = metric["ci95"]
        assert low <= metric["value"] <= high


def test_toys_are_better_than_their_baselines(tones):
    for name, metric in (("toy-tagger", "tag_accuracy"), ("toy-retriever", "t2a_r5"), ("toy-grounder", "frame_f1")):
        result = read(tones / name / "metrics.json")
        kind = next(kind for kind, found in METRICS.items() if found == metric)
        for baseline in read(tones / "baselines" / f"{kind}.json")["baselines"]:
            assert result["metrics"][metric]["value"] > baseline["metrics"][metric]["value"], name


def test_operating_point_of_the_grounder_is_used(tones):
    seed = tones / "toy-grounder/seed-0"
    with h5py.File(seed / "activations.h5") as file:
        assert file.attrs["threshold"] == read(seed / "model.json")["operating_point"]["threshold"]
        assert file.attrs["hop"] == pytest.approx(0.05)


def test_what_is_not_trained_has_no_model_and_no_training(run, tones):
    for name in ("toy-lookup", "toy-tagger"):
        assert not list((tones / name).rglob("model.*"))
        assert not list((run[0] / "logs/tones" / name).rglob("train.*"))
        assert f"Training {name} on" not in run[1]


def test_experiments_that_differ_in_prediction_share_a_training(run, tones):
    cosine, dot = (tones / f"toy-transfer-{name}/seed-0" for name in ("cosine", "dot"))
    for file in ("model.safetensors", "model.json", "events.jsonl"):
        assert (cosine / file).read_bytes() == (dot / file).read_bytes()
    assert "Training toy-transfer-cosine on" in run[1] and "Training toy-transfer-dot on" not in run[1]
    assert "of toy-transfer-cosine for toy-transfer-dot on" in run[1]
    assert (cosine / "model.safetensors").read_bytes() != (
        tones / "toy-retriever/seed-0/model.safetensors"
    ).read_bytes()
    logs = {path.parts[-3]: path.read_text() for path in (run[0] / "logs/tones").rglob("train.log")}
    assert logs.keys() == {"toy-retriever", "toy-transfer-cosine", "toy-transfer-dot", "toy-grounder"}
    trained = {name for name, log in logs.items() if "epoch=3/3" in log}
    assert trained == {"toy-retriever", "toy-transfer-cosine", "toy-grounder"}
    assert not (matrix(cosine / "similarity.h5") == matrix(dot / "similarity.h5")).all()


def matrix(path: Path):
    with h5py.File(path) as file:
        return file["similarity"][:]


def test_text_of_another_data_set_is_read(run, tones):
    names = ("toy-retriever", "toy-transfer-dot")
    own, foreign = (read(tones / name / "seed-0/model.json")["network"]["words"] for name in names)
    assert own == read(tones / "text/toy-hashed/weights.json")["weights"]
    assert foreign == read(run[0] / "results/tiny/text/toy-hashed/weights.json")["weights"] != own


def test_layout_extractor_and_text_are_recorded(tones):
    report = read(tones / "corpus/report.json")
    assert {split: counts["found"] for split, counts in report["clips"].items()} == {
        "development": 18, "validation": 6, "evaluation": 9
    }  # fmt: skip
    feature = read(tones / "toy-retriever/seed-0/model.json")["network"]["feature"]
    assert feature["made_by"] == "toy_bands" and feature["settings"]["bands"] == 32
    assert len(read(tones / "text/toy-hashed/weights.json")["weights"]) == 128


def test_page_has_a_section_for_each_kind(run, tones):
    page = (run[0] / PAGE).read_text(encoding="utf-8")
    sections = re.split(r"<h2>(.+?): scores</h2>", page)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    labels = {
        "captioning": "Captioning",
        "retrieval": "Retrieval",
        "grounding": "Phrase grounding",
        "tagging": "Tagging",
    }
    assert list(found) == list(labels.values())
    for kind, label in labels.items():
        table = found[label].split("</table>")[0]
        for name, kinds in EXPERIMENTS.items():
            assert (f"</span>{name}<" in table) == (kind in kinds), (kind, name)
        for baseline in read(tones / "baselines" / f"{kind}.json")["baselines"]:
            assert baseline["label"] in table


def test_the_sweep_on_the_page_is_a_study(run, tones):
    page = (run[0] / PAGE).read_text(encoding="utf-8")
    assert page.count('<a href="studies/toy-transfer.html">') == 2
    found = read(tones / "studies/toy-transfer.json")
    cosine, dot = found["experiments"]
    assert (found["baseline"], found["axes"]) == ("toy-transfer-cosine", ["similarity"])
    assert dot["settings"] == {"similarity": {"label": "dot", "value": "dot"}}
    values = [one["metrics"]["t2a_map10"]["value"] for one in (cosine, dot)]
    assert dot["metrics"]["t2a_map10"]["difference"] == pytest.approx(values[1] - values[0])
    study = (tones / "studies/toy-transfer.html").read_text(encoding="utf-8")
    assert "toy-transfer-dot" in study and list((tones / "studies/toy-transfer").glob("*.svg"))


def test_mlflow_has_a_run_for_each_experiment_and_seed(run, tones, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run[0] / 'results/mlflow.db'}")
    place = client.get_experiment_by_name("tones").experiment_id
    runs = {found.info.run_name: found.data for found in client.search_runs([place])}
    assert runs.keys() == {name for experiment in EXPERIMENTS for name in (experiment, f"{experiment} seed 0")}
    for experiment, kinds in EXPERIMENTS.items():
        result = read(tones / experiment / "metrics.json")
        for kind in kinds:
            value = pytest.approx(result["metrics"][METRICS[kind]]["value"])
            assert runs[experiment].metrics[METRICS[kind]] == value
            assert runs[f"{experiment} seed 0"].metrics[METRICS[kind]] == value
        parent = read(tones / experiment / "tracking.json")["runs"]["parent"]
        assert runs[f"{experiment} seed 0"].tags["mlflow.parentRunId"] == parent
    members = client.search_runs([place], filter_string="tags.\"earwitness.study\" = 'toy-transfer'")
    assert {run.info.run_name for run in members} == {"toy-transfer-cosine", "toy-transfer-dot"}


def test_second_run_does_nothing(run):
    assert "Nothing to be done" in run[0].snakemake(PAGE)


MAIN = "import sys; from earwitness.cli.main import main; sys.exit(main())"


def test_doctor_knows_what_is_not_trained(run):
    told = run[0].python("-c", MAIN, "doctor", PAGE, "--configfile", *map(str, CONFIGS))
    assert "FAIL" not in told and "toy-lookup" not in told


def test_two_retrievers_are_compared(run):
    folders = [f"{TONES}/toy-retriever", f"{TONES}/toy-transfer-dot"]
    found = json.loads(run[0].python("-c", MAIN, "compare", *folders, "--json"))
    assert found["kinds"] == ["retrieval"] and found["shared"] == 9
    entry = found["metrics"]["t2a_r5"]
    assert entry["difference"] == pytest.approx(entry["b"] - entry["a"]) and entry["ci95"] is not None
    told = run[0].python("-c", MAIN, "show", "tones")
    assert all(name in told for name in (*EXPERIMENTS, "tag_accuracy", "one tag"))


TEXTS = ["a short beep sounds", "someone hears one hum far away"]
PREDICT = """
import json, sys
from pathlib import Path
from earwitness.prediction.clips import Clips
from earwitness.corpora.tables import clips_of
from earwitness.systems.interface import load
table = clips_of("results/tones/corpus/clips.csv", "evaluation", "this test")
model = load(sys.argv[1])
clips = Clips.of(table, {"toy-bands": Path("results/tones/features/toy-bands/evaluation.h5")}, model.made_by)
print(json.dumps(model.similarity(clips, sys.argv[2:]).tolist()))
"""


@pytest.mark.parametrize("name", ["toy-transfer-dot", "toy-grounder"])
def test_trained_folder_predicts_from_anywhere(run, tones, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(tones / name / "seed-0", folder)
    scores = np.array(json.loads(run[0].python("-c", PREDICT, str(folder), *TEXTS)))  # [texts, clips]
    queries = pd.read_csv(tones / name / "seed-0/retrieval/queries.csv")
    rows = [list(queries["text"]).index(text) for text in TEXTS]
    assert scores == pytest.approx(matrix(tones / name / "seed-0/similarity.h5")[rows], abs=1e-5)
