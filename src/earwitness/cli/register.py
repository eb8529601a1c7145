"""``earwitness register``: trained models in MLflow, to be served."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, listed


def add_commands(commands: Any) -> None:
    """Add ``register`` to what ``ArgumentParser.add_subparsers`` returned."""
    register = commands.add_parser("register", help="register trained models in MLflow, to be served")
    register.add_argument("experiment", type=Path, metavar="EXPERIMENT", help="results/{dataset}/{experiment}")
    what = "which of its seeds; `all` registers each (default: the first)"
    register.add_argument("--seed", metavar="N", help=what)
    register.add_argument("--name", metavar="NAME", help="of the registered model (default: {dataset}-{experiment})")
    what = "a retriever finds recordings of this index, as of `earwitness index`"
    source = register.add_mutually_exclusive_group()
    source.add_argument("--index", type=Path, metavar="FILE", help=what)
    what = "a retriever finds recordings of this folder, which is indexed first"
    source.add_argument("--folder", type=Path, metavar="FOLDER", help=what)
    what = "weights of an extractor, where they are not in resources/checkpoints; may be given several times"
    register.add_argument("--weights", type=Path, action="append", default=[], metavar="FILE", help=what)
    register.add_argument("--uri", help="MLflow's store (default: the one the DAG published to)")
    register.set_defaults(run=_register)


def _register(options: argparse.Namespace) -> int:
    from earwitness.cli.tracking import _uri
    from earwitness.serving.indexing import update
    from earwitness.serving.register import register
    from earwitness.tracking.store import without_password

    folders = _seeds(options.experiment, options.seed)
    options.results = folders[0].resolve().parents[2]
    uri = _uri(options)
    for folder in folders:
        with tempfile.TemporaryDirectory(prefix="earwitness-") as scratch:
            index = options.index
            if options.folder is not None:
                index = Path(scratch) / "index.h5"
                cores = len(os.sched_getaffinity(0))
                done = update(options.folder, folder, index, options.weights, cores)
                if done.unreadable:
                    print(listed("Left out, as they cannot be used:", list(map(str, done.unreadable))), file=sys.stderr)
            made = register(uri, folder, options.name, index, options.weights)
        print(f"{made.uri} ({'as before' if made.before else 'new'}), {folder}, run {made.run}")
        serve = f"mlflow models serve -m {shlex.quote(made.uri)} --env-manager local --port 5001"
        print(f"MLFLOW_TRACKING_URI={shlex.quote(without_password(uri))} {serve}", file=sys.stderr)
    return 0


def _seeds(experiment: Path, seed: str | None) -> list[Path]:
    """The folders of the seeds that were asked for; EarwitnessError for an experiment or a seed without a model."""
    if experiment.name.startswith("seed-") and seed is None:  # a seed's own folder
        return [experiment]
    if not experiment.is_dir():
        raise EarwitnessError(f"{experiment} does not exist; an experiment's folder is like results/mini/cl4ac.")
    found = {path.parent.name[5:]: path.parent for path in sorted(experiment.glob("seed-*/model.json"))}
    known = sorted((number for number in found if number.isdecimal()), key=int)
    if not known:
        raise EarwitnessError(
            f"{experiment} has no trained model: there is no seed-*/model.json. Train it, or name another experiment; "
            "one without training, such as CLAP's zero-shot retrieval, has nothing to register."
        )
    if seed == "all":
        return [found[number] for number in known]
    if seed is not None and seed not in known:
        raise EarwitnessError(f"{experiment} has no trained seed {seed!r}; it has {', '.join(known)}.")
    return [found[known[0] if seed is None else seed]]
