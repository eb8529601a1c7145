"""Each check of the machine, with what it looks for and without."""

import os
import subprocess
from importlib import metadata
from types import SimpleNamespace

import pytest

from earwitness.doctor import findings, machine
from earwitness.errors import EarwitnessError
from earwitness.metrics import java, spice

CORPUS = "results/mini/corpus/clips.csv"


def without(monkeypatch, *packages):
    """Let packages be absent for what asks for their versions."""

    def version(name, real=metadata.version):
        if name in packages:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize(("version", "mark"), [("3.11.9", "ok"), ("3.12.1", "FAIL"), ("3.1.1", "FAIL")])
def test_python(repository, monkeypatch, version, mark):
    monkeypatch.setattr(machine.platform, "python_version", lambda: version)
    assert version in repository.found(machine.check_python)[mark][0]


def test_packages_as_the_lock_has_them(repository):
    repository.put("requirements.lock", f"# pinned\nnumpy=={metadata.version('numpy')}+gpu\n")
    found = repository.found(machine.check_packages)
    assert found["note"] == found["FAIL"] == []
    assert "requirements.lock" in found["ok"][0]


def test_packages_of_other_versions(repository):
    repository.put("requirements.lock", "numpy==1.0\nnot-of-this-world==2.0 ; python_version > '3'\n")
    found = repository.found(machine.check_packages)
    assert found["FAIL"] == found["ok"] == []
    assert "not-of-this-world" in found["note"][0]
    assert f"numpy {metadata.version('numpy')} instead of 1.0" in found["note"][1]


def test_a_missing_package_fails_what_needs_it(repository, monkeypatch):
    without(monkeypatch, "gensim")
    assert "gensim" in repository.found(machine.check_packages, "mini")["FAIL"][0]
    assert repository.found(machine.check_packages, CORPUS)["FAIL"] == []
    repository.put("requirements.lock", "gensim==4.4.0")
    assert "gensim" in repository.found(machine.check_packages, CORPUS)["note"][0]


def test_what_fetching_needs(repository, monkeypatch):
    without(monkeypatch, "py7zr")
    assert repository.found(machine.check_packages, "mini")["FAIL"] == []
    assert "py7zr" in repository.found(machine.check_packages, "results/clotho/corpus/clips.csv")["FAIL"][0]
    assert "py7zr" in repository.found(machine.check_packages, "resources/clotho/fetched.json")["FAIL"][0]


@pytest.fixture
def gpus(monkeypatch):
    """Let torch see some GPUs."""
    import torch

    def set_up(count, bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        device = SimpleNamespace(name="Device", total_memory=80e9)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: device)

    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: range(4), raising=False)
    return set_up


def test_devices_are_told(repository, gpus):
    gpus(2)
    assert (
        "4 CPU cores, Device with 80.00 GB, Device with 80.00 GB, bf16"
        in repository.found(machine.check_devices)["ok"][0]
    )
    gpus(0)
    assert "4 CPU cores, no CUDA device" in repository.found(machine.check_devices)["ok"][0]


@pytest.mark.parametrize(
    ("train", "count", "bf16", "mark", "told"),
    [
        ({"devices": 3}, 2, True, "FAIL", "train.devices is 3, CUDA devices here: 2"),
        ({"devices": 3}, 0, True, "note", "train.devices is 3, but without CUDA"),
        ({"precision": "bf16-mixed"}, 1, False, "note", "bf16-mixed"),
        ({"precision": "bf16-mixed"}, 0, True, "note", "bf16-mixed"),
        ({"threads": 5}, 0, True, "note", "train.threads is 5, CPU cores here: 4"),
    ],
)
def test_experiments_that_ask_for_more(repository, gpus, train, count, bf16, mark, told):
    gpus(count, bf16)
    repository.entries["experiments"]["small"]["train"] = {"threads": 1} | train
    found = repository.found(machine.check_devices)
    assert [line.partition(":")[0] for line in found["FAIL"] + found["note"]] == ["mini/small"]
    assert told in found[mark][0]
    assert repository.found(machine.check_devices, CORPUS)["FAIL"] == []


@pytest.mark.parametrize("train", [{"devices": 2}, {"precision": "bf16-mixed"}, {"threads": 64}])
def test_experiments_that_fit(repository, gpus, train):
    gpus(2)
    repository.entries["experiments"]["small"]["train"] = train
    found = repository.found(machine.check_devices)
    assert found["FAIL"] == found["note"] == []


def test_one_trouble_of_several_experiments_is_one_line(repository, gpus):
    gpus(1)
    for entry in repository.entries["experiments"].values():
        entry["train"] = {"devices": 2}
    assert repository.found(machine.check_devices, "own")["FAIL"][0].startswith(
        "own/small, own/other: train.devices is 2"
    )


