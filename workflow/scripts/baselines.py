"""Compute the baselines of one kind of prediction."""

from pathlib import Path

from _stage import stage
from earwitness.evaluation.result import write_baselines

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        write_baselines(snakemake.wildcards.kind, Path(snakemake.input[0]).parent, Path(snakemake.output[0]))
