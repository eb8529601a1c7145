"""Make the page that compares a data set's experiments."""

from pathlib import Path

from _stage import stage
from earwitness.report.comparison import write_comparison

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        page, params = Path(snakemake.output[0]), snakemake.params
        others = {name: Path(folder) for name, folder in params.others.items()}
        write_comparison(page.parent, params.experiments, Path(params.root), page, others, params.studies)
