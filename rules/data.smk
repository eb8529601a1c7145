"""Corpora: from a folder of audio, or from nothing at all, to tidy tables."""


rule synthesise:
    output:
        directory("results/{dataset}/audio"),
    log:
        "logs/{dataset}/synthesise.log",
    benchmark:
        "logs/{dataset}/synthesise.tsv"
    wildcard_constraints:
        dataset="|".join(re.escape(name) for name in CONFIG.datasets if synthesised(name)) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        options=lambda w: CONFIG.datasets[w.dataset].model_dump(exclude={"experiments", "overrides", "on_bad_audio"}),
    script:
        "../workflow/scripts/synthesise.py"


rule corpus:
    input:
        corpus_inputs,
    output:
        multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "phrases.csv", "events.csv", "report.json"),
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
        options=lambda w: CONFIG.datasets[w.dataset].model_dump(exclude={"experiments", "overrides"}),
        root=audio_root,
        audio=corpus_audio,
    script:
        "../workflow/scripts/corpus.py"
