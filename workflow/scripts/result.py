"""Summarise an experiment over its seeds, and publish it."""

import sys
from pathlib import Path

from _stage import stage
from earwitness.evaluation.result import summarise_experiment
from earwitness.files import read_json
from earwitness.report.terminal import table
from earwitness.tracking.publish import publish

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        params, wildcards = snakemake.params, snakemake.wildcards
        folders = [Path(folder) for folder in params.folders]
        result, tracking = Path(snakemake.output.result), Path(snakemake.output.tracking)
        summarise_experiment(
            wildcards.dataset,
            wildcards.experiment,
            params.options,
            params.seeds,
            folders,
            params.kinds,
            audit=Path(snakemake.input.leaks),
            trained_on=params.trained_on,
            untrained=params.untrained,
            remarks=params.remarks,
            out=result,
            study=params.sweep,
        )
        print(f"\n{table([read_json(result)])}\n\n{result}\n", file=sys.stderr)
        if not publish(params.uri, result, folders, tracking):
            print(f"The run could not be published to MLflow ({tracking} says why).", file=sys.stderr)
