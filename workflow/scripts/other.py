"""Check that scores made elsewhere are of the evaluation split, and publish them."""

import sys
from pathlib import Path

from _stage import stage
from earwitness.evaluation.others import read_other
from earwitness.tracking.publish import publish_other

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        params, wildcards, record = snakemake.params, snakemake.wildcards, Path(snakemake.output[0])
        read_other(wildcards.other, Path(params.folder), record.parents[1] / "corpus")
        if not publish_other(params.uri, wildcards.dataset, wildcards.other, Path(params.folder), record):
            print(f"The scores could not be published to MLflow ({record} says why).", file=sys.stderr)
