"""Make the files of one text from a corpus."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.registry import TEXTS, load
from earwitness.text.options import FrozenOptions

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("texts", snakemake.params.options)
        out = {name: Path(path) for name, path in snakemake.output.items()}
        if isinstance(options, FrozenOptions):
            import torch

            torch.set_num_threads(snakemake.threads)
        load(TEXTS[options.kind].implementation)(options, Path(snakemake.input.clips).parent, out)
