"""LAION-CLAP: the options of both towers, and the published file (Wu et al., arXiv 2211.06687).

The audio tower, HTS-AT, is the code of the Python package laion-clap; the text tower is RoBERTa of transformers.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from earwitness.clap.options import TRAINED_ON, ClapTextOptions, existing_tokenizer
from earwitness.errors import EarwitnessError
from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.published import PublishedWeights

PACKAGE = "laion_clap"
INSTALL = "`pip install --no-deps laion-clap==1.1.7` installs it, as `make install` does."
TOKENIZER = Path("resources/roberta-base")  # where `auto` looks for vocab.json and merges.txt
PUBLISHED = {
    "weights": PublishedWeights(
        file="630k-audioset-best.pt",
        addresses=("https://huggingface.co/lukewys/laion_clap/resolve/main/630k-audioset-best.pt",),
        title="LAION-CLAP, HTSAT-tiny and RoBERTa without fusion, 630k and AudioSet, about 1.86 GB",
        sha256="8053c9775516af2f4902e1e8281e356cc1bf7a85e8b761908170767b77c3f037",
        key="state_dict",
        marks={
            "module.audio_branch.patch_embed.proj.weight": (96, 1, 4, 4),
            "module.text_projection.0.weight": (512, 768),
        },
        note=TRAINED_ON,
    )
}


def package_folder() -> Path:
    """The folder of the Python package laion-clap, which is not imported. EarwitnessError where it is not installed."""
    spec = find_spec(PACKAGE)
    for place in (spec and spec.submodule_search_locations) or []:
        return Path(place)
    raise EarwitnessError(f"LAION-CLAP needs the model code of the Python package laion-clap. {INSTALL}")


class ClapLaionOptions(NetworkOptions):
    """Audio tower of LAION-CLAP: one vector of length 1 for each clip."""

    PUBLISHED = PUBLISHED

    extractor: Literal["clap_laion"]
    # auto: as the checkpoint is; untrained weights are of HTSAT-tiny
    amodel: Literal["auto", "HTSAT-tiny", "HTSAT-base"] = "auto"

    def problem(self) -> str:
        try:
            package_folder()
        except EarwitnessError as error:
            return str(error)
        return ""


class ClapLaionTextOptions(ClapTextOptions):
    """Text tower of LAION-CLAP; reads 77 tokens of RoBERTa."""

    PUBLISHED = PUBLISHED
    MODEL = "earwitness.clap.laion.text:ClapLaionText"
    bytes_of_caption = 512 * 4

    kind: Literal["clap_laion"]

    def tokenizer_folder(self) -> Path:
        folder = TOKENIZER if self.tokenizer == "auto" else Path(self.tokenizer)
        return existing_tokenizer(folder, "roberta-base", ("vocab.json", "merges.txt"))
