"""Corpora: from a folder of audio, or from nothing at all, to tidy tables."""


rule synthesise:
    output:
        directory("results/{dataset}/audio"),
    params:
        options=lambda w: CONFIG.datasets[w.dataset].model_dump(exclude={"experiments", "overrides"}),
    log:
        "logs/{dataset}/synthesise.log",
    benchmark:
        "logs/{dataset}/synthesise.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    script:
        "../workflow/scripts/synthesise.py"


rule corpus:
    input:
        corpus_inputs,
    output:
        multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "phrases.csv", "events.csv", "report.json"),
    params:
        options=lambda w: CONFIG.datasets[w.dataset].model_dump(exclude={"experiments", "overrides"}),
        root=audio_root,
    log:
        "logs/{dataset}/corpus.log",
    benchmark:
        "logs/{dataset}/corpus.tsv"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    script:
        "../workflow/scripts/corpus.py"
