"""Report: one page for a data set, every experiment beside the published figures."""

from earwitness.files import sha256

PUBLISHED = Path(workflow.basedir) / "src/earwitness/report/published.yaml"


def seed_files(wildcards):
    """What the page shows of the seeds of every experiment."""
    folder = f"results/{wildcards.dataset}"
    return [
        f"{folder}/{name}/seed-{seed}/{file}"
        for name in CONFIG.experiments_of(wildcards.dataset)
        for seed in CONFIG.experiment(wildcards.dataset, name).seeds
        for file in ("scores.csv", "events.jsonl")
    ]


rule comparison:
    input:
        results=lambda w: expand("results/{{dataset}}/{name}/metrics.json", name=CONFIG.experiments_of(w.dataset)),
        seeds=seed_files,
        trivial="results/{dataset}/corpus/trivial.json",
        corpus=multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "report.json"),
    output:
        "results/{dataset}/comparison.html",
    log:
        "logs/{dataset}/comparison.log",
    benchmark:
        "logs/{dataset}/comparison.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        root=audio_root,
        experiments=lambda w: CONFIG.experiments_of(w.dataset),
        published=lambda w: sha256(PUBLISHED),
    script:
        "../workflow/scripts/comparison.py"
