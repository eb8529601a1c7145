"""Scripts run by hand, without Snakemake: the same bytes as the DAG's, and plain messages."""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import HERE, ROOT, Workflow, environment

SCRIPTS = ROOT / "workflow" / "scripts"
SHORT = {"datasets": {"tiny": {"overrides": {"systems": {"cl4ac": {"train": {"epochs": 2}}}}}}}
EXTERNAL = {
    "features": {"yamnet": {"extractor": "external", "folder": "yamnet"}},
    "datasets": {"mini": {"others": {"theirs": "scores/theirs"}}},
}
SEED = "dataset=tiny experiment=cl4ac seed=0"
# All that leads to the comparison of the tiny data set, in order.
RUNS = [
    "synthesise dataset=tiny",
    "corpus dataset=tiny",
    "relevant dataset=tiny",
    "loudness dataset=tiny",
    "leaks dataset=tiny",
    *(
        f"features dataset=tiny feature=logmel-cl4ac split={split}"
        for split in ("development", "validation", "evaluation")
    ),
    "text dataset=tiny text=cl4ac",
    f"train {SEED}",
    f"predict {SEED}",
    f"score {SEED} --rule score_captioning",
    "baselines dataset=tiny kind=captioning",
    "tracking_store",
    "result dataset=tiny experiment=cl4ac",
    "comparison dataset=tiny",
]
# Those that need a network, files from elsewhere, or another data set: only what they would be given is looked at.
MOCKED = {
    "fetch": {"root": "resources/clotho"},
    "checkpoint": {"file": "effb2.pt"},
    "spice_jars": {},
    "other": {"dataset": "mini", "other": "theirs"},
    "import_features": {"dataset": "mini", "feature": "yamnet", "split": "development"},
    "embed_clips": {"dataset": "mini", "feature": "clap-mini", "split": "development"},
    "gap": {"dataset": "mini", "clap": "clap-mini"},
    "study": {"dataset": "mini", "sweep": "atr-grid"},
}
# Several runs in one process, which imports what they need once.
DRIVER = """
import runpy, sys
scripts, *runs = sys.argv[1:]
sys.path.insert(0, scripts)
for run in runs:
    name, *arguments = run.split()
    sys.argv = [f"{scripts}/{name}.py", *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="session")
def short(tmp_path_factory) -> Path:
    """Fewer epochs."""
    path = tmp_path_factory.mktemp("config") / "short.yaml"
    path.write_text(yaml.safe_dump(SHORT), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory, tiny_config, short) -> Workflow:
    """Results that scripts run by hand made of nothing."""
    workflow = Workflow(tmp_path_factory.mktemp("hand"))
    options = f"--directory {workflow.folder} --cores 2 --configfile {tiny_config} {short}"
    command = [sys.executable, "-c", DRIVER, str(SCRIPTS), *(f"{run} {options}" for run in RUNS)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return workflow


@pytest.fixture(scope="session")
def by_dag(tmp_path_factory, tiny_ready, tiny_config, short) -> Workflow:
    """The same by the DAG, up to predictions."""
    workflow = tiny_ready.copy(tmp_path_factory.mktemp("dag") / "tiny")
    target = "results/tiny/cl4ac/seed-0/captioning/prediction.json"
    workflow.run(target, "--configfile", str(tiny_config), str(short))
    return workflow


@pytest.fixture
def mock(monkeypatch):
    """The module that makes `snakemake` for a script; the working directory is put back afterwards."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(Path.cwd())
    import _mock

    return _mock


def test_every_script_is_here():
    names = {path.stem for path in SCRIPTS.glob("[!_]*.py")}
    assert names == {run.split()[0] for run in RUNS} | MOCKED.keys()


def test_the_whole_way_by_hand(by_hand):
    assert (by_hand / "results/tiny/comparison.html").stat().st_size > 0
    logs = {path.name for path in (by_hand / "logs").rglob("*.log")}
    assert {"train.log", "predict_captioning.log", "score_captioning.log", "tracking_store.log"} <= logs


