"""What only the machine that trains knows: its environment, and what a training took of it.

Each process that trains, or resumes, adds two events to ``events.jsonl``: ``{"started": {...}}`` with host, processor,
GPUs, versions, commit (or the error in finding them) and the run key, and ``{"ended": {...}}`` with status, message,
duration, peak memory and energy. A process that was killed leaves no second one; the next process, or the reader, takes
its end from its last event.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from earwitness.errors import EarwitnessError
from earwitness.files import commit
from earwitness.training.events import NO_END, EventLog, read_events, unended

RAPL = Path("/sys/class/powercap")  # counters of processors, which mostly root alone can read
SAMPLED = 60.0  # seconds; RAPL's counters start again after some ten minutes of full load at the earliest
Peaks = dict[str, int | None]  # as in `peaks`
SIGNAL = "Stopped by Ctrl-C or a signal."


@contextmanager
def recorded(log: EventLog, run_key: str) -> Iterator[list[Peaks]]:
    """Record the start of a process that trains, and its end: FINISHED, FAILED (an error) or KILLED (a signal).

    Yields a list for the `peaks` of the others, where several processes train together.
    """
    log.cut_back(math.inf)  # a kill may have left an incomplete line
    if last := unended(events := list(read_events(log.path))):
        seconds = round(events[-1]["time"] - last["time"], 3)
        log.append(time=events[-1]["time"], ended={"status": "KILLED", "message": NO_END, "seconds": seconds})
    began, energy = time.monotonic(), Energy()
    try:
        here = environment()
    except Exception as error:  # a machine that cannot be described fails no training
        here = {"error": f"{type(error).__name__}: {error}"}
    log.append(started={"run_key": run_key, **here})
    others: list[Peaks] = []

    def end(status: str, message: str | None = None) -> None:
        taken = {"seconds": round(time.monotonic() - began, 3), **_joint([peaks(), *others]), **energy.used()}
        log.append(ended={"status": status, "message": message, **taken})

    try:
        yield others
    except BaseException as error:
        # Ctrl-C and SIGTERM come as KeyboardInterrupt and SystemExit.
        with suppress(EarwitnessError, OSError):  # on a full disk, what matters is the first error
            if not isinstance(error, Exception):
                end("KILLED", SIGNAL)
            else:
                end("FAILED", str(error) if isinstance(error, EarwitnessError) else f"{type(error).__name__}: {error}")
        raise
    end("FINISHED")


def environment() -> dict[str, Any]:
    """Host (its name alone), platform, processor, GPUs, commit, Python, and the versions of installed packages."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": _packages(),
    }


class Energy:
    """Counts the energy of processors (RAPL) and GPUs (NVML) from its creation on.

    The counters are those of whole devices, other processes on them included. Those of processors overflow, so a
    thread reads them every minute.
    """

    def __init__(self) -> None:
        self.counters = {**_processor_counters(), **_gpu_counters()}
        self.joules = dict.fromkeys(self.counters, 0.0)
        self.last = {name: read() for name, (read, _) in self.counters.items()}
        self._lock, self._over = threading.Lock(), threading.Event()
        if self.counters:
            threading.Thread(target=self._sample, daemon=True).start()

    def used(self) -> dict[str, Any]:
        """Joules so far and the devices counted; null with the reason where there is no counter."""
        self._over.set()
        if not self.counters:
            reason = f"no readable counter of processors ({RAPL}; mostly for root alone), nor of a GPU (NVML)"
            return {"energy_joules": None, "energy_unknown": reason}
        self._read()
        return {"energy_joules": round(sum(self.joules.values()), 1), "energy_of": list(self.counters)}

    def _sample(self) -> None:
        while not self._over.wait(SAMPLED):
            self._read()

    def _read(self) -> None:
        with self._lock:
            for name, (read, whole) in self.counters.items():
                with suppress(OSError):
                    now = read()
                    self.joules[name] += (now - self.last[name]) % whole
                    self.last[name] = now


def peaks() -> Peaks:
    """Peak memory of this process in bytes, and that of tensors on its GPU that needed most."""
    gpus = [torch.cuda.max_memory_allocated(number) for number in range(torch.cuda.device_count())]
    return {"peak_memory_bytes": _peak_memory(), "peak_gpu_memory_bytes": max(gpus) if gpus else None}


def _joint(all_peaks: Sequence[Peaks]) -> Peaks:
    """Of processes that share a machine and have a GPU each: memory of all together, and that of one GPU."""
    gpus = [known for one in all_peaks if (known := one["peak_gpu_memory_bytes"]) is not None]
    memory = sum(one["peak_memory_bytes"] or 0 for one in all_peaks)
    return {"peak_memory_bytes": memory, "peak_gpu_memory_bytes": max(gpus, default=None)}


def _peak_memory() -> int:
    # The kernel's ru_maxrss is at least what the parent had when it started this process; VmHWM is not.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _packages() -> dict[str, str]:
    """The versions of installed packages."""
    found = {}
    for package in distributions():
        # What a broken installation left has no name, or reading it is an error: of importlib_metadata where imported.
        with suppress(Exception):
            if package.name:
                found[package.name] = package.version
    return dict(sorted(found.items()))


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _processor_counters() -> dict[str, tuple[Callable[[], float], float]]:
    """For each processor that tells it: a function that gives joules, and where they start again."""
    found: dict[str, tuple[Callable[[], float], float]] = {}
    for folder in sorted(RAPL.glob("intel-rapl:*")):
        if folder.name.count(":") == 1:  # others are parts of these
            with suppress(OSError, ValueError):
                counter = folder / "energy_uj"
                counter.read_text()
                whole = int((folder / "max_energy_range_uj").read_text()) / 1e6

                def read(counter: Path = counter) -> float:
                    return int(counter.read_text()) / 1e6

                found[f"cpu {folder.name.partition(':')[2]}"] = (read, whole)
    return found


def _gpu_counters() -> dict[str, tuple[Callable[[], float], float]]:
    """For each visible GPU that tells it: a function that gives joules, and where they start again."""
    found: dict[str, tuple[Callable[[], float], float]] = {}
    if not torch.cuda.device_count():
        return found
    with suppress(OSError, AttributeError):
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        nvml.nvmlInit_v2()
        for number in range(torch.cuda.device_count()):
            device = ctypes.c_void_p()
            uuid = f"GPU-{torch.cuda.get_device_properties(number).uuid}".encode()
            if nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(device)):
                continue

            def read(device: ctypes.c_void_p = device) -> float:
                millijoules = ctypes.c_ulonglong()
                if code := nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)):
                    raise OSError(f"NVML {code}")
                return millijoules.value / 1000

            with suppress(OSError):
                read()
                found[f"gpu {number}"] = (read, 2**64 / 1000)
    return found
