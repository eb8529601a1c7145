"""Fetch a published data set into its folder."""

import json

from _stage import stage
from earwitness.config import validated
from earwitness.corpora.dataset import Dataset

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        options = validated("datasets", json.loads(snakemake.resources.options))
        Dataset("fetched", options).fetch()
