"""What the DAG answers to wrong targets, wrong configurations and data that do not suffice."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from tests.places import SHARED_DATA
from tests.workflow.conftest import Workflow

REAL = SHARED_DATA / "clotho_real"

pytestmark = pytest.mark.workflow


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path / "run")


def configured(path: Path, **content) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_unknown_data_set_is_answered_with_those_there_are(workflow):
    printed = workflow.run("--dry-run", "results/cloto/cl4ac/metrics.json", fails=True)
    assert "data set 'cloto': did you mean 'clotho' or 'clotho-cl4ac'?" in printed
    assert "Experiments: cl4ac, cl4ac-baseline" in printed


def test_unknown_experiment_is_answered_with_the_nearest(workflow):
    printed = workflow.run("--dry-run", "results/mini/cl4c/metrics.json", fails=True)
    assert "experiment 'cl4c': did you mean 'cl4ac'" in printed


@pytest.mark.parametrize("target", ["results/mini/cl4ac/metric.json", "results/clotho/audio"])
def test_files_that_no_rule_makes_are_answered_with_what_results_are_called(workflow, target):
    printed = workflow.run("--dry-run", target, fails=True)
    assert target in printed and "{dataset}/{experiment}/metrics.json" in printed


def test_configuration_is_checked_before_the_dag_is_built(workflow, tmp_path):
    wrong = configured(
        tmp_path / "wrong.yaml", experiments={"mine": {"system": "cl4ac", "feature": "logmel", "txt": "cl4ac"}}
    )
    printed = workflow.run("--dry-run", configfile=wrong, fails=True)
    assert "experiments.mine.txt: no such key; did you mean 'text'?" in printed
    assert "Building DAG" not in printed


def test_absent_checkpoint_is_an_error(workflow, tmp_path):
    experiment = {"system": "cl4ac", "feature": "logmel-cl4ac", "text": "cl4ac", "encoder": {"weights": "absent.pth"}}
    config = configured(tmp_path / "config.yaml", experiments={"pretrained": experiment})
    printed = workflow.run("--dry-run", "results/mini/pretrained/metrics.json", configfile=config, fails=True)
    assert "encoder.weights: absent.pth" in printed


def test_missing_training_split_is_told_plainly(workflow, tmp_path):
    if not REAL.exists():
        pytest.skip("the real recordings of ../shared/data are not here")
    config = configured(tmp_path / "config.yaml", datasets={"clotho_real": {"layout": "clotho", "audio": str(REAL)}})
    printed = workflow.run("results/clotho_real/cl4ac/metrics.json", configfile=config, fails=True)
    assert re.search(r"(development|validation) split.*evaluation \(25 clips\)", printed)
    assert "Traceback" not in printed


def test_evaluation_features_do_not_need_the_other_splits(workflow, tmp_path):
    if not REAL.exists():
        pytest.skip("the real recordings of ../shared/data are not here")
    config = configured(tmp_path / "config.yaml", datasets={"clotho_real": {"layout": "clotho", "audio": str(REAL)}})
    workflow.run("results/clotho_real/features/logmel-cl4ac/evaluation.h5", configfile=config)


def test_bad_audio_is_refused_or_skipped_as_chosen(workflow, tmp_path):
    root = small_corpus(tmp_path / "audio")
    (root / "evaluation" / "b.wav").write_bytes(b"RIFF")
    entry = {"layout": "clotho", "audio": str(root)}
    target = "results/mine/corpus/report.json"
    printed = workflow.run(target, configfile=configured(tmp_path / "fail.yaml", datasets={"mine": entry}), fails=True)
    assert "b.wav" in printed and "Traceback" not in printed
    assert not (workflow / "results/mine/corpus/clips.csv").exists()
    skip = configured(tmp_path / "skip.yaml", datasets={"mine": {**entry, "on_bad_audio": "skip"}})
    workflow.run(target, configfile=skip)
    assert '"refused": 1' in (workflow / target).read_text()


def test_a_changed_recording_is_noticed(workflow, tmp_path):
    root = small_corpus(tmp_path / "audio")
    config = configured(tmp_path / "mine.yaml", datasets={"mine": {"layout": "clotho", "audio": str(root)}})
    target = "results/mine/corpus/clips.csv"
    workflow.run(target, configfile=config)
    before = (workflow / target).read_text()
    assert "Nothing to be done" in workflow.run(target, configfile=config)
    soundfile.write(root / "evaluation" / "a.wav", 0.1 * np.sin(np.arange(16000)), 8000)
    workflow.run(target, configfile=config)
    assert (workflow / target).read_text() != before


def small_corpus(root: Path) -> Path:
    """Two evaluation clips in the Clotho layout."""
    (root / "evaluation").mkdir(parents=True)
    for name in ("a.wav", "b.wav"):
        soundfile.write(root / "evaluation" / name, 0.1 * np.sin(np.arange(8000)), 8000)
    rows = "file_name,caption_1\na.wav,A tone.\nb.wav,Another tone.\n"
    (root / "clotho_captions_evaluation.csv").write_text(rows, encoding="utf-8")
    return root