def test_the_same_bytes_as_the_dag(by_hand, by_dag):
    results = by_dag / "results"
    paths = [path.relative_to(results) for path in results.rglob("*") if path.is_file() and ".work" not in path.parts]
    assert {path.name for path in paths} >= {"clips.csv", "word2vec.bin", "model.safetensors", "captions.csv"}
    timed = {".snakemake_timestamp", "events.jsonl"}
    compared = [path for path in paths if path.name not in timed]
    different = [
        path for path in compared if (by_hand / f"results/{path}").read_bytes() != (results / path).read_bytes()
    ]
    assert different == []


@pytest.mark.parametrize("rule", MOCKED)
def test_what_a_script_would_be_given(mock, rule, tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    external = tmp_path / "external.yaml"
    external.write_text(yaml.safe_dump(EXTERNAL), encoding="utf-8")
    snakemake = mock.mock_snakemake(rule, directory=tmp_path, configfiles=[external], **MOCKED[rule])
    assert Path.cwd() == tmp_path and not (tmp_path / "logs").exists()
    assert snakemake.rule == rule and dict(snakemake.wildcards.items()) == MOCKED[rule]
    assert snakemake.output and snakemake.log and snakemake.threads >= 1 and snakemake.resources.mem_mb >= 1000
    assert pickle.loads(pickle.dumps(snakemake)).params.keys() == snakemake.params.keys()  # noqa: S301


def test_attributes_are_the_rules(mock, tiny_config):
    wildcards = {"dataset": "tiny", "experiment": "cl4ac", "seed": 3}
    train = mock.mock_snakemake("train", configfiles=[tiny_config], cores=2, **wildcards)
    assert train.input.vocabulary == "results/tiny/text/cl4ac/vocabulary.json"
    assert train.output.weights == "results/tiny/cl4ac/seed-3/model.safetensors"
    assert train.log[0] == "logs/tiny/cl4ac/seed-3/train.log"
    assert train.params.options["train"]["epochs"] == 12 and train.params.owner == ""
    assert train.config["datasets"]["tiny"]["layout"] == "mini" and train.threads == 1


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("train dataset=minni experimen=cl4ac seed=x", ["'mini'", "'experiment'", "experiment: missing", "seed=x"]),
        ("checkpoint", ["file: missing", "Cnn10_mAP=0.380.pth"]),
        ("tracking_store dataset=mini", ["dataset", "no wildcards"]),
        (f"predict {SEED.replace('tiny', 'mini')} --rule predict_retrieval", ["predict_retrieval", "experiment=cl4ac"]),
        ("predict --rule score_captioning", ["score_captioning", "'predict_captioning'"]),
        ("corpus dataset=mini --configfile absent.yaml --directory nowhere", ["absent.yaml", "nowhere"]),
    ],
)  # fmt: skip
def test_wrong_wildcards_are_answered_with_what_the_rule_takes(mock, run, words):
    name, *arguments = run.split()
    with pytest.raises(mock.EarwitnessError) as caught:
        mock.from_command_line(SCRIPTS / f"{name}.py", arguments)
    assert [word for word in words if word not in str(caught.value)] == []


def test_unknown_rule_is_answered_with_the_nearest(mock):
    with pytest.raises(mock.ConfigError, match=r"'trian'.*'train'"):
        mock.mock_snakemake("trian", dataset="mini")


def test_absent_inputs_are_listed_with_the_command_that_makes_them(tmp_path):
    workflow = Workflow(tmp_path / "run")
    config = HERE / "tiny.yaml"
    options = ["dataset=tiny", "kind=captioning", "--configfile", str(config), "--directory", str(workflow.folder)]
    command = [sys.executable, str(SCRIPTS / "baselines.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert not (workflow / "results").exists() and not (workflow / "logs").exists()
    assert "  - results/tiny/corpus/captions.csv" in done.stderr
    advice = shlex.split(done.stderr.strip().splitlines()[-1].partition("snakemake ")[2])
    dry = [sys.executable, "-m", "snakemake", "--dry-run", *advice]
    planned = subprocess.run(
        dry, cwd=tmp_path, env=os.environ | environment(), capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0 and "corpus" in planned.stdout + planned.stderr, planned.stderr
