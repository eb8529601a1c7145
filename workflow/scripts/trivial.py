"""Score what any captioner must beat."""

from pathlib import Path

from _stage import stage
from earwitness.evaluation.result import trivial_baselines

if __name__ == "__main__":
    with stage(snakemake):
        trivial_baselines(Path(snakemake.input[0]).parent, Path(snakemake.output[0]))
