"""Make one kind of prediction of the evaluation split."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.evaluation.predict import predict

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        files = {name: Path(path) for name, path in snakemake.input.items() if name not in ("model", "corpus")}
        predict(
            options=validated("experiments", snakemake.params.options),
            kind=snakemake.params.kind,
            files=files,
            corpus=Path(snakemake.input.corpus[0]).parent,
            folder=Path(snakemake.output[0]).parent,
            threads=snakemake.threads,
            seed=int(snakemake.wildcards.seed),
        )
