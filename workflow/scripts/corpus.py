"""Read a data set's tables, check its audio, and write the tidy tables."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.corpora.stage import build
from earwitness.registry import LAYOUTS, load

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("datasets", snakemake.params.options)
        layout = load(LAYOUTS[options.layout].implementation)(options)
        out = Path(snakemake.output[0]).parent
        build(layout, options, Path(snakemake.params.root), out, snakemake.threads)
