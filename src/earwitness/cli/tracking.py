"""``earwitness publish`` and ``ui``: results in MLflow."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError


def add_commands(commands: Any) -> None:
    """Add these to what ``ArgumentParser.add_subparsers`` returned."""
    publish = commands.add_parser("publish", help="publish to MLflow what could not be published when it was made")
    publish.set_defaults(run=_publish)
    ui = commands.add_parser("ui", help="compare runs in MLflow, in the browser")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(run=_ui)
    for command in (publish, ui):
        command.add_argument("--uri", help="MLflow's store (default: the one the DAG published to)")


def _publish(options: argparse.Namespace) -> int:
    """Publish what is not published; says so where there is nothing to do."""
    results, others = (sorted(options.results.glob(f"*/{names}.json")) for names in ("*/tracking", "others/*"))
    if not results and not others:
        raise EarwitnessError(f"There are no results in {options.results}; --results DIR names another folder.")
    failed, done = _publish_all(options, results, others)
    if not failed and not done:
        print(f"All results in {options.results} are published already.", file=sys.stderr)
    return 1 if failed else 0


def _publish_all(options: argparse.Namespace, results: list[Path], others: list[Path]) -> tuple[int, int]:
    """Numbers of results that could not be published, and that were."""
    from earwitness.files import read_json
    from earwitness.tracking.publish import publish, publish_other

    outcomes = []
    for tracking in results:
        if read_json(tracking)["published"]:
            continue
        result = tracking.with_name("metrics.json")
        folders = [tracking.with_name(f"seed-{seed}") for seed in read_json(result)["seeds"]]
        outcomes.append(done := publish(_uri(options), result, folders, tracking))
        print(f"{result.parent}: {'published' if done else read_json(tracking)['reason']}", file=sys.stderr)
    for tracking in others:  # scores made elsewhere
        if (record := read_json(tracking))["published"]:
            continue
        dataset, name, folder = tracking.parents[1].name, tracking.stem, Path(record["folder"])
        outcomes.append(done := publish_other(_uri(options), dataset, name, folder, tracking))
        print(f"{folder}: {'published' if done else read_json(tracking)['reason']}", file=sys.stderr)
    return outcomes.count(False), outcomes.count(True)


def _uri(options: argparse.Namespace) -> str:
    """The store of ``--uri``, else that of the environment, of the last run of the DAG, or the default."""
    from earwitness.files import read_json
    from earwitness.options import TrackingOptions
    from earwitness.tracking.store import store_uri, uri_below

    record = options.results / "mlflow-store.json"
    made_with = read_json(record)["uri"] if record.exists() else TrackingOptions().uri
    return options.uri or store_uri(uri_below(options.results, made_with))


def _ui(options: argparse.Namespace) -> int:
    import socket

    from earwitness.tracking.publish import runs_pages

    if options.results.is_dir() and any(options.results.glob("*/*/tracking.json")):
        _publish(options)
    uri = _uri(options)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise EarwitnessError(
            f"There are no runs yet: MLflow's store {uri.removeprefix('sqlite:///')} does not exist. `make demo` makes "
            "the first ones; `earwitness --results DIR ui` shows those of another folder of results."
        )
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", options.port)) == 0:
            raise EarwitnessError(
                f"Port {options.port} is in use. Try another: earwitness ui --port {options.port + 1}"
            )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    print("MLflow is starting; Ctrl-C stops it. The runs are at", file=sys.stderr)
    for dataset, page in runs_pages(uri, options.results / "mlflow-store.json").items():
        print(f"  {dataset}: http://127.0.0.1:{options.port}{page}", file=sys.stderr)
    server = ["-m", "mlflow", "server", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, *server, "--workers", "1"])
