"""Measure the gap between the vectors of clips and captions by one CLAP."""

from pathlib import Path

from _stage import stage
from earwitness.clap.gap import make

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        files = {name: Path(path) for name, path in snakemake.input.items()}
        make(**files, out={name: Path(path) for name, path in snakemake.output.items()})
