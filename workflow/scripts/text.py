"""Make the files of one text from a corpus."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.registry import TEXTS, load

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("texts", snakemake.params.options)
        out = {name: Path(path) for name, path in snakemake.output.items()}
        load(TEXTS[options.kind].implementation)(options, Path(snakemake.input.clips).parent, out)
