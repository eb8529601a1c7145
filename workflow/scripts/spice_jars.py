"""Fetch the jars of SPICE."""

from pathlib import Path

from _stage import stage
from earwitness.fetch.maven import fetch

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        fetch(Path(snakemake.output[0]).parent, snakemake.resources.repository or None)
