"""Score one kind of prediction of one seed."""

import json
from pathlib import Path

from _stage import stage
from earwitness.evaluation.result import score_prediction
from earwitness.metrics.captions import Tools

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        folder, corpus = Path(snakemake.output[0]).parents[1], Path(snakemake.input.corpus[0]).parent
        tools = Tools(**json.loads(snakemake.resources.tools))
        score_prediction(snakemake.params.kind, folder, corpus, tools, snakemake.params.options)
