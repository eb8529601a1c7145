"""Tracking: one job makes the MLflow store before parallel jobs write to it."""


rule tracking_store:
    output:
        "results/mlflow-store.json",
    params:
        uri=CONFIG.tracking.uri,
        datasets=list(CONFIG.datasets),
    log:
        "logs/tracking_store.log",
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../workflow/scripts/tracking_store.py"
