"""Compute how loud clips with phrases are over time, a control of grounding."""

from pathlib import Path

from _stage import stage
from earwitness.evaluation.loudness import write_loudness

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        corpus, root = Path(snakemake.input[0]).parent, Path(snakemake.params.root)
        write_loudness(corpus, root, Path(snakemake.output[0]), snakemake.threads)
