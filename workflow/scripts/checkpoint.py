"""Bring the public checkpoint of an extractor."""

from functools import partial
from pathlib import Path

from _stage import stage
from earwitness.extractors.checkpoints import require_kind
from earwitness.fetch.checkpoints import fetch

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        path, file = Path(snakemake.output.file), snakemake.wildcards.file
        fetch(file, path.parent, snakemake.resources.mirror or None, check=partial(require_kind, file=file))
