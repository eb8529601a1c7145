"""Report: one page for a data set, every experiment beside the published figures."""


rule comparison:
    input:
        results=lambda w: expand("results/{{dataset}}/{name}/metrics.json", name=CONFIG.experiments_of(w.dataset)),
        trivial="results/{dataset}/corpus/trivial.json",
        corpus=multiext("results/{dataset}/corpus/", "clips.csv", "captions.csv", "report.json"),
    output:
        "results/{dataset}/comparison.html",
    params:
        root=audio_root,
        experiments=lambda w: CONFIG.experiments_of(w.dataset),
    log:
        "logs/{dataset}/comparison.log",
    benchmark:
        "logs/{dataset}/comparison.tsv"
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../workflow/scripts/comparison.py"
