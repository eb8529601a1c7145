"""Train one experiment with one seed, or reuse a shared training."""

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.metrics.captions import Tools
from earwitness.options import TrackingOptions
from earwitness.tracking.live import live_after, shown
from earwitness.tracking.store import store_uri
from earwitness.training.stage import share_training, train_model

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = snakemake.params.options
        options = {**options, "train": {**options["train"], "workers": snakemake.resources.loaders}}
        out = {name: Path(path) for name, path in snakemake.output.items()}
        tracking = TrackingOptions.model_validate(snakemake.config.get("tracking") or {})
        uri = store_uri(tracking.uri)
        after = live_after(tracking.live, uri, snakemake.resources.machine == "cluster")
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
                watch=nullcontext if after is None else partial(shown, uri, after),
            )
