"""Tracking: one job prepares the MLflow store; after a failure, the next run does so again, and publishes again."""

from earwitness.tracking.store import next_attempt


localrules:
    tracking_store,  # several machines must not write one SQLite file


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
        attempt=plain(next_attempt, Path("results/mlflow-store.json")),
    message:
        "Preparing the MLflow store ({log})"
    script:
        "../workflow/scripts/tracking_store.py"
