"""Search for clips that are in several splits, or in lists of training data."""

import sys
from pathlib import Path

from _stage import stage
from earwitness.leaks.audit import audit, read_audit, summary
from earwitness.options import IdListOptions

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        lists = {name: IdListOptions.model_validate(entry) for name, entry in snakemake.params.lists.items()}
        datasets = {name: Path(corpus) for name, corpus in snakemake.params.datasets.items()}
        out = Path(snakemake.output.counts)
        audit(out.parent, lists, datasets, out)
        lines = summary(read_audit(out))
        print(f"\nLeak audit of {snakemake.wildcards.dataset}\n{lines}\n{out}\n", file=sys.stderr)
