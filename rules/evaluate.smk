"""Evaluation: captions of the evaluation split, their scores, and an experiment's result over its seeds."""

from math import ceil

SCORE_FILES = ("scores.csv", "statistics.h5", "metrics.json")
SEED_FILES = ("model.safetensors", "model.json", "events.jsonl", "captions.csv", *SCORE_FILES)


rule predict:
    input:
        unpack(lambda w: below(w.dataset, experiment(w).prediction_inputs())),
        model="results/{dataset}/{experiment}/seed-{seed}/model.safetensors",
        description="results/{dataset}/{experiment}/seed-{seed}/model.json",
    output:
        "results/{dataset}/{experiment}/seed-{seed}/captions.csv",
    log:
        "logs/{dataset}/{experiment}/seed-{seed}/predict.log",
    benchmark:
        "logs/{dataset}/{experiment}/seed-{seed}/predict.tsv"
    conda:
        "../envs/earwitness.yaml"
    threads: lambda w: experiment(w).train.threads
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        options=lambda w: experiment(w).model_dump(exclude={"seeds", "trained_on"}),
    script:
        "../workflow/scripts/predict.py"


rule score:
    input:
        captions="results/{dataset}/{experiment}/seed-{seed}/captions.csv",
        corpus=multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "report.json"),
    output:
        multiext("results/{dataset}/{experiment}/seed-{seed}/", *SCORE_FILES),
    log:
        "logs/{dataset}/{experiment}/seed-{seed}/score.log",
    benchmark:
        "logs/{dataset}/{experiment}/seed-{seed}/score.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=8000,
        runtime=60 + ceil(CONFIG.spice.minutes),
        tools=TOOLS_JSON,  # where they are; what they are is told by their digests
    params:
        digests=lambda w: TOOLS.digests(),
        minutes=CONFIG.spice.minutes,  # what a time limit left out is computed when it is raised
    script:
        "../workflow/scripts/score.py"


rule trivial:
    input:
        multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv"),
    output:
        "results/{dataset}/corpus/trivial.json",
    log:
        "logs/{dataset}/trivial.log",
    benchmark:
        "logs/{dataset}/trivial.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    script:
        "../workflow/scripts/trivial.py"


rule result:
    input:
        seeds=lambda w: [f"{folder}/{name}" for folder in seed_folders(w) for name in SEED_FILES],
        leaks="results/{dataset}/corpus/leaks.json",
        store="results/mlflow-store.json",
    output:
        result="results/{dataset}/{experiment}/metrics.json",
        tracking="results/{dataset}/{experiment}/tracking.json",
    log:
        "logs/{dataset}/{experiment}/result.log",
    benchmark:
        "logs/{dataset}/{experiment}/result.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        options=lambda w: experiment(w).model_dump(exclude={"seeds", "trained_on"}),
        trained_on=lambda w: CONFIG.trained_on(w.dataset, w.experiment),
        untrained=lambda w: CONFIG.untrained(w.dataset, w.experiment),
        seeds=lambda w: experiment(w).seeds,
        folders=seed_folders,
        uri=store_uri(CONFIG.tracking.uri),
    script:
        "../workflow/scripts/result.py"
