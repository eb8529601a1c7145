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
from safetensors.torch import load_file

from earwitness.files import atomic, checkpoint_digests, code_version, digest, provenance, sha256, write_json
from earwitness.lock import hold
from earwitness.metrics.captions import Tools
from earwitness.options import ExperimentOptions
from earwitness.systems.interface import MODEL_FILES, MODEL_SCHEMA, System, read_model, system_class
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
        work_root: where the work folder lies, which is named by the run key and outlasts a failed run.
        threads: of computation; results are the same only for the same number.
        tools: the jars and models that validation may need.
    """
    tools = tools or Tools()
    _be_quiet()
    torch.set_num_threads(threads)
    content = {
        "rule": "train",
        "dataset": dataset,
        "experiment": experiment,
        "seed": seed,
        "options": options.settings("weights"),
        "inputs": {name: sha256(path) for name, path in files.items()},
        "checkpoints": checkpoint_digests(options.checkpoints()),
        "threads": threads,
        **options.found(tools),
    }
    run_key = digest({**content, "code": code_version()})
    work = work_root / run_key[:16]
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work):
        system = system_class(options.system)(options, files, seed, tools)
        events = EventLog(work / "events.jsonl")
        if not any("params" in event for event in read_events(events.path)):
            events.cut_back(0)  # a kill may have torn the line
            events.append(params=content)
        chosen = train(system, options.train, seed, work, f"{experiment} seed {seed}")
        if _is_first_process():  # of several processes that train together
            _write(work, content, run_key, system, chosen, files, out)
    if _is_first_process():
        shutil.rmtree(work)


def _write(
    work: Path,
    content: dict[str, Any],
    run_key: str,
    system: System,
    chosen: dict[str, Any],
    files: Mapping[str, Path],
    out: Mapping[str, Path],
) -> None:
    """Write the outputs, with the operating point that the chosen weights have on validation."""
    system.network.load_state_dict(load_file(work / "best.safetensors"))
    system.network.eval()
    description = {
        "schema": MODEL_SCHEMA,
        "run_key": run_key,
        "system": content["options"]["system"],
        "options": content["options"],
        "seed": content["seed"],
        "checkpoints": content["checkpoints"],
        "chosen": chosen,
        "operating_point": system.operating_point(),
        "network": system.description(),
        "provenance": provenance(
            "train", files, **{key: content[key] for key in ("dataset", "experiment", "seed", "threads")}
        ),
    }
    for name, source in (("weights", "best.safetensors"), ("events", "events.jsonl")):
        with atomic(out[name]) as temporary:
            shutil.copyfile(work / source, temporary)
    write_json(out["description"], description)


def share_training(owner: Path, out: Mapping[str, Path]) -> None:
    """Take over the training of an experiment that differs in prediction and evaluation alone.

    Weights are linked where the file system can, so that they take their room once.
    """
    read_model(owner)
    for name, file in MODEL_FILES.items():
        with atomic(out[name]) as temporary:
            temporary.unlink()
            try:
                os.link(owner / file, temporary)
            except OSError:
                shutil.copyfile(owner / file, temporary)


@contextmanager
def _locked(work: Path) -> Iterator[None]:
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