def test_a_driver_that_torch_does_not_use(repository, gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/bin/{name}")
    assert "NVIDIA driver" in repository.found(machine.check_devices)["note"][0]


def test_java(repository):
    assert 'version "' in repository.found(machine.check_java)["ok"][0]


def test_metrics_of_captions_are_of_no_concern_to_a_retriever(repository):
    repository.entries["texts"]["vectors"] = {"kind": "word_vectors"}
    repository.entries["experiments"]["finds"] = {"system": "atr", "features": ["mel"], "text": "vectors"}
    for check in (machine.check_java, machine.check_metrics):
        assert not any(repository.found(check, "results/mini/finds/metrics.json").values())
        both = repository.found(check, "results/mini/finds/metrics.json", "results/mini/small/metrics.json")
        assert any(both.values())


def no_java(*arguments):
    raise EarwitnessError("Java is not installed.")


@pytest.mark.parametrize(("target", "mark"), [("mini", "FAIL"), (CORPUS, "note")])
def test_no_java_fails_what_is_scored(repository, monkeypatch, target, mark):
    monkeypatch.setattr(java, "java", no_java)
    (told,) = repository.found(machine.check_java, target)[mark]
    assert "no caption is scored" in told and "make install" in told


@pytest.mark.parametrize("script", ["#!/bin/sh\necho broken; exit 1", "#!/bin/sh\nsleep 20"])
def test_a_java_that_does_not_run(repository, monkeypatch, script):
    program = repository.put("java", script)
    program.chmod(0o755)
    monkeypatch.setattr(java, "java", lambda: program)
    monkeypatch.setattr(findings, "PROGRAM_SECONDS", 0.5)
    assert "does not run (" in repository.found(machine.check_java)["FAIL"][0]


def test_metrics_without_a_value_are_told_with_the_reason(repository, monkeypatch):
    found = repository.found(machine.check_metrics)
    assert found["FAIL"] == [] and "SPICE and SPIDEr " in found["note"][0] and "jars" in found["note"][0]
    repository.entries["spice"] = {"jars": "off"}
    assert "SPICE is turned off" in repository.found(machine.check_metrics)["note"][0]
    repository.entries["spice"] = {"jars": "mine"}
    monkeypatch.setattr(spice, "find", lambda jars: jars)
    found = repository.found(machine.check_metrics)
    assert "SPICE" in found["ok"][0] and "mine" in found["ok"][0]
    (line,) = found["note"]
    assert line.startswith("FER, SPIDEr-FL and FENSE ")
    repository.entries["sentence_models"] = {"similarity": "off"}
    told = repository.found(machine.check_metrics)["note"][0]
    assert told.startswith("SBERT-sim and FENSE ") and "turned off" in told


def test_jars_that_are_missing(repository, monkeypatch):
    monkeypatch.setattr(java, "jar", no_java)
    found = repository.found(machine.check_metrics)
    assert "corenlp-3.4.1.jar" in found["FAIL"][0]
    assert "METEOR " in found["note"][0] and "SPICE and SPIDEr " in found["note"][1]
    assert repository.found(machine.check_metrics, CORPUS)["FAIL"] == []


def test_locks_of_hdf5(repository, monkeypatch):
    assert "locked" in repository.found(machine.check_locking)["ok"][0]
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    assert "(HDF5_USE_FILE_LOCKING=FALSE)" in repository.found(machine.check_locking)["ok"][0]


@pytest.mark.parametrize(
    ("script", "told"),
    [("raise OSError('unable to lock file, errno = 37')", "errno = 37"), ("import time; time.sleep(20)", "not ended")],
)
@pytest.mark.parametrize(("target", "mark"), [("mini", "FAIL"), (CORPUS, "note")])
def test_a_disk_without_locks(repository, monkeypatch, script, told, target, mark):
    monkeypatch.setattr(machine, "LOCKING", script)
    monkeypatch.setattr(findings, "PROGRAM_SECONDS", 0.5)
    (line,) = repository.found(machine.check_locking, target)[mark]
    assert told in line and "export HDF5_USE_FILE_LOCKING=FALSE" in line


def test_results_that_cannot_be_written(repository, monkeypatch):
    def read_only(**options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(machine.tempfile, "TemporaryDirectory", read_only)
    assert "Read-only file system" in repository.found(machine.check_locking)["FAIL"][0]


def test_the_store_of_mlflow(repository, monkeypatch):
    (line,) = repository.found(machine.check_tracking)["ok"]
    assert "results/mlflow.db" in line
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    found = repository.found(machine.check_tracking)
    assert found["FAIL"] == [] and "results/mlflow.db" in found["note"][0]


@pytest.mark.parametrize(
    ("uri", "answer", "mark", "told"),
    [
        ("http://me:secret@host:5000", "", "ok", "http://host:5000"),
        (
            "http://me:secret@host:5000",
            "ConnectionError",
            "note",
            "(ConnectionError)",
        ),
        ("postgresql://me:secret@host/db", "", "note", "of the kind 'postgresql'"),
    ],
)
def test_other_stores_of_mlflow(repository, monkeypatch, uri, answer, mark, told):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(machine, "unanswered", lambda address: answer)
    found = repository.found(machine.check_tracking)
    assert told in found[mark][0] and "secret" not in str(found)


def test_locks_of_snakemake(repository):
    (repository.folder / ".snakemake" / "locks").mkdir(parents=True)
    assert repository.found(machine.check_snakemake)["note"] == []
    repository.put(".snakemake/locks/0.output.lock")
    assert "snakemake --unlock" in repository.found(machine.check_snakemake)["note"][0]


def test_the_lock_script_needs_the_lock(tmp_path):
    import fcntl
    import sys

    path = tmp_path / "a.h5"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = subprocess.run([sys.executable, "-c", machine.LOCKING, path], capture_output=True, text=True)
    assert done.returncode != 0 and "lock" in done.stderr
