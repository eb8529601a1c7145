"""Score one seed's captions."""

import json
from pathlib import Path

from _stage import stage
from earwitness.evaluation.result import score_captions
from earwitness.metrics.captions import Tools

if __name__ == "__main__":
    with stage(snakemake):
        corpus = Path(snakemake.input.corpus[0]).parent
        tools = Tools(**json.loads(snakemake.resources.tools))
        score_captions(Path(snakemake.input.captions), corpus, Path(snakemake.output[0]).parent, tools)
