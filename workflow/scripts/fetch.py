"""Bring a published data set into its folder."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.registry import LAYOUTS, load

if __name__ == "__main__":
    with stage(snakemake):
        options = validated("datasets", snakemake.params.options)
        how = {"mirror": snakemake.resources.mirror or None, "workers": snakemake.resources.downloads}
        options = options.model_copy(
            update={key: value for key, value in how.items() if key in type(options).model_fields}
        )
        load(LAYOUTS[options.layout].implementation)(options).fetch(Path(snakemake.wildcards.root))
