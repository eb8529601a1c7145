"""Training as a stage: from the files of a data set to ``model.safetensors``, ``model.json`` and ``events.jsonl``."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from earwitness import registry
from earwitness.files import atomic, checkpoint_digests, code_version, digest, provenance, sha256, write_json
from earwitness.lock import hold
from earwitness.metrics.captions import Tools
from earwitness.options import NOT_TRAINED, ExperimentOptions
from earwitness.training.events import EventLog, read_events
from earwitness.training.loop import train


def train_model(
    dataset: str,
    experiment: str,
    options: ExperimentOptions,
    seed: int,
    files: Mapping[str, Path],
    out: Mapping[str, Path],
    work_root: Path,
    threads: int,
    tools: Tools | None = None,
) -> None:
    """Train one experiment with one seed; a killed training goes on where it stopped.

    Args:
        files: inputs by name, as ``options.training_inputs()`` names them.
        out: places of ``weights``, ``description`` (model.json) and ``events``.
        work_root: where the work folder lives, which is named by the run key and outlasts a failed run.
        threads: of computation; results are the same only for the same number.
        tools: where SPICE's jars are, which choosing an epoch by SPIDEr needs.
    """
    tools = tools or Tools()
    _be_quiet()
    torch.set_num_threads(threads)
    content = {
        "rule": "train",
        "dataset": dataset,
        "experiment": experiment,
        "seed": seed,
        "options": options.model_dump(exclude=NOT_TRAINED),
        "inputs": {name: sha256(path) for name, path in files.items()},
        "checkpoints": checkpoint_digests(options.checkpoints()),
        "threads": threads,
        **tools.used_in_training(options.train.monitor),
    }
    run_key = digest({**content, "code": code_version()})
    work = work_root / run_key[:16]
    work.mkdir(parents=True, exist_ok=True)
    with _alone(work):
        _train_in(work, content, run_key, options, seed, files, out, tools)
    if _is_first_process():
        shutil.rmtree(work)


def _train_in(
    work: Path,
    content: dict[str, Any],
    run_key: str,
    options: ExperimentOptions,
    seed: int,
    files: Mapping[str, Path],
    out: Mapping[str, Path],
    tools: Tools,
) -> None:
    """Train in the work folder and write the outputs."""
    task = registry.load(registry.SYSTEMS[options.system].implementation)(options, files, seed, tools)
    events = EventLog(work / "events.jsonl")
    if not any("params" in event for event in read_events(events.path)):
        events.cut_back(0)  # a kill may have torn the line
        events.append(params=content)
    chosen = train(task, options.train, seed, work, f"{content['experiment']} seed {seed}")
    if not _is_first_process():
        return  # of several processes that train together, the first one writes the outputs
    made_by = {key: content[key] for key in ("dataset", "experiment", "seed", "threads")}
    description = {
        "run_key": run_key,
        "system": options.system,
        "options": content["options"],
        "seed": seed,
        "checkpoints": content["checkpoints"],
        "chosen": chosen,
        "network": task.description(),
        "provenance": provenance("train", files, **made_by),
    }
    for name, source in (("weights", work / "best.safetensors"), ("events", work / "events.jsonl")):
        with atomic(out[name]) as temporary:
            shutil.copyfile(source, temporary)
    write_json(out["description"], description)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the work folder: where Snakemake was killed alone, its training may still be running."""
    if not _is_first_process():
        yield
        return
    busy = (
        f"Another process is training this already, in {work}. Wait until it has ended, or end it, and run the same "
        "command again: the training goes on where it stopped."
    )
    with hold(work / "lock", busy):
        yield


def _is_first_process() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _be_quiet() -> None:
    """Lightning's advice on workers and devices is for people who write loops, not for those who run experiments."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
