"""Make the page that compares a data set's experiments."""

from pathlib import Path

from _stage import stage
from earwitness.report.comparison import write_comparison

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        results = Path(snakemake.output[0]).parent
        write_comparison(results, snakemake.params.experiments, Path(snakemake.params.root), Path(snakemake.output[0]))
