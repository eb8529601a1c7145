"""Embed the clips of one split by a trained retriever."""

from pathlib import Path

import torch

from _stage import stage
from earwitness.config import validated
from earwitness.systems.retriever import embed_clips

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("features", snakemake.params.options)
        features = {name: Path(p) for name, p in zip(snakemake.params.names, snakemake.input.features, strict=True)}
        clips, out = Path(snakemake.input.clips), Path(snakemake.output[0])
        torch.set_num_threads(snakemake.threads)
        embed_clips(options, clips, snakemake.wildcards.split, features, out)
