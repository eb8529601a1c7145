"""A served captioner: 200 requests from 8 clients, answered together, against one at a time.

requests  Two servers (``mlflow models serve``) of the same model answer the same requests in turn, each of one
          recording: one server answers up to 32 that wait together, the other one after another. It stops if a request
          is lost or captions differ. Seconds are those of a request: all requests' wall time, and the processor time
          of the server, divided by their number.

Recordings and the model are those of ``caption.py``. MLflow calls a model in as many threads as there are cores, and
four more, so that on two cores six requests are answered together.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import requests
from caption import CHANNELS, make_model, make_recordings
from common import Row, Side, from_command_line, machine, median, say, table

from earwitness.serving.register import example_of, save, staged
from earwitness.serving.served import Served

LABELS = {"requests": "together, against one at a time"}
EXPECTED = {"requests": 1.3}
SECONDS = 10.0


def make_served(folder: Path, model: Path) -> Path:
    """A folder that MLflow serves."""
    served = Served(model)
    artifacts = staged(folder / "staged", model, served.features, None)
    save(folder / "saved", model, served, artifacts, example_of(served, folder))
    return folder / "saved"


@contextmanager
def server(saved: Path, batch: int, log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server that answers so many rows together, at most: its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = {"SERVING_MODEL_CONFIG": json.dumps({"batch": batch}), "MLFLOW_DISABLE_TELEMETRY": "true"}
    names["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(saved), "--env-manager", "local"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*words, "--port", str(port)], env=os.environ | names, stdout=file, stderr=file, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            if process.poll() is not None:
                raise SystemExit(f"The server did not start:\n{log.read_text()}")
            with suppress(requests.RequestException):
                if requests.get(f"{address}/ping", timeout=5).ok:
                    break
            time.sleep(0.2)
        yield address, psutil.Process(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def posted(address: str, sounds: Sequence[str], number: int, clients: int) -> list[str]:
    """The captions of so many requests of one recording each, in order."""

    def post(place: int) -> str:
        body = {"dataframe_records": [{"audio": sounds[place % len(sounds)]}]}
        reply = requests.post(f"{address}/invocations", json=body, timeout=600)
        reply.raise_for_status()
        (row,) = reply.json()["predictions"]
        assert row["error"] is None, row["error"]
        return row["caption"]

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(post, range(number)))


def cpu_of(process: psutil.Process) -> float:
    """Processor seconds of a process and those it started."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="of a trained seed (default: an untrained one)")
    parser.add_argument("--channels", type=int, nargs=4, default=CHANNELS, help="of an untrained model's encoder")
    parser.add_argument("--requests", type=int, default=200, help="default: 200")
    parser.add_argument("--clients", type=int, default=8, help="default: 8")
    parser.add_argument("--repetitions", type=int, default=3, help="default: 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args(given)


def measure(chosen: argparse.Namespace, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure both sides in turn, and print the results."""
    content: dict[str, Any] = machine(os.cpu_count() or 1)
    print(", ".join(f"{name} {value}" for name, value in content.items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="earwitness-") as place, ExitStack() as stack:
        folder, taken, captions = Path(place), [list[Side](), list[Side]()], list[list[str]]()
        saved = make_served(folder, chosen.model or make_model(folder / "a/b/seed-0", chosen.channels, seconds))
        paths = make_recordings(folder / "audio", min(50, chosen.requests), seconds)
        sounds = [base64.b64encode(path.read_bytes()).decode() for path in paths]
        servers = [stack.enter_context(server(saved, batch, folder / f"{batch}.log")) for batch in (32, 1)]
        for address, _ in servers:
            posted(address, sounds, chosen.clients, chosen.clients)  # what is loaded at first use
        for repetition in range(chosen.repetitions):
            for side, (address, process) in enumerate(servers):
                say(f"{('together', 'one at a time')[side]} {repetition + 1}/{chosen.repetitions}")
                wall, cpu = time.perf_counter(), cpu_of(process)
                captions.append(posted(address, sounds, chosen.requests, chosen.clients))
                wall, cpu = time.perf_counter() - wall, cpu_of(process) - cpu
                taken[side].append(Side(wall / chosen.requests, cpu / chosen.requests))
        say("")
        assert all(one == captions[0] for one in captions), "captions differ"
    pairs = [theirs.wall / ours.wall for ours, theirs in zip(*taken, strict=True)]
    note = f"{chosen.requests} requests of {chosen.clients} clients, all answered, {len(set(captions[0]))} captions"
    row = Row("requests", *map(median, taken), (min(pairs), max(pairs)), note)
    print(table([row], LABELS, EXPECTED), flush=True)
    return content | {"requests": asdict(row) | {"ratio": asdict(row.ratio), "expected": EXPECTED["requests"]}}


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        from_command_line(arguments, measure)
