"""Score one seed's captions."""

from pathlib import Path

from _stage import stage
from earwitness.evaluation import score_captions

if __name__ == "__main__":
    with stage(snakemake):
        corpus = Path(snakemake.input.corpus[0]).parent
        score_captions(
            Path(snakemake.input.captions), corpus, Path(snakemake.output.scores), Path(snakemake.output.metrics)
        )
