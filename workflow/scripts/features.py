"""Extract one feature of one split."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.features.stage import extract

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        resources = snakemake.resources
        options = validated("features", {**snakemake.params.options, "clips_per_shard": resources.clips_per_shard})
        clips, root, out = (Path(p) for p in (snakemake.input.clips, snakemake.params.root, snakemake.output[0]))
        memory = resources.mem_mb / resources.attempt
        extract(options, clips, snakemake.wildcards.split, root, out, snakemake.threads, memory)
