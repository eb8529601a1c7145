"""Report: one page per data set that compares its experiments with baselines, published figures and others' scores."""

from earwitness.evaluation.others import kinds_of_others
from earwitness.files import sha256


report: "report/workflow.rst"


PUBLISHED = Path(workflow.basedir) / "src/earwitness/report/published.yaml"
OTHERS = sorted({name for entry in CONFIG.datasets.values() for name in entry.others})


def files_of_others(dataset):
    """The files of scores made elsewhere, and the records of their checks; refused before anything is made for them."""
    folders = CONFIG.others_of(dataset)
    plain(kinds_of_others, folders)
    files = [str(folder / file) for folder in folders.values() for file in SCORE_FILES]
    return [*files, *(f"results/{dataset}/others/{name}.json" for name in folders)]


def files_of_other(wildcards):
    """The files of scores made elsewhere, and the tables of the clips that they should have."""
    folders, name = CONFIG.others_of(wildcards.dataset), wildcards.other
    if name not in folders:  # another data set has scores of this name
        plain(CONFIG.refuse_target, f"results/{wildcards.dataset}/others/{name}.json")
    tables = dict.fromkeys(table for kind in KINDS for table in tables_of(wildcards.dataset, kind))
    return [*(str(folders[name] / file) for file in SCORE_FILES), *tables]


localrules:
    other,  # it publishes


rule other:
    input:
        files_of_other,
        store="results/mlflow-store.json",
    output:
        "results/{dataset}/others/{other}.json",
    log:
        "logs/{dataset}/others/{other}.log",
    benchmark:
        "logs/{dataset}/others/{other}.tsv"
    wildcard_constraints:
        other="|".join(map(re.escape, OTHERS)) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        folder=lambda w: str(CONFIG.others_of(w.dataset)[w.other]),
        uri=store_uri(CONFIG.tracking.uri),
    message:
        "Checking the scores of {wildcards.other} on {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/other.py"


def page_inputs(wildcards):
    """The content of the page: results, scores and curves of all seeds, baselines of all kinds of prediction."""
    folder, names = f"results/{wildcards.dataset}", CONFIG.experiments_of(wildcards.dataset)
    options = {name: CONFIG.experiment(wildcards.dataset, name) for name in names}
    kinds = [kind for kind in KINDS if any(kind in entry.KINDS for entry in options.values())]
    paths = [f"{folder}/{name}/metrics.json" for name in names] + [f"{folder}/baselines/{kind}.json" for kind in kinds]
    for name, entry in options.items():
        files = [f"{kind}/{file}" for kind in entry.KINDS for file in (*SCORE_FILES, *KINDS[kind].score_files)]
        files += ["events.jsonl"] if entry.TRAINED else []
        paths += [f"{folder}/{name}/seed-{seed}/{file}" for seed in entry.seeds for file in files]
        paths += [f"{folder}/{name}/seed-{entry.seeds[0]}/{file}" for kind in entry.KINDS for file in KINDS[kind].shown]
    tables = dict.fromkeys(["clips.csv", "captions.csv", "report.json"])
    tables |= dict.fromkeys(table for kind in kinds for table in (*KINDS[kind].tables, *KINDS[kind].scored_with))
    paths += files_of_others(wildcards.dataset)
    paths += [f"{folder}/studies/{sweep}.html" for sweep in CONFIG.studies_of(wildcards.dataset)]
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
        mem_mb=memory(4000),
        runtime=30,
    params:
        root=audio_root,
        experiments=lambda w: CONFIG.experiments_of(w.dataset),
        others=lambda w: {name: str(folder) for name, folder in CONFIG.others_of(w.dataset).items()},
        published=lambda w: sha256(PUBLISHED),
        studies=lambda w: {name: CONFIG.study(w.dataset, name)["members"] for name in CONFIG.studies_of(w.dataset)},
    message:
        "Comparing the experiments on {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/comparison.py"


def study_inputs(wildcards):
    """Results and scores of the experiments of a sweep and of its baseline, all seeds."""
    paths = []
    for name in CONFIG.study(wildcards.dataset, wildcards.sweep)["experiments"]:
        plain(CONFIG.refuse_misfits, wildcards.dataset, name)
        options, folder = CONFIG.experiment(wildcards.dataset, name), f"results/{wildcards.dataset}/{name}"
        scores = [
            f"seed-{seed}/{kind}/{file}" for seed in options.seeds for kind in options.KINDS for file in SCORE_FILES
        ]
        paths += [f"{folder}/{file}" for file in ("metrics.json", *scores)]
    return paths


rule study:
    input:
        study_inputs,
    output:
        shown("results/{dataset}/studies/{sweep}.html", "study", "studies", sweep="{sweep}", content="page"),
        shown("results/{dataset}/studies/{sweep}.csv", "study", "studies", sweep="{sweep}", content="all numbers"),
        "results/{dataset}/studies/{sweep}.json",
        directory("results/{dataset}/studies/{sweep}"),
    log:
        "logs/{dataset}/studies/{sweep}.log",
    benchmark:
        "logs/{dataset}/studies/{sweep}.tsv"
    wildcard_constraints:
        sweep="|".join(map(re.escape, CONFIG.sweeps)) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        study=lambda w: CONFIG.study(w.dataset, w.sweep),
    message:
        "Comparing the experiments of {wildcards.sweep} on {wildcards.dataset} ({log})"
    script:
        "../workflow/scripts/study.py"
