"""Report: one page per data set that compares its experiments with baselines and published figures."""

from earwitness.files import sha256


report: "report/workflow.rst"


PUBLISHED = Path(workflow.basedir) / "src/earwitness/report/published.yaml"


def page_inputs(wildcards):
    """The content of the page: results, scores and curves of all seeds, baselines of all kinds of prediction."""
    folder, names = f"results/{wildcards.dataset}", CONFIG.experiments_of(wildcards.dataset)
    options = {name: CONFIG.experiment(wildcards.dataset, name) for name in names}
    kinds = [kind for kind in KINDS if any(kind in entry.KINDS for entry in options.values())]
    paths = [f"{folder}/{name}/metrics.json" for name in names] + [f"{folder}/baselines/{kind}.json" for kind in kinds]
    for name, entry in options.items():
        files = [f"{kind}/{file}" for kind in entry.KINDS for file in ("scores.csv", "metrics.json")]
        files += ["events.jsonl"] if entry.TRAINED else []
        paths += [f"{folder}/{name}/seed-{seed}/{file}" for seed in entry.seeds for file in files]
    tables = dict.fromkeys(["clips.csv", "captions.csv", "report.json"])
    tables |= dict.fromkeys(table for kind in kinds for table in KINDS[kind].tables)
    return [*paths, *(f"{folder}/corpus/{table}" for table in tables)]


rule comparison:
    input:
        page_inputs,
    output:
        shown("results/{dataset}/comparison.html", "page", "comparison", content="page"),
        shown("results/{dataset}/comparison.csv", "table", "comparison", content="all metrics"),
        # Names and number of plots depend on the kinds of prediction.
        report(
            directory("results/{dataset}/plots"),
            patterns=["{plot}.svg"],
            caption="report/plots.rst",
            category="{dataset}",
            subcategory="comparison",
            labels={"content": "plot: {plot}"},
        ),
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
    message:
        "Comparing the experiments on {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/comparison.py"
