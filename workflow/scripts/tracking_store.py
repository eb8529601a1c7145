"""Make the MLflow store."""

from pathlib import Path

from _stage import stage
from earwitness.tracking.publish import prepare_store, store_uri

if __name__ == "__main__":
    with stage(snakemake):
        prepare_store(store_uri(snakemake.params.uri), snakemake.params.datasets, Path(snakemake.output[0]))
