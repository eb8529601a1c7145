"""``earwitness show``, ``compare``, ``corpus``, ``cite`` and ``export``: what the DAG has made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError, nearest, sentence


def add_commands(commands: Any) -> None:
    """Add these to what ``ArgumentParser.add_subparsers`` returned."""
    show = commands.add_parser("show", help="print the metrics of a data set's experiments, or a study")
    what = "its name (default: the only one with results), or a study: results/{dataset}/studies/{sweep}.json"
    show.add_argument("dataset", nargs="?", metavar="DATASET", help=what)
    show.set_defaults(run=_show)

    compare = commands.add_parser("compare", help="compare two experiments on the clips that both were scored on")
    what = "results/{dataset}/{experiment}, a folder of `earwitness score`, or a csv of scores"
    for name in ("A", "B"):
        compare.add_argument(name, type=Path, help=what)
    what = "the metric by which the most changed clips are listed (default: the main one)"
    compare.add_argument("--metric", help=what)
    compare.add_argument("--json", action="store_true", help="print the comparison as JSON")
    compare.set_defaults(run=_compare)

    corpus = commands.add_parser("corpus", help="print what was found in a data set")
    corpus.add_argument("dataset", nargs="?", metavar="DATASET", help="its name (default: the only one there is)")
    corpus.set_defaults(run=_corpus)

    cite = commands.add_parser("cite", help="print what to cite for a result, as BibTeX")
    cite.add_argument("result", type=Path, help="results/{dataset}/{experiment}/metrics.json, or its folder")
    cite.set_defaults(run=_cite)

    export = commands.add_parser("export", help="write features in the layout of the retrieval literature")
    export.add_argument("features", type=Path, help="results/{dataset}/features/{feature}")
    what = "for example data/CLOTHO: AudioExpert/{name}/{train,val,test}/{name}.h5 are written there"
    export.add_argument("to", type=Path, help=what)
    export.add_argument("--name", help="the feature's name there (default: as in the literature)")
    what = "what identifies clips there (default: youtube_id where every clip has one, else stem)"
    keys = ("auto", "stem", "file_name", "youtube_id", "md5")
    export.add_argument("--keys", choices=keys, default="auto", help=what)
    export.set_defaults(run=_export)


def _show(options: argparse.Namespace) -> int:
    from earwitness.report.terminal import baselines_of, experiments_of, study, table

    if (path := Path(options.dataset or "")).parent.name == "studies":
        from earwitness.evaluation.study import read_study

        path = path.with_name(f"{path.stem if path.suffix in ('.json', '.html', '.csv') else path.name}.json")
        if not path.is_file():
            there = nearest(str(path), map(str, options.results.glob("*/studies/*.json")))
            make = f"`snakemake --cores all {path.with_suffix('')}.html` makes it"
            raise EarwitnessError(f"{path} does not exist; {sentence(there)} {make}.")
        print(study(read_study(path)))
        return 0
    made = {path.parent.parent for path in options.results.glob("*/*/metrics.json")}
    folder = _of_dataset(options, made, "comparison.html", "show")
    found = experiments_of(folder)
    print(table(found, baselines_of(folder)))
    page = folder / "comparison.html"
    if studies := sorted(map(str, folder.glob("studies/*.json"))):
        print(f"\nStudies, for `earwitness show`: {', '.join(studies)}")
    if page.exists():
        print(f"\nThe page with plots and clips to listen to: {page}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from earwitness.evaluation.compare import compare
    from earwitness.report.terminal import comparison

    found = compare(options.A, options.B, options.metric)
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else comparison(found))
    return 0


def _of_dataset(options: argparse.Namespace, made: Set[Path], file: str, command: str) -> Path:
    """The folder of the data set that is asked for, among those that are made; says what to type for others."""
    names, name = sorted(folder.name for folder in made), options.dataset
    if name is None and len(names) == 1:
        name = names[0]
    name = name and Path(name).name  # a path, as of other commands
    if name in names:
        return options.results / name
    asked = name or "mini"
    make = f"`snakemake --cores all results/{asked}/{file}` makes them; then `earwitness {command} {asked}`"
    if options.results != Path("results"):
        make = "`--results` names the folder `results` of another run, or a copy of it"
    if not names:
        raise EarwitnessError(f"There are no results in {options.results} yet. {make}.")
    if name is None:
        raise EarwitnessError(f"Which data set? {options.results} has {', '.join(names)}: `earwitness {command} NAME`.")
    raise EarwitnessError(f"{options.results / name} has no results yet; {sentence(nearest(name, names))} {make}.")


def _corpus(options: argparse.Namespace) -> int:
    from earwitness.corpora.report import read_report, table

    made = {path.parents[1] for path in options.results.glob("*/corpus/report.json")}
    print(table(read_report(_of_dataset(options, made, "corpus/report.json", "corpus") / "corpus/report.json")))
    return 0


def _cite(options: argparse.Namespace) -> int:
    from earwitness.report.citations import cite

    path = options.result / "metrics.json" if options.result.is_dir() else options.result
    if not path.is_file():
        made = sorted(str(found) for found in options.results.glob("*/*/metrics.json"))
        raise EarwitnessError(f"{path} does not exist; {nearest(str(path), made)}")
    print(cite(path))
    return 0


def _export(options: argparse.Namespace) -> int:
    from earwitness.features.external import export_features

    features = options.features.resolve()
    corpus = features.parents[1] / "corpus"
    print(*export_features(features, corpus, options.to, options.name, options.keys), sep="\n")
    return 0
