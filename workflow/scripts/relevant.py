"""Write which clips are relevant to each caption of the evaluation split."""

from pathlib import Path

from _stage import stage
from earwitness.evaluation.relevance import write_relevant

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        corpus, table = Path(snakemake.input.corpus[0]).parent, snakemake.input.table
        write_relevant(corpus, Path(table[0]) if table else None, Path(snakemake.output[0]))
