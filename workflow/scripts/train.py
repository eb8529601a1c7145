"""Train one experiment with one seed, or reuse a shared training."""

import json
from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.metrics.captions import Tools
from earwitness.training.stage import share_training, train_model

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = snakemake.params.options
        options = {**options, "train": {**options["train"], "workers": snakemake.resources.loaders}}
        out = {name: Path(path) for name, path in snakemake.output.items()}
        if snakemake.params.owner:
            share_training(Path(snakemake.params.owner), out)
        else:
            train_model(
                dataset=snakemake.wildcards.dataset,
                experiment=snakemake.wildcards.experiment,
                options=validated("experiments", options),
                seed=int(snakemake.wildcards.seed),
                files={name: Path(path) for name, path in snakemake.input.items()},
                out=out,
                work_root=Path(snakemake.params.work),
                threads=snakemake.threads,
                tools=Tools(**json.loads(snakemake.resources.tools)),
            )
