"""``earwitness publish`` and ``ui``: results in MLflow."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError


def add_commands(commands: Any) -> None:
    """Add these to what ``ArgumentParser.add_subparsers`` returned."""
    publish = commands.add_parser("publish", help="publish to MLflow what could not be published when it was made")
    publish.add_argument("folder", nargs="?", type=Path, help="a folder of results, such as one of another machine")
    publish.set_defaults(run=_publish)
    ui = commands.add_parser("ui", help="compare runs in MLflow, in the browser")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(run=_ui)
    for command in (publish, ui):
        command.add_argument("--uri", help="MLflow's store (default: the one the DAG published to)")


def _publish(options: argparse.Namespace) -> int:
    """Publish what is not published, or to a store that was named all that it lacks; says so where there is nothing."""
    options.results = options.folder or options.results
    return _publish_all(options, again=options.uri is not None)


def _publish_all(options: argparse.Namespace, again: bool) -> int:
    """Publish results, scores made elsewhere, and trainings without scores; 1 if any of them could not be.

    Args:
        again: what was published too; each store has one run of each.
    """
    from earwitness.files import read_json, write_json
    from earwitness.tracking.publish import publish, publish_other
    from earwitness.tracking.store import FOLDER, uri_below

    results, others = (sorted(options.results.glob(f"*/{names}.json")) for names in ("*/tracking", "others/*"))
    trainings = _trainings(options.results)
    if not results and not others and not trainings:
        raise EarwitnessError(f"There are no results in {options.results}; --results DIR names another folder.")
    foreign = options.uri is not None and uri_below(Path(FOLDER), options.uri) != _store_of(options.results)
    outcomes: list[bool | None] = []
    for record in (*results, *others):
        if (before := read_json(record))["published"] and not again:
            continue
        if record in others:  # scores made elsewhere
            folder = Path(before["folder"])
            if not folder.is_dir():
                print(
                    f"{record}: there is no {folder} here, where its scores are. Copy that folder here, to the same "
                    "path, or publish it on the machine that has it.",
                    file=sys.stderr,
                )
                outcomes.append(False)
                continue
            done = publish_other(_uri(options), record.parents[1].name, record.stem, folder, record)
        else:
            folder = record.parent
            seeds = [folder / f"seed-{seed}" for seed in read_json(folder / "metrics.json")["seeds"]]
            done = publish(_uri(options), folder / "metrics.json", seeds, record)
        outcomes.append(done)
        print(f"{folder}: {'published' if done else read_json(record)['reason']}", file=sys.stderr)
        if foreign or (before["published"] and not done):  # the record is about the store of the results alone
            write_json(record, before)
    outcomes += [_publish_training(options, training) for training in trainings]
    pages = {record.parents[1] for record in results if (record.parents[1] / "plots").is_dir()}
    outcomes += [_publish_plots(options, folder) for folder in sorted(pages)]
    if not any(outcome is not None for outcome in outcomes):
        print(f"All results in {options.results} are published already.", file=sys.stderr)
    return 1 if False in outcomes else 0


def _trainings(results: Path) -> list[Path]:
    """The records of trainings without a result: unfinished ones, and those whose scores are not made yet."""
    finished = sorted(results.glob("*/*/seed-*/events.jsonl"))
    waiting = [path for path in finished if not (path.parents[1] / "tracking.json").is_file()]
    return [*sorted(results.glob(".work/*/events.jsonl")), *waiting]


def _publish_training(options: argparse.Namespace, record: Path) -> bool | None:
    """Whether a training could be published; None where its run has all of it."""
    from earwitness.lock import is_held
    from earwitness.tracking.live import publish_training

    alive = is_held(record.with_name("lock"))
    return _attempt(record.parent, lambda: publish_training(_uri(options), record, alive), "published as {}")


def _publish_plots(options: argparse.Namespace, folder: Path) -> bool | None:
    """Whether the plots of a data set's page could be added to its runs; None where they have them."""
    from earwitness.tracking.publish import publish_plots

    return _attempt(folder / "plots", lambda: publish_plots(_uri(options), folder), "added to the runs")


def _attempt(what: Path, publish: Callable[[], Any], done: str) -> bool | None:
    """Publish and say so; None where there was nothing to publish."""
    try:
        found = publish()
    except Exception as error:  # a store may be of any kind
        print(f"{what}: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    if not found:
        return None
    print(f"{what}: {done.format(found)}", file=sys.stderr)
    return True


def _uri(options: argparse.Namespace) -> str:
    """The store of ``--uri``, else that of the results."""
    return options.uri or _store_of(options.results)


def _store_of(results: Path) -> str:
    """The store of the environment, of the last run of the DAG, or the default."""
    from earwitness.files import read_json
    from earwitness.options import TrackingOptions
    from earwitness.tracking.store import store_uri, uri_below

    record = results / "mlflow-store.json"
    made_with = read_json(record)["uri"] if record.exists() else TrackingOptions().uri
    return store_uri(uri_below(results, made_with))


def _ui(options: argparse.Namespace) -> int:
    import socket

    from earwitness.tracking.publish import runs_pages

    if any(options.results.glob("*/*/tracking.json")) or _trainings(options.results):
        _publish_all(options, again=False)
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
