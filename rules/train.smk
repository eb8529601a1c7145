"""Training: one experiment with one seed; the work folder results/.work is kept after a failed or killed run.

Experiments that differ only in prediction or scoring share one training: the first of them trains, the others reuse its
model.
"""

from earwitness.systems.interface import MODEL_FILES


def owner_of(wildcards):
    """The folder of the shared training; "" for an experiment that trains itself."""
    owner = CONFIG.trained_as(wildcards.dataset, wildcards.experiment)
    shared = owner != wildcards.experiment
    return f"results/{wildcards.dataset}/{owner}/seed-{wildcards.seed}" if shared else ""


def announced(wildcards):
    """What the job does, for its message."""
    owner = CONFIG.trained_as(wildcards.dataset, wildcards.experiment)
    return "Training" if owner == wildcards.experiment else f"Taking the training of {owner} for"


def training_inputs(wildcards):
    """The inputs of training, or the model of the shared training."""
    if owner := owner_of(wildcards):
        return {name: f"{owner}/{file}" for name, file in MODEL_FILES.items()}
    return below(wildcards.dataset, experiment(wildcards).training_inputs())


rule train:
    input:
        unpack(training_inputs),
    output:
        **{name: f"results/{{dataset}}/{{experiment}}/seed-{{seed}}/{file}" for name, file in MODEL_FILES.items()},
    log:
        "logs/{dataset}/{experiment}/seed-{seed}/train.log",
    benchmark:
        "logs/{dataset}/{experiment}/seed-{seed}/train.tsv"
    wildcard_constraints:
        experiment="|".join(re.escape(name) for name, entry in CONFIG.experiments.items() if entry.TRAINED) or "(?!)",
    priority: 10  # Rather than scores of what is trained.
    conda:
        "../envs/earwitness.yaml"
    threads: lambda w: 1 if owner_of(w) else experiment(w).threads
    resources:
        mem_mb=lambda w, attempt: (8000 + 8000 * experiment(w).train.devices) * attempt,
        runtime=1440,
        loaders=lambda w: experiment(w).train.workers,  # changes no content
        tools=TOOLS_JSON,  # their places; the used content is identified by its digest
        # For tracking; a text, since Snakemake hands numbers to the other machine as limits.
        machine="cluster" if workflow.remote_exec else "local",
        announced=announced,  # not a parameter, a change of which would train again
    params:
        options=lambda w: experiment(w).settings("weights"),
        checkpoints=found_for_training,
        owner=owner_of,
        work="results/.work",
    message:
        "{resources.announced} {wildcards.experiment} on {wildcards.dataset}, seed {wildcards.seed} ({log})"
    script:
        "../workflow/scripts/train.py"
