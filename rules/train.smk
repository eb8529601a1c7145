"""Training: one experiment with one seed; the work folder results/.work outlasts a failed or killed run."""


rule train:
    input:
        unpack(lambda w: below(w.dataset, experiment(w).training_inputs())),
    output:
        weights="results/{dataset}/{experiment}/seed-{seed}/model.safetensors",
        description="results/{dataset}/{experiment}/seed-{seed}/model.json",
        events="results/{dataset}/{experiment}/seed-{seed}/events.jsonl",
    log:
        "logs/{dataset}/{experiment}/seed-{seed}/train.log",
    benchmark:
        "logs/{dataset}/{experiment}/seed-{seed}/train.tsv"
    conda:
        "../envs/earwitness.yaml"
    threads: lambda w: experiment(w).train.threads
    resources:
        mem_mb=16000,
        runtime=1440,
        loaders=lambda w: experiment(w).train.workers,  # changes no content
        tools=TOOLS_JSON,  # where they are; what is used of them is told by its digest
    params:
        options=lambda w: experiment(w).model_dump(exclude=NOT_TRAINED),
        checkpoints=found_for_training,
        work="results/.work",
    script:
        "../workflow/scripts/train.py"
