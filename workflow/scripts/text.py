"""Make the vocabulary of the training captions and train word vectors on them."""

from pathlib import Path

from _stage import stage
from earwitness.options import TextOptions
from earwitness.text.stage import prepare_text

if __name__ == "__main__":
    with stage(snakemake):
        options = TextOptions.model_validate(snakemake.params.options)
        files = (
            snakemake.input.clips,
            snakemake.input.captions,
            snakemake.output.vocabulary,
            snakemake.output.word2vec,
        )
        prepare_text(options, *map(Path, files))
