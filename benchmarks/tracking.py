"""What tracking costs a training: the same training alone, and with its record and its run in MLflow live.

A network of some matrix products trains for about ``--seconds`` with the loop of the library, in turn without and with
tracking, which is: the environment and what was taken in ``events.jsonl``, and the process beside the training that
logs to an SQLite store every ten seconds. Both sides end with the same weights, or the benchmark stops, and the run
must have every point. Two times of one training on a busy machine differ by more than tracking takes, so one pair is
enough to see what is measured by itself: the time that the training waits for tracking, and the CPU time of the process
beside it. How both sides compare takes more ``--repetitions``.

By default a training takes three minutes, half a minute of which it is shown. Most of what it costs is loading MLflow
once, so the share of a longer training is smaller.
"""

from __future__ import annotations

import argparse
import io
import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from common import from_command_line, machine, say
from torch.utils.data import DataLoader, Dataset

from earwitness.files import digest, sha256
from earwitness.options import TrainingOptions
from earwitness.systems.interface import System
from earwitness.tracking import live
from earwitness.tracking.store import opened, prepare_store
from earwitness.training.events import EventLog, read_events
from earwitness.training.loop import train
from earwitness.training.machine import recorded
from earwitness.training.sampler import EpochSampler
from earwitness.training.selection import Choice

STEPS = 500  # an epoch
LIMIT = 0.02
SHOWN = 10.0  # seconds after which a training that is shown has its run, on a busy machine too


@dataclass(frozen=True)
class Side:
    """Seconds: of the wall clock, of it waiting for tracking; of the processor in the training, and beside it."""

    wall: float
    waiting: float
    cpu: float
    beside: float


class Batches(Dataset):
    """Random batches by epoch and number; they are the same in each epoch."""

    def __init__(self, width: int):
        self.data = torch.randn(64, 64, width)

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, place: tuple[int, int]) -> torch.Tensor:
        return self.data[place[1] % len(self.data)]


class Products(System):
    """A network of matrix products on random data."""

    choice = Choice("validation_loss", "min")

    def __init__(self, width: int):
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(*[torch.nn.Linear(width, width) for _ in range(4)])
        self.data = Batches(width)

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=1.0)

    def learning_rate(self, moment: Any) -> float:
        return 1e-4

    def training_loader(self) -> DataLoader:
        return DataLoader(self.data, batch_size=None, sampler=EpochSampler(STEPS))

    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": (self.network(batch) - batch).square().mean()}

    def validation_loader(self) -> DataLoader:
        return DataLoader([self.data[0, 0]], batch_size=None)  # type: ignore[arg-type]

    def validation_step(self, batch: Any) -> float:
        return float(self.losses(batch)["loss"])

    def validation_metrics(self, outputs: list[float]) -> dict[str, float]:
        return {"validation_loss": outputs[0]}

    @classmethod
    def load(cls, options: Any, folder: Path, files: Any) -> Any:
        raise NotImplementedError


def run(work: Path, epochs: int, width: int, uri: str | None) -> Side:
    """One training; with its run in the store ``uri``, or without tracking."""
    wall, cpu, beside = time.perf_counter(), time.process_time(), children()
    log = EventLog(work / "events.jsonl")
    params = {"dataset": "random", "experiment": "products", "seed": 0, "options": {"system": "products"}}

    def fit() -> float:
        began = time.perf_counter()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        with redirect_stderr(io.StringIO()):
            train(Products(width), TrainingOptions(epochs=epochs), 0, work)
        return time.perf_counter() - began

    if uri is None:
        fitted = fit()
    else:
        log.append(params=params)
        with live.shown(uri, live.AFTER, log.path), recorded(log, digest(str(work))):
            fitted = fit()
    whole = time.perf_counter() - wall
    return Side(whole, whole - fitted, time.process_time() - cpu, children() - beside)


def children() -> float:
    """Seconds of the processor in processes that this one started and that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def missing_points(uri: str, record: Path, beside: Path) -> int:
    """How many points of the curve of losses a run in the store lacks."""
    steps = [event["step"] for event in read_events(record) if "loss" in event.get("metrics", {})]
    with opened(uri, beside) as client:
        place = client.get_experiment_by_name("random").experiment_id
        runs = client.search_runs([place], order_by=["attributes.start_time DESC"], max_results=1)
        found = client.get_metric_history(runs[0].info.run_id, "loss")
    return len(set(steps) - {point.step for point in found})


def measure(chosen: argparse.Namespace, width: int = 256) -> dict[str, Any]:
    """Run all, print the table, and return the figures."""
    torch.set_num_threads(chosen.threads)
    sides: dict[str, list[Side]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        prepare_store(uri, folder / "mlflow-store.json")
        run(folder / "warm", 1, width, None)
        epochs = max(1, round(chosen.seconds / run(folder / "one", 1, width, None).wall)) if chosen.seconds else 1
        for repetition in range(chosen.repetitions):
            for name, store in (("without", None), ("with", uri)):
                say(f"{name} tracking {repetition + 1}/{chosen.repetitions}, {epochs} epochs")
                sides[name].append(run(folder / f"{name}-{repetition}", epochs, width, store))
            weights = [sha256(folder / f"{name}-{repetition}/best.safetensors") for name in sides]
            if weights[0] != weights[1]:
                raise AssertionError("tracking changed the weights")
            if sides["with"][-1].wall > live.AFTER + SHOWN:
                record = folder / f"with-{repetition}/events.jsonl"
                if missing := missing_points(uri, record, folder / "mlflow-store.json"):
                    raise AssertionError(f"the run lacks {missing} points")
    say("")
    middle = {name: Side(*map(statistics.median, zip(*[asdict(s).values() for s in of], strict=True)))
              for name, of in sides.items()}  # fmt: skip
    without, tracked = middle["without"], middle["with"]
    shares = {
        "waiting": tracked.waiting / tracked.wall,
        "beside": tracked.beside / tracked.wall,
        "wall": tracked.wall / without.wall - 1,
        "cpu": tracked.cpu / without.cpu - 1,
    }
    print(f"{'':<18} {'waiting':>9} {'CPU beside':>11} {'wall':>9} {'CPU':>9}   seconds")
    for name, side in middle.items():
        print(f"{name:<18} {side.waiting:>9.2f} {side.beside:>11.2f} {side.wall:>9.2f} {side.cpu:>9.2f}")
    print(f"{'share of tracking':<18} {shares['waiting']:>9.2%} {shares['beside']:>11.2%} {shares['wall']:>9.2%} "
          f"{shares['cpu']:>9.2%}   (expected: below {LIMIT:.0%} in the first two)")  # fmt: skip
    return {
        "machine": machine(chosen.threads),
        "epochs": epochs,
        "sides": {name: [asdict(side) for side in of] for name, of in sides.items()},
        "shares": shares,
    }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180, help="of one training")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args(given)


if __name__ == "__main__":
    from_command_line(arguments, measure)
