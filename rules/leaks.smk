"""The leak audit: overlap between the splits of a data set, and with lists of training data."""

import os
from functools import cache

from earwitness.files import sha256


def list_files(dataset):
    """The files of the id lists that concern a data set, whether they exist or not."""
    lists = (CONFIG.id_lists[name] for name in CONFIG.audited(dataset))
    return [Path(path).expanduser() for entry in lists for path in entry.files]


@cache
def list_state(path):
    """Digest of a list's file; a missing one is noticed when it appears."""
    return sha256(path) if is_readable(path) else "absent"


def is_readable(path):
    return path.is_file() and os.access(path, os.R_OK)


@cache
def listed_corpora(dataset):
    """The corpora of the data sets that lists name: tables, and "made" or the digests of tables that are not remade.

    A list does not cause a data set to be fetched: a missing one is reported in the audit, and noticed when it appears.
    If the corpus exists but its recordings would have to be fetched, the corpus is read as it is.
    """
    names = dict.fromkeys(filter(None, (CONFIG.id_lists[name].dataset for name in CONFIG.audited(dataset))))
    tables = {name: [Path(f"results/{name}/corpus/{table}.csv") for table in ("clips", "sources")] for name in names}
    made = {name: "made" for name in names if DATASETS[name].obtainable}
    left = {name: paths for name, paths in tables.items() if name not in made and all(map(is_readable, paths))}
    states = made | {name: list(map(sha256, paths)) for name, paths in left.items()}
    return {name: (tables[name], states[name]) for name in names if name in states}


def made_for_lists(dataset):
    """Those of the tables that the DAG makes before the audit."""
    return [str(path) for paths, state in listed_corpora(dataset).values() if state == "made" for path in paths]


rule leaks:
    input:
        multiext("results/{dataset}/corpus/", "clips.csv", "sources.csv"),
        lambda w: [str(path) for path in list_files(w.dataset) if is_readable(path)],
        lambda w: made_for_lists(w.dataset),
    output:
        counts="results/{dataset}/corpus/leaks.json",
        clips="results/{dataset}/corpus/leaks.csv",
    log:
        "logs/{dataset}/leaks.log",
    benchmark:
        "logs/{dataset}/leaks.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        lists=lambda w: {name: CONFIG.id_lists[name].model_dump() for name in CONFIG.audited(w.dataset)},
        files=lambda w: {str(path): list_state(path) for path in list_files(w.dataset)},
        datasets=lambda w: {name: f"results/{name}/corpus" for name in listed_corpora(w.dataset)},
        states=lambda w: {name: state for name, (_, state) in listed_corpora(w.dataset).items()},
    message:
        "Checking {wildcards.dataset} for leaks between its splits and into training data ({log})"
    script:
        "../workflow/scripts/leaks.py"
