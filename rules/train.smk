"""Training: one experiment with one seed; the work folder results/.work outlasts a failed or killed run."""


rule train:
    input:
        unpack(lambda w: below(w.dataset, experiment(w).training_inputs())),
    output:
        weights="results/{dataset}/{experiment}/seed-{seed}/model.safetensors",
        description="results/{dataset}/{experiment}/seed-{seed}/model.json",
        events="results/{dataset}/{experiment}/seed-{seed}/events.jsonl",
    params:
        options=lambda w: experiment(w).model_dump(exclude={"seeds"}),
        checkpoints=lambda w: plain(checkpoint_digests, experiment(w).checkpoints()),
        work="results/.work",
    log:
        "logs/{dataset}/{experiment}/seed-{seed}/train.log",
    benchmark:
        "logs/{dataset}/{experiment}/seed-{seed}/train.tsv"
    threads: 8
    resources:
        mem_mb=16000,
        runtime=1440,
    script:
        "../workflow/scripts/train.py"
