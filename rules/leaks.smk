"""The leak audit: a data set against itself, and against lists of what models were trained on."""

import os
from functools import cache

from earwitness.files import sha256


def list_files(dataset):
    """The files of the id lists that concern a data set, whether they are there or not."""
    lists = (CONFIG.id_lists[name] for name in CONFIG.audited(dataset))
    return [Path(path).expanduser() for entry in lists for path in entry.files]


@cache
def list_state(path):
    """Digest of a list's file; one that is not there yet is noticed when it comes."""
    return sha256(path) if is_readable(path) else "absent"


def is_readable(path):
    return path.is_file() and os.access(path, os.R_OK)


def listed_datasets(dataset):
    """The data sets that the lists name, those that there are or that can be made."""
    named = (CONFIG.id_lists[name].dataset for name in CONFIG.audited(dataset))
    return [name for name in dict.fromkeys(filter(None, named)) if DATASETS[name].obtainable]


rule leaks:
    input:
        multiext("results/{dataset}/corpus/", "clips.csv", "sources.csv"),
        lambda w: [str(path) for path in list_files(w.dataset) if is_readable(path)],
        lambda w: expand(
            "results/{name}/corpus/{table}.csv", name=listed_datasets(w.dataset), table=("clips", "sources")
        ),
    output:
        "results/{dataset}/corpus/leaks.json",
    log:
        "logs/{dataset}/leaks.log",
    benchmark:
        "logs/{dataset}/leaks.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        lists=lambda w: {name: CONFIG.id_lists[name].model_dump() for name in CONFIG.audited(w.dataset)},
        files=lambda w: {str(path): list_state(path) for path in list_files(w.dataset)},
        datasets=lambda w: {name: f"results/{name}/corpus" for name in listed_datasets(w.dataset)},
    script:
        "../workflow/scripts/leaks.py"
