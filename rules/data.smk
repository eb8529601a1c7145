"""Corpora: from a published record, a folder of audio, or nothing at all, to tidy tables."""

from earwitness.fetch.records import FETCHED
from earwitness.options import NOT_CORPUS

CORPUS_FILES = ("clips.csv", "captions.csv", "phrases.csv", "events.csv", "sources.csv", "report.json")


rule synthesise:
    output:
        directory("results/{dataset}/audio"),
    log:
        "logs/{dataset}/synthesise.log",
    benchmark:
        "logs/{dataset}/synthesise.tsv"
    wildcard_constraints:
        dataset="|".join(re.escape(name) for name, entry in DATASETS.items() if entry.synthesised) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        options=lambda w: CONFIG.datasets[w.dataset].model_dump(exclude=NOT_CORPUS | {"on_bad_audio"}),
    script:
        "../workflow/scripts/synthesise.py"


WHAT_IS_FETCHED = {"layout", "audio", "tables", "source"}


def fetched_folders():
    """The folders that are fetched, each with the entries that read it."""
    folders = {}
    for entry in DATASETS.values():
        if entry.fetched:
            folders.setdefault(str(entry.root), []).append(entry.options)
    return folders


def how_to_fetch(root):
    """What changes nothing in what is fetched: a mirror, how many at a time."""
    entries = fetched_folders()[root]
    mirror = next((entry.mirror for entry in entries if entry.mirror), "")
    return {"mirror": mirror, "workers": max(getattr(entry, "workers", 1) for entry in entries)}


rule fetch:
    output:
        f"{{root}}/{FETCHED}",
    log:
        "logs/fetch/{root}.log",
    wildcard_constraints:
        root="|".join(map(re.escape, fetched_folders())) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=1440,
        mirror=lambda w: how_to_fetch(w.root)["mirror"],
        downloads=lambda w: how_to_fetch(w.root)["workers"],
    params:
        options=lambda w: fetched_folders()[w.root][0].model_dump(include=WHAT_IS_FETCHED),
    script:
        "../workflow/scripts/fetch.py"


rule corpus:
    input:
        lambda w: [str(path) for path in plain(dataset(w).inputs)],
    output:
        multiext("results/{dataset}/corpus/", *CORPUS_FILES),
    log:
        "logs/{dataset}/corpus.log",
    benchmark:
        "logs/{dataset}/corpus.tsv"
    conda:
        "../envs/earwitness.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        options=lambda w: CONFIG.datasets[w.dataset].model_dump(exclude=NOT_CORPUS),
        root=audio_root,
        audio=lambda w: dataset(w).audio_state(),
    script:
        "../workflow/scripts/corpus.py"
