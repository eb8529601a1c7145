"""Synthesise a data set's audio and annotations."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.registry import LAYOUTS, load

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("datasets", snakemake.params.options)
        load(LAYOUTS[options.layout].implementation)(options).make(Path(snakemake.output[0]))
