"""Fetch the public checkpoint of an extractor."""

from pathlib import Path

from _stage import stage
from earwitness.extractors.checkpoints import fetch

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        folder = Path(snakemake.output.file).parent
        fetch(snakemake.wildcards.file, folder, snakemake.resources.mirror or None)
