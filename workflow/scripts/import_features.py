"""Import one split of external features in the layout of the retrieval literature."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.features.external import import_features

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("features", {**snakemake.params.options, "folder": snakemake.resources.folder})
        corpus = Path(snakemake.input.clips).parent
        import_features(options, corpus, snakemake.wildcards.split, Path(snakemake.output[0]))
