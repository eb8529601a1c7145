"""Create the MLflow store."""

import sys
from pathlib import Path

from _stage import stage
from earwitness.tracking.store import prepare_store

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        if not prepare_store(snakemake.params.uri, Path(snakemake.output[0]), snakemake.params.attempt):
            print(f"The MLflow store cannot be reached ({snakemake.output[0]} says why).", file=sys.stderr)
