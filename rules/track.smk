"""Tracking: one job creates the MLflow store before parallel jobs write to it."""


rule tracking_store:
    output:
        "results/mlflow-store.json",
    log:
        "logs/tracking_store.log",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        uri=store_uri(CONFIG.tracking.uri),
    message:
        "Preparing the MLflow store ({log})"
    script:
        "../workflow/scripts/tracking_store.py"
