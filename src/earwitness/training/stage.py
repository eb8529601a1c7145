"""The training stage: from the files of a data set to ``model.safetensors``, ``model.json`` and ``events.jsonl``."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from earwitness.files import atomic, checkpoint_digests, code_version, digest, provenance, sha256, write_json
from earwitness.lock import hold
from earwitness.metrics.captions import Tools
from earwitness.nn.parallel import processes
from earwitness.options import ExperimentOptions
from earwitness.systems.interface import MODEL_FILES, MODEL_SCHEMA, System, read_model, system_class
from earwitness.training.events import EventLog, read_events
from earwitness.training.loop import train
from earwitness.training.machine import Peaks, peaks, recorded
from earwitness.training.processes import collected, together


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
    watch: Callable[[Path], AbstractContextManager] = nullcontext,
) -> None:
    """Train one experiment with one seed; a killed training resumes where it stopped.

    Args:
        files: the files of ``options.training_inputs()`` by name.
        out: paths of ``weights``, ``description`` (model.json) and ``events``.
        work_root: the parent of the work folder, which is named by the run key and kept after a failure.
        threads: number of CPU threads, of all processes together; it affects the last digits of results.
        tools: the jars and models of validation metrics.
        watch: given the record of events, what is active while the training runs.

    Raises EarwitnessError if another process is training the same, or inputs do not fit.
    """
    tools = tools or Tools()
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
    # After Snakemake was killed, its training process may still be running.
    busy = (
        f"Another process is already training this in {work}. Wait for it or stop it, and run the same command again: "
        "the training resumes where it stopped."
    )
    with hold(work / "lock", busy):
        events = EventLog(work / "events.jsonl")
        if not any("params" in event for event in read_events(events.path)):
            events.cut_back(0)  # a kill may have left an incomplete line
            events.append(params=content)
        with watch(events.path):
            with recorded(events, run_key) as others:
                system, chosen, taken = together(
                    options.train.devices, _trained, options, dict(files), seed, tools, threads, work, experiment
                )
                others += taken[1:]
                torch.set_num_threads(threads)
                _write(work, content, run_key, system, chosen, files, out)
            with atomic(out["events"]) as temporary:
                shutil.copyfile(events.path, temporary)
        # What stays behind harms no one: on NFS the folder does, whose lock is still open.
        with suppress(OSError):
            (work / "last.ckpt").unlink()  # first: without it a kill leaves nothing that would count as finished
            shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):
        work.rmdir()


def _trained(
    options: ExperimentOptions,
    files: Mapping[str, Path],
    seed: int,
    tools: Tools,
    threads: int,
    work: Path,
    experiment: str,
) -> tuple[System, dict[str, Any], list[Peaks]]:
    """The system after training, the selected epoch, and, in the first of several processes, what memory each took."""
    # Lightning's hints on workers and devices address authors of training loops, not users.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    torch.set_num_threads(max(1, threads // processes()))
    system = system_class(options.system)(options, files, seed, tools)
    chosen = train(system, options.train, seed, work, f"{experiment} seed {seed}")
    return system, chosen, collected([peaks()]) or []


def _write(
    work: Path,
    content: dict[str, Any],
    run_key: str,
    system: System,
    chosen: dict[str, Any],
    files: Mapping[str, Path],
    out: Mapping[str, Path],
) -> None:
    """Write weights and description, with the operating point of the selected weights."""
    system.network.load_state_dict(load_file(work / "best.safetensors"))
    system.network.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    with torch.no_grad():
        operating_point = system.operating_point()
    description = {
        "schema": MODEL_SCHEMA,
        "run_key": run_key,
        "system": content["options"]["system"],
        "options": content["options"],
        "seed": content["seed"],
        "checkpoints": content["checkpoints"],
        "chosen": chosen,
        "operating_point": operating_point,
        "weights_sha256": sha256(work / "best.safetensors"),
        "network": system.description(),
        "provenance": provenance(
            "train", files, **{key: content[key] for key in ("dataset", "experiment", "seed", "threads")}
        ),
    }
    with atomic(out["weights"]) as temporary:
        shutil.copyfile(work / "best.safetensors", temporary)
    write_json(out["description"], description)


def share_training(owner: Path, out: Mapping[str, Path]) -> None:
    """Reuse the training in the folder ``owner``, of an experiment that differs in prediction and scores alone.

    Files are copied: hard links would share their time of change, and Snakemake, which touches what a job made, would
    take the owner's model for newer than its predictions.
    """
    read_model(owner)
    for name, file in MODEL_FILES.items():
        with atomic(out[name]) as temporary:
            shutil.copyfile(owner / file, temporary)
