"""Corpora: from a published record, a folder of audio, or synthesis, to tidy tables."""

from earwitness.fetch.records import FETCHED

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
        options=lambda w: CONFIG.datasets[w.dataset].settings("audio"),
    message:
        "Synthesising the audio of {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/synthesise.py"


def fetched_folders():
    """The folders to fetch, each with the data sets that read it."""
    folders = {}
    for entry in DATASETS.values():
        if entry.fetched:
            folders.setdefault(str(entry.root), []).append(entry)
    return folders


def how_to_fetch(root):
    """Options of the data set, with mirror and workers, which do not affect the fetched content."""
    entries = [entry.options for entry in fetched_folders()[root]]
    changes = {"mirror": next((entry.mirror for entry in entries if entry.mirror), None)}
    if hasattr(entries[0], "workers"):
        changes["workers"] = max(entry.workers for entry in entries)
    return entries[0].model_copy(update=changes).model_dump_json(exclude={"experiments", "overrides"})


localrules:
    fetch,  # compute nodes often have no internet access


rule fetch:
    input:
        lambda w: [str(path) for path in fetched_folders()[w.root][0].fetched_for()],
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
        options=lambda w: how_to_fetch(w.root),
    params:
        source=lambda w: fetched_folders()[w.root][0].options.source,
    message:
        "Fetching {params.source} into {wildcards.root} ({log})"
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
        mem_mb=memory(4000),
        runtime=120,
    params:
        options=lambda w: CONFIG.datasets[w.dataset].settings("corpus"),
        root=audio_root,
        audio=lambda w: dataset(w).state(),
    message:
        "Reading the tables and checking the audio of {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/corpus.py"


def relevant_table(wildcards):
    """The table of the clips that are relevant to a query, where the data set has one."""
    path = CONFIG.datasets[wildcards.dataset].relevant
    return [str(Path(path).expanduser())] if path else []


rule relevant:
    input:
        corpus=multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "report.json"),
        table=relevant_table,
    output:
        "results/{dataset}/corpus/relevant.csv",
    log:
        "logs/{dataset}/relevant.log",
    benchmark:
        "logs/{dataset}/relevant.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=30,
    message:
        "Reading which clips of {wildcards.dataset} are relevant to its captions ({log})"
    script:
        "../workflow/scripts/relevant.py"


rule loudness:
    input:
        multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "phrases.csv"),
    output:
        "results/{dataset}/corpus/loudness.h5",
    log:
        "logs/{dataset}/loudness.log",
    benchmark:
        "logs/{dataset}/loudness.tsv"
    conda:
        "../envs/earwitness.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        root=audio_root,
    message:
        "Measuring the loudness of clips of {wildcards.dataset} that have phrases ({log})"
    script:
        "../workflow/scripts/loudness.py"
