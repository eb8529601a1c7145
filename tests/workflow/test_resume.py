"""A training that is killed goes on to the same weights, bit for bit, as one that is left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from earwitness.files import read_json, sha256
from earwitness.training.events import read_events

TARGET = "results/tiny/cl4ac/seed-0/model.safetensors"
EPOCHS = 12

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def undisturbed(tiny_ready, tiny_config, tmp_path_factory) -> str:
    """Digest of the weights of a training that nobody killed."""
    workflow = tiny_ready.copy(tmp_path_factory.mktemp("undisturbed") / "run")
    workflow.run(TARGET, configfile=tiny_config)
    return sha256(workflow / TARGET)


def wait_for_epoch(workflow, epoch: int) -> Path:
    """Wait until training is inside the given epoch (counted from 0), and return its work folder."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for events in (workflow / "results/.work").glob("*/events.jsonl"):
            if any(event.get("epoch", -1) >= epoch for event in read_events(events)):
                return events.parent
        time.sleep(0.02)
    raise AssertionError(f"training did not reach epoch {epoch}")


def training_process(snakemake: int) -> psutil.Process:
    """The process that runs the training script."""
    children = psutil.Process(snakemake).children(recursive=True)
    return next(child for child in children if any("train.py" in part for part in child.cmdline()))


@pytest.fixture
def epoch() -> int:
    """A random epoch of the first half to kill in: the rest of the training leaves time to do it."""
    chosen = random.SystemRandom().randrange(EPOCHS // 2)
    print(f"killed in epoch {chosen}")
    return chosen


def test_killed_training_process_resumes_to_the_same_weights(tiny_ready, tiny_config, tmp_path, undisturbed, epoch):
    workflow = tiny_ready.copy(tmp_path / "run")
    with workflow.start(TARGET, configfile=tiny_config) as process:
        work = wait_for_epoch(workflow, epoch)
        training_process(process.pid).kill()
        process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (workflow / TARGET).exists()
    assert epoch == 0 or (work / "last.ckpt").exists()
    workflow.run(TARGET, configfile=tiny_config)
    assert sha256(workflow / TARGET) == undisturbed
    steps = [
        event["step"] for event in read_events(workflow / "results/tiny/cl4ac/seed-0/events.jsonl") if "epoch" in event
    ]
    assert steps == sorted(steps), "events of the killed part were written twice"


def test_killed_process_group_resumes_after_unlock(tiny_ready, tiny_config, tmp_path, undisturbed, epoch):
    workflow = tiny_ready.copy(tmp_path / "run")
    with workflow.start(TARGET, configfile=tiny_config) as process:
        wait_for_epoch(workflow, epoch)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=120)
    locked = workflow.run(TARGET, configfile=tiny_config, fails=True)
    assert "--unlock" in locked
    workflow.run("--unlock", configfile=tiny_config)
    workflow.run(TARGET, configfile=tiny_config)
    assert sha256(workflow / TARGET) == undisturbed


def test_two_processes_train_together(tiny_ready, tiny_config, tmp_path):
    """The second one starts from the script that Snakemake makes of the rule's."""
    workflow, two = tiny_ready.copy(tmp_path / "run"), tmp_path / "two.yaml"
    text = tiny_config.read_text(encoding="utf-8")
    two.write_text(text.replace("epochs: 12, threads: 1", "epochs: 1, threads: 2, devices: 2"), encoding="utf-8")
    workflow.run(TARGET, configfile=two)
    assert read_json(workflow / TARGET.replace(".safetensors", ".json"))["options"]["train"]["devices"] == 2
    assert not list((workflow / "results/.work").iterdir())
