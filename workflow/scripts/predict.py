"""Caption the evaluation split with a trained model."""

from pathlib import Path

from _stage import stage
from earwitness.config import validated
from earwitness.prediction.stage import predict

if __name__ == "__main__":
    with stage(snakemake):
        files = {name: Path(path) for name, path in snakemake.input.items()}
        model, description = files.pop("model"), files.pop("description")
        options = validated("experiments", snakemake.params.options)
        predict(options, model, description, files, Path(snakemake.output[0]), snakemake.threads)
