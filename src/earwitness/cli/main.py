"""The command line: ``earwitness doctor``, ``show``, ``corpus``, ``compare``, ``score``, ``export`` and more."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path

from earwitness import __version__, doctor
from earwitness.cli import score as scoring
from earwitness.errors import EarwitnessError, nearest
from earwitness.features.external_options import KEY_KINDS
from earwitness.files import read_json
from earwitness.options import TrackingOptions


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; bad input is a plain message and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except EarwitnessError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: nothing half-written was kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="earwitness", description="Results of the DAG, and where to look at them.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="the DAG's results (default: results)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="print the metrics of a data set's experiments")
    show.add_argument("dataset")
    show.set_defaults(run=_show)

    compare = commands.add_parser("compare", help="compare two experiments over the clips that both were scored on")
    for name in ("A", "B"):
        compare.add_argument(
            name, type=Path, help="results/{dataset}/{experiment}, a folder of `earwitness score`, or a csv of scores"
        )
    compare.add_argument("--metric", help="the metric whose clips are told that moved most (default: the main one)")
    compare.add_argument("--json", action="store_true", help="print what was found as JSON")
    compare.set_defaults(run=_compare)

    corpus = commands.add_parser("corpus", help="print what was found in a data set")
    corpus.add_argument("dataset")
    corpus.set_defaults(run=_corpus)

    export = commands.add_parser("export", help="write features in the layout of the retrieval literature")
    export.add_argument("features", type=Path, help="results/{dataset}/features/{feature}")
    export.add_argument(
        "to", type=Path, help="data/CLOTHO, say: AudioExpert/{name}/{train,val,test}/{name}.h5 go there"
    )
    export.add_argument("--name", help="of the feature there (default: as the literature calls it)")
    told = "what clips are called there (default: youtube_id where every clip has one, else stem)"
    export.add_argument("--keys", choices=("auto", *KEY_KINDS), default="auto", help=told)
    export.set_defaults(run=_export)

    doctor.add_command(commands)
    scoring.add_command(commands)

    publish = commands.add_parser("publish", help="publish to MLflow what could not be published when it was made")
    publish.set_defaults(run=_publish)

    ui = commands.add_parser("ui", help="compare runs in MLflow, in the browser")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(run=_ui)
    for command in (publish, ui):
        command.add_argument("--uri", help="MLflow's store (default: the one the DAG published to)")
    return parser


def _show(options: argparse.Namespace) -> int:
    from earwitness.report.terminal import experiments_of, table

    folder = options.results / options.dataset
    found = experiments_of(folder)
    if not found:
        made = sorted({path.parent.parent.name for path in options.results.glob("*/*/metrics.json")})
        raise EarwitnessError(f"{folder} holds no result yet; {nearest(options.dataset, made)}")
    print(table(found, folder / "corpus" / "trivial.json"))
    page = folder / "comparison.html"
    if page.exists():
        print(f"\nThe page with plots and clips to hear: {page}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from earwitness.evaluation.compare import compare
    from earwitness.report.terminal import comparison

    found = compare(options.A, options.B, options.metric)
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else comparison(found))
    return 0


def _corpus(options: argparse.Namespace) -> int:
    from earwitness.corpora.report import read_report, table

    report = options.results / options.dataset / "corpus" / "report.json"
    if not report.is_file():
        made = sorted(path.parent.parent.name for path in options.results.glob("*/corpus/report.json"))
        raise EarwitnessError(f"{report} is not there yet; {nearest(options.dataset, made)}")
    print(table(read_report(report)))
    return 0


def _export(options: argparse.Namespace) -> int:
    from earwitness.features.external import export_features

    corpus = options.features.resolve().parents[1] / "corpus"
    print(*export_features(options.features.resolve(), corpus, options.to, options.name, options.keys), sep="\n")
    return 0


def _publish(options: argparse.Namespace) -> int:
    from earwitness.tracking.publish import publish

    failed = 0
    for tracking in sorted(options.results.glob("*/*/tracking.json")):
        if read_json(tracking)["published"]:
            continue
        result = tracking.with_name("metrics.json")
        folders = [tracking.with_name(f"seed-{seed}") for seed in read_json(result)["seeds"]]
        done = publish(_uri(options), result, folders, tracking)
        failed += not done
        print(f"{result.parent}: {'published' if done else read_json(tracking)['reason']}", file=sys.stderr)
    return 1 if failed else 0


def _uri(options: argparse.Namespace) -> str:
    """The store that was named, or else that of the environment, of the last run of the DAG, or the default."""
    from earwitness.tracking.publish import store_uri

    record = options.results / "mlflow-store.json"
    return options.uri or store_uri(read_json(record)["uri"] if record.exists() else TrackingOptions().uri)


def _ui(options: argparse.Namespace) -> int:
    from earwitness.tracking.publish import runs_pages

    _publish(options)
    uri = _uri(options)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise EarwitnessError("There are no runs yet. `make demo` makes the first ones.")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", options.port)) == 0:
            raise EarwitnessError(f"Port {options.port} is taken. Another: earwitness ui --port {options.port + 1}")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    print("MLflow starts; Ctrl-C ends it. The runs are at", file=sys.stderr)
    for dataset, page in runs_pages(uri).items():
        print(f"  {dataset}: http://127.0.0.1:{options.port}{page}", file=sys.stderr)
    server = ["-m", "mlflow", "server", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, *server, "--workers", "1"])
