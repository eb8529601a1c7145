"""Evaluation: predictions of the evaluation split, their scores, baselines, and an experiment's result over its seeds."""

from math import ceil

from earwitness.systems.interface import MODEL_FILES, PREDICTION

SCORE_FILES = ("scores.csv", "statistics.h5", "metrics.json")
SEED = "results/{dataset}/{experiment}/seed-{seed}"


def of_kind(kind):
    """A pattern of the experiments that make a kind of prediction."""
    return "|".join(re.escape(name) for name, entry in CONFIG.experiments.items() if kind in entry.KINDS) or "(?!)"


def model_of(wildcards):
    """The files of a seed's model; none without training."""
    folder = f"results/{wildcards.dataset}/{wildcards.experiment}/seed-{wildcards.seed}"
    return [f"{folder}/{name}" for name in MODEL_FILES.values()] if experiment(wildcards).TRAINED else []


for kind, entry in KINDS.items():

    rule:
        name:
            f"predict_{kind}"
        input:
            unpack(lambda w: below(w.dataset, experiment(w).prediction_inputs())),
            model=model_of,
            corpus=multiext("results/{dataset}/corpus/", *entry.tables),
        output:
            [
                (
                    shown(
                        f"{SEED}/{file}", "predictions", kind, experiment="{experiment}", seed="{seed}", content=file
                    )
                    if file in entry.artifacts
                    else f"{SEED}/{file}"
                )
                for file in (*entry.files, f"{kind}/{PREDICTION}")
            ],
        log:
            f"logs/{{dataset}}/{{experiment}}/seed-{{seed}}/predict_{kind}.log",
        benchmark:
            f"logs/{{dataset}}/{{experiment}}/seed-{{seed}}/predict_{kind}.tsv"
        wildcard_constraints:
            experiment=of_kind(kind),
        conda:
            "../envs/earwitness.yaml"
        threads: lambda w: experiment(w).threads
        resources:
            mem_mb=memory(8000),
            runtime=120,
        params:
            options=lambda w: experiment(w).settings("prediction"),
            checkpoints=lambda w: plain(checkpoint_digests, experiment(w).prediction_checkpoints()),
            kind=kind,
        message:
            "Predicting {params.kind} with {wildcards.experiment} on {wildcards.dataset}, seed {wildcards.seed} ({log})"
        script:
            "../workflow/scripts/predict.py"

    rule:
        name:
            f"score_{kind}"
        input:
            predictions=multiext(f"{SEED}/", *entry.files),
            corpus=multiext("results/{dataset}/corpus/", *entry.tables, *entry.scored_with),
        output:
            shown(
                f"{SEED}/{kind}/{SCORE_FILES[0]}",
                "scores",
                kind,
                experiment="{experiment}",
                seed="{seed}",
                content="scores by clip",
            ),
            multiext(f"{SEED}/{kind}/", *SCORE_FILES[1:]),
            [
                shown(f"{SEED}/{kind}/{file}", "scores", kind, experiment="{experiment}", seed="{seed}", content=file)
                for file in entry.score_files
            ],
        log:
            f"logs/{{dataset}}/{{experiment}}/seed-{{seed}}/score_{kind}.log",
        benchmark:
            f"logs/{{dataset}}/{{experiment}}/seed-{{seed}}/score_{kind}.tsv"
        wildcard_constraints:
            experiment=of_kind(kind),
        conda:
            "../envs/earwitness.yaml"
        resources:
            mem_mb=memory(8000),
            runtime=60 + ceil(CONFIG.spice.minutes if entry.uses_tools else 0),
            tools=TOOLS_JSON,  # their places; the content is identified by the digests
        params:
            options=lambda w: experiment(w).settings("scores"),
            kind=kind,
            digests=TOOLS.digests() if entry.uses_tools else {},
            # A raised time limit computes what was left out.
            minutes=CONFIG.spice.minutes if entry.uses_tools else None,
        message:
            "Scoring {params.kind} of {wildcards.experiment} on {wildcards.dataset}, seed {wildcards.seed} ({log})"
        script:
            "../workflow/scripts/score.py"


rule baselines:
    input:
        lambda w: tables_of(w.dataset, w.kind),
    output:
        "results/{dataset}/baselines/{kind}.json",
    log:
        "logs/{dataset}/baselines/{kind}.log",
    benchmark:
        "logs/{dataset}/baselines/{kind}.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    message:
        "Scoring the baselines of {wildcards.kind} on {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/baselines.py"


def seed_files(wildcards):
    """Models, predictions and scores of all seeds of an experiment."""
    options = experiment(wildcards)
    names = [*MODEL_FILES.values()] if options.TRAINED else []
    for kind in options.KINDS:
        names += [
            *KINDS[kind].files,
            *(f"{kind}/{name}" for name in (PREDICTION, *SCORE_FILES, *KINDS[kind].score_files)),
        ]
    return [f"{folder}/{name}" for folder in seed_folders(wildcards) for name in names]


localrules:
    result,  # it publishes, and several machines must not write one SQLite file


rule result:
    input:
        seeds=seed_files,
        leaks="results/{dataset}/corpus/leaks.json",
        # Not ancient(): Snakemake 9.27 makes nothing but the store when that is to be made again (findings/).
        store="results/mlflow-store.json",
    output:
        result=shown("results/{dataset}/{experiment}/metrics.json", "result", "results", experiment="{experiment}"),
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
        options=lambda w: experiment(w).settings("scores"),
        kinds=lambda w: experiment(w).KINDS,
        trained_on=lambda w: CONFIG.trained_on(w.dataset, w.experiment),
        untrained=lambda w: CONFIG.untrained(w.dataset, w.experiment),
        remarks=lambda w: CONFIG.remarks(w.dataset, w.experiment),
        sweep=lambda w: CONFIG.sweep_of(w.experiment),
        seeds=lambda w: experiment(w).seeds,
        folders=seed_folders,
        uri=store_uri(CONFIG.tracking.uri),
    message:
        "Result of {wildcards.experiment} on {wildcards.dataset} over its seeds ({log})"
    script:
        "../workflow/scripts/result.py"
